"""Who is who in a bundle: container ids, pod UIDs and logs, so that a death gets its names and its log. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from oomscope.analyze.verdict_death import SKEW, Death, near
from oomscope.facts import ContainerFacts, LogStream, PodFacts

if TYPE_CHECKING:
    from oomscope.evidence import Bundle

_CLEARLY = 2.0  # seconds between the best and the second best fit


class Known:
    """Who is who: container ids and pod UIDs of everything in the bundle, with a name."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.pod_by_uid = {p.uid: p for p in bundle.pods if p.uid}
        self.pod_by_name = {(p.namespace, p.name): p for p in bundle.pods}
        self.by_id: dict[str, tuple[PodFacts, ContainerFacts]] = {}
        for pod in bundle.pods:
            for container in pod.containers:
                ids = (container.container_id, *(t.container_id for t in container.terminations))
                self.by_id.update({i: (pod, container) for i in ids if i})
        self.stream_by_id = {s.container_id: s for s in bundle.streams if s.container_id}
        self.in_memory = _memory_owners(bundle)
        self.successor = dict(_successors(bundle.streams))

    def fill(self, death: Death) -> None:
        """Complete a death's identity from its container id or pod UID."""
        pod, container = self.by_id.get(death.container_id or "", (None, None))
        pod = pod or self.pod_by_uid.get(death.pod_uid or "")
        stream = death.stream or self.stream_by_id.get(death.container_id or "")
        pod = pod or self._pod_named(death.pod_name or (stream.pod if stream else None))
        if pod is not None and container is None:
            container = _container_of(pod, death.container)
        death.pod, death.container_facts = death.pod or pod, death.container_facts or container
        death.stream = stream
        owner = self.in_memory.get(death.container_id or "", (None, None, None))
        if pod is not None:
            _name(death, pod.namespace, pod.name, container.name if container else None, pod.uid)
        if stream is not None:
            _name(death, stream.namespace, stream.pod, stream.container, stream.pod_uid)
        _name(death, *owner, None)
        _running_instance(death)
        death.stream = (
            death.stream or self.stream_by_id.get(death.container_id or "") or self._stream_at(death)
        )
        if death.stream is not None:
            death.successor = death.successor or self.successor.get(death.stream.stream)

    def _stream_at(self, death: Death) -> LogStream | None:
        """The one log without an id of its own that can be the dead instance's, by pod and time."""
        if death.at is None:
            return None
        fits = [s for s in self.bundle.streams if _may_be(s, death) and not self._of_another_pod(s, death)]
        if death.ended is False:
            return fits[0] if len(fits) == 1 else None
        fits.sort(key=lambda s: _apart(s, death))
        clear = len(fits) == 1 or (
            len(fits) > 1 and _apart(fits[1], death) - _apart(fits[0], death) > _CLEARLY
        )
        return fits[0] if fits and clear else None

    def _of_another_pod(self, stream: LogStream, death: Death) -> bool:
        """True when the UIDs differ: that of a stream is also known from the pod of its name."""
        pod = self._pod_named(stream.pod)
        uid = stream.pod_uid or (pod.uid if pod is not None else None)
        return bool(uid and death.pod_uid) and uid != death.pod_uid

    def _pod_named(self, name: str | None) -> PodFacts | None:
        return next((p for p in self.bundle.pods if p.name == name), None) if name else None


def _running_instance(death: Death) -> None:
    """A kill inside a container that lived on was in the instance that still runs."""
    container = death.container_facts
    if death.ended is not False or death.container_id is not None or container is None:
        return
    since = container.running_since
    if since is None or death.at is None or since <= death.at:
        death.container_id = container.container_id


def _may_be(stream: LogStream, death: Death) -> bool:
    """Names do not differ, and the log covers the kill (child) or ends near it."""
    pairs = (
        (stream.container_id, death.container_id),
        (stream.pod, death.pod_name),
        (stream.namespace, death.namespace),
        (stream.container, death.container),
    )
    if any(a and b and a != b for a, b in pairs) or stream.first_at is None or death.at is None:
        return False
    if death.ended is False:
        return stream.last_at is not None and stream.first_at <= death.at <= stream.last_at + SKEW
    return near(stream.last_at, death.at) and stream.first_at <= death.at + SKEW


def _apart(stream: LogStream, death: Death) -> float:
    if stream.last_at is None or death.at is None:
        return float("inf")
    return abs((stream.last_at - death.at).total_seconds())


def _name(
    death: Death, namespace: str | None, pod: str | None, container: str | None, uid: str | None
) -> None:
    """Fill in the names a death does not have yet."""
    death.namespace = death.namespace or namespace
    death.pod_name = death.pod_name or pod
    death.container = death.container or container
    death.pod_uid = death.pod_uid or uid


def _container_of(pod: PodFacts, name: str | None) -> ContainerFacts | None:
    if name:
        return next((c for c in pod.containers if c.name == name), None)
    regular = [c for c in pod.containers if c.kind == "container"]
    return regular[0] if len(regular) == 1 else None


def _memory_owners(bundle: Bundle) -> dict[str, tuple[str | None, str | None, str | None]]:
    if bundle.memory.is_empty():
        return {}
    rows = bundle.memory.select("container_id", "namespace", "pod", "container").unique(maintain_order=True)
    return {r[0]: (r[1], r[2], r[3]) for r in rows.iter_rows() if r[0]}


def _successors(streams: tuple[LogStream, ...]) -> Iterator[tuple[str, LogStream]]:
    """(stream, the log of the next instance of the same container)."""
    lives: dict[tuple[str | None, str | None, str | None], list[LogStream]] = defaultdict(list)
    for stream in streams:
        if stream.pod and stream.first_at:
            lives[(stream.namespace, stream.pod, stream.container)].append(stream)
    for group in lives.values():
        group.sort(key=lambda s: (s.first_at, s.stream))
        for earlier, later in pairwise(group):
            different = not (earlier.container_id and earlier.container_id == later.container_id)
            if different and earlier.last_at and later.first_at and later.first_at >= earlier.last_at - SKEW:
                yield earlier.stream, later
