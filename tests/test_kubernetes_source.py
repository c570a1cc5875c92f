"""The Kubernetes source against a small API server: what is found, what is missing, and whose log is whose."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from oomscope.facts import Target, Window
from oomscope.sources.interface import Context, Fragment
from oomscope.sources.kube_client import HttpReader, connect
from oomscope.sources.kubernetes import KubernetesSource
from tests.fakes.kube import KubeState, kube_server, kubeconfig

POD = "web-7c9d5b7c6f-x2x9k"
DIED = datetime(2026, 11, 23, 3, 12, 41, tzinfo=UTC)
WINDOW = Window(DIED - timedelta(minutes=30), DIED + timedelta(minutes=5))
TARGET = Target(namespace="shop", pod=POD, at=DIED)
NODE = "ip-10-0-1-23.ec2.internal"
DEAD, ALIVE, OLDER = "d" * 64, "a" * 64, "0" * 64


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def container(restarts: int = 1, died: datetime = DIED, dead: str = DEAD) -> dict[str, Any]:
    return {
        "name": "rails",
        "restartCount": restarts,
        "containerID": f"containerd://{ALIVE}",
        "state": {"running": {"startedAt": stamp(died + timedelta(seconds=2))}},
        "lastState": {
            "terminated": {
                "containerID": f"containerd://{dead}",
                "exitCode": 137,
                "reason": "OOMKilled",
                "startedAt": stamp(died - timedelta(hours=2)),
                "finishedAt": stamp(died),
            }
        },
    }


def pod(name: str = POD, status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "labels": {"pod-template-hash": "7c9d5b7c6f"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-7c9d5b7c6f", "controller": True}],
            **metadata,
        },
        "spec": {
            "nodeName": NODE,
            "containers": [
                {
                    "name": "rails",
                    "image": "shop:1",
                    "env": [{"name": "SECRET_KEY_BASE", "value": "hunter2"}],
                    "resources": {"limits": {"memory": "2Gi"}},
                }
            ],
        },
        "status": {"phase": "Running", "podIP": "10.0.1.9", "containerStatuses": [status or container()]},
    }


def event(reason: str, involved: dict[str, str], namespace: str = "shop") -> dict[str, Any]:
    return {
        "kind": "Event",
        "metadata": {"namespace": namespace, "name": f"{reason}.1"},
        "involvedObject": involved,
        "reason": reason,
        "message": f"{reason} it",
        "lastTimestamp": stamp(DIED),
    }


def lines(first: datetime, last: datetime) -> bytes:
    count = 50
    step = (last - first) / (count - 1)
    return b"".join(f"{stamp(first + step * i)[:-1]}.5Z line {i}\n".encode() for i in range(count))


@pytest.fixture
def state() -> KubeState:
    return KubeState(
        pods=[
            pod(),
            pod("web-7c9d5b7c6f-bbbbb"),
            pod("web-55555cccdd-ccccc", labels={"pod-template-hash": "55555cccdd"}),
        ],
        nodes=[{"kind": "Node", "metadata": {"name": NODE}, "status": {"nodeInfo": {"kernelVersion": "6.1"}}}],
        events=[
            event("BackOff", {"kind": "Pod", "name": POD, "uid": f"uid-{POD}"}),
            event("SystemOOM", {"kind": "Node", "name": NODE, "uid": NODE}, "default"),
            event("Killing", {"kind": "Pod", "name": "gone-7c9d5b7c6f-zzzzz", "uid": "uid-gone"}),
        ],
        logs={
            (POD, "rails", True): lines(DIED - timedelta(hours=2), DIED),
            (POD, "rails", False): lines(DIED + timedelta(seconds=2), DIED + timedelta(minutes=3)),
        },
    )  # fmt: skip


@pytest.fixture
def reader(state: KubeState, tmp_path: Path) -> Iterator[HttpReader]:
    with kube_server(state) as url:
        yield connect(kubeconfig=str(kubeconfig(tmp_path, url)), timeout_s=1.0)


def collect(reader: HttpReader, target: Target = TARGET, ctx: Context | None = None) -> Fragment:
    return KubernetesSource(reader).collect(target, WINDOW, ctx or Context())


def told(fragment: Fragment) -> set[tuple[str, str]]:
    return {(gap.source, gap.reason) for gap in fragment.gaps}


# -------------------------------------------------------------------------------------------------------- what is read


def test_pod_siblings_node_events_and_both_logs(reader: HttpReader) -> None:
    found = collect(reader)
    assert [p.name for p in found.pods] == [POD, "web-7c9d5b7c6f-bbbbb"]
    assert found.pods[0].workload == "web"
    assert [n.kernel_version for n in found.nodes] == ["6.1"]
    assert {e.reason for e in found.events} == {"BackOff", "SystemOOM"}
    assert [(log.label, log.identity.container_id) for log in found.logs] == [
        (f"pod/{POD}/rails (previous)", DEAD),
        (f"pod/{POD}/rails", ALIVE),
    ]
    assert found.gaps == []
    assert found.sources == ["kubernetes", "events"]


def test_nothing_secret_is_kept(reader: HttpReader) -> None:
    assert "hunter2" not in repr(collect(reader))


def test_the_end_of_a_long_log_is_kept(
    reader: HttpReader, state: KubeState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API's own byte limit keeps the beginning, where nobody died."""
    monkeypatch.setattr("oomscope.sources.kubernetes_logs.MAX_LOG_BYTES", 100_000)
    log = lines(DIED - timedelta(hours=1), DIED)
    padding = b"".join(f"{stamp(DIED - timedelta(hours=2))} old {i}\n".encode() for i in range(20_000))
    state.logs[(POD, "rails", True)] = padding + log
    data = collect(reader).logs[0].open().read()
    assert data.endswith(log)
    assert len(data) < 250_000
    assert data.startswith(b"2026-")


