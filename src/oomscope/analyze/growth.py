"""Whose activity made the memory grow: increments of the curve against what every endpoint did meanwhile.

For one endpoint at a time (a single culprit), increments are regressed on its starts, its completions or the seconds it
was running, beside a decaying warm-up. The log-likelihood ratio against "warm-up alone" is the evidence; the same for
all traffic together is the rival explanation. There is no intercept: steady growth needs a steady cause.
Rows come from the dead instance, its siblings and its earlier lives: a leak lives in the code, not in the pod.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from oomscope.analyze.activity import Activity, change_of_running
from oomscope.analyze.memory import LATE_S, Curve, Memory
from oomscope.analyze.runs import Runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

MIN_BIN_S, MAX_FLOOR_BIN_S = 2.0, 60.0
FINE_BINS, FLOOR_BINS = 150, 24
MIN_ROWS = 5
WARM_FAST, WARM_SLOW = (1 / 15, 3.0, 300.0), (1 / 4, 10.0, 900.0)  # share of the life, bounds in seconds
WINSOR = 4.0
PENALTIES = (0.01, 0.1, 1.0, 10.0, 1e6)  # of what running requests hold, in units of the strongest direction


@dataclass(frozen=True)
class Rows:
    """Design of the regression: increment ``y`` in bytes per bin, activity per bin and endpoint, age of the life.

    ``held``: change of the number running, what they hold comes and goes with it."""

    y: Floats
    starts: Floats
    done: Floats
    seconds: Floats
    held: Floats
    age: Floats
    dead: Flags
    late: Flags  # in the last minutes before the kill
    span_s: float

    @property
    def n(self) -> int:
        """Number of increments."""
        return int(self.y.size)


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


class Life(NamedTuple):
    """Memory samples of one life: seconds from the kill, bytes, and whether it is the one that died."""

    number: int
    t: Floats
    y: Floats
    dead: bool


@dataclass(frozen=True)
class Growth:
    """Fits of fine increments on late starts and late running seconds, of fine and floor increments on completions.

    ``*_more``: the same beside all traffic, for a fault that comes on top of steady growth.
    """

    starts: Fit
    seconds: Fit
    starts_more: Fit
    seconds_more: Fit
    done: Fit
    floor: Fit
    twins: dict[int, tuple[int, ...]]  # endpoints whose completions rise and fall together
    fine_rows: Rows
    floor_rows: Rows
    samples: list[Life]
    top: float | None  # bytes at the moment of the kill, where that is known


@dataclass(frozen=True)
class _Lived:
    """Samples of one life, and what it ran from its first start on."""

    t: Floats
    y: Floats
    dead: bool
    first_start: float
    activity: Activity


def life_samples(memory: Memory, runs: Runs, pods: dict[str, str | None]) -> list[Life]:
    """Every life whose memory was sampled; ``pods`` names the pod of each."""
    curves = ([memory.dead] if memory.dead is not None else []) + list(memory.others)
    dead_lives = {int(life) for life in np.unique(runs.life[runs.dead])}
    found = []
    for life, name in enumerate(runs.lives):
        mine = runs.life == life
        if not mine.any():
            continue
        dead = life in dead_lives
        begin = float(runs.start[mine].min())
        end = (
            0.0
            if dead
            else float(np.nanmax(np.where(np.isnan(runs.end[mine]), runs.start[mine], runs.end[mine])))
        )
        curve = memory.dead if dead else _curve_of(curves, pods.get(name), begin, min(end, 0.0))
        if curve is not None:
            keep = (curve.t >= begin - 2 * _step(curve)) & (curve.t <= min(end, 0.0) + 1e-9)
            found.append(Life(life, curve.t[keep], curve.y[keep], dead))
    return found


def _step(curve: Curve) -> float:
    return curve.step_s if np.isfinite(curve.step_s) else 30.0


def _curve_of(curves: list[Curve], pod: str | None, begin: float, end: float) -> Curve | None:
    """The curve of that pod with most samples inside the life."""
    mine = [curve for curve in curves if pod is not None and curve.pod == pod]
    inside = [(int(((c.t >= begin) & (c.t <= end)).sum()), c.t.size, i) for i, c in enumerate(mine)]
    best = max(inside, default=(0, 0, 0))
    return mine[best[2]] if best[0] >= MIN_ROWS else None


def make_growth(runs: Runs, memory: Memory, pods: dict[str, str | None], *, at_limit: bool) -> Growth | None:
    """Fits, or None with too few samples of the dead instance. ``at_limit``: memory reached the limit at 0."""
    samples = life_samples(memory, runs, pods)
    lives = _lived(runs, samples)
    top = float(memory.limit_bytes) if at_limit and memory.limit_bytes else None
    fine, floor = (_rows(lives, top, floor=floor) for floor in (False, True))
    if fine is None or floor is None:
        return None
    starts, seconds = fine.starts * fine.late[:, None], fine.seconds * fine.late[:, None]
    steady = fine.done.sum(axis=1, keepdims=True)
    return Growth(
        starts=fit_single(fine, starts),
        seconds=fit_single(fine, seconds),
        starts_more=fit_single(fine, starts, steady),
        seconds_more=fit_single(fine, seconds, steady),
        done=fit_lasting(fine),
        floor=fit_lasting(floor),
        twins=_twins(floor.done),
        fine_rows=fine,
        floor_rows=floor,
        samples=samples,
        top=top,
    )


def fine_rows(runs: Runs, samples: list[Life], top: float | None) -> Rows | None:
    """Increments of all lives and what ran meanwhile; None with too few. ``top``: level of the dead one at the kill."""
    return _rows(_lived(runs, samples), top, floor=False)


def _lived(runs: Runs, samples: list[Life]) -> list[_Lived]:
    return [_life(runs, *life) for life in samples if life.t.size >= 3]


def _life(runs: Runs, life: int, t: Floats, y: Floats, dead: bool) -> _Lived:
    mine = runs.dead if dead else runs.life == life
    start, end = runs.start[mine], np.where(np.isnan(runs.end[mine]), np.inf, runs.end[mine])
    return _Lived(t, y, dead, float(start.min()), Activity(start, end, runs.who[mine], runs.n))


def _rows(lives: list[_Lived], top: float | None, *, floor: bool) -> Rows | None:
    found = [_life_rows(life, top if life.dead else None, floor=floor) for life in lives]
    parts = [part for part in found if part is not None]
    if not any(part.dead.any() for part in parts) or sum(part.n for part in parts) < MIN_ROWS:
        return None
    return Rows(
        y=np.concatenate([p.y for p in parts]),
        starts=np.vstack([p.starts for p in parts]),
        done=np.vstack([p.done for p in parts]),
        seconds=np.vstack([p.seconds for p in parts]),
        held=np.vstack([p.held for p in parts]),
        age=np.concatenate([p.age for p in parts]),
        dead=np.concatenate([p.dead for p in parts]),
        late=np.concatenate([p.late for p in parts]),
        span_s=max(p.span_s for p in parts),
    )


def _life_rows(life: _Lived, top: float | None, *, floor: bool) -> Rows | None:
    t, y = life.t, life.y
    begin = max(float(t[0]), life.first_start - 1.0)
    if top is not None and t[-1] < -0.05 and top > y[-1]:
        t, y = np.append(t, 0.0), np.append(y, top)
    edges = _edges(begin, t, floor=floor)
    if edges is None:
        return None
    level = _floor_level(t, y, edges) if floor else np.interp(edges, t, y)
    starts, done = life.activity.starts(edges), life.activity.done(edges)
    seconds = life.activity.seconds(edges)
    return Rows(
        y=np.diff(level),
        starts=starts,
        done=done,
        seconds=seconds,
        held=change_of_running(seconds, edges) if floor else starts - done,
        age=(edges[:-1] + edges[1:]) / 2 - begin,
        dead=np.full(edges.size - 1, life.dead),
        late=edges[1:] > -LATE_S,
        span_s=float(edges[-1] - begin),
    )


def _edges(begin: float, t: Floats, *, floor: bool) -> Floats | None:
    span = float(t[-1]) - begin
    step = float(np.median(np.diff(t)))
    wish = max(2 * step, min(span / FLOOR_BINS, MAX_FLOOR_BIN_S)) if floor else max(step, span / FINE_BINS)
    width = max(wish, MIN_BIN_S)
    n = int(span // width)
    return None if n < 3 else np.asarray(float(t[-1]) - width * np.arange(n, -1, -1), dtype=float)


def _floor_level(t: Floats, y: Floats, edges: Floats) -> Floats:
    """At every edge the lowest level from there to the next edge (peaks are passing), monotone noise left as it is."""
    level = np.interp(edges, t, y)
    for i in range(edges.size - 1):
        inside = y[(t >= edges[i]) & (t < edges[i + 1])]
        if inside.size:
            level[i] = min(level[i], float(inside.min()))
    return level


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


def stack(parts: list[tuple[Rows, list[int]]], n: int) -> Rows:
    """Rows of several incidents as one regression; each part comes with the index of its endpoints among ``n``
    (-1: not among them, its activity is left out)."""

    def widened(table: Floats, index: list[int]) -> Floats:
        wide = np.zeros((table.shape[0], n))
        keep = [column for column, place in enumerate(index) if place >= 0]
        wide[:, [index[column] for column in keep]] = table[:, keep]
        return wide

    return Rows(
        y=np.concatenate([rows.y for rows, _ in parts]),
        starts=np.vstack([widened(rows.starts, index) for rows, index in parts]),
        done=np.vstack([widened(rows.done, index) for rows, index in parts]),
        seconds=np.vstack([widened(rows.seconds, index) for rows, index in parts]),
        held=np.vstack([widened(rows.held, index) for rows, index in parts]),
        age=np.concatenate([rows.age for rows, _ in parts]),
        dead=np.concatenate([rows.dead for rows, _ in parts]),
        late=np.concatenate([rows.late for rows, _ in parts]),
        span_s=max(rows.span_s for rows, _ in parts),
    )
