"""Data for the two pictures of the report, already thinned: memory against the limit, requests until death."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from oomscope.analyze.ledger import tidy
from oomscope.units import format_bytes, iso

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oomscope.analyze.case import Case
    from oomscope.analyze.gate import Candidate
    from oomscope.analyze.memory import Curve

MAX_SERIES, MAX_POINTS, MAX_BARS, MAX_BUCKETS = 24, 600, 400, 300
LONG_BARS, SURVIVED_BARS = 40, 20
PICTURE_S, AFTER_S = 900.0, 15.0


def memory_doc(case: Case, lead: Candidate | None) -> dict[str, Any]:
    """The ``memory`` block: series, the blind gap, the last rise, and the leak view of the leading suspect."""
    m, at = case.memory, case.kill.killed_at
    if at is None:
        return {}
    curves = ([m.dead] if m.dead is not None else []) + list(m.others)
    doc: dict[str, Any] = {
        "limit_bytes": m.limit_bytes,
        "request_bytes": case.kill.container_facts.request_bytes if case.kill.container_facts else None,
        "series": [_series(curve, at) for curve in curves[:MAX_SERIES]], "series_total": len(curves),
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
    leak = _leak_view(case, lead)
    return doc | ({"floor": leak} if leak else {})


def _series(curve: Curve, at: datetime) -> dict[str, Any]:
    keep = _thin(curve.y)
    return {
        "pod": curve.pod, "container": curve.container, "container_id": curve.container_id, "process": None,
        "dead": curve.dead,
        "points": [[iso(at + timedelta(seconds=float(curve.t[i]))), int(curve.y[i])] for i in keep],
    }  # fmt: skip


def _thin(y: NDArray[np.float64]) -> list[int]:
    """At most MAX_POINTS indices: first, last, and the peak of every bucket between."""
    if y.size <= MAX_POINTS:
        return list(range(y.size))
    edges = np.linspace(0, y.size, MAX_POINTS - 1).astype(int)
    peaks = [a + int(np.argmax(y[a:b])) for a, b in pairwise(edges) if b > a]
    return sorted({0, y.size - 1, *peaks})


def _restarts(case: Case) -> list[str]:
    pod = case.kill.pod_name
    times = {iso(s.boot_seen_at) for s in case.bundle.streams if s.pod == pod and s.boot_seen_at is not None}
    return sorted(time for time in times if time)


def _leak_view(case: Case, lead: Candidate | None) -> dict[str, Any] | None:
    """Memory against completions of the suspect: a leak is a straight line here."""
    m, runs = case.memory, case.runs
    if (
        lead is None
        or lead.who is None
        or lead.pattern != "memory_leak"
        or m.dead is None
        or case.growth is None
    ):
        return None
    ends = np.sort(runs.end[(runs.who == lead.who) & runs.dead & ~np.isnan(runs.end)])
    keep = _thin(m.dead.y)
    done = np.searchsorted(ends, m.dead.t[keep])
    slope = float(case.growth.done.beta[lead.who])
    level = m.dead.y[keep]
    return {
        "suspect": runs.names[lead.who], "points": [[int(n), int(b)] for n, b in zip(done, level, strict=True)],
        "slope_bytes": tidy(slope), "intercept_bytes": tidy(float(np.median(level - slope * done))),
        "text": f"{format_bytes(slope)} a completed run",
    }  # fmt: skip


def chart_doc(case: Case, lead: Candidate | None) -> dict[str, Any]:
    """The ``chart`` block: bars of what was in flight, the long ones before, survived runs of the suspect."""
    at, runs = case.kill.killed_at, case.runs
    if at is None:
        return {}
    suspect = -1 if lead is None or lead.who is None else lead.who
    begin = _begin(case)
    window = (runs.start >= begin) & (runs.start <= 0)
    open_ = np.flatnonzero(runs.open)
    open_ = open_[np.argsort(runs.start[open_], kind="stable")]
    finished = window & ~np.isnan(runs.end) & ~runs.open
    survived = _longest(runs.duration, finished & (runs.who == suspect), SURVIVED_BARS)
    long = _longest(runs.duration, finished & (runs.who != suspect) & (runs.duration > 1.0), LONG_BARS)
    bars = [_bar(case, i, suspect, at) for i in [*open_, *survived, *long][:MAX_BARS]]
    return {
        "from": iso(at + timedelta(seconds=begin)), "to": iso(at + timedelta(seconds=AFTER_S)), "killed_at": iso(at),
        "bars": bars, "drawn": len(bars), "total": int((window | runs.open).sum()),
        "rate": _rate(runs.end[finished], begin, at), "marks": _marks(case, begin),
    }  # fmt: skip


def _begin(case: Case) -> float:
    oldest = float(case.transient.oldest.max(initial=0.0))
    first = float(case.runs.start.min()) if case.runs.start.size else -60.0
    return max(first, -max(min(PICTURE_S, 3 * oldest + 120.0), 60.0))


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
        "age_s": tidy(float(-runs.start[i])) if is_open else None, "process": None,
        "pod": case.kill.pod_name if runs.dead[i] else None,
    }  # fmt: skip


def _rate(ends: NDArray[np.float64], begin: float, at: datetime) -> list[list[Any]]:
    if not ends.size:
        return []
    width = max(1.0, np.ceil(-begin / MAX_BUCKETS))
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
