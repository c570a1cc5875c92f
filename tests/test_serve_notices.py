"""Telling people: once, completely, and without harm from whatever is at the other end."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from oomscope.report import Cause, Kill, Report, TargetDoc
from oomscope.serve import notices, reporting
from oomscope.serve.breaker import Breaker
from oomscope.serve.destinations import open_destination
from oomscope.serve.http import Caller
from oomscope.serve.queue import lease
from oomscope.serve.schema import kills, messages, reports, tasks, threads
from tests.serve_help import Outside, outside, rows, runtime_of, settings_of, told_outside

NAMES = ("slack", "grafana", "webhook")


@pytest.fixture
def state() -> Outside:
    return Outside(slow_s=2.5)


@pytest.fixture
def runtime(tmp_path: Path, state: Outside) -> Iterator[Any]:
    with outside(state) as base:
        runtime = runtime_of(settings_of(tmp_path, public_url="https://oom.example", **told_outside(base)))
        yield runtime
        runtime.store.close()


def put(runtime: Any, number: int, *, final: bool = False, thread: int = 1) -> None:
    """A kill with a report, as a finished stage leaves it."""
    now, kill_id = datetime.now(UTC), f"{number:016x}"
    report = Report(
        target=TargetDoc(namespace="shop", workload="web", pod=f"web-{number}"),
        kill=Kill(verdict="oom_limit", killed_at=now),
        cause=Cause(),
    )
    made = reporting.made(report)
    stage = {
        "stage": "final" if final else "seen",
        "document": made.document,
        "page": made.page,
        "made_at": now,
    }
    with runtime.store.write() as c:
        runtime.store.insert_new(c, threads, [
            {"id": thread, "place": "p", "label": "shop/web", "opened_at": now, "last_kill_at": now, "kills": 0}
        ])  # fmt: skip
        known = c.execute(sa.select(kills.c.id).where(kills.c.id == kill_id)).one_or_none()
        if not known:
            c.execute(sa.update(threads).where(threads.c.id == thread).values(kills=threads.c.kills + 1))
            c.execute(
                sa.insert(kills).values(
                    id=kill_id, key=kill_id, namespace="shop", workload="web", killed_at=now, found_by="alert",
                    created_at=now, thread_id=thread, links='{"dashboard": "abc", "panel": 7, "org": 3}',
                )
            )  # fmt: skip
        insert = runtime.store.insert(reports).values(kill_id=kill_id, **stage)
        c.execute(insert.on_conflict_do_update(index_elements=["kill_id"], set_=stage))
        kill = c.execute(sa.select(kills).where(kills.c.id == kill_id)).one()
        notices.want(runtime, c, kill, final=final)


def send(runtime: Any, *names: str, seconds: float = 20.0) -> None:
    """Deliver until nothing is left, as the lanes do."""
    caller = Caller(1.0)
    open_now = {name: open_destination(name, runtime.settings, caller) for name in names or NAMES}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.02)
        with runtime.store.write() as c:  # no waiting in tests
            c.execute(sa.update(tasks).values(due_at=datetime.now(UTC) - timedelta(seconds=1)))
        task = lease(runtime.store, tuple(f"notify_{name}" for name in open_now), "test", 30)
        if task is None:
            return
        name = task.kind.removeprefix("notify_")
        notices.deliver(runtime, task, name, open_now[name])
    raise AssertionError([(m.destination, m.problem) for m in rows(runtime, messages)])


def test_one_message_that_changes_and_one_reply(runtime: Any, state: Outside) -> None:
    put(runtime, 1)
    send(runtime)
    put(runtime, 1, final=True)
    send(runtime)
    (head,) = state.heads()
    assert head["edits"] == 1
    assert [m["thread_ts"] for m in state.messages.values() if m.get("thread_ts")] == [head["ts"]]
    assert "https://oom.example/kills/0000000000000001" in json.dumps(head)
    (annotation,) = state.annotations.values()
    assert annotation["dashboardUID"] == "abc"
    assert annotation["panelId"] == 7
    assert [event["stage"] for event in state.events] == ["seen", "final"]


def test_kills_of_one_thread_are_counted_in_its_head(runtime: Any, state: Outside) -> None:
    for number in range(30):
        put(runtime, number, final=True)
    send(runtime)
    (head,) = state.heads()
    assert "30 kills" in json.dumps(head)
    assert len(state.messages) == 1 + notices.REPLIES
    assert len(state.annotations) == 30


FAULTS = ("429", "500", "html", "reset", "slow", "did-but-500", "did-but-silent", "no-ts", "redirect")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["slack", "grafana"])
def test_whatever_goes_wrong_there_is_one_message(
    runtime: Any, state: Outside, name: str, fault: str
) -> None:
    """Also when the other side did it and did not say so."""
    state.faults[name] = (fault, 2)
    put(runtime, 1, final=True)
    send(runtime, name)
    if name == "slack":
        assert len(state.heads()) == 1
        assert len(state.messages) == 2
    else:
        assert len(state.annotations) == 1
    assert all(m.sent == m.wanted and not m.problem for m in rows(runtime, messages) if m.destination == name)


def test_a_message_that_is_refused_every_time_holds_up_no_other(runtime: Any, state: Outside) -> None:
    state.poison = "web-3"
    for number in range(1, 6):
        put(runtime, number, final=True)
    put(runtime, 6, final=True, thread=2)
    for _ in range(60):  # it never ends: one message stays behind
        with pytest.raises(AssertionError, match="invalid_blocks"):
            send(runtime, seconds=1.0)
        if len(rows(runtime, messages)) - 3 == sum(m.sent == m.wanted for m in rows(runtime, messages)):
            break
    for name in NAMES:
        assert runtime.breakers[name].pause_s() == 0.0
        late = [m for m in rows(runtime, messages) if m.destination == name and m.wanted > m.sent]
        assert [m.kill_id for m in late] == [f"{3:016x}"]
    assert len(state.heads()) == 2
    assert len(state.messages) == 2 + 5
    assert len(state.annotations) == len({event["_key"] for event in state.events}) == 5
    state.poison = ""
    send(runtime)
    assert len(state.messages) == 2 + 6


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "html"])  # any 2xx is a receipt
def test_the_webhook_gets_every_stage_and_can_tell_repetitions(
    runtime: Any, state: Outside, fault: str
) -> None:
    state.faults["hook"] = (fault, 2)
    put(runtime, 1)
    send(runtime, "webhook")
    put(runtime, 1, final=True)
    send(runtime, "webhook")
    keys = [event["_key"] for event in state.events]
    assert len(set(keys)) == 2
    assert {event["stage"] for event in state.events} == {"seen", "final"}


def test_the_webhook_is_signed(runtime: Any, state: Outside) -> None:
    put(runtime, 1)
    send(runtime, "webhook")
    (event,) = state.events
    stamp, signature = event["_signed"]
    assert abs(int(stamp) - time.time()) < 60
    signed = stamp.encode() + b":" + event["_raw"]
    assert signature == hmac.new(b"webhook-secret-1", signed, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_around_the_first_message_makes_no_second_one(
    runtime: Any, state: Outside, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """``kill -9`` between the note and the call, and between the call and its outcome."""

    class Crash(BaseException):
        """Nothing in between may clean up."""

    put(runtime, 1, final=True)
    caller = Caller(1.0)
    slack = open_destination("slack", runtime.settings, caller)
    create = slack.create

    def crashing(notice: Any) -> str:
        if moment == "after":
            create(notice)
        raise Crash

    monkeypatch.setattr(slack, "create", crashing)
    task = lease(runtime.store, ("notify_slack",), "dead", 0.01)
    assert task
    with pytest.raises(Crash):
        notices.deliver(runtime, task, "slack", slack)
    time.sleep(0.05)
    with runtime.store.write() as c:
        c.execute(sa.update(tasks).values(lease_until=None))
    send(runtime, "slack")
    assert len(state.heads()) == 1
    assert len(state.messages) == 2


def test_redirects_are_not_followed(runtime: Any, state: Outside) -> None:
    state.faults["hook"] = ("redirect", 1)
    put(runtime, 1)
    task = lease(runtime.store, ("notify_webhook",), "test", 30)
    assert task
    notices.deliver(runtime, task, "webhook", open_destination("webhook", runtime.settings, Caller(1.0)))
    assert state.calls == [("POST", "/hook")]
    assert "HTTP 302" in rows(runtime, tasks)[-1].problem


def test_no_text_from_outside_names_a_host_that_is_called(tmp_path: Path, state: Outside) -> None:
    """URLs in labels and links of an alert are never used; the dashboard's link is on the configured Grafana."""
    from oomscope.serve import intake

    body = {
        "alerts": [{"labels": {"namespace": "shop", "pod": "web-1"}, "startsAt": "2026-11-23T07:00:00Z",
                    "generatorURL": "http://evil.example/alerting/grafana/x/view",
                    "dashboardURL": "http://evil.example/d/abc", "panelURL": "http://evil.example/d/abc?viewPanel=7",
                    "imageURL": "http://evil.example/x.png"}],
        "version": "1", "orgId": 1, "state": "alerting", "externalURL": "http://evil.example/",
    }  # fmt: skip
    understood = intake.understand(json.dumps(body).encode(), datetime.now(UTC))
    assert "evil" not in json.dumps([dict(row) for row in understood.rows], default=str)


