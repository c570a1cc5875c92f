"""Increments of every life's memory, and what every endpoint did meanwhile: the rows of the regression.

Rows come from the dead instance, its siblings and its earlier lives: a leak lives in the code, not in the pod.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from oomscope.analyze.activity import Activity, change_of_running
from oomscope.analyze.memory import LATE_S, Curve, Memory
from oomscope.analyze.runs import Runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    # From the begin of a life and the times of its samples to the edges of its bins.
    Cut = Callable[[float, Floats], Floats | None]

MIN_BIN_S, MAX_FLOOR_BIN_S = 2.0, 60.0
FINE_BINS, FLOOR_BINS = 150, 24
WIDTHS = (1.0, 0.75, 1.5)  # of the fine bins: where an edge happens to fall should not decide
MIN_ROWS = 5


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

    @property
    def late_starts(self) -> Floats:
        """Starts in the last minutes."""
        return self.starts * self.late[:, None]

    @property
    def late_seconds(self) -> Floats:
        """Seconds running in the last minutes."""
        return self.seconds * self.late[:, None]

    @property
    def traffic(self) -> Floats:
        """Completions of all together, as one column."""
        return np.asarray(self.done.sum(axis=1, keepdims=True))


class Life(NamedTuple):
    """Memory samples of one life: seconds from the kill, bytes, and whether it is the one that died."""

    number: int
    t: Floats
    y: Floats
    dead: bool


@dataclass(frozen=True)
class Lived:
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


def fine_bins(lives: list[Lived], top: float | None) -> tuple[Rows, ...]:
    """Increments in bins of several widths, the usual one first (coarse samples make narrow bins the same); empty with
    too few. ``top``: level of the dead one at the kill."""
    found: dict[int, Rows] = {}
    for width in WIDTHS:
        rows = _rows(lives, top, partial(_fine_edges, width=width))
        if rows is not None:
            found.setdefault(rows.n, rows)
    return tuple(found.values())


def floor_bins(lives: list[Lived], top: float | None) -> Rows | None:
    """Increments of the floor, in wide bins; None with too few."""
    return _rows(lives, top, _floor_edges, floor=True)


def lived(runs: Runs, samples: list[Life]) -> list[Lived]:
    """What every life ran, of those with samples enough."""
    return [_life(runs, *life) for life in samples if life.t.size >= 3]


def _life(runs: Runs, life: int, t: Floats, y: Floats, dead: bool) -> Lived:
    mine = runs.dead if dead else runs.life == life
    start, end = runs.start[mine], np.where(np.isnan(runs.end[mine]), np.inf, runs.end[mine])
    return Lived(t, y, dead, float(start.min()), Activity(start, end, runs.who[mine], runs.n))


def _rows(lives: list[Lived], top: float | None, cut: Cut, *, floor: bool = False) -> Rows | None:
    found = [_life_rows(life, top if life.dead else None, cut, floor=floor) for life in lives]
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


def _life_rows(life: Lived, top: float | None, cut: Cut, *, floor: bool) -> Rows | None:
    t, y = life.t, life.y
    begin = max(float(t[0]), life.first_start - 1.0)
    if top is not None and t[-1] < -0.05 and top > y[-1]:
        t, y = np.append(t, 0.0), np.append(y, top)
    edges = cut(begin, t)
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


def _fine_edges(begin: float, t: Floats, *, width: float) -> Floats | None:
    step, span = float(np.median(np.diff(t))), float(t[-1]) - begin
    return _edges(begin, t, max(width * max(step, span / FINE_BINS, MIN_BIN_S), step))


def _floor_edges(begin: float, t: Floats) -> Floats | None:
    step, span = float(np.median(np.diff(t))), float(t[-1]) - begin
    return _edges(begin, t, max(2 * step, min(span / FLOOR_BINS, MAX_FLOOR_BIN_S), MIN_BIN_S))


def _edges(begin: float, t: Floats, width: float) -> Floats | None:
    n = int((float(t[-1]) - begin) // width)
    return None if n < 3 else np.asarray(float(t[-1]) - width * np.arange(n, -1, -1), dtype=float)


def _floor_level(t: Floats, y: Floats, edges: Floats) -> Floats:
    """At every edge the lowest level from there to the next edge (peaks are passing), monotone noise left as it is."""
    level = np.interp(edges, t, y)
    for i in range(edges.size - 1):
        inside = y[(t >= edges[i]) & (t < edges[i + 1])]
        if inside.size:
            level[i] = min(level[i], float(inside.min()))
    return level


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
