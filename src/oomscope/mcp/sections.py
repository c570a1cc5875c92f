"""A report in parts: the summary, its sections, one hypothesis, one finding. Picks and marks, concludes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oomscope.errors import UsageError
from oomscope.mcp.marking import marked
from oomscope.mcp.paging import page
from oomscope.render.words import STATUSES, STRENGTHS

Document = dict[str, Any]
MAX_POINTS = 12  # for, and against, one hypothesis
MAX_LINES = 2  # raw lines under one point; get_evidence has the rest
MAX_SAMPLES = 20  # points of one memory series; oomscope report draws them all
MAX_SHORT = 5


def _coverage(report: Document) -> list[Any]:
    streams = report["coverage"].get("streams")
    rest = {key: value for key, value in report["coverage"].items() if key != "streams"}
    return [rest, *(streams if isinstance(streams, list) else ())]


def _memory(report: Document) -> list[Any]:
    series = report["memory"].get("series")
    rest = {key: value for key, value in report["memory"].items() if key != "series"}
    return [rest, *(_thinned(one) for one in (series if isinstance(series, list) else ()))]


def _thinned(series: Any) -> Any:
    """At most ``MAX_SAMPLES`` samples, the last always among them, and how many there were."""
    points = series.get("points") if isinstance(series, dict) else None
    if not isinstance(points, list):
        return series
    step = -(-len(points) // MAX_SAMPLES) or 1
    kept = points[::-1][::step][::-1]
    return {**series, "points": kept, "samples": len(points), "every_nth": step}


def _rows(name: str) -> Callable[[Document], list[Any]]:
    return lambda report: list(report[name])


def _findings(report: Document) -> list[Any]:
    return [
        {**{k: v for k, v in one.items() if k != "evidence"}, "evidence_lines": len(one["evidence"])}
        for one in report["findings"]
    ]


SECTIONS: dict[str, Callable[[Document], list[Any]]] = {
    "hypotheses": _rows("hypotheses"),
    "in_flight": _rows("in_flight"),
    "rack_level": _rows("rack_level"),
    "jobs_in_flight": _rows("jobs_in_flight"),
    "endpoints": _rows("endpoints"),
    "findings": _findings,
    "timeline": _rows("timeline"),
    "memory": _memory,
    "impact": lambda report: [report["impact"]],
    "actions": _rows("actions"),
    "gaps": _rows("gaps"),
    "coverage": _coverage,
    "queries": _rows("queries"),
    "patterns": _rows("patterns"),
    "other_kills": _rows("other_kills"),
}


def section(report: Document, name: str, cursor: str | None) -> dict[str, Any]:
    """One page of a section. Raises ``UsageError`` for a section there is not."""
    if name not in SECTIONS:
        raise UsageError("no such section", fix=f"summary, {', '.join(SECTIONS)}")
    return page(SECTIONS[name](report), cursor, show=marked)


def summary(report: Document) -> dict[str, Any]:
    """The answer in brief: kill, cause, hypotheses by one line, who was hurt, what is missing, how much there is."""
    kill = {key: value for key, value in report["kill"].items() if key != "evidence"}
    strength = report["cause"]["strength"]
    return {
        "target": marked(report["target"]),
        "kill": marked(kill),
        "cause": {**marked(report["cause"]), "means": STRENGTHS[strength]},
        "hypotheses": [_in_brief(one) for one in report["hypotheses"][:MAX_SHORT]],
        "impact": marked(report["impact"]),
        "actions": [marked(one) for one in report["actions"][:MAX_SHORT]],
        "gaps": [
            {key: marked(gap[key]) for key in ("source", "reason", "detail", "fix")}
            for gap in report["gaps"][:MAX_SHORT]
        ],
        "counts": {name: len(pick(report)) for name, pick in SECTIONS.items() if name != "impact"},
    }


def _in_brief(one: Document) -> dict[str, Any]:
    brief = {key: one[key] for key in ("id", "pattern", "status", "strength", "suspect", "statement")}
    return {**marked(brief), "for": len(one["for"]), "against": len(one["against"])}


def explanation(report: Document, hypothesis_id: str) -> dict[str, Any]:
    """Why a hypothesis stands where it stands: points by weight with their first raw lines, the sum, what would settle.

    Raises ``UsageError`` for a hypothesis the report does not have.
    """
    one = next((one for one in report["hypotheses"] if one["id"] == hypothesis_id), None)
    if one is None:
        known = ", ".join(str(marked(one["id"])) for one in report["hypotheses"][:MAX_POINTS])
        raise UsageError("no such hypothesis in this report", fix=f"one of: {known or '(it has none)'}")
    findings = {finding["id"]: finding for finding in report["findings"]}
    held = one["status"] in ("supported", "weak")
    sides = ("for", "against")
    return {
        **marked({key: value for key, value in one.items() if key not in sides}),
        "means": STRENGTHS[one["strength"]] if held else STATUSES[one["status"]],
        **{side: _points(one[side], findings) for side in sides},
        "points": {side: len(one[side]) for side in sides},
        "is_the_cause": report["cause"]["hypothesis"] == hypothesis_id,
    }


def _points(points: list[Document], findings: dict[str, Document]) -> list[dict[str, Any]]:
    ranked = sorted(points, key=lambda point: -abs(point["weight"]))[:MAX_POINTS]
    return [marked(point) | _measured(findings.get(point["finding"])) for point in ranked]


def _measured(finding: Document | None) -> dict[str, Any]:
    if finding is None:
        return {"evidence_lines": 0}
    return {
        **{key: marked(finding[key]) for key in ("value", "unit", "baseline")},
        "evidence": [marked(ref) for ref in finding["evidence"][:MAX_LINES]],
        "evidence_lines": len(finding["evidence"]),
    }


def evidence(report: Document, finding_id: str, cursor: str | None) -> dict[str, Any]:
    """The raw lines behind a finding (``kill``: behind the verdict), a page at a time, and who relies on them.

    Raises ``UsageError`` for a finding the report does not have.
    """
    if finding_id == "kill":
        kill = report["kill"]
        about = {"text": marked(kill["statement"]), "rule": marked(kill["rule"])}
        return {**about, **page(kill["evidence"], cursor, show=marked)}
    one = next((one for one in report["findings"] if one["id"] == finding_id), None)
    if one is None:
        raise UsageError(
            "no such finding in this report", fix="get_report section findings lists them, or 'kill'"
        )
    used = {
        side: [h["id"] for h in report["hypotheses"] if any(p["finding"] == finding_id for p in h[side])]
        for side in ("for", "against")
    }
    about = {key: marked(one[key]) for key in ("id", "text", "value", "unit", "baseline")}
    return {**about, "used": marked(used), **page(one["evidence"], cursor, show=marked)}
