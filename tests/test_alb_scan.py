"""The fast ALB reader gives what the plain one gives: on real captures, made-up lines, and damage of every kind."""

from __future__ import annotations

import gzip
import io
import random
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pytest
from bench.alb_gen import START, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from oomscope.alb import AlbStats, parse_alb, parse_alb_report, payload_per_endpoint, scan_alb
from oomscope.alb.bytesview import PAD
from oomscope.alb.read import parse_slowly
from oomscope.facts import ACCESS_SCHEMA, Window, polars_schema
from oomscope.sources.bounded import FileInput
from tests.test_alb_line import TAILS, TID, line

DATA = Path(__file__).parent / "data" / "alb"
EDGE = (
    b"# the first and the last lines of a block are read the plain way, so these stand before and after\n" * 8
)


class Text:
    """An input that is bytes."""

    def __init__(self, data: bytes, label: str = "a.log") -> None:
        self.data, self.label = data, label

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


def both(data: bytes, window: Window | None = None) -> pl.DataFrame:
    """Read with both readers, hold them equal, return the table."""
    slow, slow_stats = parse_slowly(Text(data), window=window)
    fast, fast_stats = parse_alb_report([Text(data)], window=window)
    assert_frame_equal(slow.sort("time", "source", "line"), fast)
    if not data.endswith(b"\n"):
        fast_stats = replace(fast_stats, bytes=slow_stats.bytes)
    assert fast_stats == slow_stats
    assert slow_stats.lines == sum(
        getattr(slow_stats, name) for name in ("rows", "outside", "control", "blank", "damaged")
    )
    return fast


@pytest.mark.parametrize("name", ["elapsed.log", "minus1.log"])
@pytest.mark.parametrize("block", [900, 4096, 1 << 20])
def test_real_captures(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module(), "CHUNK", block)
    table = both((DATA / name).read_bytes())
    assert table.height == 120
    assert table.schema == pl.Schema(polars_schema(ACCESS_SCHEMA))


def scan_module() -> object:
    import importlib

    return importlib.import_module("oomscope.alb.scan")


