"""Whole lines of one tagged Rails log, sorted out without looking at any of them singly.

A block says of each line what it is, and which requests begin and end in it without anything unusual: one Started, one
Processing, at most one Parameters and one Completed line in this order, and no other line that names the request and
could matter to it. Those are *clean*. Everything that is neither a line of a clean request nor one of the lines that
say nothing (``Rendered ...``) is left to the general path, see ``Block.left``.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from oomscope.logs.bytescan import Flags, Ints, View, Words, eight_digits, word
from oomscope.logs.clock import second_epoch
from oomscope.logs.heads import COMPLETED, ENQUEUED, ODD, PARAMETERS, PROCESSING, QUIET, STARTED

_LINE_LIMIT = 4000  # above this, lines of other processes can stand inside a line
_ID = 36
_TAG = _ID + 3  # "[", the id, "] "
_OFFSETS = (0, 8, 16, 24, 28)
_INDEX = np.uint64(0xFFFF)
_PREFIX = 32  # up to the pid: ``I, [2026-11-23T08:23:04.484498 #``
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

_INFO, _DEBUG = word(b"]  INFO "), word(b"] DEBUG ")
_INFO_END, _DEBUG_END = word(b"O -- : ["), word(b"G -- : [")
_LETTERS = tuple(int.from_bytes(letter + b", [", "little") for letter in (b"I", b"D"))
_TAG_END = int.from_bytes(b"] ", "little")
_KINDS = (
    (word(b"Started "), STARTED),
    (word(b"Processi"), PROCESSING),
    (word(b"  Parame"), PARAMETERS),
    (word(b"Complete"), COMPLETED),
)
_ODD_INDENTED = word(b"  Proces")
_SAYINGS = (
    (word(b"Redirect"), QUIET, "Redirected to "),
    (word(b"[ActiveJ"), ENQUEUED, "[ActiveJob] Enqueued "),
)
_TRAPS = ("method", "pid=", "TID-")
_LOW = np.uint64(0x2020202020202020)  # set in digits, lower case letters and "-", clear in "]" and line ends
_DASHES_1, _DASHES_1_SET = np.uint64(0x0000FF00000000FF), word(b"-\0\0\0\0-")
_DASHES_2, _DASHES_2_SET = np.uint64(0xFF00000000FF0000), word(b"\0\0-\0\0\0\0-")
_BYTE, _ZEROS = np.uint64(0xFF), word(b"0" * 8)
_NIBBLES, _ABOVE_NINE = np.uint64(0xF0F0F0F0F0F0F0F0), np.uint64(0x0606060606060606)
_CLOCK, _MICROS = word(b"00:00:00"), word(b".000000 ")
# Clients choose request ids: with secret factors nobody can make two that look the same here.
_MIX = tuple(np.uint64(secrets.randbits(64) | 1) for _ in range(5))


class Clean(NamedTuple):
    """Line numbers (in the block) of the clean requests' lines, in order of their Completed; -1: no Parameters."""

    started: Ints
    processing: Ints
    parameters: Ints
    completed: Ints


