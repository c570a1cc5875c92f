"""Tables of the report: one row an endpoint, the coverage of the logs, the order of events."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from oomscope.analyze.gate import Candidate
from oomscope.analyze.ledger import tidy
from oomscope.units import iso

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oomscope.analyze.case import Case
    from oomscope.analyze.model import KillCase
    from oomscope.report import Strength

MAX_ENDPOINTS = 200
EVENTS_BEFORE, EVENTS_AFTER = timedelta(hours=1), timedelta(minutes=30)


def endpoint_rows(case: Case, ranked: list[tuple[Candidate, Strength]]) -> tuple[dict[str, Any], ...]:
    """Endpoints and job classes, the suspect ones first, then by how many were open."""
    place = {c.who: (i, c, word) for i, (c, word) in enumerate(ranked) if c.who is not None}
    order = sorted(
        range(case.runs.n), key=lambda e: (place[e][0] if e in place else 9999, -case.transient.open[e], e)
    )
    by_endpoint = np.argsort(case.runs.who, kind="stable")
    edges = np.searchsorted(case.runs.who[by_endpoint], np.arange(case.runs.n + 1))
    mine = {e: by_endpoint[edges[e] : edges[e + 1]] for e in order[:MAX_ENDPOINTS]}
    return tuple(_endpoint_row(case, e, rows, place.get(e)) for e, rows in mine.items())


def _endpoint_row(
    case: Case, e: int, mine: NDArray[np.int64], place: tuple[int, Candidate, Strength] | None
) -> dict[str, Any]:
    """``mine``: its runs."""
    runs, t = case.runs, case.transient
    done = mine[~np.isnan(runs.end[mine])]
    duration = runs.end[done] - runs.start[done]
    method, pattern = case.names.pattern(runs.names[e])
    seen = not case.unseen[e]  # nobody saw what was open: that is not none
    row: dict[str, Any] = {
        "endpoint": runs.names[e], "kind": "job" if runs.is_job[e] else "endpoint", "method": method,
        "path_pattern": pattern, "count": mine.size, "share": tidy(mine.size / max(runs.who.size, 1)),
        "open": int(t.open[e]) if seen else None, "expected": tidy(float(t.expected[e])),
        "lift": tidy(float(t.open[e] / t.expected[e])) if seen and t.expected[e] > 0 else None,
        "survived": done.size,
        "verdict": "" if place is None or place[1].probability < 0.01 else place[2],
    }  # fmt: skip
    if duration.size:
        row["p50_s"], row["p99_s"] = (tidy(float(v)) for v in np.percentile(duration, (50, 99)))
    if t.oldest[e] > 0:
        row["longest_open_s"] = tidy(float(t.oldest[e]))
    _add_sizes(row, "sent", runs.sent[mine])
    _add_sizes(row, "received", runs.received[mine])
    _add_memory(row, case, e)
    if case.kill.killed_at is not None:
        for key, at in (("first_at", runs.start[mine].min()), ("last_at", runs.start[mine].max())):
            row[key] = iso(case.kill.killed_at + timedelta(seconds=float(at)))
    return row


def _add_sizes(row: dict[str, Any], name: str, values: np.ndarray) -> None:
    known = values[~np.isnan(values)]
    if known.size:
        row[f"{name}_p99_bytes"] = int(np.percentile(known, 99))
        row[f"{name}_min_bytes"], row[f"{name}_max_bytes"] = int(known.min()), int(known.max())


def _add_memory(row: dict[str, Any], case: Case, e: int) -> None:
    if case.growth is not None and case.growth.seconds.beta[e] > 0:
        row["memory_bytes"] = int(case.growth.starts.beta[e])
        row["memory_n"] = int(case.growth.starts.activity[e])
        row["growth_share"] = tidy(float(min(case.growth.seconds.share[e], 1.0)))


def coverage(case: Case) -> dict[str, Any]:
    """How much of the logs was understood."""
    parts = [stream.coverage for stream in case.bundle.streams]
    opened, closed = sum(p.opened for p in parts), sum(p.closed for p in parts)
    return {
        "lines": sum(p.lines for p in parts), "recognised": sum(p.recognised for p in parts),
        "bytes": sum(p.bytes for p in parts), "opened": opened, "closed": closed,
        "share_closed": round(closed / opened, 4) if opened else None,
        "streams": [
            {
                "stream": s.stream, "source": s.source, "pod": s.pod, "shape": s.shape, "envelope": s.envelope,
                "lines": s.coverage.lines, "recognised": s.coverage.recognised, "opened": s.coverage.opened,
                "closed": s.coverage.closed, "why": s.why, "fix": s.fix, "dead": s.stream == case.kill.stream,
            }
            for s in case.bundle.streams
        ],
        "requests": case.bundle.requests.height, "jobs": case.bundle.jobs.height,
        "alb_rows": case.bundle.accesses.height, "memory_samples": case.bundle.memory.height,
        "joined": case.join.pairs.height, "ambiguous_joins": case.join.ambiguous,
        "clock_offset_s": None if case.join.clock_offset_s is None else round(case.join.clock_offset_s, 3),
        "sources": list(case.bundle.sources), "notes": [*case.join.notes, *case.flight.notes],
    }  # fmt: skip


def timeline(case: Case, kills: list[KillCase]) -> tuple[dict[str, Any], ...]:
    """What happened around the kill, oldest first."""
    at = case.kill.killed_at
    if at is None:
        return ()
    rows: list[tuple[str, str, str, str]] = []

    def note(when: Any, what: str, source: str, kind: str) -> None:
        if when is not None and at - EVENTS_BEFORE <= when <= at + EVENTS_AFTER:
            rows.append((iso(when) or "", what, source, kind))

    for stream in case.bundle.streams:
        note(stream.boot_seen_at, f"{stream.pod or stream.stream}: server booted", "app_log", "restart")
        note(stream.stop_seen_at, f"{stream.pod or stream.stream}: graceful stop", "app_log", "stop")
    for event in case.bundle.events:
        note(event.at, f"{event.reason}: {event.name or ''} {event.message}"[:200], "events", "event")
    for kill in kills:
        note(
            kill.killed_at,
            f"{kill.pod_name or kill.container or 'a container of no known pod'}: {kill.statement}"[:200],
            "verdict",
            "kill",
        )
    oldest = case.flight.requests.sort("age_s", descending=True, maintain_order=True).head(1)
    for row in oldest.iter_rows(named=True):
        note(row["started_at"], f"oldest open request began: {row['endpoint']}", "app_log", "request")
    if case.memory.rise_from_s is not None and case.memory.dead is not None:
        note(
            at + timedelta(seconds=case.memory.rise_from_s), "memory began its last rise", "memory", "memory"
        )
    note(case.join.fingerprint_at, "load balancer lost the target (502)", "alb", "alb")
    return tuple({"at": t, "what": w, "source": s, "kind": k} for t, w, s, k in sorted(set(rows)))
