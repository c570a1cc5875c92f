"""Columns of numbers, times and texts out of positions in a byte buffer, many lines at once.

Every decoder returns the values and a mask of the rows it could prove; the caller hands the others to the plain parser.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Words = NDArray[np.uint64]

PAD = 256  # bytes that must be readable before the first and after the last line
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MAX_KINDS = 24  # distinct texts compared as a whole before falling back to a dictionary
_ASCII_ZEROS = np.uint64(0x3030303030303030)
_ONES = np.uint64(0x0101010101010101)
_HIGH_BITS = np.uint64(0x8080808080808080)
_SIXES = np.uint64(0x7676767676767676)  # 0x80 - 10 in every byte: a byte above nine carries into the high bit


class View:
    """A buffer that can be read as bytes and, at any position, as little-endian 64-bit words."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.bytes = np.frombuffer(data, np.uint8)
        self.words = np.ndarray((len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))

    def block(self, at: Ints, words: int) -> Words:
        """``words`` 64-bit words from each position, one row a position."""
        count, kind = len(self.data) - 8 * words + 1, f"V{8 * words}"
        item = np.ndarray((count,), dtype=kind, buffer=self.data, strides=(1,))
        return item[at].view("<u8").reshape(len(at), words)


def integers(view: View, begin: Ints, end: Ints) -> tuple[Ints, Bools, Bools]:
    """Decimal numbers in [begin, end): values, which are ``-`` or ``-1`` (no value), which are proven (either)."""
    length = end - begin
    word = view.words[end - 8]
    value, good = _eight_digits(word, np.minimum(length, 8))
    if len(length) and int(length.max()) > 8:
        upper, upper_good = _eight_digits(view.words[end - 16], np.clip(length - 8, 0, 8))
        long = length > 8
        value = np.where(long, upper * 100_000_000 + value, value)
        good &= ~long | (upper_good & (length <= 15))
    missing = _is_minus(view, begin, length)
    return value, missing, (good & (length > 0)) | missing


def thousandths(view: View, begin: Ints, end: Ints) -> tuple[NDArray[np.float64], Bools, Bools]:
    """Numbers like ``12.345`` (three decimals, as the ALB writes them), or ``-1`` or ``-``: as ``integers``."""
    length = end - begin
    fraction, fraction_good = _eight_digits(view.words[end - 8], np.full(len(end), 3))
    whole, whole_good = _eight_digits(view.words[end - 12], np.clip(length - 4, 0, 8))
    good = fraction_good & whole_good & (length >= 5) & (length <= 12) & (view.bytes[end - 4] == ord("."))
    missing = _is_minus(view, begin, length)
    return (whole * 1000 + fraction) / 1000.0, missing, good | missing


def _is_minus(view: View, begin: Ints, length: Ints) -> Bools:
    minus = view.bytes[begin] == ord("-")
    return minus & ((length == 1) | ((length == 2) & (view.bytes[begin + 1] == ord("1"))))


