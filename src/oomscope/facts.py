"""Frozen records and table schemas: the nouns of the tool, with their units.

Every time is UTC, aware, with microseconds. Every size is bytes, every length of time is seconds unless
the name ends in ``_ms``. ``None`` means "not known", never "zero" and never "none".

Small facts (a pod, an OOM kill, a gap) are frozen dataclasses. What comes by the million (requests, ALB rows,
memory samples) is a Polars table with one of the ``*_SCHEMA`` below; ``empty(SCHEMA)`` makes a table without rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from oomscope.facts_tables import ACCESS_SCHEMA as ACCESS_SCHEMA
from oomscope.facts_tables import JOB_SCHEMA as JOB_SCHEMA
from oomscope.facts_tables import MEMORY_SCHEMA as MEMORY_SCHEMA
from oomscope.facts_tables import REQUEST_SCHEMA as REQUEST_SCHEMA
from oomscope.facts_tables import RequestState as RequestState
from oomscope.facts_tables import empty as empty
from oomscope.facts_tables import polars_schema as polars_schema

# --------------------------------------------------------------------------------------------- what we look at


@dataclass(frozen=True, slots=True)
class Target:
    """What to investigate. Any part may be unknown; ``at`` is the time to look around (UTC)."""

    namespace: str | None = None
    workload: str | None = None
    pod: str | None = None
    container: str | None = None
    at: datetime | None = None
    pod_uid: str | None = None
    cluster: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open time span [start, end), UTC."""

    start: datetime
    end: datetime


GapReason = Literal[
    "off", "denied", "unreachable", "timed_out", "no_data", "too_late", "not_yet", "unparsable", "cut"
]


@dataclass(frozen=True, slots=True)
class Gap:
    """Evidence we wanted and do not have. ``fix`` is one line the user can act on."""

    source: str  # kubernetes, events, kernel_log, app_log, alb, memory, restarts, alert, file
    reason: GapReason
    detail: str
    query: str | None = None
    window: Window | None = None
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked of a source, so that the reader can repeat it. ``text`` never holds a secret."""

    source: str
    text: str
    window: Window | None = None
    rows: int | None = None
    bytes_read: int | None = None
    seconds: float | None = None
    cost_usd: float | None = None


# ------------------------------------------------------------------------------------------ Kubernetes and kernel


@dataclass(frozen=True, slots=True)
class Termination:
    """One end of a container instance, as Kubernetes or a metric tells it.

    ``source`` is ``pod.lastState``, ``pod.state``, ``kube-state-metrics`` or ``performance-log``.
    ``exit_code`` above 128 means signal ``exit_code - 128``. CRI kubelets never set ``signal``.
    """

    source: str
    exit_code: int | None = None
    reason: str | None = None  # OOMKilled, Error, Completed, ContainerStatusUnknown ... or None
    message: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    container_id: str | None = None  # 64 hex, no scheme


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """One container of a pod. ``limit_bytes`` prefers the limit in force (status.resources) over the spec's."""

    name: str
    kind: Literal["container", "init", "ephemeral"] = "container"
    image: str | None = None
    container_id: str | None = None  # of the instance running now
    running_since: datetime | None = None
    waiting_reason: str | None = None
    restart_count: int | None = None
    limit_bytes: int | None = None
    request_bytes: int | None = None
    terminations: tuple[Termination, ...] = ()
    command: tuple[str, ...] = ()  # command + args, to know a wrapper PID 1; never env


@dataclass(frozen=True, slots=True)
class PodFacts:
    """The part of a v1 Pod we may keep: no environment, no annotations, no volumes."""

    namespace: str | None
    name: str
    uid: str | None = None
    workload_kind: str | None = None
    workload: str | None = None
    pod_template_hash: str | None = None
    node: str | None = None
    pod_ips: tuple[str, ...] = ()
    qos_class: str | None = None
    phase: str | None = None
    status_reason: str | None = None  # Evicted ...
    status_message: str | None = None
    created_at: datetime | None = None
    deletion_at: datetime | None = None
    grace_seconds: float | None = None
    pod_limit_bytes: int | None = None
    containers: tuple[ContainerFacts, ...] = ()
    disruption_reason: str | None = None  # condition DisruptionTarget


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Versions that change how far a reason can be trusted, and the room a node has."""

    name: str
    kernel_version: str | None = None
    os_image: str | None = None
    kubelet_version: str | None = None
    container_runtime: str | None = None  # containerd://2.1.5
    capacity_bytes: int | None = None
    allocatable_bytes: int | None = None
    conditions: tuple[str, ...] = ()  # conditions that are True, e.g. MemoryPressure


@dataclass(frozen=True, slots=True)
class EventFacts:
    """One Kubernetes event, core/v1 or events.k8s.io/v1 alike. ``at`` is its last occurrence."""

    at: datetime | None
    reason: str
    message: str
    kind: str | None = None  # kind of the involved object
    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    field_path: str | None = None  # spec.containers{rails}
    first_at: datetime | None = None
    count: int = 1
    component: str | None = None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One row of the kernel's "Tasks state" table. RSS in bytes (the kernel prints 4-KiB pages)."""

    pid: int  # host pid, never joinable with a pid of a log
    tgid: int | None
    comm: str
    rss_bytes: int
    total_vm_bytes: int | None = None
    anon_rss_bytes: int | None = None
    oom_score_adj: int | None = None


