"""The service on a real PostgreSQL: the queue's tests again, two replicas, the database restarted under them."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from bench.serve.pods import alert_for, cluster_of

from oomscope.serve.store import Store, open_store
from tests import test_serve_queue as shared
from tests.fakes.kube import kube_server, kubeconfig
from tests.real.serve_postgres import Postgres, binaries, postgres
from tests.serve_help import Outside, Service, free_port, outside, start, toml, until

pytestmark = [
    pytest.mark.realserver,
    pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture
def store(server: Postgres) -> Iterator[Store]:
    server.clean()
    store = open_store(server.url)
    yield store
    store.close()


test_first = shared.test_most_urgent_first_and_each_once
test_anew = shared.test_asked_for_anew_while_in_work_is_done_again
test_taken_over = shared.test_a_dead_replicas_work_is_taken_over_and_it_may_not_write_any_more
test_held = shared.test_a_held_lease_is_not_taken
test_counted = shared.test_failures_are_counted_and_forgotten_after_success
test_threads = shared.test_many_threads_share_the_work_without_overlap
test_migrations = shared.test_the_migrations_make_the_tables_of_the_schema


def test_migrating_at_the_same_time(server: Postgres) -> None:
    from concurrent.futures import ThreadPoolExecutor

    server.clean()
    with ThreadPoolExecutor(4) as pool:
        for store in pool.map(open_store, [server.url] * 4):
            assert store.problem() is None
            store.close()


def test_two_replicas_one_killed_and_the_database_restarted(server: Postgres, tmp_path: Path) -> None:
    """Every accepted alert ends in one report, one Slack message and one annotation; no stage ran twice."""
    server.clean()
    cluster, state = cluster_of(10, workloads=5), Outside()
    with ExitStack() as stack:
        base = stack.enter_context(outside(state))
        kube = stack.enter_context(kube_server(cluster))
        replicas = []
        for number in range(2):
            folder = tmp_path / str(number)
            folder.mkdir()
            port = free_port()
            config = toml(folder, base, kubeconfig_path=kubeconfig(folder, kube), port=port)
            text = config.read_text().replace(str(folder / "data"), str(tmp_path / "shared"))
            config.write_text(text)
            replicas.append(start(config, port, env={"OOMSCOPE_DATABASE_URL": server.url}, wait_s=60))
            stack.callback(replicas[-1].kill)
        first, second = replicas
        for pod in cluster.pods[:5]:
            _send(first, alert_for(pod))
            _send(second, alert_for(pod))  # a highly available sender tells both
        until(lambda: "oomscope_kills" in second.get("/metrics").text, 20)
        server.stop("fast")
        assert first.post(alert_for(cluster.pods[5])).status_code == 503
        assert httpx.get(f"{first.url}/healthz").status_code == 200
        assert httpx.get(f"{first.url}/readyz").status_code == 503
        server.start()
        for pod in cluster.pods[5:]:
            _send(second, alert_for(pod))
        os.killpg(first.process.pid, signal.SIGKILL)
        until(lambda: _finished(second, 10), 120, second.log.read_text()[-3000:])
        assert _finished(second, 10)
    assert len(state.annotations) == 10
    marks = Counter(m["metadata"]["event_payload"]["mark"] for m in state.messages.values())
    assert set(marks.values()) == {1}
    assert len(state.heads()) == 5


def _send(service: Service, body: object) -> None:
    """As Alertmanager does it: again until it is taken."""
    end = time.monotonic() + 30
    while service.post(body).status_code != 202:
        assert time.monotonic() < end
        time.sleep(0.2)


def _finished(service: Service, kills: int) -> bool:
    text = service.get("/metrics").text
    busy = any(word in text for word in ("oomscope_messages_behind{", 'kind="notify', 'state="looking"'))
    return f'oomscope_kills{{state="final"}} {float(kills)}' in text and not busy
