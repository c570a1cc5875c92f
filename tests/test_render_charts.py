"""The pictures: what is drawn is what the report says, in both widths, without any network."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import timedelta
from typing import Any

import pytest

from oomscope.render import charts
from oomscope.render.chart_frame import NARROW, WIDE, Frame, frame_of, hatch, spread, ticks
from oomscope.report import Report
from tests import sample_reports as samples

SVG = "{http://www.w3.org/2000/svg}"


def words(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter(f"{SVG}text")]


def main(report: Report) -> charts.Picture:
    return next(picture for picture in charts.pictures(report) if picture.id == "main")


def test_main_picture_says_the_findings() -> None:
    found = " | ".join(words(main(samples.strong()).wide))
    for part in (
        "Memory rose 560 MiB in the last 96 s, then hit the limit of 2.00 GiB",
        "7 requests open at the end; the longest had been running for 96 s",
        "14 of 6,026 drawn",
        "limit 2.00 GiB",
        "request 1.50 GiB",
        "3 other pods",
        "1.80 GiB, 9 s before",
        "GET /admin/orders.csv",
        "deploy 4f1c2e",
        "req/s (max 22)",
        "kill",
    ):
        assert part in found


def test_one_kill_line_through_both_charts() -> None:
    svg = main(samples.strong()).wide
    assert len(re.findall(r'stroke="#b3261e" stroke-width="2"', svg)) == 2


def test_suspect_is_red_and_its_survived_run_pale() -> None:
    svg = main(samples.strong()).wide
    labels = dict(re.findall(r'aria-label="([^"]*)"[^>]*fill="([^"]*)"', svg))
    assert labels["GET /admin/orders.csv, open for 96 s, ab12/17"] == "#b3261e"
    assert labels["GET /admin/orders.csv, completed after 34 s"] == "#f4b6b0"
    assert labels["GET /search, open for 9.1 s, ab12/17"] == "#3e4c59"


def test_blind_gap_is_hatched_and_no_line_is_drawn_into_it() -> None:
    with_gap, without = (
        main(samples.strong()).wide,
        main(samples.strong(memory=samples.memory(blind=0.1))).wide,
    )
    assert with_gap.count("<line") > without.count("<line") + 10
    assert 'stroke-dasharray="3,3"' in with_gap


def test_pods_workers_and_leak_are_drawn_where_known() -> None:
    assert [picture.id for picture in charts.pictures(samples.child_kill())] == [
        "main",
        "workers",
        "pods",
        "leak",
    ]
    assert [picture.id for picture in charts.pictures(samples.strong())] == ["main", "pods"]
    assert charts.pictures(samples.bare_pod()) == []


def test_lives_of_one_pod_count_once() -> None:
    memory = samples.memory(siblings=1)
    memory["series"].append({**memory["series"][1], "points": memory["series"][1]["points"][:4]})
    assert "1 other pod" in words(main(samples.strong(memory=memory)).wide)


def test_other_kills_with_samples_become_small_pictures() -> None:
    killed = samples.ago(0)
    other = {
        "killed_at": killed.isoformat(),
        "pod": "web-2",
        "memory": samples.memory(),
        "chart": samples.chart(),
    }
    found = charts.multiples(samples.strong(other_kills=(other,) * 5))
    assert len(found) == 3
    assert found[0][0] == "2025-11-23 03:12:41 UTC web-2"
    ids = [set(re.findall(r'id="([^"]*)"', svg)) for _, svg in found]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize("name", [*samples.SAMPLES, "crowd"])
def test_every_sample_draws_valid_svg(name: str) -> None:
    report = samples.crowd() if name == "crowd" else samples.SAMPLES[name]()
    seen: set[str] = set()
    for picture in charts.pictures(report):
        for svg in (picture.wide, picture.narrow):
            ET.fromstring(svg)
            assert "<script" not in svg
            assert " style=" not in svg  # the page's policy forbids inline styles
            assert "href" not in re.sub(r">[^<]*<", "><", svg)
            ids = set(re.findall(r' id="([^"]*)"', svg))
            assert not ids & seen
            assert set(re.findall(r"url\(#([^)]*)\)", svg)) <= ids
            seen |= ids


@pytest.mark.parametrize("layout", ["wide", "narrow"])
def test_labels_stay_inside_the_picture(layout: str) -> None:
    for name in ("strong", "hostile", "crowd"):
        report = samples.crowd() if name == "crowd" else samples.SAMPLES[name]()
        svg = getattr(main(report), layout)
        width = float(re.search(r'width="([\d.]+)"', svg)[1])  # type: ignore[index]
        full = WIDE.width + WIDE.right if layout == "wide" else NARROW.width
        assert full <= width <= full + 130


def test_many_lanes_keep_the_suspect_and_count_the_rest() -> None:
    bars = [samples.bar("GET /slow", 200 - n) for n in range(60)] + [
        samples.bar("GET /quick", 1, suspect=True)
    ]
    report = samples.strong(chart=samples.chart(bars), impact={"requests_in_flight": 61})
    found = words(main(report).wide)
    assert "GET /quick" in found
    assert any("20 of 61 in flight, longest first" in text for text in found)


def test_start_unknown_is_drawn_open() -> None:
    bar = {**samples.bar("GET /x", 5), "start": None, "age_s": None}
    svg = main(samples.strong(chart=samples.chart([bar]))).wide
    assert "start unknown" in svg
    assert 'fill-opacity="0"' in svg


def test_requests_alone_and_memory_alone() -> None:
    assert "limit 2.00 GiB" not in words(main(samples.strong(memory={})).wide)
    assert "GET /cart" not in words(main(samples.strong(chart={})).wide)
    assert charts.pictures(samples.strong(memory={}, chart={})) == []


def test_png_for_chat() -> None:
    png = charts.chart_png(samples.strong())
    assert png is not None
    assert png.startswith(b"\x89PNG")
    assert charts.chart_png(samples.bare_pod()) is None


def test_hostile_text_is_text() -> None:
    for picture in charts.pictures(samples.hostile()):
        tags = set(re.findall(r"<([a-zA-Z]+)", picture.wide + picture.narrow))
        assert tags <= {"svg", "g", "path", "text", "tspan", "line", "rect", "defs", "clipPath"}


@pytest.mark.parametrize(
    "junk", [None, 7, "x", [], [[]], [["x", "y"]], {"a": 1}, [{"points": [[None, None]]}], float("nan")]
)
def test_junk_in_the_chart_parts_draws_nothing_and_raises_nothing(junk: Any) -> None:
    for key in ("series", "floor", "limit_bytes", "killed_at", "restarts"):
        charts.pictures(samples.strong(memory={**samples.memory(), key: junk}))
    for key in ("bars", "rate", "marks", "from", "total"):
        charts.pictures(samples.strong(chart={**samples.chart(), key: junk}))


def test_ticks_count_back_from_the_kill() -> None:
    places, label = ticks(300, 8)
    assert places == [0, -60, -120, -180, -240, -300]
    assert "min" in label
    assert len(ticks(10 * 86400.0, 8)[0]) <= 12


def test_hatching_stays_in_its_rectangle() -> None:
    lines = hatch(-9, 0, 1, 2, per_x=0.4, per_y=0.005)
    assert lines
    for line in lines:
        assert -9.001 <= min(line["x"], line["x2"]) <= max(line["x"], line["x2"]) <= 0.001
        assert 0.999 <= min(line["y"], line["y2"]) <= max(line["y"], line["y2"]) <= 2.001


def test_spread_keeps_order_and_distance() -> None:
    assert spread([0.0, 0.1, 5.0], 1.0) == [0.0, 1.0, 5.0]
    assert spread([3.0, 1.0], 5.0) == [6.0, 1.0]


def test_frame_without_a_kill_ends_at_the_end() -> None:
    chart = {"from": samples.stamp(60), "to": samples.stamp(0), "bars": [samples.bar("GET /x", 30, 2)]}
    report = samples.strong(chart=chart, memory={}, kill=samples.kill(killed_at=None))
    frame = frame_of(report)
    assert frame == Frame(samples.ago(0), -60.0, False)
    assert frame.at(samples.ago(0) - timedelta(seconds=5)) == -5
    assert "end" in words(main(report).wide)