def test_the_fast_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise this file would hold the plain parser equal to itself."""
    slow: list[bytes] = []
    read_line = scan_module().read_line  # type: ignore[attr-defined]
    monkeypatch.setattr(
        scan_module(), "read_line", lambda text, bounds: slow.append(text) or read_line(text, bounds)
    )
    both((DATA / "elapsed.log").read_bytes() + "".join(rows(500)).encode())
    assert len(slow) <= 4


WORDS = st.sampled_from(["-", "x", "0", "TLSv1.3", 'qu"ote', "two words", "", "\u00e9", "\\x22", "a" * 300])
AGENTS = st.one_of(WORDS, st.text(max_size=30).filter(lambda text: "\n" not in text))
LINES = st.builds(
    line,
    kind=st.sampled_from(["h2", "https", "http", "ws", "wss", "grpcs", "quic", "H2", "x y"]),
    at=st.sampled_from(
        [
            "2026-01-02T10:05:00.123456Z",
            "2026-01-02T23:59:59.999999Z",
            "2026-01-02T10:05:00Z",
            "2024-02-29T00:00:00.000000Z",
            "2026-02-29T00:00:00.000000Z",
            "2026-01-02T24:00:00.000000Z",
            "2026-01-02T10:60:00.000000Z",
            "2026-01-02 10:05:00.1Z",
            "2026-01-02T10:05:00.12345xZ",
            "2026-01-02T10:05:60.123456Z",
            "2026-01-02T1/:05:00.123456Z",
            "-",
        ]
    ),
    client=st.sampled_from(
        [
            "192.0.2.1:1234",
            "2001:db8::1:443",
            "[2001:db8::1]:443",
            "2001:0db8:1234:5678:9abc:def0:1234:5678:65535",
            "2001:0db8:" + "1234:" * 40 + "443",
            "-",
            "x",
            ":1",
            "a:123456",
            "a:1-",
            "a:-1",
            "::",
        ]
    ),
    target=st.sampled_from(
        [
            "10.0.0.1:3000",
            "2001:0db8:1234:5678:9abc:def0:1234:5678:3000",
            "-",
            "10.0.0.1",
            "10.0.0.1:0",
            "i-0abc:80",
        ]
    ),
    times=st.sampled_from(
        [
            "0.001 0.250 0.000",
            "-1 -1 -1",
            "- - -",
            "0.001 10.109 -1",
            "1 2 3",
            "12345.678 0.1 0.000",
            "123456.789 0.0001 0.000",
            "-1.000 0.000 0.000",
            "0.0x1 0.000 0.000",
            ".001 0.000 0.000",
            "-0.001 0.000 0.000",
        ]
    ),
    status=st.sampled_from(
        [
            "200 200",
            "502 -",
            "- -",
            "000 -",
            "460 -",
            "2x0 200",
            "200  200",
            "-2 200",
            "-12 200",
            "99999999 200",
        ]
    ),
    sizes=st.sampled_from(
        ["340 1850", "0 0", "-1 -", "12345678 123456789", "123456789012345 1", "1234567890123456 1", "1e3 2"]
    ),
    request=st.one_of(
        st.sampled_from(
            [
                "GET https://shop.example.com:443/items/7?full=1 HTTP/2.0",
                "POST http://a:80/ HTTP/1.1",
                "- http://h:80- -",
                "- - -",
                "- - - ",
                "GET https://h:443/?q HTTP/1.1",
                "GET https://h:443/a? HTTP/1.1",
                "GET https://h:443/- HTTP/1.1",
                "GET https://h:443/a?- HTTP/1.1",
                "GET https://h:443?x HTTP/1.1",
                "GET https://[::1]:443/x HTTP/1.1",
                "GET https:///x HTTP/1.1",
                "GET ftp/x://h/y HTTP/1.1",
                "PROPFIND https://h:443/x HTTP/1.1",
                "get https://h:443/x HTTP/1.1",
                "GET https://h:443/x HTTP/3",
                "GET  HTTP/1.1",
                "GET https://h:443/a b?c d HTTP/1.1",
                "GET https://u@h:443/x HTTP/1.1",
                "OPTIONS * HTTP/1.1",
                "GET https://h:443/" + "p" * 400 + " HTTP/1.1",
                "GET HTTP/1.1",
                "",
                "GET https://-:443/x HTTP/1.0",
            ]
        ),
        st.text(max_size=40).filter(lambda text: "\n" not in text),
    ),
    agent=AGENTS,
    trace=st.sampled_from(
        [
            "-",
            "",
            "Root=1-67891233-abcdef012345678912345678",
            "Root=1-67891233-ABCDEF012345678912345678",
            "Self=1-67891234-12456789abcdef012345678a;Root=1-67891233-abcdef012345678912345678",
            "Root=1-67891233-abcdef01234567891234567g",
            "Root=1-67891233_abcdef012345678912345678",
            "root=1-67891233-abcdef012345678912345678",
            "Root=1-6789",
            'Root="1',
        ]
    ),
    created=st.sampled_from(
        ["2026-01-02T10:04:59.000001Z", "-", "2026-01-02T10:04:59Z", "x y", "2026-13-02T10:04:59.000001Z"]
    ),
    error=WORDS,
    tail=st.one_of(
        st.sampled_from(
            [*TAILS.values(), " -", " ", "x", ' "', f"{TID}\r", "  x", f"{TID}x", TID[:-1], f"{TID[:-1]}é"]
        ),
        AGENTS.map(lambda text: " " + text),
    ),
).map(lambda text: text.encode("utf-8", "surrogatepass"))
JUNK = st.one_of(
    st.binary(max_size=300).filter(lambda data: b"\n" not in data),
    st.sampled_from(
        [b"", b"\r", b" ", b"Enable AccessLog for ELB: web at 2026", b"\x00" * 30, b'"' * 60, b'" "' * 30]
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(LINES, JUNK), max_size=12), st.booleans())
def test_made_up_and_damaged_lines(lines: list[bytes], ends: bool) -> None:
    data = EDGE + b"\n".join(lines) + (b"\n" + EDGE if ends else b"")
    both(data)
    start = datetime(2026, 1, 2, 10, tzinfo=UTC)
    both(data, Window(start, start + timedelta(minutes=10)))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_bytes_changed_cut_out_and_doubled_in_real_lines(seed: int) -> None:
    draw = random.Random(seed)
    data = bytearray(DATA.joinpath("minus1.log").read_bytes()[:12_000])
    for _ in range(draw.randrange(1, 12)):
        at = draw.randrange(len(data))
        match draw.randrange(4):
            case 0:
                data[at] = draw.choice(b'" \n-:0?/\x00\xff\r')
            case 1:
                del data[at : at + draw.randrange(1, 40)]
            case 2:
                data[at:at] = data[at : at + draw.randrange(1, 800)]
            case _:
                data[at:at] = draw.choice([b'"', b" ", b"\n", b"\\", b'\\"', b"\xe9"])
    both(EDGE + bytes(data) + EDGE)


def test_a_window_of_a_day_across_midnight() -> None:
    data = "".join(rows(3000)).encode()
    for start in (
        START,
        START + timedelta(hours=10),
        START + timedelta(hours=23, minutes=55),
        START - timedelta(days=1),
    ):
        window = Window(start, start + timedelta(minutes=10))
        table = both(data, window)
        assert all(window.start <= at < window.end for at in table["time"])


WHOLE = (DATA / "elapsed.log").read_bytes()


@pytest.mark.parametrize(
    "data",
    [
        WHOLE.replace(b"\n", b"\r\n"),
        WHOLE.replace(b"\n", b"\n\n"),
        WHOLE[:-300],
        WHOLE[300:],
        b"\xef\xbb\xbf" + WHOLE,
        WHOLE.replace(b"\n", b' "-" "-" "-" 10.0.9.9 new "a b"\n'),
        random.Random(1).randbytes(300_000),
        random.Random(2).randbytes(20_000) + WHOLE,
        b'"' * 100_000 + b"\n" + WHOLE,
        b" " * 100_000 + b"\n" + WHOLE,
        b"\n" * 10_000,
    ],
    ids=[
        "crlf",
        "blank lines",
        "cut end",
        "cut start",
        "bom",
        "newer columns",
        "junk",
        "junk before",
        "quotes",
        "blanks",
        "newlines",
    ],
)
@pytest.mark.parametrize("block", [1 << 14, 1 << 21])
def test_whole_files_of_odd_kinds(data: bytes, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module(), "CHUNK", block)
    both(data)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1_000_000), st.booleans())
def test_gz_files_cut_anywhere_or_damaged(where: int, damaged: bool) -> None:
    """What can be inflated is read, and the file says that it was cut."""
    packed = bytearray(gzip.compress("".join(rows(400)).encode(), mtime=0))
    at = 20 + where % (len(packed) - 40)
    if damaged:
        packed[at] ^= 0x55
    else:
        del packed[at:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.log.gz")
        path.write_bytes(packed)
        slow, _ = parse_slowly(FileInput(path, "x"))
        file = FileInput(path, "x")
        fast, _ = parse_alb_report([file])
        assert file.cut
        assert_frame_equal(slow.sort("time", "source", "line"), fast)


def test_many_files_side_by_side_are_the_files_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = list(rows(900))
    files = [Text("".join(lines[n::30]).encode(), f"{n:02}.log") for n in range(30)]
    monkeypatch.delenv("OOMSCOPE_PROCESSES", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    together, stats = parse_alb_report(files)
    slow = [parse_slowly(file) for file in files]
    assert_frame_equal(pl.concat([table for table, _ in slow]).sort("time", "source", "line"), together)
    assert stats == sum((found for _, found in slow), AlbStats())


@pytest.mark.parametrize("block", [1, 3000, 20_000, 1 << 20])
def test_small_files_read_together_keep_their_names_and_lines(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module(), "CHUNK", block)
    lines = list(rows(60))
    texts = [
        "".join(lines[:20]), "", "\n", "".join(lines[20:24]).rstrip("\n"), "cut off at the start\n" + lines[24],
        "".join(lines[25:50]), lines[50][:100], "Enable AccessLog for ELB: app/web", "".join(lines[51:]),
    ]  # fmt: skip
    files = [Text(text.encode(), f"{n}.log") for n, text in enumerate(texts)]
    together, stats = parse_alb_report(files)
    slow = [parse_slowly(file) for file in files]
    assert_frame_equal(pl.concat([table for table, _ in slow]).sort("time", "source", "line"), together)
    assert stats.first_damaged == "4.log:1"
    assert replace(stats, bytes=0) == replace(sum((found for _, found in slow), AlbStats()), bytes=0)


@pytest.mark.parametrize("before", [1, 50, 55, 56, 57, 63, 64, 65, 200])
@pytest.mark.parametrize("query", ["", "?", "?a=1", "?a=?&b=2"])
def test_the_query_begins_at_the_first_question_mark_however_late(before: int, query: str) -> None:
    url = f"https://shop.example.com:443/{'p' * before}{query}"
    table = both(EDGE + "".join(line(request=f"GET {url} HTTP/1.1") + "\n" for _ in range(3)).encode() + EDGE)
    assert table["path"].to_list() == [f"/{'p' * before}"] * 3


FORTY_MINUTES = "".join(islice(rows(2000), 60)).encode()
TIMES = st.integers(0, 40).map(lambda minutes: START + timedelta(minutes=minutes))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TIMES, TIMES), max_size=5))
def test_several_windows(spans: list[tuple[datetime, datetime]]) -> None:
    data = EDGE + FORTY_MINUTES
    windows = [Window(*span) for span in spans]
    fast, stats = parse_alb_report([Text(data)], window=windows)
    slow, slow_stats = parse_slowly(Text(data), window=windows)
    assert_frame_equal(slow.sort("time", "source", "line"), fast)
    assert stats == slow_stats
    everything = parse_alb([Text(data)])
    inside = [any(w.start <= at < w.end for w in windows) for at in everything["time"]]
    assert_frame_equal(everything.filter(pl.Series(inside, dtype=pl.Boolean)), fast)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.lists(TIMES, max_size=3), st.sampled_from([2_000, 9_000, 1 << 20]))
def test_of_too_many_rows_the_nearest_stay(limit: int, near: list[datetime], block: int) -> None:
    everything = parse_alb([Text(FORTY_MINUTES)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan_module(), "CHUNK", block)
        kept, stats = parse_alb_report([Text(FORTY_MINUTES)], columns=["path"], limit=limit, near=near)
    assert (kept.height, stats.left_out) == (min(limit, 60), max(60 - limit, 0))

    def far(row: tuple[datetime, int]) -> tuple[timedelta, tuple[datetime, int]]:
        at = row[0]
        return (min(abs(at - one) for one in near) if near else datetime.max.replace(tzinfo=UTC) - at, row)

    expected = sorted(everything.select("time", "line").iter_rows(), key=far)[:limit]
    assert kept.select("time", "line").rows() == sorted(expected)


def test_a_line_too_long_is_one_damaged_line_and_memory_stays_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan_module(), "CHUNK", 1 << 16)
    data = line().encode() + b"\n" + b"x" * 3_000_000 + b"\n" + line().encode()
    table, stats = parse_alb_report([Text(data)])
    assert (table.height, stats.lines, stats.damaged, stats.first_damaged) == (2, 3, 1, "a.log:2")
    assert table["line"].to_list() == [1, 3]


def test_rows_are_sorted_by_time_then_source_then_line() -> None:
    late, early = line(at="2026-01-02T10:05:01.000000Z"), line()
    data = f"{late}\n{early}\n{early}\n".encode()
    table = parse_alb([Text(data, "b"), Text(data, "a")])
    assert table.select("source", "line").rows() == [
        ("a", 2),
        ("a", 3),
        ("b", 2),
        ("b", 3),
        ("a", 1),
        ("b", 1),
    ]


def test_only_the_asked_columns_are_made() -> None:
    table, _stats = parse_alb_report([Text(line().encode())], columns=["path"])
    assert set(table.columns) == {"time", "path", "source", "line"}
    frames = [frame for frame, _stats in scan_alb([Text(line().encode())], columns=["method", "sent_bytes"])]
    assert pl.concat(frames).to_dicts() == [{"method": "GET", "sent_bytes": 1850}]


def test_no_input_and_empty_input() -> None:
    assert parse_alb([]).schema == pl.Schema(polars_schema(ACCESS_SCHEMA))
    assert parse_alb([Text(b"")]).height == 0
    assert payload_per_endpoint([Text(b"")])[0].height == 0


def test_payload_per_endpoint_adds_up() -> None:
    data = "".join(rows(2000)).encode()
    table = parse_alb([Text(data)])
    summary, stats = payload_per_endpoint([Text(gzip.decompress(gzip.compress(data)))])
    assert stats.rows == summary["rows"].sum() == 2000
    assert summary["sent_total"].sum() == table["sent_bytes"].sum()
    assert summary["received_max"].max() == table["received_bytes"].max()
    assert {"/", "/items/:id", "/carts/:id/lines", "/users/:id/avatar", "/reports/:id.csv"} <= set(
        summary["template"]
    )
    assert not summary["template"].str.contains(r"/\d").any()


def test_generated_logs_are_the_same_for_the_same_seed() -> None:
    assert list(rows(5, seed=3)) == list(rows(5, seed=3)) != list(rows(5, seed=4))


def test_edges_are_wide_enough() -> None:
    assert len(EDGE) > PAD
