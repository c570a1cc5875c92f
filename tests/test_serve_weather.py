"""The service while AWS is slow, down, busy or lying: there is a report in time, and it says what is missing."""

from __future__ import annotations

import json
import time
import tomllib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oomscope.serve.schema import kills, reports
from tests.fakes.incident import Servers, live
from tests.serve_help import DEMO, accept, demo_alert, drain, rows, runtime_of, settings_of

TROUBLES = ("slow", "down", "busy", "lies")
SOURCE = {"app_log": "app_log", "s3": "alb"}
REASONS = {
    "slow": ("timed_out",), "down": ("unreachable",), "busy": ("timed_out",), "lies": ("unparsable", "no_data"),
}  # fmt: skip


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    with live(DEMO, tmp_path, monkeypatch) as found:
        yield found


def break_it(servers: Servers, name: str, trouble: str) -> None:
    weather = {"app_log": servers.logs, "s3": servers.s3}[name]
    if trouble == "down":
        servers.down(name)
    elif trouble == "slow":
        weather.delay_s = 60.0
    else:
        setattr(weather, trouble, True)


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", ["app_log", "s3"])
def test_a_kill_is_reported_in_time_and_says_what_aws_did_not_give(
    servers: Servers, tmp_path: Path, name: str, trouble: str
) -> None:
    break_it(servers, name, trouble)
    clusters = tomllib.loads(servers.config.read_text())["clusters"]
    runtime = runtime_of(settings_of(tmp_path, clusters=clusters, deadline_s=4))
    accept(runtime, demo_alert())
    began = time.monotonic()
    drain(runtime, 90)
    assert time.monotonic() - began < 80
    (kill,) = rows(runtime, kills)
    assert (kill.state, kill.verdict) == ("final", "oom_limit")
    gaps = last_report(runtime)["gaps"]
    assert "internal error" not in str(gaps)
    told = {(gap["source"], gap["reason"]) for gap in gaps}
    assert {(SOURCE[name], reason) for reason in REASONS[trouble]} & told, told


def last_report(runtime: Any) -> dict[str, Any]:
    (stored,) = rows(runtime, reports)
    document: dict[str, Any] = json.loads(zlib.decompress(stored.document))
    return document
