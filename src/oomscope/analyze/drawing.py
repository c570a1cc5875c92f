"""Data for the two pictures of the report, already thinned: memory against the limit, requests until death."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from oomscope.analyze.ledger import tidy
from oomscope.analyze.processes import processes_doc
from oomscope.units import iso

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oomscope.analyze.case import Case
    from oomscope.analyze.gate import Candidate
    from oomscope.analyze.memory import Curve

LONGEST_S, SHORTEST_S, AFTER_S = 3600.0, 60.0, 15.0  # of the picture
LEAKS = ("memory_leak", "background_job")  # patterns that keep memory after each run
FLOOR_BINS, LEAST_RUNS = 60, 3
RISE = 0.1  # of the limit


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a kill is kept to be drawn."""

    series: int = 24
    points: int = 600
    bars: int = 400
    long: int = 40  # completed ones of others
    survived: int = 20
    buckets: int = 300


SMALL = Room(series=1, points=120, bars=40, long=10, survived=6, buckets=60)


def memory_doc(case: Case, lead: Candidate | None, room: Room = Room()) -> dict[str, Any]:
    """The ``memory`` block: series, the blind gap, the last rise, and the leak view of the leading suspect."""
    m, at = case.memory, case.kill.killed_at
    if at is None:
        return {}
    curves = ([m.dead] if m.dead is not None else []) + list(m.others)
    doc: dict[str, Any] = {
        "limit_bytes": m.limit_bytes,
        "request_bytes": case.kill.container_facts.request_bytes if case.kill.container_facts else None,
        "series": [_series(curve, at, room) for curve in curves[: room.series]], "series_total": len(curves),
        "killed_at": iso(at), "restarts": _restarts(case),
    }  # fmt: skip
    if m.dead is None or m.last_bytes is None or m.blind_s is None:
        return doc
    rise_at = m.rise_from_s if m.rise_from_s is not None else -m.blind_s
    doc |= {
        "metric": m.dead.metric.removesuffix("_bytes"), "step_s": tidy(m.dead.step_s) if m.dead.t.size > 1 else None,
        "last_sample_at": iso(at - timedelta(seconds=m.blind_s)), "last_bytes": int(m.last_bytes),
        "blind_s": tidy(m.blind_s), "missing_bytes": None if m.missing_bytes is None else int(m.missing_bytes),
        "base_bytes": None if m.base_bytes is None else int(m.base_bytes),
        "before_bytes": int(m.last_bytes - (m.rise_bytes or 0)), "rise_bytes": int(m.rise_bytes or 0),
        "rise_from": iso(at + timedelta(seconds=rise_at)),
        "slope_bytes_per_s": None if m.slope is None else tidy(m.slope),
    }  # fmt: skip
    more = {"floor": _leak_view(case, lead), "processes": processes_doc(case)}
    return doc | {name: value for name, value in more.items() if value}


def _series(curve: Curve, at: datetime, room: Room) -> dict[str, Any]:
    keep = _thin(curve.y, room.points)
    return {
        "pod": curve.pod, "container": curve.container, "container_id": curve.container_id, "dead": curve.dead,
        "points": [[iso(at + timedelta(seconds=float(curve.t[i]))), int(curve.y[i])] for i in keep],
    }  # fmt: skip


def _thin(y: NDArray[np.float64], most: int) -> list[int]:
    """At most ``most`` indices: first, last, and the peak of every bucket between."""
    if y.size <= most:
        return list(range(y.size))
    edges = np.linspace(0, y.size, most - 1).astype(int)
    peaks = [a + int(np.argmax(y[a:b])) for a, b in pairwise(edges) if b > a]
    return sorted({0, y.size - 1, *peaks})


def _restarts(case: Case) -> list[str]:
    pod = case.kill.pod_name
    times = {iso(s.boot_seen_at) for s in case.bundle.streams if s.pod == pod and s.boot_seen_at is not None}
    return sorted(time for time in times if time)


