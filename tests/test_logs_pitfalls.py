"""Requests that look open and are not (and the other way round), each on a real capture where there is one."""

from __future__ import annotations

import json
from datetime import UTC

import pytest

from oomscope.logs.tracker import (
    NOTE_BEFORE_CONTROLLER,
    NOTE_LIVE,
    NOTE_MIDDLEWARE,
    NOTE_NO_START,
    NOTE_REPLACED,
    NOTE_SUPERSEDED,
)
from tests.logs_help import Bytes, capture, events, fluent_record, one, scanned, states, times

VERSIONS = [
    "rails61_sample",
    "rails70_sample",
    "rails71_sample",
    "rails72_sample",
    "rails80_sample",
    "rails81_sample",
]
AT = "at 2026-11-23 09:00:00 +0000"


def start(tag: str, path: str = "/a", second: int = 0, method: str = "GET") -> str:
    return f'[{tag}] Started {method} "{path}" for 1.2.3.4 at 2026-11-23 09:00:{second:02} +0000\n'


def act(tag: str, name: str = "A#b") -> str:
    return f"[{tag}] Processing by {name} as JSON\n"


def done(tag: str, ms: int = 5) -> str:
    return f"[{tag}] Completed 200 OK in {ms}ms (Allocations: 1)\n"


def whole(tag: str, path: str = "/a") -> str:
    return start(tag, path) + act(tag) + done(tag)


def opened(result) -> list[str]:
    return result.requests.filter(result.requests["state"] == "open")["path"].to_list()


@pytest.mark.parametrize("log", VERSIONS)
def test_01_no_route_is_an_error_not_an_open_request(log):
    row = one(scanned(capture(log)), "/nope")
    assert (row["state"], row["exception"]) == ("errored", "ActionController::RoutingError")
    assert row["ended_at"] is not None


def test_02_no_route_without_a_log_of_rescued_responses_is_rack_level():
    result = scanned(capture("v72_norescued"))
    assert states(result)["/nope"] == ["rack_level"]
    assert one(result, "/nope")["note"] == NOTE_MIDDLEWARE
    assert opened(result) == []


@pytest.mark.parametrize("log", VERSIONS)
def test_03_missing_action_and_bad_requests_end_with_their_error(log):
    result = scanned(capture(log))
    assert one(result, "/missing_action")["exception"] == "AbstractController::ActionNotFound"
    parsed = [
        row for row in result.requests.to_dicts() if row["path"] == "/parse" and row["state"] == "errored"
    ]
    assert {row["exception"] for row in parsed} == {"ActionController::BadRequest"}
    invalid = [
        row["exception"]
        for row in result.requests.to_dicts()
        if row["path"] == "/" and row["state"] == "errored"
    ]
    assert any(name.endswith("InvalidType") for name in invalid)


@pytest.mark.parametrize("log", VERSIONS)
def test_04_an_error_in_middleware_or_a_mounted_app_ends_the_request(log):
    found = states(scanned(capture(log)))
    assert found["/raise_after"] == found["/rackboom"] == ["errored"]


@pytest.mark.parametrize("log", VERSIONS)
@pytest.mark.parametrize("path", ["/health_after", "/blocked", "/throttled"])
def test_05_what_middleware_answered_is_rack_level(log, path):
    row = one(scanned(capture(log)), path)
    assert (row["state"], row["note"], row["ended_at"]) == ("rack_level", NOTE_MIDDLEWARE, None)


@pytest.mark.parametrize("log", VERSIONS)
@pytest.mark.parametrize("path", ["/rackapp/x", "/metal"])
def test_06_what_a_mounted_app_answered_is_rack_level(log, path):
    assert one(scanned(capture(log)), path)["state"] == "rack_level"


@pytest.mark.parametrize(
    ("log", "state"), [("rails61_sample", "rack_level"), ("rails70_sample", "rack_level")]
)
def test_07_a_redirect_by_the_router_leaves_no_trace_up_to_7_0(log, state):
    assert one(scanned(capture(log)), "/old")["state"] == state


@pytest.mark.parametrize("log", VERSIONS)
def test_08_a_websocket_is_no_open_request_and_its_end_carries_no_tag(log):
    result = scanned(capture(log))
    sockets = [row for row in result.requests.to_dicts() if row["path"] == "/cable"]
    assert [row["state"] for row in sockets] == ["completed", "websocket"]
    assert sockets[1]["ended_at"] is not None


def test_08_a_websocket_that_is_never_closed_stays_one():
    text = start("abc-1", "/cable") + '[abc-1] Started GET "/cable/" [WebSocket] for 1.2.3.4 ' + AT + "\n"
    row = one(scanned(whole("abc-0") + text), "/cable")
    assert (row["state"], row["ended_at"]) == ("websocket", None)


