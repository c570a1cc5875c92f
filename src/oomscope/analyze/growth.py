"""Whose activity made the memory grow: increments of the curve against what every endpoint did meanwhile.

For one endpoint at a time (a single culprit), increments are regressed on its starts, its completions or the seconds it
was running, beside a decaying warm-up. The log-likelihood ratio against "warm-up alone" is the evidence; the same for
all traffic together is the rival explanation. There is no intercept: steady growth needs a steady cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from oomscope.analyze.increments import Life, Rows, fine_bins, floor_bins, life_samples, lived
from oomscope.analyze.memory import Memory
from oomscope.analyze.runs import Runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WARM_FAST, WARM_SLOW = (1 / 15, 3.0, 300.0), (1 / 4, 10.0, 900.0)  # share of the life, bounds in seconds
WINSOR = 4.0
PENALTIES = (0.01, 0.1, 1.0, 10.0, 1e6)  # of what running requests hold, in units of the strongest direction


@dataclass(frozen=True)
class Fit:
    """Single-culprit fits, one entry an endpoint: log-likelihood ratio ``ll`` (nats), bytes per unit ``beta``,
    ``share`` of the dead instance's growth (where anything was active) that it accounts for.

    ``total_ll``, ``total_share``: the same for all traffic together."""

    ll: Floats
    beta: Floats
    share: Floats
    total_ll: float
    total_share: float
    rows: int
    activity: Floats  # of the dead instance


@dataclass(frozen=True)
class Growth:
    """Fits of fine increments on late starts and late running seconds, of fine and floor increments on completions.

    ``*_more``: the same beside all traffic, for a fault that comes on top of steady growth. ``fine``: the increments
    in bins of several widths; each fit of them is the mean over the widths.
    """

    starts: Fit
    seconds: Fit
    starts_more: Fit
    seconds_more: Fit
    done: Fit
    floor: Fit
    twins: dict[int, tuple[int, ...]]  # endpoints whose completions rise and fall together
    fine: tuple[Rows, ...]
    floor_rows: Rows
    samples: list[Life]
    top: float | None  # bytes at the moment of the kill, where that is known


def make_growth(runs: Runs, memory: Memory, pods: dict[str, str | None], *, at_limit: bool) -> Growth | None:
    """Fits, or None with too few samples of the dead instance. ``at_limit``: memory reached the limit at 0."""
    samples = life_samples(memory, runs, pods)
    lives = lived(runs, samples)
    top = float(memory.limit_bytes) if at_limit and memory.limit_bytes else None
    fine, floor = fine_bins(lives, top), floor_bins(lives, top)
    if not fine or floor is None:
        return None
    return Growth(
        starts=mean_fit(fit_single(rows, rows.late_starts) for rows in fine),
        seconds=mean_fit(fit_single(rows, rows.late_seconds) for rows in fine),
        starts_more=mean_fit(fit_single(rows, rows.late_starts, rows.traffic) for rows in fine),
        seconds_more=mean_fit(fit_single(rows, rows.late_seconds, rows.traffic) for rows in fine),
        done=mean_fit(fit_lasting(rows) for rows in fine),
        floor=fit_lasting(floor),
        twins=_twins(floor.done),
        fine=fine,
        floor_rows=floor,
        samples=samples,
        top=top,
    )


def lasting_fit(runs: Runs, growth: Growth) -> Fit | None:
    """The fit on completions when the runs are told apart in another way, on the same samples; None with too few."""
    fine = fine_bins(lived(runs, growth.samples), growth.top)
    return mean_fit(fit_lasting(rows) for rows in fine) if fine else None


def warm_up(age: Floats, span: float) -> Floats:
    """Two decaying columns that take up boot, autoload and cache warm-up; scales follow the length of the life."""
    scales = [float(np.clip(share * span, low, high)) for share, low, high in (WARM_FAST, WARM_SLOW)]
    return np.column_stack([np.exp(-age / scale) for scale in scales])


def fit_single(rows: Rows, activity: Floats, beside: Floats | None = None) -> Fit:
    """One endpoint at a time against warm-up alone (and ``beside``); negative coefficients count as no evidence."""
    known = warm_up(rows.age, rows.span_s)
    q, _ = np.linalg.qr(known if beside is None else np.column_stack([known, beside]))
    return _fit(rows, activity, lambda table: table - q @ (q.T @ table))


def fit_lasting(rows: Rows) -> Fit:
    """Completions, one endpoint at a time, against warm-up and what running requests hold for a while.

    Without the latter a slow and heavy endpoint looks like a leak: its completions follow the memory it held.
    """
    q, _ = np.linalg.qr(warm_up(rows.age, rows.span_s))

    def bare(table: Floats) -> Floats:
        return np.asarray(table - q @ (q.T @ table))

    u, shrunk = _shrinkage(bare(rows.held), bare(_winsorised(rows.y)))

    def rest(table: Floats) -> Floats:
        left = bare(table)
        return np.asarray(left - u @ ((shrunk if left.ndim == 1 else shrunk[:, None]) * (u.T @ left)))

    return _fit(rows, rows.done, rest)


def _shrinkage(held: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Directions of ``held`` and how much of each is taken out: half-way between regression and whitening, so that
    sums of squares afterwards are those of y with the covariance 1 + held held'/lambda. Lambda: likeliest of a grid.
    """
    u, s, _ = np.linalg.svd(held, full_matrices=False)
    inside, power = (u.T @ y) ** 2, s**2
    total, n = float(y @ y), y.size

    def surprise(penalty: float) -> float:
        left = total - float((power / (power + penalty)) @ inside)
        return 0.5 * n * float(np.log(max(left, 1e-9))) + 0.5 * float(np.log1p(power / penalty).sum())

    if total <= 0 or power.max(initial=0.0) <= 0:
        return u, np.zeros_like(s)
    grid = power.max() * np.array(PENALTIES)
    best = min((surprise(p), p) for p in grid)[1]
    return u, np.asarray(1 - np.sqrt(best / (power + best)))


