"""Columns of numbers, times and texts out of positions in a byte buffer, many lines at once.

Every decoder returns the values and a mask of the rows it could prove; the caller hands the others to the plain parser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Words = NDArray[np.uint64]

_PIECE = 1 << 18  # bytes compared at a time: the comparison then stays in the processor's cache
_LOOK = 64  # bytes of a text looked at together with those of the others
PAD = 256  # bytes that must be readable before the first and after the last line
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MINUS_ONE = int.from_bytes(b"-1", "little")
_MAX_KINDS = 24  # distinct texts compared as a whole before falling back to a dictionary
_ASCII_ZEROS = np.uint64(0x3030303030303030)
_ONES = np.uint64(0x0101010101010101)
_HIGH_BITS = np.uint64(0x8080808080808080)
_POINT = np.uint64((ord(".") ^ ord("0")) << 32)  # of the point in the fourth byte from the end
_KEEP = np.array([(2**64 - 1) ^ ((1 << (8 * (8 - length))) - 1) for length in range(9)], np.uint64)
_BYTE = [np.uint64(0xFF << (8 * at)) for at in range(8)]
_COLON = [np.uint64(ord(":") << (8 * at)) for at in range(8)]
_SIXES = np.uint64(0x7676767676767676)  # 0x80 - 10 in every byte: a byte above nine carries into the high bit


class View:
    """A buffer that can be read as bytes and, at any position, as little-endian 64-bit words."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.bytes = np.frombuffer(data, np.uint8)
        self.words = np.ndarray((max(len(data) - 7, 0),), dtype="<u8", buffer=data, strides=(1,))

    def find(self, byte: int, low: int, high: int) -> Ints:
        """Positions of a byte from ``low`` up to ``high``."""
        return self._find(byte, low, high, np.flatnonzero)

    def find_rare(self, byte: int, low: int, high: int) -> Ints:
        """``find``, quicker for a byte that most stretches of eight do not hold: those are passed over as a whole."""
        return self._find(byte, low, high, _by_eights)

    def _find(self, byte: int, low: int, high: int, places: Callable[[Bools], Ints]) -> Ints:
        mask, found = np.empty(_PIECE, bool), [np.zeros(0, np.int64)]
        for at in range(low, high, _PIECE):
            piece = self.bytes[at : min(at + _PIECE, high)]
            np.equal(piece, byte, out=mask[: len(piece)])
            mask[len(piece) :] = False
            found.append(places(mask) + at)
        every: Ints = np.concatenate(found)
        return every

    def block(self, at: Ints, words: int) -> Words:
        """``words`` 64-bit words from each position, one row a position."""
        count, kind = len(self.data) - 8 * words + 1, f"V{8 * words}"
        item = np.ndarray((count,), dtype=kind, buffer=self.data, strides=(1,))
        return item[at].view("<u8").reshape(len(at), words)


def _by_eights(mask: Bools) -> Ints:
    eights = np.flatnonzero(mask.view(np.uint64) != 0)
    place = np.flatnonzero(mask.reshape(-1, 8)[eights])
    found: Ints = (eights[place >> 3] << 3) + (place & 7)
    return found


class Columns:
    """Some rows of several columns of numbers; a column is made when it is asked for."""

    def __init__(self, values: Ints, rows: Bools) -> None:
        self._values, self._rows = values, rows

    def __getitem__(self, column: int) -> Ints:
        """One of the columns."""
        values: Ints = self._values[column][self._rows]
        return values


class Texts(list[str]):
    """The distinct texts that a column's codes stand for."""


