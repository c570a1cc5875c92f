"""Log and ALB brought together; the rows a dying target leaves."""

from __future__ import annotations

import io
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomscope.alb import parse_alb
from oomscope.analyze.access_join import join
from oomscope.analyze.model import AccessJoin, KillCase
from oomscope.facts import ACCESS_SCHEMA, REQUEST_SCHEMA, PodFacts, empty, polars_schema

DATA = Path(__file__).parent / "data" / "alb"
KILL = datetime(2026, 1, 2, 10, 0, 0, 250_000, tzinfo=UTC)
POD = PodFacts(
    namespace="shop", name="web-1", uid="u1", pod_ips=("10.0.0.1",), created_at=KILL - timedelta(hours=1)
)


def seconds(value: float) -> datetime:
    return KILL + timedelta(seconds=value)


def table(schema: dict[str, str], rows: list[dict[str, Any]]) -> pl.DataFrame:
    full = [{name: row.get(name) for name in schema} for row in rows]
    return pl.DataFrame(full, schema=polars_schema(schema))


def access(start: float, end: float, **more: Any) -> dict[str, Any]:
    """A row of the ALB, seconds relative to the kill; answered 200 by the pod that dies."""
    return {
        "time": seconds(end), "created_at": seconds(start), "type": "h2",
        "client": "192.0.2.1", "target_ip": "10.0.0.1",
        "target_port": 3000, "elb_status": 200, "target_status": 200, "method": "GET", "path": "/a",
        **more,
    }  # fmt: skip


def failed(start: float, end: float, status: int = 502, **more: Any) -> dict[str, Any]:
    return access(start, end, elb_status=status, target_status=None, **more)


def request(start: float, end: float | None, **more: Any) -> dict[str, Any]:
    done = end is not None
    return {
        "started_at": seconds(start), "ended_at": seconds(end) if end is not None else None,
        "method": "GET", "path": "/a",
        "state": "completed" if done else "open", "status": 200 if done else None, **more,
    }  # fmt: skip


def joined(
    requests: list[dict[str, Any]],
    accesses: list[dict[str, Any]],
    *,
    kill: KillCase | None = None,
    pods: tuple[PodFacts, ...] = (POD,),
) -> AccessJoin:
    return join(
        table(REQUEST_SCHEMA, requests), table(ACCESS_SCHEMA, accesses), kill=kill or case(), pods=pods
    )


def case(**more: Any) -> KillCase:
    facts: dict[str, Any] = {
        "verdict": "oom_limit",
        "killed_at": KILL,
        "pod_name": "web-1",
        "pod_uid": "u1",
        **more,
    }
    return KillCase(rule="r", confidence=1.0, statement="", **facts)


def pairs(result: AccessJoin) -> set[tuple[int, int]]:
    return set(result.pairs.select("request_row", "access_row").rows())


# ------------------------------------------------------------------------------------------------ real captures


class File:
    def __init__(self, path: Path) -> None:
        self.path, self.label = path, path.name

    def open(self) -> BinaryIO:
        return io.BytesIO(self.path.read_bytes())


@pytest.mark.parametrize("style", ["elapsed", "minus1"])
@pytest.mark.parametrize("known_pod", [True, False])
def test_both_styles_of_502_give_the_requests_that_were_in_flight(style: str, known_pod: bool) -> None:
    truth = json.loads((DATA / f"{style}.json").read_text())
    accesses = parse_alb([File(DATA / f"{style}.log")])
    pods = (
        (PodFacts(namespace=None, name="web-1", uid="u1", pod_ips=(truth["pod_ip"],)),) if known_pod else ()
    )
    kill = case(killed_at=datetime.fromisoformat(truth["killed_at"]))
    result = join(empty(REQUEST_SCHEMA), accesses, kill=kill, pods=pods)
    lost = set(result.lost["trace_id"])
    assert set(truth["in_flight"]) <= lost
    assert len(lost) == len(truth["in_flight"]) + truth["queued"]  # the others waited in front of the app
    assert result.dead_target == f"{truth['pod_ip']}:3000"
    assert kill.killed_at is not None
    assert result.fingerprint_at is not None
    assert timedelta(0) < result.fingerprint_at - kill.killed_at < timedelta(seconds=1)


