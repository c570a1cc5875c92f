"""Large logs of which only the lines that matter are read: matched in blocks, by two processes where that pays."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from oomscope.logs.blocks import Blocks
from oomscope.logs.envelopes import as_object
from oomscope.logs.lines import MAX_LINE, Peeked
from oomscope.logs.opens import BLOCK, Left
from oomscope.logs.parts import Form, Part, matcher_of, shared_parts
from oomscope.logs.records import Owners, record_of

if TYPE_CHECKING:
    import polars as pl

    from oomscope.logs.envelopes import ReadState
    from oomscope.logs.interface import Identity, LogInput
    from oomscope.logs.whole import Book

_PREFIXED = re.compile(rb'(?:"log":"|\\"log\\":\\")([DIWEFA], \[\d{4}-)')
_END = re.compile(rb'(?:\\\\n)?(\\?",\\?"[a-z_]{1,20}\\?":)')


def drain_matched(
    head: bytes, reader: Peeked, envelope: str, source: LogInput, state: ReadState, book: Book
) -> None:
    """Give the lives of an input the lines that matter; ``head`` was read from it, and its lines were taken."""
    form = _form(head, envelope, book.sink is not None)
    feeder = _Feeder(envelope, head.count(b"\n"), source, book)
    shared = shared_parts(source, len(head), form)
    if shared is not None:
        for part in shared:
            feeder.take_part(part, book.sink)
            state.bytes += part.size
        return
    matcher = matcher_of(form)
    blocks = Blocks(reader, BLOCK)
    for buffer, size in blocks:
        feeder.take(matcher.take(buffer, size))
        if book.sink is not None and (frame := matcher.frame(least=FLUSH)) is not None:
            book.sink(frame)
    state.bytes += blocks.bytes
    feeder.take(matcher.rest())
    if book.sink is not None and (frame := matcher.frame(least=1)) is not None:
        book.sink(frame)
    feeder.take_cut(matcher.lines, blocks.rest[:MAX_LINE], state)


FLUSH = 16_384  # rows of a table at least, but for the last


def _form(head: bytes, envelope: str, lifecycles: bool) -> Form:
    """Where the application's own line begins and ends in the lines of this log."""
    if envelope == "bare":
        return Form(0, b"", b"", lifecycles)
    line = next((line for line in head.split(b"\n", 2000) if _PREFIXED.search(line)), b"")
    found = _PREFIXED.search(line)
    if not found:
        return Form(0, b"", b"", lifecycles)
    end = _END.search(line, found.end())
    return Form(found.start(1), line[: found.start(1)][-8:], end[1] if end else b"", lifecycles)


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

    def take_part(self, part: Part, sink: Callable[[pl.DataFrame], None] | None) -> None:
        """What another process, or this one, found in a part of a file."""
        self.take(iter(part.left))
        self._first += part.lines
        if sink is not None:
            for frame in part.frames():
                sink(frame)

    def take_cut(self, number: int, line: bytes, state: ReadState) -> None:
        """The last line, which has no end."""
        if line:
            self.take(iter([(number, line)]))
            for owner in self.owners:
                state.mark_cut(owner)

    def _feed(self, owner: Identity, text: str, at: int | None, number: int) -> None:
        life = self._book.life(owner, self._source.label, self._envelope, at)
        if life is None:
            return
        self.owners.add(owner)
        life.feed(text, at, self._first + number)
        if life.scanner.reborn:
            self._book.succeed(owner, life)
