"""Vectorised reading of bytes: eight bytes at a time at any position, and parsers that walk many lines at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

PAD = 64  # readable bytes that must follow the text, so that words at its very end exist
_STEP = 1 << 18  # scanned at a time: small enough for the second level cache together with its flags
_NEWLINE = 10
_ONE = np.uint64(1)
_ZEROS = np.uint64(0x3030303030303030)
_NIBBLES, _ABOVE_NINE = np.uint64(0xF0F0F0F0F0F0F0F0), np.uint64(0x0606060606060606)


def word(text: bytes) -> np.uint64:
    """Eight bytes as the number a ``View`` gives for them."""
    return np.uint64(int.from_bytes(text.ljust(8, b"\0"), "little"))


def eight_digits(value: Words) -> Ints:
    """The number whose decimal digits (0 to 9, not text) are the bytes, the lowest byte first."""
    value = (value * np.uint64(10) + (value >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    value = (value * np.uint64(100) + (value >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    return ((value * np.uint64(10_000) + (value >> np.uint64(32))) & np.uint64(0xFFFFFFFF)).view(np.int64)


def _mask(length: int) -> np.uint64:
    return np.uint64((1 << (8 * length)) - 1)


def _places(flags: Flags) -> Ints:
    """Where the few flags that are set are, of a multiple of eight: eight are looked at together."""
    words = flags.view(np.uint64)
    at = np.flatnonzero(words != 0)
    found = words[at]
    if (found & (found - _ONE)).any():  # two within eight
        return np.flatnonzero(flags)
    places: Ints = at * 8 + (np.bitwise_count(found - _ONE) >> 3)
    return places


class View:
    """One buffer seen as bytes and as unaligned words. ``size`` bytes are text, at least ``PAD`` more follow it."""

    def __init__(self, buffer: bytes | bytearray, size: int) -> None:
        self.size = size
        self.bytes = np.frombuffer(buffer, np.uint8)
        self.words: Words = np.ndarray((len(buffer) - 8,), "<u8", buffer, strides=(1,))
        self.pairs = np.ndarray((len(buffer) - 8,), "<u2", buffer, strides=(1,))
        self.quads = np.ndarray((len(buffer) - 8,), "<u4", buffer, strides=(1,))

    def newlines(self) -> Ints:
        """Positions of all line ends in the text."""
        flags = np.zeros(min(_STEP, -(-self.size // 8) * 8), np.bool_)
        found = []
        for start in range(0, self.size, _STEP):
            part = self.bytes[start : min(start + _STEP, self.size)]
            np.equal(part, _NEWLINE, out=flags[: part.size])
            flags[part.size :] = False
            found.append(_places(flags) + start)
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def says(self, at: Ints, text: bytes) -> Flags:
        """Where the text stands at these positions."""
        same = self._says8(at, text[:8])
        for done in range(8, len(text), 8):
            same &= self._says8(at + done, text[done : done + 8])
        return same

    def _says8(self, at: Ints, text: bytes) -> Flags:
        words = self.words[at] if len(text) == 8 else self.words[at] & _mask(len(text))
        same: Flags = words == word(text)
        return same


class Cursors:
    """One reading position a line, all moved together. A line that does not read as told is no longer ``good``.

    Positions of bad lines stay where they were, so that nothing is ever read behind the buffer.
    """

    def __init__(self, view: View, at: Ints, ends: Ints) -> None:
        self._view = view
        self.at = at.copy()
        self.ends = ends
        self.good = np.ones(at.size, np.bool_)

    def skip(self, text: bytes) -> None:
        """The text stands here; go on behind it."""
        self.good &= self._view.says(self.at, text)
        self.at += self.good * len(text)

    def maybe(self, text: bytes) -> Flags:
        """Where the text stands; those go on behind it."""
        there = self._view.says(self.at, text) & self.good
        self.at += there * len(text)
        return there

    def number(self, where: Flags | None = None) -> Ints:
        """One to eight decimal digits; 0 where none is wanted."""
        value = self._view.words[self.at] ^ _ZEROS
        signs = (value | (value + _ABOVE_NINE)) & _NIBBLES
        width = np.where(signs == 0, 8, np.bitwise_count((signs & (~signs + _ONE)) - _ONE) >> 3)
        wanted = self.good & (width > 0) if where is None else self.good & where & (width > 0)
        self.good &= wanted if where is None else wanted | ~where
        digits = value << (np.uint64(8) * (8 - np.maximum(width, 1)).astype(np.uint64))
        self.at += np.where(wanted, width, 0)
        return np.where(wanted, eight_digits(digits), 0)

    def tenths(self, where: Flags) -> npt.NDArray[np.float64]:
        """A number with one decimal, NaN where none is wanted."""
        whole = self.number(where)
        self.need(b".", where)
        tenth = self._view.bytes[self.at].astype(np.int64) - 48
        self.good &= ((tenth >= 0) & (tenth <= 9)) | ~where
        self.at += where & self.good
        return np.where(where, (whole * 10 + tenth) / 10.0, np.nan)

    def need(self, text: bytes, where: Flags) -> None:
        """The text stands here on these lines; go on behind it."""
        there = self._view.says(self.at, text)
        self.good &= there | ~where
        self.at += (where & self.good) * len(text)

    def until(self, text: bytes, most: int, where: Flags | None = None) -> None:
        """Go to the next place where the text stands, at most ``most`` bytes on and inside the line."""
        looking = np.flatnonzero(self.good if where is None else where & self.good)
        at, ends = self.at[looking], self.ends[looking]
        for _ in range(most + 1):
            found = self._view.says(at, text)
            self.at[looking[found]] = at[found]
            on = ~found & (at < ends)
            self.good[looking[~found & ~on]] = False
            looking, at, ends = looking[on], at[on] + 1, ends[on]
            if not looking.size:
                return
        self.good[looking] = False

    def at_end(self) -> None:
        """The line ends here."""
        self.good &= self.at == self.ends