def test_namespace_is_found_when_the_name_is_unique(reader: HttpReader) -> None:
    assert collect(reader, Target(pod=POD)).pods[0].namespace == "shop"


def test_a_name_in_two_namespaces_is_asked_about(reader: HttpReader, state: KubeState) -> None:
    state.pods.append(pod(namespace="other"))
    found = collect(reader, Target(pod=POD))
    assert found.pods == []
    assert "other, shop" in found.gaps[0].detail
    assert "-n" in (found.gaps[0].fix or "")


def test_siblings_of_a_stateful_set(reader: HttpReader, state: KubeState) -> None:
    owner = [{"kind": "StatefulSet", "name": "db", "controller": True}]
    state.pods = [pod(f"db-{i}", labels={}, ownerReferences=owner) for i in range(3)] + [pod()]
    found = collect(reader, Target(namespace="shop", pod="db-1"))
    assert [p.name for p in found.pods] == ["db-1", "db-0", "db-2"]


@pytest.mark.parametrize(
    ("owner", "path", "end"),
    [
        (
            {"kind": "ReplicaSet", "name": "web-1"},
            "apis/apps/v1/namespaces/shop/replicasets/web-1",
            "Deployment",
        ),
        ({"kind": "Job", "name": "nightly-29"}, "apis/batch/v1/namespaces/shop/jobs/nightly-29", "CronJob"),
    ],
)
def test_owner_chain(
    reader: HttpReader, state: KubeState, owner: dict[str, str], path: str, end: str
) -> None:
    owned = pod("web-0", labels={}, ownerReferences=[{**owner, "controller": True}])
    state.pods = [owned]
    state.owners[path] = {
        "metadata": {"ownerReferences": [{"kind": end, "name": "nightly", "controller": True}]}
    }
    target = Target(namespace="shop", pod="web-0")
    assert [(p.workload_kind, p.workload) for p in collect(reader, target).pods] == [(end, "nightly")]
    state.faults["/apis"] = "403"
    found = collect(reader, target)
    assert found.pods[0].workload == owner["name"]
    assert ("kubernetes", "denied") in told(found)


def test_workload_target_reads_logs_of_those_that_died_only(reader: HttpReader, state: KubeState) -> None:
    healthy = container(0)
    healthy["lastState"] = {}
    state.pods = [pod(), pod("web-7c9d5b7c6f-bbbbb", healthy)]
    found = collect(reader, Target(namespace="shop", workload="web", at=DIED))
    assert len(found.pods) == 2
    assert {log.identity.pod for log in found.logs} == {POD}


# ------------------------------------------------------------------------------------------------------ what is missing


def test_pod_gone_keeps_siblings_and_events(reader: HttpReader) -> None:
    found = collect(reader, Target(namespace="shop", pod="gone-7c9d5b7c6f-zzzzz", at=DIED))
    assert ("kubernetes", "no_data") in told(found)
    assert [p.name for p in found.pods] == [POD, "web-7c9d5b7c6f-bbbbb"]
    assert [e.reason for e in found.events] == ["Killing"]
    assert found.logs == []


def test_no_previous_log_is_a_gap(reader: HttpReader, state: KubeState) -> None:
    del state.logs[(POD, "rails", True)]
    found = collect(reader)
    assert told(found) == {("app_log", "no_data")}
    assert "previous terminated container" in found.gaps[0].detail
    assert [log.identity.container_id for log in found.logs] == [ALIVE]


@pytest.mark.parametrize(
    ("path", "permission", "source"),
    [
        (f"/api/v1/namespaces/shop/pods/{POD}/log", "get pods/log", "app_log"),
        ("/api/v1/namespaces/shop/events", "list events", "events"),
        ("/api/v1/namespaces/default/events", "list events", "events"),
        ("/api/v1/nodes", "get nodes", "kubernetes"),
        ("/api/v1/namespaces/shop/pods", "get pods", "kubernetes"),
    ],
)
@pytest.mark.parametrize("fault", ["403", "500", "reset", "junk"])
def test_each_refused_part_is_told_and_the_rest_is_read(
    reader: HttpReader, state: KubeState, path: str, permission: str, source: str, fault: str
) -> None:
    state.faults[path] = fault
    found = collect(reader)
    reason = {"403": "denied", "junk": "unparsable"}.get(fault, "unreachable")
    if not (path.endswith("/log") and fault == "junk"):  # a log may hold anything
        assert (source, reason) in told(found)
    if fault == "403":
        assert any(permission in (gap.fix or "") for gap in found.gaps)
    if "pods" not in path:
        assert found.logs


