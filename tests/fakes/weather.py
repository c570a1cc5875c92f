"""A server in front of another one, such as moto's, that can deny everything, take its time, be busy, or lie."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@dataclass
class Weather:
    """``delay_s`` is waited before every answer. ``busy``: 429, as a proxy says it. ``lies``: 200 and nonsense."""

    denied: bool = False
    busy: bool = False
    lies: bool = False
    delay_s: float = 0.0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    weather: Weather
    behind: str

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        time.sleep(self.weather.delay_s)
        if self.weather.denied:
            self._send(403, DENIED, {"Content-Type": "application/xml"})
            return
        if self.weather.busy:
            self._send(429, b"Too Many Requests", {"Content-Type": "text/plain", "Retry-After": "1"})
            return
        if self.weather.lies:
            self._send(200, b'{"events": "\xff\x00", "data": [[[', {"Content-Type": "application/json"})
            return
        connection = http.client.HTTPConnection(self.behind, timeout=60)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        kept = {k: v for k, v in answer.getheaders() if k.lower() not in ("content-length", "connection")}
        self._send(answer.status, answer.read(), kept)

    do_PUT = do_POST = do_HEAD = do_DELETE = do_GET

    def _send(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)


@contextlib.contextmanager
def in_front_of(url: str, weather: Weather) -> Iterator[str]:
    """Pass everything on to ``url`` as the weather allows; yields the address to use instead."""
    handler = type("Handler", (_Handler,), {"weather": weather, "behind": urlsplit(url).netloc})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def nobody() -> str:
    """An address of this machine where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
