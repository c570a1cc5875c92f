"""Two edges of "in flight": a body still being sent, and a kill time that only has whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from oomscope.analyze.in_flight import find_in_flight
from oomscope.analyze.investigate import _sharpened
from oomscope.analyze.model import AccessJoin, KillCase
from oomscope.analyze.names import EndpointNames
from oomscope.evidence import Bundle
from oomscope.facts import ACCESS_SCHEMA, REQUEST_SCHEMA, Coverage, LogStream, polars_schema

KILLED = datetime(2026, 11, 23, 3, 0, 10, 500_000, UTC)
STREAM = LogStream("s", "log", pod="web-1", coverage=Coverage(10, 10, 100, 2, 2), last_at=KILLED)
KILL = KillCase("oom_limit", "kernel_limit", 0.99, "", killed_at=KILLED, pod_name="web-1", stream="s")


def request(number: int, started: float, ended: float | None) -> dict[str, object]:
    at = KILLED + timedelta(seconds=started)
    return {
        "stream": "s", "request_id": f"r{number}", "method": "GET", "path": f"/a/{number}", "endpoint": "A#show",
        "started_at": at, "processing_at": at, "ended_at": None if ended is None else KILLED + timedelta(seconds=ended),
        "state": "open" if ended is None else "completed", "status": None if ended is None else 200, "line": number,
    }  # fmt: skip


def access(number: int, started: float, ended: float, status: int, target: int | None) -> dict[str, object]:
    return {
        "created_at": KILLED + timedelta(seconds=started), "time": KILLED + timedelta(seconds=ended),
        "elb_status": status, "target_status": target, "method": "GET", "path": f"/a/{number}", "line": number,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ended", "alb_end", "status", "target", "open_"),
    [
        (-0.01, 0.1, 502, None, True),  # the action ended, the answer never reached the load balancer
        (-0.01, 0.1, 200, 200, False),  # it did
        (-0.01, 0.1, 502, 502, False),  # the app's own 502
        (-0.01, -0.005, 502, None, False),  # over before the kill
        (-30.0, 0.1, 502, None, False),  # ended long before: another thing
        (None, 0.1, 502, None, True),
    ],
)
def test_a_body_still_being_sent_is_in_flight(
    ended: float | None, alb_end: float, status: int, target: int | None, open_: bool
) -> None:
    rows = [request(0, -40.0, -39.0), request(1, -31.0 if ended == -30.0 else -1.0, ended)]
    requests = pl.DataFrame(rows, schema=polars_schema(REQUEST_SCHEMA))
    accesses = pl.DataFrame([access(1, -1.0, alb_end, status, target)], schema=polars_schema(ACCESS_SCHEMA))
    pairs = pl.DataFrame({"request_row": [1], "access_row": [0], "how": ["trace_id"], "offset_s": [0.0]})
    join = AccessJoin(pairs, accesses.clear().with_row_index("row"))
    bundle = Bundle(requests=requests, accesses=accesses, streams=(STREAM,))
    found = find_in_flight(bundle, KILL, join, EndpointNames(requests, accesses))
    assert found.requests["request_id"].to_list() == (["r1"] if open_ else [])


@pytest.mark.parametrize(
    ("killed", "last", "sharpened"),
    [(10.0, 10.8, 10.8), (10.0, 9.5, 10.0), (10.0, 11.5, 10.0), (10.25, 10.8, 10.25)],
)
def test_whole_seconds_are_sharpened_by_the_last_line(killed: float, last: float, sharpened: float) -> None:
    base = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
    kill = KillCase("not_oom", "x", 0.9, "", killed_at=base + timedelta(seconds=killed))
    stream = LogStream("s", "log", last_at=base + timedelta(seconds=last))
    assert _sharpened(kill, stream).killed_at == base + timedelta(seconds=sharpened)
