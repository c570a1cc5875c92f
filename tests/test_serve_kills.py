"""From alerts to kills: each kill once, however often and however vaguely it is told of."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from oomscope.serve.schema import alerts, kills, stages, tasks, threads
from tests.fakes.kube import KubeState, kube_server, kubeconfig
from tests.serve_help import accept, demo_alert, demo_cluster, drain, rows, runtime_of, settings_of, until

FIND = ("identify",)


def at(minutes: float) -> str:
    return (datetime(2026, 11, 23, 9, 0, tzinfo=UTC) + timedelta(minutes=minutes)).isoformat()


def pod(
    name: str, minutes: float, *, uid: str, node: str = "node-1", owner: str = "web", **end: Any
) -> dict[str, Any]:
    """A pod whose container ended at that minute."""
    ended = {
        "exitCode": 137, "reason": "OOMKilled", "startedAt": at(minutes - 30), "finishedAt": at(minutes),
        "containerID": "containerd://" + "ab" * 32, **end,
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": uid,
                     "labels": {"pod-template-hash": "5d9"},
                     "ownerReferences": [{"kind": "ReplicaSet", "name": f"{owner}-5d9", "controller": True}]},
        "spec": {"nodeName": node, "containers": [{"name": "app", "resources": {"limits": {"memory": "512Mi"}}}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "app", "restartCount": 1, "state": {"running": {"startedAt": at(minutes + 0.1)}},
             "lastState": {"terminated": ended}}]},
    }  # fmt: skip


def alert(minutes: float, **labels: str) -> dict[str, Any]:
    return {
        "version": "4", "status": "firing", "alerts": [
            {"status": "firing", "labels": {"alertname": "Restarts", "namespace": "shop", **labels},
             "startsAt": at(minutes), "fingerprint": json.dumps(labels, sort_keys=True)[:60]}]}  # fmt: skip


@pytest.fixture
def cluster() -> KubeState:
    return KubeState()


@pytest.fixture
def runtime(tmp_path: Path, cluster: KubeState) -> Iterator[Any]:
    with kube_server(cluster) as url:
        config = {"c": {"kubernetes": {"kubeconfig": str(kubeconfig(tmp_path, url))}}}
        runtime = runtime_of(settings_of(tmp_path, clusters=config))
        yield runtime
        runtime.store.close()


def test_one_kill_told_three_ways_is_one_kill(runtime: Any, cluster: KubeState) -> None:
    cluster.pods.append(pod("web-5d9-a", 20, uid="u1"))
    accept(
        runtime,
        alert(22, pod="web-5d9-a", container="app"),
        alert(23, pod="web-5d9-a"),
        alert(24, deployment="web"),
    )
    drain(runtime, only=FIND)
    assert [kill.pod for kill in rows(runtime, kills)] == ["web-5d9-a"]
    assert {a.kill_id for a in rows(runtime, alerts)} == {rows(runtime, kills)[0].id}
    assert [task.kind for task in rows(runtime, tasks)] == ["capture"]


def test_the_next_kill_of_the_same_container_is_another(runtime: Any, cluster: KubeState) -> None:
    cluster.pods.append(pod("web-5d9-a", 20, uid="u1"))
    accept(runtime, alert(22, pod="web-5d9-a"))
    drain(runtime, only=FIND)
    cluster.pods[:] = [pod("web-5d9-a", 40, uid="u1")]
    accept(runtime, alert(42, pod="web-5d9-a"))
    drain(runtime, only=FIND)
    assert len(rows(runtime, kills)) == 2
    assert len(rows(runtime, threads)) == 1  # of one workload, soon after: one thread
    assert rows(runtime, threads)[0].kills == 2


def test_a_reused_pod_name_is_another_pod(runtime: Any, cluster: KubeState) -> None:
    cluster.pods.append(pod("db-0", 20, uid="u1"))
    accept(runtime, alert(22, pod="db-0"))
    drain(runtime, only=FIND)
    cluster.pods[:] = [pod("db-0", 21, uid="u2")]
    accept(runtime, alert(23, pod="db-0", severity="x"))
    drain(runtime, only=FIND)
    assert {kill.pod_uid for kill in rows(runtime, kills)} == {"u1", "u2"}


def test_oom_kills_are_meant_before_other_ends(runtime: Any, cluster: KubeState) -> None:
    cluster.pods += [
        pod("web-5d9-a", 20, uid="u1", reason="Completed", exitCode=0),
        pod("web-5d9-b", 19, uid="u2"),
    ]
    accept(runtime, alert(22, deployment="web"))
    drain(runtime, only=FIND)
    assert [kill.pod for kill in rows(runtime, kills)] == ["web-5d9-b"]


def test_a_kill_the_cluster_does_not_know_is_investigated_at_the_alerts_time(runtime: Any) -> None:
    accept(runtime, alert(22, pod="gone"), alert(22.5, pod="gone", severity="x"))
    drain(runtime, only=FIND)
    (kill,) = rows(runtime, kills)
    assert (kill.about, kill.pod) == (1, "gone")
    assert kill.killed_at.isoformat() in (at(22), at(22.5))
    assert all(a.kill_id == kill.id for a in rows(runtime, alerts))


def test_a_status_that_comes_late_is_waited_for(runtime: Any, cluster: KubeState) -> None:
    from oomscope.serve import queue
    from oomscope.serve.identify import identify

    accept(runtime, alert(22, pod="web-5d9-a"))
    task = queue.lease(runtime.store, FIND, "test", 30)
    assert task
    identify(runtime, task)
    assert rows(runtime, kills) == []
    cluster.pods.append(pod("web-5d9-a", 20, uid="u1"))
    drain(runtime, only=FIND)
    assert [kill.about for kill in rows(runtime, kills)] == [0]


@pytest.mark.parametrize("fault", ["403", "429", "500", "reset", "junk", "nested", "slow"])
def test_a_cluster_that_cannot_be_asked_loses_no_alert(runtime: Any, cluster: KubeState, fault: str) -> None:
    cluster.faults["/api"] = fault
    accept(runtime, alert(22, pod="web-5d9-a"))
    drain(runtime, only=FIND)
    assert [kill.pod for kill in rows(runtime, kills)] == ["web-5d9-a"]


def test_a_storm_of_one_node_shares_a_thread(runtime: Any, cluster: KubeState) -> None:
    cluster.pods += [pod(f"w{n}-5d9-a", 20 + n / 100, uid=f"u{n}", owner=f"w{n}") for n in range(12)]
    cluster.pods.append(pod("far-5d9-a", 20, uid="far", node="node-2", owner="far"))
    accept(runtime, *(alert(22, pod=p["metadata"]["name"]) for p in cluster.pods))
    drain(runtime, only=FIND)
    assert len(rows(runtime, kills)) == 13
    found = sorted((thread.kills for thread in rows(runtime, threads)), reverse=True)
    assert sum(found) == 13
    assert len(found) == 4  # three before it is known to be a storm, and the other node
    assert found[0] == 10


def test_watching_finds_kills_without_alerts_and_knows_them_again(runtime: Any, cluster: KubeState) -> None:
    now = (datetime.now(UTC) - datetime(2026, 11, 23, 9, 0, tzinfo=UTC)).total_seconds() / 60
    cluster.pods += [
        pod("web-5d9-a", now - 2, uid="u1"),
        pod("web-5d9-b", now - 2, uid="u2", reason="Error", exitCode=1),
        pod("web-5d9-c", now - 2, uid="u3", reason="Error"),
        pod("web-5d9-old", now - 600, uid="u4"),
    ]
    watch_once(runtime)
    assert [(kill.pod, kill.found_by) for kill in rows(runtime, kills)] == [("web-5d9-a", "watch")]
    accept(runtime, alert(now, pod="web-5d9-a"))
    drain(runtime, only=FIND)
    watch_once(runtime)
    assert len(rows(runtime, kills)) == 1


def watch_once(runtime: Any) -> None:
    from oomscope.serve import queue
    from oomscope.serve.watch import watch

    with runtime.store.write() as connection:
        queue.enqueue(runtime.store, connection, [queue.Request("watch:c", "watch", "c", datetime.now(UTC))])
    task = queue.lease(runtime.store, ("watch",), "test", 30)
    if task:
        watch(runtime, task)


# --------------------------------------------------------------------------------------------------- evidence kept


def test_what_was_captured_first_is_not_lost_later(tmp_path: Path) -> None:
    """The pod is replaced between the first look and the last: its end, events and limit are in the report."""
    state = demo_cluster()
    with kube_server(state) as url:
        config = {"c": {"kubernetes": {"kubeconfig": str(kubeconfig(tmp_path, url))}}}
        runtime = runtime_of(settings_of(tmp_path, clusters=config))
        accept(runtime, demo_alert())
        drain(runtime, only=("identify", "capture"))
        state.pods.clear()
        state.events.clear()
        drain(runtime)
    (kill,) = rows(runtime, kills)
    assert (kill.state, kill.verdict) == ("final", "oom_limit")
    assert [stage.name for stage in rows(runtime, stages)] == ["captured", "seen", "final"]
    from oomscope.serve.bundles import unpack

    last = unpack(runtime.bundles.get(f"{kill.id}/0.tar.gz"))  # nothing was left to be added
    assert any(p.name == kill.pod and p.containers[0].terminations for p in last.pods)
    assert last.events


def test_stages_follow_what_is_configured(tmp_path: Path) -> None:
    from oomscope.config import Cluster
    from oomscope.serve.stages import plan_of

    runtime = runtime_of(settings_of(tmp_path, preliminary_after_s=60, final_after_s=600))
    assert [s.name for s in plan_of(runtime, Cluster()) if not s.again] == ["seen", "final"]
    with_alb = Cluster.model_validate({"alb": {"bucket": "logs"}})
    plan = [s for s in plan_of(runtime, with_alb) if not s.again]
    assert [(s.name, s.after_s, sorted(s.without)) for s in plan] == [
        ("seen", 0.0, []), ("preliminary", 60.0, ["alb"]), ("final", 600.0, []),
    ]  # fmt: skip


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_source_that_does_not_answer_is_asked_again_before_the_last_word(
    tmp_path: Path, comes_back: bool
) -> None:
    from oomscope.serve import queue
    from oomscope.serve.stages import analyse

    state = demo_cluster()
    with kube_server(state) as url:
        config = {"c": {"kubernetes": {"kubeconfig": str(kubeconfig(tmp_path, url))}}}
        runtime = runtime_of(settings_of(tmp_path, clusters=config))
        accept(runtime, demo_alert())
        drain(runtime, only=("identify", "capture"))
        state.faults["/api"] = "reset"
        for _ in range(2):
            task = queue.lease(runtime.store, ("analyse",), "test", 30)
            assert task
            analyse(runtime, task)
        (kill,) = rows(runtime, kills)
        assert (kill.state, kill.verdict) == ("open", "oom_limit")
        assert "waiting for" in kill.progress
        assert [stage.name for stage in rows(runtime, stages)] == ["captured", "seen", "preliminary"]
        if comes_back:
            state.faults.clear()
        drain(runtime)
    (kill,) = rows(runtime, kills)
    assert (kill.state, kill.progress) == ("final", None)
    looks = ["preliminary"] * (1 if comes_back else 2)
    assert [stage.name for stage in rows(runtime, stages)] == ["captured", "seen", *looks, "final"]


def test_a_capture_that_ends_its_process_every_time_holds_up_no_report(tmp_path: Path) -> None:
    from oomscope.serve.calculator import Died
    from oomscope.serve.worker import Worker

    def dies(work: Any, arguments: Any, tell: Any) -> Any:
        if work.__name__ == "capture":
            raise Died("it is gone")
        return work(*arguments, tell)

    with kube_server(demo_cluster()) as url:
        config = {"c": {"kubernetes": {"kubeconfig": str(kubeconfig(tmp_path, url))}}}
        runtime = dataclasses.replace(runtime_of(settings_of(tmp_path, clusters=config)), calculate=dies)
        accept(runtime, demo_alert())
        worker = Worker(runtime)
        try:
            worker.start()
            until(lambda: [kill.state for kill in rows(runtime, kills)] == ["final"], 30)
        finally:
            worker.stop()
    (kill,) = rows(runtime, kills)
    assert kill.verdict == "oom_limit"


def test_nothing_readable_ends_in_a_report_that_says_so(tmp_path: Path) -> None:
    runtime = runtime_of(
        settings_of(tmp_path, max_errors=1, clusters={"c": {"kubernetes": {"kubeconfig": "/none"}}})
    )
    accept(runtime, alert(22, pod="web-5d9-a"))
    drain(runtime)
    (kill,) = rows(runtime, kills)
    assert (kill.state, kill.verdict) == ("failed", "undetermined")
    assert kill.problem


def test_a_job_that_ends_its_process_every_time_is_given_up(tmp_path: Path) -> None:
    from oomscope.serve import queue
    from oomscope.serve.stages import give_up

    runtime = runtime_of(settings_of(tmp_path, clusters={"c": {"kubernetes": {"kubeconfig": "/none"}}}))
    accept(runtime, alert(22, pod="web-5d9-a"))
    drain(runtime, only=("identify", "capture"))
    task = queue.lease(runtime.store, ("analyse",), "test", 30)
    assert task
    give_up(runtime, task, "it ended its process")
    (kill,) = rows(runtime, kills)
    assert (kill.state, kill.problem) == ("failed", "it ended its process")


# ------------------------------------------------------------------------------------------------------- retention


def test_retention_by_age_and_by_size(tmp_path: Path, cluster: KubeState) -> None:
    cluster.pods += [pod(f"web-5d9-{n}", 20 + n, uid=f"u{n}") for n in range(3)]
    with kube_server(cluster) as url:
        config = {"c": {"kubernetes": {"kubeconfig": str(kubeconfig(tmp_path, url))}}}
        settings = settings_of(tmp_path, clusters=config)
        runtime = runtime_of(settings)
        accept(runtime, *(alert(22 + n, pod=f"web-5d9-{n}") for n in range(3)))
        drain(runtime)
        tidy_once(runtime)
        assert len(rows(runtime, kills)) == 3
        sizes = [stage.bundle_bytes for stage in rows(runtime, stages)]
        small = runtime_of(settings_of(tmp_path, clusters=config, keep_bytes=max(1, sum(sizes) // 2)))
        tidy_once(small)
        left = {kill.id for kill in rows(small, kills)}
        assert 0 < len(left) < 3
        saved = {path.parent.name for path in (tmp_path / "data/bundles").rglob("*.tar.gz")}
        assert saved == left
        old = runtime_of(settings_of(tmp_path, clusters=config, keep_days=1e-9))
        tidy_once(old)
        assert rows(old, kills) == []


def tidy_once(runtime: Any) -> None:
    from oomscope.serve import queue
    from oomscope.serve.retention import tidy

    with runtime.store.write() as connection:
        past = datetime(2020, 1, 1, tzinfo=UTC)
        queue.enqueue(runtime.store, connection, [queue.Request("tidy", "tidy", "", past)])
    task = queue.lease(runtime.store, ("tidy",), "test", 30)
    assert task
    tidy(runtime, task)


# --------------------------------------------------------------------------------------------------- by chance


def test_recurrence_against_chance() -> None:
    from oomscope.serve.common import at_least, recurrences

    assert at_least(2, [0.5, 0.5]) == pytest.approx(0.25)
    assert at_least(0, []) == 1.0
    told = [json.dumps([["Rare#a", 1, 0.01], ["Busy#b", 9, 9.0], ["Never#c", 0, 0.5]]) for _ in range(4)]
    found = recurrences([*told, "junk", "[[1,2]]"])
    assert [(one.endpoint, one.kills, one.of) for one in found] == [("Rare#a", 4, 4), ("Busy#b", 4, 4)]
    assert found[0].chance < 1e-6
    assert found[1].chance > 0.99


def test_deep_copies_of_alerts_are_the_same_alert(runtime: Any) -> None:
    accept(runtime, demo_alert(), copy.deepcopy(demo_alert()))
    assert len(rows(runtime, alerts)) == 1
