"""What is ordinary: rates, durations and sizes of every endpoint before trouble, on all instances of the same image.

Arrivals are Poisson with rate lambda_e per container; durations lognormal(mu_e, sigma_e), shrunk to the app's mean so
that rare endpoints do not look certain. Both are taken before the last moments of each life, which belong to the fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from oomscope.analyze.runs import Runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

WINDOW_S = 1200.0
MIN_GUARD_S, MAX_GUARD_S, GUARD_SHARE, MOST_GUARD_SHARE = 3.0, 60.0, 0.5, 0.75
MU_PSEUDO, SIGMA_PSEUDO, SIGMA_PRIOR = 3.0, 8.0, 0.6
SHORTEST_S = 1e-3
MIN_BETWEEN = 1.6  # spread of the medians of endpoints: what an endpoint never seen may be like
STALL_WINDOW_S, SIBLING_WINDOW_S = 15.0, 90.0
MAX_STALL, MAX_SIBLING_STALL = 6.0, 20.0


@dataclass(frozen=True)
class Baseline:
    """Per endpoint (as in ``Runs.names``): ``count`` of baseline starts over ``exposure_s`` container-seconds,
    lognormal ``mu``/``sigma`` of ``n`` durations, mean duration ``w`` in seconds. ``guard_s`` was kept out.

    ``stall``: slow-down of the dead pod just before death; ``stall_e``: that, or the endpoint's slow-down on the
    siblings, whichever is larger (an innocent slow database shows there).
    """

    count: Floats
    exposure_s: float
    guard_s: float
    n: Floats
    mu: Floats
    sigma: Floats
    w: Floats
    stall: float
    stall_e: Floats

    @property
    def rate(self) -> Floats:
        """Starts per second and container, with half a pseudo-count."""
        return (self.count + 0.5) / max(self.exposure_s, 1e-9)

    @property
    def expected_open(self) -> Floats:
        """Little's law, slow-down included: how many are open at a random moment."""
        return self.rate * self.w * self.stall_e


def make_baseline(runs: Runs) -> Baseline:
    """Fits the ordinary behaviour. Works with nothing (exposure 0 then, and every rate is a guess)."""
    first, last = _life_spans(runs)
    guard = _guard(runs, first, last)
    inside = _in_baseline(runs, last, guard)
    begin = np.maximum(first, -WINDOW_S)
    exposure = float(np.maximum(np.minimum(last, 0.0) - guard - begin, 0.0).sum())
    mu, sigma, w, n = _durations(runs, inside)
    stall = _pod_stall(runs, mu)
    return Baseline(
        count=runs.count(inside), exposure_s=exposure, guard_s=guard, n=n, mu=mu, sigma=sigma, w=w,
        stall=stall, stall_e=_sibling_stall(runs, mu, stall),
    )  # fmt: skip


def _life_spans(runs: Runs) -> tuple[Floats, Floats]:
    """First start and last sign of life of every instance."""
    n = len(runs.lives)
    first, last = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(first, runs.life, runs.start)
    np.maximum.at(last, runs.life, np.where(np.isnan(runs.end), runs.start, np.minimum(runs.end, 0.0)))
    return first, last


def _guard(runs: Runs, first: Floats, last: Floats) -> float:
    """Seconds before the last sign of life that may belong to the fault: up to half of the time until the kill, but
    never most of what was seen. A process may have stood still for long before it was killed."""
    dead = np.unique(runs.life[runs.dead & ~runs.open])
    lives = dead if dead.size else np.arange(first.size)
    if not lives.size:
        return MIN_GUARD_S
    begun = float(first[lives].min())
    most = min(MAX_GUARD_S, max(MIN_GUARD_S, MOST_GUARD_SHARE * (float(last[lives].max()) - begun)))
    return float(np.clip(GUARD_SHARE * -begun, MIN_GUARD_S, most))


def _in_baseline(runs: Runs, last: Floats, guard: float) -> Flags:
    return (runs.start >= -WINDOW_S) & (runs.start < last[runs.life] - guard) & ~runs.open


def _durations(runs: Runs, inside: Flags) -> tuple[Floats, Floats, Floats, Floats]:
    ended = ~np.isnan(runs.end)
    done = inside & ended
    # Of an endpoint that only came late, what it took then is all there is to tell an old run from a usual one.
    done |= ended & (runs.count(done) == 0)[runs.who]
    log_d = np.log(np.maximum(np.where(done, runs.duration, SHORTEST_S), SHORTEST_S))
    n = runs.count(done)
    overall = float(log_d[done].mean()) if done.any() else float(np.log(0.1))
    first = runs.count(done, log_d)
    second = runs.count(done, log_d**2)
    mu = (first + MU_PSEUDO * overall) / (n + MU_PSEUDO)
    spread = np.maximum(second - 2 * mu * first + n * mu**2, 0.0)
    sigma = np.sqrt((spread + SIGMA_PSEUDO * SIGMA_PRIOR**2) / (n + SIGMA_PSEUDO))
    between = max(float(np.std(mu[n > 0])) if (n > 0).any() else 1.0, MIN_BETWEEN)
    sigma = np.clip(np.sqrt(sigma**2 + 1 / (1 / between**2 + n / sigma**2)), 0.15, 2.0)
    total = runs.count(done, np.where(done, runs.duration, 0.0))
    w = (total + MU_PSEUDO * np.exp(mu + np.minimum(sigma, 2.0) ** 2 / 2)) / (n + MU_PSEUDO)
    return mu, sigma, w, n


def _residual(runs: Runs, mu: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.log(np.maximum(runs.duration, SHORTEST_S)) - mu[runs.who]


def _pod_stall(runs: Runs, mu: Floats) -> float:
    """exp of the median log slow-down of what did complete on the dead pod in the last seconds."""
    recent = runs.dead & (runs.end > -STALL_WINDOW_S)
    if recent.sum() < 5:
        return 1.0
    return float(np.exp(np.clip(np.median(_residual(runs, mu)[recent]), 0.0, np.log(MAX_STALL))))


def _sibling_stall(runs: Runs, mu: Floats, stall: float) -> Floats:
    sibling = ~runs.dead & (runs.end > -SIBLING_WINDOW_S)
    late = _residual(runs, mu)
    slow = runs.count(sibling, np.where(np.isnan(late), 0.0, late)) / (runs.count(sibling) + 1.5)
    return np.asarray(np.exp(np.clip(np.maximum(slow, np.log(stall)), 0.0, np.log(MAX_SIBLING_STALL))))
