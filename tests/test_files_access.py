"""Saved access logs: small ones whole, large ones around the deaths, a window when one is asked for."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from bench import alb_gen
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from oomscope.alb.names import end_by_name
from oomscope.facts import ACCESS_SCHEMA, Target, Window, polars_schema
from oomscope.sources import files_access
from oomscope.sources.bounded import FileInput
from oomscope.sources.files import collect_files
from oomscope.sources.interface import _accesses_once

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
TEN_MINUTES = Window(NOON, NOON + timedelta(minutes=10))


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of access log in files of five minutes, two nodes."""
    folder = tmp_path_factory.mktemp("alb")
    alb_gen.write(folder, 20_000, parts=576)
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that were read as access logs."""
    read: list[str] = []
    parse = files_access.alb.parse_alb_report

    def spy(files: Sequence[FileInput], **given: object) -> object:
        read.extend(file.label for file in files)
        return parse(files, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(files_access.alb, "parse_alb_report", spy)
    return read


def test_the_window_asked_for_is_all_that_is_read(day: Path, opened: list[str]) -> None:
    bundle = collect_files([day], accesses_of=TEN_MINUTES)
    assert 6 <= len(opened) <= 10, "the files of these minutes and of the ten after, two nodes each"
    assert bundle.accesses.height == 139
    whole = collect_files([day]).accesses
    inside = whole.filter(whole["time"].is_between(TEN_MINUTES.start, TEN_MINUTES.end, closed="left"))
    assert_frame_equal(bundle.accesses, inside)
    assert {query.window for query in bundle.queries} == {TEN_MINUTES}
    assert len(bundle.queries) == 576, "a file that was passed over is named too"
    assert not bundle.gaps


def test_a_file_with_a_name_of_other_minutes_is_read_when_its_lines_say_so(day: Path, tmp_path: Path) -> None:
    rows = b"".join(
        gzip.decompress(path.read_bytes()) for path in sorted(day.iterdir()) if "T1205Z" in path.name
    )
    tmp_path.joinpath(alb_gen.file_name(3, 576)).write_bytes(gzip.compress(rows))
    tmp_path.joinpath("notes.log").write_bytes(b"nothing\n" + rows)
    found = collect_files([tmp_path], accesses_of=TEN_MINUTES).accesses
    assert found["source"].n_unique() == 1, "two copies of a row are one request"
    assert found.height > 60


def test_large_logs_are_read_around_the_death(
    day: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_access, "LARGE", 1)
    bundle = collect_files([day], target=Target(at=NOON))
    times = bundle.accesses["time"]
    assert times.min() >= NOON - files_access.BEFORE  # type: ignore[operator]
    assert times.max() < NOON + files_access.AFTER  # type: ignore[operator]
    assert bundle.accesses.height == 555
    assert len(opened) < 30
    assert not bundle.gaps


def test_the_death_is_taken_from_the_other_evidence(
    day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two deaths: the minutes around both, not those between."""
    monkeypatch.setattr(files_access, "LARGE", 1)
    ended = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-02T12:00:00Z"}
    earlier = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-02T03:00:00Z"}
    status = {"name": "app", "state": {"terminated": ended}, "lastState": {"terminated": earlier}}
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop", "uid": "u"},
        "spec": {"containers": [{"name": "app"}]}, "status": {"containerStatuses": [status]},
    }  # fmt: skip
    tmp_path.joinpath("pod.json").write_text(json.dumps(pod))
    bundle = collect_files([day, tmp_path])
    assert set(bundle.accesses["time"].dt.hour()) == {2, 3, 11, 12}
    assert bundle.accesses.height == 1110


def test_large_logs_alone_are_read_whole(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing tells of a death, so it is looked for in the rows: they are all the evidence there is."""
    monkeypatch.setattr(files_access, "LARGE", 1)
    assert collect_files([day]).accesses.height == 20_000


def test_more_rows_than_can_be_kept_are_a_gap(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_access, "MAX_ROWS", 100)
    bundle = collect_files([day], target=Target(at=NOON))
    assert bundle.accesses.height == 100
    assert abs(bundle.accesses["time"].median() - NOON) < timedelta(minutes=1)  # type: ignore[operator]
    (gap,) = bundle.gaps
    assert (gap.source, gap.reason) == ("alb", "cut")
    assert "19,900 of 20,000 rows" in gap.detail


def test_a_window_without_a_row_is_a_gap(day: Path) -> None:
    window = Window(NOON + timedelta(days=2), NOON + timedelta(days=2, minutes=5))
    bundle = collect_files([day], accesses_of=window)
    assert bundle.accesses.is_empty()
    (gap,) = bundle.gaps
    assert (gap.source, gap.reason) == ("alb", "no_data")
    assert gap.fix


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("1_elasticloadbalancing_r_app.a.b_20260102T1205Z_10.0.0.1_x.log.gz", "12:05"),
        ("deep/er/1_elasticloadbalancing_r_app.a.b_20260102T1205Z_10.0.0.1_x.log", "12:05"),
        ("1_elasticloadbalancing_r_app.a.b_20260102T2505Z_10.0.0.1_x.log.gz", None),
        ("1_elasticloadbalancing_r_net.a.b_20260102T1205Z_x.log.gz", None),
        ("access.log", None),
        ("", None),
    ],
)
def test_names_of_files(name: str, end: str | None) -> None:
    found = end_by_name(name)
    assert (f"{found:%H:%M}" if found else None) == end


def test_a_year_is_found_by_the_first_lines_of_access_logs(day: Path, tmp_path: Path) -> None:
    """A kernel stamp without a year: the access log tells which one it was."""
    line = (
        "Jan  2 12:00:00 node kernel: Memory cgroup out of memory: Killed process 4242 (ruby) total-vm:9kB, "
        "anon-rss:8kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:900"
    )
    tmp_path.joinpath("messages").write_text(line + "\n")
    (kill,) = collect_files([day, tmp_path]).oom_kills
    assert kill.at == NOON


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*map(st.sampled_from, ((0, 1), (None, "a"), "xy", "st", (1, 2, 3)))), max_size=14))
def test_each_request_counts_as_often_as_one_file_holds_it(
    rows: list[tuple[int, str | None, str, str, int]],
) -> None:
    names = ("time", "client", "path", "source", "line")
    plain = [dict.fromkeys(ACCESS_SCHEMA) | dict(zip(names, row, strict=True)) for row in rows]
    table = pl.DataFrame(plain, schema=polars_schema(ACCESS_SCHEMA) | {"time": pl.Int64})
    once = _accesses_once(table.cast(polars_schema(ACCESS_SCHEMA)).sort("time", "source", "line"))
    held: defaultdict[tuple[int, str | None, str], Counter[str]] = defaultdict(Counter)
    for *request, source, _line in set(rows):
        held[tuple(request)][source] += 1  # type: ignore[index]
    counted = Counter(once.select(pl.col("time").to_physical(), "client", "path").iter_rows())
    assert counted == {request: max(files.values()) for request, files in held.items()}
    assert once["time"].is_sorted()