@dataclass
class Origin:
    """Where the lines of a buffer come from: stretches of lines of one file each.

    ``first``: the stretch's first line, counted in the buffer; ``before``: how many lines of its file come before it.
    """

    labels: list[str]
    first: Ints
    before: Ints

    def labels_of(self, lines: Ints) -> list[str]:
        """The file of each line."""
        return [self.labels[at] for at in self.stretch_of(lines).tolist()]

    def lines_of(self, lines: Ints) -> Ints:
        """The number of each line in its file, from 1."""
        at = self.stretch_of(lines)
        return lines - self.first[at] + self.before[at] + 1

    def stretch_of(self, lines: Ints) -> Ints:
        """The stretch of each line."""
        return np.searchsorted(self.first, lines, side="right") - 1


@dataclass
class Lines:
    """Lines of one buffer that may be ordinary: where each starts and ends, its number there, its time.

    ``body`` is where the word behind the time starts.
    """

    view: View
    start: Ints
    stop: Ints
    number: Ints
    time: Ints
    body: Ints

    def take(self, rows: Ints | Bools) -> Lines:
        """Some of the lines."""
        columns = (self.start, self.stop, self.number, self.time, self.body)
        return Lines(self.view, *(column[rows] for column in columns))


def numbers(view: View, begin: Ints, end: Ints, thousandths: Bools) -> tuple[Words, Bools, Bools]:
    """Digits of decimal numbers for ``integers_of`` or ``thousandths_of``; which are ``-`` or ``-1``; which are proven.

    A number has at most eight bytes; thousandths have three decimals, as the ALB writes them: ``12.345``.
    """
    length, last = end - begin, view.words[end - 8]
    digits = (last ^ np.where(thousandths, _ASCII_ZEROS ^ _POINT, _ASCII_ZEROS)) & _KEEP[
        np.minimum(length, 8)
    ]
    minus = ((length == 1) & (last >> np.uint64(56) == ord("-"))) | (
        (length == 2) & (last >> np.uint64(48) == _MINUS_ONE)
    )
    long_enough = length >= np.where(thousandths, 5, 1)
    return digits, minus, (_are_digits(digits) & long_enough & (length <= 8)) | minus


