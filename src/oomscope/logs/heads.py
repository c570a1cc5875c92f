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
SHORTEST = 100  # of a line whose head can be read without looking behind it
_PREFIX = 32  # up to the pid: ``I, [2026-11-23T08:23:04.484498 #``
_NAME = len("]  INFO -- : ")
_BEFORE = 7  # bytes copied in front of the tag
_HEAD, _TAG = 40, 56  # bytes copied of the prefix and around the tag

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


def read_heads(view: View, starts: Ints, ends: Ints, leads: tuple[Lead, ...]) -> Heads:
    """The heads of the lines that begin and end at these positions, each with one of the leads before it."""
    tags = np.full(starts.size, -1, np.int64)
    for lead in leads:
        lines = np.flatnonzero((tags < 0) & (ends - starts > lead.offset + SHORTEST))
        if lines.size:
            tags[lines] = _tags(view, starts[lines] + lead.offset, lead.text)
    heads = Heads(
        tags, np.zeros(tags.size, np.uint8), np.zeros(tags.size, np.uint64), np.zeros(tags.size, np.uint64)
    )
    _read_tags(view, heads)
    return heads


def _tags(view: View, at: Ints, lead: bytes) -> Ints:
    """Where the tag begins behind a prefix at each position, -1 where there is no such prefix."""
    if lead:
        ours = view.says(at - len(lead), lead)
        at = np.where(ours, at, at[0])
    rows = copied(view, at, _HEAD)
    pid = np.ascontiguousarray(rows[:, 4])
    good = ((rows[:, 0] & _LETTER_MASK) == _LETTER) & ((rows[:, 3] >> np.uint64(48)) == _PID)
    if lead:
        good &= ours
    width = np.zeros(at.size, np.uint8)
    for digits in range(1, 8):
        width += ((pid >> np.uint64(8 * digits)) == _INFOS[digits]).view(np.uint8) * np.uint8(digits)
        if width.all():
            break
    return np.where(good & (width > 0), at + width + (_PREFIX + _NAME), -1)


def _read_tags(view: View, heads: Heads) -> None:
    """Check the tags and say what the lines are."""
    lines = np.flatnonzero(heads.tags >= 0)
    rows = copied(view, heads.tags[lines] - _BEFORE, _TAG)
    first, second, third, fourth, last = (rows[:, place] for place in range(1, 6))
    fine = (rows[:, 0] == _INFO_END) & (((last >> np.uint64(32)) & _TWO) == _TAG_END)
    fine &= ((second & _DASHES_1) == _DASHES_1_SET) & ((third & _DASHES_2) == _DASHES_2_SET)
    fine &= (first & second & third & fourth & (last | ~_FOUR) & _LOW) == _LOW
    if not fine.all():
        heads.tags[lines[~fine]] = -1
        lines, rows = lines[fine], rows[fine]
    said = (rows[:, 5] >> np.uint64(48)) | (rows[:, 6] << np.uint64(16))
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
    mixed = rows[:, 5] & _FOUR
    for place, factor in enumerate(_FACTORS, 1):
        mixed = (mixed ^ rows[:, place]) * factor
        mixed ^= mixed >> np.uint64(29)
    return mixed