def _leak_view(case: Case, lead: Candidate | None) -> dict[str, Any] | None:
    """The floor of memory against completions of the suspect since boot: a leak is a straight line here."""
    curve, runs = case.memory.dead, case.runs
    if lead is None or lead.who is None or lead.pattern not in LEAKS or curve is None or case.growth is None:
        return None
    slope = float(case.growth.done.beta[lead.who])
    ends = np.sort(runs.end[(runs.who == lead.who) & runs.dead & ~np.isnan(runs.end)])
    low = _floor(curve, float(runs.start[runs.dead].min()) if runs.dead.any() else 0.0)
    if slope <= 0 or ends.size < LEAST_RUNS or low.size < LEAST_RUNS:
        return None
    done, level = np.searchsorted(ends, curve.t[low], side="right"), curve.y[low]
    late = slice(done.size // 2, None)  # the line goes through the later half: warm-up is over there
    return {
        "suspect": runs.names[lead.who], "points": [[int(n), int(b)] for n, b in zip(done, level, strict=True)],
        "slope_bytes": tidy(slope), "intercept_bytes": tidy(float(np.median(level[late] - slope * done[late]))),
        "completions": int(ends.size),
    }  # fmt: skip


def _floor(curve: Curve, since: float) -> NDArray[np.int64]:
    """Index of the lowest sample of every stretch of time from ``since`` on: peaks are passing, a leak stays."""
    after = np.flatnonzero(curve.t >= since)
    if after.size < LEAST_RUNS:
        return after
    span = float(curve.t[after[-1]] - curve.t[after[0]])
    width = max(2 * curve.step_s, span / FLOOR_BINS)
    stretch = ((curve.t[after] - curve.t[after[0]]) // width).astype(int)
    return np.array(
        [mine[curve.y[mine].argmin()] for n in np.unique(stretch) if (mine := after[stretch == n]).size]
    )


def small_pictures(case: Case, suspect: str | None) -> dict[str, Any]:
    """Memory and requests of another kill, cut to what a small picture shows; ``suspect`` by name."""
    who = case.runs.names.index(suspect) if suspect in case.runs.names else -1
    memory = memory_doc(case, None, SMALL)
    memory.pop("processes", None)
    chart = chart_doc(case, who, SMALL)
    dead = case.memory.dead
    peak = None if dead is None else int(dead.y.max())
    return {"memory": memory, "chart": chart, "peak_bytes": peak}


def chart_doc(case: Case, suspect: int | None, room: Room = Room()) -> dict[str, Any]:
    """The ``chart`` block: bars of what was in flight, the long ones before, survived runs of the suspect."""
    at, runs = case.kill.killed_at, case.runs
    if at is None:
        return {}
    suspect = -1 if suspect is None else suspect
    begin = _begin(case)
    window = (runs.start >= begin) & (runs.start <= 0)
    open_ = np.flatnonzero(runs.open)
    open_ = open_[np.argsort(runs.start[open_], kind="stable")]
    finished = window & ~np.isnan(runs.end) & ~runs.open
    survived = _longest(runs.duration, finished & (runs.who == suspect), room.survived)
    long = _longest(runs.duration, finished & (runs.who != suspect) & (runs.duration > 1.0), room.long)
    bars = [_bar(case, i, suspect, at) for i in [*open_, *survived, *long][: room.bars]]
    return {
        "from": iso(at + timedelta(seconds=begin)), "to": iso(at + timedelta(seconds=AFTER_S)), "killed_at": iso(at),
        "bars": bars, "drawn": len(bars), "total": int((window | runs.open).sum()),
        "rate": _rate(runs.end[finished], begin, at, room.buckets), "marks": _marks(case, begin),
    }  # fmt: skip


def _begin(case: Case) -> float:
    """Start of the picture: it shows the oldest open request in its time, and how memory came to its end."""
    oldest = float(case.transient.oldest.max(initial=0.0))
    first = float(case.runs.start.min()) if case.runs.start.size else _way(case)
    wanted = max(3 * oldest + 120.0, -_way(case), SHORTEST_S)
    return max(first, -min(wanted, LONGEST_S))


def _way(case: Case) -> float:
    """When memory set out for its end: its last rise, or its whole life where there was no rise to speak of."""
    m = case.memory
    if m.dead is None:
        return -SHORTEST_S
    steep = m.rise_from_s is not None and (m.rise_bytes or 0.0) >= RISE * (m.limit_bytes or m.dead.y.max())
    return 1.2 * m.rise_from_s if steep and m.rise_from_s is not None else float(m.dead.t[0])


def _longest(duration: NDArray[np.float64], mask: NDArray[np.bool_], count: int) -> list[int]:
    index = np.flatnonzero(mask)
    return [int(i) for i in index[np.argsort(-duration[index], kind="stable")][:count]]


def _bar(case: Case, i: int, suspect: int, at: datetime) -> dict[str, Any]:
    runs = case.runs
    is_open, mine = bool(runs.open[i]), int(runs.who[i]) == suspect
    return {
        "start": iso(at + timedelta(seconds=float(runs.start[i]))),
        "end": None if is_open else iso(at + timedelta(seconds=float(runs.end[i]))),
        "endpoint": runs.names[runs.who[i]],
        "state": "in_flight" if is_open else "survived" if mine else "completed", "suspect": mine,
        "age_s": tidy(float(-runs.start[i])) if is_open else None,
        "pod": case.kill.pod_name if runs.dead[i] else None,
    }  # fmt: skip


def _rate(ends: NDArray[np.float64], begin: float, at: datetime, buckets: int) -> list[list[Any]]:
    if not ends.size:
        return []
    width = max(1.0, np.ceil(-begin / buckets))
    edges = np.arange(begin, 0.0 + width, width)
    counts, _ = np.histogram(ends, edges)
    return [
        [iso(at + timedelta(seconds=float(edge))), tidy(float(count / width))]
        for edge, count in zip(edges[:-1], counts, strict=True)
    ]


def _marks(case: Case, begin: float) -> list[dict[str, str]]:
    at = case.kill.killed_at
    marks = [{"at": iso(at) or "", "text": "killed", "kind": "kill"}]
    for text in _restarts(case):
        if at is not None and text >= (iso(at + timedelta(seconds=begin)) or ""):
            marks.append({"at": text, "text": "booted", "kind": "restart"})
    return sorted(marks, key=lambda mark: (mark["at"], mark["kind"]))
