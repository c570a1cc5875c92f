"""Where nothing tells of an end, its traces give a time and a place, and never a verdict."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from oomscope.analyze.verdict import choose_kill, find_kills
from oomscope.evidence import Bundle
from oomscope.facts import ACCESS_SCHEMA, Coverage, LogStream, OomKill, PodFacts, Target, polars_schema

AT = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


def row(started: float, ended: float, status: int = 200, ip: str = "10.0.0.1") -> dict[str, Any]:
    return {
        "created_at": AT + timedelta(seconds=started), "time": AT + timedelta(seconds=ended), "target_ip": ip,
        "target_port": 3000, "elb_status": status, "target_status": 200 if status == 200 else None, "type": "https",
    }  # fmt: skip


def bundle(*rows: dict[str, Any], **more: Any) -> Bundle:
    return Bundle(accesses=pl.DataFrame(list(rows), schema=polars_schema(ACCESS_SCHEMA)), **more)


BURST = [
    row(-5, 0.0, 502),
    row(-2, 0.1, 502),
    row(-1, 0.2, 502),
    *(row(i, i + 0.01, 502) for i in range(1, 5)),
]


def test_a_target_that_drops_all_at_once_is_a_possible_end() -> None:
    kills = find_kills(bundle(*BURST, row(-1, 0.5, ip="10.0.0.2")))
    assert [(k.verdict, k.killed_at, k.pod_name) for k in kills] == [("undetermined", AT, None)]
    assert kills[0].confidence < 0.5
    assert choose_kill(kills, Target()) is not None


def test_its_pod_is_named_when_the_address_is_known() -> None:
    pod = PodFacts("shop", "web-1", pod_ips=("10.0.0.1",))
    assert [k.pod_name for k in find_kills(bundle(*BURST, pods=(pod,)))] == ["web-1"]


def test_an_alert_about_a_pod_finds_the_burst_before_it() -> None:
    early = [
        {**r, "time": r["time"] - timedelta(minutes=5), "created_at": r["created_at"] - timedelta(minutes=5)}
        for r in BURST
    ]
    kills = find_kills(bundle(*early, *BURST))
    assert len(kills) == 2
    found = choose_kill(kills, Target(pod="web-1", at=AT + timedelta(seconds=60)))
    assert found is not None
    assert found.killed_at == AT
    assert choose_kill(kills, Target(pod="web-1", at=AT + timedelta(hours=5))) is None


def test_single_failures_and_refused_connections_are_no_end() -> None:
    assert find_kills(bundle(row(-5, 0, 502), row(-1, 20, 502), row(40, 40.01, 502))) == ()


def test_a_log_that_stops_while_others_go_on() -> None:
    def stream(name: str, last: float, opened: int = 10) -> LogStream:
        return LogStream(
            name,
            name,
            pod=name,
            coverage=Coverage(9, 9, 9, opened, opened),
            last_at=AT + timedelta(seconds=last),
        )

    kills = find_kills(Bundle(streams=(stream("web-1", 0), stream("web-2", 60))))
    assert [(k.pod_name, k.verdict, k.killed_at) for k in kills] == [("web-1", "undetermined", AT)]
    assert [k.pod_name for k in find_kills(Bundle(streams=(stream("web-1", 0),)))] == ["web-1"]
    assert find_kills(Bundle(streams=(stream("web-1", 0, opened=0),))) == ()


def test_a_kill_of_another_pod_at_the_same_time_is_not_that_of_the_log() -> None:
    """The log has no container id, but its pod's UID is known and differs from that in the kernel's path."""
    later = LogStream(
        "web-1#2", "cri.log", "shop", "web-1", "app", first_at=AT, last_at=AT + timedelta(seconds=9)
    )
    kill = OomKill(pid=9, comm="ruby", at=AT + timedelta(seconds=4), pod_uid="b" * 36, container_id="f" * 64)
    pod = PodFacts("shop", "web-1", uid="a" * 36)
    (found,) = find_kills(Bundle(streams=(later,), pods=(pod,), oom_kills=(kill,)))
    assert (found.pod_name, found.stream) == (None, None)
