"""``kill -9`` at random moments: afterwards every accepted alert has one report, and Slack one thread a thread."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from tests.fakes.kube import kube_server, kubeconfig
from tests.serve_help import Outside, Service, free_port, outside, start, toml, until

from bench.serve.pods import alert_for, cluster_of


@dataclass
class CrashResult:
    """``lost`` and ``doubled`` must be empty."""

    crashes: int = 0
    accepted: int = 0
    kills: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    seconds: float = 0.0
    moments: Counter[str] = field(default_factory=Counter)


def run(folder: Path, *, crashes: int, seed: int = 1, longest_s: float = 2.5) -> CrashResult:
    """Crash so often, with new alerts all along; then let it finish and look at what came out."""
    dice, began = random.Random(seed), time.monotonic()
    cluster, state, result = (
        cluster_of(max(12, 2 * crashes), workloads=7),
        Outside(delay_s=0.02),
        CrashResult(),
    )
    port = free_port()
    with ExitStack() as stack:
        base = stack.enter_context(outside(state))
        kube = stack.enter_context(kube_server(cluster))
        config = toml(folder, base, kubeconfig_path=kubeconfig(folder, kube), port=port)
        accepted: dict[str, str] = {}
        waiting = list(cluster.pods)
        for _ in range(crashes):
            before = _lives(config)
            service = start(config, port, wait_s=90)
            if dice.random() < 0.85:  # mostly the life is counted from when there is a worker
                until(lambda b=before: _lives(config) > b, 20, "no worker")
            _live(service, dice, waiting, accepted, longest_s)
            result.moments[_moment(folder)] += 1
            service.kill()
            result.crashes += 1
        service = start(config, port, wait_s=90)
        stack.callback(service.kill)
        for pod in waiting[:4]:
            _post(service, pod, accepted)
        _finish(service, 120 + 4 * crashes)
    _judge(folder / "data" / "oomscope.db", state, accepted, result)
    result.seconds = time.monotonic() - began
    return result


def _live(
    service: Service,
    dice: random.Random,
    waiting: list[dict[str, object]],
    accepted: dict[str, str],
    longest_s: float,
) -> None:
    """A short life: an alert or two, then some time, however little."""
    end = time.monotonic() + dice.uniform(0.0, longest_s)
    for _ in range(dice.choice((1, 1, 2))):
        if waiting:
            _post(service, waiting.pop(), accepted)
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))


def _lives(config: Path) -> int:
    """How many workers have taken up work so far."""
    log = config.with_suffix(".log")
    return log.read_text().count("is ready") if log.exists() else 0


def _post(service: Service, pod: dict[str, object], accepted: dict[str, str]) -> None:
    body = alert_for(pod)
    with contextlib.suppress(httpx.HTTPError):
        if service.post(body).status_code == 202:
            alert = body["alerts"][0]
            accepted[alert["fingerprint"]] = alert["labels"]["pod"]


def _moment(folder: Path) -> str:
    """What was in work when it was killed, for the record."""
    with sqlite3.connect(folder / "data" / "oomscope.db", timeout=10) as db:
        kinds = [row[0] for row in db.execute("select kind from tasks where token is not null order by kind")]
    return " ".join(sorted(set(kinds))) or "idle"


def _finish(service: Service, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        text = service.get("/metrics").text
        busy = ('state="open"', 'state="looking"', "oomscope_messages_behind{", 'kind="notify')
        if not any(word in text for word in busy) and 'oomscope_kills{state="final"}' in text:
            return
        time.sleep(0.5)


def _judge(database: Path, state: Outside, accepted: dict[str, str], result: CrashResult) -> None:
    with sqlite3.connect(database) as db:
        reported = Counter(
            row[0]
            for row in db.execute(
                "select k.pod from kills k join reports r on r.kill_id = k.id and k.state = 'final'"
            )
        )
        heads_wanted = int(db.execute("select count(*) from threads").fetchone()[0])
        unfinished = db.execute("select destination, key from messages where wanted > sent").fetchall()
        joined = int(db.execute("select count(*) from alerts where kill_id is not null").fetchone()[0])
    result.accepted, result.kills = len(accepted), sum(reported.values())
    result.lost = [f"no report for {pod}" for pod in accepted.values() if not reported[pod]]
    result.lost += [f"{name} was not told {key}" for name, key in unfinished]
    if joined < len(accepted):
        result.lost.append(f"{len(accepted) - joined} alerts without a kill")
    result.doubled = [f"{count} reports for {pod}" for pod, count in reported.items() if count > 1]
    marks = Counter(m["metadata"]["event_payload"]["mark"] for m in state.messages.values())
    result.doubled += [f"{count} Slack messages {mark}" for mark, count in marks.items() if count > 1]
    if len(state.heads()) != heads_wanted:
        result.doubled.append(f"{len(state.heads())} Slack threads instead of {heads_wanted}")
    tags = Counter(
        next(t for t in a["tags"] if t.startswith("oomscope:")) for a in state.annotations.values()
    )
    result.doubled += [f"{count} annotations {tag}" for tag, count in tags.items() if count > 1]