@pytest.mark.parametrize("log", ["rails61_sample", "rails71_sample", "v61_simple", "v61_multitags"])
def test_09_a_live_controller_completes_without_its_tag(log):
    row = one(scanned(capture(log)), "/lv/stream")
    assert (row["state"], row["status"], row["note"]) == ("completed", 200, NOTE_LIVE)


def test_09_an_untagged_completed_that_fits_nobody_closes_nobody():
    text = capture("rails61_sample", until="/lv/stream").decode()
    head = "I, [2026-11-23T08:50:00.000000 #24591]  INFO -- : "
    text += head + start("abc-1", "/x") + head + act("abc-1") + head.replace("08:50:00", "08:50:09")
    text += "Completed 200 OK in 3ms (Allocations: 1)\n"
    assert one(scanned(text), "/x")["state"] == "open"


@pytest.mark.parametrize("log", VERSIONS)
def test_10_a_request_that_raised_the_log_level_stays_open_in_the_log(log):
    row = one(scanned(capture(log)), "/silence_all")
    assert (row["state"], row["ended_at"]) == ("open", None)


def test_10_without_threads_to_spare_such_a_request_is_known_to_be_over():
    boot = "Puma starting in single mode...\n*  Max threads: 2\n"
    text = (
        boot
        + start("a-1", "/lost")
        + act("a-1")
        + "".join(start(f"b-{i}", "/b") + act(f"b-{i}") for i in range(2))
    )
    result = scanned(text)
    assert one(result, "/lost")["state"] == "superseded"
    assert NOTE_SUPERSEDED in one(result, "/lost")["note"]
    assert opened(result) == ["/b", "/b"]


def test_11_a_completed_line_inside_another_long_line_counts():
    text = (
        whole("abc-0")
        + start("abc-1", "/a1")
        + act("abc-1")
        + start("abc-2", "/a2", method="POST")
        + act("abc-2")
    )
    text += (
        '[abc-2]   Parameters: {"a"=>"'
        + "x" * 5000
        + "[abc-1] Completed 200 OK in 7ms (Allocations: 1)"
        + "x" * 50
        + "\n"
    )
    result = scanned(text)
    assert opened(result) == ["/a2"]
    assert one(result, "/a1")["duration_ms"] == 7


def test_11_a_log_that_lost_its_completed_lines_says_so():
    text = "".join(start(f"id-{i}") + act(f"id-{i}") + (done(f"id-{i}") if i % 2 else "") for i in range(400))
    (stream,) = scanned(text).streams
    assert stream.cannot_show == "unfit"
    assert "50" in stream.why
    assert stream.coverage.closed == 200


def test_12_a_slice_that_starts_in_the_middle_makes_no_request_of_a_lone_completed():
    text = done("old-1") + act("old-2") + done("old-2") + whole("abc-1")
    result = scanned(text)
    assert result.requests.height == 2
    assert result.requests.filter(result.requests["note"] == NOTE_NO_START)["state"].to_list() == [
        "completed"
    ]


@pytest.mark.parametrize("log", VERSIONS)
def test_13_forged_lines_in_messages_and_file_names_are_continuations(log):
    result = scanned(capture(log))
    assert "/fake" not in states(result)
    assert one(result, "/data_inject")["status"] == 200
    injected = [row for row in result.requests.to_dicts() if "inject" in (row["path"] or "")]
    assert all(row["note"] is None for row in injected)


def test_13_a_forged_completed_does_not_close_the_request_that_wrote_it():
    text = (
        whole("abc-0")
        + start("abc-1", "/x")
        + act("abc-1")
        + "[abc-1] Sent data a\nCompleted 200 OK in 1ms (Allocations: 1)\n"
    )
    assert one(scanned(text), "/x")["state"] == "open"


@pytest.mark.parametrize("log", ["rails61_sample", "rails81_sample", "v61_notags"])
def test_14_two_sinks_on_one_stream_count_once(log):
    single = capture(log)
    doubled = b"".join(line + b"\n" + line + b"\n" for line in single.split(b"\n"))
    assert states(scanned(doubled)) == states(scanned(single))


def test_15_a_retry_under_the_same_id_is_a_request_of_its_own():
    text = (
        whole("abc-0")
        + start("same-1")
        + act("same-1")
        + start("same-1", second=1)
        + act("same-1")
        + done("same-1")
    )
    result = scanned(text)
    rows = [row for row in result.requests.to_dicts() if row["request_id"] == "same-1"]
    assert sorted(row["state"] for row in rows) == ["completed", "open"]


def test_15_one_id_for_every_request_is_no_id():
    text = "".join(whole("constant", f"/p{i}") for i in range(30))
    result = scanned(text)
    assert result.requests["request_id"].null_count() == 30
    assert result.requests["state"].unique().to_list() == ["completed"]


