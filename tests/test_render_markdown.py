"""Markdown: the four headings of the original workflow with all their fields, in postmortem order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from markdown_it import MarkdownIt

from oomscope.render import render
from oomscope.render.escape import markdown_ticked
from tests import sample_reports as samples
from tests.real_reports import REAL

HEADINGS = (
    "### Evidence Summary",
    "### Suspicious Requests",
    "### Root Cause Hypotheses",
    "### Recommended Actions",
)
POSTMORTEM = (
    "### Summary",
    "### Impact",
    *HEADINGS[:3],
    "### Trigger",
    "### Detection",
    "### Resolution",
    HEADINGS[3],
    "### Data Gaps",
)


@pytest.mark.parametrize("name", ["strong", "not_oom", "unknown_in_flight", "bare_pod", "hostile"])
def test_golden(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.md", render(samples.SAMPLES[name](), "markdown", now=samples.NOW))


EVERY = {**samples.SAMPLES, **REAL}


@pytest.mark.parametrize("name", EVERY)
def test_headings_in_order_and_none_without_content(name: str) -> None:
    lines = render(EVERY[name](), "markdown").splitlines()
    places = [lines.index(heading) for heading in POSTMORTEM]
    assert places == sorted(places)
    for place in places:
        assert lines[place + 1] == ""
        assert lines[place + 2]
        assert not lines[place + 2].startswith("#")


def test_the_trigger_is_told_as_far_as_it_was_seen() -> None:
    text = render(samples.strong(), "markdown")
    told = text[text.index("### Trigger") : text.index("### Detection")]
    assert "deploy 4f1c2e" in told
    assert "the first `GET /admin/orders.csv` still in flight began, 96 s before the kill" in told
    assert "_To be completed: why it happened now._" in told
    untold = render(samples.bare_pod(), "markdown")
    assert "### Trigger\n\n_To be completed: why it happened now._" in untold


def test_what_stands_between_backticks_is_code() -> None:
    assert markdown_ticked("2 of 2 had `id=7`; *none*") == "2 of 2 had `id=7`; \\*none\\*"
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    for text in ("`<img src=x>` <b>", "a` <i>x</i> `b` `<i>`", "``<i>`` [a](b) `", "`[a](b)`![x](y)`"):
        kinds = {c.type for t in parser.parse(markdown_ticked(text)) for c in t.children or ()}
        assert kinds <= {"text", "code_inline", "text_special"}, text


def test_every_field_of_the_original_format() -> None:
    text = render(samples.strong(), "markdown")
    for field in (
        "- Container restart time: 2025-11-23T03:12:41.204000Z",
        "- Pod: `web-7c9f-x2vq4`",
        "- Confirmed OOM: Yes",
        "- Endpoint: `GET /admin/orders.csv`",
        "  - Count: 3 open at the kill",
        "  - Time range: 2025-11-23T03:08:21.204000Z - 2025-11-23T03:11:05.004000Z",
        "  - Request payload: 380 B - 412 B",
        "  - Response payload: 277 B - 39.1 MiB",
        "1. **H1** `GET /admin/orders.csv`",
        "- Immediate",
        "- Investigation",
        "- Long-term",
    ):
        assert field in text


def test_a_worker_that_died_is_no_restart_of_the_container() -> None:
    text = render(samples.child_kill(), "markdown")
    assert "- Container restart time: none, the container lived on; process killed 2025" in text


def test_people_fill_in_detection_and_resolution() -> None:
    text = render(samples.strong(), "markdown")
    assert "### Resolution\n\n_To be filled in._" in text


@pytest.mark.parametrize("verdict", ["oom_limit", "not_oom", "undetermined"])
def test_confirmed_is_yes_no_or_unknown(verdict: str) -> None:
    word = {"oom_limit": "Yes", "not_oom": "No", "undetermined": "Unknown"}[verdict]
    assert f"- Confirmed OOM: {word}" in render(
        samples.strong(kill=samples.kill(verdict=verdict)), "markdown"
    )


def test_hostile_names_form_no_markup() -> None:
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False}).enable("table")
    tokens = parser.parse(render(samples.hostile(), "markdown"))
    inline = {child.type for token in tokens for child in token.children or ()}
    assert not {"html_block", "fence", "blockquote_open"} & {token.type for token in tokens}
    assert not {"html_inline", "link_open", "image", "s_open"} & inline
    table_rows = [token for token in tokens if token.type == "tr_open"]
    assert len(table_rows) == 4  # heading, two requests, one job: no row was forged


def test_what_was_cut_is_counted() -> None:
    text = render(samples.crowd(), "markdown")
    assert "50 of 5,001 requests shown." in text
    assert "more endpoints with requests open" in text
    assert len(text) < 60_000
