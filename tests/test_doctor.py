"""Doctor against the doubles: every source's row when all is well, and when one thing is not."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from oomscope.cli import run
from oomscope.config import Cluster
from oomscope.doctor import Row, examine
from oomscope.doctor_kubernetes import _clock
from oomscope.sources.interface import Context
from tests.fakes.cloudwatch import CloudWatchState, cloudwatch_server
from tests.fakes.kube import KubeState, kube_server, kubeconfig
from tests.fakes.prometheus import PrometheusState, prometheus_server

NOW = datetime.now(UTC)
MEMORY = 'container_memory_working_set_bytes{container!=""}'


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")


@pytest.fixture
def kube() -> KubeState:
    return KubeState()


@pytest.fixture
def prometheus() -> PrometheusState:
    return PrometheusState(
        numbers={
            f"count({MEMORY})": 42.0,
            f"max(timestamp({MEMORY}))": datetime.now(UTC).timestamp() - 12,
            f"max(count_over_time({MEMORY}[600s]))": 40.0,
            "count(kube_pod_container_status_restarts_total{})": 40.0,
        },
        answers={"status/runtimeinfo": {"storageRetention": "15d"}},
    )


@pytest.fixture
def logs() -> CloudWatchState:
    state = CloudWatchState()
    ms = int((datetime.now(UTC) - timedelta(seconds=40)).timestamp() * 1000)
    for kind in ("application", "host", "performance"):
        state.group(f"/aws/containerinsights/prod/{kind}").add("stream", ms, "{}")
    return state


@pytest.fixture
def cluster(
    kube: KubeState, prometheus: PrometheusState, logs: CloudWatchState, tmp_path: Path
) -> Iterator[Cluster]:
    with (
        kube_server(kube) as kube_url,
        prometheus_server(prometheus) as prometheus_url,
        cloudwatch_server(logs) as logs_url,
    ):
        yield Cluster.model_validate(
            {
                "kubernetes": {"kubeconfig": str(kubeconfig(tmp_path, kube_url)), "namespace": "shop"},
                "prometheus": {"url": prometheus_url},
                "aws": {"region": "us-east-1", "endpoint_url": logs_url},
                "logs": {"eks_cluster": "prod"},
            }
        )


def rows(cluster: Cluster, seconds: float = 300.0) -> dict[str, Row]:
    found = examine(cluster, datetime.now(UTC), Context(deadline=time.monotonic() + seconds))
    return {row.source: row for row in found}


def test_all_is_well(cluster: Cluster) -> None:
    found = rows(cluster)
    assert {name: row.status for name, row in found.items()} == {
        "kubernetes": "ok", "clock": "ok", "prometheus": "ok", "restarts": "ok", "app log": "ok",
        "kernel log": "ok", "performance log": "ok", "insights": "ok", "alb": "off",
    }  # fmt: skip
    assert "v1.33.1; may list pods, get pods, read logs, list events" in found["kubernetes"].detail
    told = r"working set of 42 containers every 15 s, newest \d\d s old, kept 15d"
    assert re.fullmatch(told, found["prometheus"].detail)
    assert "newest event less than 2 min old" in found["app log"].detail


@pytest.mark.parametrize(
    ("path", "permission"),
    [("/api/v1/nodes", "get nodes"), ("/api/v1/namespaces/shop/events", "list events"),
     ("/api/v1/namespaces/shop/pods/oomscope-doctor/log", "get pods/log")],
)  # fmt: skip
def test_a_missing_right_is_one_row_with_its_name(
    cluster: Cluster, kube: KubeState, path: str, permission: str
) -> None:
    kube.faults[path] = "403"
    found = examine(cluster, datetime.now(UTC), Context())
    denied = [row for row in found if row.status == "denied"]
    assert [permission in (row.fix or "") for row in denied] == [True]
    assert any(row.source == "kubernetes" and row.status == "ok" for row in found)


def test_kubernetes_refuses_everything(cluster: Cluster, kube: KubeState) -> None:
    kube.token = "other"
    assert rows(cluster)["kubernetes"].status == "denied"


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("401", "denied"),
        ("500", "unreachable"),
        ("junk", "error"),
        ("reset", "unreachable"),
        ("login", "denied"),
    ],
)
def test_prometheus_fails(cluster: Cluster, prometheus: PrometheusState, fault: str, status: str) -> None:
    prometheus.fault = fault
    assert rows(cluster)["prometheus"].status == status


def test_prometheus_lacks_what_is_needed(cluster: Cluster, prometheus: PrometheusState) -> None:
    prometheus.numbers["count(kube_pod_container_status_restarts_total{})"] = None
    prometheus.numbers[f"max(timestamp({MEMORY}))"] = NOW.timestamp() - 3600
    found = rows(cluster)
    assert (found["prometheus"].status, found["restarts"].status) == ("lagging", "missing")
    prometheus.numbers[f"count({MEMORY})"] = None
    assert rows(cluster)["prometheus"].status == "missing"


def test_log_groups_missing_stale_or_denied(cluster: Cluster, logs: CloudWatchState) -> None:
    del logs.groups["/aws/containerinsights/prod/host"]
    old = logs.groups["/aws/containerinsights/prod/performance"]
    for event in old.events:
        event.timestamp -= 6 * 3_600_000
    old.seal()
    logs.denied = {"StartQuery"}
    found = rows(cluster)
    assert found["kernel log"].status == "missing"
    assert found["performance log"].status == "lagging"
    assert found["insights"].status == "denied"
    assert "logs:StartQuery" in (found["insights"].fix or "")
    logs.denied = {"DescribeLogGroups"}
    assert rows(cluster)["cloudwatch"].status == "denied"
    logs.denied = set()
    logs.groups.clear()
    assert rows(cluster)["cloudwatch"].status == "missing"


def test_infrequent_access_is_told(cluster: Cluster, logs: CloudWatchState) -> None:
    logs.groups["/aws/containerinsights/prod/application"].log_class = "INFREQUENT_ACCESS"
    assert "read by Insights" in rows(cluster)["app log"].detail


def test_nobody_answers_in_time(cluster: Cluster, kube: KubeState) -> None:
    kube.faults["/version"], kube.slow_s = "slow", 30.0
    assert rows(cluster, 1.0)["kubernetes"].status == "timed_out"


def test_nothing_configured_is_no_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    found = rows(Cluster())
    assert {row.status for row in found.values()} == {"off"}
    assert all(row.fix for row in found.values())


@pytest.mark.parametrize(
    ("ahead", "status"), [(0.0, "ok"), (-0.9, "ok"), (3.0, "ok"), (-90.0, "skewed"), (90.0, "skewed")]
)
def test_clock(ahead: float, status: str) -> None:
    server = NOW.replace(microsecond=0)
    mine = server + timedelta(seconds=ahead + 1)
    found = _clock(server.strftime("%a, %d %b %Y %H:%M:%S GMT"), mine, mine + timedelta(milliseconds=20))
    assert [row.status for row in found] == [status]
    assert ("+" in found[0].detail) == (ahead > 5)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 99 Foo 2026 99:99:99 GMT", 5])
def test_no_clock_no_row(date: Any) -> None:
    assert _clock(date, NOW, NOW) == []


# ------------------------------------------------------------------------------------------------------- ALB on moto


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.mark.parametrize(("minutes", "status"), [(6, "ok"), (40, "lagging"), (None, "missing")])
def test_alb_bucket(aws: str, monkeypatch: pytest.MonkeyPatch, minutes: int | None, status: str) -> None:
    import boto3

    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    bucket = f"logs-{status}"
    s3 = boto3.client("s3", endpoint_url=aws, region_name="us-east-1")
    s3.create_bucket(Bucket=bucket)
    if minutes is not None:
        end = NOW - timedelta(minutes=minutes)
        stem = f"AWSLogs/123456789012/elasticloadbalancing/us-east-1/{end:%Y/%m/%d}/123456789012_elasticloadbalancing"
        s3.put_object(
            Bucket=bucket, Key=f"{stem}_us-east-1_app.web.0a_{end:%Y%m%dT%H%M}Z_10.0.0.1_x.log.gz", Body=b""
        )
    settings = {"aws": {"region": "us-east-1", "endpoint_url": aws}, "alb": {"bucket": bucket}}
    assert rows(Cluster.model_validate(settings))["alb"].status == status


def test_alb_table_that_does_not_exist(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    settings = {"aws": {"region": "us-east-1", "endpoint_url": aws}, "alb": {"table": "nothing"}}
    found = rows(Cluster.model_validate(settings))["alb"]
    assert found.status in ("missing", "error", "unreachable")


# ------------------------------------------------------------------------------------------------------ command line


def configured(tmp_path: Path, cluster: Cluster) -> Path:
    path = tmp_path / "oomscope.toml"
    path.write_text(
        "[clusters.prod]\n"
        f'kubernetes.kubeconfig = "{cluster.kubernetes.kubeconfig}"\nkubernetes.namespace = "shop"\n'
        f'prometheus.url = "{cluster.prometheus.url}"\n'
        f'aws.region = "us-east-1"\naws.endpoint_url = "{cluster.aws.endpoint_url}"\nlogs.eks_cluster = "prod"\n'
    )
    return path


def test_command(
    cluster: Cluster, kube: KubeState, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(configured(tmp_path, cluster))
    assert run(["doctor", "--config", path]) == 0
    out = capsys.readouterr().out
    assert "all that is configured can be read" in out
    assert max(map(len, out.splitlines())) <= 80
    kube.faults["/api/v1/nodes"] = "403"
    assert run(["doctor", "--config", path, "-f", "json"]) == 4
    assert "denied" in {row["status"] for row in json.loads(capsys.readouterr().out)}


def test_command_prints_policies(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(configured(tmp_path, cluster))
    assert run(["doctor", "--config", path, "--policy", "cloudwatch_logs"]) == 0
    assert json.loads(capsys.readouterr().out)["Version"] == "2012-10-17"
    assert run(["doctor", "--config", path, "--policy"]) == 0
    assert "kind: Role" in capsys.readouterr().out
    assert run(["doctor", "--config", path, "--policy", "nonsense"]) == 2
    assert run(["doctor", "--config", path, "nonsense"]) == 2
