"""A real Alertmanager tells the service of a kill; a real Chromium reads the report through a reverse proxy."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import chromium
from tests.fakes.kube import kube_server, kubeconfig
from tests.serve_help import Outside, demo_alert, demo_cluster, free_port, outside, start, toml, until

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.realserver,
    pytest.mark.skipif(not (ALERTMANAGER and CHROMIUM), reason="Alertmanager or Chromium is not installed"),
]


@contextlib.contextmanager
def alertmanager(folder: Path, target: str) -> Iterator[str]:
    """Alertmanager with the service as its only receiver."""
    port = free_port()
    (folder / "am.yml").write_text(
        f"""
route: {{receiver: oomscope, group_by: [namespace, pod], group_wait: 0s, group_interval: 1s, repeat_interval: 1s}}
receivers:
- name: oomscope
  webhook_configs:
  - url: {target}/api/v1/alerts
    http_config: {{authorization: {{credentials: alert-token-1}}}}
"""
    )
    command = [
        str(ALERTMANAGER), f"--config.file={folder / 'am.yml'}", f"--storage.path={folder / 'am'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _ready(url), 20, "Alertmanager did not start")
        yield url
    finally:
        process.terminate()
        process.wait()


def _ready(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/-/ready", timeout=2).status_code == 200
    return False


class _Proxy(BaseHTTPRequestHandler):
    """A reverse proxy that has logged somebody in; passes streams through as they come."""

    target: str
    scripts = True

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        upstream = http.client.HTTPConnection(self.target, timeout=60)
        upstream.request(
            "GET", self.path, headers={"X-User": "alice", "Accept": self.headers.get("Accept", "*/*")}
        )
        answer = upstream.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        if not self.scripts:
            self.send_header("Content-Security-Policy", "script-src 'none'")
        self.end_headers()
        with contextlib.suppress(OSError):
            while part := answer.read1(1 << 16):
                self.wfile.write(part)
                self.wfile.flush()


@contextlib.contextmanager
def proxy(target: str, *, scripts: bool = True) -> Iterator[str]:
    handler = type("Proxy", (_Proxy,), {"target": target, "scripts": scripts})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def browse(folder: Path, url: str, *flags: str) -> tuple[str, str]:
    """The document as Chromium has it after loading, and what it complained about."""
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'chromium'}", "--enable-logging=stderr", "--virtual-time-budget=4000", *flags,
        "--dump-dom", url,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def test_from_alertmanager_to_the_browser(tmp_path: Path) -> None:
    state, port = Outside(), free_port()
    with contextlib.ExitStack() as stack:
        base = stack.enter_context(outside(state))
        kube = stack.enter_context(kube_server(demo_cluster()))
        config = toml(tmp_path, base, kubeconfig_path=kubeconfig(tmp_path, kube), port=port)
        login = 'token_env = "T_PAGES"\nuser_header = "X-User"\ntrusted_proxies = ["127.0.0.1/32"]\n'
        config.write_text(config.read_text().replace('token_env = "T_PAGES"\n', login))
        service = start(config, port, wait_s=60)
        stack.callback(service.kill)
        sender = stack.enter_context(alertmanager(tmp_path, service.url))
        _fire(sender)
        until(lambda: "/kills/" in service.get("/?state=final").text, 60, service.log.read_text())
        front = stack.enter_context(proxy(f"127.0.0.1:{port}"))
        link = _read_pages(tmp_path, front)
        _fits_a_phone(tmp_path, front, link)
        plain = stack.enter_context(proxy(f"127.0.0.1:{port}", scripts=False))
        _read_without_scripts(tmp_path, front + link, plain + link)
        until(lambda: len(state.heads()) == 1 and len(state.messages) == 2, 20)
        assert "shop-web" in json.dumps(state.heads()[0])
        assert 'oomscope_alerts{state="joined"} 1.0' in service.get("/metrics").text  # told again and again


def _fire(sender: str) -> None:
    alert = demo_alert()["alerts"][0]
    starts = datetime.fromisoformat(alert["startsAt"])
    body = [{
        "labels": alert["labels"], "annotations": alert["annotations"], "startsAt": starts.isoformat(),
        "endsAt": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
    }]  # fmt: skip
    assert httpx.post(f"{sender}/api/v2/alerts", json=body, timeout=10).status_code == 200


def _read_pages(folder: Path, front: str) -> str:
    listed, complaints = browse(folder, f"{front}/")
    assert complaints == ""
    link = re.search(r"/kills/[0-9a-f]{16}", listed)
    assert link
    page, complaints = browse(folder, front + link[0])
    assert "Refused" not in complaints
    assert "Content Security Policy" not in complaints
    assert "os-bar" in page
    assert "shop-web" in page
    workload, complaints = browse(folder, f"{front}/workloads/production/shop-web")
    assert complaints == ""
    assert "Expected by chance" in workload
    return link[0]


def _fits_a_phone(folder: Path, front: str, link: str) -> None:
    """Nothing runs out of the window, and no column of the list is squeezed to a letter's width."""
    with chromium.browser(folder / "phone") as page:
        for path in ("/", "/workloads/production/shop-web", "/threads/1", link, "/nowhere"):
            page.open(front + path, width=390, dark=True)
            assert page.run("document.documentElement.scrollWidth") <= 390, path
        page.open(front + "/", width=390, dark=False)
        widths = "[...document.querySelectorAll('.os-kills td')].map(td => td.offsetWidth).filter(w => w > 0)"
        assert page.run(f"Math.min(...{widths})") > 30


def _read_without_scripts(folder: Path, usual: str, plain: str) -> None:
    """The page looks much the same when none of its scripts may run."""
    sizes = []
    for name, url in (("usual", usual), ("plain", plain)):
        picture = folder / f"{name}.png"
        browse(folder, url, f"--screenshot={picture}", "--window-size=1200,1600")
        sizes.append(picture.stat().st_size)
    assert sizes[1] > sizes[0] / 2 > 10_000
