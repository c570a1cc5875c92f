"""Rows of the Report that are plain dicts, as texts: endpoints, other kills, patterns, how much of a log was read."""

from __future__ import annotations

from typing import Any

from oomscope.render import fields
from oomscope.render.escape import clean
from oomscope.render.style import Style
from oomscope.render.view import name, source_name
from oomscope.render.words import PATTERNS, VERDICTS
from oomscope.units import format_bytes, format_seconds


def whole(row: fields.Row, key: str) -> str:
    """A count, ``?`` when unknown."""
    value = fields.count(row, key)
    return "?" if value is None else f"{value:,}"


def decimal(row: fields.Row, key: str) -> str:
    """A number with two figures, ``-`` when unknown."""
    value = fields.number(row, key)
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}"


def percent(row: fields.Row, key: str) -> str:
    """A share as per cent, ``-`` when unknown."""
    value = fields.number(row, key)
    if value is None:
        return "-"
    return f"{value * 100:.2g} %" if value < 0.0995 else f"{value * 100:.0f} %"


def spans(row: fields.Row) -> str:
    """``0.4 s / 3.1 s``: median and 99th percentile."""
    low, high = fields.number(row, "p50_s"), fields.number(row, "p99_s")
    return "-" if low is None and high is None else f"{format_seconds(low)} / {format_seconds(high)}"


def coverage_line(coverage: fields.Row) -> str:
    """How much of the log was understood, in one sentence; empty when no log was read."""
    lines, known = fields.count(coverage, "lines"), fields.count(coverage, "recognised")
    opened, closed = fields.count(coverage, "opened"), fields.count(coverage, "closed")
    parts = []
    if lines and known is not None:
        parts.append(f"{known:,} of {lines:,} log lines recognised")
    if opened and closed is not None:
        parts.append(f"{closed:,} of {opened:,} requests seen to end")
    return "; ".join(parts)


def stream_line(stream: fields.Row) -> str:
    """One log: whose it is, its shape, how much was understood, and why it cannot show requests in flight."""
    who = fields.text(stream, "pod") or fields.text(stream, "stream")
    said = f"{source_name(who)} ({name(fields.text(stream, 'shape')) or 'unknown shape'})"
    if stream.get("dead") is True:
        said += ", the one that died"
    if counted := coverage_line(stream):
        said += f": {counted}"
    why, fix = fields.text(stream, "why"), fields.text(stream, "fix")
    said += f"; {clean(why, 300)}" if why else ""
    return said + (f"; fix: {clean(fix, 300)}" if fix else "")


def endpoint_name(row: fields.Row) -> str:
    """``GET /path`` of a row of the endpoint table, else its controller and action."""
    path = " ".join(part for part in (fields.text(row, "method"), fields.text(row, "path_pattern")) if part)
    return name(path or fields.text(row, "endpoint") or "-")


def kill_row(row: fields.Row, style: Style) -> dict[str, str]:
    """One of the other kills as texts: when, pod, what, peak, open, suspect."""
    suspect, age = row.get("suspect_open"), fields.number(row, "suspect_age_s")
    seen = "no" if suspect is False else f"yes, {format_seconds(age)}" if age is not None else "yes"
    verdict = fields.text(row, "verdict")
    return {
        "when": style.clock(fields.when(row, "killed_at"), day=True, zone=False),
        "pod": _whose(row),
        "what": VERDICTS.get(verdict, name(verdict)),
        "peak": peak_of_limit(row),
        "open": whole(row, "open"),
        "suspect": seen if isinstance(suspect, bool) else "?",
    }


def _whose(row: fields.Row) -> str:
    """The pod, or the container id that the kernel log gave when its pod is not known."""
    container = fields.text(row, "container_id")
    return name(fields.text(row, "pod") or (f"container {container[:12]}" if container else "-"))


def peak_of_limit(row: fields.Row) -> str:
    """``1.80/2.00 GiB``, or the one that is known."""
    peak, limit = fields.number(row, "peak_bytes"), fields.number(row, "limit_bytes")
    if peak is None:
        return f"?/{format_bytes(limit)}" if limit else "-"
    if not limit:
        return f"{format_bytes(peak)}/?"
    left, right = format_bytes(peak).split(" "), format_bytes(limit)
    return f"{left[0]}/{right}" if right.endswith(" " + left[1]) else f"{format_bytes(peak)}/{right}"


def pattern_row(row: fields.Row) -> dict[str, Any]:
    """One of the common patterns: title, status, statement, for, against."""
    pattern = fields.text(row, "pattern")
    return {
        "title": fields.text(row, "title") or PATTERNS.get(pattern, name(pattern)),
        "status": fields.text(row, "status").replace("_", " ") or "untested",
        "statement": fields.text(row, "statement"),
        "for_": fields.texts(row, "for")[:8],
        "against": fields.texts(row, "against")[:8],
    }