def integers_of(digits: Words) -> Ints:
    """Values of the digits; garbage where they are none."""
    digits = (digits * np.uint64(10) + (digits >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    digits = (digits * np.uint64(100) + (digits >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    digits = (digits * np.uint64(10000) + (digits >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    return digits.view(np.int64)


def thousandths_of(digits: Words) -> NDArray[np.float64]:
    """Values of the digits of thousandths; garbage where they are none."""
    low = digits & np.uint64(0xFFFFFFFF)  # the four bytes before the point move up by one to close the gap
    value: NDArray[np.float64] = integers_of((digits ^ low) | (low << np.uint64(8))) / 1000.0
    return value


def _are_digits(digits: Words) -> Bools:
    good: Bools = ((digits + _SIXES) | digits) & _HIGH_BITS == 0
    return good


def ports(view: View, begin: Ints, end: Ints) -> tuple[Ints, Words, Bools, Bools]:
    """Of ``host:port``: where the port starts, its digits for ``integers_of``; which are ``-``; which are proven."""
    length, last = end - begin, view.words[end - 8]
    size = np.zeros(len(end), np.int64)
    for count in (5, 4, 3, 2, 1):
        colon = last & _BYTE[7 - count] == _COLON[7 - count]
        size[colon & (length > count + 1)] = count
    digits = (last ^ _ASCII_ZEROS) & _KEEP[size]
    missing = (length == 1) & (last >> np.uint64(56) == ord("-"))
    first, before = view.bytes[begin], view.bytes[end - size - 2]
    proven = (size > 0) & _are_digits(digits) & (before != ord("]")) & (first != ord("["))
    return end - size, digits, missing, proven | missing


def times(view: View, begin: Ints) -> tuple[Ints, Bools]:
    """Microseconds since 1970 of ``2026-01-02T10:05:00.123456Z`` at each position, and which are proven."""
    first, second = view.words[begin], view.words[begin + 8] ^ _text_word("00T00:00")
    third, fourth = (
        view.words[begin + 16] ^ _text_word(":00.0000"),
        view.words[begin + 19] ^ _text_word(".000000Z"),
    )
    day, good = _days(view, begin, first, second & np.uint64(0xFFFFFF))
    good &= _are_digits(second) & _are_digits(third) & _are_digits(fourth)
    strange = (second & np.uint64(0x0000FF0000FF0000)) | (third & np.uint64(0xFF0000FF))
    good &= (strange | (fourth & np.uint64(0xFF000000000000FF))) == 0
    pairs = [word * np.uint64(10) + (word >> np.uint64(8)) for word in (second, third, fourth)]
    hour, minute, second_ = _byte(pairs[0], 3), _byte(pairs[0], 6), _byte(pairs[1], 1)
    good &= (hour < 24) & (minute < 60) & (second_ < 60)
    micros = (_byte(pairs[2], 1) * 100 + _byte(pairs[2], 3)) * 100 + _byte(pairs[2], 5)
    return (((day * 24 + hour) * 60 + minute) * 60 + second_) * 1_000_000 + micros, good


def _text_word(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(text.encode(), "little"))


def _byte(word: Words, at: int) -> Ints:
    return ((word >> np.uint64(8 * at)) & np.uint64(0xFF)).view(np.int64)


def _days(view: View, begin: Ints, first: Words, tail: Words) -> tuple[Ints, Bools]:
    """Days since 1970 of the eleven bytes ``2026-01-02T``. A log holds few dates, so each is read once."""
    days, good = np.zeros(len(begin), np.int64), np.zeros(len(begin), bool)
    rest = np.arange(len(begin))
    for _ in range(_MAX_KINDS):
        if not len(rest):
            break
        row = rest[0]
        same = (first[rest] == first[row]) & (tail[rest] == tail[row])
        at = int(begin[row])
        day = _day_of(view.data[at : at + 11])
        days[rest[same]], good[rest[same]] = day or 0, day is not None
        rest = rest[~same]
    return days, good


def _day_of(text: bytes) -> int | None:
    digits = text[:4] + text[5:7] + text[8:10]
    if text[4:5] + text[7:8] + text[10:] != b"--T" or not digits.isdigit():
        return None
    try:
        return date(int(text[:4]), int(text[5:7]), int(text[8:10])).toordinal() - _EPOCH_DAY
    except ValueError:
        return None


def tokens(word: Words, known: tuple[bytes, ...]) -> tuple[Ints, Ints]:
    """Which of the known texts (up to eight bytes) each word starts with: its index and length, or -1 and 0."""
    which, length = np.full(len(word), -1, np.int64), np.zeros(len(word), np.int64)
    rest = np.arange(len(word))
    for index, text in enumerate(known):
        mask = np.uint64((1 << (8 * len(text))) - 1)
        same = word[rest] & mask == np.uint64(int.from_bytes(text, "little"))
        which[rest[same]], length[rest[same]] = index, len(text)
        rest = rest[~same]
        if not len(rest):
            break
    return which, length


def first_of(view: View, begin: Ints, end: Ints, byte: int) -> Ints:
    """Where the byte first stands in each text of [begin, end); ``end`` where it does not."""
    at = np.array(end)
    hit = np.flatnonzero(view.block(begin, _LOOK // 8).view(np.uint8).reshape(-1) == byte)[::-1]
    row = hit // _LOOK
    at[row] = begin[row] + hit % _LOOK  # of several in a row the first is written last
    for long in np.flatnonzero((end - begin > _LOOK) & (at == end)).tolist():
        place = view.data.find(byte, int(begin[long]) + _LOOK, int(end[long]))
        at[long] = place if place >= 0 else end[long]
    return np.minimum(at, end)


def kinds(view: View, begin: Ints, end: Ints) -> tuple[Ints, list[bytes]]:
    """Number the texts in [begin, end): codes and the distinct texts. Quick when there are few distinct ones."""
    return _number(view, begin, end, whole=True, cut=len)


def prefixes(view: View, begin: Ints, end: Ints, cut: Callable[[bytes], int]) -> tuple[Ints, list[bytes]]:
    """Number the texts by their first ``cut(text)`` bytes; a text whose cut is 0 has code -1."""
    return _number(view, begin, end, whole=False, cut=cut)


def _number(
    view: View, begin: Ints, end: Ints, *, whole: bool, cut: Callable[[bytes], int]
) -> tuple[Ints, list[bytes]]:
    codes, known = np.full(len(begin), -1, np.int64), dict[bytes, int]()
    rest, length = np.arange(len(begin)), end - begin
    for _ in range(_MAX_KINDS):
        if not len(rest):
            break
        row = int(rest[0])
        text = view.data[int(begin[row]) : int(end[row])]
        size = cut(text)
        fits = length[rest] == size if whole else length[rest] >= max(size, 1)
        same = rest[fits]
        same = same[_equal(view, begin[same], text[:size])]
        if whole or size:
            codes[same] = known.setdefault(text[:size], len(known))
            rest = rest[codes[rest] < 0]
        else:
            rest = rest[1:]
    for row, text in zip(rest.tolist(), slices(view, begin[rest], end[rest]), strict=True):
        if size := cut(text):
            codes[row] = known.setdefault(text[:size], len(known))
    return codes, list(known)


def _equal(view: View, begin: Ints, text: bytes) -> Bools:
    """At which positions the text stands (positions are far enough from the end to hold it)."""
    if not text:
        return np.ones(len(begin), bool)
    count = -(-len(text) // 8)
    wanted = np.frombuffer(text.ljust(8 * count, b"\0"), "<u8")
    differ = view.block(begin, count) ^ wanted
    differ[:, -1] &= ~_KEEP[8 * count - len(text)]
    same: Bools = ~differ.any(axis=1)
    return same


def has_byte(view: View, begin: Ints, end: Ints, byte: int) -> Bools:
    """Whether a text of at most eight bytes holds the byte."""
    keep = _KEEP[np.clip(end - begin, 0, 8)]
    other = (view.words[end - 8] ^ (_ONES * np.uint64(byte))) | ~keep
    zero = (other - _ONES) & ~other & _HIGH_BITS  # marks the lowest byte that is zero
    found: Bools = zero != 0
    return found


def slices(view: View, begin: Ints, end: Ints) -> list[bytes]:
    """The texts in [begin, end)."""
    data = view.data
    return [data[b:e] for b, e in zip(begin.tolist(), end.tolist(), strict=True)]


def strings(view: View, begin: Ints, end: Ints) -> pl.Series:
    """The texts as a string column; ``-`` and nothing become null, bytes that are not UTF-8 are replaced."""
    empty = (end <= begin) | ((end - begin == 1) & (view.bytes[begin] == ord("-")))
    return nullify(_decode(slices(view, begin, end)), empty)


def repeated(view: View, begin: Ints, end: Ints) -> pl.Series:
    """As ``strings``, quicker where few distinct texts are expected."""
    codes, texts = kinds(view, begin, np.maximum(end, begin))
    return few_strings(codes, [text.decode("utf-8", "replace") for text in texts])


def few_strings(codes: Ints, texts: list[str]) -> pl.Series:
    """The string column of numbered texts; a code of -1, ``-`` and nothing are null."""
    table = pl.Series([None if text in ("", "-") else text for text in [*texts, "-"]], dtype=pl.String)
    return table[codes]  # a code of -1 takes the last entry


def _decode(texts: list[bytes]) -> pl.Series:
    try:
        return pl.Series(texts, dtype=pl.Binary).cast(pl.String)
    except pl.exceptions.ComputeError:  # not UTF-8 somewhere
        return pl.Series([one.decode("utf-8", "replace") for one in texts], dtype=pl.String)


def nullify(values: pl.Series, empty: Bools) -> pl.Series:
    """The column with nulls where ``empty``."""
    return values.set(pl.Series(empty), None) if empty.any() else values
