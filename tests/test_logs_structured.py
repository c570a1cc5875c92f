"""JSON loggers and semantic_logger's text: real captures, wrappers, and hostile objects."""
# ruff: noqa: E501 - captured lines stay as they are

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomscope.logs.interface import LogEvent
from oomscope.logs.structured import (
    inner_process,
    inner_text,
    parse_json_line,
    parse_semantic_text,
    semantic_inner_text,
)
from tests.log_lines import TAILS, captured, seconds


def objects(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in captured(name) if line.startswith("{")]


def json_events(name: str) -> list[LogEvent]:
    return [event for obj in objects(name) if (event := parse_json_line(obj)) is not None]


def text_events(name: str) -> list[LogEvent]:
    return [event for line in captured(name) if (event := parse_semantic_text(line)) is not None]


def test_semantic_json_tells_whole_requests() -> None:
    found = [event for event in json_events("semantic_json") if event.kind == "request"]
    assert len(found) == 11
    first = found[0]
    assert first.at == datetime(2026, 11, 23, 8, 54, 20, 143480, tzinfo=UTC)
    assert (first.pid, first.thread) == (9654, "puma srv tp 002")
    assert first.request_id == "e8572340-47cd-45bb-b57e-19b2c8485f7e"
    assert first.fields == {
        "method": "GET", "path": "/js", "format": "*/*", "endpoint": "PagesController#js", "status": 200,
        "duration_ms": pytest.approx(0.578, abs=1e-3), "view_ms": 0.25, "db_ms": 0.0, "allocations": 324,
    }  # fmt: skip
    live = next(event for event in found if event.fields["path"] == "/lv/stream")
    assert live.request_id is None  # Live lines lose their tags
    thrown = next(event for event in found if event.fields["path"] == "/thrown")
    assert "status" not in thrown.fields


def test_semantic_started_lines_where_switched_on() -> None:
    found = json_events("semantic_json_all")
    started = {event.request_id: event for event in found if event.kind == "started"}
    ended = {event.request_id for event in found if event.kind == "request"}
    assert len(started) == 16
    slow = next(event for event in started.values() if event.fields.get("query") == "s=1.6")
    assert slow.fields == {"method": "GET", "path": "/slow", "query": "s=1.6", "client": "127.0.0.1"}
    assert ended - {None} < started.keys()


def test_semantic_exceptions() -> None:
    found = [event.fields["exception"] for event in json_events("semantic_json") if event.kind == "exception"]
    assert found == [
        "RuntimeError: kaboom",
        'ActionController::RoutingError: No route matches [GET] "/nope"',
        "RuntimeError: boom in middleware",
    ]


@pytest.mark.parametrize("name", ["semantic_json", "semantic_json_all"])
def test_semantic_json_jobs(name: str) -> None:
    jobs = [event for event in json_events(name) if event.kind.startswith("job")]
    assert [event.kind for event in jobs] == ["job_started", "job_completed", "job_enqueued"]
    assert len({event.fields["job_id"] for event in jobs}) == 1
    assert jobs[0].fields["job_class"] == "MyJob"
    assert json.loads(jobs[0].fields["args"]) == ["a", 1, {"k": "v\nw"}]
    assert jobs[1].fields["duration_ms"] > 0


@pytest.mark.parametrize("name", ["semantic_default", "semantic_color"])
def test_semantic_text(name: str) -> None:
    found = text_events(name)
    requests = {event.fields["path"]: event for event in found if event.kind == "request"}
    first = requests["/boom"]
    assert first.at is not None
    assert first.at.tzinfo is None  # the process's local time
    assert first.thread is not None
    assert first.thread.startswith("puma srv tp 00")
    assert first.request_id is not None
    assert len(first.request_id) == 36
    assert (first.fields["status"], first.fields["exception"]) == (500, "RuntimeError: kaboom")
    assert requests["/slow"].fields["duration_ms"] in (1601.0, 300.9, 301.1, 601.2, 602.3)
    assert requests["/slow"].fields["params"] in ('{"s"=>"0.3"}', '{"s"=>"0.6"}')
    assert requests["/parse"].fields["params"] == '{"a"=>{"b"=>1}, "api"=>{"a"=>{"b"=>1}}}'
    assert requests["/parse"].fields["allocations"] > 0  # what follows nested params is still read
    assert requests["/lv/stream"].request_id is None
    assert "RuntimeError: boom in middleware" in [
        event.fields.get("exception") for event in found if event.kind == "exception"
    ]
    assert [event.kind for event in found if event.kind.startswith("job")] == [
        "job_started",
        "job_completed",
        "job_enqueued",
    ]


