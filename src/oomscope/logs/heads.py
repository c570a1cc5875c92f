"""What lines begin with, read for thousands of lines at once: the logger's prefix, the request id, the message's start.

All bytes that matter of a line are copied side by side in one go, since picking single words from here and there costs
more than all comparisons together.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from oomscope.logs.bytescan import Ints, View, Words, word

ODD, QUIET, STARTED, PROCESSING, PARAMETERS, COMPLETED, ENQUEUED = range(7)
Kinds = npt.NDArray[np.uint8]

MESSAGE = 39  # behind "[", the id, "] "
_SHORTEST = {True: 100, False: 50}  # of a line, with prefix or without, whose head is wholly inside it
_PREFIX = 32  # up to the pid: ``I, [2026-11-23T08:23:04.484498 #``
_NAME = len("]  INFO -- : ")
_BEFORE = 7  # bytes copied in front of the tag
_HEAD, _TAG, _BARE_TAG = 40, 56, 48  # bytes copied of the prefix, around the tag, and behind its bracket

_LETTER, _LETTER_MASK = word(b"I, ["), np.uint64(0xFFFFFFFF)
_PID = np.uint64(int.from_bytes(b" #", "little"))
_INFOS = [word(b"]  INFO "[: 8 - digits]) for digits in range(8)]
_INFO_END = word(b"O -- : [")
_TAG_END = np.uint64(int.from_bytes(b"] ", "little"))
_LOW = np.uint64(0x2020202020202020)  # set in digits, lower case letters and "-", clear in "]" and line ends
_FOUR, _TWO = np.uint64(0xFFFFFFFF), np.uint64(0xFFFF)
_DASHES_1, _DASHES_1_SET = np.uint64(0x0000FF00000000FF), word(b"-\0\0\0\0-")
_DASHES_2, _DASHES_2_SET = np.uint64(0xFF00000000FF0000), word(b"\0\0-\0\0\0\0-")
_STARTS = {
    STARTED: word(b"Started "),
    PROCESSING: word(b"Processi"),
    PARAMETERS: word(b"  Parame"),
    COMPLETED: word(b"Complete"),
}
_OLD_PROCESSING, _ENQUEUED = word(b"  Proces"), word(b"[ActiveJ")
# Clients choose request ids: with secret factors nobody can make two that look the same here.
_FACTORS = tuple(np.uint64(secrets.randbits(64) | 1) for _ in range(4))


class Lead(NamedTuple):
    """Where the application's line begins in a line of an envelope, and the last bytes that stand before it."""

    offset: int
    text: bytes


class Heads(NamedTuple):
    """Per line: where its tag begins (-1: none in the usual place), its kind, a hash of its request id (0 without a
    tag and for quiet lines), the first eight bytes of its message.
    """

    tags: Ints
    kinds: Kinds
    keys: Words
    said: Words


def copied(view: View, at: Ints, size: int) -> Words:
    """``size`` bytes (whole words) from each position, as rows of words."""
    cells = np.ndarray((view.bytes.size - size,), f"V{size}", view.bytes, strides=(1,))
    return cells[at].view("<u8").reshape(at.size, size // 8)


def read_heads(
    view: View, starts: Ints, ends: Ints, leads: tuple[Lead, ...], *, prefix: bool = True
) -> Heads:
    """The heads of the lines that begin and end at these positions, each with one of the leads before it.

    ``prefix``: whether the logger's prefix stands before the tag.
    """
    tags = np.full(starts.size, -1, np.int64)
    for lead in leads:
        lines = np.flatnonzero((tags < 0) & (ends - starts > lead.offset + _SHORTEST[prefix]))
        if lines.size:
            at = starts[lines] + lead.offset
            good = view.says(at - len(lead.text), lead.text) if lead.text else np.ones(at.size, np.bool_)
            lines, at = lines[good], at[good]
            tags[lines] = _behind_prefix(view, at) if prefix else at
    words = np.zeros(tags.size, np.uint64)
    heads = Heads(tags, np.zeros(tags.size, np.uint8), words, words.copy())
    _read_tags(view, heads, prefix)
    return heads


def _behind_prefix(view: View, at: Ints) -> Ints:
    """Where the tag begins behind a prefix at each position, -1 where there is no such prefix."""
    rows = copied(view, at, _HEAD)
    pid = np.ascontiguousarray(rows[:, 4])
    good = ((rows[:, 0] & _LETTER_MASK) == _LETTER) & ((rows[:, 3] >> np.uint64(48)) == _PID)
    width = np.zeros(at.size, np.uint8)
    for digits in range(1, 8):
        width += ((pid >> np.uint64(8 * digits)) == _INFOS[digits]).view(np.uint8) * np.uint8(digits)
        if width.all():
            break
    return np.where(good & (width > 0), at + width + (_PREFIX + _NAME), -1)


def _read_tags(view: View, heads: Heads, prefix: bool) -> None:
    """Check the tags and say what the lines are."""
    lines = np.flatnonzero(heads.tags >= 0)
    at = heads.tags[lines]
    if prefix:
        rows = copied(view, at - _BEFORE, _TAG)
        fine, rows = rows[:, 0] == _INFO_END, rows[:, 1:]
    else:
        rows = copied(view, at + 1, _BARE_TAG)
        fine = view.bytes[at] == ord("[")
    first, second, third, fourth, last, message = (rows[:, place] for place in range(6))
    fine &= ((last >> np.uint64(32)) & _TWO) == _TAG_END
    fine &= ((second & _DASHES_1) == _DASHES_1_SET) & ((third & _DASHES_2) == _DASHES_2_SET)
    fine &= (first & second & third & fourth & (last | ~_FOUR) & _LOW) == _LOW
    said = (last >> np.uint64(48)) | (message << np.uint64(16))
    if not fine.all():
        heads.tags[lines[~fine]] = -1
        lines, rows, said = lines[fine], rows[fine], said[fine]
    kinds = kinds_of(said)
    heads.kinds[lines] = kinds
    heads.said[lines] = said
    kept = np.flatnonzero(kinds != QUIET)
    heads.keys[lines[kept]] = _hashes(rows[kept])


def kinds_of(said: Words) -> Kinds:
    """What lines with these first words are. Jobs are as quiet as the rest: the question is which requests are open."""
    third = (said >> np.uint64(16)) & np.uint64(0xFF)
    quiet = ((said & _TWO) == 0x2020) & (third > 0x20) & (third < 0x7F) & (third != 0x5C)
    quiet &= (said != _OLD_PROCESSING) & (said != _STARTS[PARAMETERS])
    quiet |= said == _ENQUEUED
    kinds: Kinds = quiet.view(np.uint8) * np.uint8(QUIET)
    for kind, start in _STARTS.items():
        kinds += (said == start).view(np.uint8) * np.uint8(kind)
    return kinds


def _hashes(rows: Words) -> Words:
    """One number for each id in rows of words around tags."""
    mixed = rows[:, 4] & _FOUR
    for place, factor in enumerate(_FACTORS):
        mixed = (mixed ^ rows[:, place]) * factor
        mixed ^= mixed >> np.uint64(29)
    return mixed
