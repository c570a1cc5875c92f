"""A storm: many alerts in a short time about fewer kills. Open loop: a request is sent at its time, answered or not."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.kube import kube_server, kubeconfig
from tests.serve_help import Outside, Service, children, free_port, outside, start, toml, until

from bench.serve.load import request
from bench.serve.pods import alert_for, cluster_of

PROBES_A_S = 25  # how often a second the probe and the control server are asked beside the storm


@dataclass
class StormResult:
    """Seconds and bytes. Memory is of the answering process and its workers together (PSS).

    ``probe_s`` is ``/healthz`` of the same process, ``control_s`` a server that does nothing, both in the same seconds.
    """

    alerts: int
    kills: int
    accepted: int = 0
    refused: int = 0
    accept_s: list[float] = field(default_factory=list)
    probe_s: list[float] = field(default_factory=list)
    control_s: list[float] = field(default_factory=list)
    span_s: float = 0.0
    settled_s: float = 0.0
    stored: int = 0
    kills_found: int = 0
    reports: int = 0
    stage_rows: int = 0
    peak_bytes: int = 0
    peak_api_bytes: int = 0
    threads: int = 0
    heads: int = 0


def quantile(seconds: list[float], share: float) -> float:
    """Of the time from request to answer, as the sender sees it."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def run(folder: Path, *, alerts: int, kills: int, seconds: float, settle_s: float) -> StormResult:
    """Send ``alerts`` in ``seconds``, then wait until every kill has its report."""
    cluster, state, result = cluster_of(kills), Outside(), StormResult(alerts, kills)
    port = free_port()
    with ExitStack() as stack:
        base = stack.enter_context(outside(state))
        kube = stack.enter_context(kube_server(cluster))
        more = "workers = 1\nkeep_days = 1\n"
        config = toml(folder, base, kubeconfig_path=kubeconfig(folder, kube), port=port, more=more)
        service = start(config, port, wait_s=60)
        stack.callback(service.kill)
        done = threading.Event()
        watcher = threading.Thread(target=_memory, args=(service.process.pid, result, done), daemon=True)
        watcher.start()
        bodies = [
            json.dumps(alert_for(pod, v)).encode() for v in range(-(-alerts // kills)) for pod in cluster.pods
        ]
        bodies = bodies[:alerts]
        random.Random(1).shuffle(bodies)
        _send(service, folder, bodies, seconds, result)
        _settle(service, kills, settle_s, result)
        done.set()
        watcher.join()
        result.heads = len(state.heads())
    _count(folder / "data" / "oomscope.db", result)
    return result


def _send(service: Service, folder: Path, bodies: list[bytes], seconds: float, result: StormResult) -> None:
    """From a process of its own, so that its work does not count as the service's."""
    path, port = folder / "plan.json", free_port()
    probes = [request("GET", "/healthz")] * int(PROBES_A_S * seconds)
    alerts = [request("POST", "/api/v1/alerts", body.decode()) for body in bodies]
    own = int(service.url.rpartition(":")[2])
    plan = {
        name: {"port": at, "span": seconds, "connections": connections, "requests": requests}
        for name, at, connections, requests in (
            ("alerts", own, 64, alerts), ("probe", own, 4, probes), ("control", port, 4, probes),
        )
    }  # fmt: skip
    path.write_text(json.dumps(plan))
    with subprocess.Popen([sys.executable, "-m", "bench.serve.control", str(port)]) as control:
        until(lambda: _listens(port), 20, "the control server did not start")
        command = [sys.executable, "-m", "bench.serve.load", str(path)]
        done = subprocess.run(command, check=True, capture_output=True, timeout=seconds * 10 + 60)
        control.kill()
    answer = json.loads(done.stdout)
    result.probe_s, result.control_s = answer["probe"]["seconds"], answer["control"]["seconds"]
    result.accept_s, result.span_s = answer["alerts"]["seconds"], answer["alerts"]["span"]
    result.accepted = answer["alerts"]["codes"].get("202", 0)
    result.refused = sum(answer["alerts"]["codes"].values()) - result.accepted


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _settle(service: Service, kills: int, settle_s: float, result: StormResult) -> None:
    began = time.monotonic()
    while time.monotonic() - began < settle_s:
        text = service.get("/metrics").text
        if (
            f'oomscope_kills{{state="final"}} {float(kills)}' in text
            and "oomscope_messages_behind{" not in text
        ):
            break
        time.sleep(1)
    result.settled_s = time.monotonic() - began


def _memory(pid: int, result: StormResult, done: threading.Event) -> None:
    while not done.wait(0.5):
        api = _pss(pid)
        total = api + sum(map(_pss, _below(pid)))
        result.peak_bytes = max(result.peak_bytes, total)
        result.peak_api_bytes = max(result.peak_api_bytes, api)


def _below(pid: int) -> list[int]:
    """The worker and its calculating process."""
    mine = children(pid)
    return mine + [one for child in mine for one in _below(child)]


def _pss(pid: int) -> int:
    """Proportional set size: memory shared between the two processes counts once."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _count(database: Path, result: StormResult) -> None:
    import sqlite3

    with sqlite3.connect(database) as db:
        one = lambda sql: int(db.execute(sql).fetchone()[0])  # noqa: E731
        result.stored = one("select count(*) from alerts where kill_id is not null")
        result.kills_found = one("select count(*) from kills")
        result.reports = one(
            "select count(*) from reports r join kills k on k.id = r.kill_id and k.state = 'final'"
        )
        result.stage_rows = one("select count(*) from stages where name = 'final'")
        result.threads = one("select count(*) from threads")
