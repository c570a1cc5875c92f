"""The memory of the dead container up to its death, and what its shape says. Times are seconds after the kill."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from oomscope.analyze.model import KillCase
from oomscope.analyze.runs import seconds_after

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oomscope.evidence import Bundle

    Floats = NDArray[np.float64]

METRICS = ("working_set_bytes", "rss_bytes", "usage_bytes")
SHAPE_WINDOW_S = 900.0
LATE_S = 240.0  # a fault in flight at the kill did its work in these last seconds
LONG_LIVES = 3.0
MIN_POINTS = 3


@dataclass(frozen=True)
class Curve:
    """Samples of one container instance: ``t`` seconds after the kill, ``y`` bytes, oldest first, no repeats."""

    pod: str | None
    container: str | None
    container_id: str | None
    dead: bool
    t: Floats
    y: Floats
    metric: str = "working_set_bytes"
    source: str = ""

    @property
    def step_s(self) -> float:
        """Usual distance of two samples."""
        return float(np.median(np.diff(self.t))) if self.t.size > 1 else float("nan")


@dataclass(frozen=True)
class Memory:
    """The dead container's curve (None: no samples of that instance), others alive with it, and summary numbers.

    ``missing_bytes``: limit minus last sample, what must have come in ``blind_s``. ``base_bytes``: level after boot;
    ``rise_bytes`` since ``rise_from_s``: the last steady climb. ``growth_bytes``: from base to the limit.
    ``slope`` bytes/s over the shape window; ``straight``: R2 of a straight line, ``settling``: R2 of a log curve.
    """

    dead: Curve | None
    others: tuple[Curve, ...] = ()
    limit_bytes: int | None = None
    last_bytes: float | None = None
    blind_s: float | None = None
    missing_bytes: float | None = None
    base_bytes: float | None = None
    growth_bytes: float | None = None
    rise_bytes: float | None = None
    rise_from_s: float | None = None
    slope: float | None = None
    straight: float | None = None
    settling: float | None = None
    late_share: float | None = None  # part of the growth that came in the last tenth of the life
    jump_bytes: float | None = None  # largest step among the last three intervals
    last_rise: float | None = (
        None  # the final rise over ``rise_window_s`` against the largest usual one (a ratio)
    )
    rise_window_s: float | None = None
    late_rise: float | None = (
        None  # the same for the last minutes (``LATE_S``), where the life was long enough to tell
    )
    early_share: float | None = (
        None  # level (95th percentile) in the first half of the life, once booted, of the limit
    )
    notes: tuple[str, ...] = field(default=())


def read_memory(bundle: Bundle, kill: KillCase, foreign: frozenset[str] = frozenset()) -> Memory:
    """Curve and numbers; a Memory without ``dead`` when no sample of the dead instance was read.

    ``foreign``: pods that do not count as others.
    """
    limit = _limit(bundle, kill)
    if kill.killed_at is None or bundle.memory.is_empty():
        return Memory(dead=None, limit_bytes=limit)
    table = bundle.memory.with_columns(t=seconds_after("at", kill.killed_at)).filter(pl.col("t") <= 0)
    curves = _curves(table, kill)
    dead = next((curve for curve in curves if curve.dead), None)
    others = tuple(curve for curve in curves if not curve.dead and curve.pod not in foreign)
    if dead is None or dead.t.size < 1:
        return Memory(dead=None, others=others, limit_bytes=limit)
    return _measured(dead, others, limit)


def _limit(bundle: Bundle, kill: KillCase) -> int | None:
    if kill.limit_bytes:
        return kill.limit_bytes
    mine = bundle.memory.filter(pl.col("pod") == kill.pod_name) if kill.pod_name else bundle.memory
    values = mine["limit_bytes"].drop_nulls()
    return int(values[-1]) if len(values) and values[-1] else None


def _curves(table: pl.DataFrame, kill: KillCase) -> list[Curve]:
    metric = next((m for m in METRICS if table[m].is_not_null().any()), METRICS[0])
    sampled = table.filter(pl.col(metric).is_not_null()).with_columns(is_dead=_belongs_to(kill, table))
    found: list[Curve] = []
    keys = ["is_dead", "pod", "container", "container_id"]
    for key, rows in sampled.sort("t").group_by(keys, maintain_order=True):
        best = _finest(rows, metric)
        if best is not None:
            is_dead, pod, container, container_id = key
            t, y, source = best
            found.append(
                Curve(_text(pod), _text(container), _text(container_id), bool(is_dead), t, y, metric, source)
            )
    return _one_dead(sorted(found, key=lambda c: (not c.dead, c.pod or "", c.container_id or "", c.step_s)))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _one_dead(curves: list[Curve]) -> list[Curve]:
    """The same instance may come from several sources with different labels: keep the one that tells most."""
    dead = [curve for curve in curves if curve.dead]
    if len(dead) < 2:
        return curves
    best = max(dead, key=lambda c: (c.t.size, c.container_id or ""))
    return [best, *(curve for curve in curves if not curve.dead)]


def _belongs_to(kill: KillCase, table: pl.DataFrame) -> pl.Expr:
    """Container id when both know it; else pod, container and the life of the dead instance (never pod name alone)."""
    by_id = pl.col("container_id") == (kill.container_id or "")
    start = seconds_between(kill.killed_at, kill.started_at)
    same_pod = pl.col("pod") == (kill.pod_name or "")
    same_container = pl.col("container").is_null() | (pl.col("container") == (kill.container or ""))
    if kill.container is None:
        same_container = pl.lit(True)
    alive = pl.col("t") >= (start if start is not None else -np.inf)
    by_life = pl.col("container_id").is_null() & same_pod & same_container & alive
    if kill.container_id is None:
        by_life = same_pod & same_container & alive
    return (by_id | by_life).fill_null(False)


def seconds_between(later: datetime | None, earlier: datetime | None) -> float | None:
    """``earlier`` as seconds after ``later`` (negative)."""
    return None if later is None or earlier is None else (earlier - later).total_seconds()


def _finest(rows: pl.DataFrame, metric: str) -> tuple[Floats, Floats, str] | None:
    best: tuple[float, str, Floats, Floats] | None = None
    for (source,), part in rows.group_by(["source"], maintain_order=True):
        t = part["t"].to_numpy().astype(float)
        y = part[metric].to_numpy().astype(float)
        keep = np.concatenate([[True], np.diff(t) > 1e-6]) if t.size else np.zeros(0, dtype=bool)
        t, y = t[keep], y[keep]
        step = float(np.median(np.diff(t))) if t.size > 1 else 1e9
        if best is None or (step, str(source)) < (best[0], best[1]):
            best = (step, str(source), t, y)
    return None if best is None else (best[2], best[3], best[1])


def _measured(dead: Curve, others: tuple[Curve, ...], limit: int | None) -> Memory:
    last, blind = float(dead.y[-1]), -float(dead.t[-1])
    top = float(limit) if limit else float(dead.y.max())
    base = base_level(dead)
    rise_from, rise = _last_rise(dead)
    slope, straight, settling = _lines(dead)
    growth = max(top - base, 0.0)
    window, ratio = _final_rise(dead, others, top)
    return Memory(
        dead=dead, others=others, limit_bytes=limit, last_bytes=last, blind_s=blind,
        missing_bytes=max(top - last, 0.0) if limit else None, base_bytes=base, growth_bytes=growth,
        rise_bytes=rise, rise_from_s=rise_from, slope=slope, straight=straight, settling=settling,
        late_share=_late_share(dead, top, growth), jump_bytes=float(np.diff(dead.y)[-3:].max(initial=0.0)),
        last_rise=ratio, rise_window_s=window, early_share=_early_share(dead, limit),
        late_rise=_late_rise(dead, others, top),
    )  # fmt: skip


def base_level(curve: Curve) -> float:
    """Level once booted: where the steep climb of boot ends, at the latest a fifth into the life.

    Boot is the start of the curve while it climbs faster than four times the median climb of the rest.
    """
    if curve.t.size < MIN_POINTS + 2:
        return float(curve.y[0])
    rate = np.diff(curve.y) / np.maximum(np.diff(curve.t), 1e-3)
    usual = np.median(np.maximum(rate[rate.size // 3 :], 0.0))
    steep = rate > max(4 * usual, 0.02 * curve.y.max() / max(curve.step_s, 1.0))
    limit = max(1, curve.t.size // 3)
    fast = np.flatnonzero(steep[:limit])
    return float(curve.y[fast[-1] + 1 if fast.size else 0])


def _last_rise(curve: Curve) -> tuple[float | None, float | None]:
    """(when it began, bytes) of the last climb, followed back from the end while it stays above the usual rate."""
    if curve.y.size < 2:
        return None, None
    span = curve.y.max() - curve.y.min()
    rate = np.gradient(curve.y, curve.t)
    usual = float(np.median(rate))
    index = curve.y.size - 1
    while (
        index > 0
        and curve.y[index - 1] <= curve.y[index] + 0.02 * span
        and _climbing(rate, index, usual, span)
    ):
        index -= 1
    return float(curve.t[index]), float(curve.y[-1] - curve.y[index])


def _climbing(rate: Floats, index: int, usual: float, span: float) -> bool:
    """True while the mean rate of the samples around ``index`` stays above the usual one of the life."""
    low = max(0, index - 2)
    return bool(np.mean(rate[low : index + 1]) > max(usual * 0.5, 0.0) and span > 0)


def _late_share(curve: Curve, top: float, growth: float) -> float | None:
    if growth <= 0:
        return None
    cut = 0.1 * curve.t[0]
    level = float(np.interp(cut, curve.t, curve.y))
    return float(np.clip((top - level) / growth, 0.0, 1.0))


def _lines(curve: Curve) -> tuple[float | None, float | None, float | None]:
    """Slope (bytes/s), R2 of a straight line and of a logarithm of the age, over the shape window."""
    keep = curve.t >= -SHAPE_WINDOW_S
    t, y = curve.t[keep], curve.y[keep]
    if t.size < MIN_POINTS or np.ptp(t) <= 0 or np.ptp(y) <= 0:
        return None, None, None
    slope, straight = _fit(t, y)
    _, settling = _fit(np.log1p(t - curve.t[0] + curve.step_s), y)
    return slope, straight, settling


def _fit(x: Floats, y: Floats) -> tuple[float, float]:
    x0, y0 = x - x.mean(), y - y.mean()
    slope = float(x0 @ y0 / max(float(x0 @ x0), 1e-12))
    rest = y0 - slope * x0
    return slope, float(1 - rest @ rest / max(float(y0 @ y0), 1e-12))


RISE_SHARE, MIN_RISE_S, MAX_RISE_S, NOISE_SHARE = 0.15, 3.0, 60.0, 0.02
BOOT_SHARE, EARLY_SHARE = 0.2, 0.45


def _final_rise(dead: Curve, others: tuple[Curve, ...], top: float) -> tuple[float | None, float | None]:
    """(window, final rise over the largest usual rise in such a window).

    Usual rises are those of the dead instance before, once booted, and of every other instance.
    """
    life = -float(dead.t[0])
    if dead.t.size < MIN_POINTS + 1 or not np.isfinite(dead.step_s):
        return None, None
    window = float(
        np.clip(RISE_SHARE * life, max(MIN_RISE_S, 2 * dead.step_s), max(MAX_RISE_S, 2 * dead.step_s))
    )
    rises = np.concatenate([_rises(curve, window, -window) for curve in (dead, *others)])
    if rises.size < MIN_POINTS or top <= 0:
        return window, None
    final = top - float(np.interp(-window, dead.t, dead.y))
    usual = max(float(np.quantile(rises, 0.99)), NOISE_SHARE * top)
    return window, max(final, 0.0) / usual


def _late_rise(dead: Curve, others: tuple[Curve, ...], top: float) -> float | None:
    """Rise over the last minutes against the largest usual rise in as many, all before them."""
    if -float(dead.t[0]) < LONG_LIVES * LATE_S:
        return None
    rises = np.concatenate([_rises(curve, LATE_S, -LATE_S) for curve in (dead, *others)])
    if rises.size < MIN_POINTS:
        return None
    final = top - float(np.interp(-LATE_S, dead.t, dead.y))
    return max(final, 0.0) / max(float(np.quantile(rises, 0.99)), NOISE_SHARE * top)


def _rises(curve: Curve, window: float, until: float) -> Floats:
    """Rises over ``window`` that end before ``until``; boot left out."""
    keep = (curve.t >= _booted(curve)) & (curve.t <= until)
    t, y = curve.t[keep], curve.y[keep]
    if t.size < 2:
        return np.zeros(0)
    starts = t[t + window <= t[-1] + 1e-9]
    return np.asarray(np.interp(starts + window, t, y) - np.interp(starts, t, y))


def _booted(curve: Curve) -> float:
    return float(curve.t[0] + BOOT_SHARE * (curve.t[-1] - curve.t[0]))


def _early_share(curve: Curve, limit: int | None) -> float | None:
    early = curve.y[(curve.t >= _booted(curve)) & (curve.t <= curve.t[0] * (1 - EARLY_SHARE))]
    return float(np.quantile(early, 0.95)) / limit if early.size and limit else None
