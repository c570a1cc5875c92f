"""What Kubernetes events say of a death. Events are folded, lost and expire: a missing one proves nothing. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise

from oomscope.analyze.verdict_death import SKEW, Death, belongs, near
from oomscope.facts import EventFacts

_PROBE = re.compile(r"failed (liveness|startup) probe")
_NAMED = re.compile(r"[Cc]ontainer (\S{1,253})")
_FIELD = re.compile(r"\{([^{}]{1,253})\}")
_AGGREGATED = "(combined from similar events): "
_DEFAULT_GRACE = 30.0
_SECOND = timedelta(seconds=2)  # event times are whole seconds


def container_of(event: EventFacts) -> str | None:
    """The container an event is about, from its field path or its words."""
    match = _FIELD.search(event.field_path or "") or _NAMED.search(event.message.removeprefix(_AGGREGATED))
    return match[1].rstrip(",.") if match else None


def is_probe_kill(event: EventFacts) -> bool:
    """The kubelet killed the container because a liveness or startup probe failed."""
    return event.reason == "Killing" and _PROBE.search(event.message) is not None


def about(death: Death, events: Iterable[EventFacts]) -> Iterator[EventFacts]:
    """Events of the death's pod (by UID where both have one) that do not name another container."""
    if death.pod_name is None:
        return
    for event in events:
        if event.kind not in (None, "Pod") or event.name != death.pod_name:
            continue
        if death.namespace and event.namespace and death.namespace != event.namespace:
            continue
        if death.pod_uid and event.uid and death.pod_uid != event.uid:
            continue
        named = container_of(event)
        if named is None or death.container is None or named == death.container or not _scoped(event):
            yield event


def _scoped(event: EventFacts) -> bool:
    return event.field_path is not None or event.reason in ("Killing", "Created", "Started", "BackOff")


def before_death(death: Death, events: Iterable[EventFacts]) -> list[EventFacts]:
    """Events that can have led to the death: within its grace period and 30 s, up to 5 s after it."""
    if death.at is None:
        return list(events)
    grace = death.pod.grace_seconds if death.pod and death.pod.grace_seconds is not None else _DEFAULT_GRACE
    first, last = death.at - timedelta(seconds=grace + 30), death.at + timedelta(seconds=5)
    return [e for e in events if e.at is not None and first <= e.at <= last]


def of_node(death: Death, events: Iterable[EventFacts], node: str | None) -> list[EventFacts]:
    """Events of the death's node, near it in time."""
    return [e for e in events if e.kind == "Node" and e.name == node and node and near(e.at, death.at)]


def ends_from_events(events: tuple[EventFacts, ...], deaths: list[Death]) -> list[Death]:
    """Ends that only events tell of: a container started twice, a probe kill, an eviction."""
    starts: dict[tuple[str | None, str, str | None], list[datetime]] = defaultdict(list)
    found: list[Death] = []
    for event in events:
        if event.kind not in (None, "Pod") or event.name is None or event.at is None:
            continue
        if event.reason == "Started":
            key = (event.namespace, event.name, container_of(event))
            starts[key] += [t for t in dict.fromkeys((event.first_at, event.at)) if t is not None]
    for (namespace, pod, container), times in starts.items():
        for before, after in pairwise(sorted(set(times))):
            if not _known_between(deaths, (namespace, pod, container), before - _SECOND, after + _SECOND):
                found.append(_end(events, namespace, pod, container, before, after))
    for event in events:
        if is_probe_kill(event) or event.reason == "Evicted":
            found += _sole_end(event, [*deaths, *found])
    return found


def _known_between(
    deaths: list[Death], who: tuple[str | None, str, str | None], first: datetime, last: datetime
) -> bool:
    return any(d.ended is not False and belongs(d, *who) and d.at and first <= d.at <= last for d in deaths)


def _end(
    events: tuple[EventFacts, ...], namespace: str | None, pod: str, container: str | None, before: datetime,
    after: datetime,
) -> Death:  # fmt: skip
    """An end somewhere between two starts; the next start is the latest it can have been."""
    uid = next((e.uid for e in events if e.name == pod and e.uid), None)
    death = Death(namespace, pod, uid, container, None, after, True)
    death.notes.append(f"between the starts of {before:%H:%M:%S} and {after:%H:%M:%S}, as events tell")
    return death


def _sole_end(event: EventFacts, deaths: list[Death]) -> Iterator[Death]:
    if event.name is None or event.at is None or event.kind not in (None, "Pod"):
        return
    container = container_of(event) if event.reason == "Killing" else None
    span = timedelta(seconds=_DEFAULT_GRACE) + SKEW
    if not _known_between(deaths, (event.namespace, event.name, container), event.at - SKEW, event.at + span):
        yield Death(event.namespace, event.name, event.uid, container, None, event.at, True)
