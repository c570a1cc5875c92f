"""Pods, events and nodes as the API writes them, into facts; nothing secret comes along."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomscope.kube import events_from, kind_of, node_facts, nodes_from, pod_facts, pods_from

DATA = Path(__file__).parent / "data" / "kube"
DEAD, ALIVE = "b" * 64, "a" * 64


def load(name: str) -> Any:
    return json.loads((DATA / name).read_text())


def pod(**status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web-7c9d5b7c6f-x2x9k", "namespace": "shop", "uid": "17efb6ec-09ab-4eec-8ad6-f953eb1a7466",
            "creationTimestamp": "2026-11-22T09:00:00Z", "labels": {"pod-template-hash": "7c9d5b7c6f"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-7c9d5b7c6f", "controller": True}],
        },
        "spec": {
            "nodeName": "n1", "terminationGracePeriodSeconds": 45,
            "containers": [{
                "name": "rails", "image": "web:1", "command": ["sh", "-c"], "args": ["bundle exec puma"],
                "env": [{"name": "SECRET_KEY_BASE", "value": "hunter2"}],
                "resources": {"limits": {"memory": "2Gi"}, "requests": {"memory": "1Gi"}},
            }],
        },
        "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
                   **status},
    }  # fmt: skip


def status(**fields: Any) -> dict[str, Any]:
    return {
        "containerStatuses": [
            {"name": "rails", "containerID": f"containerd://{ALIVE}", "restartCount": 3, **fields}
        ]
    }


KILLED = {
    "terminated": {
        "containerID": f"containerd://{DEAD}", "exitCode": 137, "reason": "OOMKilled",
        "startedAt": "2026-11-22T10:00:00Z", "finishedAt": "2026-11-23T07:01:03Z",
    }
}  # fmt: skip


def test_a_real_pod_and_its_events() -> None:
    (facts,) = pods_from(load("undersized.pods.json"))
    (container,) = facts.containers
    (end,) = container.terminations
    assert (facts.workload_kind, facts.workload_kind, facts.pod_template_hash) == (
        "Deployment", "Deployment", "82e65929d1",
    )  # fmt: skip
    assert facts.workload == facts.name.removesuffix("-82e65929d1-qzx57")
    assert (container.limit_bytes, container.restart_count, container.waiting_reason) == (
        384 * 2**20, 2, "CrashLoopBackOff",
    )  # fmt: skip
    assert (end.source, end.exit_code, end.reason) == ("pod.lastState", 137, "OOMKilled")
    assert len(end.container_id or "") == 64
    events = events_from(load("not_oom.events.json"))
    probe = next(e for e in events if e.reason == "Killing")
    assert "failed liveness probe" in probe.message
    assert (probe.at, probe.kind, probe.component) == (
        datetime(2026, 11, 23, 9, 24, 33, tzinfo=UTC),
        "Pod",
        "kubelet",
    )


def test_pitfall_10_state_and_last_state_are_two_terminations() -> None:
    now = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2026-11-23T08:00:00Z"}}
    facts = pod_facts(pod(**status(state=now, lastState=KILLED)))
    assert facts is not None
    ends = facts.containers[0].terminations
    assert [(t.source, t.exit_code, t.container_id) for t in ends] == [
        ("pod.lastState", 137, DEAD), ("pod.state", 1, ALIVE),
    ]  # fmt: skip


@pytest.mark.parametrize(("group", "kind"), [("init", "init"), ("ephemeral", "ephemeral")])
def test_pitfall_10_sidecars_and_debug_containers(group: str, kind: str) -> None:
    obj = pod(**{f"{group}ContainerStatuses": [{"name": "proxy", "lastState": KILLED}]})
    obj["spec"][f"{group}Containers"] = [{"name": "proxy", "restartPolicy": "Always"}]
    facts = pod_facts(obj)
    assert facts is not None
    proxy = next(c for c in facts.containers if c.name == "proxy")
    assert (proxy.kind, len(proxy.terminations)) == (kind, 1)


def test_pitfall_17_the_limit_in_force_beats_the_spec() -> None:
    facts = pod_facts(pod(**status(resources={"limits": {"memory": "3Gi"}})))
    assert facts is not None
    assert facts.containers[0].limit_bytes == 3 * 2**30
    plain = pod_facts(pod())
    assert plain is not None
    assert plain.containers[0].limit_bytes == 2 * 2**30


def test_pod_level_limit() -> None:
    obj = pod()
    obj["spec"]["resources"] = {"limits": {"memory": "4G"}}
    facts = pod_facts(obj)
    assert facts is not None
    assert facts.pod_limit_bytes == 4 * 10**9


def test_pitfall_23_nothing_secret_gets_into_a_fact() -> None:
    assert "hunter2" not in repr(pod_facts(pod()))


def test_the_wrapper_can_be_seen() -> None:
    facts = pod_facts(pod())
    assert facts is not None
    assert facts.containers[0].command == ("sh", "-c", "bundle exec puma")
    assert (facts.grace_seconds, facts.pod_ips) == (45.0, ("10.0.0.1", "fd00::1"))


@pytest.mark.parametrize(
    ("owner", "labels", "kind", "name"),
    [
        ("ReplicaSet", {"pod-template-hash": "7c9d5b7c6f"}, "Deployment", "web"),
        ("ReplicaSet", {"rollouts-pod-template-hash": "7c9d5b7c6f"}, "Rollout", "web"),
        ("ReplicaSet", {}, "ReplicaSet", "web-7c9d5b7c6f"),
        ("StatefulSet", {}, "StatefulSet", "web-7c9d5b7c6f"),
        ("DaemonSet", {}, "DaemonSet", "web-7c9d5b7c6f"),
        ("Job", {}, "Job", "web-7c9d5b7c6f"),
    ],
)
def test_workload(owner: str, labels: dict[str, str], kind: str, name: str) -> None:
    obj = pod()
    obj["metadata"]["labels"] = labels
    obj["metadata"]["ownerReferences"].insert(0, {"kind": "Other", "name": "x"})
    obj["metadata"]["ownerReferences"][1]["kind"] = owner
    facts = pod_facts(obj)
    assert facts is not None
    assert (facts.workload_kind, facts.workload) == (kind, name)


def test_evicted_and_disrupted() -> None:
    disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
    facts = pod_facts(pod(phase="Failed", reason="Evicted", message="low on memory", conditions=[disrupted]))
    assert facts is not None
    assert (facts.status_reason, facts.disruption_reason) == ("Evicted", "TerminationByKubelet")


def test_pitfall_8_a_lost_status_has_no_times() -> None:
    lost = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "finishedAt": "1970-01-01T00:00:00Z",
                           "startedAt": None}}  # fmt: skip
    facts = pod_facts(pod(**status(lastState=lost)))
    assert facts is not None
    (end,) = facts.containers[0].terminations
    assert (end.reason, end.finished_at, end.started_at) == ("ContainerStatusUnknown", None, None)


# ---------------------------------------------------------------------------------------------------------- events

BASE = {"metadata": {"namespace": "shop", "creationTimestamp": "2026-11-23T07:00:00Z"}, "reason": "Killing"}
INVOLVED = {
    "kind": "Pod",
    "name": "web",
    "namespace": "shop",
    "uid": "u",
    "fieldPath": "spec.containers{rails}",
}


@pytest.mark.parametrize(
    ("times", "minute"),
    [
        (
            {
                "series": {"lastObservedTime": "2026-11-23T07:05:00.123456Z"},
                "eventTime": "2026-11-23T07:01:00Z",
            },
            5,
        ),
        (
            {
                "lastTimestamp": "2026-11-23T07:04:00Z",
                "firstTimestamp": "2026-11-23T07:01:00Z",
                "eventTime": None,
            },
            4,
        ),
        ({"lastTimestamp": None, "eventTime": "2026-11-23T07:03:00.000001Z"}, 3),
        ({"firstTimestamp": "2026-11-23T07:02:00Z"}, 2),
        ({}, 0),
    ],
)
def test_pitfall_11_time_of_an_event(times: dict[str, Any], minute: int) -> None:
    (event,) = events_from({**BASE, "kind": "Event", "involvedObject": INVOLVED, "message": "m", **times})
    assert event.at is not None
    assert event.at.minute == minute


def test_old_and_new_events_are_alike() -> None:
    old = {**BASE, "involvedObject": INVOLVED, "message": "Stopping container rails", "count": 3,
           "source": {"component": "kubelet"}, "lastTimestamp": "2026-11-23T07:04:00Z"}  # fmt: skip
    new = {**BASE, "regarding": INVOLVED, "note": "Stopping container rails", "deprecatedCount": 3,
           "reportingController": "kubelet", "deprecatedLastTimestamp": "2026-11-23T07:04:00Z"}  # fmt: skip
    for listed in ({"kind": "EventList", "items": [old, new]}, [old, new]):
        first, second = events_from(listed)
        assert first == second
        assert (first.count, first.component, first.field_path) == (3, "kubelet", "spec.containers{rails}")


# ----------------------------------------------------------------------------------------------------------- nodes


def test_node() -> None:
    obj = {
        "kind": "Node", "metadata": {"name": "n1"},
        "status": {"capacity": {"memory": "16393540Ki"}, "allocatable": {"memory": "15Gi"},
                   "conditions": [{"type": "MemoryPressure", "status": "True"}, {"type": "Ready", "status": "False"}],
                   "nodeInfo": {"containerRuntimeVersion": "containerd://2.1.5", "kernelVersion": "6.1"}},
    }  # fmt: skip
    (facts,) = nodes_from({"kind": "List", "items": [obj, pod()]})
    assert facts == node_facts(obj)
    assert (facts.container_runtime, facts.capacity_bytes, facts.conditions) == (
        "containerd://2.1.5", 16393540 * 1024, ("MemoryPressure",),
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------- recognition, junk


@pytest.mark.parametrize(
    ("obj", "kind"),
    [
        (pod(), "pod"),
        ({"kind": "PodList", "items": []}, "pods"),
        ({"kind": "List", "items": [pod()]}, "pods"),
        ([pod()], "pods"),
        ({"kind": "EventList", "items": []}, "events"),
        (
            {"kind": "List", "items": [{"kind": "Secret", "metadata": {}}, {**BASE, "kind": "Event"}]},
            "events",
        ),
        ({"kind": "NodeList", "items": []}, "nodes"),
        ({"kind": "Deployment", "metadata": {"name": "x"}, "spec": {"template": {}}}, None),
        ({"kind": "List", "items": []}, None),
        ({"alerts": []}, None),
        ([1, 2], None),
        ("x", None),
        (None, None),
    ],
)
def test_kind_of(obj: Any, kind: str | None) -> None:
    assert kind_of(obj) == kind


def test_items_of_a_typed_list_have_no_kind() -> None:
    item = {k: v for k, v in pod().items() if k not in ("kind", "apiVersion")}
    assert len(pods_from({"kind": "PodList", "items": [item]})) == 1


def test_pitfall_22_one_odd_object_does_not_spoil_the_list() -> None:
    odd = [
        None,
        3,
        {"kind": "Pod"},
        {"kind": "Pod", "metadata": {"name": 5}},
        {"kind": ["Pod"], "metadata": {}},
    ]
    assert len(pods_from({"kind": "List", "items": [*odd, pod()]})) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(JSON)
def test_junk_never_raises(value: Any) -> None:
    kind_of(value), pods_from(value), events_from(value), nodes_from(value)


@settings(deadline=None)
@given(st.data())
def test_a_pod_with_any_field_replaced_never_raises(data: st.DataObject) -> None:
    obj: Any = copy.deepcopy(pod(**status(state={"running": {}}, lastState=KILLED)))
    at = obj
    for _ in range(data.draw(st.integers(1, 6))):
        keys = list(at) if isinstance(at, dict) else list(range(len(at))) if isinstance(at, list) else []
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if data.draw(st.booleans()) or not isinstance(at[key], dict | list):
            at[key] = data.draw(JSON)
            break
        at = at[key]
    pods_from(obj)
