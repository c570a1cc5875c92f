"""What each endpoint's activity explains of the memory, in nats, beside what all traffic together explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oomscope.analyze.case import Case
    from oomscope.analyze.growth import Fit

    Floats = NDArray[np.float64]

CLEAR_MARGIN = 6.0  # nats


@dataclass(frozen=True)
class MemoryGains:
    """Log-likelihood gains over warm-up alone: ``leak`` and ``steady`` (all traffic) explain the whole curve; a fault
    in flight (``starts``, ``seconds``) explains the last minutes, alone or on top of the steady growth."""

    leak: Floats
    starts: Floats
    seconds: Floats
    steady: float


def memory_gains(case: Case) -> MemoryGains:
    """Gains of one case; all zero when its memory is unknown."""
    growth = case.growth
    if growth is None:
        zero = np.zeros(case.runs.n)
        return MemoryGains(zero, zero, zero, 0.0)
    steady = steady_gain(growth.done)
    return MemoryGains(
        leak=gain_of(growth.done),
        starts=np.maximum(gain_of(growth.starts), steady + gain_of(growth.starts_more)),
        seconds=np.maximum(gain_of(growth.seconds), steady + gain_of(growth.seconds_more)),
        steady=steady,
    )


def steady_gain(done: Fit) -> float:
    """The same for all traffic together."""
    return _price(done.total_ll, done.rows)


class Relative:
    """Gains less that of all traffic together (above 0: better than steady growth), ``cap`` below the best at most."""

    def __init__(self, gains: MemoryGains, cap: float) -> None:
        self._gains, self._cap = gains, cap
        arrays = (gains.leak, gains.starts, gains.seconds)
        self._best = max(gains.steady, 0.0, *(float(gain.max(initial=0.0)) for gain in arrays))

    def _relative(self, gain: Floats | float) -> Floats:
        def below(value: Floats | float) -> Floats:
            return -_levelled(self._best - np.asarray(value, dtype=float), self._cap)

        return below(gain) - below(self._gains.steady)

    def of(self, *names: str) -> Floats:
        """Best of the named activities, per endpoint."""
        return self._relative(np.max([getattr(self._gains, name) for name in names], axis=0))

    @property
    def of_all(self) -> float:
        """All traffic together."""
        return float(self._relative(self._gains.steady))

    @property
    def one_explains(self) -> float:
        """-1 when some endpoint alone explains the growth as well as all together do, 0 when far from it: growth that
        comes from all traffic is followed by all traffic, much better than by any part of it."""
        margin = self._gains.steady - float(self._gains.leak.max(initial=0.0))
        return -float(np.clip(1 - margin / CLEAR_MARGIN, 0.0, 1.0))

    @property
    def of_nothing(self) -> float:
        """Warm-up alone."""
        return float(self._relative(0.0))


def _levelled(gap: Floats, cap: float) -> Floats:
    """The gap up to the cap, beyond it only its logarithm: how much worse stops counting, which is worse does not."""
    return np.asarray(np.minimum(gap, cap) + np.log1p(np.maximum(gap - cap, 0.0)))


def _price(gain: float, rows: int) -> float:
    """Log-likelihood ratio less the price of its one free number (half a log of the rows)."""
    return max(gain - 0.5 * float(np.log(max(rows, 2))), 0.0)


def gain_of(fit: Fit) -> Floats:
    """What the activity of each endpoint explains, its one free number paid for."""
    return np.asarray(np.maximum(fit.ll - 0.5 * np.log(max(fit.rows, 2)), 0.0))
