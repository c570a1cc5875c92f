"""A real Prometheus scrapes a replayed OOM kill, and a real Alertmanager tells of it."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from oomscope.alerts import parse_alert
from oomscope.config import Cluster
from oomscope.doctor_prometheus import check_prometheus
from oomscope.facts import Target, Window
from oomscope.kills_series import from_prometheus
from oomscope.sources.interface import Context, Fragment
from oomscope.sources.prometheus import PrometheusSource
from tests.real.exporter import LIMIT, NEW, OLD, OTHER, POD, REPLAY, Replay, exporter

pytestmark = pytest.mark.realserver
TARGET = Target(namespace="shop", pod=POD)


@dataclass
class Running:
    url: str
    replay: Replay
    received: list[bytes] = field(default_factory=list)

    def window(self) -> Window:
        """From before the first scrape to now."""
        assert self.replay.began is not None
        start = datetime.fromtimestamp(self.replay.began, UTC) - timedelta(seconds=2)
        return Window(start, datetime.now(UTC))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, ready: Callable[[], bool], seconds: float = 40.0) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, f"no {what} after {seconds} s"
        time.sleep(0.2)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def receiver(into: list[bytes]) -> Iterator[int]:
    """Keeps every body that is posted to it."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Silence."""

        def do_POST(self) -> None:
            into.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def process(*command: str, folder: Path) -> Iterator[None]:
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            yield
        finally:
            running.terminate()
            running.wait(timeout=20)


def configure(folder: Path, scraped: int, alerting: int, hook: int) -> None:
    (folder / "prometheus.yml").write_text(
        f"""
global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}}
rule_files: [rules.yml]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{alerting}']}}]}}]}}
scrape_configs:
- job_name: kubelet
  metrics_path: /cadvisor
  honor_labels: true
  static_configs: [{{targets: ['127.0.0.1:{scraped}']}}]
- job_name: kube-state-metrics
  metrics_path: /state
  static_configs: [{{targets: ['127.0.0.1:{scraped}'], labels: {{namespace: monitoring, pod: ksm-0, container: ksm}}}}]
"""
    )
    (folder / "rules.yml").write_text(
        """
groups:
- name: restarts
  rules:
  - alert: ContainerRestarts
    expr: changes(kube_pod_container_status_restarts_total[1m]) > 0
    annotations: {summary: "restarted"}
"""
    )
    (folder / "alertmanager.yml").write_text(
        f"""
route: {{receiver: hook, group_wait: 0s, group_interval: 1s}}
receivers: [{{name: hook, webhook_configs: [{{url: 'http://127.0.0.1:{hook}/'}}]}}]
"""
    )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    for program in ("prometheus", "prometheus-alertmanager"):
        if shutil.which(program) is None:
            text = f"NOT RUN: {program} is not installed (sh tests/real/install.sh)"
            warnings.warn(text, stacklevel=1)
            pytest.skip(text)
    folder, received, replay = tmp_path_factory.mktemp("prometheus"), list[bytes](), Replay()
    port, alerting = free_port(), free_port()
    with exporter(replay) as scraped, receiver(received) as hook:
        configure(folder, scraped, alerting, hook)
        alertmanager = process(
            "prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alerts",
            f"--web.listen-address=127.0.0.1:{alerting}", "--cluster.listen-address=", folder=folder,
        )  # fmt: skip
        prometheus = process(
            "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
            "--storage.tsdb.retention.time=15d", f"--web.listen-address=127.0.0.1:{port}", folder=folder,
        )  # fmt: skip
        with alertmanager:
            wait_for("Alertmanager", lambda: answers(f"http://127.0.0.1:{alerting}/-/ready"))
            with prometheus:
                url = f"http://127.0.0.1:{port}"
                wait_for("Prometheus", lambda: answers(f"{url}/-/ready"))
                wait_for("scrape", lambda: replay.began is not None)
                wait_for("end of the replay", lambda: replay.elapsed() > len(REPLAY) * 0.5 + 4)
                yield Running(url, replay, received)


