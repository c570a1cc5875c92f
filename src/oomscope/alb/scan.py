"""The fast reader: the shape of a line is proven for thousands of lines at a time, on bytes, with numpy.

Quotes are the skeleton: a whole line has twelve quoted fields in fixed places. What cannot be proven to be an ordinary
line (damage, odd numbers, rare methods) goes to the plain parser, one line at a time, so both give the same table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
import polars as pl

from oomscope.alb.bytesview import (
    PAD,
    Bools,
    Columns,
    Ints,
    Lines,
    Origin,
    Texts,
    View,
    has_byte,
    kinds,
    numbers,
    ports,
    prefixes,
    slices,
    times,
    tokens,
)
from oomscope.alb.columns import DECIMALS, METHODS, NUMBERS, PROTOCOLS, SIDES, TYPES, table
from oomscope.alb.line import MAX_LINE, AlbStats, Bounds, read_line, split_request
from oomscope.alb.rows import AlbInput, frame_of

CHUNK = 3 << 20
_KEPT = 16 << 20
_ODD_ROWS = 4096
_QUOTES = 24  # of the twelve quoted fields up to classification_reason
# 64-bit words looked at for the ten words behind the time; more than that goes the slow way
_HEAD_WORDS = (16, 32)
_JOINED = [0, 2, 3, 5, 6, 7, 8, 9, 10]  # quoted fields that the next quoted field follows directly
_AFTER_WORDS = [0, 2, 5]  # quoted fields that follow a bare word
_THOUSANDTHS = np.array([[name in DECIMALS] for name in NUMBERS])
_AUTHORITY = re.compile(rb"[a-z]{2,5}://[^/?]+/")
_THREE_WORDS = re.compile(rb' [^ "]+ [^ "]+ ([^ "]+) ')
_BLANK, _NEWLINE, _QUOTE, _RETURN = 32, 10, 34, 13


def scan(
    inputs: Sequence[AlbInput], bounds: Bounds | None, columns: frozenset[str]
) -> Iterator[tuple[pl.DataFrame, AlbStats]]:
    """Tables of the asked columns, block by block, in no particular order; the odd lines' rows come late."""
    # Freed at once: from then on the C library keeps as much freed memory for the next block.
    np.empty(_KEPT, bool)
    odd_rows = list[dict[str, Any]]()
    for block in _blocks(inputs):
        frame, rows, stats = _read(block, bounds, columns)
        odd_rows += rows
        if len(odd_rows) >= _ODD_ROWS:  # a table for every few of them would cost more than reading them
            frame, odd_rows = pl.concat([frame, frame_of(odd_rows, columns)]), []
        yield frame, stats
    if odd_rows:
        yield frame_of(odd_rows, columns), AlbStats()


@dataclass
class _Block:
    """The lines of a buffer. The start of the first one is in ``carry``, when it was left over from the last buffer."""

    carry: bytes
    lines: Lines
    origin: Origin


def _blocks(inputs: Sequence[AlbInput]) -> Iterator[_Block]:
    """Large files in blocks; small ones, which most are, several in a block: a block has its fixed costs."""
    held, labels = list[bytes](), list[str]()
    for source in inputs:
        with source.open() as stream:
            start = stream.read(CHUNK)
            if len(start) >= CHUNK:
                yield from _blocks_of(start, stream, source.label)
            elif start:
                held.append(start if start.endswith(b"\n") else start + b"\n")
                labels.append(source.label)
        if sum(map(len, held)) >= CHUNK:
            yield _together(held, labels)
            held, labels = [], []
    if held:
        yield _together(held, labels)


def _together(files: list[bytes], labels: list[str]) -> _Block:
    lines = _split(b"".join(files))
    first = np.searchsorted(lines.start, np.cumsum([0, *map(len, files[:-1])]))
    return _Block(b"", lines, Origin(labels, first, np.zeros_like(first)))


def _blocks_of(start: bytes, stream: BinaryIO, label: str) -> Iterator[_Block]:
    """Blocks of one file. Of a line too long to be one only the start is kept."""
    carry, before, nothing = b"", 0, np.zeros(1, np.int64)
    for piece in _pieces(start, stream):
        cut = piece.rfind(b"\n") + 1
        if cut:
            lines = _split(piece)
            yield _Block(carry, lines, Origin([label], nothing, nothing + before))
            before += len(lines.start)
            carry = piece[cut:]
        else:
            carry = (carry + piece)[: MAX_LINE + 1]
    if carry:
        yield _Block(carry, _split(b"\n"), Origin([label], nothing, nothing + before))


def _pieces(block: bytes, stream: BinaryIO) -> Iterator[bytes]:
    """Pieces of CHUNK bytes from the first on; what little is left at the end is read with the last."""
    while block:
        following = stream.read(CHUNK)
        if len(following) <= CHUNK // 4:
            block, following = block + following, b""
        yield block
        block = following


