"""The service as a process: started, killed, starved of its disk, and asked nonsense."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from bench.serve import crash
from sqlalchemy import event
from starlette.testclient import TestClient

from oomscope.serve.api import build
from oomscope.serve.schema import alerts
from tests.serve_help import (
    SECRETS,
    Outside,
    accept,
    children,
    demo_alert,
    drain,
    free_port,
    gone,
    rows,
    running,
    runtime_of,
    settings_of,
    start,
    toml,
    until,
)

SEND = {"Authorization": "Bearer alert-token-1"}


def test_alert_in_report_out(tmp_path: Path) -> None:
    """From the alert to the report page, the Slack thread, the annotation and the webhook, with live progress."""
    state = Outside()
    with running(tmp_path, state) as service:
        assert service.post(demo_alert()).status_code == 202
        link = until(lambda: re.search(r"/kills/[0-9a-f]{16}", service.get("/").text), 30)[0]
        headers = {"Authorization": "Bearer page-token-1"}
        with httpx.stream("GET", f"{service.url}{link}/events", headers=headers, timeout=60) as stream:
            text = "".join(stream.iter_text())
        assert '"state":"final"' in text
        page = service.get(link).text
        assert "os-bar" in page
        assert "OOM" in page
        report = service.get(f"{link}/report.json").json()
        assert report["kill"]["verdict"] == "oom_limit"
        assert report["in_flight"]
        until(lambda: len(state.messages) == 2 and len(state.events) == 2, 20)
        assert len(state.heads()) == 1
        assert len(state.annotations) == 1
        assert "At kills" in service.get("/workloads/production/shop-web").text
        os.kill(service.process.pid, signal.SIGTERM)
        assert service.process.wait(30) in (0, -signal.SIGTERM)
    assert "Traceback" not in service.log.read_text()


def test_kill_nine_loses_and_doubles_nothing(tmp_path: Path) -> None:
    result = crash.run(tmp_path, crashes=3, seed=7, longest_s=2.0)
    assert result.accepted >= 3
    assert (result.lost, result.doubled) == ([], [])


def test_a_worker_that_dies_is_replaced_and_ends_with_its_parent(tmp_path: Path) -> None:
    with running(tmp_path, Outside()) as service:
        first = until(lambda: children(service.process.pid), 10)[0]
        os.kill(first, signal.SIGKILL)
        second = until(lambda: [pid for pid in children(service.process.pid) if pid != first], 20)[0]
        os.kill(service.process.pid, signal.SIGKILL)
        until(lambda: gone(second), 15)


def test_two_services_on_one_sqlite_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from oomscope.errors import UsageError
    from oomscope.serve import process

    monkeypatch.setattr(process, "LOCK_WAIT_S", 0.3)
    settings = settings_of(tmp_path)
    store, lock = process.take_database(settings)
    with pytest.raises(UsageError, match="another oomscope serve"):
        process.take_database(settings)
    assert lock
    lock.close()
    store.close()


def test_alerts_that_nobody_would_investigate_are_not_taken(tmp_path: Path) -> None:
    from oomscope.errors import UsageError
    from oomscope.serve.process import check_role

    settings = settings_of(tmp_path)
    with pytest.raises(UsageError, match="investigates none"):
        check_role(settings, "api")
    check_role(settings, "worker")
    check_role(replace(settings, database_url="postgresql+psycopg://db/x"), "api")


def test_what_is_wrong_with_the_configuration_is_said_at_once(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[serve]\nport = 1\n")
    command = [
        sys.executable,
        "-c",
        "from oomscope.cli import main; main()",
        "serve",
        "--config",
        str(config),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "no credentials are configured" in done.stderr


# ------------------------------------------------------------------------------------------------------------ disks


def _limit_pages(runtime: Any) -> None:
    """No page more than there is now: a full disk."""
    runtime.store.engine.dispose()

    def full(connection: Any, _record: Any) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}").close()

    event.listen(runtime.store.engine, "connect", full)


def _forbid_writing(runtime: Any) -> None:
    runtime.store.engine.dispose()
    event.listen(runtime.store.engine, "connect", lambda c, _r: c.execute("PRAGMA query_only=ON").close())


@pytest.mark.parametrize("trouble", [_limit_pages, _forbid_writing], ids=["full", "read-only"])
def test_a_disk_in_trouble_is_survived_with_a_clear_state(tmp_path: Path, trouble: Any) -> None:
    runtime = runtime_of(settings_of(tmp_path))
    accept(runtime, demo_alert())
    trouble(runtime)
    with TestClient(build(runtime.settings, runtime.store)) as client:
        answers = []
        for number in range(60):  # a full database still has room inside its pages
            alert = demo_alert()
            alert["alerts"][0]["fingerprint"] = f"{number}"
            answers.append(client.post("/api/v1/alerts", json=alert, headers=SEND))
        refused = [answer for answer in answers if answer.status_code == 503]
        assert refused
        assert len(refused[0].content) <= 1024
        assert re.search("full|readonly", refused[0].json()["error"])
        assert "Retry-After" in refused[0].headers
        assert client.get("/healthz").status_code == 200
        assert answers[-1].status_code == 503
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert re.search("full|readonly", ready.text)
        good = client.get("/", headers={"Authorization": "Bearer page-token-1"})
        assert good.status_code == 200
    stored = {row.dedup for row in rows(runtime, alerts)}
    assert len(stored) == 1 + len(answers) - len(refused)  # every 202 is there, no other


def test_a_worker_on_a_disk_in_trouble_waits(tmp_path: Path) -> None:
    """The evidence cannot be written: the job is put back, nothing counts as its failure."""
    from oomscope.serve.runtime import Runtime
    from oomscope.serve.worker import Worker

    runtime = runtime_of(settings_of(tmp_path, clusters={"c": {"kubernetes": {"kubeconfig": "/none"}}}))
    accept(runtime, demo_alert())
    drain(runtime, only=("identify",))

    class Full:
        def put(self, name: str, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    full = Runtime(runtime.settings, runtime.store, Full(), "test")  # type: ignore[arg-type]
    worker = Worker(full)
    from oomscope.serve import queue

    def job(_runtime: Any, _task: Any) -> None:
        full.bundles.put("x", b"")

    task = queue.lease(runtime.store, ("capture",), "test", 30)
    assert task
    worker._run(job, task)
    with runtime.store.read() as connection:
        row = connection.execute(sa.text("select errors, token from tasks where kind = 'capture'")).one()
    assert (row.errors, row.token) == (0, None)


def test_any_other_error_of_a_job_is_counted_and_ends_in_a_report(tmp_path: Path) -> None:
    from oomscope.serve import queue
    from oomscope.serve.schema import kills
    from oomscope.serve.worker import Worker

    clusters = {"c": {"kubernetes": {"kubeconfig": "/none"}}}
    runtime = runtime_of(settings_of(tmp_path, clusters=clusters, max_errors=2, retry_s=0.01))
    accept(runtime, demo_alert())
    drain(runtime, only=("identify", "capture"))
    worker = Worker(runtime)

    def bug(_runtime: Any, _task: Any) -> None:
        raise ZeroDivisionError("a bug")

    for _ in range(2):
        task = until(lambda: queue.lease(runtime.store, ("analyse",), "test", 30), 5)
        worker._run(bug, task)
    (kill,) = rows(runtime, kills)
    assert (kill.state, kill.problem) == ("failed", "ZeroDivisionError: a bug")


# ---------------------------------------------------------------------------------------------------------- nonsense


def test_no_generated_request_makes_it_fail(tmp_path: Path) -> None:
    """Schemathesis on our own description of the API, with credentials; few cases here, thousands in bench/serve."""
    from bench.serve.fuzz import run

    result = run(tmp_path, cases=60, seed=3)
    assert result.cases >= 100
    assert result.failures == []


def test_the_database_is_not_left_open_to_others(tmp_path: Path) -> None:
    """A service that was started twice in a row finds everything it had stored."""
    port = free_port()
    config = toml(tmp_path, "http://127.0.0.1:1", port=port)
    service = start(config, port)
    assert service.post(demo_alert()).status_code == 202
    service.kill()
    with sqlite3.connect(tmp_path / "data" / "oomscope.db") as db:
        assert db.execute("select count(*) from alerts").fetchone() == (1,)
    again = start(config, port)
    assert again.post(demo_alert()).json()["accepted"]
    again.kill()
    with sqlite3.connect(tmp_path / "data" / "oomscope.db") as db:
        assert db.execute("select count(*) from alerts").fetchone() == (1,)
    assert json.dumps(SECRETS["T_SLACK"]) not in service.log.read_text()
