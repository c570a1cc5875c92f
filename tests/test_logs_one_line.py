"""Large logs of one line a request: counting what is long over changes nothing of what is told."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from oomscope import logs
from oomscope.facts import Gap
from oomscope.logs import drain, one_line, parts
from oomscope.logs.interface import LogScan
from oomscope.sources.bounded import FileInput
from tests.logs_help import Bytes
from tests.test_logs_blocks import (
    ENVELOPES,
    Setting,
    _untimed,
    always,
    by_line,
    pieces,
    rails,
    read_all,
)

__all__ = ["always", "pieces"]  # fixtures

ROUTES = (
    ("GET", "/items/7"),
    ("GET", "/search"),
    ("POST", "/orders"),
    ("PATCH", "/users/9"),
    ("DELETE", "/carts/3"),
)


def fields(draw: random.Random, at: datetime) -> dict[str, Any]:
    method, path = draw.choice(ROUTES)
    return {
        "method": method, "path": path, "format": "html", "controller": "ItemsController", "action": "show",
        "status": 200, "allocations": draw.randrange(90_000), "duration": round(draw.lognormvariate(3, 1), 2),
        "view": 1.5, "db": 0.5, "request_id": f"{draw.getrandbits(128):032x}", "params": {"page": "3"},
        "@timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }  # fmt: skip


def as_json(found: dict[str, Any], _at: datetime) -> str:
    return json.dumps(found, separators=(",", ":"))


def as_pairs(found: dict[str, Any], _at: datetime) -> str:
    return " ".join(f"{key}={value}" for key, value in found.items() if key not in ("params", "@timestamp"))


def as_logged(found: dict[str, Any], at: datetime) -> str:
    """Behind the logger's prefix: the number of the process has any width."""
    return f"I, [{at:%Y-%m-%dT%H:%M:%S.%f} #{7 + at.second % 2 * 100}]  INFO -- : {as_pairs(found, at)}"


FORMS: dict[str, Callable[[dict[str, Any], datetime], str]] = {
    "json": as_json, "pairs": as_pairs, "pairs behind a prefix": as_logged,
}  # fmt: skip


def clean(_draw: random.Random, _number: int, _line: str) -> Iterator[str]:
    return iter(())


def between(draw: random.Random, number: int, line: str) -> Iterator[str]:
    """What else such a log holds, and lines that only look like a request."""
    if number % 41 == 0:
        job = f"{draw.getrandbits(128):032x}"
        yield f"[ActiveJob] [SyncJob] [{job}] Performing SyncJob (Job ID: {job}) from Async(default) enqueued at 2026"
        if number % 3:
            yield f"[ActiveJob] [SyncJob] [{job}] Performed SyncJob (Job ID: {job}) from Async(default) in 12.5ms"
    if number % 97 == 0:
        yield f"it said {line}"
    if number % 131 == 0:
        yield line.replace("GET", "PROPFIND").replace("POST", "REPORT")
    if number % 173 == 0:
        yield line[:12]
    if number % 199 == 0:
        yield line + " " * 4100
    if number % 211 == 0:
        yield "Büro geschlossen \udcff".encode("utf-8", "surrogateescape").decode("latin-1")


def lograge(form: str, seed: int, count: int, dirt: Callable[..., Iterator[str]] = clean) -> bytes:
    draw, at, lines = random.Random(seed), datetime(2026, 1, 2, 3, 4, tzinfo=UTC), []
    for number in range(count):
        at += timedelta(milliseconds=draw.expovariate(1 / 40))
        line = FORMS[form](fields(draw, at), at)
        lines += [line, *dirt(draw, number, line)]
    return "\n".join(lines).encode() + b"\n"