# ------------------------------------------------------------------------------------------------- joining


@pytest.mark.parametrize(
    ("of_log", "request_id"),
    [
        ("Root=1-67891233-abcdef012345678912345678", None),
        (
            None,
            "Root1-67891233-abcdef012345678912345678",
        ),  # X-Amzn-Trace-Id as the request id: Rails drops "=" and ";"
        (None, "Self1-67891234-12456789abcdef012345678aRoot1-67891233-ABCDEF012345678912345678"),
    ],
)
def test_a_trace_id_joins_whatever_the_clocks_say(of_log: str | None, request_id: str | None) -> None:
    result = joined(
        [request(1000, 1001, path="/b"), request(2000, 2001, trace_id=of_log, request_id=request_id)],
        [access(-5, -4, trace_id="Root=1-67891233-abcdef012345678912345678")],
    )
    assert result.pairs.select("request_row", "access_row", "how").rows() == [(1, 0, "trace_id")]


def test_calls_of_one_trace_share_its_id_and_are_told_apart_by_path_and_time() -> None:
    trace = {"trace_id": "Root=1-67891233-abcdef012345678912345678"}
    result = joined(
        [request(-9, -8, path="/b", **trace), request(-7, -6, **trace), request(-5, -4, **trace)],
        [access(-5, -4, **trace), access(-7, -6, **trace), access(-9.01, -8, path="/b", **trace)],
    )
    assert pairs(result) == {(0, 2), (1, 1), (2, 0)}


@pytest.mark.parametrize("offset", [0.0, 3.7, -42.0, 3600.0, -5 * 3600.0])
def test_the_offset_of_the_clocks_is_found(offset: float) -> None:
    draw = random.Random(1)
    rows = [(draw.uniform(-600, -1), f"/p{draw.randrange(40)}") for _ in range(200)]
    requests = [request(t + offset + 0.002, t + offset + 0.1, path=path) for t, path in rows]
    result = joined(requests, [access(t, t + 0.101, path=path) for t, path in rows])
    assert pairs(result) == {(i, i) for i in range(200)}
    assert result.clock_offset_s == pytest.approx(offset, abs=0.05)


def test_a_queue_in_front_of_the_app_delays_starts_but_not_ends() -> None:
    """Equal requests one after another, each waiting seconds for a thread: matched by their ends."""
    result = joined(
        [request(-20 + i + 4.5, -20 + i + 5) for i in range(10)],
        [access(-20 + i, -20 + i + 5.001) for i in range(10)],
    )
    assert pairs(result) == {(i, i) for i in range(10)}


def test_status_method_client_and_pod_must_agree() -> None:
    other = PodFacts(
        namespace="shop", name="web-2", uid="u2", pod_ips=("10.0.0.2",), created_at=POD.created_at
    )
    requests = [
        request(-9, -8, status=200, client="192.0.2.1", pod="web-1"),
        request(-9, -8, status=404, client="192.0.2.1", pod="web-1"),
        request(-9, -8, status=200, client="192.0.2.2", pod="web-1"),
        request(-9, -8, status=200, client="192.0.2.1", pod="web-2"),
        request(-9, -8, status=200, client="192.0.2.1", pod="web-1", method="HEAD"),
    ]
    accesses = [
        access(-9, -8, method="HEAD"),
        access(-9, -8, target_ip="10.0.0.2"),
        access(-9, -8, client="192.0.2.2"),
        access(-9, -8, target_status=404),
        access(-9, -8),
    ]
    assert pairs(joined(requests, accesses, pods=(POD, other))) == {(0, 4), (1, 3), (2, 2), (3, 1), (4, 0)}


def test_a_log_that_has_the_proxy_as_client_is_joined_without_it() -> None:
    assert pairs(joined([request(-9, -8, client="10.0.9.9")], [access(-9, -8)])) == {(0, 0)}


def test_method_overrides_are_joined() -> None:
    """Rails logs PATCH where the browser sent POST with _method."""
    assert pairs(joined([request(-9, -8, method="PATCH")], [access(-9, -8, method="POST")])) == {(0, 0)}


