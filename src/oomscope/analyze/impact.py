"""Who was hurt: requests lost, errors at the load balancer, seconds down, kills before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from oomscope.analyze.drawing import small_pictures
from oomscope.analyze.in_flight import dead_stream
from oomscope.units import iso

if TYPE_CHECKING:
    from oomscope.analyze.case import Case
    from oomscope.analyze.model import KillCase

AFTERMATH = timedelta(minutes=5)


def make_impact(case: Case, kills: list[KillCase]) -> dict[str, Any]:
    """The ``impact`` block; keys without evidence are left out or None."""
    requests = case.flight.requests
    impact: dict[str, Any] = {
        "requests_in_flight": None if case.flight.unknown and requests.is_empty() else requests.height,
        "by_method": _counts(requests["method"]),
        "by_endpoint": [
            {"endpoint": name, "count": count} for name, count in _counts(requests["endpoint"]).items()
        ],
        "jobs_in_flight": case.flight.jobs.height,
        "clients": requests["client"].n_unique() if requests.height else 0,
        "waiting_at_alb": int(case.queued.sum()) or None,
        "alb_502": _failed(case),
        "down_s": _down(case),
        **_kill_series(case.kill, kills),
    }
    if case.flight.unknown:
        impact["unknown"] = case.flight.unknown
    return impact


def _counts(values: pl.Series) -> dict[str, int]:
    counter = Counter(value or "?" for value in values)
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))


def _failed(case: Case) -> int | None:
    if case.bundle.accesses.is_empty() or case.kill.killed_at is None:
        return None
    at = case.kill.killed_at
    address = (case.join.dead_target or "").rpartition(":")[0]
    rows = case.bundle.accesses.filter(
        pl.col("elb_status").is_in([502, 503, 504])
        & (pl.col("time") >= at - timedelta(seconds=2))
        & (pl.col("time") <= at + AFTERMATH)
        & (pl.col("target_ip").is_null() | (pl.lit(address) == "") | (pl.col("target_ip") == address))
    )
    return rows.height


def _down(case: Case) -> float | None:
    """From the kill to the next boot (or first finished request) of the same container."""
    at = case.kill.killed_at
    if at is None or case.kill.verdict == "oom_child":
        return None
    dead = dead_stream(case.bundle, case.kill)
    starts = [
        stream.boot_seen_at or stream.first_at
        for stream in case.bundle.streams
        if stream.pod == case.kill.pod_name
        and stream is not dead
        and (dead is None or stream.container == dead.container)
    ]
    running = case.kill.container_facts.running_since if case.kill.container_facts else None
    later = sorted(
        start for start in [*starts, running] if start is not None and start >= at - timedelta(seconds=1)
    )
    return round(max((later[0] - at).total_seconds(), 0.0), 1) if later else None


def _kill_series(kill: KillCase, kills: list[KillCase]) -> dict[str, Any]:
    """Kill i of n, over what time, and the last of them."""
    times = sorted(
        other.killed_at
        for other in kills
        if other.killed_at is not None and other.verdict != "not_oom" and _same_workload(other, kill)
    )
    if kill.killed_at is None or kill.killed_at not in times:
        return {}
    span = (times[-1] - times[0]).total_seconds()
    return {
        "kill_index": times.index(kill.killed_at) + 1, "kills_total": len(times), "kills_window_s": span or None,
        "last_kill_at": iso(times[-1]),
    }  # fmt: skip


def _same_workload(other: KillCase, kill: KillCase) -> bool:
    """A node's kernel log tells of strangers too; a kill of a pod nobody named is not counted."""
    if other.pod_name is None or (other.namespace or "") != (kill.namespace or ""):
        return False
    same = other.pod_name == kill.pod_name or (kill.workload is not None and other.workload == kill.workload)
    return same and other.container in (None, kill.container)


def other_kills(
    case: Case, kills: list[KillCase], suspect: str | None, companions: Sequence[Case] = ()
) -> tuple[dict[str, Any], ...]:
    """The other terminations in the evidence, newest first, with what the suspect did at each.

    ``companions``: those of them that were measured too; they come with their pictures.
    """
    ours = [kill for kill in kills if _same_workload(kill, case.kill) and not same_kill(kill, case.kill)]
    measured = {id(other.kill): other for other in companions}
    rows = [_other(measured.get(id(kill), case), kill, suspect) for kill in ours]
    return tuple(sorted(rows, key=lambda row: row["killed_at"] or "", reverse=True)[:50])


def same_kill(one: KillCase, other: KillCase) -> bool:
    """The same termination."""
    return (one.killed_at, one.pod_name, one.container, one.stream) == (
        other.killed_at, other.pod_name, other.container, other.stream
    )  # fmt: skip


def _other(case: Case, kill: KillCase, suspect: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "killed_at": iso(kill.killed_at), "pod": kill.pod_name, "container": kill.container,
        "container_id": kill.container_id, "verdict": kill.verdict, "limit_bytes": kill.limit_bytes,
        "statement": kill.statement,
    }  # fmt: skip
    if case.kill is kill:
        return row | _open_then(_in_flight(case), kill, suspect) | small_pictures(case, suspect)
    if kill.killed_at is not None and any(stream.stream == kill.stream for stream in case.bundle.streams):
        row |= _open_then(_open_at(case, kill.stream or "", kill.killed_at), kill, suspect)
    return row


def _open_then(
    open_: list[tuple[str, datetime]] | None, kill: KillCase, suspect: str | None
) -> dict[str, Any]:
    """How many were open at that kill and whether the suspect was; nothing where that cannot be told."""
    if open_ is None or kill.killed_at is None:
        return {}
    ages = [(kill.killed_at - start).total_seconds() for name, start in open_ if name == suspect]
    known = {"open": len(open_), "suspect_open": bool(ages) if suspect else None}
    return known | ({"suspect_age_s": round(max(ages), 3)} if ages else {})


def _in_flight(case: Case) -> list[tuple[str, datetime]] | None:
    flight = case.flight
    if flight.unknown and flight.requests.is_empty() and flight.jobs.is_empty():
        return None
    jobs = flight.jobs.select("job_class", "started_at")
    rows = [*flight.requests.select("endpoint", "started_at").iter_rows(), *jobs.iter_rows()]
    return [(name or "", start) for name, start in rows if start is not None]


def _open_at(case: Case, stream: str, at: datetime) -> list[tuple[str, datetime]]:
    rows = case.bundle.requests.filter(
        (pl.col("stream") == stream) & (pl.col("state") == "open") & (pl.col("started_at") <= at)
    )
    return [(name or "", start) for name, start in rows.select("endpoint", "started_at").iter_rows()]
