"""What lines begin with, read for thousands of lines at once: the logger's prefix, the request id, the message's start.

All bytes that matter of a line are copied side by side in one go, since picking single words from here and there costs
more than all comparisons together.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from oomscope.logs.bytescan import Flags, Ints, View, Words, word

ODD, QUIET, STARTED, PROCESSING, PARAMETERS, COMPLETED, ENQUEUED = range(7)
Kinds = npt.NDArray[np.uint8]

MESSAGE = 39  # behind "[", the id, "] "
_SHORTEST = {True: 100, False: 50}  # of a line, with prefix or without, whose head is wholly inside it
_PREFIX = 32  # up to the pid: ``I, [2026-11-23T08:23:04.484498 #``
_NAME = len("]  INFO -- : ")
_HEAD, _ROW = 40, 64  # bytes copied of the prefix and around the tag

_LETTER, _LETTER_MASK = word(b"I, ["), np.uint64(0xFFFFFFFF)
_PID = np.uint64(int.from_bytes(b" #", "little"))
_INFOS = [word(b"]  INFO "[: 8 - digits]) for digits in range(8)]
_NAME_END = b"FO -- : "
_TAG = b"[xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx] "
_SIGN = 0x20  # set in digits, lower case letters and "-", clear in "]" and line ends
_ALL = np.uint64(0x0101010101010101)
_TOGETHER = 2048  # rows compared at a time: small enough for the second level cache
_TWO, _FIVE = np.uint64(0xFFFF), np.uint64(0xFFFFFFFFFF)
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
    tag), the first eight bytes of its message.
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
    rows = copied(view, at - len(_NAME_END) if prefix else at, _ROW)
    fine = _shaped(rows, prefix)
    rows = rows[:, 1:] if prefix else rows
    if not fine.all():
        heads.tags[lines[~fine]] = -1
        lines, rows = lines[fine], rows[fine]
    said = (rows[:, 4] >> np.uint64(56)) | (rows[:, 5] << np.uint64(8))
    heads.kinds[lines] = kinds_of(said)
    heads.said[lines] = said
    heads.keys[lines] = _hashes(rows)


def _shape(prefix: bool) -> tuple[Words, Words]:
    """For each byte of many rows which bits matter and what they are."""
    before = _NAME_END if prefix else b""
    bits = b"\xff" * len(before) + bytes(_SIGN if sign == ord("x") else 0xFF for sign in _TAG)
    wanted = before + bytes(_SIGN if sign == ord("x") else sign for sign in _TAG)
    row = np.array([list(text.ljust(_ROW, b"\0")) for text in (bits, wanted)], np.uint8)
    return tuple(np.tile(one.view(np.uint64), (_TOGETHER, 1)) for one in row)  # type: ignore[return-value]


_SHAPES = {prefix: _shape(prefix) for prefix in (True, False)}


def _shaped(rows: Words, prefix: bool) -> Flags:
    """Which rows hold a tag of the usual form. All words of many rows are compared at once."""
    bits, wanted = _SHAPES[prefix]
    same = np.empty(rows.shape, np.bool_)
    for start in range(0, len(rows), _TOGETHER):
        part = rows[start : start + _TOGETHER]
        np.equal(part & bits[: len(part)], wanted[: len(part)], out=same[start : start + _TOGETHER])
    fine: Flags = same.view(np.uint64)[:, 0] == _ALL
    return fine


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
    """One number for each id in rows of words that begin with tags."""
    mixed = rows[:, 4] & _FIVE
    for place, factor in enumerate(_FACTORS):
        mixed = (mixed ^ rows[:, place]) * factor
        mixed ^= mixed >> np.uint64(29)
    return mixed