def test_every_row_is_used_once_and_equal_ones_are_called_ambiguous() -> None:
    result = joined([request(-9, -8) for _ in range(5)], [access(-9, -8) for _ in range(3)])
    assert result.pairs.height == 3
    assert result.pairs["access_row"].n_unique() == 3
    assert result.ambiguous == 3
    assert any("more than one candidate" in note for note in result.notes)


def test_open_in_the_log_but_answered_at_the_alb_before_the_kill_is_log_loss() -> None:
    trace = {"trace_id": "Root=1-67891233-abcdef012345678912345678"}
    result = joined(
        [request(-9, None, **trace), request(-1, None)], [access(-9, -8, **trace), failed(-1, 0.1)]
    )
    assert dict(result.pairs.select("request_row", "log_loss").rows()) == {0: True, 1: False}
    assert any("log lines are missing" in note for note in result.notes)


def test_requests_open_at_the_kill_meet_their_failed_rows() -> None:
    result = joined(
        [request(-5, None), request(-0.1, None, path="/b"), request(-30, -29)],
        [
            failed(-0.101, 0.1, path="/b"),
            failed(-5.001, 0.1),
            access(-30.001, -29),
            failed(-0.2, 0.1, path="/never-logged"),
        ],
    )
    assert pairs(result) == {(0, 1), (1, 0), (2, 2)}
    assert result.lost.select("row", "path").rows() == [(3, "/never-logged")]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-3000, -10), st.sampled_from("ab"), st.booleans()), max_size=25),
    st.lists(st.tuples(st.integers(-3000, -10), st.sampled_from("ab"), st.booleans()), max_size=25),
)
def test_one_to_one_for_any_input(left: list[Any], right: list[Any]) -> None:
    result = joined(
        [request(t / 10, (t + 5) / 10 if done else None, path=path) for t, path, done in left],
        [
            access(t / 10, (t + 5) / 10, path=path, target_status=200 if done else None)
            for t, path, done in right
        ],
    )
    assert (
        result.pairs["request_row"].n_unique() == result.pairs.height == result.pairs["access_row"].n_unique()
    )
    for of_request, of_access in pairs(result):
        assert left[of_request][1] == right[of_access][1]


def test_nulls_and_nothing_are_no_trouble() -> None:
    nothing = joined([], [])
    assert (nothing.pairs.height, nothing.lost.height, nothing.clock_offset_s) == (0, 0, None)
    assert joined([{"state": "open"}, {}], [{}, {"time": KILL}]).pairs.height == 0
    assert joined([request(-9, -8)], [], kill=case(killed_at=None)).notes == ()


# ----------------------------------------------------------------------------------------- the dying target


BURST = [failed(-5, 0.12), failed(-0.5, 0.121)]


@pytest.mark.parametrize(
    ("row", "in_flight"),
    [
        (failed(-2, 0.12), True),
        (failed(-2, 0.12, target_processing_s=2.1), True),  # elapsed style
        (failed(-2, 10, status=504), True),  # the address was gone as well
        (failed(-2, 1, status=460), True),  # the client gave up on the hung pod
        (failed(0.05, 0.121), False),  # came in between kill and closed socket
        (failed(0.5, 0.501), False),  # refused: nothing listens any more
        (failed(3, 13, status=504), False),
        (failed(-9, -8), False),  # failed earlier, of itself
        (access(-2, -1), False),  # answered before
        (access(-2, 2), True),  # headers were out: a cut download looks like a success
        (access(-2, 0.05), False),  # answered about when it died
        (failed(-2, 0.12, target_ip="10.0.0.2"), False),  # another target
        (failed(-2, 0.12, target_ip=None), False),  # no target chosen
        (
            access(-900, 0.12, type="wss", elb_status=101, target_status=101),
            False,
        ),  # a websocket is no request
    ],
)
def test_which_rows_were_in_flight(row: dict[str, Any], in_flight: bool) -> None:
    result = joined([], [*BURST, row])
    assert (2 in result.lost["row"].to_list()) is in_flight
    assert result.fingerprint_at == seconds(0.12)
    assert result.dead_target == "10.0.0.1:3000"


def test_websockets_that_ended_with_the_pod_are_noted() -> None:
    socket = access(-900, 0.12, type="wss", elb_status=101, target_status=101)
    assert any("1 websocket" in note for note in joined([], [*BURST, socket]).notes)


