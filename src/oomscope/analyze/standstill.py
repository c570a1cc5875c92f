"""Time that says nothing about one request: a process that stood still, a queue in front of it, a coarse clock.

While the kernel reclaims the last pages nothing in the process moves: every open request has at least that age, guilty
or not. Load-balancer rows have the time in the server's queue in them too. Only what is beyond that is a request's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from oomscope.analyze.runs import Runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MIN_ENDPOINTS = 3  # with fewer in flight a standstill cannot be told from a slow request
MIN_STARTS = 5
WHOLE_SECOND = 1.0
NEGLIGIBLE_S = 1e-6
BLUR = 1.1  # a process comes to a standstill over a while: so much of the shared age is nobody's own


@dataclass(frozen=True)
class Standstill:
    """``common_s``: age that open requests share; the age of the youngest, or of the oldest of the median endpoint
    where load-balancer rows stand in for the log (``queue_s``: between the two, the queue was filling).
    ``clock_s``: resolution of the start times."""

    common_s: float = 0.0
    queue_s: float = 0.0
    clock_s: float = 0.0

    def own(self, age: Floats) -> Floats:
        """What is left of ages once the shared part is taken off, in seconds, never below 0."""
        return np.asarray(np.maximum(age - max(BLUR * self.common_s, self.clock_s), 0.0))


def find_standstill(runs: Runs, *, from_access: bool) -> Standstill:
    """``from_access``: the open requests are load-balancer rows, not lines of the log."""
    clock = clock_resolution(runs.start[runs.dead])
    who, age = runs.who[runs.open], runs.age[runs.open]
    endpoints = np.unique(who)
    if endpoints.size < MIN_ENDPOINTS:
        return Standstill(clock_s=clock)
    youngest = max(float(age.min()), 0.0)
    if not from_access:
        return Standstill(youngest, 0.0, clock)
    waited = float(np.median([age[who == e].max() for e in endpoints]))
    return Standstill(waited, waited - youngest, clock)


def clock_resolution(starts: Floats) -> float:
    """1 second when all starts are a whole number of seconds apart (bare Rails text), else 0."""
    if starts.size < MIN_STARTS:
        return 0.0
    off = (starts - starts[0] + 0.5) % WHOLE_SECOND - 0.5
    return WHOLE_SECOND if bool(np.all(np.abs(off) < NEGLIGIBLE_S)) else 0.0
