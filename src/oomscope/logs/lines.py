"""Bytes to lines and to JSON objects, with bounded memory whatever the bytes are."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import orjson

BROKEN = (OSError, EOFError, zlib.error)  # what reading a damaged input raises
CHUNK = 1 << 18
MAX_LINE = 1 << 20
MAX_OBJECT = 4 << 20
_MOST_UNFINISHED = 8

# The end of one event and the start of the next. Inside a text the quote would stand behind a backslash.
_BETWEEN = re.compile(rb'\}(\s{0,200}+,\s{0,200}+\{\s{0,200}+")')

# One token of JSON text that matters for nesting: an object without objects in it, a whole string, a string cut by the
# end of the buffer, a brace.
_TOKEN = re.compile(
    rb'(?P<flat>\{(?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+\})|"(?:[^"\\]++|\\.)*+(?P<end>"|\\?\Z)|[{}]', re.DOTALL
)


class Reader(Protocol):
    """What is needed of a byte stream."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, none at the end."""


class Peeked:
    """A reader whose first bytes were already read; ``error`` is what stopped that reading, if anything did.

    Reads what is there instead of waiting for all that was asked, so that a file cut short gives all it has.
    """

    def __init__(self, head: bytes, rest: Reader, error: Exception | None = None) -> None:
        self._head = head
        self._error = error
        self._rest = rest
        self._read: Callable[[int], bytes] = getattr(rest, "read1", rest.read)

    def read(self, size: int, /) -> bytes:
        """The peeked bytes, then the rest. Raises what the reader raises."""
        if self._head:
            head, self._head = self._head[:size], self._head[size:]
            return head
        if self._error is not None:
            raise self._error
        return self._read(size)

    def give_back(self, data: bytes) -> None:
        """Bytes that were read too much."""
        self._head = data + self._head

    def readinto(self, view: memoryview) -> int:
        """Like ``read``, into a buffer; how many bytes, 0 at the end."""
        into = getattr(self._rest, "readinto1", None)
        if self._head or self._error is not None or into is None:
            found = self.read(len(view))
            view[: len(found)] = found
            return len(found)
        count: int = into(view)
        return count

    readinto1 = readinto  # for the next of these around this one

    def take(self, size: int) -> bytes:
        """Up to ``size`` bytes; less at the end or where reading breaks, which the next ``read`` raises."""
        found = self._head[:size]
        self._head = self._head[size:]
        try:
            while len(found) < size and self._error is None and (more := self._read(size - len(found))):
                found += more
        except BROKEN as error:
            self._error = error
        return found


class Upto:
    """The next bytes of a reader, up to the end of the line that the last of them is in."""

    def __init__(self, reader: Peeked, size: int) -> None:
        self._reader, self._left = reader, size
        self._open = True
        self.bytes = 0

    def read(self, size: int, /) -> bytes:
        """See ``Reader``."""
        if self._left > 0:
            found = self._reader.read(min(size, self._left))
            self._left -= len(found)
            self.bytes += len(found)
            self._open = bool(found) and (self._left > 0 or found[-1:] != b"\n")
            return found
        if not self._open:
            return b""
        found = self._reader.read(size)
        line, end, rest = found.partition(b"\n")
        self._open = bool(found) and not end
        self._reader.give_back(rest)
        self.bytes += len(line + end)
        return line + end


class LineReader:
    """The lines of a reader, decoded as UTF-8 (bad bytes become U+FFFD), without line ends.

    A line keeps its first ``MAX_LINE`` bytes. ``bytes`` counts all bytes, ``cut_tail`` tells after the last line
    whether it lacked its line end.
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
                carry = carry + chunk if len(carry) <= MAX_LINE else carry
                continue
            yield from split_lines(carry, chunk[:end])
            carry = chunk[end + 1 :]
        if carry:
            self.cut_tail = True
            yield carry[:MAX_LINE].decode("utf-8", "replace")


def split_lines(carry: bytes, block: bytes) -> Iterator[str]:
    """The lines of a block without its last line end, whose first line begins with ``carry``."""
    if len(carry) + CHUNK > MAX_LINE:
        first, more, block = block.partition(b"\n")
        yield (carry + first).removesuffix(b"\r")[:MAX_LINE].decode("utf-8", "replace")
        if not more:
            return
        carry = b""
    block = carry + block
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").removesuffix(b"\r")
    yield from block.decode("utf-8", "replace").split("\n")


class ObjectReader:
    """The JSON objects at one nesting depth of a reader, however the text is laid out.

    Depth 2 gives the elements of ``{"events": [{...}, {...}]}`` and of several such answers one after the other,
    depth 1 those of ``[{...}, {...}]``. What is larger than ``MAX_OBJECT`` or broken is left out and counted in
    ``dropped``.
    """

    def __init__(self, reader: Reader, depth: int) -> None:
        self._reader = reader
        self._depth = depth
        self._level = 0
        self._unfinished = 0
        self._found: list[dict[str, Any]] = []
        self.bytes = 0
        self.dropped = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        buffer = b""
        while chunk := self._reader.read(CHUNK):
            self.bytes += len(chunk)
            pieces = _BETWEEN.split(buffer + chunk)
            buffer = b""
            for piece, between in zip(pieces[::2], pieces[1::2], strict=False):
                # The split took a closing brace, and what stands between two objects or inside a text.
                whole = buffer + piece + b"}"
                found = self._quick(whole)
                if found is not None:
                    yield found
                    buffer = b'{"'
                    continue
                rest = self._careful(whole)
                yield from self._found
                # A text may hold what looks like the end of an event, but not many of them.
                self._unfinished = self._unfinished + 1 if rest else 0
                buffer = self._give_up() if self._unfinished > _MOST_UNFINISHED else rest
                buffer = buffer + between if buffer else b'{"'
            buffer += pieces[-1]
            if len(buffer) > MAX_OBJECT:
                buffer = self._give_up()
        self._careful(buffer)
        yield from self._found

    def _give_up(self) -> bytes:
        """Forget what never comes to an end and look for the next object."""
        self.dropped += 1
        self._level, self._unfinished = self._depth - 1, 0
        return b""

    def _quick(self, text: bytes) -> dict[str, Any] | None:
        """The one object a piece usually is; None when it is more or less than that."""
        if self._level != self._depth - 1:
            return None
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        return found if isinstance(found, dict) else None

    def _careful(self, text: bytes) -> bytes:
        """Token by token: puts whole objects into ``_found``, gives the unfinished rest."""
        self._found = []
        start, wanted = -1, self._depth
        for token in _TOKEN.finditer(text):
            first = text[token.start()]
            if token.lastgroup == "flat":
                if self._level == wanted - 1:
                    self._add(token[0])
            elif first == 0x7B:
                self._level += 1
                start = token.start() if self._level == wanted else start
            elif first == 0x7D:
                if self._level == wanted and start >= 0:
                    self._add(text[start : token.end()])
                    start = -1
                self._level = max(self._level - 1, 0)
            elif token["end"] != b'"':
                start = token.start() if start < 0 else start
                break
        if start >= 0 and self._level >= wanted:
            self._level = wanted - 1
        return text[start:] if start >= 0 else b""

    def _add(self, text: bytes) -> None:
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            self.dropped += 1
            return
        if isinstance(found, dict):
            self._found.append(found)
