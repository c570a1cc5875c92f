"""Kubernetes objects, as ``kubectl -o json`` or the API gives them, into facts. Pure; never raises on odd objects.

Only named fields are read: no environment, annotation, volume or secret ever gets into a fact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from oomscope.facts import ContainerFacts, EventFacts, NodeFacts, PodFacts, Termination
from oomscope.units import parse_quantity, parse_time

Kind = Literal["pod", "pods", "events", "nodes"]

MAX_OBJECTS = 50_000
MAX_CONTAINERS = 256
_MAX_TEXT = 2048
_MAX_NAME = 300
_CONTAINER_ID = re.compile(r"[0-9a-f]{12,64}")
_GROUPS: tuple[tuple[Literal["container", "init", "ephemeral"], str, str], ...] = (
    ("container", "containers", "containerStatuses"),
    ("init", "initContainers", "initContainerStatuses"),
    ("ephemeral", "ephemeralContainers", "ephemeralContainerStatuses"),
)


# ------------------------------------------------------------------------------------------------ untrusted values


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any, limit: int = MAX_OBJECTS) -> list[Any]:
    return value[:limit] if isinstance(value, list) else []


def _text(value: Any, limit: int = _MAX_NAME) -> str | None:
    return value[:limit] if isinstance(value, str) and value else None


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else None


def _time(value: Any) -> datetime | None:
    return parse_time(value) if isinstance(value, str) and len(value) < 64 else None


def _bytes(value: Any) -> int | None:
    if not isinstance(value, str | int | float) or len(str(value)) > 64:
        return None
    size = parse_quantity(value)
    return size if size is not None and 0 < size < 2**62 else None


def _id(value: Any) -> str | None:
    """The id without its scheme (``containerd://``), None when it is none."""
    text = _text(value, 512)
    tail = text.rsplit("/", 1)[-1] if text else ""
    return tail if _CONTAINER_ID.fullmatch(tail) else None


# ------------------------------------------------------------------------------------------------------------ pods


def pod_facts(obj: Any) -> PodFacts | None:
    """Facts of one v1 Pod; None when it is not one."""
    if _shape(obj) != "pod":
        return None
    meta, spec, status = _dict(obj.get("metadata")), _dict(obj.get("spec")), _dict(obj.get("status"))
    name = _text(meta.get("name"))
    if name is None:
        return None
    kind, workload, template_hash = _workload(meta)
    return PodFacts(
        namespace=_text(meta.get("namespace")),
        name=name,
        uid=_text(meta.get("uid")),
        workload_kind=kind,
        workload=workload,
        pod_template_hash=template_hash,
        node=_text(spec.get("nodeName")),
        pod_ips=_pod_ips(status),
        qos_class=_text(status.get("qosClass")),
        phase=_text(status.get("phase")),
        status_reason=_text(status.get("reason")),
        status_message=_text(status.get("message"), _MAX_TEXT),
        created_at=_time(meta.get("creationTimestamp")),
        deletion_at=_time(meta.get("deletionTimestamp")),
        grace_seconds=_grace(meta, spec),
        pod_limit_bytes=_limit(status, "limits") or _limit(spec, "limits"),
        containers=tuple(_containers(spec, status)),
        disruption_reason=_disruption(status),
    )


def _pod_ips(status: dict[str, Any]) -> tuple[str, ...]:
    ips = [_text(_dict(entry).get("ip"), 64) for entry in _list(status.get("podIPs"), 8)]
    return tuple(dict.fromkeys(ip for ip in (_text(status.get("podIP"), 64), *ips) if ip))


def _grace(meta: dict[str, Any], spec: dict[str, Any]) -> float | None:
    """Seconds between SIGTERM and SIGKILL; a deletion may have its own."""
    given = _int(meta.get("deletionGracePeriodSeconds"))
    seconds = given if given is not None else _int(spec.get("terminationGracePeriodSeconds"))
    return None if seconds is None else float(seconds)


def _disruption(status: dict[str, Any]) -> str | None:
    for condition in map(_dict, _list(status.get("conditions"), 64)):
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return _text(condition.get("reason"))
    return None


def _workload(meta: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
    """(kind, name, pod template hash) of what manages the pod.

    A ReplicaSet's name is its Deployment's (or Rollout's) name and the template hash; without the hash in the labels
    the ReplicaSet itself is all that is known.
    """
    labels = _dict(meta.get("labels"))
    rollout = _text(labels.get("rollouts-pod-template-hash"))
    template_hash = rollout or _text(labels.get("pod-template-hash"))
    owners = [o for o in map(_dict, _list(meta.get("ownerReferences"), 16)) if _text(o.get("name"))]
    owner = next((o for o in owners if o.get("controller") is True), owners[0] if owners else {})
    kind, name = _text(owner.get("kind")), _text(owner.get("name"))
    if kind == "ReplicaSet" and name and template_hash and name.endswith("-" + template_hash):
        return ("Rollout" if rollout else "Deployment", name.removesuffix("-" + template_hash), template_hash)
    return kind, name, template_hash


def _containers(spec: dict[str, Any], status: dict[str, Any]) -> Iterator[ContainerFacts]:
    for kind, in_spec, in_status in _GROUPS:
        specs = {
            name: entry
            for entry in map(_dict, _list(spec.get(in_spec), MAX_CONTAINERS))
            if (name := _text(entry.get("name")))
        }
        statuses = {
            name: entry
            for entry in map(_dict, _list(status.get(in_status), MAX_CONTAINERS))
            if (name := _text(entry.get("name")))
        }
        for name in dict.fromkeys((*specs, *statuses)):
            yield _container(kind, name, specs.get(name, {}), statuses.get(name, {}))


def _container(
    kind: Literal["container", "init", "ephemeral"], name: str, spec: dict[str, Any], status: dict[str, Any]
) -> ContainerFacts:
    state = _dict(status.get("state"))
    return ContainerFacts(
        name=name,
        kind=kind,
        image=_text(spec.get("image"), 512) or _text(status.get("image"), 512),
        container_id=_id(status.get("containerID")),
        running_since=_time(_dict(state.get("running")).get("startedAt")),
        waiting_reason=_text(_dict(state.get("waiting")).get("reason")),
        restart_count=_int(status.get("restartCount")),
        limit_bytes=_limit(status, "limits") or _limit(spec, "limits"),
        request_bytes=_limit(status, "requests") or _limit(spec, "requests"),
        terminations=_terminations(status, state),
        command=_command(spec),
    )


def _limit(holder: dict[str, Any], which: str) -> int | None:
    return _bytes(_dict(_dict(holder.get("resources")).get(which)).get("memory"))


def _command(spec: dict[str, Any]) -> tuple[str, ...]:
    words = (*_list(spec.get("command"), 32), *_list(spec.get("args"), 32))
    return tuple(word[:_MAX_NAME] for word in words if isinstance(word, str))


def _terminations(status: dict[str, Any], state: dict[str, Any]) -> tuple[Termination, ...]:
    """Ends of this container, oldest first: ``lastState`` is the one before the present instance."""
    found = (
        _termination("pod.lastState", _dict(status.get("lastState")).get("terminated"), None),
        _termination("pod.state", state.get("terminated"), _id(status.get("containerID"))),
    )
    return tuple(t for t in found if t is not None)


def _termination(source: str, raw: Any, container_id: str | None) -> Termination | None:
    if not isinstance(raw, dict) or not raw:
        return None
    return Termination(
        source=source,
        exit_code=_int(raw.get("exitCode")),
        reason=_text(raw.get("reason")),
        message=_text(raw.get("message"), _MAX_TEXT),
        started_at=_real_time(raw.get("startedAt")),
        finished_at=_real_time(raw.get("finishedAt")),
        container_id=_id(raw.get("containerID")) or container_id,
    )


def _real_time(value: Any) -> datetime | None:
    """A lost status is written with the zero time or the epoch: that is no time."""
    at = _time(value)
    return at if at is not None and at.year > 1970 else None


def pods_from(obj: Any) -> tuple[PodFacts, ...]:
    """Facts of every Pod in a Pod, PodList, List or bare list; other kinds in it are passed over."""
    return tuple(pod for item in _items(obj) if (pod := pod_facts(item)) is not None)


# ---------------------------------------------------------------------------------------------------------- events


def events_from(obj: Any) -> tuple[EventFacts, ...]:
    """Every event in an Event, EventList, List or bare list; core/v1 and events.k8s.io/v1 alike."""
    return tuple(_event(item) for item in _items(obj) if _shape(item) == "events")


def _event(obj: dict[str, Any]) -> EventFacts:
    involved = _dict(obj.get("involvedObject")) or _dict(obj.get("regarding"))
    series, meta = _dict(obj.get("series")), _dict(obj.get("metadata"))
    first = _time(obj.get("firstTimestamp")) or _time(obj.get("deprecatedFirstTimestamp"))
    last = _time(obj.get("lastTimestamp")) or _time(obj.get("deprecatedLastTimestamp"))
    at = (
        _time(series.get("lastObservedTime"))
        or last
        or _time(obj.get("eventTime"))
        or first
        or _time(meta.get("creationTimestamp"))
    )
    count = _int(series.get("count")) or _int(obj.get("count")) or _int(obj.get("deprecatedCount")) or 1
    source = _dict(obj.get("source")) or _dict(obj.get("deprecatedSource"))
    return EventFacts(
        at=at,
        reason=_text(obj.get("reason")) or "",
        message=_text(obj.get("message"), _MAX_TEXT) or _text(obj.get("note"), _MAX_TEXT) or "",
        kind=_text(involved.get("kind")),
        name=_text(involved.get("name")),
        namespace=_text(involved.get("namespace")) or _text(meta.get("namespace")),
        uid=_text(involved.get("uid")),
        field_path=_text(involved.get("fieldPath")),
        first_at=first or _time(obj.get("eventTime")),
        count=count,
        component=_text(source.get("component"))
        or _text(obj.get("reportingComponent"))
        or _text(obj.get("reportingController")),
    )


# ----------------------------------------------------------------------------------------------------------- nodes


def node_facts(obj: Any) -> NodeFacts | None:
    """Facts of one v1 Node; None when it is not one."""
    if _shape(obj) != "nodes":
        return None
    name = _text(_dict(obj.get("metadata")).get("name"))
    if name is None:
        return None
    status = _dict(obj.get("status"))
    info = _dict(status.get("nodeInfo"))
    conditions = (c for c in map(_dict, _list(status.get("conditions"), 64)) if c.get("status") == "True")
    return NodeFacts(
        name=name,
        kernel_version=_text(info.get("kernelVersion")),
        os_image=_text(info.get("osImage")),
        kubelet_version=_text(info.get("kubeletVersion")),
        container_runtime=_text(info.get("containerRuntimeVersion")),
        capacity_bytes=_bytes(_dict(status.get("capacity")).get("memory")),
        allocatable_bytes=_bytes(_dict(status.get("allocatable")).get("memory")),
        conditions=tuple(kind for c in conditions if (kind := _text(c.get("type")))),
    )


def nodes_from(obj: Any) -> tuple[NodeFacts, ...]:
    """Facts of every Node in a Node, NodeList, List or bare list."""
    return tuple(node for item in _items(obj) if (node := node_facts(item)) is not None)


# ----------------------------------------------------------------------------------------------------- recognition


def kind_of(obj: Any) -> Kind | None:
    """What a JSON document holds, by content. A mixed List is named after its first known item.

    ``pods_from``, ``events_from`` and ``nodes_from`` each take their own out of a mixed List.
    """
    if isinstance(obj, dict) and "items" not in obj:
        return _shape(obj)
    if isinstance(obj, dict):
        named: dict[Any, Kind] = {"PodList": "pods", "EventList": "events", "NodeList": "nodes"}
        if (kind := named.get(_text(obj.get("kind")))) is not None:
            return kind
    shapes = (_shape(item) for item in _items(obj))
    found = next((shape for shape in shapes if shape is not None), None)
    return "pods" if found == "pod" else found


def _items(obj: Any) -> Iterator[Any]:
    """The objects of a list, or the object itself. Items of a typed list carry no kind of their own."""
    if isinstance(obj, dict) and isinstance(obj.get("items"), list):
        yield from obj["items"][:MAX_OBJECTS]
    elif isinstance(obj, list):
        yield from obj[:MAX_OBJECTS]
    else:
        yield obj


def _shape(obj: Any) -> Literal["pod", "events", "nodes"] | None:
    """Pod, event or node: by ``kind``, else by the fields only that kind has."""
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
        return None
    kinds: dict[Any, Literal["pod", "events", "nodes"]] = {"Pod": "pod", "Event": "events", "Node": "nodes"}
    if obj.get("kind") is not None:
        return kinds.get(obj["kind"]) if isinstance(obj["kind"], str) else None
    if "involvedObject" in obj or "regarding" in obj:
        return "events"
    spec, status = _dict(obj.get("spec")), _dict(obj.get("status"))
    if "nodeInfo" in status or ("allocatable" in status and "capacity" in status):
        return "nodes"
    if "containerStatuses" in status or ("containers" in spec and "template" not in spec):
        return "pod"
    return None