def test_answers_after_the_kill_of_one_worker_came_from_the_others() -> None:
    result = joined([], [*BURST, access(-2, 2)], kill=case(verdict="oom_child"))
    assert result.lost["row"].to_list() == [0, 1]


def test_a_kill_time_in_whole_seconds_is_refined_by_the_burst() -> None:
    rows = [failed(-5, 0.12), failed(0.05, 0.121), failed(0.5, 0.501)]
    result = joined([], rows, kill=case(killed_at=KILL.replace(microsecond=0)))
    assert result.lost["row"].to_list() == [0, 1]


def test_an_address_belongs_to_a_pod_only_while_it_lives() -> None:
    """Addresses are given to new pods within a minute."""
    dead = PodFacts(namespace="shop", name="web-1", uid="u1", pod_ips=("10.0.0.1",), created_at=seconds(-3))
    former = PodFacts(namespace="shop", name="old", uid="u0", pod_ips=("10.0.0.1",), created_at=seconds(-900))
    result = joined([], [failed(-5, 0.12), failed(-1, 0.12)], pods=(dead, former))
    assert result.lost["row"].to_list() == [1]
    assert joined([], [failed(-5, 0.12), failed(-1, 0.12)], pods=(dead,)).lost["row"].to_list() == [1]


def test_without_an_address_the_burst_names_the_target() -> None:
    result = joined([], [*BURST, failed(-2, -1, target_ip="10.0.0.2")], pods=())
    assert result.dead_target == "10.0.0.1:3000"
    assert any("burst" in note for note in result.notes)


def test_two_targets_that_fail_at_once_are_not_guessed_between() -> None:
    result = joined([], [*BURST, *[{**row, "target_ip": "10.0.0.2"} for row in BURST]], pods=())
    assert (result.dead_target, result.lost.height) == (None, 0)
    assert any("2 targets failed" in note for note in result.notes)


def test_a_burst_that_names_its_target_is_not_lost_among_others() -> None:
    """Pods of one deployment often die in the same second; where only their bursts tell, each is a kill of its own."""
    rows = [*BURST, *[{**row, "target_ip": "10.0.0.2"} for row in BURST]]
    result = joined([], rows, kill=case(target_ip="10.0.0.2", pod_name=None), pods=())
    assert result.dead_target == "10.0.0.2:3000"
    assert result.lost["target_ip"].unique().to_list() == ["10.0.0.2"]


def test_instance_targets_hide_the_pod() -> None:
    """Node address and node port: no row has the pod's address, so the burst decides."""
    node = [{**row, "target_ip": "10.0.7.7", "target_port": 31234} for row in BURST]
    result = joined([], node)
    assert result.dead_target == "10.0.7.7:31234"
    assert any("no ALB row went to the dead pod's address" in note for note in result.notes)


def full(schema: dict[str, str], frame: pl.DataFrame) -> pl.DataFrame:
    kinds = polars_schema(schema)
    return frame.select(
        pl.col(name).cast(kind) if name in frame.columns else pl.lit(None, dtype=kind).alias(name)
        for name, kind in kinds.items()
    )


def test_a_hundred_thousand_rows_a_side_take_a_moment() -> None:
    import time

    count = 100_000
    start = pl.Series(range(count)) * 30_000
    paths = [f"/p{i % 977}" for i in range(count)]
    at = (pl.Series([int(KILL.timestamp() * 1e6)] * count) + start).cast(pl.Datetime("us", "UTC"))
    same = {"method": ["GET"] * count, "path": paths}
    left = pl.DataFrame(
        {"started_at": at, "ended_at": at, "state": ["completed"] * count, "status": [200] * count, **same}
    )
    right = pl.DataFrame(
        {"created_at": at, "time": at, "target_status": [200] * count, "elb_status": [200] * count, **same}
    )
    shaped = [full(REQUEST_SCHEMA, left), full(ACCESS_SCHEMA, right)]
    begun = time.process_time()
    result = join(*shaped, kill=case(), pods=())
    assert time.process_time() - begun < 5
    assert (result.pairs["request_row"] == result.pairs["access_row"]).all()
