"""Request messages of Rails 3.2 to 8.x, parameters, and the rows they make."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomscope.facts import JOB_SCHEMA, REQUEST_SCHEMA, polars_schema
from oomscope.logs.params import to_json
from oomscope.logs.rails_text import (
    parse_completed,
    parse_exception,
    parse_finished,
    parse_processing,
    parse_started,
)
from oomscope.logs.tracker import route
from tests.logs_help import capture, one, scanned

AT = "at 2026-11-23 08:23:04 +0900"


@pytest.mark.parametrize(
    ("text", "method", "path", "query", "client"),
    [
        (f'Started GET "/" for 127.0.0.1 {AT}', "GET", "/", None, "127.0.0.1"),
        (f'Started FOO-BAR "/a?b=c&d=[FILTERED]" for ::1 {AT}', "FOO-BAR", "/a", "b=c&d=[FILTERED]", "::1"),
        (f'Started GET "/js/caf\ufffd" for  {AT}', "GET", "/js/caf\ufffd", None, None),
        (f'Started GET "/a?" for 10.0.0.1, evil for you {AT}', "GET", "/a", "", "10.0.0.1, evil for you"),
    ],
)
def test_started(text, method, path, query, client):
    found = parse_started(text)
    assert (found.method, found.path, found.query, found.client, found.zone) == (
        method,
        path,
        query,
        client,
        "+0900",
    )


def test_started_of_sockets():
    assert parse_started(f'Started GET "/cable" [WebSocket] for 1.2.3.4 {AT}').socket == "WebSocket"
    assert parse_started(f'Started GET "/cable"[non-WebSocket] for 1.2.3.4 {AT}').socket == "non-WebSocket"
    assert parse_finished('Finished "/cable/" [WebSocket] for 1.2.3.4') == ("/cable/", "WebSocket")


@pytest.mark.parametrize(
    "text", ["Started GET /x", 'Started GET "/x" for 1.2.3.4', "Started the engine", "Started "]
)
def test_what_is_no_started(text):
    assert parse_started(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Completed 200 OK in 5ms (Views: 1.2ms | ActiveRecord: 3.4ms | Allocations: 999)",
            (200, 5, 1.2, 3.4, None, 999),
        ),
        (
            "Completed 200 OK in 33ms (Views: 15.5ms | ActiveRecord: 0.7ms (1 query, 0 cached) | GC: 7.7ms)",
            (200, 33, 15.5, 0.7, 7.7, None),
        ),
        (
            "Completed 200 OK in 5ms (Views: 1.0ms | Searchkick: 9.9ms | ActiveRecord: 2.0ms | Allocations: 7)",
            (200, 5, 1.0, 2.0, None, 7),
        ),
        ("Completed 301 Moved Permanently in 0ms", (301, 0, None, None, None, None)),
        ("Completed   in 0ms (Allocations: 33)", (None, 0, None, None, None, 33)),
        ("Completed   in 5ms", (None, 5, None, None, None, None)),
        ("Completed 299  in 2ms (Allocations: 1)", (299, 2, None, None, None, 1)),
        (
            "Completed 422 Unprocessable Content in 1ms (ActiveRecord: 0.0ms (0 queries, 0 cached) | GC: 0.0ms)",
            (422, 1, None, 0.0, 0.0, None),
        ),
        ("Completed 200 OK in 3.5ms (Views: 1.0ms)", (200, 3.5, 1.0, None, None, None)),
    ],
)
def test_completed(text, expected):
    assert tuple(parse_completed(text)) == expected


@pytest.mark.parametrize(
    "text", ["Completed the task", "Completed 200 OK", "Completed 200 OK in ms", "Completed in 5msx"]
)
def test_what_is_no_completed(text):
    assert parse_completed(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Processing by Api::V1::ThingsController#show as JSON", ("Api::V1::ThingsController#show", "JSON")),
        ("Processing by A#b as */*", ("A#b", "*/*")),
        ("Processing by A#b as ", ("A#b", None)),
        ("Processing by hand as usual", None),
    ],
)
def test_processing(text, expected):
    assert parse_processing(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ActionController::RoutingError (No route matches [GET] "/x"):', "ActionController::RoutingError"),
        ("RuntimeError (first line", "RuntimeError"),
        ("app.rb:20:in `call'", None),
        ("Causes:", None),
    ],
)
def test_exception(text, expected):
    assert parse_exception(text) == expected


@pytest.mark.parametrize(
    ("ruby", "expected"),
    [
        ('{"a"=>"1", "b"=>{"c"=>[1, 2.5, nil, true]}}', {"a": "1", "b": {"c": [1, 2.5, None, True]}}),
        ('{"a" => "1", "n" => nil}', {"a": "1", "n": None}),
        ('{a: 1, "b" => :sym, c?: false}', {"a": 1, "b": "sym", "c?": False}),
        ('{:a=>:"x y"}', {"a": "x y"}),
        (r'{"q"=>"a\nb \"c\" \u00e9 \#{x} \e"}', {"q": 'a\nb "c" é #{x} \x1b'}),
        ('{"t"=>"x=>nil"}', {"t": "x=>nil"}),
        ('{"f"=>#<ActionDispatch::Http::UploadedFile:0x00 @tempfile=#<Tempfile:/tmp/R>, @x="a>b">, "g"=>1}', {"f": "#<ActionDispatch::Http::UploadedFile>", "g": 1}),  # noqa: E501
        ('{"a"=>"1", "b"=>{"c"=>"2", "d"=>"cut he', {"a": "1", "b": {"c": "2"}}),
        ("{}", {}),
    ],
)  # fmt: skip
def test_parameters_become_json(ruby, expected):
    assert json.loads(to_json(ruby)) == expected


@pytest.mark.parametrize("text", ['{"a"=>', "{]", "plain", '{"a"=>"un', '{"a"=>1}}'])
def test_parameters_that_cannot_be_read_stay_text(text):
    assert to_json(text) == text


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def ruby(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{ruby(str(key))}=>{ruby(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(ruby, value)) + "]"
    if isinstance(value, str):
        quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("#{", "\\#{").replace("\n", "\\n")
        return f'"{quoted}"'
    return (
        {None: "nil", True: "true", False: "false"}.get(value)
        if value is None or isinstance(value, bool)
        else str(value)
    )


@given(st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=5))
@settings(max_examples=200, deadline=None)
def test_whatever_ruby_prints_is_read_back(value):
    assert json.loads(to_json(ruby(value))) == value


@given(st.text(alphabet='{}[]":=>,#<>nil a1\\', max_size=120))
def test_parameters_never_crash(text):
    assert isinstance(to_json("{" + text), str)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/12/b", "/a/:id/b"),
        ("/api/v1/things/9f-3", "/api/v1/things/:id"),
        ("/plain", "/plain"),
        ("/v2", "/v2"),
    ],
)
def test_routes(path, expected):
    assert route(path) == expected


def test_a_request_becomes_one_row_with_all_its_columns():
    result = scanned(capture("rails61_sample"))
    assert dict(result.requests.schema) == polars_schema(REQUEST_SCHEMA)
    assert dict(result.jobs.schema) == polars_schema(JOB_SCHEMA)
    row = one(result, "/boom")
    assert row["endpoint"] == "PagesController#boom"
    assert (row["status"], row["exception"], row["state"]) == (500, "RuntimeError", "completed")
    assert row["started_at"] < row["processing_at"] <= row["ended_at"]
    assert row["raw"] is None
    assert row["pid"] == 24591


def test_query_and_parameters_are_kept_apart():
    row = next(
        r
        for r in scanned(capture("rails61_sample")).requests.to_dicts()
        if r["query"] and "password" in r["query"]
    )
    assert row["path"] == "/js"
    assert json.loads(row["params"])["utf8"] == "✓"


def test_an_open_request_keeps_its_raw_line_and_its_number():
    row = one(scanned(capture("v61_nosync")), "/slow")
    assert row["raw"].startswith("I, [2026-11-23T08:51:52.620238 #8476]")
    assert capture("v61_nosync").decode().split("\n")[row["line"] - 1] == row["raw"]
    assert row["started_at"] == datetime(2026, 11, 23, 8, 51, 52, 620238, tzinfo=UTC)


def test_without_line_times_the_end_is_the_start_plus_the_duration():
    row = next(
        r
        for r in scanned(capture("v61_simple")).requests.to_dicts()
        if r["duration_ms"] and r["duration_ms"] > 1500
    )
    assert (row["ended_at"] - row["started_at"]).total_seconds() >= row["duration_ms"] / 1000


@pytest.mark.parametrize("version", ["4", "5"])
def test_exception_blocks_of_old_rails(version):
    head = "F, [2026-11-23T09:00:00.000002 #7] FATAL -- : [abc-12345] "
    first = 'I, [2026-11-23T09:00:00.000001 #7]  INFO -- : [abc-12345] Started GET "/x" for 1.2.3.4 at 2026-11-23 09:00:00 +0000\n'  # noqa: E501
    name = 'ActionController::RoutingError (No route matches [GET] "/x"):\n'
    block = (
        f"{head}\n{name}  app/x.rb:1\n\n"
        if version == "4"
        else f"{head}  \n{head}{name}{head}  \n{head}app/x.rb:1\n"
    )
    row = one(scanned(first + block), "/x")
    assert (row["state"], row["exception"]) == ("errored", "ActionController::RoutingError")


@pytest.mark.parametrize(
    ("tail", "seen"),
    [
        ("FATAL: library: unrecoverable error\n", True),
        ("terminate called after throwing an instance of 'std::bad_alloc'\n", True),
        ("FATAL: too early\n" + "\n".join(f"line {i}" for i in range(9)) + "\n", False),
        ("an ordinary last line\n", False),
    ],
)
def test_last_words_of_a_native_abort_count_only_at_the_end(tail: str, seen: bool) -> None:
    started = '[abc-1] Started GET "/a" for 1.2.3.4 at 2026-11-23 09:00:00 +0000\n[abc-1] Processing by A#b as HTML\n'
    done = "[abc-1] Completed 200 OK in 5ms (Allocations: 1)\n"
    (stream,) = scanned(started + done + tail).streams
    assert (stream.error_seen is not None) == seen
