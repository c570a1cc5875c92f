"""Pieces of large logs of which only what matters is read: matched in blocks, by two processes where that pays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from oomscope.logs.blocks import Blocks
from oomscope.logs.envelopes import entries_of
from oomscope.logs.lines import MAX_LINE, Peeked
from oomscope.logs.one_line import OneLine
from oomscope.logs.opens import BLOCK, Counts, Form, Matcher
from oomscope.logs.parts import Part, matcher_of
from oomscope.logs.shape import split_head

if TYPE_CHECKING:
    import polars as pl

    from oomscope.logs.envelopes import ReadState
    from oomscope.logs.interface import LogInput
    from oomscope.logs.life import Life
    from oomscope.logs.whole import Book

FLUSH = 16_384  # rows of a table at least, but for the last


class Matched:
    """Gives the lives of an input the lines that matter, and counts the others in. ``number``: of the next line."""

    def __init__(self, form: Form, source: LogInput, state: ReadState, book: Book, number: int) -> None:
        self._form, self._source, self._state, self._book = form, source, state, book
        self.number = number

    def drain(self, reader: Peeked) -> None:
        """All lines of a reader."""
        self._feed(self._matched(reader))

    def drain_parts(self, parts: Iterator[Part]) -> None:
        """The same of parts that were read already, maybe elsewhere."""
        self._feed(self._left_of(parts))

    def _matched(self, reader: Peeked) -> Iterator[tuple[int, str]]:
        matcher, first = matcher_of(self._form), self.number
        blocks = Blocks(reader, BLOCK)
        for buffer, size in blocks:
            for place, line in matcher.take(buffer, size):
                yield first + place, _text(line)
            self._count_in(matcher)
            self._hand_on(matcher.frame(least=FLUSH))
        for place, line in matcher.rest():
            yield first + place, _text(line)
        self._count_in(matcher)
        self._hand_on(matcher.frame(least=1))
        self.number = first + matcher.lines
        if blocks.rest:
            self._state.unfinished = True
            yield self.number, _text(blocks.rest[:MAX_LINE])
            self.number += 1

    def _left_of(self, parts: Iterator[Part]) -> Iterator[tuple[int, str]]:
        for part in parts:
            for place, line in part.left:
                yield self.number + place, _text(line)
            self._count(part.counts)
            self.number += part.lines
            for frame in part.frames():
                self._hand_on(frame)

    def _hand_on(self, frame: pl.DataFrame | None) -> None:
        sink: Callable[[pl.DataFrame], None] | None = self._book.sink
        if frame is not None and sink is not None:
            sink(frame)

    def _feed(self, lines: Iterator[tuple[int, str]]) -> None:
        entries = entries_of(lines, self._form.envelope, self._source.identity, self._state)
        self._book.drain(entries, self._source.label, self._form.envelope)

    def _count_in(self, matcher: Matcher | OneLine) -> None:
        counts, matcher.counts = matcher.counts, Counts()
        self._count(counts)

    def _count(self, counts: Counts) -> None:
        """Count what was not read among the lives of the input: of several, by the requests each is known to have."""
        one_line = self._form.said is not None
        # Lines of one line a request may still be held back, so those given are counted.
        known = [
            (life, life.digest.lines if one_line else life.scanner.tracker.starts)
            for life in self._book.current()
        ]
        lives, weights = [life for life, weight in known if weight], [weight for _, weight in known if weight]
        if not lives:
            return
        shares = [_spread(value, weights) for value in (counts.lines, counts.size, counts.whole)]
        for life, lines, size, whole in zip(lives, *shares, strict=True):
            life.bytes += size
            life.scanner.count_in(lines=lines, whole=whole, one_line=one_line)
        if len(lives) == 1:
            _see(lives[0], counts.heads)


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace")


def _spread(total: int, weights: list[int]) -> list[int]:
    """A whole number in whole parts."""
    every, done, parts, given = sum(weights), 0, [], 0
    for weight in weights:
        done += weight
        parts.append(total * done // every - given)
        given += parts[-1]
    return parts


def _see(life: Life, heads: dict[bytes, bytes]) -> None:
    """Which processes wrote the lines that were not read, and when last."""
    for head in heads.values():
        found = split_head(head.decode("latin-1"))
        when = life.scanner.clock.own(found)
        if found.pid is not None and when is not None:
            life.scanner.lives.seen(found.pid, when)
            life.scanner.tally.saw(when)
