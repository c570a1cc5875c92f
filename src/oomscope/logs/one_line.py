"""Large logs of one line a request (lograge): all but the last requests are counted where they stand.

Lograge writes method and path first, so they stand at one of few places in the lines of a log, whatever the envelope.
A line that has them there is a request that is over. Every other line goes to the general path in its order, with the
line before it, and so do the last lines of a block: they tell the time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from oomscope.logs.bytescan import Flags, Ints, View
from oomscope.logs.heads import Lead
from oomscope.logs.lines import MAX_LINE
from oomscope.logs.opens import LONGEST, Counts, Form, Left, Said

if TYPE_CHECKING:
    import polars as pl

_VERBS = (b"GET", b"POST", b"PATCH", b"PUT", b"DELETE", b"HEAD", b"OPTIONS")
_MOST_PLACES = 16
_LEAST_VOTES = 3
_HEAD_LINES = 2000
_READ = 32  # lines at the end of a block that are read: more than the general path holds back


def _json(quote: bytes) -> Said:
    before = b"%smethod%s:%s" % (quote, quote, quote)
    return Said(before, b"%s,%spath%s:%s/" % (quote, quote, quote, quote))


# Plain JSON, JSON as text in JSON, that once more (a record of Fluent Bit in an event of CloudWatch), key=value.
_SAID = (_json(b'"'), _json(b'\\"'), _json(b'\\\\\\"'), Said(b"method=", b" path=/"))


def form_of(head: bytes, envelope: str) -> Form | None:
    """Where method and path stand in the lines of a log; None unless most of its first lines have them."""
    lines = [line for line in head.split(b"\n", _HEAD_LINES)[:_HEAD_LINES] if line.strip()]
    for said in (one for one in _SAID if one.method in head):
        pattern = re.compile(
            re.escape(said.method) + b"(?:" + b"|".join(_VERBS) + b")" + re.escape(said.path)
        )
        found = Counter(match.start() for line in lines if (match := pattern.search(line)))
        places = [place for place, count in found.most_common(_MOST_PLACES) if count >= _LEAST_VOTES]
        if 2 * sum(found[place] for place in places) > len(lines):
            return Form(envelope, tuple(Lead(place, b"") for place in places), said=said)
    return None


class OneLine:
    """Takes blocks of whole lines, gives those that are to be read. A ``opens.Matcher`` for logs of this kind."""

    def __init__(self, form: Form, said: Said) -> None:
        self._form, self._said = form, said
        self.counts = Counts()
        self.lines = 0

    def take(self, buffer: bytearray, size: int) -> Iterator[Left]:
        """One block; ``PAD`` bytes follow its ``size`` bytes."""
        view = View(buffer, size)
        ends = view.newlines()
        starts = np.empty_like(ends)
        starts[0], starts[1:] = 0, ends[:-1] + 1
        over = self._over(view, starts, ends)
        over[-_READ:] = False
        over[:-1] &= over[1:]  # what stands before another line may be all that tells its time
        left, first = np.flatnonzero(~over), self.lines
        begins, stops = starts[left], ends[left]
        self.lines += starts.size
        self.counts.lines += starts.size - left.size
        self.counts.whole += starts.size - left.size
        self.counts.size += size - int((stops - begins).sum()) - left.size
        kept = np.minimum(stops, begins + MAX_LINE)
        for place, start, end in zip(left.tolist(), begins.tolist(), kept.tolist(), strict=True):
            yield first + place, bytes(buffer[start:end])

    def rest(self) -> Iterator[Left]:
        """Nothing waits."""
        return iter(())

    def frame(self, *, least: int) -> pl.DataFrame | None:
        """Nothing but counts is wanted of these."""
        return None

    def _over(self, view: View, starts: Ints, ends: Ints) -> Flags:
        """Which lines are requests that are over."""
        over = np.zeros(starts.size, np.bool_)
        whole = ends - starts
        for place in (lead.offset for lead in self._form.leads):
            least = place + len(self._said.method) + len(self._said.path) + max(map(len, _VERBS))
            lines = np.flatnonzero(~over & (whole > least) & (whole <= LONGEST))
            at = starts[lines] + place
            good = view.says(at, self._said.method)
            lines, at = lines[good], at[good] + len(self._said.method)
            for verb in _VERBS:
                good = view.says(at, verb + self._said.path)
                over[lines[good]] = True
                lines, at = lines[~good], at[~good]
        return over