def _read(
    block: _Block, bounds: Bounds | None, columns: frozenset[str]
) -> tuple[pl.DataFrame, list[dict[str, Any]], AlbStats]:
    """Table of the lines that end in the block; rows of the odd ones among them; what became of all.

    Lines at the block's edges are read the plain way, so that the block need not be copied.
    """
    lines, odd, outside = _in_window(block.lines, bounds)
    fields, proven = _prove(lines)
    odd = np.sort(np.concatenate([odd, lines.number[~proven]]))
    slow_rows, slow = _slowly(block, odd, bounds)
    if not proven.all():
        lines, fields = lines.take(proven), {name: _rows(value, proven) for name, value in fields.items()}
    frame = table(lines, fields, block.origin, columns)
    size = len(block.carry) + int(block.lines.stop[-1]) + 1
    counts = AlbStats(
        lines=len(block.lines.stop) - len(odd), rows=int(proven.sum()), outside=outside, bytes=size
    )
    return frame, slow_rows, counts + slow


def _rows(value: Any, rows: Bools) -> Any:
    """Some rows of a field: of one with many columns each is cut when it is asked for, which most never are."""
    if isinstance(value, Texts):
        return value
    return Columns(value, rows) if value.ndim == 2 else value[rows]


def _split(data: bytes) -> Lines:
    view = View(data)
    stop = view.find_rare(_NEWLINE, 0, len(view.data))
    start, none = np.empty_like(stop), np.zeros_like(stop)
    start[0], start[1:] = 0, stop[:-1] + 1
    return Lines(view, start, stop, np.arange(len(stop)), none, none)


def _in_window(lines: Lines, bounds: Bounds | None) -> tuple[Lines, Ints, int]:
    """Lines whose type and time are proven and inside the window; indexes of unproven ones; count of outside ones."""
    good = (lines.start >= PAD) & (lines.stop < len(lines.view.data) - PAD)  # the edges cannot be read around
    middle = np.flatnonzero(good)
    time, body = np.zeros(len(good), np.int64), np.zeros(len(good), np.int64)
    start = lines.start[middle]
    _which, width = tokens(lines.view.words[start], TYPES)
    time[middle], fine = times(lines.view, start + width)
    body[middle] = start + width + 28
    good[middle] = fine & (width > 0) & (lines.view.bytes[start + width + 27] == _BLANK)
    odd = np.flatnonzero(~good)
    inside = good if bounds is None else good & (np.searchsorted(bounds, time, side="right") % 2 == 1)
    kept = np.flatnonzero(inside)
    lines = Lines(lines.view, lines.start, lines.stop, lines.number, time, body)
    outside = len(time) - len(odd) - len(kept)
    if len(kept) == len(time):
        return lines, odd, outside
    return (_compact(lines.take(kept)) if len(kept) * 2 < len(time) else lines.take(kept)), odd, outside


def _compact(lines: Lines) -> Lines:
    """The same lines in a buffer of their own, when most of the chunk is not wanted."""
    padding = bytes(PAD)
    length = lines.stop + 1 - lines.start
    stop = PAD + np.cumsum(length) - 1
    data = b"".join([padding, *slices(lines.view, lines.start, lines.stop + 1), padding])
    view = View(data)
    start = stop + 1 - length
    return Lines(view, start, stop, lines.number, lines.time, lines.body - lines.start + start)


def _prove(lines: Lines) -> tuple[dict[str, Any], Bools]:
    """Positions and numbers of every line, and which lines are proven to be whole and ordinary."""
    view, count = lines.view, len(lines.start)
    if not count:
        return {}, np.zeros(0, bool)
    low, high = int(lines.start[0]), int(lines.stop[-1]) + 1
    quotes = view.find(_QUOTE, low, high)
    first = np.searchsorted(quotes, lines.start)
    which = first + np.arange(_QUOTES)[:, None]  # a row for each quote: read together, lies together
    quote = np.append(quotes, high - 1).take(which, mode="clip")  # short lines index something
    good = (
        (quote[-1] < lines.stop)
        & (lines.stop - lines.start <= MAX_LINE)
        & (view.bytes[lines.stop - 1] != _RETURN)
    )
    good &= _skeleton(view, quote)
    space, words_good = _head(view, lines.body, quote[0])
    good &= words_good
    fields: dict[str, Any] = {"quote": quote, "space": space}
    for prove in (_numbers, _addresses, _request, _middle):
        good &= prove(view, lines, fields)
    return fields, good


def _skeleton(view: View, quote: Ints) -> Bools:
    """Quoted fields stand where they should, with single spaces between those that follow each other."""
    opening, closing = quote[0::2], quote[1::2]
    good: Bools = np.all(view.bytes[closing[:-1] + 1] == _BLANK, axis=0)
    good &= (opening[1:] - closing[:-1] == 2)[_JOINED].all(axis=0)
    good &= (view.bytes[opening[_AFTER_WORDS] - 1] == _BLANK).all(axis=0)
    after = view.bytes[closing[-1] + 1]
    good &= (after == _BLANK) | (after == _NEWLINE)
    return good


