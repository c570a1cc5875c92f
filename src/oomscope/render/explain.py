"""One hypothesis in depth: what speaks for it and against it by weight, the raw lines, the queries, the sum."""

from __future__ import annotations

from rich.text import Text

from oomscope.render import view
from oomscope.render.escape import clean, clip
from oomscope.render.style import Style
from oomscope.render.terminal import DIM, HEAD, SUSPECT, Lines, labelled, paragraph, table, to_string
from oomscope.render.words import PATTERNS, SCORE_PARTS, STATUSES, STRENGTHS
from oomscope.report import EvidenceRef, Finding, Hypothesis, Point, Report
from oomscope.units import format_bytes, format_seconds

MAX_POINTS = 40
MAX_RAW = 12  # evidence lines shown under one finding


def render_explain(report: Report, hypothesis_id: str, style: Style) -> str:
    """Why ``hypothesis_id`` stands where it stands. Raises ``KeyError`` when the report has no such hypothesis."""
    one = next((one for one in report.hypotheses if one.id == hypothesis_id), None)
    if one is None:
        raise KeyError(hypothesis_id)
    return to_string(explain_lines(report, one, style), style)


def explain_lines(report: Report, one: Hypothesis, style: Style) -> Lines:
    """The whole explanation as lines; the verdict on the hypothesis is repeated last."""
    width = style.width
    findings = {finding.id: finding for finding in report.findings}
    lines = [*_title(report, one, width), Text()]
    for label, points in (("FOR", one.for_), ("AGAINST", one.against)):
        lines += [*_side(label, points, findings, width), Text()]
    if one.distinguishing:
        lines.append(Text("WHAT SETS THE BAD REQUESTS APART", style=HEAD))
        for trait in one.distinguishing:
            lines += paragraph(clean(trait.text or f"{trait.kind} {trait.name}", 600), width)
        lines.append(Text())
    lines += _sum(one, width)
    if one.would_settle:
        lines.append(Text("WOULD SETTLE IT", style=HEAD))
        for hint in one.would_settle:
            lines += paragraph("- " + clean(hint, 600), width)
        lines.append(Text())
    lines += _queries(report, one, findings, width)
    return [*lines, *_title(report, one, width)]


def _title(report: Report, one: Hypothesis, width: int) -> Lines:
    word = view.hypothesis_word(one)
    meaning = STATUSES[one.status] if one.status in ("ruled_out", "untested") else STRENGTHS[one.strength]
    look = SUSPECT if one.id == report.cause.hypothesis and one.suspect.kind != "none" else HEAD
    who = clip(view.suspect_name(one.suspect, one.pattern), width - 20, middle=True)
    detail = view.suspect_detail(one.suspect)
    lines = [Text.assemble((f"[{clip(view.name(one.id), 8)}] ", DIM), (who, look), f"  {word}")]
    if detail:
        lines += paragraph(detail, width)
    kind = PATTERNS[one.pattern]
    lines += paragraph(
        f"{kind}. {clean(one.statement, 900)}" if kind != who else clean(one.statement, 900), width
    )
    return [*lines, *paragraph(f"{word}: {meaning}", width)]


def _side(label: str, points: tuple[Point, ...], findings: dict[str, Finding], width: int) -> Lines:
    lines = [Text(label, style=HEAD)]
    if not points:
        return [*lines, Text("  nothing")]
    ranked = sorted(points, key=lambda point: -abs(point.weight))
    for point in ranked[:MAX_POINTS]:
        weight = f"{point.weight:+.1f}" if point.weight else "shown"
        lines += labelled(f"  {weight}", clean(point.text, 900), width, indent=9)
        finding = findings.get(point.finding)
        if finding is not None:
            lines += _finding(finding, width)
    if len(ranked) > MAX_POINTS:
        lines.append(Text(f"  {MAX_POINTS} of {len(ranked)} shown", style=DIM))
    return lines


def _finding(finding: Finding, width: int) -> Lines:
    said = measure(finding)
    lines = paragraph(said, width, indent=9, look=DIM) if said else []
    for ref in finding.evidence[:MAX_RAW]:
        lines += _evidence(ref, width)
    left = len(finding.evidence) - MAX_RAW
    return [*lines, Text(f"         and {left} more lines", style=DIM)] if left > 0 else lines


def measure(finding: Finding) -> str:
    """``560 MiB; usual: 8 MiB``: the value in its unit and what it is compared with."""
    value, unit = finding.value, clean(finding.unit, 40)
    if isinstance(value, float | int):
        shown = (
            format_bytes(value)
            if unit == "bytes"
            else format_seconds(value)
            if unit in ("s", "seconds")
            else None
        )
        said = shown or view.quantity(value, unit)
    else:
        said = clean(value, 300) if value else ""
    baseline = f"compared with: {clean(finding.baseline, 300)}" if finding.baseline else ""
    return "; ".join(part for part in (said, baseline) if part)


def _evidence(ref: EvidenceRef, width: int) -> Lines:
    lines = paragraph(view.place_of(ref), width, indent=9, look=DIM)
    return lines + paragraph(clean(ref.raw, 1000), width, indent=11, most=4) if ref.raw else lines


def _sum(one: Hypothesis, width: int) -> Lines:
    """The parts of the score and their sum; a part called ``total`` is the sum as the analysis rounded it."""
    parts = sorted(
        ((key, value) for key, value in one.score.items() if key != "total"), key=lambda item: -abs(item[1])
    )
    if not parts:
        return []
    named = [
        (clean(SCORE_PARTS.get(key, key.replace("_", " ")), 200), f"{value:+.2f}") for key, value in parts
    ]
    total = one.score.get("total", sum(value for _, value in parts))
    body = table(
        ("PART", "NATS"), [*named, ("sum (log odds)", f"{total:+.2f}")], min(width - 2, 60), right=(1,)
    )
    for line in body:
        line.pad_left(2)
    return [Text("HOW THE SCORE ADDS UP", style=HEAD), *body, Text()]


def _queries(report: Report, one: Hypothesis, findings: dict[str, Finding], width: int) -> Lines:
    """The queries of the sources that the evidence came from; all of them when none can be matched."""
    used = {
        ref.source
        for point in (*one.for_, *one.against)
        if (found := findings.get(point.finding))
        for ref in found.evidence
    }
    queries = [query for query in report.queries if query.source in used] or list(report.queries)
    if not queries:
        return []
    lines = [Text("WHAT WAS ASKED", style=HEAD)]
    for query in queries[:20]:
        rows = f" ({query.rows:,} rows)" if query.rows is not None else ""
        lines += paragraph(
            f"{view.source_name(query.source)}{rows}: {clean(query.text, 1500)}", width, most=6
        )
    return [*lines, Text()]