def test_what_cannot_be_sent_for_a_day_is_given_up_visibly(tmp_path: Path, state: Outside) -> None:
    with outside(state) as base:
        settings = settings_of(tmp_path, notify_for_s=0.001, **told_outside(base))
        runtime = runtime_of(settings)
        state.faults["slack"] = ("500", 1)
        put(runtime, 1)
        time.sleep(0.01)
        send(runtime, "slack")
        (message,) = [m for m in rows(runtime, messages) if m.destination == "slack"]
        assert message.sent == message.wanted
        assert "500" in message.problem


def test_a_deleted_message_is_posted_anew(runtime: Any, state: Outside) -> None:
    put(runtime, 1)
    send(runtime, "slack")
    state.messages.clear()
    put(runtime, 1, final=True)
    send(runtime, "slack")
    assert len(state.heads()) == 1


def test_a_destination_that_fails_is_left_alone_and_others_are_told(runtime: Any, state: Outside) -> None:
    state.faults["slack"] = ("500", 1000)
    put(runtime, 1)
    for _ in range(4):
        with runtime.store.write() as c:
            c.execute(sa.update(tasks).values(due_at=datetime.now(UTC) - timedelta(seconds=1)))
        if task := lease(runtime.store, ("notify_slack",), "test", 30):
            notices.deliver(runtime, task, "slack", open_destination("slack", runtime.settings, Caller(1.0)))
    breaker: Breaker = runtime.breakers["slack"]
    assert breaker.pause_s() > 0
    send(runtime, "grafana", "webhook")
    assert state.annotations
    assert state.events


def test_an_incoming_webhook_gets_one_message_a_kill(tmp_path: Path, state: Outside) -> None:
    from oomscope.config import Config
    from oomscope.serve.settings import resolve

    with outside(state) as base:
        section = {"data_dir": str(tmp_path), "alerts": {"open": True}, "pages": {"open": True},
                   "slack": {"webhook_url_env": "HOOK"}}  # fmt: skip
        settings = resolve(Config.model_validate({"serve": section}), {"HOOK": f"{base}/hook/T0/B0"})
        runtime = runtime_of(settings)
        put(runtime, 1)
        send(runtime, "slack_webhook")
        assert state.events == []
        put(runtime, 1, final=True)
        send(runtime, "slack_webhook")
    assert len(state.events) == 1
    assert state.events[0]["blocks"]
