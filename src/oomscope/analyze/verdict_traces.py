"""Last resort when nothing tells of an end: the traces a dying process leaves in the ALB log and in its own log.

Such a trace gives a time and a place to look at, never a verdict: every case here is ``undetermined``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from oomscope.analyze.access_target import pod_of_rows
from oomscope.analyze.model import KillCase
from oomscope.facts import LogStream
from oomscope.report import EvidenceRef
from oomscope.units import iso

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oomscope.evidence import Bundle

TRACE_OF_ALB = "alb_burst"
MIN_BURST = 2  # requests in flight on one target that all went unanswered within a second
BURST = timedelta(seconds=1)
APART = timedelta(seconds=15)  # bursts of one target nearer than this are one event
MAX_CASES = 50
SILENCE = timedelta(seconds=3)


def cases_from_traces(bundle: Bundle) -> tuple[KillCase, ...]:
    """Possible ends, oldest first: targets that dropped all their requests at once, else logs that just stop."""
    found = list(_from_alb(bundle)) or list(_from_logs(bundle))
    return tuple(sorted(found, key=lambda case: (case.killed_at or datetime.min, case.statement)))[
        -MAX_CASES:
    ]


def _from_alb(bundle: Bundle) -> Iterator[KillCase]:
    unanswered = bundle.accesses.filter(
        pl.col("target_status").is_null(),
        pl.col("elb_status").is_in([502, 504]),
        pl.col("target_ip").is_not_null(),
    ).sort("time", "source", "line")
    named = unanswered.with_columns(pod=pod_of_rows(unanswered, bundle.pods))
    for (address, pod), rows in named.group_by("target_ip", "pod", maintain_order=True):
        for at, count in _bursts(rows):
            stream = _stream_at(bundle, at, None if pod is None else str(pod))
            yield _burst_case(str(address), at, count, stream, None if pod is None else str(pod))


def _bursts(rows: pl.DataFrame) -> Iterator[tuple[datetime, int]]:
    """Instants at which requests already under way went unanswered together: (first of them, how many)."""
    ended = rows["time"].cast(pl.Int64).to_numpy()
    begun = rows["created_at"].fill_null(rows["time"]).cast(pl.Int64).to_numpy()
    together = _together(ended, begun)
    free = np.ones(len(ended), bool)
    while free.any():
        best = int(np.argmax(np.where(free, together, -1)))
        if together[best] < MIN_BURST:
            return
        yield datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(ended[best])), int(together[best])
        free &= np.abs(ended - ended[best]) > APART // timedelta(microseconds=1)


def _together(ended: NDArray[np.int64], begun: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each row: how many end within the next second that had begun before it ended."""
    span = BURST // timedelta(microseconds=1)
    last = np.searchsorted(ended, ended + span, "right")
    return np.array([int((begun[i : last[i]] <= ended[i]).sum()) for i in range(len(ended))], dtype=np.int64)


def _stream_at(bundle: Bundle, at: datetime, pod: str | None) -> LogStream | None:
    """The log that falls silent at that time: the pod's, else the only one."""
    fitting = [
        stream
        for stream in bundle.streams
        if pod in (None, stream.pod) and stream.last_at and abs(stream.last_at - at) <= SILENCE
    ]
    return fitting[0] if len(fitting) == 1 else None


def _burst_case(
    address: str, at: datetime, count: int, stream: LogStream | None, pod: str | None
) -> KillCase:
    text = f"{count} requests under way on target {address} went unanswered within a second"
    return KillCase(
        verdict="undetermined",
        rule=TRACE_OF_ALB,
        confidence=0.3,
        statement=f"At {iso(at)} {text}: a process there may have died; no source tells whether or how.",
        killed_at=at,
        pod_name=pod or (stream.pod if stream else None),
        namespace=stream.namespace if stream else None,
        container=stream.container if stream else None,
        container_id=stream.container_id if stream else None,
        stream=stream.stream if stream else None,
        target_ip=address,
        evidence=(EvidenceRef(source="alb", ref=iso(at), raw=text),),
    )


def _from_logs(bundle: Bundle) -> Iterator[KillCase]:
    """A log with requests that stops without a word while others go on, or the only log there is."""
    working = [s for s in bundle.streams if s.last_at and s.coverage.opened and not s.stop_seen_at]
    newest = max((s.last_at for s in bundle.streams if s.last_at), default=None)
    for stream in working:
        if stream.last_at is None or newest is None:
            continue
        if len(working) == 1 or newest - stream.last_at > SILENCE:
            yield _silent_case(stream)


def _silent_case(stream: LogStream) -> KillCase:
    at = iso(stream.last_at)
    return KillCase(
        verdict="undetermined",
        rule="log_ends",
        confidence=0.2,
        statement=f"The log of {stream.pod or stream.source} ends at {at} without a word of stopping; "
        "it may have been cut there, or the process ended.",
        killed_at=stream.last_at,
        namespace=stream.namespace,
        pod_name=stream.pod,
        pod_uid=stream.pod_uid,
        container=stream.container,
        container_id=stream.container_id,
        node=stream.node,
        stream=stream.stream,
        evidence=(EvidenceRef(source="app_log", ref=stream.source, raw=f"last line at {at}"),),
    )
