"""A small exporter that replays a container's memory until its OOM kill and beyond, as a kubelet and
kube-state-metrics would tell it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SLICE = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f8e5c1e_6f0a_4d1c_9a52_4d1f0f2b7a11.slice"
OLD, NEW, WORKER = "d" * 64, "e" * 64, "f" * 64
POD, OTHER = "web-7c9d5b7c6f-x2x9k", "jobs-5d8f7c6b5d-abcde"
LIMIT = 512 * 2**20
# MiB of working set, one value a step, from start to kill; made by hand: a slow climb and one steep request.
REPLAY = (180, 184, 187, 191, 193, 198, 240, 330, 440, 505)
STEP_S = 0.5
FROZEN_S = 2.0  # how long the kubelet goes on exporting the dead container's last value


@dataclass
class Replay:
    """Starts with the first scrape, so that no step is missed."""

    began: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def elapsed(self) -> float:
        with self.lock:
            self.began = self.began or time.time()
            return time.time() - self.began

    @property
    def killed_at(self) -> float:
        assert self.began is not None
        return self.began + len(REPLAY) * STEP_S

    def cadvisor(self) -> str:
        elapsed, kill = self.elapsed(), len(REPLAY) * STEP_S
        lines = []
        if elapsed < kill + FROZEN_S:
            size = REPLAY[min(int(elapsed / STEP_S), len(REPLAY) - 1)] * 2**20
            seen = min(time.time(), self.killed_at)
            lines += self._container(POD, "rails", OLD, size, seen)
        if elapsed > kill + 0.5:
            lines += self._container(POD, "rails", NEW, 90 * 2**20, time.time())
        lines += self._container(OTHER, "sidekiq", WORKER, 200 * 2**20, time.time())
        who = f'namespace="shop",pod="{OTHER}",container="sidekiq"'
        lines.append(f"container_oom_events_total{{{who}}} {1 if elapsed > kill else 0}")
        return "\n".join(lines) + "\n"

    def _container(self, pod: str, name: str, number: str, size: int, seen: float) -> list[str]:
        who = f'namespace="shop",pod="{pod}",container="{name}",id="{SLICE}/cri-containerd-{number}.scope"'
        return [
            f"container_memory_working_set_bytes{{{who}}} {size}",
            f"container_memory_rss{{{who}}} {int(size * 0.9)}",
            f"container_spec_memory_limit_bytes{{{who}}} {LIMIT}",
            f"container_last_seen{{{who}}} {seen}",
        ]

    def state(self) -> str:
        dead = self.elapsed() > len(REPLAY) * STEP_S + 0.5
        who = f'namespace="shop",pod="{POD}",container="rails",uid="0f8e5c1e-6f0a-4d1c-9a52-4d1f0f2b7a11"'
        lines = [
            f'kube_pod_container_resource_limits{{{who},resource="memory",unit="byte"}} {LIMIT}',
            f"kube_pod_container_status_restarts_total{{{who}}} {int(dead)}",
        ]
        if dead:
            name = "kube_pod_container_status_last_terminated"
            lines += [
                f'{name}_reason{{{who},reason="OOMKilled"}} 1',
                f"{name}_exitcode{{{who}}} 137",
                f"{name}_timestamp{{{who}}} {int(self.killed_at)}",
            ]
        return "\n".join(lines) + "\n"


@contextlib.contextmanager
def exporter(replay: Replay) -> Iterator[int]:
    """Serve /cadvisor and /state on a free loopback port; yields the port."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Silence."""

        def do_GET(self) -> None:
            body = (replay.cadvisor() if self.path == "/cadvisor" else replay.state()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
