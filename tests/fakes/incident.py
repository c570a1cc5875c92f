"""A saved incident put behind live servers: Kubernetes, CloudWatch Logs, Prometheus, and S3 (moto) or Athena."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.fakes.athena_sql import LogTable, lines_of
from tests.fakes.aws import AthenaState, aws_server
from tests.fakes.cloudwatch import CloudWatchState, cloudwatch_server
from tests.fakes.kube import KubeState, kube_server, kubeconfig
from tests.fakes.prometheus import PrometheusState, prometheus_server
from tests.fakes.weather import Weather, in_front_of, nobody

CLUSTER = "prod"
REGION = "us-east-1"
ALB = {"s3": 'bucket = "alb-logs"', "athena": 'database = "logs"\ntable = "alb"'}
ENDPOINTS = {
    "app_log": "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "s3": "AWS_ENDPOINT_URL_S3", "athena": "AWS_ENDPOINT_URL_ATHENA",
}  # fmt: skip


@dataclass
class Servers:
    """The states behind the servers (to make them misbehave) and a configuration file that names them."""

    kube: KubeState
    cloudwatch: CloudWatchState
    prometheus: PrometheusState
    athena: AthenaState
    s3: Weather
    logs: Weather  # in front of CloudWatch Logs
    config: Path
    urls: dict[str, str]  # of each server
    files: tuple[Path, ...]  # that name them
    environment: pytest.MonkeyPatch

    def empty_bucket(self) -> None:
        """No log file was ever delivered."""
        client = boto3.client("s3", region_name=REGION)
        for found in client.list_objects_v2(Bucket="alb-logs")["Contents"]:
            client.delete_object(Bucket="alb-logs", Key=found["Key"])

    def down(self, name: str) -> None:
        """Nothing listens any more where that server was."""
        closed = nobody()
        for file in self.files:
            file.write_text(file.read_text().replace(self.urls[name], closed))
        for variable in ENDPOINTS.values():
            if os.environ[variable] == self.urls[name]:
                self.environment.setenv(variable, closed)


def kube_state(folder: Path) -> KubeState:
    pods = json.loads((folder / "pods.json").read_text())["items"]
    events = json.loads((folder / "events.json").read_text())["items"]
    uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}
    for event in events:
        event["involvedObject"].setdefault("uid", uids.get(event["involvedObject"]["name"], ""))
    nodes = [{"kind": "Node", "metadata": {"name": name}} for name in {p["spec"]["nodeName"] for p in pods}]
    return KubeState(pods=pods, events=events, nodes=nodes, logs=_running_logs(folder, pods))


def _events(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(gzip.decompress((folder / "cloudwatch.json.gz").read_bytes()))[
        "events"
    ]
    return found


def _running_logs(folder: Path, pods: list[dict[str, Any]]) -> dict[tuple[str, str, bool], bytes]:
    """What the kubelet still has: the running instances' logs. That of the dead one was collected already."""
    lines: dict[str, list[str]] = {}
    for event in _events(folder):
        record = json.loads(event["message"])
        lines.setdefault(record["kubernetes"]["docker_id"], []).append(f"{record['time']} {record['log']}\n")
    return {
        (pod["metadata"]["name"], status["name"], False): "".join(lines[number]).encode()
        for pod in pods
        for status in pod["status"]["containerStatuses"]
        if (number := status["containerID"].rpartition("//")[2]) in lines
    }


def cloudwatch_state(folder: Path) -> CloudWatchState:
    state = CloudWatchState()
    application = state.group(f"/aws/containerinsights/{CLUSTER}/application")
    for event in _events(folder):
        application.add(event["logStreamName"], event["timestamp"], event["message"], event["ingestionTime"])
    host = state.group(f"/aws/containerinsights/{CLUSTER}/host")
    pods = json.loads((folder / "pods.json").read_text())["items"]
    node = pods[0]["spec"]["nodeName"]
    year = datetime.fromisoformat(pods[0]["metadata"]["creationTimestamp"]).year
    for line in (folder / "kernel_journal.txt").read_text().splitlines():
        stamp, _, rest = line.partition(" ip-")
        at = datetime.strptime(f"{year} {stamp}", "%Y %b %d %H:%M:%S.%f").replace(tzinfo=UTC)
        record = {"host": node, "ident": "kernel", "message": rest.partition(" kernel: ")[2]}
        host.add(f"{node}.host.dmesg", int(at.timestamp() * 1000), json.dumps(record))
    return state


def prometheus_state(folder: Path) -> PrometheusState:
    state = PrometheusState()
    for series in json.loads((folder / "prometheus_15s.json").read_text())["data"]["result"]:
        labels = dict(series["metric"])
        name = labels.pop("__name__")
        values = [(float(at), float(value)) for at, value in series["values"]]
        state.series.setdefault(name, []).append((labels, values))
    return state


def _account(folder: Path) -> tuple[str, datetime]:
    first = next(iter((folder / "alb").iterdir())).name
    account, end = first.split("_")[0], first.split("_")[4]
    return account, datetime.strptime(end, "%Y%m%dT%H%MZ").replace(tzinfo=UTC)


def fill_bucket(folder: Path, endpoint: str) -> str:
    client = boto3.client("s3", region_name=REGION, endpoint_url=endpoint)
    client.create_bucket(Bucket="alb-logs")
    account, day = _account(folder)
    for file in sorted((folder / "alb").iterdir()):
        key = f"AWSLogs/{account}/elasticloadbalancing/{REGION}/{day:%Y/%m/%d}/{file.name}"
        client.put_object(Bucket="alb-logs", Key=key, Body=file.read_bytes())
    return account


@contextlib.contextmanager
def live(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alb: str = "s3") -> Iterator[Servers]:
    """Serve the incident, the ALB's log by ``s3`` or ``athena``; the environment gets credentials and endpoints."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    kube, logs, metrics = kube_state(folder), cloudwatch_state(folder), prometheus_state(folder)
    athena, weather = AthenaState(LogTable(lines_of(folder / "alb"), "logs", "alb")), Weather()
    over_logs = Weather()
    with contextlib.ExitStack() as stack:
        urls = {
            "kubernetes": stack.enter_context(kube_server(kube)),
            "app_log": stack.enter_context(
                in_front_of(stack.enter_context(cloudwatch_server(logs)), over_logs)
            ),
            "memory": stack.enter_context(prometheus_server(metrics)),
            "athena": stack.enter_context(aws_server(CloudWatchState(), athena)),
        }
        moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        moto.start()
        stack.callback(moto.stop)
        behind = "http://{}:{}".format(*moto.get_host_and_port())
        account = fill_bucket(folder, behind)
        urls["s3"] = stack.enter_context(in_front_of(behind, weather))
        for name, variable in ENDPOINTS.items():
            monkeypatch.setenv(variable, urls[name])
        config, kubernetes = tmp_path / "oomscope.toml", kubeconfig(tmp_path, urls["kubernetes"])
        config.write_text(
            f"""
            [clusters.prod.kubernetes]
            kubeconfig = "{kubernetes}"
            [clusters.prod.aws]
            region = "{REGION}"
            account = "{account}"
            [clusters.prod.logs]
            eks_cluster = "{CLUSTER}"
            requests_per_second = 50
            [clusters.prod.alb]
            {ALB[alb]}
            [clusters.prod.prometheus]
            url = "{urls["memory"]}"
            """
        )
        yield Servers(
            kube, logs, metrics, athena, weather, over_logs, config, urls, (config, kubernetes), monkeypatch
        )


def document(output: str) -> Any:
    """The JSON report on stdout."""
    return json.loads(output)
