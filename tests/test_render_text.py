"""The terminal report: five answers in 80 x 24, whatever the report holds."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from oomscope.render import FORMATS, RENDERERS, Format, format_of, render, render_explain
from oomscope.render.terminal import sparkline, table
from oomscope.report import Action, Cause, GapDoc, Hypothesis, Report, Suspect
from tests import sample_reports as samples

ALL = {**samples.SAMPLES, "crowd": samples.crowd}
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_golden(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.txt", render(samples.SAMPLES[name](), "text", now=samples.NOW))


@pytest.mark.parametrize("name", ["strong", "abstention", "not_oom"])
def test_golden_long_and_wide(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}-full.txt", render(ALL[name](), "text", full=True, now=samples.NOW))
    golden(f"{name}-wide.txt", render(ALL[name](), "text", width=120, now=samples.NOW))


@pytest.mark.parametrize("width", [60, 80, 109, 110, 160, 240])
@pytest.mark.parametrize("name", ALL)
def test_fits_the_screen(name: str, width: int) -> None:
    lines = render(ALL[name](), "text", width=width, now=samples.NOW).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert len(lines) <= 23 or width < 80


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_nothing_that_steers_a_terminal(name: str, full: bool) -> None:
    assert not CONTROL.search(render(ALL[name](), "text", full=full, now=samples.NOW))


@pytest.mark.parametrize("name", ALL)
def test_colour_changes_nothing_but_colour(name: str) -> None:
    plain = render(ALL[name](), "text", now=samples.NOW)
    colored = render(ALL[name](), "text", now=samples.NOW, color=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain
    assert set(re.findall(r"\x1b\[[^m]*m", colored)) <= {
        "\x1b[0m",
        "\x1b[1m",
        "\x1b[2m",
        "\x1b[31m",
        "\x1b[1;31m",
    }


def test_red_is_for_kill_limit_and_suspect_only() -> None:
    colored = render(samples.strong(), "text", now=samples.NOW, color=True)
    red = re.findall(r"\x1b\[(?:1;)?31m([^\x1b]*)", colored)
    assert red == ["OOMKilled", "GET /admin/orders.csv", "2.00 GiB"]


def test_nobody_accused_nobody_red() -> None:
    colored = render(samples.undersized(), "text", now=samples.NOW, color=True)
    assert "31mLimit too small" not in colored


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("width", [80, 120])
def test_ascii_fallback_keeps_the_layout(name: str, width: int) -> None:
    plain = render(ALL[name](), "text", now=samples.NOW, width=width)
    ascii_only = render(ALL[name](), "text", now=samples.NOW, width=width, ascii_only=True)
    assert ascii_only.isascii()
    assert [cell_len(line) for line in plain.splitlines()] == [len(line) for line in ascii_only.splitlines()]


def test_long_form_repeats_the_verdict_last() -> None:
    text = render(samples.strong(), "text", full=True, now=samples.NOW)
    assert "LIKELY CAUSE" in text[-1200:]
    assert "OOMKilled  shop/web-7c9f-x2vq4" in text[-1500:]


def test_five_answers_in_order() -> None:
    text = render(samples.strong(), "text", now=samples.NOW)
    zones = [
        "OOMKilled",
        "STILL" if "STILL" in text else "AGAIN",
        "LIKELY CAUSE",
        "MEMORY",
        "LOST",
        "DO NOW",
        "ALSO",
        "UNSEEN",
    ]
    places = [text.index(zone) for zone in zones]
    assert places == sorted(places)
    assert "kubectl -n shop set resources" in text
    assert "14 min ago" in text


def test_abstention_says_so_and_what_would_settle_it() -> None:
    text = render(samples.abstention(), "text", now=samples.NOW)
    assert "NO CLEAR CAUSE" in text
    assert "TO SETTLE IT" in text
    assert "LIKELY CAUSE" not in text


def test_not_oom_says_what_it_was() -> None:
    text = render(samples.not_oom(), "text", now=samples.NOW)
    assert text.startswith("Not an OOM kill")
    assert "liveness probe failed" in text


def test_unknown_is_never_zero() -> None:
    text = render(samples.unknown_in_flight(), "text", now=samples.NOW)
    assert "requests in flight unknown" in text
    assert "0 requests" not in text


def test_zero_in_flight_is_said() -> None:
    report = samples.strong(in_flight=(), impact={"requests_in_flight": 0})
    assert "0 requests in flight" in render(report, "text")


def test_nothing_missing_is_said() -> None:
    assert "UNSEEN  nothing missing" in render(samples.not_oom(), "text", now=samples.NOW)


def test_weak_cause_is_only_possible() -> None:
    report = samples.strong(cause=Cause(hypothesis="H1", strength="weak"))
    assert "POSSIBLE CAUSE  weak evidence" in render(report, "text")


def test_what_was_cut_is_counted() -> None:
    gaps = tuple(GapDoc(source=f"source{n}", reason="off", detail="x" * 60) for n in range(9))
    text = render(samples.strong(gaps=gaps), "text")
    assert re.search(r"\+\d more", text.split("UNSEEN")[1])


def test_command_is_whole_or_pointed_to() -> None:
    command = "kubectl " + " ".join(f"--flag-{n}=value" for n in range(60))
    text = render(samples.strong(actions=(Action(when="now", text="Do it", command=command),)), "text")
    assert "(command: --full)" in text
    full = render(
        samples.strong(actions=(Action(when="now", text="Do it", command=command),)), "text", full=True
    )
    joined = re.sub(r" \\\n\s+", " ", full)
    assert command in joined


def test_times_follow_the_zone() -> None:
    zone = timezone(timedelta(hours=9), "KST")
    assert "12:12:41 KST" in render(samples.strong(), "text", now=samples.NOW, tz=zone)


def test_no_age_without_a_clock_and_none_ahead_of_it() -> None:
    assert "ago" not in render(samples.strong(), "text")
    assert "ago" not in render(samples.strong(), "text", now=datetime(2020, 1, 1, tzinfo=UTC))


def test_parameters_only_when_asked() -> None:
    requests = tuple(one.model_copy(update={"params": '{"range":"all"}'}) for one in samples.IN_FLIGHT)
    report = samples.strong(in_flight=requests)
    assert '{"range"' not in render(report, "text", full=True)
    assert '{"range"' in render(report, "text", full=True, show_params=True, width=160)


@pytest.mark.parametrize("fmt", ["text", "markdown", "html"])
def test_client_addresses_are_shortened_unless_asked(fmt: Format) -> None:
    requests = tuple(one.model_copy(update={"client": "203.0.113.77"}) for one in samples.IN_FLIGHT)
    report = samples.strong(in_flight=requests)

    def shown(text: str) -> str:
        return text.partition('<script type="application/json"')[0]

    assert "203.0.113.77" not in shown(render(report, fmt, full=True, width=200))
    assert "203.0.x.x" in render(report, fmt, full=True, width=200)
    assert "203.0.113.77" in shown(render(report, fmt, full=True, width=200, show_params=True))


def test_explain_shows_both_sides_raw_lines_and_the_sum(golden: Callable[[str, str], None]) -> None:
    text = render_explain(samples.strong(), "H1")
    golden("strong-explain.txt", text)
    for part in (
        "FOR",
        "AGAINST",
        'Started GET "/admin/orders.csv"',
        "+3.20",
        "container_memory_working_set_bytes",
    ):
        assert part in text
    with pytest.raises(KeyError):
        render_explain(samples.strong(), "H99")


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("name", ["strong", "hostile", "abstention"])
def test_explain_keeps_to_the_width(name: str, width: int) -> None:
    report = ALL[name]()
    for one in report.hypotheses:
        text = render_explain(report, one.id, width=width)
        assert max(map(cell_len, text.splitlines())) <= width
        assert not CONTROL.search(text)


def test_sparkline_never_draws_the_blind_gap() -> None:
    begin = samples.ago(300)
    points = [(begin + timedelta(seconds=15 * n), 100.0 + n) for n in range(10)]
    line = sparkline(points, samples.KILLED, 200.0, 20)
    assert line.endswith("?")
    assert line.count("?") == 5  # 150 of 285 seconds have samples, ten cells
    assert sparkline([], None, 1.0, 20) == ""
    assert sparkline(points[:1], None, 200.0, 20) == "▁"


def test_table_gives_way_in_the_flexible_columns() -> None:
    lines = [
        line.plain for line in table(("A", "LONG", "N"), [("x", "y" * 300, "12")], 40, flex=(1,), right=(2,))
    ]
    assert all(cell_len(line) == 40 for line in lines)
    assert lines[1].endswith("12")
    assert "…" in lines[1]


def test_every_format_is_one_renderer() -> None:
    assert [renderer.name for renderer in RENDERERS] == list(FORMATS)
    with pytest.raises(KeyError):
        render(samples.strong(), "pdf")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "fmt"),
    [("a.md", "markdown"), ("A.HTML", "html"), ("x.slack.json", "slack"), ("x.json", "json"), ("x", None)],
)
def test_format_of_a_file_name(name: str, fmt: str | None) -> None:
    assert format_of(name) == fmt


anything = st.text(max_size=200)


@settings(max_examples=60, deadline=None)
@given(anything, anything, anything, st.integers(40, 200))
def test_any_text_fits_and_is_inert(pod: str, path: str, statement: str, width: int) -> None:
    suspect = Suspect(kind="endpoint", endpoint=path, method="GET", path_pattern=path)
    lead = Hypothesis(
        id="H1", pattern="large_response", status="supported", strength="strong", probability=0.9,
        suspect=suspect, statement=statement,
    )  # fmt: skip
    report = Report(
        target=samples.target(pod=pod), kill=samples.kill(statement=statement), hypotheses=(lead,),
        cause=Cause(hypothesis="H1", strength="strong"), actions=(Action(when="now", text=path, command=statement),),
        gaps=(GapDoc(source=path, reason=pod, detail=statement),),
    )  # fmt: skip
    for color in (False, True):
        text = re.sub(r"\x1b\[[0-9;]*m", "", render(report, "text", width=width, color=color))
        assert not CONTROL.search(text)
        assert max(map(cell_len, text.split("\n"))) <= width