def _fit(rows: Rows, activity: Floats, without_known: Callable[[Floats], Floats]) -> Fit:
    every = np.column_stack([activity, activity.sum(axis=1)])
    rest, columns = without_known(_winsorised(rows.y)), without_known(every)
    power = (columns**2).sum(axis=0)
    beta = np.maximum((columns.T @ rest) / np.maximum(power, 1e-9), 0.0)
    left0 = max(float(rest @ rest), 1e-9)
    left1 = np.maximum(left0 - beta**2 * power, 1e-6 * left0)
    ll = np.where((power > 1e-6) & (beta > 0), 0.5 * rows.n * np.log(left0 / left1), 0.0)
    counted = rows.dead & (every[:, -1] > 0)
    grown = max(float(rows.y[counted].sum()), 0.02 * float(np.abs(rows.y[rows.dead]).sum()), 1.0)
    share = beta * every[counted].sum(axis=0) / grown
    return Fit(
        ll[:-1],
        beta[:-1],
        share[:-1],
        float(ll[-1]),
        float(share[-1]),
        rows.n,
        activity[rows.dead].sum(axis=0),
    )


def mean_fit(fits: Iterable[Fit]) -> Fit:
    """The mean of fits of the same increments in several bins; ``rows`` and ``activity`` of the first."""
    every = list(fits)

    def mean(name: str) -> Floats:
        return np.asarray(np.mean([getattr(fit, name) for fit in every], axis=0))

    totals = float(mean("total_ll")), float(mean("total_share"))
    return Fit(mean("ll"), mean("beta"), mean("share"), *totals, every[0].rows, every[0].activity)


def _winsorised(y: Floats) -> Floats:
    centre = float(np.median(y))
    spread = float(np.median(np.abs(y - centre))) * 1.4826
    if spread <= 0:
        return y
    return np.clip(y, centre - WINSOR * spread, centre + WINSOR * spread)


def _twins(done: Floats, limit: float = 0.9) -> dict[int, tuple[int, ...]]:
    """Endpoints that rise and fall together, among those with at least ten completions."""
    busy = np.flatnonzero((done.sum(axis=0) >= 10) & (done.std(axis=0) > 0))
    if busy.size < 2 or done.shape[0] < 8:
        return {}
    alike = np.asarray(np.corrcoef(done[:, busy], rowvar=False) > limit)
    np.fill_diagonal(alike, False)
    return {int(busy[i]): tuple(int(j) for j in busy[alike[i]]) for i in range(busy.size) if alike[i].any()}
