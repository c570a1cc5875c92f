"""A Prometheus-compatible API for tests: answers by metric name, faults on demand, every request remembered."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Series = tuple[dict[str, str], list[tuple[float, float]]]


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str]


@dataclass
class PrometheusState:
    """``series`` by metric name; ``fault`` is a status number, slow, reset, junk, nested, huge, error or login."""

    series: dict[str, list[Series]] = field(default_factory=dict)
    fault: str | None = None
    faults_left: int = 1_000_000
    answers: dict[str, Any] = field(default_factory=dict)  # path under /api/v1 -> data
    numbers: dict[str, float | None] = field(
        default_factory=dict
    )  # text of an instant query -> its one value
    asked: list[Asked] = field(default_factory=list)

    def queries(self) -> list[str]:
        return [a.form["query"] for a in self.asked if "query" in a.form]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: PrometheusState

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

    def do_GET(self) -> None:
        self._serve(urlsplit(self.path).query)

    def _serve(self, text: str) -> None:
        form = {key: values[-1] for key, values in parse_qs(text).items()}
        path = urlsplit(self.path).path
        self.state.asked.append(Asked(self.command, path, dict(self.headers), form))
        if self.state.fault and self.state.faults_left > 0:
            self.state.faults_left -= 1
            self._misbehave(self.state.fault)
            return
        kind = path.rpartition("/api/v1/")[2]
        if kind in self.state.answers:
            self._json(200, {"status": "success", "data": self.state.answers[kind]})
        elif kind == "query_range":
            self._range(form)
        else:
            number = self.state.numbers.get(form.get("query", ""))
            result = [] if number is None else [{"metric": {}, "value": [time.time(), str(number)]}]
            self._json(200, {"status": "success", "data": {"resultType": "vector", "result": result}})

    def _range(self, form: dict[str, str]) -> None:
        start, end, step = float(form["start"]), float(form["end"]), float(form["step"])
        if (end - start) / step > 11_000:
            self._json(422, {"status": "error", "error": "exceeded maximum resolution of 11,000 points"})
            return
        names = re.findall(r'^(?:increase)?\(*([a-z_]+)\{|^\{"([a-z_]+)"', form["query"])
        found = self.state.series.get(names[0][0] or names[0][1], []) if names else []
        result = [
            {
                "metric": {"__name__": names[0][0], **labels} if names[0][0] else labels,
                "values": [[t, str(v)] for t, v in samples if start <= t <= end],
            }
            for labels, samples in found
        ]
        self._json(200, {"status": "success", "data": {"resultType": "matrix", "result": result}})

    def _misbehave(self, fault: str) -> None:
        if fault == "slow":
            time.sleep(3)
            self._json(200, {"status": "success", "data": {"resultType": "matrix", "result": []}})
        elif fault == "trickle":
            self._trickle()
        elif fault == "reset":
            self.close_connection = True
            self.connection.close()
        elif fault == "junk":
            self._raw(200, b"<html>sign in</html>")
        elif fault == "nested":
            self._raw(200, b"[" * 100_000)
        elif fault == "huge":
            self._raw(200, b" " * (65 << 20))
        elif fault == "error":
            self._json(200, {"status": "error", "errorType": "execution", "error": "query timed out"})
        elif fault == "login":
            self.send_response(302)
            self.send_header("Location", "https://login.example.com/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._json(int(fault), {"status": "error", "error": f"failed with {fault}"})

    def _trickle(self) -> None:
        """A byte now and then: no single wait is long."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(60):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.1)

    def _json(self, code: int, body: Any) -> None:
        self._raw(code, json.dumps(body).encode())

    def _raw(self, code: int, body: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


@contextlib.contextmanager
def prometheus_server(state: PrometheusState) -> Iterator[str]:
    """Serve ``state`` on a free loopback port; yields the base URL."""
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
