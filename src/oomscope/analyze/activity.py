"""What every endpoint did, bin by bin: starts, ends and seconds of running of the runs of one life."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


class Activity:
    """Runs of one life, sorted once and counted over as many kinds of bins as asked for.

    ``who`` is the endpoint of each run, one of ``n``; ``end`` is infinite while a run is open.
    """

    def __init__(self, start: Floats, end: Floats, who: Ints, n: int) -> None:
        self._start, self._end, self._who, self._n = start, end, who, n
        order = np.argsort(who, kind="stable")
        bounds = np.searchsorted(who[order], np.arange(n + 1))
        self._ramps = []
        for e in np.flatnonzero(np.diff(bounds)):
            mine = order[bounds[e] : bounds[e + 1]]
            self._ramps.append((e, _Ramp(start[mine]), _Ramp(end[mine])))

    def starts(self, edges: Floats) -> Floats:
        """Runs that started, per bin and endpoint."""
        return self._counts(self._start, edges)

    def done(self, edges: Floats) -> Floats:
        """Runs that ended, per bin and endpoint."""
        return self._counts(self._end, edges)

    def seconds(self, edges: Floats) -> Floats:
        """Seconds of running inside every bin: differences of sum(max(0, t - start)) - sum(max(0, t - end))."""
        total = np.zeros((edges.size, self._n))
        for e, start, end in self._ramps:
            total[:, e] = start.at(edges) - end.at(edges)
        return np.diff(total, axis=0)

    def _counts(self, times: Floats, edges: Floats) -> Floats:
        index = np.searchsorted(edges, times, side="right") - 1
        ok = (index >= 0) & (index < edges.size - 1)
        places = index[ok] * self._n + self._who[ok]
        counted = np.bincount(places, minlength=(edges.size - 1) * self._n)
        return counted.reshape(edges.size - 1, self._n).astype(float)


class _Ramp:
    """sum(max(0, t - time)) over some times, for any t."""

    def __init__(self, times: Floats) -> None:
        self._times = np.sort(times[np.isfinite(times)])
        self._sums = np.concatenate([[0.0], np.cumsum(self._times)])

    def at(self, t: Floats) -> Floats:
        passed = np.searchsorted(self._times, t)
        return np.asarray(passed * t - self._sums[passed])


def change_of_running(seconds: Floats, edges: Floats) -> Floats:
    """Mean number running in the next bin less that in this one (floors are levels of a whole bin)."""
    running = seconds / np.diff(edges)[:, None]
    return np.diff(np.vstack([running, running[-1:]]), axis=0)