def _eight_digits(word: Words, length: Ints) -> tuple[Ints, Bools]:
    """Value of the last ``length`` (0..8) bytes of each word as decimal digits, and whether they are digits."""
    unused = _unused(length)
    digits = _left(_right(word ^ _ASCII_ZEROS, unused), unused)
    good = ((digits + _SIXES) | digits) & _HIGH_BITS == 0
    digits = (digits * np.uint64(10) + (digits >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    digits = (digits * np.uint64(100) + (digits >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    digits = (digits * np.uint64(10000) + (digits >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    return digits.astype(np.int64), good


def ports(view: View, begin: Ints, end: Ints) -> tuple[Ints, Bools, Bools]:
    """Start of the port after the last colon of ``host:port``; which are ``-``; which are proven."""
    start = np.zeros(len(end), np.int64)
    for digits in range(1, 6):
        colon = end - digits - 1
        start = np.where((start == 0) & (view.bytes[colon] == ord(":")) & (colon > begin), colon + 1, start)
    missing = (end - begin == 1) & (view.bytes[begin] == ord("-"))
    return np.where(start > 0, start, end), missing, (start > 0) | missing


def times(view: View, begin: Ints) -> tuple[Ints, Bools]:
    """Microseconds since 1970 of ``2026-01-02T10:05:00.123456Z`` at each position, and which are proven."""
    first, second = view.words[begin], view.words[begin + 8]
    third, fourth = view.words[begin + 16], view.words[begin + 19]  # the last eight: ".123456Z" less the dot
    day, day_good = _days(view, begin, first, second)
    clock = _pick(second, 3, 2), _pick(second, 6, 2), _pick(third, 1, 2)
    micros, micros_good = _eight_digits(fourth << np.uint64(8), np.full(len(begin), 6))
    good = day_good & micros_good
    good &= (
        _is_byte(second, 5, ":")
        & _is_byte(third, 0, ":")
        & _is_byte(third, 3, ".")
        & _is_byte(fourth, 7, "Z")
    )
    seconds = np.zeros(len(begin), np.int64)
    for (part, part_good), limit in zip(clock, (24, 60, 60), strict=True):
        good &= part_good & (part < limit)
        seconds = seconds * 60 + part
    return (day * 86400 + seconds) * 1_000_000 + micros, good


def _days(view: View, begin: Ints, first: Words, second: Words) -> tuple[Ints, Bools]:
    """Days since 1970 of the eleven bytes ``2026-01-02T``. A log holds few dates, so each is read once."""
    tail = second & np.uint64(0xFFFFFF)
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


def _pick(word: Words, at: int, count: int) -> tuple[Ints, Bools]:
    """The decimal number in ``count`` bytes of each word from byte ``at``."""
    return _eight_digits(word << np.uint64(8 * (8 - at - count)), np.full(len(word), count))


def _is_byte(word: Words, at: int, char: str) -> Bools:
    return (word >> np.uint64(8 * at)) & np.uint64(0xFF) == ord(char)


def tokens(word: Words, known: tuple[bytes, ...]) -> tuple[Ints, Ints]:
    """Which of the known texts (up to eight bytes) each word starts with: its index and length, or -1 and 0."""
    which, length = np.full(len(word), -1, np.int64), np.zeros(len(word), np.int64)
    for index, text in enumerate(known):
        mask = np.uint64((1 << (8 * len(text))) - 1)
        same = word & mask == np.uint64(int.from_bytes(text, "little"))
        which[same], length[same] = index, len(text)
    return which, length


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
    words = -(-len(text) // 8)
    if not words:
        return np.ones(len(begin), bool)
    model = np.frombuffer(text.ljust(8 * words, b"\0"), "<u8")
    mask = np.frombuffer((b"\xff" * len(text)).ljust(8 * words, b"\0"), "<u8")
    return ~(((view.block(begin, words) ^ model) & mask).any(axis=1))


def has_byte(view: View, begin: Ints, end: Ints, byte: int) -> Bools:
    """Whether a text of at most eight bytes holds the byte."""
    unused = _unused(end - begin)
    other = _right(view.words[end - 8] ^ (_ONES * np.uint64(byte)), unused)
    zero = (other - _ONES) & ~other & _HIGH_BITS  # the high bit marks the lowest byte that is zero
    return (zero & _right(np.full(len(end), 2**64 - 1, np.uint64), unused)) != 0


def _unused(length: Ints) -> Words:
    return ((8 - np.clip(length, 0, 8)) * 8).astype(np.uint64)


def _right(word: Words, bits: Words) -> Words:
    """Shift right by 0 to 64 bits; in two halves, as shifting by 64 is undefined."""
    half = bits >> np.uint64(1)
    return (word >> half) >> (bits - half)


def _left(word: Words, bits: Words) -> Words:
    half = bits >> np.uint64(1)
    return (word << half) << (bits - half)


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
    return table.gather(np.where(codes < 0, len(texts), codes))


def _decode(texts: list[bytes]) -> pl.Series:
    text = pl.Series(texts, dtype=pl.Binary).cast(pl.String, strict=False)
    if text.null_count():
        return pl.Series([one.decode("utf-8", "replace") for one in texts], dtype=pl.String)
    return text


def nullify(values: pl.Series, empty: Bools) -> pl.Series:
    """The column with nulls where ``empty``."""
    return values.set(pl.Series(empty), None) if empty.any() else values