def test_16_a_graceful_stop_is_told_and_completions_after_it_count():
    result = scanned(capture("v61_cluster"))
    (stream,) = result.streams
    assert stream.stop_seen_at is not None
    assert states(result)["/slow"] == ["open", "completed"]


@pytest.mark.parametrize(
    ("log", "end"), [("v61_cluster", "timeout_killed"), ("v72_cluster", "timeout_killed")]
)
def test_17_a_worker_killed_for_its_timeout_is_told_from_one_that_vanished(log, end):
    lives = scanned(capture(log)).lives
    ends = [life.end for life in lives if life.role == "worker"]
    assert ends.count(end) == 1
    assert ends.count("unknown") == 1
    assert ends.count("graceful") == 2


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("v61_lograge_KeyValue", "lograge"),
        ("v61_lograge_Json", "lograge"),
        ("v61_warn", "info_less"),
        ("v61_hosts", "no_rails_lines"),
    ],
)
def test_18_a_log_without_starts_says_unknown_and_how_to_mend_it(log, reason):
    result = scanned(capture(log))
    (stream,) = result.streams
    assert stream.cannot_show == reason
    assert stream.why
    assert stream.fix.startswith("config.")
    assert opened(result) == []


@pytest.mark.parametrize("log", ["v61_cluster", "v72_cluster"])
def test_19_the_open_request_belongs_to_the_worker_that_vanished(log):
    result = scanned(capture(log))
    (row,) = [row for row in result.requests.to_dicts() if row["state"] == "open"]
    (vanished,) = [life for life in result.lives if life.end == "unknown"]
    assert row["pid"] == vanished.pid
    assert row["note"] == NOTE_REPLACED
    assert vanished.last_line_at >= row["started_at"]


def test_19_two_containers_of_a_pod_are_two_streams():
    first, second = events(capture("v61_nosync")), events(capture("v61_enum"))
    for row in second:
        row["message"] = row["message"].replace("ab" * 32, "cd" * 32)
    result = scanned(json.dumps({"events": first + second}))
    assert dict(result.requests.group_by("container_id").len().rows()) == {"ab" * 32: 4, "cd" * 32: 1}


def test_20_no_more_requests_than_threads_even_if_many_lines_are_lost():
    boot = "[1] Puma starting in cluster mode...\n[1] *  Max threads: 3\n[1] *      Workers: 2\n"
    text = boot + "".join(start(f"id-{i}") + act(f"id-{i}") for i in range(40))
    result = scanned(text)
    assert len(opened(result)) == 6
    newest = result.requests.filter(result.requests["state"] == "open")["request_id"].to_list()
    assert newest == [f"id-{i}" for i in range(34, 40)]


@pytest.mark.parametrize("log", VERSIONS[2:])
def test_21_a_redirect_by_the_router_completes_without_parenthesis(log):
    row = one(scanned(capture(log)), "/old")
    assert (row["state"], row["status"], row["endpoint"]) == ("completed", 301, None)


@pytest.mark.parametrize("log", VERSIONS)
def test_22_a_throw_completes_without_a_status(log):
    row = one(scanned(capture(log)), "/thrown")
    assert (row["state"], row["status"], row["duration_ms"] is not None) == ("completed", None, True)


def test_23_an_exceptions_app_is_a_second_action_of_the_same_request():
    result = scanned(capture("v61_excapp"))
    boom = one(result, "/boom")
    assert (boom["state"], boom["status"], boom["exception"]) == ("completed", 500, "RuntimeError")
    assert boom["endpoint"] == "PagesController#boom"
    assert one(result, "/nope")["state"] == "completed"


def test_23_killed_in_the_second_action_it_is_open():
    text = (
        whole("abc-0") + start("abc-1", "/login", method="POST") + act("abc-1", "SessionsController#create")
    )
    text += "[abc-1] Completed 401 Unauthorized in 5ms (Allocations: 1)\n" + act(
        "abc-1", "SessionsController#new"
    )
    row = one(scanned(text), "/login")
    assert (row["state"], row["endpoint"], row["ended_at"]) == ("open", "SessionsController#create", None)


def test_24_a_completed_line_that_could_not_be_written_ends_the_request():
    text = whole("abc-0") + start("abc-1", "/x") + act("abc-1")
    text += '[abc-1] Could not log "process_action.action_controller" event. NoMethodError: nil\n'
    assert one(scanned(text), "/x")["state"] == "completed"


def test_25_only_the_last_start_of_a_job_can_be_open():
    line = "2026-11-23T08:33:{:02}.806Z pid=2 tid=g58 class=SlowJob jid=59b62d800da22c0ca0425b64 INFO: {}\n"
    text = (
        line.format(1, "start")
        + line.format(9, "start")
        + line.replace("59b62d", "777777").format(10, "start")
    )
    jobs = scanned(text).jobs
    assert jobs["state"].to_list() == ["superseded", "open", "open"]
    assert "again" in jobs.filter(jobs["state"] == "superseded")["note"][0]


