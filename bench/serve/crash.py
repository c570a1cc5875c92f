"""``kill -9`` at random moments: afterwards every accepted alert has one report, and Slack one thread a thread.

On SQLite the whole service is killed, on PostgreSQL one of two replicas, with the database restarted now and then.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import sqlalchemy as sa
from tests.fakes.kube import KubeState, kube_server, kubeconfig
from tests.real.serve_postgres import Postgres, postgres
from tests.serve_help import Outside, Service, free_port, outside, start, toml, until

from bench.serve.pods import alert_for, cluster_of

RESTARTS = 0.25  # share of the moments at which PostgreSQL is stopped and started as well
Pods = list[dict[str, object]]


@dataclass
class CrashResult:
    """``lost`` and ``doubled`` must be empty."""

    crashes: int = 0
    restarts: int = 0
    accepted: int = 0
    kills: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    seconds: float = 0.0
    moments: Counter[str] = field(default_factory=Counter)


def run(folder: Path, *, crashes: int, seed: int = 1, longest_s: float = 2.5) -> CrashResult:
    """Crash so often, with new alerts all along; then let it finish and look at what came out."""
    dice, began, result, state = random.Random(seed), time.monotonic(), CrashResult(), Outside(delay_s=0.02)
    cluster, port = _cluster(crashes), free_port()
    with ExitStack() as stack:
        config = _configured(stack, folder, cluster, state, port)
        database = f"sqlite:///{folder / 'data' / 'oomscope.db'}"
        accepted: dict[str, str] = {}
        waiting = list(cluster.pods)
        for _ in range(crashes):
            before = _lives(config)
            service = start(config, port, wait_s=90)
            if dice.random() < 0.85:  # mostly the life is counted from when there is a worker
                until(lambda b=before: _lives(config) > b, 40, "no worker")
            _live(service, dice, waiting, accepted, longest_s)
            result.moments[_moment(database)] += 1
            service.kill()
            result.crashes += 1
        service = start(config, port, wait_s=90)
        stack.callback(service.kill)
        for pod in waiting[:4]:
            _post(service, pod, accepted)
        _finish(service, 120 + 4 * crashes)
    _judge(database, state, accepted, result)
    result.seconds = time.monotonic() - began
    return result


def run_replicas(folder: Path, *, crashes: int, seed: int = 1, longest_s: float = 2.5) -> CrashResult:
    """The same with two replicas on PostgreSQL: one is killed, the other goes on, the database stops under both."""
    dice, began, result, state = random.Random(seed), time.monotonic(), CrashResult(), Outside(delay_s=0.02)
    cluster, ports = _cluster(crashes), (free_port(), free_port())
    accepted: dict[str, str] = {}
    waiting = list(cluster.pods)
    with ExitStack() as stack:
        server = stack.enter_context(postgres())
        env = {"OOMSCOPE_DATABASE_URL": server.url}
        configs = [_configured(stack, folder / str(n), cluster, state, port) for n, port in enumerate(ports)]
        for config in configs:  # evidence is shared, as in a bucket
            config.write_text(config.read_text().replace(str(config.parent / "data"), str(folder / "shared")))
        replicas = [start(c, p, env=env, wait_s=90) for c, p in zip(configs, ports, strict=True)]
        stack.callback(lambda: [one.kill() for one in replicas])
        for _ in range(crashes):
            victim = dice.randrange(2)
            _live(replicas[1 - victim], dice, waiting, accepted, longest_s)
            result.moments[_moment(server.url)] += 1
            if dice.random() < RESTARTS:
                _restart(server, dice)
                result.restarts += 1
            replicas[victim].kill()
            result.crashes += 1
            replicas[victim] = start(configs[victim], ports[victim], env=env, wait_s=90)
        for pod in waiting[:4]:
            _post(replicas[0], pod, accepted)
        _finish(replicas[1], 120 + 4 * crashes)
        _judge(server.url, state, accepted, result)
    result.seconds = time.monotonic() - began
    return result


def _cluster(crashes: int) -> KubeState:
    return cluster_of(max(12, 2 * crashes), workloads=7)


def _configured(stack: ExitStack, folder: Path, cluster: KubeState, state: Outside, port: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    base = stack.enter_context(outside(state))
    kube = stack.enter_context(kube_server(cluster))
    return toml(folder, base, kubeconfig_path=kubeconfig(folder, kube), port=port)


def _restart(server: Postgres, dice: random.Random) -> None:
    server.stop(dice.choice(("fast", "immediate")))
    time.sleep(dice.uniform(0.0, 1.5))
    server.start()


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


def _moment(database: str) -> str:
    """What was in work when it was killed, for the record."""
    kinds = _rows(database, "select distinct kind from tasks where token is not null order by kind")
    return " ".join(row[0] for row in kinds) or "idle"


def _rows(database: str, sql: str) -> list[tuple[object, ...]]:
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(sql))]


def _finish(service: Service, seconds: float) -> None:
    """Wait until all is done, or nothing has moved for so long: on a busy machine slow is not lost."""
    end, before = time.monotonic() + seconds, ""
    while time.monotonic() < end:
        text = service.get("/metrics").text
        busy = ('state="open"', 'state="looking"', "oomscope_messages_behind{", 'kind="notify')
        if not any(word in text for word in busy) and 'oomscope_kills{state="final"}' in text:
            return
        state = "".join(line for line in text.splitlines() if line.startswith("oomscope_kills{"))
        if state != before:
            end, before = time.monotonic() + seconds, state
        time.sleep(0.5)


def _judge(database: str, state: Outside, accepted: dict[str, str], result: CrashResult) -> None:
    final = "select k.pod from kills k join reports r on r.kill_id = k.id and k.state = 'final'"
    reported = Counter(str(row[0]) for row in _rows(database, final))
    heads_wanted = _rows(database, "select count(*) from threads")[0][0]
    unfinished = _rows(database, "select destination, key from messages where wanted > sent")
    joined = int(str(_rows(database, "select count(*) from alerts where kill_id is not null")[0][0]))
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
