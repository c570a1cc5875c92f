"""Lograge lines: every formatter on its real captures, and hostile text."""
# ruff: noqa: E501 - captured lines stay as they are

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomscope.logs.interface import LogEvent
from oomscope.logs.lograge import from_mapping, parse_lograge
from tests.log_lines import TAILS, captured, seconds, stripped

FORMATS = [
    "v61_lograge_KeyValue", "v61_lograge_Json", "v61_lograge_LTSV", "v61_lograge_Cee", "v61_lograge_Graylog2",
    "v81_lograge_json", "v81_lograge_kv",
]  # fmt: skip


def events(name: str) -> dict[str, LogEvent]:
    """Request events of a capture by path."""
    found = [parse_lograge(stripped(line)[1]) for line in captured(name)]
    return {event.fields["path"]: event for event in found if event is not None}


def parsed(text: str) -> LogEvent:
    event = parse_lograge(text)
    assert event is not None
    return event


@pytest.mark.parametrize("name", FORMATS)
def test_every_formatter_tells_the_whole_request(name: str) -> None:
    event = events(name)["/js"]
    assert event.kind == "request"
    assert event.at is None  # the line's prefix has the time
    assert event.fields["method"] == "GET"
    assert event.fields["endpoint"] == "PagesController#js"
    assert event.fields["format"] == "*/*"
    assert event.fields["status"] == 200
    assert 0 < event.fields["duration_ms"] < 100
    assert event.fields["view_ms"] > 0


@pytest.mark.parametrize("name", FORMATS)
def test_every_lograge_line_of_a_capture_is_read(name: str) -> None:
    lines = [stripped(line)[1] for line in captured(name) if "Controller" in line and "method" in line]
    assert len(lines) == 11
    assert all(parsed(line).kind == "request" for line in lines)


@pytest.mark.parametrize("name", [name for name in FORMATS if name.startswith("v61")])
def test_the_error_of_a_failed_request(name: str) -> None:
    event = events(name)["/boom"]
    assert event.fields["exception"] == "RuntimeError: kaboom"
    assert event.fields["status"] == 500


@pytest.mark.parametrize("name", FORMATS)
def test_status_zero_means_left_by_throw(name: str) -> None:
    fields = events(name)["/thrown"].fields
    assert fields.get("status") in (None, 401)
    if "status" not in fields:
        assert "throw" in fields["note"]


def test_request_id_custom_option() -> None:
    tags, text = stripped(next(line for line in captured("v81_lograge_json") if '"path":"/js"' in line))
    assert parsed(text).request_id == tags[0]


@pytest.mark.parametrize("name", FORMATS)
def test_other_lines_of_the_log_are_not_requests(name: str) -> None:
    others = [stripped(line)[1] for line in captured(name) if "WebSocket" in line]
    assert others
    assert all(parse_lograge(line) is None for line in others)


def test_an_error_text_cannot_forge_keys() -> None:
    event = parsed(
        "method=GET path=/a format=html controller=A action=b status=500 "
        "error='RuntimeError: it's status=200 duration=9.99 path=/z' duration=0.54 view=0.00"
    )
    assert event.fields["duration_ms"] == 0.54
    assert event.fields["status"] == 500
    assert event.fields["path"] == "/a"
    assert event.fields["exception"] == "RuntimeError: it's status=200 duration=9.99 path=/z"


def test_params_with_spaces_in_key_value_form() -> None:
    event = parsed(
        'method=POST path=/a format=html controller=A action=b status=200 duration=1.00 params={"q"=>"x duration=5 y",'
        ' "l"=>[1, {"z"=>"}"}]} request_id=abc-1 host=h db=0.25'
    )
    assert event.fields["params"] == '{"q"=>"x duration=5 y", "l"=>[1, {"z"=>"}"}]}'
    assert event.fields["params_bytes"] == len(event.fields["params"])
    assert (event.request_id, event.fields["db_ms"]) == ("abc-1", 0.25)


