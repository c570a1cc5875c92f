"""What is known of one death, in the terms the decision table asks for. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from oomscope.analyze.verdict_death import Death
from oomscope.analyze.verdict_events import about, before_death, is_probe_kill, of_node
from oomscope.facts import EventFacts, OomKill

if TYPE_CHECKING:
    from oomscope.evidence import Bundle

SIGKILL, SIGTERM = 137, 143
_LOOK_BACK = timedelta(minutes=5)
_ENDS_TOGETHER = timedelta(seconds=20)
_ALLOCATION = re.compile(r"NoMemoryError|failed to allocate memory|[Cc]annot allocate memory")
_WRAPPERS = re.compile(
    r"(?:^|/)(?:ba|da)?sh$|(?:^|/)(?:tini|dumb-init|foreman|overmind|s6-svscan|supervisord)$"
)
_CONTAINERD = re.compile(r"containerd://v?(\d{1,4})\.(\d{1,4})")


@dataclass(frozen=True, slots=True)
class Evidence:
    """The inputs of the decision table. None means not known; False that it was looked at and is not so."""

    reason: str | None = None
    exit_code: int | None = None
    told_by: str | None = None  # source of the termination
    ended: bool | None = None
    kernel: OomKill | None = None
    kernel_lag_s: float | None = None  # from the kernel's kill to the end of the container
    probe: EventFacts | None = None
    stopping: EventFacts | None = None  # Killing without a failed probe
    deleted: bool = False
    evicted: bool = False
    grace_exceeded: bool = False
    node_oom: EventFacts | None = None  # SystemOOM, or a global kill quoted in a node event
    node_kill: EventFacts | None = None  # a memory cgroup kill quoted in a node event: no pod in it
    counter: bool = False
    counter_by_alert: bool = False  # only an alert claims that the counter went up
    peak_share: float | None = None  # highest working set of the last five minutes over the limit
    events_read: bool = False  # there are events of this pod
    log_read: bool = False
    stopped_by_request: bool = False  # the log shows a graceful stop
    fatal: str | None = None
    replaced: bool = False
    wrapper: bool = False
    runtime_misses_kills: bool | None = None  # containerd before 2.3 can lose the reason
    life_s: float | None = None
    dropped_bytes: int | None = None

    @property
    def abrupt(self) -> bool:
        """The log ends without a word of stopping or of an error."""
        return self.log_read and not self.stopped_by_request and not self.fatal

    @property
    def refused_allocation(self) -> bool:
        """Ruby or the system refused memory: an error of the process, not a kill."""
        return self.fatal is not None and _ALLOCATION.search(self.fatal) is not None

    @property
    def near_limit(self) -> bool:
        """Memory samples reached nine tenths of the limit. True raises a suspicion, False refutes nothing."""
        return self.peak_share is not None and self.peak_share >= 0.9


def collect(death: Death, bundle: Bundle) -> Evidence:
    """The evidence of one death out of the bundle."""
    end = death.termination
    events = list(about(death, bundle.events))
    before = before_death(death, events)
    on_node = of_node(death, bundle.events, death.pod.node if death.pod else None)
    stream = death.stream
    finished = end.finished_at if end else None
    lag = (
        (finished - death.kernel.at).total_seconds()
        if finished and death.kernel and death.kernel.at
        else None
    )
    return Evidence(
        reason=end.reason if end else None,
        exit_code=end.exit_code if end else None,
        told_by=end.source if end else None,
        ended=death.ended,
        kernel=death.kernel,
        kernel_lag_s=lag,
        probe=next((e for e in before if is_probe_kill(e)), None),
        stopping=next((e for e in before if e.reason == "Killing" and "Stopping" in e.message), None),
        deleted=_deleted(death),
        evicted=_evicted(death, before, bundle),
        grace_exceeded=any(e.reason == "ExceededGracePeriod" for e in before),
        node_oom=next((e for e in on_node if _is_node_oom(e)), None),
        node_kill=next((e for e in on_node if e.reason == "OOMKilling" and not _is_node_oom(e)), None),
        counter=death.counter is not None,
        counter_by_alert=death.counter is not None and death.counter.metric == "oom_events_alert",
        peak_share=peak_share(death, bundle),
        events_read=bool(events),
        log_read=(stream is not None and stream.coverage.lines > 0)
        or (stream is not None and bool(stream.last_at)),
        stopped_by_request=_stopped(death),
        fatal=stream.error_seen if stream and death.ended is not False else None,
        replaced=death.replaced is not None,
        wrapper=_wrapped(death),
        runtime_misses_kills=_misses_kills(death, bundle),
        life_s=_life(death),
        dropped_bytes=death.dropped_bytes,
    )


def _deleted(death: Death) -> bool:
    """The pod was being deleted (rollout, drain, scale-down, preemption)."""
    pod = death.pod
    if pod is None or (pod.deletion_at is None and pod.disruption_reason is None):
        return False
    if pod.deletion_at is None or death.at is None:
        return True
    return death.at >= pod.deletion_at - timedelta(seconds=(pod.grace_seconds or 30.0) + 5)


def _evicted(death: Death, before: list[EventFacts], bundle: Bundle) -> bool:
    if death.pod is not None and death.pod.status_reason == "Evicted":
        return True
    metric = any(
        p.metric == "pod_status_reason" and p.reason == "Evicted" and p.value == 1 and p.pod == death.pod_name
        for p in bundle.series
        if death.pod_name
    )
    return metric or any(e.reason == "Evicted" for e in before)


def _is_node_oom(event: EventFacts) -> bool:
    quoted_global = "Out of memory: Killed process" in event.message
    return event.reason == "SystemOOM" or (event.reason == "OOMKilling" and quoted_global)


def _stopped(death: Death) -> bool:
    stream = death.stream
    if stream is None or stream.stop_seen_at is None:
        return False
    return death.at is None or stream.stop_seen_at <= death.at + timedelta(seconds=5)


def _wrapped(death: Death) -> bool:
    command = death.container_facts.command if death.container_facts else ()
    return (
        bool(command) and _WRAPPERS.search(command[0]) is not None and "exec" not in " ".join(command).split()
    )


def _misses_kills(death: Death, bundle: Bundle) -> bool | None:
    name = death.pod.node if death.pod else None
    runtime = next((n.container_runtime for n in bundle.nodes if n.name == name), None)
    match = _CONTAINERD.match(runtime or "")
    return (int(match[1]), int(match[2])) < (2, 3) if match else None


def started_at(death: Death) -> datetime | None:
    """When the instance that died had started."""
    if death.termination and death.termination.started_at:
        return death.termination.started_at
    if death.ended is False and death.container_facts and death.container_facts.running_since:
        return death.container_facts.running_since
    stream = death.stream
    return (stream.boot_seen_at or stream.first_at) if stream else None


def _life(death: Death) -> float | None:
    start = started_at(death)
    return (death.at - start).total_seconds() if start and death.at else None


def limit_of(death: Death) -> int | None:
    """The memory limit in force at the death, bytes: the kernel knows best, then samples, then the object."""
    if death.kernel and death.kernel.limit_bytes and death.kernel.scope in ("container", "pod"):
        return death.kernel.limit_bytes
    if death.container_facts and death.container_facts.limit_bytes:
        return death.container_facts.limit_bytes
    return death.pod.pod_limit_bytes if death.pod else None


def peak_share(death: Death, bundle: Bundle) -> float | None:
    """Highest working set over the limit in the five minutes before the death; None without samples or limit."""
    import polars as pl

    if death.at is None or death.pod_name is None or bundle.memory.is_empty():
        return None
    rows = bundle.memory.filter(pl.col("at").is_between(death.at - _LOOK_BACK, death.at))
    if death.container_id and rows["container_id"].is_not_null().any():
        rows = rows.filter(pl.col("container_id") == death.container_id)
    else:
        rows = rows.filter(pl.col("pod") == pl.lit(death.pod_name, pl.String))
        if death.container:
            rows = rows.filter(pl.col("container").is_null() | (pl.col("container") == death.container))
    used = pl.coalesce("working_set_bytes", "usage_bytes", "rss_bytes")
    share = rows.select((used / pl.coalesce("limit_bytes", pl.lit(limit_of(death), pl.Int64))).max()).item()
    return float(share) if share is not None else None