@pytest.fixture(scope="module")
def collected(running: Running) -> Fragment:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oomscope.sources.prometheus.MIN_STEP_S", 1)
        return PrometheusSource(running.url).collect(TARGET, running.window(), Context())


def test_memory_of_the_dead_instance_and_of_its_successor(running: Running, collected: Fragment) -> None:
    assert collected.gaps == []
    memory = collected.memory
    assert memory is not None
    assert set(memory["pod"]) == {POD}
    assert set(memory["limit_bytes"]) == {LIMIT}
    killed = datetime.fromtimestamp(running.replay.killed_at, UTC)
    dead = memory.filter(memory["container_id"] == OLD)
    # On a busy machine a scrape may miss some steps, the last one too; it never makes one up.
    assert set(dead["working_set_bytes"]) <= {step * 2**20 for step in REPLAY}
    # The last value was exported, and by Prometheus repeated, for seconds after the kill.
    assert dead["at"].max() <= killed + timedelta(seconds=1.5)
    alive = memory.filter(memory["container_id"] == NEW)
    assert set(alive["working_set_bytes"]) == {90 * 2**20}
    assert dead["rss_bytes"].null_count() == 0


def test_states_are_found_under_exported_labels(running: Running, collected: Fragment) -> None:
    told = {(p.metric, p.value) for p in collected.series if p.pod == POD and p.container == "rails"}
    assert ("last_terminated_exitcode", 137.0) in told
    assert ("last_terminated_timestamp", float(int(running.replay.killed_at))) in told
    assert {("restarts", 0.0), ("restarts", 1.0)} <= told
    assert {p.reason for p in collected.series if p.metric == "last_terminated_reason"} == {"OOMKilled"}
    assert not [p for p in collected.series if p.pod == "ksm-0"]


@pytest.mark.parametrize("namespace", [None, "shop"])
def test_kills_it_remembers(running: Running, monkeypatch: pytest.MonkeyPatch, namespace: str | None) -> None:
    monkeypatch.setattr("oomscope.kills_series.STEP_S", 1)
    cluster = Cluster.model_validate({"prometheus": {"url": running.url}})
    found = from_prometheus(cluster, running.window(), namespace, Context())
    assert [(k.namespace, k.pod, k.container, k.kind, k.exit_code) for k in found] == [
        ("shop", POD, "rails", "oom", 137),
        ("shop", OTHER, "sidekiq", "child", None),
    ]
    assert found[0].at == datetime.fromtimestamp(int(running.replay.killed_at), UTC)
    assert from_prometheus(cluster, running.window(), "elsewhere", Context()) == []


@pytest.mark.parametrize("labels", [{}, {"job": "nothing"}, {"job": 'x"} or vector(1) #'}])
def test_doctor(running: Running, labels: dict[str, str]) -> None:
    settings = {"prometheus": {"url": running.url, "labels": labels}}
    rows = check_prometheus(Cluster.model_validate(settings), datetime.now(UTC), Context())
    if labels:
        assert {row.status for row in rows} == {"missing"}
    else:
        assert {row.source: row.status for row in rows} == {"prometheus": "ok", "restarts": "ok"}
        assert "kept 15d" in rows[0].detail


def test_a_query_it_refuses_is_a_gap(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oomscope.sources.prometheus.MAX_POINTS", 10**9)
    monkeypatch.setattr("oomscope.sources.prometheus.MIN_STEP_S", 1)
    window = Window(datetime.now(UTC) - timedelta(days=1), datetime.now(UTC))
    found = PrometheusSource(running.url).collect(TARGET, window, Context())
    assert [(g.source, g.reason) for g in found.gaps] == [("memory", "unparsable")]
    assert "11,000 points" in found.gaps[0].detail


def test_alertmanagers_webhook_names_the_pod(running: Running) -> None:
    wait_for("alert", lambda: bool(running.received))
    body = json.loads(running.received[0])
    assert body["version"] == "4"
    intake = parse_alert(body)
    assert intake.kind == "alertmanager"
    target = intake.targets[0].target
    assert (target.namespace, target.pod, target.container) == ("shop", POD, "rails")
