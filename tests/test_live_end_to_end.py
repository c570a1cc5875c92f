"""From an alert, through live servers, to the answer the saved files give; and with any one server failing."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from oomscope.cli import run
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


@pytest.mark.parametrize("folder", INCIDENTS, ids=lambda p: p.name)
def test_live_and_saved_agree(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = report(capsys, "--from", str(folder))
    with live(folder, tmp_path, monkeypatch) as servers:
        found = report(capsys, "--alert", str(folder / "alert.json"), "--config", str(servers.config))
    assert answer(found) == answer(saved)


def break_kube(servers: Servers, how: str) -> None:
    servers.kube.faults["/"] = {"down": "reset", "denied": "403", "slow": "slow"}.get(how, "404")


def break_cloudwatch(servers: Servers, how: str) -> None:
    if how == "denied":
        servers.cloudwatch.denied |= {"FilterLogEvents", "DescribeLogGroups", "DescribeLogStreams"}
    elif how == "slow":
        servers.cloudwatch.latency_s = 5.0
    elif how == "down":
        servers.cloudwatch.denied.add("DescribeLogGroups")
    else:
        servers.cloudwatch.groups.clear()


def break_prometheus(servers: Servers, how: str) -> None:
    servers.prometheus.series.clear()
    servers.prometheus.fault = {"down": "reset", "denied": "403", "slow": "slow"}.get(how)


BREAK = {"kubernetes": break_kube, "app_log": break_cloudwatch, "memory": break_prometheus}


@pytest.mark.parametrize("how", ["down", "denied", "slow", "empty"])
@pytest.mark.parametrize("source", sorted(BREAK))
def test_one_server_failing_is_a_gap_and_still_a_report(
    source: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with live(DEMO, tmp_path, monkeypatch) as servers:
        BREAK[source](servers, how)
        args = ["--alert", str(DEMO / "alert.json"), "--config", str(servers.config), "--deadline", "10s"]
        document = report(capsys, *args)
    assert any(gap["source"] == source or source in gap["detail"] for gap in document["gaps"]), document[
        "gaps"
    ]
    assert document["kill"]["verdict"] in ("oom_limit", "undetermined")


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
