"""The report as one HTML file: no network, readable without JavaScript, with the Report document inside it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from oomscope.render import fields, phrases, view
from oomscope.render.escape import clean, script_json
from oomscope.render.fields import Row
from oomscope.render.style import Style
from oomscope.report import Action, Report, from_json
from oomscope.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

IN_FLIGHT, ENDPOINTS, KILLS, TIMELINE, FINDINGS = 100, 60, 40, 80, 120  # rows on the page
EMBED_BYTES = 600_000
_UNIT = re.compile(r"(?<=\d) (?=(?:[KMGT]iB|B|ms|s|min|h|d|%)(?![\w/]))")
_TICKS = re.compile(r"`([^`]{1,200})`")
_EMBEDDED = re.compile(r'<script type="application/json" id="oomscope-report">([^<]*)</script>')


def render_html(report: Report, style: Style) -> str:
    """The page. Foreign text is escaped by the template and cleaned of control and direction marks before that."""
    return _template().render(_page(report, style)) + "\n"


def extract_report(html: str) -> Report:
    """The Report inside a page made by ``render_html``. Raises ``ValueError`` when there is none, or a bad one."""
    found = _EMBEDDED.search(html)
    if found is None:
        raise ValueError("no oomscope report in this page")
    return from_json(found[1])


@cache
def _asset(name: str) -> str:
    return (files("oomscope.render") / "templates" / name).read_text(encoding="utf-8").strip()


@cache
def _template() -> Template:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clean": clean,
        "said": _said,
        "ticked": _ticked,
        "seconds": format_seconds,
        "size": format_bytes,
        "thousands": lambda number: f"{number:,}",
        "capital": view.capital,
        "plural": view.plural,
        "words": lambda parts: " ".join(part for part in parts if part),
    }
    return environment.get_template("report.html.j2")


def _ticked(text: object, most: int = 900) -> Markup:
    """Cleaned and escaped text; what stands between backticks is shown as code, as in the other forms."""
    from markupsafe import Markup, escape

    return Markup(_TICKS.sub(r"<code>\1</code>", str(escape(_said(text, most)))))  # noqa: S704 (escaped above)


def _said(text: object, most: int = 900) -> str:
    """Cleaned text in which no line ends between a number and its unit."""
    return _UNIT.sub("\u00a0", clean(text, most))


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def _csp() -> str:
    """Nothing may be loaded; only our own style and script, known by their hashes, may run."""
    style, script = _hash(_asset("report.css")), _hash(_asset("report.js"))
    return f"default-src 'none'; style-src {style}; script-src {script}; base-uri 'none'; form-action 'none'"


def _page(report: Report, style: Style) -> dict[str, Any]:
    """Everything the template shows, under the names it uses."""
    embedded, left_out = _embed(report)
    said = view.answer(report)
    return {
        "report": report,
        "style": style,
        "csp": _csp(),
        "css": _asset("report.css"),
        "js": _asset("report.js"),
        "embedded": embedded,
        "left_out": left_out,
        "as_text": _as_text(report, style),
        **_top(report, style, said),
        **_pictures(report, style),
        **_tables(report, style),
        **_words(style, report),
    }


def _as_text(report: Report, style: Style) -> str:
    from oomscope.render.text import render_text

    return render_text(report, Style(width=80, now=style.now, tz=style.tz))


def _top(report: Report, style: Style, said: view.Answer) -> dict[str, Any]:
    one = view.lead(report)
    ranked = sorted(one.for_, key=lambda point: -abs(point.weight)) if one else []
    apart = [trait.text for trait in one.distinguishing if trait.text][:1] if one else []
    return {
        "verdict": view.verdict_word(report.kill),
        "killed": report.kill.verdict.startswith("oom"),
        "place": view.where(report),
        "age": style.age(report.kill.killed_at),
        "again": view.recurrence(report, style),
        "answer": said,
        "best": [*apart, *(point.text for point in ranked if one and point.text not in one.statement)][:3],
        "lost": view.lost(report),
        "now": [action for action in report.actions if action.when == "now"][:4],
        "later": _later(report.actions),
        "gaps": [view.gap_line(gap, style) for gap in report.gaps],
        "gap_rows": [
            {"line": view.gap_line(gap, style), "fix": gap.fix, "query": gap.query}
            for gap in report.gaps[:60]
        ],
    }


def _later(actions: Iterable[Action]) -> list[tuple[str, list[Action]]]:
    titles = {"investigate": "Investigate", "later": "Later"}
    groups = [(title, [one for one in actions if one.when == when]) for when, title in titles.items()]
    return [group for group in groups if group[1]]


def _pictures(report: Report, style: Style) -> dict[str, Any]:
    from oomscope.render import charts  # slow to load, wanted only here

    return {
        "pictures": charts.pictures(report, style.tz),
        "multiples": charts.multiples(report, style.tz),
        "legend": view.legend(report),
    }


def _tables(report: Report, style: Style) -> dict[str, Any]:
    return {
        "in_flight": sorted(report.in_flight, key=lambda one: -(one.age_s or 0))[:IN_FLIGHT],
        "endpoints": [_endpoint(row, _suspects(report)) for row in report.endpoints[:ENDPOINTS]],
        "patterns": [phrases.pattern_row(row) for row in report.patterns[:12]],
        "kills": [phrases.kill_row(row, style) for row in report.other_kills[:KILLS]],
        "timeline": [
            {
                "at": style.clock(fields.when(row, "at"), day=True),
                "what": fields.text(row, "what"),
                "source": view.source_name(fields.text(row, "source")) if fields.text(row, "source") else "",
            }
            for row in report.timeline[:TIMELINE]
        ],
        "findings": report.findings[:FINDINGS],
        "coverage": phrases.coverage_line(report.coverage),
        "streams": [phrases.stream_line(stream) for stream in fields.rows(report.coverage, "streams")[:30]],
    }


def _suspects(report: Report) -> set[str]:
    """Every name the accused goes by in the endpoint table."""
    one = view.lead(report)
    if one is None or one.suspect.kind == "none":
        return set()
    return {text for text in (one.suspect.endpoint, view.suspect_name(one.suspect)) if text}


def _endpoint(row: Row, suspects: set[str]) -> dict[str, Any]:
    """One row of the endpoint table: numbers to sort by, and how they read."""
    memory, samples = fields.number(row, "memory_bytes"), fields.count(row, "memory_n")
    return {
        "name": phrases.endpoint_name(row),
        "detail": fields.text(row, "endpoint") if fields.text(row, "path_pattern") else "",
        "suspect": fields.text(row, "endpoint") in suspects,
        "open": fields.number(row, "open"),
        "open_text": phrases.whole(row, "open"),
        "expected": fields.number(row, "expected"),
        "expected_text": phrases.decimal(row, "expected"),
        "lift": fields.number(row, "lift"),
        "lift_text": phrases.decimal(row, "lift"),
        "share": fields.number(row, "share"),
        "share_text": phrases.percent(row, "share"),
        "p99": fields.number(row, "p99_s"),
        "spans": phrases.spans(row),
        "longest": fields.number(row, "longest_open_s"),
        "memory": memory,
        "memory_text": format_bytes(memory),
        "samples": samples if memory is not None and samples else 0,
        "sent": fields.number(row, "sent_p99_bytes"),
        "survived": fields.number(row, "survived"),
        "survived_text": phrases.whole(row, "survived"),
        "verdict": fields.text(row, "verdict"),
    }


def _words(style: Style, report: Report) -> dict[str, Any]:
    from oomscope.render import words
    from oomscope.render.explain import measure

    meanings = words.STRENGTHS | {
        "ruled out": words.STATUSES["ruled_out"],
        "untested": words.STATUSES["untested"],
    }
    tool = " ".join(part for part in (report.tool.get("name"), report.tool.get("version")) if part)
    return {
        "words": meanings | {f"column: {name}": text for name, text in words.ENDPOINT_COLUMNS.items()},
        "zone": style.clock(report.kill.killed_at).rsplit(" ", 1)[-1] if report.kill.killed_at else "UTC",
        "tool": tool or "oomscope",
        "name_of": lambda one: view.suspect_name(one.suspect, one.pattern),
        "word_of": view.hypothesis_word,
        "pattern_of": lambda one: words.PATTERNS[one.pattern],
        "source_name": view.source_name,
        "place_of": view.place_of,
        "client_of": lambda one: view.client(one, style),
        "measure": measure,
    }


def _embed(report: Report) -> tuple[str, str]:
    """The document for inside the page, and what was left out of it to keep the page small."""
    text = script_json(report.model_dump_json(by_alias=True))
    if len(text) <= EMBED_BYTES:
        return text, ""
    for keep in (300, 60, 10):
        shorter = {
            name: getattr(report, name)[:keep] for name in ("endpoints", "rack_level", "queries", "findings")
        }
        longest = sorted(report.in_flight, key=lambda one: -(one.age_s or 0))[:keep]
        trimmed = report.model_copy(update={**shorter, "in_flight": tuple(longest)})
        text = script_json(trimmed.model_dump_json(by_alias=True))
        if len(text) <= EMBED_BYTES:
            break
    note = f"The report inside this page is cut to {keep} requests in flight and {keep} rows a table; -f json has all."
    return text, note
