"""What the analysis keeps to be drawn: processes at the kill, the leak view, the other kills in small."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from bench.simulate.observe import simulate

from oomscope import pipeline
from oomscope.analyze import analyze, analyze_many
from oomscope.evidence import Bundle
from oomscope.facts import OomKill, TaskRow
from oomscope.report import Report
from tests.real_reports import DATA

MIB = 2**20


@pytest.fixture(scope="module")
def worker() -> Bundle:
    """A real incident: one of two Puma workers was killed."""
    return pipeline.gather_files([DATA / "worker_oom"])


@pytest.fixture(scope="module")
def leaks() -> Report:
    """Three kills by one leak, as three bundles."""
    return analyze_many([one.bundle for one in simulate("leak", "fit", 1, 3)])


def test_processes_come_from_the_kernel_and_their_names_from_the_log(worker: Bundle) -> None:
    table = analyze(worker).memory["processes"]
    kernel = next(kill for kill in worker.oom_kills if kill.tasks)
    rows = {row["name"]: row for row in table["rows"]}
    assert set(rows) == {"master", "worker 0", "worker 1"}
    assert table["total"] == 3
    assert table["total_bytes"] == sum(row["rss_bytes"] for row in rows.values())
    assert [row["host_pid"] for row in rows.values() if row["killed"]] == [kernel.pid]
    assert rows["master"]["pid"] == 1
    assert rows["master"]["rss_bytes"] < min(rows["worker 0"]["rss_bytes"], rows["worker 1"]["rss_bytes"])


def test_processes_without_a_log_keep_the_kernels_names(worker: Bundle) -> None:
    table = analyze(replace(worker, lives=())).memory["processes"]
    assert {row["name"] for row in table["rows"]} == {"bundle"} or all(row["name"] for row in table["rows"])
    assert all(row["pid"] is None for row in table["rows"])


def with_tasks(bundle: Bundle, tasks: tuple[TaskRow, ...]) -> Bundle:
    kills = tuple(replace(kill, tasks=tasks) if kill.tasks else kill for kill in bundle.oom_kills)
    return replace(bundle, oom_kills=kills)


def test_many_processes_are_cut_and_the_killed_one_stays(worker: Bundle) -> None:
    kernel: OomKill = next(kill for kill in worker.oom_kills if kill.tasks)
    crowd = tuple(
        TaskRow(pid=100_000 + n, tgid=100_000 + n, comm="ruby", rss_bytes=MIB * (500 - n)) for n in range(300)
    )
    small = TaskRow(pid=kernel.pid, tgid=kernel.pid, comm="ruby", rss_bytes=MIB)
    table = analyze(with_tasks(worker, (*crowd, small))).memory["processes"]
    assert table["total"] == 301
    assert len(table["rows"]) == 13
    assert table["rows"][-1]["killed"]


def test_one_process_is_no_table(worker: Bundle) -> None:
    only = tuple(task for task in next(k for k in worker.oom_kills if k.tasks).tasks)[:1]
    assert "processes" not in analyze(with_tasks(worker, only)).memory


def test_a_leak_is_a_rising_line_against_completions(leaks: Report) -> None:
    floor = leaks.memory["floor"]
    assert floor["suspect"] == leaks.hypotheses[0].suspect.endpoint
    done, level = np.array(floor["points"], dtype=float).T
    assert done[-1] <= floor["completions"]
    assert (np.diff(done) >= 0).all()
    assert np.corrcoef(done, level)[0, 1] > 0.9
    line = floor["intercept_bytes"] + floor["slope_bytes"] * done
    late = slice(done.size // 2, None)
    assert np.abs(line - level)[late].max() < 0.5 * np.ptp(level)


def test_no_leak_view_where_nobody_leaks() -> None:
    assert "floor" not in analyze(simulate("large_response", "fit", 3)[0].bundle).memory


def test_other_kills_come_with_small_pictures(leaks: Report) -> None:
    suspect = leaks.hypotheses[0].suspect.endpoint
    assert len(leaks.other_kills) == 2
    for row in leaks.other_kills:
        bars = row["chart"]["bars"]
        opened = [bar for bar in bars if bar["state"] == "in_flight"]
        assert len(row["memory"]["series"]) == 1
        assert len(row["memory"]["series"][0]["points"]) <= 120
        assert len(bars) <= 40
        assert len(row["chart"]["rate"]) <= 62
        assert row["memory"]["killed_at"] == row["killed_at"] == row["chart"]["killed_at"]
        assert row["open"] == len(opened)
        assert row["suspect_open"] == any(bar["suspect"] for bar in opened)
        assert any(bar["endpoint"] == suspect and bar["suspect"] for bar in bars)
        assert row["peak_bytes"] <= row["limit_bytes"] * 1.01


def test_a_kill_is_not_one_of_its_other_kills() -> None:
    """Without a kernel log the time of the kill is sharpened by the log; it stays the same kill."""
    bundle = pipeline.gather_files(
        [DATA / "concurrency_spike" / "pods.json", DATA / "concurrency_spike" / "cloudwatch.json.gz"]
    )
    report = analyze(bundle)
    assert (report.target.pod, report.kill.killed_at) not in {
        (row["pod"], row["killed_at"]) for row in json.loads(report.model_dump_json())["other_kills"]
    }
    assert all(row["killed_at"][:19] != report.kill.killed_at.isoformat()[:19] or row["pod"] != report.target.pod
               for row in report.other_kills)  # fmt: skip
    assert report.impact["kill_index"] >= 1


def test_the_picture_reaches_back_to_the_rise(leaks: Report) -> None:
    rise = leaks.memory.get("rise_from")
    assert (
        rise is None
        or leaks.chart["from"] <= rise
        or leaks.chart["from"] <= leaks.memory["series"][0]["points"][1][0]
    )


def test_an_abstention_accuses_nobody_in_its_pictures() -> None:
    """Without the load balancer's log and samples of memory too many are equally likely."""
    names = ("pods.json", "prometheus_15s.json", "cloudwatch.json.gz")
    report = analyze(pipeline.gather_files([DATA / "huge_payload" / name for name in names]))
    assert report.cause.hypothesis is None
    assert report.hypotheses[0].suspect.endpoint
    assert report.chart["bars"]
    assert not any(bar["suspect"] for bar in report.chart["bars"])
    assert all(row.get("suspect_open") is None for row in report.other_kills)
