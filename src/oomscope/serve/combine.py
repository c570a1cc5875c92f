"""The evidence of several stages as one bundle: what was captured early is not lost later. Pure.

Small facts are united. Of a log or a series the stage that knows most about the time before the kill is taken whole:
the same lines read twice, from two places, would count every request twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from oomscope.facts import ContainerFacts, Gap, PodFacts, SeriesPoint, Target, Termination

if TYPE_CHECKING:
    import polars as pl

    from oomscope.evidence import Bundle

BEFORE = timedelta(minutes=30)
_LOG = ("requests", "jobs", "streams", "lives")
_GONE = ("no_data", "too_late", "unreachable", "timed_out", "denied", "cut")


def combined(early: Bundle, late: Bundle, claims: Sequence[SeriesPoint] = ()) -> Bundle:
    """``late`` with everything ``early`` knew and it does not. Gaps and queries are those of the later look."""
    at = late.target.at or early.target.at
    log = early if _rows(early.requests, "started_at", at) > _rows(late.requests, "started_at", at) else late
    tables: dict[str, Any] = {name: getattr(log, name) for name in _LOG}
    for name, column in (("accesses", "time"), ("memory", "at")):
        known = [(_rows(getattr(one, name), column, at), getattr(one, name)) for one in (late, early)]
        tables[name] = max(known, key=lambda pair: pair[0])[1]
    facts: dict[str, Any] = {
        name: _united(getattr(early, name), getattr(late, name)) for name in ("nodes", "events", "oom_kills")
    }
    return replace(
        late,
        **tables,
        **facts,
        target=_completed(late.target, early.target),
        window=late.window or early.window,
        pods=_pods(early.pods, late.pods),
        series=_united(_united(early.series, late.series), tuple(claims)),
        gaps=tuple(gap for gap in late.gaps if not _filled(gap, early)),
        sources=tuple(sorted({*early.sources, *late.sources})),
        redacted=early.redacted and late.redacted,
    )


def with_claims(bundle: Bundle, claims: Sequence[SeriesPoint]) -> Bundle:
    """What the alerts themselves say of the kill, among the other readings."""
    return replace(bundle, series=_united(bundle.series, tuple(claims)))


def _rows(table: pl.DataFrame, column: str, at: datetime | None) -> int:
    """Rows of the half hour before the kill; all rows when its time is not known."""
    import polars as pl

    if at is None or column not in table.columns:
        return len(table)
    return table.filter(pl.col(column).is_between(at - BEFORE, at + timedelta(seconds=1))).height


def _united(early: tuple[Any, ...], late: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys((*early, *late)))


def _completed(target: Target, other: Target) -> Target:
    missing = {name: getattr(other, name) for name in Target.__slots__ if getattr(target, name) is None}
    return replace(target, **missing)


def _filled(gap: Gap, early: Bundle) -> bool:
    """What is gone now but was captured before is no gap."""
    had = gap.source in early.sources and not any(one.source == gap.source for one in early.gaps)
    return had and gap.reason in _GONE


def _pods(early: tuple[PodFacts, ...], late: tuple[PodFacts, ...]) -> tuple[PodFacts, ...]:
    """Each pod once: as it is now, with the ends of containers it has forgotten and the limit it had at first."""
    before = {(pod.namespace, pod.name, pod.uid): pod for pod in early}
    now = {(pod.namespace, pod.name, pod.uid): pod for pod in late}
    merged = {key: _pod(before[key], pod) if key in before else pod for key, pod in now.items()}
    return tuple((before | merged).values())


def _pod(early: PodFacts, late: PodFacts) -> PodFacts:
    before = {container.name: container for container in early.containers}
    containers = [_container(before.pop(one.name, None), one) for one in late.containers]
    return replace(late, node=late.node or early.node, containers=(*containers, *before.values()))


def _container(early: ContainerFacts | None, late: ContainerFacts) -> ContainerFacts:
    if early is None:
        return late
    ends = {_end(end): end for end in (*early.terminations, *late.terminations)}
    return replace(late, limit_bytes=early.limit_bytes or late.limit_bytes, terminations=tuple(ends.values()))


def _end(end: Termination) -> tuple[Any, ...]:
    return (end.container_id or "", end.finished_at, end.exit_code)