def test_listing_all_namespaces_may_be_forbidden(reader: HttpReader, state: KubeState) -> None:
    state.faults["/api/v1/pods"] = "403"
    found = collect(reader, Target(pod=POD))
    assert told(found) == {("kubernetes", "denied")}
    assert "list pods" in (found.gaps[0].fix or "")


def test_a_slow_server_costs_one_timeout_a_call(reader: HttpReader, state: KubeState) -> None:
    state.faults[f"/api/v1/namespaces/shop/pods/{POD}/log"] = "slow"
    found = collect(reader)
    assert told(found) == {("app_log", "timed_out")}
    assert found.pods


def test_time_is_up_while_a_log_comes_in(reader: HttpReader) -> None:
    found = collect(reader, ctx=Context(deadline=time.monotonic()))
    assert ("app_log", "timed_out") in told(found)


def test_the_tokens_rotation_is_told(reader: HttpReader, state: KubeState) -> None:
    assert collect(reader).pods
    state.token = "rotated"
    found = collect(reader)
    assert found.pods == []
    assert {gap.reason for gap in found.gaps} == {"denied"}


@pytest.mark.parametrize("name", ["x,involvedObject.kind=Secret", "../secrets", "a b", "A" * 300])
def test_names_cannot_widen_a_selector(reader: HttpReader, state: KubeState, name: str) -> None:
    found = collect(reader, Target(namespace="shop", pod=name))
    assert found.pods == []
    assert {gap.reason for gap in found.gaps} == {"no_data"}
    assert state.requests == []


@pytest.mark.parametrize(
    "odd",
    [{"metadata": None}, {"metadata": []}, {"metadata": {"labels": "x"}}, {"status": 5}, {"spec": []},
     {"status": {"containerStatuses": [None, 3, {"name": 7}]}}],
)  # fmt: skip
def test_odd_objects_do_no_harm(odd: dict[str, Any]) -> None:
    class OddReader:
        def get_pod(self, namespace: str, name: str) -> dict[str, Any]:
            return {**pod(), **odd}

        def list_pods(self, namespace: str | None, selector: str = "") -> list[dict[str, Any]]:
            return [{**pod("other"), **odd}, {}]

        def list_events(self, namespace: str, field_selector: str) -> list[dict[str, Any]]:
            return [odd]

        def get_node(self, name: str) -> dict[str, Any]:
            return odd

        def get_owner(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
            return odd

        def pod_log(
            self, namespace: str, pod: str, container: str | None, *, previous: bool
        ) -> Iterator[bytes]:
            yield b"\xff\xfe no time \n"

    for target in (TARGET, Target(pod=POD), Target(workload="web"), Target()):
        KubernetesSource(OddReader()).collect(target, WINDOW, Context())


# ----------------------------------------------------------------------------------------------------- whose log it is


def test_a_restart_while_reading_does_not_swap_the_logs(reader: HttpReader, state: KubeState) -> None:
    """The pod was read before the second restart, the log after it: "previous" is now another instance."""
    state.logs[(POD, "rails", True)] = lines(DIED + timedelta(seconds=2), DIED + timedelta(minutes=2))
    found = collect(reader)
    assert ("app_log", "too_late") in told(found)
    assert DEAD not in {log.identity.container_id for log in found.logs}


def test_two_restarts_before_the_question(reader: HttpReader, state: KubeState) -> None:
    """Only the later death's log is kept: it is read under its own id, and the earlier one is told as gone."""
    later = DIED + timedelta(minutes=20)
    state.pods[0] = pod(status=container(2, later, OLDER))
    state.logs[(POD, "rails", True)] = lines(later - timedelta(minutes=10), later)
    state.logs[(POD, "rails", False)] = lines(later + timedelta(seconds=3), later + timedelta(minutes=1))
    found = collect(reader)
    assert [log.identity.container_id for log in found.logs] == [OLDER, ALIVE]
    assert told(found) == {("app_log", "too_late")}
    assert "2026-11-23T03:32:41" in found.gaps[0].detail


def test_crash_loop_log_is_read_once(reader: HttpReader, state: KubeState) -> None:
    """While a container waits to be restarted, its present and its previous instance are the same dead one."""
    waiting = container()
    waiting["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    waiting["containerID"] = f"containerd://{DEAD}"
    state.pods[0] = pod(status=waiting)
    found = collect(reader)
    assert [log.identity.container_id for log in found.logs] == [DEAD]


def test_a_job_that_is_not_restarted(reader: HttpReader, state: KubeState) -> None:
    ended = container(0)
    ended["state"], ended["lastState"] = ended["lastState"], {}
    ended["containerID"] = f"containerd://{DEAD}"
    state.pods[0] = pod(status=ended)
    state.logs = {(POD, "rails", False): lines(DIED - timedelta(hours=2), DIED)}
    found = collect(reader)
    assert [log.identity.container_id for log in found.logs] == [DEAD]
    assert found.gaps == []