def _head(view: View, body: Ints, request: Ints) -> tuple[Ints, Bools]:
    """The twelve spaces before the request field, and whether twelve words stand between them.

    Most lines' words are short. The others are read again with more room, where two IPv6 addresses fit.
    """
    space, good = _spaces(view, body, request, _HEAD_WORDS[0])
    if not good.all():
        rest = np.flatnonzero(~good)
        space[:, rest], good[rest] = _spaces(view, body[rest], request[rest], _HEAD_WORDS[1])
    return space, good


def _spaces(view: View, body: Ints, request: Ints, words: int) -> tuple[Ints, Bools]:
    head = view.block(body, words).view(np.uint8).reshape(-1)
    blank = np.flatnonzero(head == _BLANK)
    row = np.arange(len(body)) * (8 * words)
    first = np.searchsorted(blank, row)
    blank = np.concatenate([blank, np.full(10, len(head))])
    space = np.empty((12, len(body)), np.int64)
    space[0], space[1] = body - 29, body - 1  # around the time, which is proven
    np.add(blank[first + np.arange(10)[:, None]], body - row, out=space[2:])
    good = (space[11] + 1 == request) & (space[2:] - space[1:-1] > 1).all(axis=0)
    refused = np.flatnonzero(~good)
    space[:, refused] = body[refused] + np.arange(12)[:, None]  # harmless positions
    return space, good


def _numbers(view: View, _lines: Lines, fields: dict[str, Any]) -> Bools:
    space = fields["space"]
    fields["digits"], fields["minus"], proven = numbers(view, space[4:11] + 1, space[5:12], _THOUSANDTHS)
    good: Bools = np.all(proven, axis=0)
    return good


def _addresses(view: View, _lines: Lines, fields: dict[str, Any]) -> Bools:
    space = fields["space"]
    good = np.ones(space.shape[1], bool)
    for side, index in SIDES.items():
        fields[side], fields[side + ":"], fields[side + "?"], fine = ports(
            view, space[index] + 1, space[index + 1]
        )
        good &= fine
    return good


def _request(view: View, lines: Lines, fields: dict[str, Any]) -> Bools:
    """``METHOD scheme://host:port/path?query HTTP/x``; what stands before the path is one of few texts in a log."""
    begin, end = fields["quote"][0] + 1, fields["quote"][1]
    method, width = tokens(view.words[begin], METHODS)
    protocol, _ = tokens(view.words[end - 8], PROTOCOLS)
    good: Bools = (method >= 0) & (protocol >= 0) & (view.bytes[end - 9] == _BLANK)
    url, stop = begin + width, np.maximum(end - 9, begin + width)
    host, hosts = prefixes(view, url, stop, _authority)
    path = url + np.array([len(text) for text in hosts] + [1])[host] - 1
    fields.update(method=method, protocol=protocol, path=path, url_end=stop, host=host)
    fields["hosts"] = Texts(split_request(b"GET " + text + b" -")[1] or "-" for text in hosts)
    good &= host >= 0
    return good


def _authority(url: bytes) -> int:
    """Length of ``scheme://host:port/`` at the start of a URL, 0 when it does not start so."""
    match = _AUTHORITY.match(url)
    return match.end() if match else 0


def _middle(view: View, _lines: Lines, fields: dict[str, Any]) -> Bools:
    """The words between user agent and trace id, and those before actions_executed."""
    quote = fields["quote"]
    code, texts = kinds(view, quote[3] + 1, np.maximum(quote[4], quote[3] + 1))
    words = [_THREE_WORDS.fullmatch(text) for text in texts]
    good: Bools = np.array([match is not None for match in words] + [False])[code]
    fields["target_group"] = code
    fields["target_groups"] = Texts(match[1].decode("utf-8", "replace") if match else "-" for match in words)
    begin, end = quote[9] + 2, quote[10] - 29
    fields["created_at"], created_good = times(view, end + 1)
    short = (
        (end > begin) & (end - begin <= 8) & (view.bytes[end] == _BLANK) & (view.bytes[end + 28] == _BLANK)
    )
    good &= created_good & short & ~has_byte(view, begin, np.maximum(end, begin), _BLANK)
    return good


# -------------------------------------------------------------------------------------------- the slow way


def _slowly(block: _Block, odd: Ints, bounds: Bounds | None) -> tuple[list[dict[str, Any]], AlbStats]:
    """Rows of the lines that could not be proven ordinary, and what became of them. The first one starts with carry."""
    rows, stats, lines = list[dict[str, Any]](), AlbStats(), block.lines
    places = zip(odd.tolist(), block.origin.labels_of(odd), block.origin.lines_of(odd).tolist(), strict=True)
    for index, label, number in places:
        text = lines.view.data[int(lines.start[index]) : int(lines.stop[index])]
        row, seen = read_line(block.carry + text if index == 0 else text, bounds)
        stats += replace(seen, first_damaged=f"{label}:{number}" if seen.damaged else None, bytes=0)
        if row:
            rows.append({**row, "source": label, "line": number})
    return rows, stats
