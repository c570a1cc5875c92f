"""Which pieces of a large log are read in full: the requests before its end, and before each start of a server in it.

Of the rest only what had not ended by then can matter to a kill, and how much there was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from oomscope.logs.lines import BROKEN
from oomscope.logs.parts import plain_path
from oomscope.logs.rows import MOST_IN_ALL, MOST_ROWS

if TYPE_CHECKING:
    from oomscope.logs.interface import LogInput

PIECE = 1 << 20
BOOT = b"Puma starting in "  # before it ended the life of another container, perhaps by a kill
ENDED = b"] Completed "
_MOST_ENDS = 64  # starts of servers that are looked at, the latest
_LEAST = 4 * PIECE  # less than that is not worth being read in another way


class Span(NamedTuple):
    """Bytes of the plain log from ``start`` to about ``end`` (None: to its end); ``full``: every line is to be read."""

    start: int
    end: int | None
    full: bool


def plan(source: LogInput, start: int, ended: bytes = ENDED) -> list[Span]:
    """The spans of a log from ``start`` on; the full ones hold about as many ended requests as are kept.

    ``ended``: what the log writes once for each request that ends.
    """
    pieces = _Pieces(source, ended)
    last = max(pieces.count - 1, 0)
    ends = sorted({*(min(boot + 1, last) for boot in pieces.boots[-_MOST_ENDS:]), last})
    most = min(MOST_ROWS, MOST_IN_ALL // len(ends))
    full = [(_back(pieces, end, start // PIECE, most), end + 1) for end in ends]
    spans, at = [], start
    for first, behind in full:
        begin, end = first * PIECE, behind * PIECE if behind <= last else None
        if begin - at > _LEAST:
            spans += [Span(at, begin, False), Span(begin, end, True)]
        elif spans and spans[-1].full:
            spans[-1] = Span(spans[-1].start, end, True)
        else:
            spans.append(Span(at, end, True))
        at = behind * PIECE
    return spans


def _back(pieces: _Pieces, end: int, least: int, most: int) -> int:
    """The first of the pieces up to ``end`` that together hold at most so many requests that ended."""
    found, place = 0, end
    while place > least and (found := found + pieces.ended(place - 1)) <= most:
        place -= 1
    return place


class _Pieces:
    """A log as pieces of equal size: how many, which a server starts in, how many requests end in each.

    Only what cannot be read again at any place is counted at once.
    """

    def __init__(self, source: LogInput, ended: bytes) -> None:
        self._path, self._ended = plain_path(source), ended
        self._counts: list[int] = []
        self.boots: list[int] = []
        self.count = 0
        kept = b""
        try:
            with source.open() as reader:
                while piece := reader.read(PIECE):
                    if piece.find(BOOT) >= 0 or (kept + piece[: len(BOOT)]).find(BOOT) >= 0:
                        self.boots.append(self.count)
                    if self._path is None:
                        self._counts.append(piece.count(self._ended))
                    self.count += 1
                    kept = piece[-len(BOOT) :]
        except BROKEN:
            pass  # the reading that follows tells

    def ended(self, place: int) -> int:
        """Requests that end in a piece."""
        if self._path is None:
            return self._counts[place]
        with self._path.open("rb", buffering=0) as file:
            file.seek(place * PIECE)
            return file.read(PIECE).count(self._ended)