def test_semantic_text_started_and_source_file() -> None:
    started = [event for event in text_events("semantic_default") if event.kind == "started"]
    assert started[0].fields == {"method": "GET", "path": "/js", "client": "127.0.0.1"}
    failed = next(event for event in text_events("semantic_default") if event.kind == "exception")
    assert failed.thread == "puma srv tp 001"  # the file and line behind it are cut off


def test_semantic_text_keeps_the_text_of_other_messages() -> None:
    inner = [
        found for line in captured("semantic_default") if (found := semantic_inner_text(line)) is not None
    ]
    redirect = next(found for found in inner if found[0].startswith("Completed 301"))
    assert redirect[0] == "Completed 301 Moved Permanently in 0ms"
    assert redirect[2] == "info"
    assert len(redirect[3][0]) == 36


def test_an_application_message_cannot_pass_for_a_request() -> None:
    line = '2026-11-23 08:55:01.460219 I [1:t] [r] Rails -- Completed #js -- {:controller=>"PagesController", :action=>"js", :method=>"GET", :path=>"/", :status=>200}'
    assert parse_semantic_text(line) is None
    assert parse_semantic_text(line.replace("Rails --", "PagesController --")) is not None
    assert (
        parse_semantic_text(
            '2026-11-23 08:55:01.460219 I [1:t] [r] Rails -- Started -- {:method=>"GET", :path=>"/"}'
        )
        is None
    )


def test_semantic_text_of_ruby_3_4_and_long_durations() -> None:
    event = parse_semantic_text(
        '2026-11-23 08:55:01.460219 I [1:t] {request_id: r-1, user: 7} (1m 30s) A::BController -- Completed #c -- {controller: "A::BController", action: "c", params: {"a" => "}, status: 1"}, method: "GET", path: "/x", status: 204}'
    )
    assert event is not None
    assert (event.request_id, event.fields["duration_ms"], event.fields["status"]) == ("r-1", 90_000, 204)


def test_semantic_sidekiq_jobs() -> None:
    base = {
        "level_index": 2,
        "name": "MyJob",
        "named_tags": {"jid": "j1", "queue": "q", "class": "MyJob"},
        "timestamp": "2026-11-23T08:54:20.143480Z",
    }
    start = parse_json_line(base | {"message": "Start #perform"})
    done = parse_json_line(base | {"message": "Completed #perform", "duration_ms": 5.5})
    failed = parse_json_line(
        base | {"message": "Completed #perform", "exception": {"name": "X", "message": "y"}}
    )
    assert start is not None
    assert done is not None
    assert failed is not None
    assert (start.kind, done.kind, failed.kind) == ("job_started", "job_completed", "job_failed")
    assert done.fields == {
        "adapter": "sidekiq",
        "job_class": "MyJob",
        "job_id": "j1",
        "queue": "q",
        "duration_ms": 5.5,
    }


@pytest.mark.parametrize(("name", "error_pid"), [("sidekiq73_json", 21945), ("sidekiq81_json", 13576)])
def test_sidekiq_json(name: str, error_pid: int) -> None:
    found = json_events(name)
    assert [event.kind for event in found if event.kind in ("boot", "stop")] == [
        "boot",
        *["stop"] * 6,
        "boot",
    ]
    kinds = [event.kind for event in found if event.kind.startswith("job")]
    assert kinds.count("job_started") == 7
    assert kinds.count("job_completed") == 3
    error = next(event for event in found if event.fields.get("args"))
    assert (error.kind, error.pid, error.fields["queue"]) == ("job_failed", error_pid, "default")
    assert found[-1].kind == "job_started"  # killed while it ran
    assert all(event.at is not None and event.thread for event in found)
    assert {event.fields["threads_max"] for event in found if "threads_max" in event.fields} == {2}


def test_rails_events_without_a_request_id_are_notes() -> None:
    found = json_events("rails81_events")
    kinds = {event.kind for event in found}
    assert kinds <= {"request_note", "job_enqueued", "job_started", "job_completed", "job_failed"}
    first = found[0]
    assert first.at == datetime(2026, 11, 23, 8, 49, 13, 822588, tzinfo=UTC)
    assert first.fields["endpoint"] == "PagesController#js"
    jobs = [event for event in found if event.kind == "job_started"]
    assert jobs[0].fields["args"] == '["a",1,{"k":"v\\nw"}]'
    assert jobs[0].fields["enqueued_at"] == datetime(2026, 11, 23, 8, 49, 18, 951912, tzinfo=UTC)


def test_rails_events_with_a_request_id_are_requests() -> None:
    started, completed = (obj | {"context": {"request_id": "r1"}} for obj in objects("rails81_events")[:2])
    first, second = parse_json_line(started), parse_json_line(completed)
    assert first is not None
    assert second is not None
    assert (first.kind, first.request_id) == ("processing", "r1")
    assert (second.kind, second.fields["status"], second.fields["duration_ms"]) == ("completed", 200, 0.7)


