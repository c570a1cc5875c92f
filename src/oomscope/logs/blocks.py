"""The bytes of a log in pieces of whole lines, with bounded memory whatever the bytes are."""

from __future__ import annotations

from collections.abc import Iterator

from oomscope.logs.bytescan import PAD
from oomscope.logs.lines import BROKEN, MAX_LINE, Peeked

BLOCK = MAX_LINE


class Blocks:
    """The bytes of a reader in pieces that end with a line end, each at most ``size`` long, in one reused buffer.

    A longer line keeps its first ``size`` bytes. ``rest`` is what follows the last line end.
    """

    def __init__(self, reader: Peeked, size: int = BLOCK) -> None:
        self._reader = reader
        self._size = size
        self._buffer = bytearray(size + PAD)
        self._view = memoryview(self._buffer)
        self.bytes = 0
        self.rest = b""
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[tuple[bytearray, int]]:
        """The buffer and how much of it is text; at least ``PAD`` more bytes follow. Valid until the next."""
        held = 0
        while more := self._fill(held):
            held += more
            end = self._buffer.rfind(b"\n", 0, held) + 1
            if not end and held == self._size:
                yield self._long_line()
                held = self._keep(self._after)
                continue
            if end:
                yield self._buffer, end
                self._buffer[: held - end] = self._buffer[end:held]
                held -= end
        self.rest = bytes(self._view[:held])

    def _fill(self, held: int) -> int:
        """Read as much as there is room for; a reader that breaks gives what it has first."""
        start = held
        if self._error is not None:
            raise self._error
        try:
            while held < self._size and (count := self._reader.readinto(self._view[held : self._size])):
                held += count
        except BROKEN as error:
            self._error = error
        self.bytes += held - start
        return self._fill(held) if held == start and self._error is not None else held - start

    def _long_line(self) -> tuple[bytearray, int]:
        """What is kept of a line that is longer than the buffer; what follows it waits in ``_after``."""
        kept, self._after = bytearray(self._view[: self._size]), b""
        while more := self._reader.read(self._size):
            self.bytes += len(more)
            _, end, after = more.partition(b"\n")
            if end:
                self._after = after
                return bytearray(kept + b"\n" + bytes(PAD)), self._size + 1
        return bytearray(kept + b"\n" + bytes(PAD)), self._size + 1

    def _keep(self, data: bytes) -> int:
        self._buffer[: len(data)] = data
        return len(data)