@dataclass(slots=True)
class Block:
    """See above. Per line: where it starts and ends, where its message starts, its kind, time and process."""

    view: View
    text: str  # of the whole block, one character a byte
    ascii: bool
    starts: Ints
    ends: Ints
    messages: Ints
    kinds: npt.NDArray[np.uint8]
    prefixed: Flags
    tagged: Flags
    times: Ints  # microseconds since 1970 in the logger's own zone, where prefixed
    pids: Ints  # where prefixed
    clean: Clean
    left: Ints

    def line(self, index: int) -> str:
        """One line, decoded."""
        return self.piece(int(self.starts[index]), int(self.ends[index]))

    def piece(self, start: int, end: int) -> str:
        """Some bytes of the block, decoded."""
        found = self.text[start:end]
        return found if self.ascii or found.isascii() else found.encode("latin-1").decode("utf-8", "replace")

    def pieces(self, starts: Ints, ends: Ints) -> list[str]:
        """Many pieces, decoded."""
        text = self.text
        found = [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        if self.ascii:
            return found
        return [
            piece if piece.isascii() else piece.encode("latin-1").decode("utf-8", "replace")
            for piece in found
        ]

    def request_id(self, index: int) -> str:
        """The tag of a tagged line."""
        start = int(self.messages[index]) - _TAG + 1
        return self.text[start : start + _ID]

    def mentions(self, index: int) -> list[int]:
        """Where request ids stand in a line, its own tag left out."""
        start, end = int(self.starts[index]), int(self.ends[index])
        if self.tagged[index]:
            start = int(self.messages[index])
        return (
            [found.start() for found in _UUID.finditer(self.text, start, end)] if end - start >= _ID else []
        )

    def ids(self, lines: Ints) -> list[str]:
        """The tags of many tagged lines."""
        text = self.text
        return [text[at : at + _ID] for at in (self.messages[lines] - (_TAG - 1)).tolist()]


def read_block(buffer: bytes | bytearray, size: int) -> Block:
    """Sort out the first ``size`` bytes, which end with a line end and are followed by at least ``PAD`` more."""
    view = View(buffer, size)
    ends = view.newlines()
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    text = str(memoryview(buffer)[:size], "latin-1")
    count = ends.size
    block = Block(
        view, text, text.isascii(), starts, ends, np.zeros(count, np.int64), np.zeros(count, np.uint8),
        np.zeros(count, np.bool_), np.zeros(count, np.bool_), np.zeros(count, np.int64), np.full(count, -1, np.int64),
        Clean(*(np.empty(0, np.int64) for _ in range(4))), np.empty(0, np.int64),
    )  # fmt: skip
    _read_prefixes(block)
    keys = _read_tags(block)
    _read_kinds(block)
    _find_clean(block, keys)
    return block


def _read_prefixes(block: Block) -> None:
    """Time, process and where the tag begins, of lines with the usual logger prefix."""
    view, starts = block.view, block.starts
    letter = view.quads[starts]
    good = (letter == _LETTERS[0]) | (letter == _LETTERS[1])
    good &= block.ends - starts > _PREFIX + 15
    lines = np.flatnonzero(good & (view.bytes[starts + _PREFIX - 1] == 0x23))
    at = starts[lines]
    times, dated = _times(view, at)
    tags, pids = _processes(view, at + _PREFIX)
    fine = dated & (tags >= 0)
    lines = lines[fine]
    block.prefixed[lines] = True
    block.times[lines] = times[fine]
    block.pids[lines] = pids[fine]
    block.messages[lines] = tags[fine] + _TAG


def _processes(view: View, at: Ints) -> tuple[Ints, Ints]:
    """Where the tag begins behind ``123]  INFO -- : `` (-1: no such text) and the number, for each position."""
    tags, pids = np.full(at.size, -1, np.int64), np.zeros(at.size, np.int64)
    digits = view.words[at] ^ _ZEROS
    todo = np.arange(at.size)
    for width in range(1, 8):
        if not todo.size:
            break
        end = at[todo] + width
        head, tail = view.words[end], view.words[end + 6]
        found = ((head == _INFO) & (tail == _INFO_END)) | ((head == _DEBUG) & (tail == _DEBUG_END))
        if not found.any():
            continue
        lines = todo[found]
        number = digits[lines] << np.uint64(64 - 8 * width)  # right-aligned, zeros in front
        fine = ((number | (number + _ABOVE_NINE)) & _NIBBLES) == 0
        tags[lines[fine]] = at[lines[fine]] + width + 13
        pids[lines[fine]] = eight_digits(number[fine])
        todo = todo[~found]
    return tags, pids


def _times(view: View, starts: Ints) -> tuple[Ints, Flags]:
    """Microseconds since 1970 of the times at ``starts + 4`` read as UTC, and where there is one."""
    clock = view.words[starts + 15] ^ _CLOCK
    micros = view.words[starts + 23] ^ _MICROS
    fine = ((clock | (clock + _ABOVE_NINE)) & _NIBBLES) | (clock & np.uint64(0x0000FF0000FF0000))
    fine |= ((micros | (micros + _ABOVE_NINE)) & _NIBBLES) | (micros & np.uint64(0xFF000000000000FF))
    days, dated = _days(view, starts)
    pairs = clock * np.uint64(10) + (clock >> np.uint64(8))  # a pair of digits in byte 0, 3 and 6
    hours, minutes = pairs & _BYTE, (pairs >> np.uint64(24)) & _BYTE
    seconds = (pairs >> np.uint64(48)) & _BYTE
    dated &= (fine == 0) & (hours < 24) & (minutes < 60) & (seconds < 60)
    whole = days + (hours * np.uint64(3600) + minutes * np.uint64(60) + seconds).view(np.int64)
    return whole * 1_000_000 + eight_digits(micros << np.uint64(8)), dated


def _days(view: View, starts: Ints) -> tuple[Ints, Flags]:
    """Seconds since 1970 of the days (``2026-11-23T``), and where there is one."""
    first, last = view.words[starts + 4], view.words[starts + 7]
    seconds, fine = np.zeros(starts.size, np.int64), np.zeros(starts.size, np.bool_)
    todo = np.arange(starts.size)
    for _ in range(8):  # days in one block; more of them are left to the general path
        if not todo.size:
            break
        at = int(starts[todo[0]]) + 4
        same = (first[todo] == first[todo[0]]) & (last[todo] == last[todo[0]])
        day = bytes(view.bytes[at : at + 11]).decode("latin-1")
        epoch = second_epoch(f"{day}00:00:00") if day[-1] == "T" else None
        if epoch is not None:
            seconds[todo[same]] = epoch
            fine[todo[same]] = True
        todo = todo[~same]
    return seconds, fine


def _read_tags(block: Block) -> Words:
    """Which lines have a request id as their first tag, and a hash of it."""
    view = block.view
    keys = np.zeros(block.starts.size, np.uint64)
    lines = np.flatnonzero(block.prefixed)
    lines = lines[block.messages[lines] <= block.ends[lines]]
    at = block.messages[lines]
    ids = id_words(view, at - (_TAG - 1))
    clear = ids[0] & ids[1] & ids[2] & ids[3] & ids[4] & _LOW
    fine = (clear == _LOW) & (view.pairs[at - 2] == _TAG_END)
    fine &= ((ids[1] & _DASHES_1) == _DASHES_1_SET) & ((ids[2] & _DASHES_2) == _DASHES_2_SET)
    if not fine.all():
        lines, ids = lines[fine], [part[fine] for part in ids]
    block.tagged[lines] = True
    keys[lines] = hashes(ids)
    return keys


def _read_kinds(block: Block) -> None:
    view = block.view
    lines = np.flatnonzero(block.tagged & (block.ends - block.starts <= _LINE_LIMIT))
    if "\x1b" in block.text:
        lines = np.array([line for line in lines.tolist() if "\x1b" not in block.line(line)], np.int64)
    at = block.messages[lines]
    said = view.words[at]
    kinds = np.zeros(lines.size, np.uint8)
    first = said & np.uint64(0xFFFF)
    third = (said >> np.uint64(16)) & np.uint64(0xFF)
    quiet = (first == 0x2020) & (third > 0x20) & (third < 0x7F) & (said != _ODD_INDENTED)
    kinds[quiet & (block.ends[lines] - at > 3)] = QUIET
    for start, kind in _KINDS:
        kinds[said == start] = kind
    for start, kind, whole in _SAYINGS:
        for index in np.flatnonzero(said == start).tolist():
            text = block.piece(int(at[index]), int(block.ends[lines[index]]))
            # Arguments and queries may hold what a request log of one line a request holds.
            kinds[index] = (
                kind if text.startswith(whole) and not any(mark in text for mark in _TRAPS) else ODD
            )
    block.kinds[lines] = kinds


def _find_clean(block: Block, keys: Words) -> None:
    """Group the life cycle lines by request; keep the groups that are as they should be."""
    lines = np.flatnonzero((block.kinds >= STARTED) & (block.kinds <= COMPLETED))
    if not lines.size or lines.size > _INDEX:
        settle(block, np.empty((4, 0), np.int64), keys)
        return
    # One fast sort instead of a slow one that moves an index along: the low bits hold it.
    order = np.sort((keys[lines] & ~_INDEX) | np.arange(lines.size, dtype=np.uint64))
    lines = lines[(order & _INDEX).view(np.int64)]
    key, kind = order >> np.uint64(16), block.kinds[lines]
    first = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    size = np.diff(first, append=key.size)
    kind = np.concatenate((kind, np.zeros(4, np.uint8)))
    begins = (kind[first] == STARTED) & (kind[first + 1] == PROCESSING)
    third = kind[first + 2]
    short = begins & (size == 3) & (third == COMPLETED)
    full = begins & (size == 4) & (third == PARAMETERS) & (kind[first + 3] == COMPLETED)
    first, full = first[short | full], full[short | full]
    lines = np.concatenate((lines, np.full(4, -1, np.int64)))
    parameters = np.where(full, lines[first + 2], -1)
    clean = np.stack((lines[first], lines[first + 1], parameters, lines[first + 2 + full]))
    # The sort saw most of the hash only.
    same = keys[clean[0]] == keys[clean[1]]
    same &= (keys[clean[0]] == keys[clean[3]]) & ((clean[2] < 0) | (keys[clean[0]] == keys[clean[2]]))
    same &= block.pids[clean[0]] == block.pids[clean[3]]
    same &= block.pids[clean[0]] == block.pids[clean[1]]
    settle(block, clean[:, same], keys)


def settle(block: Block, clean: npt.NDArray[np.int64], keys: Words) -> None:
    """Take these groups as the clean ones, less those that an odd line names; all other lines are left."""
    if clean.shape[1]:
        named = _named(block, keys)
        clean = clean[:, ~np.isin(keys[clean[0]], named)] if named.size else clean
    take(block, clean[:, np.argsort(clean[3])])


def take(block: Block, clean: npt.NDArray[np.int64]) -> None:
    """These requests are clean, and everything else that may say something is left."""
    block.clean = Clean(*clean)
    done = block.kinds == QUIET
    for row in block.clean:
        done[row[row >= 0]] = True
    block.left = np.flatnonzero(~done)


def _named(block: Block, keys: Words) -> Words:
    """Hashes of the request ids that odd lines bear or mention."""
    odd = np.flatnonzero(block.kinds == ODD)
    places = [place for index in odd.tolist() for place in block.mentions(index)]
    return np.concatenate(
        (keys[odd[block.tagged[odd]]], hashes(id_words(block.view, np.array(places, np.int64))))
    )


def id_words(view: View, at: Ints) -> list[Words]:
    """The words of the ids at these positions; the last two overlap."""
    return [view.words[at + offset] for offset in _OFFSETS]


def hashes(ids: list[Words]) -> Words:
    """One number for each id."""
    mixed = np.zeros(ids[0].size, np.uint64)
    for part, factor in zip(ids, _MIX, strict=True):
        mixed = (mixed ^ part) * factor
        mixed ^= mixed >> np.uint64(29)
    return mixed
