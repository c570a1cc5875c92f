"""Doubles for the service: Slack, Grafana and a webhook in one server, a configuration, a running service."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.fakes.kube import KubeState, kube_server, kubeconfig

DEMO = Path(str(files("oomscope").joinpath("data/demo")))
SECRETS = {
    "T_BEARER": "alert-token-1",
    "T_PAGES": "page-token-1",
    "T_SLACK": "xoxb-test-token",
    "T_GRAFANA": "glsa-test-token",
    "T_WEBHOOK": "webhook-secret-1",
}


@dataclass
class Outside:
    """What Slack and Grafana hold, and how they misbehave: ``fault`` of a service is a word, used ``left`` times."""

    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    annotations: dict[int, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    faults: dict[str, tuple[str, int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    poison: str = ""  # a message with this text is refused, every time
    slow_s: float = 2.0
    delay_s: float = 0.0

    def heads(self) -> list[dict[str, Any]]:
        return [m for m in self.messages.values() if not m.get("thread_ts")]

    def fault(self, service: str) -> str:
        word, left = self.faults.get(service, ("", 0))
        if left <= 0:
            return ""
        self.faults[service] = (word, left - 1)
        return word


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Outside

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def _serve(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        service = url.path.strip("/").split("/")[0]
        time.sleep(self.state.delay_s)
        with self.state.lock:
            self.state.calls.append((self.command, url.path))
            fault = self.state.fault(service)
        if fault == "slow":
            time.sleep(self.state.slow_s)
        elif fault == "429":
            return self._send(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "1"})
        elif fault == "500":
            return self._send(500, {"error": "oops"})
        elif fault == "html":
            return self._send(200, "<html>the proxy says hello</html>")
        elif fault == "redirect":
            return self._send(302, "", {"Location": "http://169.254.169.254/latest/meta-data"})
        elif fault == "reset":
            self.close_connection = True
            return self.connection.close()
        if self.state.poison and self.state.poison.encode() in body:
            answer = {"ok": False, "error": "invalid_blocks"}
            return self._send(200 if service == "slack" else 400, answer)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        with self.state.lock:
            answer = self._act(service, url.path, query, body)
        if fault == "did-but-500":
            return self._send(500, {"error": "after the fact"})
        if fault == "did-but-silent":
            self.close_connection = True
            return self.connection.close()
        if fault == "no-ts":
            answer = {"ok": True}
        return self._send(200, answer)

    def _act(self, service: str, path: str, query: dict[str, str], raw: bytes) -> Any:
        state, body = self.state, json.loads(raw) if raw else {}
        if service == "hook":
            state.events.append(
                {
                    **body,
                    "_key": self.headers["Idempotency-Key"],
                    "_signed": (self.headers["X-Oomscope-Timestamp"], self.headers["X-Oomscope-Signature"]),
                    "_raw": raw,
                }
            )
            return {}
        if service == "grafana":
            return self._grafana(path, query, body)
        method = path.rsplit("/", 1)[-1]
        if method == "chat.postMessage":
            ts = f"{time.time():.6f}"
            while ts in state.messages:
                ts = f"{float(ts) + 0.000001:.6f}"
            state.messages[ts] = {**body, "ts": ts, "edits": 0}
            return {"ok": True, "ts": ts}
        if method == "chat.update":
            if body["ts"] not in state.messages:
                return {"ok": False, "error": "message_not_found"}
            old = state.messages[body["ts"]]
            state.messages[body["ts"]] = {**old, **body, "edits": old["edits"] + 1}
            return {"ok": True, "ts": body["ts"]}
        oldest = float(query.get("oldest", 0))
        thread = query.get("ts")
        found = [
            m for m in state.messages.values() if float(m["ts"]) >= oldest and m.get("thread_ts") == thread
        ]
        return {"ok": True, "messages": found}

    def _grafana(self, path: str, query: dict[str, str], body: dict[str, Any]) -> Any:
        state = self.state
        if self.command == "GET":
            return [{"id": n, **a} for n, a in state.annotations.items() if query["tags"] in a["tags"]]
        if self.command == "PATCH":
            state.annotations[int(path.rsplit("/", 1)[-1])].update(body)
            return {"message": "Annotation patched"}
        number = len(state.annotations) + 1
        state.annotations[number] = body
        return {"message": "Annotation added", "id": number}

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""


@contextlib.contextmanager
def outside(state: Outside) -> Iterator[str]:
    """Serve ``state``; yields the base URL of ``/slack``, ``/grafana`` and ``/hook``."""
    handler = type("Handler", (_Handler,), {"state": state})
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def demo_cluster() -> KubeState:
    """The incident that ships with the package, as a cluster would tell it."""
    pods = json.loads((DEMO / "pods.json").read_text())["items"]
    events = json.loads((DEMO / "events.json").read_text())["items"]
    uids = {pod["metadata"]["name"]: pod["metadata"].get("uid") for pod in pods}
    for event in events:
        event["involvedObject"]["uid"] = uids.get(event["involvedObject"]["name"])
    return KubeState(pods=pods, events=events, logs=_demo_logs(pods))


def _demo_logs(pods: list[dict[str, Any]]) -> dict[tuple[str, str, bool], bytes]:
    """The application log as the kubelet still has it: of the running instance and of the one before."""
    lines: dict[str, list[str]] = {}
    for event in json.loads(gzip.decompress((DEMO / "cloudwatch.json.gz").read_bytes()))["events"]:
        message = json.loads(event["message"])
        lines.setdefault(message["kubernetes"]["docker_id"], []).append(
            f"{message['time']} {message['log']}\n"
        )
    logs = {}
    for pod in pods:
        for status in pod["status"]["containerStatuses"]:
            before = status["lastState"].get("terminated", {}).get("containerID", "")
            for previous, container_id in ((False, status["containerID"]), (True, before)):
                if found := lines.get(container_id.rpartition("/")[2]):
                    logs[(pod["metadata"]["name"], status["name"], previous)] = "".join(found).encode()
    return logs


def demo_alert() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEMO / "alert.json").read_text())
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def toml(
    folder: Path, base: str, *, kubeconfig_path: Path | None = None, port: int = 0, more: str = ""
) -> Path:
    """A configuration file with all destinations."""
    path = folder / "serve.toml"
    kube = f'kubernetes.kubeconfig = "{kubeconfig_path}"' if kubeconfig_path else ""
    path.write_text(
        f"""
