"""Large logs without envelope: read in blocks of whole lines, which are taken as a whole where that is possible."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from oomscope.logs.block import read_block
from oomscope.logs.bulk import Bulk, fit
from oomscope.logs.bytescan import PAD
from oomscope.logs.envelopes import as_object
from oomscope.logs.lines import MAX_LINE, Peeked, Reader
from oomscope.logs.opens import BLOCK as OPENS_BLOCK
from oomscope.logs.opens import Left, Matcher
from oomscope.logs.records import Owners, record_of

if TYPE_CHECKING:
    from oomscope.logs.envelopes import ReadState
    from oomscope.logs.interface import Identity, LogInput
    from oomscope.logs.life import Life
    from oomscope.logs.whole import Book

BLOCK = MAX_LINE
_PREFIXED = re.compile(rb'(?:"log":"|\\"log\\":\\")([DIWEFA], \[\d{4}-)')
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


def drain_opens(
    head: bytes, reader: Peeked, envelope: str, source: LogInput, state: ReadState, book: Book
) -> None:
    """What tells which requests are open at the end of a log; ``head`` was read from it, and its lines were taken."""
    blocks = Blocks(reader, OPENS_BLOCK)
    feeder = _Feeder(envelope, head.count(b"\n"), source, book)
    offset = 0 if envelope == "bare" else _offset(head)
    matcher = Matcher(offset, head[:offset][-8:])
    for buffer, size in blocks:
        feeder.take(matcher.take(buffer, size))
    state.bytes += blocks.bytes
    feeder.take(matcher.rest())
    if blocks.rest:
        feeder.take(iter([(matcher.lines, blocks.rest[:MAX_LINE])]))
        for owner in feeder.owners:
            state.mark_cut(owner)


def _offset(head: bytes) -> int:
    """Where the application's own line begins in the lines of a JSON log."""
    line = next((line for line in head.split(b"\n", 200) if _PREFIXED.search(line)), b"")
    found = _PREFIXED.search(line)
    return found.start(1) if found else 0


class _Feeder:
    """Gives single lines to the lives they belong to."""

    def __init__(self, envelope: str, first: int, source: LogInput, book: Book) -> None:
        self._bare = envelope == "bare"
        self._first, self._source, self._book = first + 1, source, book
        self._envelope = envelope
        self._owners = Owners(source.identity)
        self.owners: set[Identity] = set()

    def take(self, lines: Iterator[Left]) -> None:
        """Lines in their order, with their numbers from 0."""
        for number, line in lines:
            text = line.removesuffix(b"\r").decode("utf-8", "replace")
            if self._bare:
                self._feed(self._source.identity, text, None, number)
                continue
            record = record_of(as_object(text), self._owners)
            if record is not None and not record.partial:
                for part in record.text.split("\n"):
                    at = None if record.at_ns is None else record.at_ns // 1000
                    self._feed(record.owner, part, at, number)

    def _feed(self, owner: Identity, text: str, at: int | None, number: int) -> None:
        life = self._book.life(owner, self._source.label, self._envelope, at)
        if life is None:
            return
        life.feed(text, at, self._first + number)
        if life.scanner.reborn:
            self._book.succeed(owner, life)


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
        while held < self._size and (count := self._reader.readinto(self._view[held : self._size])):
            held += count
        self.bytes += held - start
        return held - start

    def _long_line(self) -> tuple[bytearray, int]:
        """What is kept of a line that is longer than the buffer; what follows it waits in ``_after``."""
        kept, self._after = bytearray(self._view[: self._size]), b""
        last = kept[-1:]
        while more := self._reader.read(self._size):
            self.bytes += len(more)
            line, end, after = more.partition(b"\n")
            last = line[-1:] or last
            if end:
                self._after = after
                return kept + b"\n" + bytes(PAD), self._size + 1
        return kept + b"\n" + bytes(PAD), self._size + 1

    def _keep(self, data: bytes) -> int:
        self._buffer[: len(data)] = data
        return len(data)


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
