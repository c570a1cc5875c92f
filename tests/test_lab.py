"""The parts of the incident lab that need no kernel: plans, traffic, row formats, truth."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench.accuracy.original import same_path
from lab import formats, kernel
from lab.balancer import Row
from lab.plan import ENDPOINTS, KINDS, draw
from lab.traffic import Ask, Client, schedule
from lab.truth import culprit_of, leaking_job, open_requests

from oomscope.alb.line import parse_line

NAMES = {
    "app": "a",
    "alb": "a-public",
    "alb_id": "00aa",
    "host": "a.example",
    "account": "1" * 12,
    "cert": "c",
}
ANSWERED = {"connected_at": 100.001, "head_at": 100.4, "elb_status": 200, "target_status": 200}


def row(**more: Any) -> Row:
    client = Client("2001:db8::1", 'Odd "agent"', False, 60.0)
    ask = Ask(0.0, "X#y", "GET", "/clinics/a/slots?day=3", b"", "", client, False)
    facts: dict[str, Any] = {
        "created_at": 100.0,
        "ended_at": 100.5,
        "sent_bytes": 9,
        "received_bytes": 8,
        "elb_status": 502,
    }
    return Row(ask, "r1", "Root=1-0-0", 4711, SimpleNamespace(ip="10.1.2.3"), 0, **facts | more)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_is_the_same_each_time_and_names_its_culprit(kind: str) -> None:
    for seed in range(1, 13):
        plan = draw(kind, seed)
        assert plan == draw(kind, seed)
        culprit = culprit_of(plan)
        blameless = kind in ("background_job", "undersized", "process_growth", "not_oom")
        assert (culprit is None) == blameless
        assert (leaking_job(plan) is not None) == (kind == "background_job")
        assert plan.limit_mb > plan.ballast_mb + 60


@pytest.mark.parametrize("kind", ["large_response", "runaway", "huge_payload", "handler_leak"])
def test_the_faulty_stream_meets_its_trigger_and_ordinary_traffic_does_not(kind: str) -> None:
    for seed in range(1, 9):
        plan = draw(kind, seed)
        culprit, trigger = culprit_of(plan), plan.fault["trigger"]
        assert culprit is not None
        for ask in schedule(plan, 40):
            if ask.key == plan.fault["endpoint"]:
                assert same_path(ask.method, ask.target.split("?")[0], culprit)
                if trigger["type"] == "id":
                    assert ask.fault == any(i in ask.target.split("?")[0].split("/") for i in trigger["ids"])
                if trigger["type"] == "param" and ask.method == "GET":
                    assert ask.fault == (
                        f"{trigger['name']}={trigger['value']}" in re.split("[?&]", ask.target)
                    )


def test_the_access_log_row_is_read_by_the_products_own_parser() -> None:
    parsed = parse_line(formats.alb_line(row(**ANSWERED), NAMES, "minus1").encode())
    wanted = {"client": "2001:db8::1", "path": "/clinics/a/slots", "elb_status": 200, "received_bytes": 8}
    assert {name: parsed[name] for name in wanted} == wanted
    assert "\\x22agent\\x22" in parsed["user_agent"]


@pytest.mark.parametrize(
    ("facts", "style", "times"),
    [
        (ANSWERED, "minus1", "0.001 0.399 0.000 200 200"),
        ({"connected_at": 100.001}, "minus1", "-1 -1 -1 502 -"),
        ({"connected_at": 100.001}, "elapsed", "0.001 0.499 -1 502 -"),
        ({}, "elapsed", "-1 -1 -1 502 -"),
        ({"connected_at": 100.001, "elb_status": 460}, "elapsed", "0.001 -1 -1 460 -"),
    ],
)
def test_a_row_tells_how_the_target_answered(facts: dict[str, Any], style: str, times: str) -> None:
    assert f" 10.1.2.3:3000 {times} 8 9 " in formats.alb_line(row(**facts), NAMES, style)


def test_long_lines_are_cut_as_a_runtime_cuts_them() -> None:
    lines = list(
        formats.cri_lines([(1_795_937_611_000_000_001, "stdout", b"x" * 20_000), (2, "stderr", b"")])
    )
    assert [line.split(b" ")[2] for line in lines] == [b"P", b"F", b"F"]
    assert lines[0].startswith(b"2026-11-29T07:33:31.000000001Z stdout P xxx")
    assert sum(line.count(b"x") for line in lines) == 20_000


def test_the_newest_sample_is_scraped_on_a_grid() -> None:
    points = [(float(at), at * 10) for at in range(61, 96)]
    assert list(formats.scraped(points, 15)) == [(75, 750), (90, 900)]
    assert formats.range_answer([({"a": "b"}, [])], 15)["data"]["result"] == []


def test_a_kernel_report_is_one_kill() -> None:
    texts = [
        "noise",
        "ruby invoked oom-killer: x",
        "oom-kill:constraint=C,task_memcg=/k/abc,task=ruby,pid=7,uid=0",
    ]
    lines = [
        kernel.Line(float(i), text) for i, text in enumerate([*texts, "Killed process 7 (ruby) total-vm:1kB"])
    ]
    (report,) = kernel.reports(lines)
    assert (report.pid, report.comm, report.stamp, len(report.lines)) == (7, "ruby", 2.0, 3)
    assert report.chose("abc")
    assert not report.chose("abd")
    assert kernel.reports(lines[:3]) == []


def test_open_requests_are_those_of_the_dead_process_that_never_left(tmp_path: Path) -> None:
    events = [
        ("b", "1", 2, 1.0),
        ("b", "2", 2, 2.0),
        ("e", "1", 2, 3.0),
        ("b", "3", 4, 3.5),
        ("b", "4", 2, 9.0),
    ]
    trace = tmp_path / "t.jsonl"
    written = (json.dumps({"ev": ev, "rid": rid, "pid": pid, "t": t}) for ev, rid, pid, t in events)
    trace.write_text("\n".join([*written, '{"ev": "b", "ri']))
    assert set(open_requests(trace, 5.0, 2)) == {"2"}
    assert set(open_requests(trace, 5.0, None)) == {"2", "3"}


def test_the_catalogue_has_no_two_endpoints_alike() -> None:
    assert len({(spec["method"], spec["path"]) for spec in ENDPOINTS.values()}) == len(ENDPOINTS) == 38
