"""Large logs without envelope: read in blocks of whole lines, which are taken as a whole where that is possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomscope.logs.block import read_block
from oomscope.logs.blocks import Blocks
from oomscope.logs.bulk import Bulk, fit
from oomscope.logs.bytescan import PAD
from oomscope.logs.lines import MAX_LINE, Peeked, Reader

if TYPE_CHECKING:
    from oomscope.logs.envelopes import ReadState
    from oomscope.logs.interface import LogInput
    from oomscope.logs.life import Life
    from oomscope.logs.whole import Book

_LEARN = 1 << 16  # bytes fed at a time while the shape of the log is not known


def drain_bare(head: bytes, reader: Reader, source: LogInput, state: ReadState, book: Book) -> None:
    """All lines of a log without envelope; ``head`` was read from it already."""
    drain = _Drain(source, book)
    blocks = Blocks(Peeked(head, reader))
    for buffer, size in blocks:
        state.bytes = blocks.bytes
        drain.take(buffer, size)
    state.bytes = blocks.bytes
    if blocks.rest:
        drain.lines(blocks.rest[:MAX_LINE])
        state.mark_cut(source.identity)


class _Drain:
    """Gives blocks to the one life that is in an input without envelope."""

    def __init__(self, source: LogInput, book: Book) -> None:
        self._source, self._book = source, book
        self._number = 1
        self._life: Life | None = None

    def take(self, buffer: bytearray, size: int) -> None:
        """A block of whole lines; ``PAD`` bytes follow its ``size`` bytes."""
        if buffer.find(b"\r", 0, size) >= 0:
            plain = bytes(memoryview(buffer)[:size]).replace(b"\r\n", b"\n")
            buffer, size = bytearray(plain + bytes(PAD)), len(plain)
        start = 0
        while start < size and (self._life is None or not fit(self._life)):
            cut = buffer.find(b"\n", min(start + _LEARN, size - 1), size) + 1
            self.lines(bytes(memoryview(buffer)[start : cut - 1]))
            start = cut
        if start:
            buffer, size = bytearray(memoryview(buffer)[start : size + PAD]), size - start
        if not size or self._bulk(buffer, memoryview(buffer)[:size]):
            return
        if self._life is not None and self._life.bulk is not None:
            self._life.bulk.dissolve()
        self.lines(bytes(memoryview(buffer)[: size - 1]))

    def _bulk(self, buffer: bytearray, text: memoryview) -> bool:
        life = self._life
        if life is None or len(text) > MAX_LINE or not _is_text(text):
            return False
        if life.bulk is None:
            life.bulk = Bulk(life)
        block = read_block(buffer, len(text))
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
