"""What the application log alone tells of body sizes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from oomscope.analyze.bodies import body_bytes
from oomscope.facts import REQUEST_SCHEMA, polars_schema

KILLED = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


def request(
    started: float, gap: float | None, method: str = "POST", params: int | None = 100
) -> dict[str, Any]:
    at = KILLED + timedelta(seconds=started)
    return {
        "stream": "s", "method": method, "path": "/a", "started_at": at, "params_bytes": params,
        "processing_at": None if gap is None else at + timedelta(seconds=gap),
        "ended_at": None if gap is None else at + timedelta(seconds=gap + 0.1),
        "state": "rack_level" if gap is None else "completed",
    }  # fmt: skip


def estimate(*rows: dict[str, Any]) -> list[float | None]:
    return body_bytes(pl.DataFrame(list(rows), schema=polars_schema(REQUEST_SCHEMA)), KILLED).to_list()


ORDINARY = [request(-20 + i / 10, 0.003) for i in range(200)]


def test_a_long_gap_before_the_controller_is_a_large_body() -> None:
    *ordinary, slow = estimate(*ORDINARY, request(-15, 4.0, params=None))
    assert set(ordinary) == {100.0}
    assert slow is not None
    assert 3e6 < slow < 5e6


def test_a_request_still_being_parsed_counts_what_it_has_taken() -> None:
    parsing = estimate(*ORDINARY, request(-6, None, params=None))[-1]
    assert parsing is not None
    assert 5e6 < parsing < 7e6


def test_a_stall_of_the_whole_process_is_no_body() -> None:
    assert set(estimate(*(request(-10 + i / 100, 4.0) for i in range(50)))) == {100.0}


def test_requests_without_a_body_and_long_parameters() -> None:
    assert estimate(*ORDINARY, request(-5, 4.0, method="GET"))[-1] is None
    assert estimate(*ORDINARY, request(-5, 0.003, params=14_700_000))[-1] == 14_700_000


def test_a_process_that_stood_still_parsed_nothing() -> None:
    moving = [row for row in ORDINARY if row["started_at"] < KILLED - timedelta(seconds=9)]
    assert estimate(*moving, request(-9, None, params=None))[-1] is None
