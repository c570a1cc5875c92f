"""From an alert, through live servers, to the answer the saved files give; and with any one server failing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from oomscope.cli import run
from oomscope.config import load
from oomscope.facts import Target
from oomscope.pipeline_live import Plan, gather_live
from tests.fakes.athena_sql import LogTable
from tests.fakes.incident import Servers, live

DATA = Path(__file__).parent / "data" / "incidents"
DEMO = Path(str(files("oomscope").joinpath("data/demo")))
INCIDENTS = [DEMO, *sorted(DATA.iterdir())]


def report(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    code = run(["investigate", *args, "-f", "json", "--quiet"])
    out = capsys.readouterr()
    assert code == 0, out.err
    document: dict[str, Any] = json.loads(out.out)
    return document


def answer(document: dict[str, Any]) -> tuple[Any, ...]:
    """What both ways must agree on."""
    leading = next((h for h in document["hypotheses"] if h["id"] == document["cause"]["hypothesis"]), None)
    open_requests = {request["request_id"] for request in document["in_flight"] if request["request_id"]}
    return (
        document["kill"]["verdict"],
        document["target"]["pod"],
        document["target"]["container_id"],
        leading and (leading["pattern"], leading["suspect"]["endpoint"]),
        open_requests,
    )


@pytest.mark.parametrize("alb", ["s3", "athena"])
@pytest.mark.parametrize("folder", INCIDENTS, ids=lambda p: p.name)
def test_live_and_saved_agree(
    folder: Path,
    alb: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    saved = report(capsys, "--from", str(folder))
    with live(folder, tmp_path, monkeypatch, alb) as servers:
        found = report(capsys, "--alert", str(folder / "alert.json"), "--config", str(servers.config))
    assert answer(found) == answer(saved)
    assert found["coverage"]["alb_rows"]
    assert "previous terminated container" not in str(found["gaps"])  # the other source had that log


def break_kube(servers: Servers, how: str) -> None:
    servers.kube.faults["/"] = {"denied": "403", "slow": "slow"}.get(how, "404")


def break_cloudwatch(servers: Servers, how: str) -> None:
    if how == "denied":
        servers.cloudwatch.denied |= {"FilterLogEvents", "DescribeLogGroups", "DescribeLogStreams"}
    elif how == "slow":
        servers.cloudwatch.latency_s = 14.0
    else:
        servers.cloudwatch.groups.clear()


def break_prometheus(servers: Servers, how: str) -> None:
    servers.prometheus.series.clear()
    servers.prometheus.fault = {"denied": "403", "slow": "slow"}.get(how)


def break_s3(servers: Servers, how: str) -> None:
    servers.s3.denied = how == "denied"
    servers.s3.delay_s = 14.0 if how == "slow" else 0.0
    if how == "empty":
        servers.empty_bucket()


def break_athena(servers: Servers, how: str) -> None:
    if how == "denied":
        servers.athena.denied |= {"StartQueryExecution"}
    elif how == "slow":
        servers.athena.run_s = 60.0
    else:
        servers.athena.engine = LogTable([], "logs", "alb")


BREAK = {
    "kubernetes": break_kube, "app_log": break_cloudwatch, "memory": break_prometheus, "s3": break_s3,
    "athena": break_athena,
}  # fmt: skip
REASONS = {
    "down": {"unreachable", "timed_out"}, "denied": {"denied"}, "slow": {"timed_out"}, "empty": {"no_data"},
}  # fmt: skip


@pytest.mark.parametrize("how", list(REASONS))
@pytest.mark.parametrize("server", list(BREAK))
def test_one_server_failing_is_a_gap_and_still_a_report(
    server: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with live(DEMO, tmp_path, monkeypatch, "athena" if server == "athena" else "s3") as servers:
        if how == "down":
            servers.down(server)
        else:
            BREAK[server](servers, how)
        args = ["--alert", str(DEMO / "alert.json"), "--config", str(servers.config), "--deadline", "9s"]
        document = report(capsys, *args)
    kind = "alb" if server in ("s3", "athena") else server
    told = [(gap["reason"], gap["detail"]) for gap in document["gaps"] if gap["source"] == kind]
    assert REASONS[how] & {reason for reason, _ in told}, document["gaps"]
    assert document["kill"]["verdict"] == "oom_limit"  # the others suffice for that


def test_a_log_that_nobody_has_any_more_is_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with live(DEMO, tmp_path, monkeypatch) as servers:
        args = ["--alert", str(DEMO / "alert.json"), "--config", str(servers.config)]
        document = report(capsys, *args, "--without", "cloudwatch_logs")
    assert "previous terminated container" in str(document["gaps"])


def test_a_server_that_hangs_does_not_keep_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live(DEMO, tmp_path, monkeypatch) as servers:
        servers.s3.delay_s = 600.0
        command = [sys.executable, "-c", "from oomscope.cli import main; main()", "investigate"]
        command += ["--alert", str(DEMO / "alert.json"), "--config", str(servers.config), "--deadline", "9s"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "load balancer log" in done.stdout


def test_lines_that_come_late_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute and a half after the kill its last lines are still on their way; waiting for them brings them."""
    died = datetime(2026, 11, 23, 9, 21, 30, tzinfo=UTC)
    with live(DEMO, tmp_path, monkeypatch) as servers:
        config = load(files=[servers.config]).config
        hidden = servers.cloudwatch.now_ms = int((died - timedelta(seconds=5)).timestamp() * 1000)

        def arrive(_text: str) -> None:
            servers.cloudwatch.now_ms = None

        target = Target(namespace="production", pod="shop-web-1da063ab27-g4r6q", at=died)
        only = frozenset({"alb", "prometheus"})
        plan = Plan(target, config.chosen(), config, died + timedelta(seconds=90), without=only, note=arrive)
        early = gather_live(plan)
        assert servers.cloudwatch.now_ms == hidden  # it did not wait
        whole = gather_live(replace(plan, wait_s=120.0))
    assert [gap.reason for gap in early.gaps if gap.source == "app_log"][-1] == "not_yet"
    assert "--wait" in str([gap.fix for gap in early.gaps])
    assert not [gap for gap in whole.gaps if gap.reason == "not_yet"]
    assert len(whole.requests) > len(early.requests) > 0


def test_a_required_source_that_fails_is_exit_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with live(DEMO, tmp_path, monkeypatch) as servers:
        break_prometheus(servers, "denied")
        code = run(
            [
                "investigate",
                "--alert",
                str(DEMO / "alert.json"),
                "--config",
                str(servers.config),
                "--require",
                "prometheus",
            ]
        )
    assert code == 4
    assert "memory" in capsys.readouterr().err
