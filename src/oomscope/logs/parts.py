"""Parts of a large plain file, every other one read by a second process while this one reads the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from oomscope.logs.blocks import Blocks
from oomscope.logs.lines import MAX_LINE, Peeked
from oomscope.logs.one_line import OneLine
from oomscope.logs.opens import BLOCK, Counts, Form, Left, Matcher

if TYPE_CHECKING:
    from concurrent.futures import Future

    import polars as pl

    from oomscope.logs.interface import LogInput

_PART = 64 << 20
_WORTH = 256 << 20  # bytes from which a second process gains more than it costs


@dataclass
class Part:
    """What was found in a part of a file. ``tables``: lifecycles, as Arrow files."""

    lines: int
    left: list[Left]
    counts: Counts = field(default_factory=Counts)
    tables: list[bytes] = field(default_factory=list)

    def frames(self) -> Iterator[pl.DataFrame]:
        """The tables."""
        import polars as pl

        for table in self.tables:
            yield pl.read_ipc(BytesIO(table))


def matcher_of(form: Form) -> Matcher | OneLine:
    """A matcher for logs of this form."""
    if form.said is not None:
        return OneLine(form, form.said)
    if not form.lifecycles:
        return Matcher(form)
    from oomscope.logs.lifecycles import Lifecycles

    return Lifecycles(form)


def shared_parts(source: LogInput, start: int, end: int | None, form: Form) -> Iterator[Part] | None:
    """The parts of a piece of a file, in order; None when it is not large, not plain, or there is one core.

    The piece begins where a line begins and ends where one ends, ``None`` being the end of the file.
    """
    path = plain_path(source)
    if path is None or (os.cpu_count() or 1) < 2 or os.environ.get("OOMSCOPE_PROCESSES") == "1":
        return None
    size = path.stat().st_size if end is None else end
    return _shared(path, start, size, form) if size - start >= _WORTH else None


def plain_path(source: LogInput) -> Path | None:
    """The file in which the log stands as it is, if it does."""
    find = getattr(source, "plain_path", None)
    path: Path | None = find() if find is not None else None
    return path


def _shared(path: Path, start: int, size: int, form: Form) -> Iterator[Part]:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    cuts = [start, *(line_start(path, at) for at in range(start + _PART, size - _PART // 2, _PART)), size]
    parts = list(pairwise(cuts))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        waiting: list[Future[Part]] = []
        for index, (first, last) in enumerate(parts):
            if index % 2 == 0:
                # The other process is always given the next two parts that are its.
                waiting += [
                    pool.submit(read_part, path, *parts[other], form) for other in _theirs(index, len(parts))
                ]
                yield read_part(path, first, last, form)
            else:
                yield waiting.pop(0).result()


def _theirs(index: int, count: int) -> list[int]:
    wanted = [1, 3] if index == 0 else [index + 3]
    return [other for other in wanted if other < count]


def line_start(path: Path, at: int) -> int:
    """Where the first line behind this place begins."""
    with path.open("rb") as file:
        file.seek(at)
        while piece := file.read(MAX_LINE):
            end = piece.find(b"\n")
            if end >= 0:
                return at + end + 1
            at += len(piece)
    return at


class Stretch:
    """A reader of a piece of a file; ``end`` None: of all that follows."""

    def __init__(self, path: Path, start: int, end: int | None) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(start)
        self._left = (1 << 62) if end is None else end - start

    def read(self, size: int, /) -> bytes:
        """See ``lines.Reader``."""
        data = self._file.read(min(size, self._left)) or b""
        self._left -= len(data)
        return data

    def readinto1(self, view: memoryview) -> int:
        """Like ``io.BufferedIOBase.readinto1``."""
        count = self._file.readinto(view[: min(len(view), self._left)]) or 0
        self._left -= count
        return count


def read_part(path: Path, start: int, end: int, form: Form) -> Part:
    """Match the lines of a part of a file. Its last line counts as whole."""
    matcher = matcher_of(form)
    part = Part(0, [])
    blocks = Blocks(Peeked(b"", Stretch(path, start, end)), BLOCK)
    for buffer, size in blocks:
        part.left.extend(matcher.take(buffer, size))
        _pack(part, matcher, 100_000)
    part.left.extend(matcher.rest())
    _pack(part, matcher, 1)
    part.lines, part.counts = matcher.lines, matcher.counts
    if blocks.rest:
        part.left.append((part.lines, blocks.rest[:MAX_LINE]))
    return part


def _pack(part: Part, matcher: Matcher | OneLine, least: int) -> None:
    frame = matcher.frame(least=least)
    if frame is not None:
        packed = BytesIO()
        frame.write_ipc(packed)
        part.tables.append(packed.getvalue())
