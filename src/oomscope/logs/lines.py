"""Bytes to lines and to JSON objects, with bounded memory whatever the bytes are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

CHUNK = 1 << 18
MAX_LINE = 1 << 20
MAX_OBJECT = 4 << 20

# One token of JSON text that matters for nesting: a whole string, a string cut by the end of the buffer, a brace.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:(")|\\?\Z)|[{}]', re.DOTALL)


class Reader(Protocol):
    """What is needed of a byte stream."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, none at the end."""


class Peeked:
    """A reader whose first bytes were already read."""

    def __init__(self, head: bytes, rest: Reader) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        """The peeked bytes at once, then the rest."""
        head, self._head = self._head, b""
        return head or self._rest.read(size)


class LineReader:
    """The lines of a reader, decoded as UTF-8 (bad bytes become U+FFFD), without line ends.

    A line keeps its first ``MAX_LINE`` bytes. ``bytes`` counts all bytes, ``cut_tail`` tells after the last line whether
    it lacked its line end.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.bytes = 0
        self.cut_tail = False

    def __iter__(self) -> Iterator[str]:
        carry = b""
        while chunk := self._reader.read(CHUNK):
            self.bytes += len(chunk)
            end = chunk.rfind(b"\n")
            if end < 0:
                carry = carry + chunk if len(carry) < MAX_LINE else carry
                continue
            yield from _split(carry, chunk[:end])
            carry = chunk[end + 1 :]
        if carry:
            self.cut_tail = True
            yield carry[:MAX_LINE].decode("utf-8", "replace")


def _split(carry: bytes, block: bytes) -> Iterator[str]:
    if len(carry) > MAX_LINE:
        first, _, block = block.partition(b"\n")
        yield carry[:MAX_LINE].decode("utf-8", "replace")
        if not block:
            return
        carry = b""
    block = carry + block
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").removesuffix(b"\r")
    yield from block.decode("utf-8", "replace").split("\n")


class ObjectReader:
    """The JSON objects at one nesting depth of a reader, as bytes, however the text is laid out.

    Depth 2 gives the elements of ``{"events": [{...}, {...}]}`` and of several such answers one after the other; depth 1
    those of ``[{...}, {...}]``. An object larger than ``MAX_OBJECT`` is left out and counted in ``dropped``.
    """

    def __init__(self, reader: Reader, depth: int) -> None:
        self._reader = reader
        self._depth = depth
        self.bytes = 0
        self.dropped = 0

    def __iter__(self) -> Iterator[bytes]:
        buffer, level = b"", 0
        while chunk := self._reader.read(CHUNK):
            self.bytes += len(chunk)
            buffer += chunk
            found, keep, level = self._objects(buffer, level)
            yield from found
            buffer = buffer[keep:]
            if len(buffer) > MAX_OBJECT:
                # Nothing sane is that long: forget it and look for the next object.
                self.dropped += 1
                buffer, level = b"", self._depth - 1

    def _objects(self, buffer: bytes, level: int) -> tuple[list[bytes], int, int]:
        """Whole objects in the buffer, where the unread rest begins, and the level there."""
        found: list[bytes] = []
        start, keep, level_at_keep, wanted = -1, len(buffer), level, self._depth
        for token in _TOKEN.finditer(buffer):
            first = buffer[token.start()]
            if first == 0x7B:
                level += 1
                if level == wanted:
                    start = token.start()
            elif first == 0x7D:
                if level == wanted and start >= 0:
                    found.append(buffer[start : token.end()])
                    start = -1
                level = max(level - 1, 0)
            elif token.group(1) is None:
                keep, level_at_keep = token.start(), level
                break
            level_at_keep = level
        if start >= 0:
            return found, start, wanted - 1
        return found, keep, level_at_keep