def test_ougai_is_text_in_a_wrapper() -> None:
    found = objects("ougai_bunyan")
    assert all(
        parse_json_line(obj) is None
        for obj in found
        if not obj["msg"].startswith(("Perform", "Enqueued", "Error perf"))
    )
    text = inner_text(found[0])
    assert text is not None
    assert text[0].startswith('Started GET "/js"')
    assert text[1:] == (datetime(2026, 11, 23, 8, 59, 47, 505000, tzinfo=UTC), "info", ())
    assert inner_process(found[0]) == (13099, None)


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        ({"message": "Started GET", "severity": "INFO", "@timestamp": "2026-11-23T08:00:00.5Z", "request_id": "r", "tags": ["a"]}, ("Started GET", datetime(2026, 11, 23, 8, 0, 0, 500000, tzinfo=UTC), "info", ("r", "a"))),
        ({"msg": "x", "level": 50, "time": 1795423187505, "v": 1}, ("x", datetime(2026, 11, 23, 8, 39, 47, 505000, tzinfo=UTC), "error", ())),
        ({"message": "x", "tags": {"request_id": "r2"}}, ("x", None, None, ("r2",))),
        ({"message": "x", "time": "2026-11-23 08:00:00"}, ("x", datetime(2026, 11, 23, 8), None, ())),
        ({"message": ""}, None), ({"message": {"a": 1}}, None), ({}, None), ({"level": "info"}, None),
    ],
)  # fmt: skip
def test_wrappers(obj: dict[str, Any], expected: tuple[Any, ...] | None) -> None:
    assert inner_text(obj) == expected
    assert parse_json_line(obj) is None


def test_lograge_keys_at_the_top_or_in_the_message() -> None:
    keys = {"method": "GET", "path": "/a", "controller": "A", "action": "b", "status": 200, "duration": 1.5}
    for obj in (
        keys | {"msg": "", "level": 30, "time": "2026-11-23T08:00:00Z", "pid": 4},
        {"message": keys, "pid": 4, "time": "2026-11-23T08:00:00Z"},
    ):
        event = parse_json_line(obj)
        assert event is not None
        assert (event.kind, event.pid, event.at) == ("request", 4, datetime(2026, 11, 23, 8, tzinfo=UTC))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
known_keys = st.sampled_from(
    ["name", "message", "msg", "payload", "timestamp", "time", "ts", "pid", "tid", "ctx", "level", "level_index", "thread",
     "host", "named_tags", "tags", "context", "exception", "duration_ms", "controller", "method", "path", "status"]
)  # fmt: skip
known_values = json_values | st.sampled_from(
    ["Rack", "Started", "Completed #a", "Start #perform", "start", "action_controller.request_started", "active_job.started",
     {"event_name": "perform.active_job", "job_class": "A"}, {"jid": "1"}, {"controller": "A", "action": "b"}, 10**30, float("inf")]
)  # fmt: skip


@given(st.dictionaries(known_keys | st.text(max_size=5), known_values, max_size=12))
def test_junk_objects_never_raise(obj: dict[str, Any]) -> None:
    parse_json_line(obj)
    inner_text(obj)
    inner_process(obj)


HEADS = ("", "2026-11-23 08:55:01.460219 I [1:t] ", "2026-11-23 08:55:01.460219 I [1:t] {", "2026-11-23 08:55:01.460219 I [1:t] (1ms) A -- ",
         "2026-11-23 08:55:01.460219 I [1:t] A -- Completed #a -- {", "2026-11-23 08:55:01.460219 I [1:t] A -- Exception: ", "2026-11-23 08:55:01.460219 I [1:")  # fmt: skip


@given(st.sampled_from(HEADS), st.text())
def test_junk_text_never_raises(head: str, tail: str) -> None:
    parse_semantic_text(head + tail)
    semantic_inner_text(head + tail)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("head", HEADS)
def test_a_hundred_kilobytes_take_no_time(head: str, tail: str) -> None:
    assert seconds(parse_semantic_text, head + tail * (100_000 // len(tail))) < 2.0


@pytest.mark.parametrize("tail", TAILS)
def test_long_json_messages_take_no_time(tail: str) -> None:
    for obj in ({"ts": "", "pid": 1, "tid": "a", "msg": ""}, {"name": "A", "level_index": 1, "message": ""}):
        big = obj | {"msg" if "msg" in obj else "message": tail * (100_000 // len(tail))}
        assert seconds(parse_json_line, big) < 2.0
