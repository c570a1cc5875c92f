"""The page: one file that loads nothing, holds its report, and stays a page whatever the names are."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from html.parser import HTMLParser

import pytest

from oomscope.render import FORMATS, Format, render
from oomscope.render.html import extract_report
from oomscope.report import Report
from tests import sample_reports as samples

ALL = {**samples.SAMPLES, "crowd": samples.crowd}
VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on unbalanced tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)


@pytest.fixture(scope="module", params=ALL)
def page(request: pytest.FixtureRequest) -> tuple[str, Report, str]:
    report = ALL[request.param]()
    return request.param, report, render(report, "html", now=samples.NOW)


def test_well_formed_and_nothing_to_load(page: tuple[str, Report, str]) -> None:
    parsed = Page(page[2])
    assert parsed.open == []
    allowed = {
        "html",
        "head",
        "body",
        "script",
        "style",
        "svg",
        "g",
        "path",
        "text",
        "tspan",
        "line",
        "rect",
        "defs",
    }
    for tag, attrs in parsed.tags:
        assert not tag.startswith(("img", "iframe", "object", "link", "base", "form")) or tag in allowed
        assert "src" not in attrs
        assert "style" not in attrs
        assert not any(name.startswith("on") for name in attrs)
        assert attrs.get("href") is None or str(attrs["href"]).startswith("#")


def test_two_scripts_only(page: tuple[str, Report, str]) -> None:
    scripts = [attrs for tag, attrs in Page(page[2]).tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "oomscope-report"}, {}]


def test_policy_allows_exactly_our_script_and_style(page: tuple[str, Report, str]) -> None:
    html = page[2]
    policy = next(str(attrs["content"]) for tag, attrs in Page(html).tags if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        body = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        assert len(body) == 1
        digest = base64.b64encode(hashlib.sha256(body[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_size(page: tuple[str, Report, str]) -> None:
    assert len(page[2].encode()) < (2_000_000 if page[0] == "crowd" else 1_500_000)


def test_report_inside_comes_out_again(page: tuple[str, Report, str]) -> None:
    name, report, html = page
    inside = extract_report(html)
    if name == "crowd":
        assert inside.hypotheses == report.hypotheses
        assert len(inside.in_flight) < len(report.in_flight)
        assert f"cut to {len(inside.in_flight)} requests in flight" in html
    else:
        assert inside == report


def test_no_marks_that_turn_text_around(page: tuple[str, Report, str]) -> None:
    shown = re.sub(r'<script type="application/json".*?</script>', "", page[2], flags=re.S)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", shown)


def test_script_is_small() -> None:
    html = render(samples.bare_pod(), "html")
    assert len(re.findall(r"<script>(.*?)</script>", html, re.S)[0]) < 10_000


def test_readable_without_javascript() -> None:
    html = render(samples.strong(), "html", now=samples.NOW)
    text = " ".join(Page(html).text)
    for part in (
        "OOMKilled",
        "GET /admin/orders.csv",
        "7 requests in flight",
        "3 of 3 kills",
        "kubectl -n shop",
    ):
        assert part in text
    for section in ("charts", "endpoints", "hypotheses", "kills", "timeline", "read", "how"):
        assert f'id="{section}"' in html
    assert html.count("<svg") == 4


def test_hostile_names_are_text() -> None:
    html = render(samples.hostile(), "html")
    assert "<img" not in html
    assert "alert(1)</script>" not in html
    assert "<script>alert" not in html
    assert "4 kB" not in html
    assert max(map(len, re.findall(r"<bdi>(.*?)</bdi>", html, re.S))) < 6000


@pytest.mark.parametrize("fmt", FORMATS)
def test_same_report_same_bytes(fmt: Format) -> None:
    assert render(samples.child_kill(), fmt) == render(samples.child_kill(), fmt)


def test_backticks_become_code_and_stay_escaped() -> None:
    one = samples.HYPOTHESES[0]
    trait = one.distinguishing[0].model_copy(update={"text": "9 of 9 had `id=<b>7`; none of 5 others"})
    html = render(samples.strong(hypotheses=(one.model_copy(update={"distinguishing": (trait,)}),)), "html")
    assert "9 of 9 had <code>id=&lt;b&gt;7</code>; none of 5 others" in html


def test_cut_tables_say_so() -> None:
    html = render(samples.crowd(), "html")
    assert "100 of 5,001 shown" in html
    assert "60 of 2,001 shown" in html
    assert "20 of 5,001 in flight" in html


SCRIPT = '<script type="application/json" id="oomscope-report">'


@pytest.mark.parametrize(
    "text", ["", "<html></html>", SCRIPT + "{}</script>", SCRIPT + "[</script>", SCRIPT + "{}"]
)
def test_pages_without_a_report_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        extract_report(text)


def test_the_big_case_renders_in_time() -> None:
    report = samples.crowd()
    begin = time.process_time()
    render(report, "html")
    assert time.process_time() - begin < 10  # 1.5 s alone on an idle core; the limit is for a busy machine


def themes() -> list[dict[str, str]]:
    """Colours by name, of the light and of the dark theme."""
    css = re.findall(r"<style>(.*?)</style>", render(samples.bare_pod(), "html"), re.S)[0]
    blocks = re.findall(r":root\{([^}]*)\}", css)[:2]
    return [dict(re.findall(r"--([a-z-]+):(#[0-9a-f]{3,6})", block)) for block in blocks]


def luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(digit * 2 for digit in color[1:])
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        *((front, back, 4.5) for front in ("ink", "muted", "red", "blue") for back in ("bg", "panel")),
        ("warn-ink", "warn", 4.5), ("mark", "bg", 4.5), ("open", "bg", 4.5), ("on-bar", "open", 4.5),
        ("on-bar", "red", 4.5), ("trace", "bg", 4.5),
    ],
)  # fmt: skip
def test_contrast_is_aa(theme: int, front: str, back: str, least: float) -> None:
    colors = themes()[theme]
    light, dark = sorted((luminance(colors[front]), luminance(colors[back])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= least


def test_every_colour_of_the_charts_follows_the_theme() -> None:
    from oomscope.render import chart_frame

    css = re.findall(r"<style>(.*?)</style>", render(samples.bare_pod(), "html"), re.S)[0]
    for color in (chart_frame.INK, chart_frame.MUTED, chart_frame.KILL, chart_frame.LINE, chart_frame.OPEN,
                  chart_frame.DONE, chart_frame.RATE, chart_frame.SURVIVED, chart_frame.MARK):  # fmt: skip
        assert f'[fill="{color}"]' in css
    for color in (
        chart_frame.GRID,
        chart_frame.MUTED,
        chart_frame.KILL,
        chart_frame.LINE,
        chart_frame.SIBLING,
    ):
        assert f'[stroke="{color}"]' in css
