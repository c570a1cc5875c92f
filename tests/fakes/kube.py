"""A small Kubernetes API server for tests: recorded shapes, paging, selectors, Status errors, faults on demand."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class KubeState:
    """What the server holds, and how it misbehaves: ``faults`` maps a path prefix to a fault."""

    pods: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    nodes: list[dict[str, Any]] = field(default_factory=list)
    owners: dict[str, dict[str, Any]] = field(default_factory=dict)  # path -> object
    logs: dict[tuple[str, str, bool], bytes] = field(default_factory=dict)  # (pod, container, previous)
    token: str = "good"
    faults: dict[str, str] = field(
        default_factory=dict
    )  # prefix -> "403" | "500" | "slow" | "reset" | "junk" ...
    requests: list[str] = field(default_factory=list)
    page: int = 500
    slow_s: float = 3.0


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def _matches(event: dict[str, Any], selector: str) -> bool:
    for term in filter(None, selector.split(",")):
        key, _, wanted = term.partition("=")
        node: Any = event
        for part in key.split("."):
            node = (node or {}).get(part)
        if str(node or "") != wanted:
            return False
    return True


def _labelled(pod: dict[str, Any], selector: str) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return all(
        labels.get(k) == v for k, _, v in (t.partition("=") for t in filter(None, selector.split(",")))
    )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: KubeState

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        self.state.requests.append(self.path)
        fault = next((f for prefix, f in self.state.faults.items() if url.path.startswith(prefix)), None)
        if fault and self._misbehave(fault):
            return
        if self.headers.get("Authorization") != f"Bearer {self.state.token}":
            self._send(401, _status(401, "Unauthorized", "Unauthorized"))
            return
        self._route(url.path.strip("/").split("/"), query)

    def _misbehave(self, fault: str) -> bool:
        if fault == "slow":
            time.sleep(self.state.slow_s)
            return False
        if fault == "reset":
            self.close_connection = True
            self.connection.close()
        elif fault == "junk":
            self._raw(200, b"<html>proxy says no</html>", "text/html")
        elif fault == "nested":
            self._raw(200, b"[" * 100_000, "application/json")
        else:
            code = int(fault)
            reason = {403: "Forbidden", 404: "NotFound", 410: "Expired", 429: "TooManyRequests"}.get(
                code, "InternalError"
            )
            self._send(
                code, _status(code, reason, f'pods is forbidden: User "x" cannot list resource ({code})')
            )
        return True

    def _route(self, parts: list[str], query: dict[str, str]) -> None:
        match parts:
            case ["version"]:
                self._send(200, {"major": "1", "minor": "33", "gitVersion": "v1.33.1"})
            case ["api", "v1", "pods"]:
                self._page(
                    [p for p in self.state.pods if _labelled(p, query.get("labelSelector", ""))], query
                )
            case ["api", "v1", "namespaces", ns, "pods"]:
                chosen = [p for p in self.state.pods if p["metadata"]["namespace"] == ns]
                self._page([p for p in chosen if _labelled(p, query.get("labelSelector", ""))], query)
            case ["api", "v1", "namespaces", ns, "pods", name]:
                self._one(
                    [
                        p
                        for p in self.state.pods
                        if (p["metadata"]["namespace"], p["metadata"]["name"]) == (ns, name)
                    ]
                )
            case ["api", "v1", "namespaces", _ns, "pods", name, "log"]:
                self._log(name, query)
            case ["api", "v1", "namespaces", ns, "events"]:
                chosen = [e for e in self.state.events if e["metadata"].get("namespace", ns) == ns]
                self._page([e for e in chosen if _matches(e, query.get("fieldSelector", ""))], query)
            case ["api", "v1", "nodes", name]:
                self._one([n for n in self.state.nodes if n["metadata"]["name"] == name])
            case _:
                self._one([self.state.owners[p] for p in ["/".join(parts)] if p in self.state.owners])

    def _log(self, pod: str, query: dict[str, str]) -> None:
        key = (pod, query.get("container", ""), query.get("previous") == "true")
        if key not in self.state.logs:
            message = f'previous terminated container "{key[1]}" in pod "{pod}" not found'
            self._send(400, _status(400, "BadRequest", message))
            return
        self._raw(200, self.state.logs[key][: int(query.get("limitBytes", 1 << 40))], "text/plain")

    def _one(self, found: list[dict[str, Any]]) -> None:
        self._send(*((200, found[0]) if found else (404, _status(404, "NotFound", "not found"))))

    def _page(self, items: list[dict[str, Any]], query: dict[str, str]) -> None:
        size = min(int(query.get("limit", 500)), self.state.page)
        start = int(query.get("continue", 0))
        rest = start + size < len(items)
        metadata = {"continue": str(start + size)} if rest else {}
        self._send(
            200,
            {"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items[start : start + size]},
        )

    def _send(self, code: int, body: dict[str, Any]) -> None:
        self._raw(code, json.dumps(body).encode(), "application/json")

    def _raw(self, code: int, body: bytes, kind: str) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


@contextlib.contextmanager
def kube_server(state: KubeState) -> Iterator[str]:
    """Serve ``state`` on a free loopback port; yields the URL."""
    handler = type("Handler", (_Handler,), {"state": state})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def kubeconfig(folder: Path, url: str, token: str = "good", **cluster: Any) -> Path:
    """Write a kubeconfig for the server."""
    import yaml

    path = folder / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [{"name": "c", "cluster": {"server": url, **cluster}}],
                "users": [{"name": "u", "user": {"token": token}}],
                "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
            }
        )
    )
    return path
