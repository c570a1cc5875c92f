"""Large logs read in full: in blocks of whole lines, which are taken as a whole where that is possible.

A log without envelope is cut into blocks as it stands; of any other envelope the lines of each container are collected
into blocks of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from oomscope.logs.block import read_block
from oomscope.logs.blocks import Blocks
from oomscope.logs.bulk import Bulk, fit
from oomscope.logs.bytescan import PAD, Ints
from oomscope.logs.lines import MAX_LINE, Peeked

if TYPE_CHECKING:
    from oomscope.logs.envelopes import Entry, ReadState
    from oomscope.logs.interface import Identity, LogInput
    from oomscope.logs.life import Life
    from oomscope.logs.whole import Book

_LEARN = 1 << 16  # bytes fed at a time while the shape of the log is not known
_BATCH = 1 << 18  # characters of one container that are taken together
_MOST_WAITING = 1 << 23  # characters of all of them


def take_block(
    life: Life, buffer: bytearray, size: int, numbers: Ints, ats: Sequence[int | None] | None = None
) -> bool:
    """Have a life take whole lines; ``PAD`` bytes follow their ``size`` bytes. False: they are to be fed singly."""
    text = memoryview(buffer)[:size]
    if size <= MAX_LINE and fit(life) and _is_text(text):
        life.bulk = life.bulk or Bulk(life)
        block = read_block(buffer, size)
        if block.starts.size == numbers.size and life.bulk.take(block, text, numbers, ats):
            return True
    if life.bulk is not None:
        life.bulk.dissolve()
    return False


class Bare:
    """Gives blocks to the one life that is in an input without envelope. ``number``: of the next line."""

    def __init__(self, source: LogInput, book: Book, number: int = 1) -> None:
        self._source, self._book = source, book
        self.number = number
        self._life: Life | None = None

    def drain(self, reader: Peeked, state: ReadState) -> None:
        """All lines of a reader."""
        blocks = Blocks(reader)
        for buffer, size in blocks:
            self._take(buffer, size)
        if blocks.rest:
            self._lines(blocks.rest[:MAX_LINE])
            state.mark_cut(self._source.identity)

    def _take(self, buffer: bytearray, size: int) -> None:
        """A block of whole lines; ``PAD`` bytes follow its ``size`` bytes."""
        if buffer.find(b"\r", 0, size) >= 0:
            plain = bytes(memoryview(buffer)[:size]).replace(b"\r\n", b"\n")
            buffer, size = bytearray(plain + bytes(PAD)), len(plain)
        start = 0
        while start < size and (self._life is None or not fit(self._life)):
            cut = buffer.find(b"\n", min(start + _LEARN, size - 1), size) + 1
            self._lines(bytes(memoryview(buffer)[start : cut - 1]))
            start = cut
        if start:
            buffer, size = bytearray(memoryview(buffer)[start : size + PAD]), size - start
        if not size or self._life is None:
            return
        numbers = np.arange(buffer.count(b"\n", 0, size)) + self.number
        if take_block(self._life, buffer, size, numbers):
            self.number += numbers.size
        else:
            self._lines(bytes(memoryview(buffer)[: size - 1]))

    def _lines(self, data: bytes) -> None:
        """Lines one by one, without the last line end."""
        owner = self._source.identity
        for text in data.decode("utf-8", "replace").split("\n"):
            life = self._life or self._book.life(owner, self._source.label, "bare", None)
            if life is not None:
                life.feed(text, None, self.number)
                if life.scanner.reborn:
                    life = self._book.succeed(owner, life)
            self._life = life
            self.number += 1


@dataclass(slots=True)
class _Batch:
    """Lines of one container that wait to be taken together."""

    owner: Identity
    life: Life | None
    texts: list[str] = field(default_factory=list)
    ats: list[int | None] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    size: int = 0


class Batches:
    """Gives the entries of an envelope to the lives they belong to, many at a time."""

    def __init__(self, envelope: str, source: LogInput, book: Book) -> None:
        self._envelope, self._source, self._book = envelope, source, book
        self._batches: dict[
            int, _Batch
        ] = {}  # by the identity of the owner's object, which the batch keeps alive

    def drain(self, entries: Iterable[Entry], base: int = 0) -> int:
        """All entries, with ``base`` added to their numbers; gives the highest of these before that."""
        highest = 0
        for owner, at_ns, text, place in entries:
            at = None if at_ns is None else at_ns // 1000
            batch = self._batches.get(id(owner)) or self._begin(owner, at)
            batch.texts.append(text)
            batch.ats.append(at)
            batch.numbers.append(base + place)
            highest = max(highest, place)
            batch.size += len(text) + 1
            if batch.size >= _BATCH:
                self._flush(batch)
                self._share()
        for batch in self._batches.values():
            self._flush(batch)
        return highest

    def _begin(self, owner: Identity, at: int | None) -> _Batch:
        batch = _Batch(owner, self._book.life(owner, self._source.label, self._envelope, at))
        self._batches[id(owner)] = batch
        self._share()
        return batch

    def _share(self) -> None:
        """Bound what waits, also when there are many containers."""
        if sum(batch.size for batch in self._batches.values()) > _MOST_WAITING:
            for batch in self._batches.values():
                self._flush(batch)

    def _flush(self, batch: _Batch) -> None:
        if batch.texts and batch.life is not None and not _taken(batch):
            self._feed(batch, batch.life)
        batch.texts, batch.ats, batch.numbers, batch.size = [], [], [], 0

    def _feed(self, batch: _Batch, life: Life) -> None:
        for text, at, number in zip(batch.texts, batch.ats, batch.numbers, strict=True):
            life.feed(text, at, number)
            if life.scanner.reborn:
                life = self._book.succeed(batch.owner, life)
        batch.life = life


def _taken(batch: _Batch) -> bool:
    if batch.life is None or not fit(batch.life):
        return False
    try:
        data = ("\n".join(batch.texts) + "\n").encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    numbers = np.array(batch.numbers, np.int64)
    return take_block(batch.life, bytearray(data + bytes(PAD)), len(data), numbers, batch.ats)


def _is_text(data: memoryview) -> bool:
    """Whether the bytes are UTF-8 throughout."""
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True
