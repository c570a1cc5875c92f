"""The Report for people: terminal text, Markdown, HTML, Slack, and the JSON itself. Renderers show, they never analyse.

A renderer is one module with ``render_X(report, style) -> str`` and one line in ``RENDERERS``. None looks at the
terminal, the clock, the network or the environment: the caller says how wide, in colour or not, what time it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from typing import Literal, NamedTuple

from oomscope.render.fields import Row
from oomscope.render.style import Style
from oomscope.report import Report, to_json

Format = Literal["text", "markdown", "html", "json", "slack"]


def _text(report: Report, style: Style) -> str:
    from oomscope.render.text import render_text

    return render_text(report, style)


def _markdown(report: Report, style: Style) -> str:
    from oomscope.render.markdown import render_markdown

    return render_markdown(report, style)


def _html(report: Report, style: Style) -> str:
    from oomscope.render.html import render_html

    return render_html(report, style)


def _json(report: Report, style: Style) -> str:
    return to_json(report)


def _slack(report: Report, style: Style) -> str:
    from oomscope.render.slack import render_slack

    return render_slack(report, style)


class Renderer(NamedTuple):
    """One form of the report; ``suffixes`` are the file endings it is guessed from."""

    name: Format
    suffixes: tuple[str, ...]
    render: Callable[[Report, Style], str]


# Imports are inside the functions because the page and the charts need libraries that are slow to load.
RENDERERS: tuple[Renderer, ...] = (
    Renderer("text", (".txt",), _text),
    Renderer("markdown", (".md", ".markdown"), _markdown),
    Renderer("html", (".html", ".htm"), _html),
    Renderer("json", (".json",), _json),
    Renderer("slack", (".slack.json",), _slack),
)
FORMATS: tuple[Format, ...] = tuple(renderer.name for renderer in RENDERERS)


def render(
    report: Report,
    fmt: Format,
    *,
    width: int = 80,
    full: bool = False,
    color: bool = False,
    ascii_only: bool = False,
    now: datetime | None = None,
    tz: tzinfo | None = None,
    show_params: bool = False,
) -> str:
    """The report as text in one of ``FORMATS``. ``width`` is in terminal cells; ages need ``now``.

    Raises ``KeyError`` for an unknown format.
    """
    style = Style(
        width=max(width, 40),
        full=full,
        color=color,
        ascii_only=ascii_only,
        now=now,
        tz=tz,
        show_params=show_params,
    )
    chosen = {renderer.name: renderer for renderer in RENDERERS}[fmt]
    return chosen.render(report, style)


def format_of(filename: str) -> Format | None:
    """The format a file name asks for; None when its ending says nothing."""
    lowered = filename.lower()
    fits = [
        (len(suffix), renderer.name)
        for renderer in RENDERERS
        for suffix in renderer.suffixes
        if lowered.endswith(suffix)
    ]
    return max(fits)[1] if fits else None


def render_list(
    rows: Sequence[Row], *, width: int = 80, color: bool = False, ascii_only: bool = False
) -> str:
    """Kills of several incidents, one line each; see ``tables.render_list`` for a row."""
    from oomscope.render import tables

    return tables.render_list(rows, Style(width=max(width, 40), color=color, ascii_only=ascii_only))


def render_kills(
    rows: Sequence[Row], *, width: int = 80, color: bool = False, ascii_only: bool = False
) -> str:
    """Every kill of one incident; see ``tables.render_kills`` for a row."""
    from oomscope.render import tables

    return tables.render_kills(rows, Style(width=max(width, 40), color=color, ascii_only=ascii_only))


def render_doctor(
    rows: Sequence[Row], *, width: int = 80, color: bool = False, ascii_only: bool = False
) -> str:
    """What the tool can reach; see ``tables.render_doctor`` for a row."""
    from oomscope.render import tables

    return tables.render_doctor(rows, Style(width=max(width, 40), color=color, ascii_only=ascii_only))


def render_explain(
    report: Report, hypothesis_id: str, *, width: int = 80, color: bool = False, ascii_only: bool = False
) -> str:
    """Why a hypothesis stands where it stands. Raises ``KeyError`` when the report has no such hypothesis."""
    from oomscope.render import explain

    return explain.render_explain(
        report, hypothesis_id, Style(width=max(width, 40), color=color, ascii_only=ascii_only)
    )
