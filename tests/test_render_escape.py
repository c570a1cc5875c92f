"""Foreign text is harmless in every medium, and cut text says so."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.cells import cell_len

from oomscope.render import escape
from tests.sample_reports import HOSTILE

STEERING = [
    "\x1b[31m",
    "\x00",
    "\x07",
    "\x9b2J",
    "\u202e",
    "\u2066",
    "\u200b",
    "\u2028",
    "\u2029",
    "\ufeff",
    "\ud800",
    "\n",
    "\r",
]


@pytest.mark.parametrize("mark", STEERING)
def test_steering_characters_become_visible(mark: str) -> None:
    shown = escape.clean(f"a{mark}b")
    assert mark[0] not in shown
    assert "\\" in shown
    shown.encode("utf-8")


def test_plain_text_in_any_script_is_left_alone() -> None:
    for text in ("GET /a?b=c", "検索", "naïve", "Ωmega", "😀"):
        assert escape.clean(text) == text


def test_cut_text_says_by_how_much() -> None:
    assert escape.clean("x" * 5000, 10) == "x" * 10 + "…(4990 more)"


@given(st.text(), st.integers(0, 50), st.booleans())
def test_clip_never_exceeds_the_cells(text: str, width: int, middle: bool) -> None:
    shown = escape.clip(escape.clean(text), width, middle=middle)
    assert cell_len(shown) <= width
    assert len(shown) <= max(width, len(shown) if len(text) <= width else width)


@given(st.text(), st.integers(1, 50))
def test_pad_is_exact(text: str, width: int) -> None:
    assert cell_len(escape.pad(escape.clean(text), width)) == width


def test_combining_marks_cannot_pile_up() -> None:
    assert len(escape.clip("e" + "\u0301" * 5000, 20)) <= 21


@given(st.text())
def test_ascii_is_ascii_and_as_wide(text: str) -> None:
    shown = escape.clean(text)
    assert escape.to_ascii(shown).isascii()
    assert len(escape.to_ascii(shown)) == sum(1 if char.isascii() else cell_len(char) for char in shown)


ATTACKS = [
    HOSTILE, "`code`", "**bold**", "_it_", "[a](http://evil.example)", "![a](b)", "<img src=x onerror=alert(1)>", "<b>",
    "https://evil.example/x", "www.evil.example", "# head", "> quote", "- item", "1. item", "1) item", "| a | b |",
    "~~x~~", "&lt;script&gt;", "[ref]: http://evil.example", "```\nfence", "mailto:a@b.example", "---", "a\n\nb", "+ x",
]  # fmt: skip
INLINE = {"paragraph_open", "inline", "paragraph_close"}


@pytest.mark.parametrize("attack", ATTACKS)
def test_markdown_forms_nothing(attack: str) -> None:
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False}).enable("table")
    tokens = parser.parse(escape.markdown(attack))
    assert {token.type for token in tokens} <= INLINE
    children = {child.type for token in tokens for child in token.children or ()}
    assert children <= {"text", "text_special"}
    assert not re.search(r"(?i)\b(https?|www)[:.]", tokens[1].content)


@given(st.text(max_size=80))
def test_markdown_of_anything_is_one_paragraph_of_text(text: str) -> None:
    parser = MarkdownIt("commonmark")
    shown = escape.markdown(text).strip()
    tokens = parser.parse(shown)
    assert {token.type for token in tokens} <= INLINE | {"code_block"} if text.startswith("    ") else INLINE
    assert {child.type for token in tokens for child in token.children or ()} <= {"text", "text_special"}


@given(st.text(alphabet="`| a\\", max_size=30))
def test_markdown_code_cannot_be_closed(text: str) -> None:
    tokens = MarkdownIt("commonmark").parse("x " + escape.markdown_code(text) + " y")
    children = [child.type for child in tokens[1].children or ()]
    assert children == ["text", "code_inline", "text"]
    assert "|" not in escape.markdown_code(text)


@pytest.mark.parametrize(
    "attack", ["<!channel>", "<@U123>", "<https://evil.example|shop>", "<#C1>", "@here", HOSTILE]
)
def test_slack_cannot_call_or_link(attack: str) -> None:
    for shown in (escape.slack(attack), escape.slack_code(attack)):
        assert "<" not in shown
        assert ">" not in shown
    assert not re.search(r"@(here|channel|everyone)", escape.slack(attack))


@pytest.mark.parametrize("attack", ["*bold*", "_it_", "~x~", "`code`", ":tada:", "a *b* c"])
def test_slack_formats_nothing(attack: str) -> None:
    shown = escape.slack(attack)
    assert shown != attack
    assert shown.replace("\u200b", "") == attack


def test_slack_leaves_times_alone() -> None:
    assert escape.slack("03:12:41 UTC, a_b") == "03:12:41 UTC, a_b"


@given(st.text())
def test_script_json_round_trips_and_cannot_end_the_script(text: str) -> None:
    shown = escape.script_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(shown) == text
    assert not set("<>&\u2028\u2029") & set(shown)