def test_logstash_and_custom_options() -> None:
    event = parsed(
        '{"method":"POST","path":"/a?b=1","format":"json","controller":"Api::A","action":"b","status":201,"duration":12.5,'
        '"allocations":1234,"remote_ip":"203.0.113.9","params":{"x":[1]},"mem_bytes":999,"pid":7,'
        '"x_amzn_trace_id":"Self=1-67891233-000000000000000000000000;Root=1-67891233-abcdef012345678912345678",'
        '"@timestamp":"2026-11-23T08:30:07.319Z","@version":"1","message":"[201] POST /a (Api::A#b)"}'
    )
    assert event.at is not None
    assert event.at.isoformat() == "2026-11-23T08:30:07.319000+00:00"
    assert event.pid == 7
    assert event.fields == {
        "method": "POST", "path": "/a", "format": "json", "endpoint": "Api::A#b", "status": 201, "duration_ms": 12.5,
        "allocations": 1234, "mem_bytes": 999, "client": "203.0.113.9", "params": '{"x":[1]}', "params_bytes": 9,
        "trace_id": "Root=1-67891233-abcdef012345678912345678",
    }  # fmt: skip


def test_seconds_and_correlation_id() -> None:
    event = parsed('{"method":"GET","path":"/a","controller":"A","action":"b","status":200,"duration_s":1.5,"db_duration_s":0.1,"correlation_id":"c1"}')  # fmt: skip
    assert event.fields["duration_ms"] == 1500
    assert event.fields["db_ms"] == pytest.approx(100)
    assert event.request_id == "c1"


def test_a_monotonic_time_is_no_time() -> None:
    event = parsed('{"method":"GET","path":"/a","controller":"A","action":"b","status":200,"time":12345.67}')
    assert event.at is None


def test_action_cable_lines_are_no_requests() -> None:
    text = "method= path= format= params={} controller=ChatChannel action=speak status=200 duration=0.51"
    event = parsed(text)
    assert event.kind == "request_note"
    assert event.fields["endpoint"] == "ChatChannel#speak"


def test_l2met() -> None:
    event = parsed("method=GET path=/a format=html source=A:b status=200 measure#page.duration=1.07 measure#page.view=0.39 controller=A action=b")  # fmt: skip
    assert (event.fields["duration_ms"], event.fields["view_ms"]) == (1.07, 0.39)


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "{", "{:", "method=GET", "method=GET status=200", "@cee: ", "@cee: [1]", "method:GET\t", '{"method":1,"path":2,"status":3}',
        '{"a":' * 2000, "Completed 200 OK in 1ms", '{"method":null,"path":null,"status":null,"duration":null}',
        '127.0.0.1 - - [x] "GET /?method=GET&status=200" 200', "shipping method=express path=/x status=ok",
    ],
)  # fmt: skip
def test_what_is_no_lograge_line(text: str) -> None:
    assert parse_lograge(text) is None


def test_long_values_are_bounded() -> None:
    big = {
        "method": "GET",
        "path": "/" + "p" * 10**5,
        "controller": "A",
        "action": "b",
        "status": 500,
        "duration": 1,
    }
    big |= {
        "error": "e" * 10**5,
        "params": {"k": "é" * 10**5},
        "extra": "x" * 10**5,
        "request_id": "r" * 10**5,
    }
    event = parsed(json.dumps(big))
    assert all(len(str(value).encode()) <= 4096 for value in event.fields.values())
    assert event.fields["params_bytes"] > 200_000
    assert event.request_id is not None
    assert len(event.request_id) <= 255


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
lograge_keys = st.sampled_from(
    ["method", "path", "format", "controller", "action", "status", "error", "duration", "view", "db", "params", "time", "pid"]
)  # fmt: skip


@given(st.dictionaries(lograge_keys, json_values))
def test_junk_mappings_never_raise(found: dict[str, object]) -> None:
    event = from_mapping(found)
    assert event is None or event.kind in ("request", "request_note")


@given(
    st.sampled_from(["", "method=GET path=/ ", "{", "{:_method=>", '{"', "@cee: ", "method:GET\t"]), st.text()
)
def test_junk_text_never_raises(head: str, tail: str) -> None:
    parse_lograge(head + tail)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(
    "head",
    ["", "method=GET status=1 ", "method=GET status=1 error='", "method=GET status=1 params={", "{:_method=>", '{"method" => "GET", "', "method:GET\t"],
)  # fmt: skip
def test_a_hundred_kilobytes_take_no_time(head: str, tail: str) -> None:
    assert seconds(parse_lograge, head + tail * (100_000 // len(tail))) < 2.0