@pytest.mark.parametrize("envelope", ["bare", "cri", "cri in pieces", "cloudwatch", "answer"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dirt", [clean, between])
def test_counting_all_but_the_end_changes_nothing(
    envelope: str,
    form: str,
    dirt: Callable[..., Iterator[str]],
    pieces: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = ENVELOPES[envelope](lograge(form, 1, 5000, dirt))
    assert one_line.form_of(data[: drain.LEARN], "bare") is not None
    found = logs.scan([Bytes(data)])
    every = by_line(data, monkeypatch)
    monkeypatch.setattr(drain._Large, "_match", read_all)
    wanted = logs.scan([Bytes(data)])
    assert found.jobs.equals(every.jobs)
    if len(found.streams) > 1:  # which container a counted line is of is not known
        check_shared(found, every)
        return
    assert found.requests.to_dicts() == wanted.requests.to_dicts()
    assert found.lives == wanted.lives
    assert [_untimed(gap) for gap in found.gaps] == [_untimed(gap) for gap in wanted.gaps]
    for one, other in zip(found.streams, wanted.streams, strict=True):
        assert one.coverage.lines == other.coverage.lines
        assert one.coverage.recognised == other.coverage.recognised
        assert (one.first_at, one.last_at, one.shape, one.cannot_show) == (
            other.first_at, other.last_at, other.shape, other.cannot_show,
        )  # fmt: skip
    assert 50 < found.requests.height < every.requests.height / 2


def check_shared(found: LogScan, every: LogScan) -> None:
    """Of several containers in one input: all are counted, and of each is kept what ended since the gap says."""
    counts = [int(gap.detail.split("kept: ")[1].split(" ")[0].replace(",", "")) for gap in found.gaps]
    assert sum(counts) + found.requests.height == every.requests.height
    assert told_since(found).to_dicts() == told_since(every, found.gaps[0]).to_dicts()
    for name in ("lines", "recognised"):
        told, all_ = (sum(getattr(s.coverage, name) for s in scan.streams) for scan in (found, every))
        assert told == all_


def told_since(scan: LogScan, gap: Gap | None = None) -> pl.DataFrame:
    """Requests that ended after the time that the gap names."""
    detail = (gap or scan.gaps[0]).detail
    return scan.requests.filter(
        pl.col("ended_at") > datetime.fromisoformat(detail.split("before ")[1].split(" ")[0])
    )


def test_the_gap_says_how_many_and_since_when(pieces: None, monkeypatch: pytest.MonkeyPatch) -> None:
    data = lograge("json", 2, 5000)
    found, every = logs.scan([Bytes(data)]), by_line(data, monkeypatch)
    (gap,) = found.gaps
    counted = every.requests.height - found.requests.height
    assert f"{counted:,} that ended before 2026-01-02T" in gap.detail
    assert found.requests.to_dicts() == told_since(every, gap).to_dicts()


def test_most_lines_are_not_read(pieces: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the tests above would hold the general path equal to itself."""
    from oomscope.logs import lograge as parser

    read: list[str] = []
    parse = parser.from_mapping
    monkeypatch.setattr(parser, "from_mapping", lambda found: read.append("") or parse(found))  # type: ignore[func-returns-value]
    logs.scan([Bytes(lograge("json", 3, 5000))])
    assert 150 < len(read) < 2500


def test_two_processes_count_what_one_counts(
    tmp_path: Path, pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    path.write_bytes(lograge("json", 4, 6000, between))
    monkeypatch.setenv("OOMSCOPE_PROCESSES", "1")
    wanted = logs.scan([FileInput(path, "log")])
    monkeypatch.delenv("OOMSCOPE_PROCESSES")
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(parts, "_WORTH", 1 << 16)
    monkeypatch.setattr(parts, "_PART", 1 << 17)
    form = one_line.form_of(path.read_bytes()[: drain.LEARN], "bare")
    assert form is not None
    assert (
        parts.shared_parts(FileInput(path, "log"), 0, None, form) is not None
    )  # else one process did it all
    found = logs.scan([FileInput(path, "log")])
    assert found.streams[0].coverage.lines == wanted.streams[0].coverage.lines
    assert found.requests["request_id"].to_list()[-100:] == wanted.requests["request_id"].to_list()[-100:]
    assert found.jobs.equals(wanted.jobs)


def test_what_had_not_ended_is_not_told_and_why(pieces: None) -> None:
    found = logs.scan_open([Bytes(lograge("json", 5, 5000))])
    assert found.requests.is_empty()
    assert found.streams[0].cannot_show == "lograge"


def test_a_log_that_also_shows_starts_is_matched_as_before(always: Setting) -> None:
    """``keep_original_rails_log``: one line in four only says again what the others say."""
    text, short = rails(6, 2500).split(b"\n"), lograge("pairs", 6, 600).split(b"\n")
    mixed = b"\n".join(
        line
        for n, line in enumerate(text)
        for line in ([line, short[n // 4 % 600]] if n % 4 == 0 else [line])
    )
    assert one_line.form_of(mixed, "bare") is None
    assert one_line.form_of(rails(7, 2500), "bare") is None
    assert one_line.form_of(b"", "bare") is None
