"""Large logs without envelope: read in blocks of whole lines, which are taken as a whole where that is possible."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from oomscope.logs.block import read_block
from oomscope.logs.bulk import Bulk, fit
from oomscope.logs.bytescan import PAD
from oomscope.logs.lines import MAX_LINE, Reader

if TYPE_CHECKING:
    from oomscope.logs.envelopes import ReadState
    from oomscope.logs.interface import LogInput
    from oomscope.logs.life import Life
    from oomscope.logs.whole import Book

BLOCK = MAX_LINE
_LEARN = 1 << 16  # bytes fed at a time while the shape of the log is not known


def drain_bare(head: bytes, reader: Reader, source: LogInput, state: ReadState, book: Book) -> None:
    """All lines of a log without envelope; ``head`` was read from it already."""
    drain = _Drain(source, book)
    blocks = Blocks(head, reader)
    for data in blocks:
        state.bytes = blocks.bytes
        drain.take(data)
    state.bytes = blocks.bytes
    if blocks.rest:
        drain.lines(blocks.rest[:MAX_LINE])
        state.mark_cut(source.identity)


class Blocks:
    """The bytes of a reader in pieces that end with a line end, each at most ``MAX_LINE`` long, in one reused buffer.

    A longer line is cut to ``MAX_LINE``. ``rest`` is what follows the last line end.
    """

    def __init__(self, head: bytes, reader: Reader, size: int = BLOCK) -> None:
        self._head = memoryview(head)
        self._reader = reader
        self._size = size
        self.bytes = 0
        self.rest = b""

    def __iter__(self) -> Iterator[bytearray]:
        """Each is valid until the next; ``PAD`` more bytes follow its text."""
        carry = bytearray()
        while more := self._next(self._size - len(carry)):
            carry += more
            end = carry.rfind(b"\n") + 1
            if not end and len(carry) >= self._size:
                carry = self._end_of_line(carry)
                end = carry.find(b"\n") + 1
            if end:
                yield carry[:end] + bytes(PAD)
                del carry[:end]
        self.rest = bytes(carry)

    def _next(self, size: int) -> bytes:
        found = bytes(self._head[:size])
        self._head = self._head[size:]
        while len(found) < size and (more := self._reader.read(size - len(found))):
            found += more
        self.bytes += len(found)
        return found

    def _end_of_line(self, carry: bytearray) -> bytearray:
        """A line too long: what is kept of it, and what follows its end."""
        last = carry[-1:]
        while more := self._next(self._size):
            line, end, after = more.partition(b"\n")
            last = line[-1:] or last
            if end:
                kept = carry[: MAX_LINE]
                return kept + b"\n" + after
        return carry


class _Drain:
    """Gives blocks to the one life that is in an input without envelope."""

    def __init__(self, source: LogInput, book: Book) -> None:
        self._source, self._book = source, book
        self._number = 1
        self._life: Life | None = None

    def take(self, data: bytearray) -> None:
        """A block of whole lines."""
        end = len(data) - PAD
        if b"\r" in data:
            data = bytearray(bytes(memoryview(data)[:end]).replace(b"\r\n", b"\n") + bytes(PAD))
            end = len(data) - PAD
        while self._life is None or (end and not fit(self._life)):
            cut = data.find(b"\n", min(_LEARN, end - 1)) + 1
            self.lines(bytes(memoryview(data)[: cut - 1]))
            del data[:cut]
            end = len(data) - PAD
            if not end or self._life is None:
                return
        text = memoryview(data)[:end]
        if not end or (_is_text(text) and self._bulk(data, text)):
            return
        if self._life.bulk is not None:
            self._life.bulk.dissolve()
        self.lines(bytes(text[:-1]))

    def _bulk(self, data: bytearray, text: memoryview) -> bool:
        life = self._life
        if life is None:
            return False
        if life.bulk is None:
            life.bulk = Bulk(life)
        block = read_block(data, len(text))
        taken = life.bulk.take(block, text, self._number)
        if taken:
            self._number += block.starts.size
        return taken

    def lines(self, data: bytes) -> None:
        """Lines one by one, without the last line end."""
        owner = self._source.identity
        for text in data.decode("utf-8", "replace").split("\n"):
            life = self._life or self._book.life(owner, self._source.label, "bare", None)
            if life is not None:
                life.feed(text, None, self._number)
                if life.scanner.reborn:
                    life = self._book.succeed(owner, life)
            self._life = life
            self._number += 1


def _is_text(data: memoryview) -> bool:
    """Whether the bytes are UTF-8 throughout."""
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True
