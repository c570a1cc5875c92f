"""The pictures: what is drawn is what the report says, in both widths, without any network."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import timedelta
from typing import Any

import pytest

from oomscope.render import chart_memory, charts, titles
from oomscope.render.chart_frame import NARROW, WIDE, Frame, frame_of, hatch, spread, ticks, title_lines
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
        "7 requests died with the container; GET /admin/orders.csv had been running for 96 s",
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
        "processes",
        "leak",
        "pods",
    ]
    assert [picture.id for picture in charts.pictures(samples.strong())] == ["main", "pods"]
    assert charts.pictures(samples.bare_pod()) == []


def test_lives_of_one_pod_count_once() -> None:
    memory = samples.memory(siblings=1)
    memory["series"].append({**memory["series"][1], "points": memory["series"][1]["points"][:4]})
    assert "1 other pod" in words(main(samples.strong(memory=memory)).wide)


def test_an_earlier_life_that_two_sources_sampled_is_one_line() -> None:
    def lines(*lives: list[list[Any]]) -> int:
        memory = samples.memory(siblings=0)
        dead = {**memory["series"][0], "container_id": "c3"}
        past = [{**dead, "dead": False, "container_id": "c2", "points": points} for points in lives]
        svg = main(samples.strong(memory={**memory, "series": [dead, *past]})).wide
        return svg.count('stroke="#9aa5b1"')

    fine = [[samples.stamp(110 - second), 100 * 2**20 + second] for second in range(20)]
    assert lines(fine, fine[::10]) == lines(fine) > lines()


@pytest.mark.parametrize(
    ("verdict", "word"), [("oom_limit", "kill"), ("undetermined", "end"), ("not_oom", "end")]
)
def test_the_axis_ends_at_a_kill_only_where_there_was_one(verdict: str, word: str) -> None:
    report = samples.strong(kill=samples.kill(verdict=verdict), impact={})
    assert ({"kill", "end"} & set(words(main(report).wide))) == {word}
    hidden = samples.unknown_in_flight().model_copy(update={"kill": samples.kill(verdict=verdict)})
    assert f"What was open at the {word} cannot be told" in titles.requests_title(hidden)


def test_the_last_size_stands_clear_of_a_short_life() -> None:
    """A container that booted in the middle of a narrow picture: its label hangs below the curve, not on it."""
    sizes = [(-20, 30), (-18, 250), (-14, 300), (-9, 340), (-4, 360), (0, 383)]
    points = [(float(at), size * 2.0**20) for at, size in sizes]
    scale = chart_memory.Scale([size for _, size in points], 384 * 2.0**20, NARROW.tall)
    said = (383.0, "383 MiB", "#000")
    layers = chart_memory._labels_inside(points, said, NARROW, scale, (384 * 2.0**20, None), -63.0)
    (label,) = layers[0]["data"]["values"]
    wide = 63 * len("383 MiB") * NARROW.size * 0.56 / NARROW.width
    assert label["y"] < min(size for at, size in sizes if at >= -wide)


def test_other_kills_with_samples_become_small_pictures() -> None:
    killed = samples.ago(0)
    other = {
        "killed_at": killed.isoformat(),
        "pod": "web-2",
        "memory": samples.memory(),
        "chart": samples.chart(),
    }
    found = charts.multiples(samples.strong(other_kills=(other,) * 5))
    assert len(found) == 1 + 3
    assert found[0][0] == "2025-11-23 03:12:41 UTC web-7c9f-x2vq4 (this kill)"
    assert found[1][0] == "2025-11-23 03:12:41 UTC web-2"
    ids = [set(re.findall(r'id="([^"]*)"', svg)) for _, svg in found]
    assert not ids[0] & ids[1]


def test_small_pictures_share_their_scales() -> None:
    early, low = samples.chart(), samples.memory()
    early["from"] = samples.stamp(600)
    low["series"][0]["points"] = [[at, size // 4] for at, size in low["series"][0]["points"]]
    other = {"killed_at": samples.stamp(0), "pod": "web-2", "memory": low, "chart": early}
    found = charts.multiples(samples.strong(other_kills=(other,)))
    scales = [[word for word in words(svg) if re.fullmatch(r"-?[\d.]+( min)?", word)] for _, svg in found]
    assert scales[0] == scales[1]
    assert {"-10 min", "2.0", "0.0"} <= set(scales[0])


def test_processes_are_bars_with_the_killed_one_red() -> None:
    picture = charts.pictures(samples.child_kill())[1]
    for svg in (picture.wide, picture.narrow):
        assert {"worker 0 (pid 20), killed", "worker 1 (pid 21)", "master", "960 MiB", "40.0 MiB"} <= set(
            words(svg)
        )
        found = dict(re.findall(r'aria-label="([^"]*): [^"]*"[^>]*fill="([^"]*)"', svg))
        assert found == {
            "worker 0 (pid 20), killed": "#b3261e",
            "worker 1 (pid 21)": "#3e4c59",
            "master": "#3e4c59",
        }
    assert "held 960 MiB of the 1.84 GiB in 3 processes" in " ".join(words(picture.wide))


def test_memory_alone_shows_its_times() -> None:
    assert "kill" in words(main(samples.strong(chart={})).wide)
    assert words(main(samples.strong()).wide).count("kill") == 1


def test_numbers_stay_with_their_units() -> None:
    assert title_lines("x" * 35 + " 560 MiB in 96 s", NARROW) == ["x" * 35, "560 MiB in 96 s"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "Memory rose 560 MiB in the last 96 s, then hit the limit of 2.00 GiB"),
        ({"rise_bytes": 90 * samples.MIB, "base_bytes": int(1.2 * samples.GIB), "last_bytes": int(1.9 * samples.GIB)},
         "Memory climbed 717 MiB in 5 min, up to the limit of 2.00 GiB"),
        ({"rise_bytes": None, "base_bytes": int(1.8 * samples.GIB)},
         "Memory stood at 90 % of the 2.00 GiB limit from the start"),
        ({"rise_bytes": None, "blind_s": 9},
         "Memory was last seen at 1.80 GiB, 9 s before it hit the limit of 2.00 GiB"),
        ({"rise_bytes": None, "blind_s": 0.4}, "Memory was 1.80 GiB at the last sample, 90 % of the limit of 2.00 GiB"),
    ],
)  # fmt: skip
def test_the_title_of_the_memory_chart_is_its_finding(change: dict[str, Any], said: str) -> None:
    assert titles.memory_title(samples.strong(memory={**samples.memory(), **change})) == said


def test_the_title_of_the_request_chart_is_its_finding() -> None:
    bar, many = samples.bar, [samples.bar("GET /x", 5, suspect=True), samples.bar("GET /x", 3, suspect=True)]

    def said(bars: list[dict[str, Any]], count: int, **more: Any) -> str:
        report = samples.strong(
            chart=samples.chart(bars), impact={"requests_in_flight": count}, in_flight=(), **more
        )
        return titles.requests_title(report)

    assert said(many, 2) == "2 requests died with the container; all were GET /x, the longest for 5 s"
    assert said(many, 9) == "9 requests died with the container; 2 were GET /x, the longest for 5 s"
    assert said([bar("GET /x", 5)], 1) == "1 request died with the container; it had been running for 5 s"
    assert said([], 0) == "No request was open at the kill"
    assert said([bar("GET /x", 5)], 1, kill=samples.kill(verdict="not_oom")).startswith(
        "1 request open at the end;"
    )
    assert titles.requests_title(samples.job()) == (
        "6 requests died with the container; 1 run of job CatalogExportJob too, the longest for 3 min"
    )


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
    for key in ("series", "floor", "processes", "limit_bytes", "killed_at", "restarts"):
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
    assert frame == Frame(samples.ago(0), -60.0, False, "end")
    assert frame.at(samples.ago(0) - timedelta(seconds=5)) == -5
    assert "end" in words(main(report).wide)
