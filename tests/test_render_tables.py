"""List, kills and doctor: one line each, nothing hostile gets through, nothing is wider than the screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rich.cells import cell_len

from oomscope.render import render_doctor, render_kills, render_list
from tests.sample_reports import GIB, HOSTILE, stamp

KILLS: list[dict[str, Any]] = [
    {
        "id": "x2vq4", "killed_at": stamp(0), "namespace": "shop", "workload": "web", "pod": "web-7c9f-x2vq4",
        "container": "web", "verdict": "oom_limit", "peak_bytes": int(1.8 * GIB), "limit_bytes": 2 * GIB, "open": 7,
        "strength": "strong", "suspect": "Admin::ExportsController#orders", "pattern": "runaway_request",
    },
    {
        "id": "8kd2p", "killed_at": stamp(1294), "namespace": "shop", "workload": "web", "container": "web",
        "verdict": "oom_limit", "peak_bytes": None, "limit_bytes": 2 * GIB, "open": None, "strength": "moderate",
        "suspect": None, "pattern": "undersized_limit",
    },
    {"id": "q77aa", "killed_at": stamp(20000), "workload": "sidekiq", "verdict": "not_oom", "open": 0},
    {"id": "empty-folder", "killed_at": None, "problem": "no kill found in what was read"},
]  # fmt: skip
FOUND: list[dict[str, Any]] = [
    {
        "killed_at": stamp(0), "namespace": "shop", "pod": "web-7c9f-x2vq4", "container": "web", "verdict": "oom_limit",
        "scope": "container", "rule": "K1", "victim": "ruby", "rss_bytes": int(1.93 * GIB), "limit_bytes": 2 * GIB,
    },
    {"killed_at": None, "pod": "web-7c9f-8kd2p", "verdict": "undetermined"},
]  # fmt: skip
CHECKS: list[dict[str, Any]] = [
    {"source": "kubernetes", "status": "ok", "detail": "context prod; may list pods and events in shop"},
    {"source": "cloudwatch", "status": "denied", "detail": "logs:FilterLogEvents", "fix": "doctor --policy"},
    {"source": "alb", "status": "lagging", "detail": "newest log line is 4 min old; delivered every 5 min"},
]  # fmt: skip
HOSTILE_ROW = {key: HOSTILE for row in (*KILLS, *FOUND, *CHECKS) for key in row}


def test_golden(golden: Callable[[str, str], None]) -> None:
    text = "\n".join((render_list(KILLS), render_kills(FOUND), render_doctor(CHECKS)))
    golden("tables.txt", text)


@pytest.mark.parametrize("width", [60, 80, 150])
@pytest.mark.parametrize(
    ("show", "rows"), [(render_list, KILLS), (render_kills, FOUND), (render_doctor, CHECKS)]
)
def test_hostile_rows_fit_and_are_inert(
    show: Callable[..., str], rows: list[dict[str, Any]], width: int
) -> None:
    text = show(
        [*rows, HOSTILE_ROW, {}, {"killed_at": 7, "open": "many", "peak_bytes": float("nan")}], width=width
    )
    assert max(map(cell_len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("show", [render_list, render_kills, render_doctor])
def test_no_rows_is_said(show: Callable[..., str]) -> None:
    assert show([]).strip()


def test_list_says_unknown_as_unknown() -> None:
    text = render_list(KILLS)
    assert "?/2.00Gi" in text
    assert "Not an OOM kill" in text
    assert "2 OOM kills in 4 rows" in text


def test_doctor_shows_the_fix_under_its_source() -> None:
    lines = render_doctor(CHECKS).splitlines()
    place = next(n for n, line in enumerate(lines) if "denied" in line)
    assert "fix: doctor --policy" in lines[place + 1]
    assert "2 of 3 need attention" in lines[-1]


def test_a_narrow_list_keeps_its_ids_and_verdicts() -> None:
    rows = [{**KILLS[0], "id": f"incident-{n}", "namespace": f"production-{n}"} for n in range(2)]
    lines = render_list(rows, width=80).splitlines()
    assert all(
        line.startswith("incident-") and line.endswith("strong: Exports#orders") for line in lines[1:3]
    )
    assert max(map(cell_len, lines)) <= 80


def test_namespaces_give_way_where_the_workload_says_it_all() -> None:
    rows = [{**KILLS[0], "id": f"incident-of-the-day-{n}", "workload": f"web-{n}"} for n in range(2)]
    assert "  web-0  " in render_list(rows, width=80)
    assert "shop/web-0" in render_list(rows, width=140)