deadline_s = 20
[clusters.test]
{kube}
[serve]
port = {port}
data_dir = "{folder / "data"}"
public_url = "http://127.0.0.1:{port}"
preliminary_after_s = 0
final_after_s = 0
retry_s = 0.2
lease_s = 3
http_timeout_s = 1.5
requests_per_second = 5000
{more}
[serve.alerts]
bearer_env = "T_BEARER"
[serve.pages]
token_env = "T_PAGES"
[serve.slack]
token_env = "T_SLACK"
channel = "C1"
api_url = "{base}/slack/api"
[serve.grafana]
url = "{base}/grafana"
token_env = "T_GRAFANA"
[serve.webhook]
url = "{base}/hook"
secret_env = "T_WEBHOOK"
"""
    )
    return path


@dataclass
class Service:
    """A service in its own process group, and how to talk to it."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def post(self, body: Any, **headers: str) -> httpx.Response:
        sent = {"Authorization": "Bearer alert-token-1", **headers}
        return httpx.post(f"{self.url}/api/v1/alerts", json=body, headers=sent, timeout=20)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, headers={"Authorization": "Bearer page-token-1"}, timeout=20)

    def kill(self) -> None:
        """kill -9, the worker too (or only the parent: then the worker ends by itself)."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def start(config: Path, port: int, *, env: dict[str, str] | None = None, wait_s: float = 30.0) -> Service:
    """Start the service and wait until it answers."""
    log = config.with_suffix(".log")
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", "from oomscope.cli import main; main()", "serve", "--config", str(config)],
            env={**os.environ, **SECRETS, **(env or {})},
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    service = Service(process, f"http://127.0.0.1:{port}", log)
    until(lambda: _answers(service), wait_s, f"the service did not start: {log.read_text()[-3000:]}")
    return service


def _answers(service: Service) -> bool:
    assert service.process.poll() is None, service.log.read_text()[-3000:]
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(service.url + "/healthz", timeout=2).status_code == 200
    return False


def children(pid: int) -> list[int]:
    """Processes started by any thread of that one."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in path.read_text().split()]
    return found


