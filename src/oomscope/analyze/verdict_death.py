"""One death: the end of a container instance, or of a process inside one, with all evidence of it together."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from oomscope.facts import (
    ContainerFacts,
    LogStream,
    OomKill,
    PodFacts,
    ProcessLife,
    SeriesPoint,
    Termination,
)

SKEW = timedelta(seconds=90)  # between the clocks of node, kubelet and application


@dataclass(slots=True)
class Death:
    """One end of a container instance (``ended`` True), or one kill inside it (False); None when that is not known."""

    namespace: str | None = None
    pod_name: str | None = None
    pod_uid: str | None = None
    container: str | None = None
    container_id: str | None = None
    at: datetime | None = None
    ended: bool | None = None
    pod: PodFacts | None = None
    container_facts: ContainerFacts | None = None
    termination: Termination | None = None
    kernel: OomKill | None = None
    stream: LogStream | None = None
    successor: LogStream | None = None  # log of the next instance
    replaced: ProcessLife | None = None  # the worker whose place was taken by another
    counter: SeriesPoint | None = None  # oom_events went up
    performance: SeriesPoint | None = None
    dropped_bytes: int | None = None  # the memory series fell by this much in one step
    notes: list[str] = field(default_factory=list)


def belongs(death: Death, namespace: str | None, pod: str | None, container: str | None) -> bool:
    """True unless a name known on both sides differs; the pod must be known."""
    pairs = ((death.namespace, namespace), (death.container, container))
    return (
        death.pod_name is not None
        and death.pod_name == pod
        and all(not a or not b or a == b for a, b in pairs)
    )


def near(a: datetime | None, b: datetime | None, span: timedelta = SKEW) -> bool:
    """True when two times are within ``span``; False when either is unknown."""
    return a is not None and b is not None and abs(a - b) <= span
