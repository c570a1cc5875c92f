"""Kills a cluster remembers: what counts as one, each told once, and lines that are safe to paste."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomscope.cli import run
from oomscope.config import Cluster, Config
from oomscope.errors import NoKillFound
from oomscope.facts import Target, Window
from oomscope.kills import Remembered, kind_of, newest, remembered, told_once
from oomscope.kills_series import of_performance_records
from oomscope.pipeline_live import Plan
from oomscope.sources.interface import Context
from tests.fakes.cloudwatch import CloudWatchState, cloudwatch_server
from tests.fakes.kube import KubeState, kube_server, kubeconfig
from tests.fakes.prometheus import PrometheusState, prometheus_server

NOW = datetime.now(UTC).replace(microsecond=0)
WINDOW = Window(NOW - timedelta(hours=24), NOW)
POD = "web-7c9d5b7c6f-x2x9k"


def pod(name: str, minutes_ago: int, reason: str = "OOMKilled", code: int = 137) -> dict[str, Any]:
    died = (NOW - timedelta(minutes=minutes_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    ended = {"terminated": {"exitCode": code, "reason": reason, "finishedAt": died}}
    status = {"name": "rails", "restartCount": 1, "state": {"running": {}}, "lastState": ended}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"containers": [{"name": "rails", "resources": {"limits": {"memory": "2Gi"}}}]},
        "status": {"containerStatuses": [status]},
    }


@pytest.fixture
def kube() -> KubeState:
    return KubeState(
        pods=[
            pod(POD, 30),
            pod("web-7c9d5b7c6f-child", 20, code=143),
            pod("web-7c9d5b7c6f-error", 10, reason="Error"),
            pod("web-7c9d5b7c6f-crash", 5, reason="Error", code=1),
            pod("web-7c9d5b7c6f-older", 60 * 30),
        ]
    )


@pytest.fixture
def prometheus() -> PrometheusState:
    return PrometheusState()


@pytest.fixture
def cluster(kube: KubeState, prometheus: PrometheusState, tmp_path: Path) -> Iterator[Cluster]:
    with kube_server(kube) as kube_url, prometheus_server(prometheus) as url:
        settings = {
            "kubernetes": {"kubeconfig": str(kubeconfig(tmp_path, kube_url))},
            "prometheus": {"url": url},
        }
        yield Cluster.model_validate(settings)


def test_what_a_pods_status_tells(cluster: Cluster) -> None:
    found = remembered(cluster, WINDOW, Context())
    assert [(k.pod, k.kind) for k in found.kills] == [
        ("web-7c9d5b7c6f-error", "unclear"),
        ("web-7c9d5b7c6f-child", "child"),
        (POD, "oom"),
    ]
    assert found.kills[-1].limit_bytes == 2**31
    assert found.gaps == ()
    plan = Plan(Target(namespace="shop"), cluster, Config(), NOW)
    assert newest(plan).pod == "web-7c9d5b7c6f-child"
    with pytest.raises(NoKillFound):
        newest(plan, timedelta(minutes=12))


@pytest.mark.parametrize(
    ("reason", "code", "kind"),
    [("OOMKilled", 137, "oom"), ("OOMKilled", None, "oom"), ("OOMKilled", 143, "child"), ("OOMKilled", 0, "child"),
     ("Error", 137, "unclear"), ("Error", 1, None), ("Completed", 0, None), ("ContainerStatusUnknown", 137, None),
     (None, 137, None)],
)  # fmt: skip
def test_reason_and_exit_code_are_judged_together(
    reason: str | None, code: int | None, kind: str | None
) -> None:
    assert kind_of(reason, code) == kind


def series(metric: str, samples: list[tuple[datetime, float]], pod_name: str = "gone-1") -> Any:
    who = {"namespace": "shop", "pod": pod_name, "container": "rails", "uid": "u"}
    return (who, [(at.timestamp(), value) for at, value in samples])


def test_prometheus_remembers_pods_that_are_gone(cluster: Cluster, prometheus: PrometheusState) -> None:
    """A gauge repeats its value: two values are two deaths, however often each was scraped."""
    first, second = NOW - timedelta(hours=5), NOW - timedelta(hours=2)
    stamps = [(first + timedelta(minutes=i), first.timestamp()) for i in range(1, 90)]
    stamps += [(second + timedelta(minutes=i), second.timestamp()) for i in range(1, 90)]
    codes = [(at, 137.0 if value == first.timestamp() else 143.0) for at, value in stamps]
    name = "kube_pod_container_status_last_terminated"
    prometheus.series[f"{name}_timestamp"] = [series("t", stamps)]
    prometheus.series[f"{name}_exitcode"] = [series("c", codes)]
    found = [k for k in remembered(cluster, WINDOW, Context()).kills if k.pod == "gone-1"]
    assert [(k.at, k.exit_code, k.kind) for k in found] == [(second, 143, "child"), (first, 137, "oom")]


def test_a_rise_of_the_counter_without_a_restart_is_a_child(
    cluster: Cluster, prometheus: PrometheusState
) -> None:
    rise = NOW - timedelta(hours=3)
    near = NOW - timedelta(minutes=29)  # the status of that pod tells of a death then
    prometheus.series["container_oom_events_total"] = [
        series("o", [(rise + timedelta(minutes=i), 1.0) for i in range(4)], "alive-1"),
        series("o", [(near, 1.0)], POD),
    ]
    found = remembered(cluster, WINDOW, Context()).kills
    assert [(k.kind, k.about) for k in found if k.pod == "alive-1"] == [("child", True)]
    assert [k.source for k in found if k.pod == POD] == ["kubernetes"]


def test_a_death_is_told_once_by_who_knows_most() -> None:
    status = Remembered(NOW, "shop", POD, "rails", "oom", "kubernetes", 137, 2**31)
    metric = Remembered(NOW + timedelta(seconds=1), "shop", POD, "rails", "oom", "prometheus", 137)
    log = Remembered(NOW + timedelta(seconds=55), "shop", POD, "rails", "oom", "performance-log", about=True)
    other = Remembered(NOW, "shop", "another", "rails", "oom", "prometheus", 137)
    again = Remembered(NOW - timedelta(minutes=1), "shop", POD, "rails", "oom", "kubernetes", 137)
    assert told_once([log, metric, other, status]) == [other, status]
    assert told_once([again, status]) == [status, again]


def record(minutes_ago: int, restarts: int, **more: Any) -> dict[str, Any]:
    return {
        "Type": "Container", "Timestamp": str(int((NOW - timedelta(minutes=minutes_ago)).timestamp() * 1000)),
        "Namespace": "shop", "ContainerName": "rails", "number_of_container_restarts": restarts,
        "container_last_termination_reason": "OOMKilled", "kubernetes": {"pod_name": POD}, **more,
    }  # fmt: skip


def test_the_performance_log_repeats_its_reason(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, kube: KubeState
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    kube.pods.clear()
    records = [record(30, 1), record(29, 0), record(28, 0), record(10, 1, Namespace="other")]
    assert len(of_performance_records(records)) == 2
    state = CloudWatchState()
    group = state.group("/aws/containerinsights/prod/performance")
    for entry in records:
        group.add("node", int(entry["Timestamp"]), json.dumps(entry))
    with cloudwatch_server(state) as url:
        settings = {"aws": {"region": "us-east-1", "endpoint_url": url}, "logs": {"eks_cluster": "prod"}}
        found = remembered(
            Cluster.model_validate({**cluster.model_dump(exclude={"aws", "logs"}), **settings}),
            WINDOW, Context(), namespace="shop",
        )  # fmt: skip
    assert [(k.pod, k.source, k.about) for k in found.kills] == [(POD, "performance-log", True)]


def test_a_source_that_fails_is_a_gap_and_the_others_tell(
    cluster: Cluster, kube: KubeState, prometheus: PrometheusState
) -> None:
    prometheus.fault = "403"
    found = remembered(cluster, WINDOW, Context())
    assert len(found.kills) == 3
    assert [(g.source, g.reason) for g in found.gaps] == [("prometheus", "denied")]
    kube.faults["/api"] = "403"
    found = remembered(cluster, WINDOW, Context(deadline=time.monotonic() + 5))
    assert {(g.source, g.reason) for g in found.gaps} == {("kubernetes", "denied"), ("prometheus", "denied")}
    assert found.asked == 0


@pytest.mark.parametrize("namespace", ['shop"} or vector(1) #', "../x", "a b"])
def test_a_namespace_cannot_leave_its_place(
    cluster: Cluster, kube: KubeState, prometheus: PrometheusState, namespace: str
) -> None:
    found = remembered(cluster, WINDOW, Context(), namespace=namespace)
    assert found.kills == ()
    assert (kube.requests, prometheus.asked) == ([], [])


@given(st.text(min_size=1, max_size=60), st.text(max_size=30), st.text(max_size=30))
def test_the_line_to_paste_is_words_for_a_shell(pod_name: str, namespace: str, cluster_name: str) -> None:
    kill = Remembered(NOW, namespace or None, pod_name, None, "oom", "kubernetes")
    words = shlex.split(kill.command("--cluster", cluster_name))
    assert words[:3] == ["oomscope", "investigate", pod_name]
    assert words[-2:] == ["--cluster", cluster_name]


# ---------------------------------------------------------------------------------------------------- command line


def configured(tmp_path: Path, cluster: Cluster) -> Path:
    path = tmp_path / "oomscope.toml"
    path.write_text(
        f'[clusters.prod.kubernetes]\nkubeconfig = "{cluster.kubernetes.kubeconfig}"\n'
        f'[clusters.prod.prometheus]\nurl = "{cluster.prometheus.url}"\n'
    )
    return path


def test_command_prints_lines_to_paste(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configured(tmp_path, cluster)
    assert run(["kills", "--config", str(path), "--cluster", "prod"]) == 0
    out = capsys.readouterr().out
    at = NOW - timedelta(minutes=30)
    assert (
        f"{at:%Y-%m-%d %H:%M:%S} UTC  shop/{POD}/rails\n"
        "  OOM killed, exit 137, limit 2.00 GiB (told by the pod's status)\n"
        f"  oomscope investigate {POD} -n shop -c rails --at {at:%Y-%m-%dT%H:%M:%SZ} --cluster prod"
    ) in out
    times = re.findall(r"^~?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", out, re.MULTILINE)
    assert times == sorted(times, reverse=True)
    assert run(["kills", "--config", str(path), "-f", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3


def test_command_without_kills_or_without_sources(
    cluster: Cluster, kube: KubeState, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configured(tmp_path, cluster)
    kube.pods.clear()
    assert run(["kills", "--config", str(path)]) == 3
    assert run(["kills", "--config", str(path), "--since", "never"]) == 2
    path.write_text(f'[clusters.x.kubernetes]\nkubeconfig = "{tmp_path}/none"\n')
    assert run(["kills", "--config", str(path)]) == 4
    assert "not asked: the pod's status (not given): " in capsys.readouterr().err