def gone(pid: int) -> bool:
    """Whether the process has ended, also when nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def until(condition: Any, seconds: float, problem: str = "") -> Any:
    """Wait for the condition; its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(problem or f"not within {seconds} s")


@contextlib.contextmanager
def running(
    folder: Path, state: Outside, cluster: KubeState | None = None, more: str = ""
) -> Iterator[Service]:
    """Doubles and a service on them."""
    port = free_port()
    with outside(state) as base, kube_server(cluster or demo_cluster()) as kube:
        config = toml(folder, base, kubeconfig_path=kubeconfig(folder, kube), port=port, more=more)
        service = start(config, port)
        try:
            yield service
        finally:
            service.kill()


# ------------------------------------------------------------------------------- the parts, without processes


def settings_of(folder: Path, **serve: Any) -> Any:
    """Settings with a bearer token and a page token; ``serve`` overrides the section."""
    from oomscope.config import Config
    from oomscope.serve.settings import resolve

    section = {
        "data_dir": str(folder / "data"),
        "alerts": {"bearer_env": "T_BEARER"},
        "pages": {"token_env": "T_PAGES"},
        "preliminary_after_s": 0,
        "final_after_s": 0,
        "retry_s": 0.01,
        "http_timeout_s": 1.0,
        **serve,
    }
    top = {name: section.pop(name) for name in ("clusters", "label_map", "deadline_s") if name in section}
    return resolve(Config.model_validate({"deadline_s": 20, **top, "serve": section}), SECRETS)


def told_outside(base: str) -> dict[str, Any]:
    """The part of ``serve`` that names the doubles."""
    return {
        "slack": {"token_env": "T_SLACK", "channel": "C1", "api_url": f"{base}/slack/api"},
        "grafana": {"url": f"{base}/grafana", "token_env": "T_GRAFANA"},
        "webhook": {"url": f"{base}/hook", "secret_env": "T_WEBHOOK"},
    }


def runtime_of(settings: Any, url: str | None = None) -> Any:
    """A runtime on a fresh database."""
    from oomscope.serve.bundles import open_bundles
    from oomscope.serve.runtime import Runtime
    from oomscope.serve.store import open_store

    store = open_store(url or settings.database_url)
    return Runtime(settings, store, open_bundles(settings), "test")


def accept(runtime: Any, *bodies: Any) -> None:
    """Store alerts as the API does."""
    from datetime import UTC, datetime

    from oomscope.serve import inbox, intake

    understood = [intake.understand(json.dumps(b).encode(), datetime.now(UTC)) for b in bodies]
    with runtime.store.write() as connection:
        inbox.store_alerts(runtime.store, connection, understood)


def drain(runtime: Any, seconds: float = 30.0, *, only: tuple[str, ...] | None = None) -> int:
    """Run every task that is or becomes due within a second, one after another; how many were run."""
    from oomscope.serve import queue
    from oomscope.serve.http import Caller
    from oomscope.serve.worker import lanes

    jobs = {kind: job for lane in lanes(runtime, Caller(1.0)) for kind, job in lane.jobs.items()}
    kinds = only or tuple(kind for kind in jobs if kind not in ("tidy", "watch"))
    done, idle, end = 0, 0, time.monotonic() + seconds
    while idle < 20 and time.monotonic() < end:
        task = queue.lease(runtime.store, kinds, "test", 30)
        if task is None:
            idle += 1
            time.sleep(0.05)
            continue
        idle, done = 0, done + 1
        jobs[task.kind](runtime, task)
    return done


def rows(runtime: Any, table: Any) -> list[Any]:
    """All rows of a table."""
    import sqlalchemy as sa

    with runtime.store.read() as connection:
        return list(connection.execute(sa.select(table)))
