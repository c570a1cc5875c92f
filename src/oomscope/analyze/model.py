"""What the analysis steps hand to each other. Frozen; made once, read by the steps after.

Order of the steps: verdict, access_join, in_flight, memory, baseline, scorers, gate, contrast, then the documents.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from oomscope.report import EvidenceRef, Verdict

if TYPE_CHECKING:
    import polars as pl

    from oomscope.analyze.weights import Weights
    from oomscope.facts import ContainerFacts, OomKill, PodFacts, Termination


@dataclass(frozen=True, slots=True)
class AnalyzeOptions:
    """What the user may set. ``show_params`` only changes what is written, never what is concluded."""

    show_params: bool = False
    max_in_flight_shown: int = 5000
    weights: Weights | None = (
        None  # None: the shipped ones; for refits and ablations (a weight of 0 switches a term off)
    )


@dataclass(frozen=True, slots=True)
class KillCase:
    """One termination found in the evidence, with its verdict. ``killed_at`` is the best instant known (UTC)."""

    verdict: Verdict
    rule: str
    confidence: float
    statement: str
    killed_at: datetime | None = None
    started_at: datetime | None = None  # of the dead container instance
    namespace: str | None = None
    workload: str | None = None
    pod_name: str | None = None
    pod_uid: str | None = None
    container: str | None = None
    container_id: str | None = None
    node: str | None = None
    image: str | None = None
    scope: Literal["container", "pod", "allocatable", "node", "unknown"] = "unknown"
    exit_code: int | None = None
    reason: str | None = None
    limit_bytes: int | None = None
    instead: str | None = None
    conflicts: tuple[str, ...] = ()
    evidence: tuple[EvidenceRef, ...] = ()
    kernel: OomKill | None = None
    termination: Termination | None = None
    pod: PodFacts | None = None
    container_facts: ContainerFacts | None = None
    victim_pid_in_container: int | None = None  # Puma worker pid as its log shows it, when it could be told
    stream: str | None = None  # LogStream.stream of the dead instance, when there is one
    target_ip: str | None = (
        None  # of the load balancer's target whose failed requests are all that tells of the end
    )


@dataclass(frozen=True)
class InFlight:
    """What was open at the kill. ``unknown`` says why it could not be told (then the tables may still hold ALB rows).

    ``requests``/``rack_level`` are REQUEST_SCHEMA rows plus ``age_s``; ``jobs`` are JOB_SCHEMA rows plus ``age_s``.
    """

    requests: pl.DataFrame
    rack_level: pl.DataFrame
    jobs: pl.DataFrame
    unknown: str | None = None
    fix: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class AccessJoin:
    """Application log requests and ALB rows brought together.

    ``pairs``: row index of the request (``request_row``), row index of the access (``access_row``), ``how``
    (``trace_id`` or ``path_time``), ``offset_s`` (log start minus ALB creation). ``lost``: ALB rows (ACCESS_SCHEMA plus
    ``row``) in flight at the kill on the dead target that no log request matched. ``ambiguous``: joins with more than
    one candidate.
    """

    pairs: pl.DataFrame
    lost: pl.DataFrame
    ambiguous: int = 0
    clock_offset_s: float | None = None
    fingerprint_at: datetime | None = None  # instant of the 502 cluster of the dying target
    dead_target: str | None = None  # ip:port of the dead pod
    notes: tuple[str, ...] = field(default=())