@dataclass(frozen=True, slots=True)
class OomKill:
    """One victim in the kernel log. ``at`` is None when the lines carry only seconds since boot.

    ``uptime_s`` is that stamp. ``scope``: whose limit was hit, from ``oom_memcg`` (kubernetes.md 2.10):
    container, pod, allocatable (/kubepods), node (global_oom), or unknown.
    """

    pid: int
    comm: str
    at: datetime | None
    uptime_s: float | None = None
    scope: Literal["container", "pod", "allocatable", "node", "unknown"] = "unknown"
    constraint: str | None = None
    oom_memcg: str | None = None
    task_memcg: str | None = None
    pod_uid: str | None = None  # canonical, with dashes
    container_id: str | None = None
    anon_rss_bytes: int | None = None
    file_rss_bytes: int | None = None
    shmem_rss_bytes: int | None = None
    total_vm_bytes: int | None = None
    oom_score_adj: int | None = None
    usage_bytes: int | None = None
    limit_bytes: int | None = None
    group_kill: bool = False  # memory.oom.group line seen: all processes of the cgroup died
    group_pids: tuple[int, ...] = ()
    invoked_by: str | None = None  # the allocating task, not the victim
    host: str | None = None
    tasks: tuple[TaskRow, ...] = ()
    raw: tuple[str, ...] = ()  # summary and Killed lines as read, for the report
    source: str = ""


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """One state reading of kube-state-metrics or cAdvisor that is not a memory sample (labels already unwrapped)."""

    # last_terminated_reason, last_terminated_exitcode, last_terminated_timestamp, terminated_reason, restarts,
    # oom_events, oom_events_alert (only an alert claims it), performance_termination_reason, memory_limit,
    # memory_peak, started, pod_status_reason, node_oom_kill
    metric: str
    at: datetime
    value: float
    namespace: str | None = None
    pod: str | None = None
    container: str | None = None
    reason: str | None = None
    pod_uid: str | None = None


# --------------------------------------------------------------------------------------------------- application log

CannotShow = Literal["lograge", "info_less", "untagged_threads", "no_rails_lines", "unfit", "unsynced"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a log was understood. ``share_closed`` = closed / opened among requests with Processing."""

    lines: int = 0
    recognised: int = 0
    bytes: int = 0
    opened: int = 0
    closed: int = 0


@dataclass(frozen=True, slots=True)
class LogStream:
    """The log of one container instance (one life), after duplicates of the same lines were folded.

    ``stream`` is the key used in the tables. ``shape`` says what kind of log it is; ``cannot_show`` is set, with
    ``why`` and the one config line ``fix``, when requests in flight cannot be told from it.
    """

    stream: str
    source: str  # file or log stream it came from
    namespace: str | None = None
    pod: str | None = None
    container: str | None = None
    container_id: str | None = None
    pod_uid: str | None = None
    node: str | None = None
    envelope: str = "bare"  # bare cri docker kubectl fluentbit fluentd filter_log_events jsonl ...
    shape: str = "unknown"  # rails_tagged rails_untagged lograge semantic ougai events sidekiq ...
    first_at: datetime | None = None
    last_at: datetime | None = None
    coverage: Coverage = field(default_factory=Coverage)
    cannot_show: CannotShow | None = None
    why: str | None = None
    fix: str | None = None
    cut_tail: bool = False  # last line unfinished: a sign of sudden death
    stop_seen_at: datetime | None = None  # graceful stop line (Gracefully stopping, Goodbye, Shutting down)
    boot_seen_at: datetime | None = None
    error_seen: str | None = (
        None  # last fatal line of the process (NoMemoryError, [BUG], boot exception), shortened
    )
    also_in: tuple[str, ...] = ()  # other sources that held the same lines


@dataclass(frozen=True, slots=True)
class ProcessLife:
    """One process inside a container instance: a single Puma, a master, a worker, a Sidekiq."""

    stream: str
    pid: int | None
    role: Literal["single", "master", "worker", "sidekiq", "other"]
    index: int | None = None
    server: str | None = None  # puma 5.6.5, unicorn, sidekiq 7.3.2
    booted_at: datetime | None = None
    last_line_at: datetime | None = None
    stopped_at: datetime | None = None
    end: Literal[
        "running", "graceful", "timeout_killed", "culled", "replaced", "reaped_sigkill", "unknown"
    ] = "unknown"
    threads_max: int | None = None
    workers: int | None = None
