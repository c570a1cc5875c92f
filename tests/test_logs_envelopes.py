"""Every container envelope gives the same requests as the bare log, with owner and time; broken ones never crash."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomscope.logs import sniff_log
from oomscope.logs.clock import rfc3339_ns, zone_seconds
from oomscope.logs.interface import Identity
from oomscope.logs.lines import MAX_LINE, LineReader, ObjectReader
from tests.logs_help import (
    CONTAINER_ID,
    ENVELOPES,
    Bytes,
    answer_compact,
    capture,
    cri,
    docker,
    events,
    fluent_record,
    kubectl_prefix,
    scanned,
    states,
    times,
)

WITH_ID = {
    "fluentbit",
    "fluentd",
    "answer_pretty",
    "answer_compact",
    "answer_event_a_line",
    "answer_array",
    "event_lines",
}


@pytest.mark.parametrize("name", ENVELOPES)
@pytest.mark.parametrize("log", ["rails61_sample", "v61_simple", "v61_notags"])
def test_an_envelope_changes_nothing_in_the_requests(name, log):
    bare, (wrap, _) = capture(log), ENVELOPES[name]
    expected, found = scanned(bare), scanned(wrap(bare))
    assert states(found) == states(expected)
    assert found.jobs.drop("stream", "pod", "container_id", "line", "raw").select(
        "job_id", "state"
    ).rows() == (expected.jobs.select("job_id", "state").rows())


@pytest.mark.parametrize("name", ENVELOPES)
def test_an_envelope_is_known_by_its_content(name):
    wrap, kind = ENVELOPES[name]
    assert sniff_log(wrap(capture("v61_simple"))[:65536]) == kind


@pytest.mark.parametrize("name", sorted(WITH_ID))
def test_the_owner_comes_from_the_record(name):
    (stream,) = scanned(ENVELOPES[name][0](capture("v61_simple"))).streams
    assert (stream.container_id, stream.pod, stream.container, stream.namespace) == (
        CONTAINER_ID,
        "web-1",
        "app",
        "prod",
    )
    assert stream.stream == CONTAINER_ID


def test_the_owner_comes_from_the_kubectl_prefix_and_the_prefix_is_no_tag():
    result = scanned(kubectl_prefix(capture("v61_simple")))
    assert result.streams[0].stream == "web-1/app"
    assert result.requests["request_id"].null_count() == 0


def test_what_the_source_knows_fills_what_the_record_leaves_out():
    (stream,) = scanned(
        Bytes(capture("v61_simple"), "live", Identity(pod="web-9", container_id="cd" * 32))
    ).streams
    assert (stream.pod, stream.stream) == ("web-9", "cd" * 32)


def test_partial_pieces_are_joined_per_stream():
    text = (
        '2026-11-23T09:00:00.1Z stdout P [abc-1] Started GET "/a\n'
        "2026-11-23T09:00:00.15Z stderr F warning in between\n"
        '2026-11-23T09:00:00.2Z stdout F b" for 1.2.3.4 at 2026-11-23 09:00:00 +0000\n'
        "2026-11-23T09:00:00.3Z stdout F [abc-1] Processing by AController#show as JSON\n"
    )
    result = scanned(text)
    assert result.requests.select("path", "state").rows() == [("/ab", "open")]
    assert result.requests["started_at"][0].microsecond == 100_000


def test_docker_pieces_without_line_end_are_joined():
    rows = [
        {"log": part, "stream": "stdout", "time": "2026-11-23T09:00:00Z"}
        for part in ('[abc-1] Started GET "/a', "b")
    ]
    rows.append(
        {
            "log": '" for 1.2.3.4 at 2026-11-23 09:00:00 +0000\n',
            "stream": "stdout",
            "time": "2026-11-23T09:00:00Z",
        }
    )
    result = scanned("".join(json.dumps(row) + "\n" for row in rows))
    assert result.requests["path"].to_list() == ["/ab"]


@pytest.mark.parametrize(
    ("data", "cut"),
    [
        (cri(capture("v61_nosync")), False),
        (cri(capture("v61_nosync")) + b"2026-11-23T09:00:01Z stdout P [abc] Star", True),
        (capture("v61_nosync") + b"I, [2026-11", True),
        (
            docker(capture("v61_nosync"))
            + b'{"log":"I, [2026","stream":"stdout","time":"2026-11-23T09:00:01Z"}\n',
            True,
        ),
    ],
)
def test_an_unfinished_last_line_is_told(data, cut):
    assert [stream.cut_tail for stream in scanned(data).streams] == [cut]


def test_equal_milliseconds_in_any_order_are_put_back():
    rows = events(capture("rails61_sample"))
    for row in rows:
        row["timestamp"] = row["timestamp"] // 50 * 50
    shuffled = [row for start in range(0, len(rows), 50) for row in reversed(rows[start : start + 50])]
    data = json.dumps({"events": shuffled}).encode()
    assert states(scanned(data)) == states(scanned(capture("rails61_sample")))


def test_bare_messages_of_one_millisecond_are_ordered_by_the_loggers_microseconds():
    rows = [
        {"timestamp": 1795424468625, "message": line, "ingestionTime": 1795424470000}
        for line in capture("v61_nosync").decode().splitlines()
        if line.startswith("I, [")
    ]
    assert states(scanned(json.dumps({"events": rows[::-1]}))) == {
        "/js": ["completed", "completed"],
        "/boom": ["completed"],
        "/slow": ["open"],
    }


def test_fargate_puts_the_cri_prefix_inside_the_record():
    rows = [json.dumps({"log": f"{at} stdout F {line}"}) for at, line in times(capture("v61_simple"))]
    assert states(scanned("\n".join(rows))) == states(scanned(capture("v61_simple")))


def test_a_record_cut_at_the_size_limit_still_gives_its_line():
    long_line = "[abc-1]   Parameters: " + "x" * 500
    rows = events(
        b'[abc-1] Started POST "/big" for 1.2.3.4 at 2026-11-23 09:00:00 +0000\n[abc-1] Processing by A#b as JSON\n'
    )
    cut = dict(
        rows[1],
        message=json.dumps(fluent_record("2026-11-23T09:00:00.5Z", long_line))[:300],
        timestamp=rows[1]["timestamp"] + 9,
    )
    result = scanned(json.dumps({"events": [*rows, cut]}))
    assert result.requests.select("path", "state").rows() == [("/big", "open")]
    assert result.requests["params"][0].startswith("xxx")


def test_two_containers_in_one_answer_are_two_streams():
    first, second = events(capture("v61_nosync")), events(capture("v61_simple"))
    other = "cd" * 32
    for row in second:
        row["message"] = row["message"].replace(CONTAINER_ID, other)
    result = scanned(
        json.dumps({"events": [row for pair in zip(first, second, strict=False) for row in pair]})
    )
    assert {stream.stream for stream in result.streams} == {CONTAINER_ID, other}


def test_a_long_line_keeps_its_head_and_the_next_line_is_whole():
    reader = LineReader(Bytes(b"a" * (MAX_LINE * 3) + b"\nnext\nlast").open())
    lines = list(reader)
    assert [len(line) for line in lines] == [MAX_LINE, 4, 4]
    assert reader.cut_tail
    assert reader.bytes == MAX_LINE * 3 + 10


def test_a_giant_parameters_line_is_measured_and_kept_short():
    body = "x" * 3_000_000
    text = (
        '[abc-1] Started POST "/big" for 1.2.3.4 at 2026-11-23 09:00:00 +0000\n[abc-1] Processing by A#b as JSON\n'
        f'[abc-1]   Parameters: {{"a"=>"{body}"}}\n[abc-1] Completed 200 OK in 5ms (Allocations: 1)\n'
    )
    (row,) = scanned(text).requests.to_dicts()
    assert row["state"] == "completed"
    assert row["params_bytes"] >= MAX_LINE - 100
    assert len(row["params"]) <= 4096


@given(st.lists(st.text(alphabet='a"\\{}[], \n', max_size=30), max_size=8), st.sampled_from([None, 1, 4]))
@settings(max_examples=150, deadline=None)
def test_any_text_in_an_event_comes_out_as_it_went_in(texts, indent):
    document = json.dumps(
        {"events": [{"message": text, "timestamp": 1} for text in texts], "searchedLogStreams": []},
        indent=indent,
    )
    found = [item["message"] for item in ObjectReader(Bytes(document.encode() * 2).open(), 2)]
    assert found == texts * 2


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_no_bytes_break_the_readers(data):
    for prefix in (b"", b'{"events": [', b"2026-11-23T09:00:00Z stdout F ", b'{"log":"', b"[pod/a/b] "):
        sniff_log(prefix + data)
        scanned(prefix + data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 5000,
        'Started GET "/日本" の ログ\n'.encode("shift_jis") * 50,
        b'{"events": [' + b'{"message": "' * 5000,
        b"[" * 20_000,
        b'{"log":' * 5000,
        answer_compact(capture("v61_simple"))[:20_000],
        b"\xff\xfe" + "Started GET".encode("utf-16-le"),
    ],
)
def test_junk_gives_no_request_and_no_crash(data):
    assert scanned(data).requests.filter(scanned(data).requests["state"] == "open").height <= 1


def test_an_input_that_breaks_off_keeps_what_was_read_and_leaves_a_gap():
    class Reader:
        def __init__(self, data):
            self.data, self.at = data, 0

        def read(self, size=-1):
            if self.at >= len(self.data):
                raise EOFError("compressed file ended before the end-of-stream marker")
            piece = self.data[self.at : self.at + 1000]
            self.at += 1000
            return piece

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    class Broken(Bytes):
        def open(self):
            return Reader(self.data)

    result = scanned(Broken(capture("v61_simple"), "half.log"))
    assert result.requests.height > 0
    assert [(gap.reason, "half.log" in gap.detail) for gap in result.gaps] == [("cut", True)]


def test_an_empty_input_is_a_gap():
    assert [gap.reason for gap in scanned(b"").gaps] == ["no_data"]


@pytest.mark.parametrize(
    "head",
    [
        b'http 2026-11-23T09:18:26.694049Z app/x/1 1.2.3.4:1 10.0.0.1:3000 0.0 0.1 0.0 200 200 1 2 "GET http://a:80/ HTTP/1.1" "curl" - -',  # noqa: E501
        b"[ 4907.210505] Memory cgroup out of memory: Killed process 24731 (ruby) total-vm:1kB, anon-rss:2kB",
        b"Nov 23 09:21:48 node kernel: ruby invoked oom-killer: gfp_mask=0xcc0",
        b"2026-11-23T09:21:48,471098+00:00 oom-kill:constraint=CONSTRAINT_MEMCG",
        b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-1"}}',
        b'{"kind":"EventList","items":[{"message":"Started container","reason":"Started"}]}',
        b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"]]}]}}',
        b'{"receiver":"x","status":"firing","alerts":[{"labels":{}}],"message":"**Firing**","title":"t"}',
        b"time,pod,bytes\n2026-11-23T09:00:00Z,web-1,1\n",
        b'{"events":[{"logStreamName":"n.host.dmesg","timestamp":1,"message":"{\\"ident\\":\\"kernel\\",\\"message\\":\\"oom\\"}"}]}',
        b"\xff\xd8\xff\xe0JFIF" * 20,
        b"",
        b"plain prose, which Started something and Completed it",
    ],
)
def test_what_is_no_application_log_is_not_claimed(head):
    assert sniff_log(head) is None


def test_an_application_that_quotes_the_kernel_is_still_one():
    text = capture("v61_simple") + b"[abc-1] worker died: Killed process 12 (ruby)\n"
    assert sniff_log(cri(text)) == "cri"
    assert sniff_log(answer_compact(text)) == "filter_log_events"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T09:00:00Z", 0),
        ("2026-11-23T09:00:00.5Z", 500_000_000),
        ("2026-11-23T09:00:00.123456789+00:00", 123_456_789),
        ("2026-11-23T18:00:00.1+09:00", 100_000_000),
        ("2026-11-23T09:00:00", None),
        ("2026-11-23T09:00:00.Z", None),
        ("2026-13-23T09:00:00Z", None),
        ("", None),
    ],
)
def test_runtime_times(text, expected):
    base = rfc3339_ns("2026-11-23T09:00:00Z")
    assert base is not None
    assert rfc3339_ns(text) == (None if expected is None else base + expected)


def test_zones():
    assert (zone_seconds("-0330"), zone_seconds("Z"), zone_seconds("+9")) == (-12_600, 0, None)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ('{"method":"GET","path":"/a","status":200,"duration":1.5,"controller":"A","action":"b"}', "jsonl"),
        ('{"log":"method=GET path=/a","stream":"stdout"}', "jsonl"),
        ('{"message":"all is well","level":"info","time":"2026-01-02T03:04:05Z"}', "jsonl"),
        ('{"message":"all is well"}', None),
        ('{"log":' * 9000, None),
        ("[1,2]", None),
    ],
)
def test_events_without_a_stream_are_told_by_the_object_in_their_message(
    message: str, kind: str | None
) -> None:
    line = json.dumps({"timestamp": 1_767_323_045_000, "message": message}) + "\n"
    assert sniff_log(line.encode()[:65536]) == kind
