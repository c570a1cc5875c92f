"""The plain ALB line parser: every shape of line that the real logs hold, and the damaged ones."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from oomscope.alb.line import (
    Damaged,
    micros,
    normalise_trace_id,
    parse_line,
    read_line,
    sniff_alb,
    split_request,
)

TIME, CREATED = "2026-01-02T10:05:00.123456Z", "2026-01-02T10:04:59.000001Z"
AGENT = "Mozilla/5.0 (X11; Linux x86_64)"
GROUP = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/73e2d6bc24d8a067"
TRACE = "Root=1-67891233-abcdef012345678912345678"


def line(
    *,
    kind: str = "h2",
    at: str = TIME,
    client: str = "192.0.2.1:1234",
    target: str = "10.0.0.1:3000",
    times: str = "0.001 0.250 0.000",
    status: str = "200 200",
    sizes: str = "340 1850",
    request: str = "GET https://shop.example.com:443/items/7?full=1 HTTP/2.0",
    agent: str = AGENT,
    trace: str = TRACE,
    created: str = CREATED,
    error: str = "-",
    tail: str = "",
) -> str:
    """One line of 29 fields, plus ``tail``."""
    return (
        f"{kind} {at} app/web/50dc6c495c0c9188 {client} {target} {times} {status} {sizes} "
        f'"{request}" "{agent}" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 {GROUP} "{trace}" "shop.example.com" "-" 0 '
        f'{created} "forward" "-" "{error}" "{target}" "200" "-" "-"{tail}'
    )


TID = " TID_0123456789abcdef0123456789abcdef"
TAILS = {
    "29 fields (2023)": "",
    "30 fields (2024)": TID,
    "33 fields (2025)": f'{TID} "-" "-" "-"',
    "34 fields (2026)": f'{TID} "-" "-" "-" 10.0.9.9',
    "35 fields (next)": f'{TID} "-" "-" "-" 10.0.9.9 new',
    "40 fields": f'{TID} "-" "-" "-" 10.0.9.9 "a b" c "d" e "f g"',
}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_fields_are_found_by_position_whatever_is_added_at_the_end(tail: str) -> None:
    row = parse_line(line(tail=tail).encode())
    assert row["method"] == "GET"
    assert row["host"] == "shop.example.com"
    assert (row["path"], row["query"], row["protocol"]) == ("/items/7", "full=1", "HTTP/2.0")
    assert (row["client"], row["client_port"]) == ("192.0.2.1", 1234)
    assert (row["target_ip"], row["target_port"]) == ("10.0.0.1", 3000)
    assert (row["received_bytes"], row["sent_bytes"]) == (340, 1850)
    assert row["time"] - row["created_at"] == 1_123_455
    assert row["trace_id"] == TRACE
    assert row["target_group"] == GROUP
    assert row["conn_trace_id"] == (TID.strip() if tail else None)
    assert row["repaired"] is False


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"client": "2001:db8::1:443"}, {"client": "2001:db8::1", "client_port": 443}),
        ({"client": "[2001:db8::1]:443"}, {"client": "2001:db8::1", "client_port": 443}),
        ({"client": "-"}, {"client": None, "client_port": None}),
        ({"target": "-"}, {"target_ip": None, "target_port": None}),
        ({"status": "502 -"}, {"elb_status": 502, "target_status": None}),
        ({"status": "000 -"}, {"elb_status": 0, "target_status": None}),
        ({"status": "- -"}, {"elb_status": None, "target_status": None}),
        ({"times": "-1 -1 -1"}, {"request_processing_s": None, "target_processing_s": None}),
        ({"times": "0.001 4.205 -1"}, {"target_processing_s": 4.205, "response_processing_s": None}),
        ({"sizes": "0 0"}, {"received_bytes": 0, "sent_bytes": 0}),
        ({"sizes": "123456789012 5"}, {"received_bytes": 123456789012}),
        ({"agent": "-"}, {"user_agent": None}),
        ({"agent": r"evil \x22quoted\x22 \x1b[31m"}, {"user_agent": r"evil \x22quoted\x22 \x1b[31m"}),
        ({"trace": "-"}, {"trace_id": None}),
        ({"trace": f"Self=1-67891234-12456789abcdef012345678a;{TRACE}"}, {"trace_id": TRACE}),
        ({"trace": f"{TRACE};CalledFrom=app"}, {"trace_id": TRACE}),
        ({"error": "LambdaUnhandled"}, {"error_reason": "LambdaUnhandled"}),
        ({"kind": "wss", "status": "101 101"}, {"type": "wss", "elb_status": 101}),
        ({"kind": "grpcs"}, {"type": "grpcs"}),
        ({"at": "2026-01-02T10:05:00Z"}, {"time": micros(b"2026-01-02T10:05:00Z")}),
        ({"created": "-"}, {"created_at": None}),
    ],
    ids=lambda value: next(iter(value.items()))[0] + "=" + str(next(iter(value.values())))[:20],
)  # fmt: skip
def test_values(change: dict[str, str], expected: dict[str, object]) -> None:
    row = parse_line(line(**change).encode())
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        ("GET http://a.example:80/ HTTP/1.1", ("GET", "a.example", "/", None, "HTTP/1.1")),
        ("GET http://a.example:80 HTTP/1.1", ("GET", "a.example", "/", None, "HTTP/1.1")),
        ("- http://host.example:80- -", (None, "host.example", None, None, None)),
        ("- - -", (None, None, None, None, None)),
        ("- - - ", (None, None, None, None, None)),
        ("GET https://[2001:db8::1]:443/x HTTP/2.0", ("GET", "[2001:db8::1]", "/x", None, "HTTP/2.0")),
        ("GET https://u:p@h.example:443/x HTTP/2.0", ("GET", "h.example", "/x", None, "HTTP/2.0")),
        ("GET wss://h.example:443/cable HTTP/1.1", ("GET", "h.example", "/cable", None, "HTTP/1.1")),
        ("GET https://h.example:443/a b/c?d=e f HTTP/1.1", ("GET", "h.example", "/a b/c", "d=e f", "HTTP/1.1")),
        ("GET https://h.example:443/?u=https://x/y HTTP/1.1", ("GET", "h.example", "/", "u=https://x/y", "HTTP/1.1")),
        ("OPTIONS * HTTP/1.1", ("OPTIONS", None, "*", None, "HTTP/1.1")),
        ("GET /relative?x HTTP/1.1", ("GET", None, "/relative", "x", "HTTP/1.1")),
        ("", (None, None, None, None, None)),
    ],
)  # fmt: skip
def test_request_is_split_into_method_host_path_query_protocol(
    request_text: str, expected: tuple[str | None, ...]
) -> None:
    assert split_request(request_text.encode()) == expected


@pytest.mark.parametrize("agent", ['quo"ted', 'two "raw" quotes', r"old \" style", '"', 'a" "b'])
def test_raw_quotes_in_the_user_agent_are_read_around(agent: str) -> None:
    row = parse_line(line(agent=agent, tail=TID).encode())
    assert row["user_agent"] == agent
    assert row["trace_id"] == TRACE
    assert row["repaired"] is True


def test_raw_quotes_that_leave_two_readings_are_damage() -> None:
    forged = line(agent="x", trace=TRACE)
    whole = forged.partition('"x"')[2]
    hostile = line(agent=f'a"{whole[: whole.index("forward")]}b', tail=TID)
    with pytest.raises(Damaged):
        parse_line(hostile.encode())


@pytest.mark.parametrize(
    "damage",
    [
        b"", b"x", b"h2 " + TIME.encode(), line().encode()[:200], line().encode()[100:], line(at="yesterday").encode(),
        line(at="2026-02-30T10:00:00.000000Z").encode(), line(status="20O 200").encode(), line(sizes="1 ").encode(),
        line(client="1.2.3.4:http").encode(), line(kind="H2").encode(),
        line().replace(" app/web", "  app/web").encode(),
        line().replace('"forward"', '"forward').encode(), line(created="soon").encode(), line(times="a b c").encode(),
        line(agent="x" * 300_000).encode(), b"\x00" * 500, b'" ' * 400,
        b"tls 2.0 2026-01-02T10:05:00 net/lb/1 2 10.0.0.1:5 10.0.0.2:6 5 2 98 246 - arn - - - - - - -",
    ],
    ids=lambda value: repr(value[:24]),
)  # fmt: skip
def test_damaged_lines_are_refused_and_counted(damage: bytes) -> None:
    with pytest.raises(Damaged):
        parse_line(damage)
    row, stats = read_line(damage or b"?", None)
    assert row is None
    assert stats.damaged == 1


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    row = parse_line(line(agent="caf?").encode().replace(b"caf?", b"caf\xe9"))
    assert row["user_agent"] == "caf\ufffd"


def test_control_and_blank_lines_are_no_damage() -> None:
    test_object = b"Enable AccessLog for ELB: web at 2026-01-02T10:05:00.000Z"
    assert read_line(test_object, None)[1].control == 1
    assert read_line(b"\r\n", None)[1].blank == 1


def test_lines_outside_the_window_are_not_parsed_further() -> None:
    start = line().partition("app/")[0].encode() + b"rubbish"
    assert read_line(start, (0, 1))[1].outside == 1
    assert read_line(start, (0, micros(TIME.encode()) + 1))[1].damaged == 1
    assert read_line(line().encode(), (micros(TIME.encode()), micros(TIME.encode()) + 1))[1].rows == 1


def test_carriage_returns_at_the_end_are_no_part_of_the_line() -> None:
    assert parse_line(line(tail=TID).encode() + b"\r\n")["conn_trace_id"] == TID.strip()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (line().encode() + b"\n", True),
        (b"\xef\xbb\xbf" + line().encode(), True),
        (b"rubbish\n" + line().encode(), True),
        (b"Enable AccessLog for ELB: web", True),
        (line().encode()[:120], True),
        (b"", False),
        (b'{"log":"Started GET"}\n', False),
        (b"I, [2026-01-02T10:05:00.123456 #1]  INFO -- : Started GET", False),
        (b"2026-01-02T10:05:00.123456Z stdout F h2", False),
        (bytes(range(256)) * 16, False),
    ],
)
def test_sniff(head: bytes, expected: bool) -> None:
    assert sniff_alb(head) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TRACE, TRACE),
        ("Root1-67891233-abcdef012345678912345678", TRACE),
        (
            "Self1-67891234-12456789abcdef012345678aRoot1-67891233-abcdef012345678912345678CalledFromapp",
            TRACE,
        ),
        ("Self1-67891234-12456789abcdef012345678aRoot1-67891233-abcdef012345678912345678Lineage", TRACE),
        ("Root=1-67891233-ABCDEF012345678912345678", TRACE),
        ("Root=1-67891233-abc", None),
        (None, None),
    ],
)
def test_trace_ids_of_both_sides_become_equal(text: str | None, expected: str | None) -> None:
    assert normalise_trace_id(text) == expected


def test_times_are_utc_microseconds() -> None:
    at = datetime(2026, 1, 2, 10, 5, 0, 123456, tzinfo=UTC)
    assert micros(TIME.encode()) == round(at.timestamp() * 1_000_000)
    assert micros(b"2026-01-02T10:05:00.123456789Z") == micros(TIME.encode())