def test_26_a_hijacked_connection_is_rack_level():
    text = whole("abc-0", "/a") + start("abc-1", "/events")
    row = one(scanned(text), "/events")
    assert (row["state"], row["note"]) == ("rack_level", NOTE_MIDDLEWARE)


def test_a_lone_start_of_a_path_that_reaches_controllers_is_said_to_be_before_its_controller():
    text = "".join(whole(f"abc-{i}", f"/orders/{i}") for i in range(3)) + start("big-1", "/orders/99")
    assert one(scanned(text), "/orders/99")["note"] == NOTE_BEFORE_CONTROLLER


def test_a_body_parsed_for_seconds_still_meets_its_controller():
    row = next(r for r in scanned(capture("v61_bigbody")).requests.to_dicts() if r["state"] == "completed")
    assert (row["processing_at"] - row["started_at"]).total_seconds() == pytest.approx(7.526, abs=0.01)
    assert row["allocations"] == 10_000_457


def test_the_requests_a_kill_left_open_are_open():
    assert opened(scanned(capture("v61_nosync"))) == ["/slow"]
    assert opened(scanned(capture("v81_cluster")))[0] == "/slow"


def test_a_tag_with_a_client_chosen_id_is_an_id():
    text = (
        "".join(whole(f"{i:08x}-1111-2222-3333-444455556666") for i in range(9))
        + start("abcDEF_123-@x", "/own")
        + act("abcDEF_123-@x")
    )
    assert one(scanned(text), "/own")["request_id"] == "abcDEF_123-@x"


def test_an_id_of_forbidden_characters_only_leaves_an_untagged_request_that_the_prefix_vouches_for():
    text = capture("rails61_sample").decode("utf-8", "replace")
    head = "I, [2026-11-23T08:50:00.000000 #24591]  INFO -- : "
    text += head + start("x", "/bare")[4:] + head + act("x")[4:]
    assert one(scanned(text), "/bare")["state"] == "open"


@pytest.mark.parametrize("threads", [1, 5])
def test_untagged_threads_are_said_to_be_untellable(threads):
    head = "I, [2026-11-23T09:00:00.{:06} #7]  INFO -- : "
    lines = ["Puma starting in single mode...", f"*  Max threads: {threads}"]
    for i in range(20):
        base = i * 20_000
        lines += [head.format(base + 1) + start("x", f"/a{i}")[4:-1], head.format(base + 2) + act("x")[4:-1]]
        if threads > 1:
            lines += [
                head.format(base + 3) + start("x", f"/b{i}")[4:-1],
                head.format(base + 4) + act("x")[4:-1],
            ]
            lines += [head.format(base + 5005) + done("x")[4:-1]]
        lines += [head.format(base + 5006) + done("x")[4:-1]]
    (stream,) = scanned("\n".join(lines)).streams
    assert stream.cannot_show == (None if threads == 1 else "untagged_threads")


def test_output_that_arrives_in_bursts_is_called_unsynced():
    rows = []
    for i, (_, line) in enumerate(times(capture("rails61_sample"))):
        late = f"2026-11-23T08:{42 + i // 300}:00.000000001Z"
        rows.append(json.dumps(fluent_record(late, line)))
    (stream,) = scanned("\n".join(rows)).streams
    assert (stream.cannot_show, stream.fix) == ("unsynced", "$stdout.sync = true in config/boot.rb")


def test_a_background_queue_is_called_unsynced():
    assert scanned(capture("semantic_json_all")).streams[0].cannot_show == "unsynced"


def test_logger_times_without_a_zone_are_refused_unless_the_user_says_it():
    text = capture("v61_warn")
    refused, told = scanned(text), scanned(text, tz=UTC)
    assert [(gap.reason, gap.fix[:18]) for gap in refused.gaps] == [("unparsable", "say it with --tz, ")]
    assert refused.streams[0].first_at is None
    assert told.gaps == ()
    assert told.streams[0].first_at.isoformat().startswith("2026-11-23T08:29:13")


def test_the_zone_of_the_logger_comes_from_its_started_lines():
    text = capture("v61_multitags").replace(b"+0000", b"+0900")
    assert scanned(text).requests["started_at"][0].hour == 23


def test_nothing_is_merged_that_only_looks_alike():
    boot = b"Puma starting in single mode...\n*  Max threads: 5\n* Listening on http://0.0.0.0:3000\n"
    rows = [json.dumps(fluent_record(at, line)) for at, line in times(boot)]
    later = "\n".join(rows).replace("ab" * 32, "cd" * 32).replace("T07:00", "T07:30")
    result = scanned(Bytes("\n".join(rows).encode(), "a"), Bytes(later.encode(), "b"))
    assert len(result.streams) == 2
