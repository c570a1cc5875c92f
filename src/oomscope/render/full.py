"""The long form of the terminal report. A terminal shows the end of long output, so the verdict is repeated last."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from oomscope.render import fields, phrases, text, view
from oomscope.render.escape import clean
from oomscope.render.fields import Row
from oomscope.render.style import Style
from oomscope.render.terminal import DIM, HEAD, Lines, labelled, paragraph, table
from oomscope.render.words import PATTERNS, STATUSES, STRENGTHS
from oomscope.report import Report, RequestDoc
from oomscope.units import format_bytes, format_seconds

ROWS = 40  # of any one table
FEW = 15


def full_lines(report: Report, style: Style) -> Lines:
    """Every section that has something to say, then the verdict once more."""
    sections = (
        _verdict(report, style),
        text.memory(report, style.width),
        _requests("IN FLIGHT AT THE KILL", report.in_flight, style, ROWS),
        _requests("AT THE RACK LEVEL ONLY (no controller yet)", report.rack_level, style, 8),
        _jobs(report, style),
        _endpoints(report, style),
        _hypotheses(report, style),
        _patterns(report, style),
        _other_kills(report, style),
        _timeline(report, style),
        _actions(report, style),
        _read(report, style),
        _gaps(report, style),
        _words(style),
    )
    out = text.header(report, style, style.width)
    for section in sections:
        if section:
            out += [Text(), *section]
    return [*out, Text(), Text("─" * style.width, style=DIM), *_last(report, style)]


def _last(report: Report, style: Style) -> Lines:
    width = style.width
    lost = text.lost(report, width)
    zones = (
        text.header(report, style, width),
        text.cause(report, width, 6),
        lost,
        text.do_now(report, width, 8),
    )
    out: Lines = []
    for zone in zones:
        out += [*zone, Text()] if zone else []
    return out


def _section(title: str, body: Lines) -> Lines:
    return [Text(title, style=HEAD), *body] if body else []


def _indented(lines: Lines) -> Lines:
    for line in lines:
        line.pad_left(2)
    return lines


def _cut(shown: int, total: int) -> Lines:
    return [Text(f"  {shown:,} of {total:,} shown", style=DIM)] if total > shown else []


def _verdict(report: Report, style: Style) -> Lines:
    kill, width = report.kill, style.width
    facts = [
        ("statement", kill.statement),
        ("rule", kill.rule),
        ("whose", kill.scope),
        ("exit", " ".join(str(part) for part in (kill.exit_code, kill.reason) if part is not None)),
        ("victim", _victim(report)),
        ("limit", format_bytes(kill.limit_bytes)),
        ("node", report.target.node or ""),
        ("image", report.target.image or ""),
    ]
    lines: Lines = []
    for label, value in facts:
        if value and value != "-":
            lines += labelled(f"  {label}", clean(value, 900), width, indent=13)
    for conflict in kill.conflicts:
        lines += labelled("  but", clean(conflict, 600), width, indent=13)
    for ref in kill.evidence:
        lines += labelled(
            "  seen in", f"{view.place_of(ref)}: {clean(ref.raw or '', 800)}", width, indent=13, most=4
        )
    return _section("VERDICT", lines)


def _victim(report: Report) -> str:
    victim = report.kill.victim
    if victim is None:
        return ""
    held = f"held {format_bytes(victim.anon_rss_bytes)}" if victim.anon_rss_bytes else ""
    pid = f"host pid {victim.pid}" if victim.pid else ""
    return ", ".join(part for part in (victim.comm or "", pid, held) if part)


def _requests(title: str, requests: Sequence[RequestDoc], style: Style, most: int) -> Lines:
    ranked = sorted(requests, key=lambda one: -(one.age_s or 0))
    cells = [_request_cells(one, style) for one in ranked[:most]]
    heads = ("AGE", "REQUEST", "ENDPOINT", "STARTED", "CLIENT", "502") + (
        ("PARAMS",) if style.show_params else ()
    )
    if not cells:
        return []
    body = _indented(table(heads, cells, style.width - 2, flex=(1, 2), right=(0,)))
    return _section(f"{title}: {len(requests):,}", [*body, *_cut(len(cells), len(requests))])


def _request_cells(one: RequestDoc, style: Style) -> tuple[str, ...]:
    access = one.access
    cells = (
        format_seconds(one.age_s),
        view.name(" ".join(part for part in (one.method, one.path) if part) or "-"),
        view.name(one.endpoint or "-"),
        style.clock(one.started_at, day=False, zone=False),
        view.client(one, style),
        str(access.elb_status) if access and access.elb_status else "-",
    )
    return (*cells, view.name(one.params or "-")) if style.show_params else cells


def _jobs(report: Report, style: Style) -> Lines:
    cells = [
        (
            format_seconds(job.age_s),
            view.name(job.job_class),
            view.name(job.queue or "-"),
            view.name(job.job_id or "-"),
        )
        for job in report.jobs_in_flight[:ROWS]
    ]
    if not cells:
        return []
    body = _indented(table(("AGE", "JOB", "QUEUE", "ID"), cells, style.width - 2, flex=(1,), right=(0,)))
    return _section("JOBS RUNNING AT THE KILL", [*body, *_cut(len(cells), len(report.jobs_in_flight))])


def _endpoints(report: Report, style: Style) -> Lines:
    cells = [_endpoint_cells(row, wide=style.width >= text.WIDE) for row in report.endpoints[:FEW]]
    if not cells:
        return []
    heads = (
        "ENDPOINT",
        "OPEN",
        "EXPECT",
        "SHARE",
        "P50/P99",
        "MEMORY",
        "SURVIVED",
        "SENT P99",
        "RECEIVED P99",
    )
    body = _indented(table(heads[: len(cells[0])], cells, style.width - 2, right=range(1, 9)))
    return _section("ENDPOINTS", [*body, *_cut(len(cells), len(report.endpoints))])


def _endpoint_cells(row: Row, *, wide: bool) -> tuple[str, ...]:
    cells = (
        phrases.endpoint_name(row),
        phrases.whole(row, "open"),
        phrases.decimal(row, "expected"),
        phrases.percent(row, "share"),
        phrases.spans(row),
        format_bytes(fields.number(row, "memory_bytes")),
        phrases.whole(row, "survived"),
    )
    sizes = (format_bytes(fields.number(row, key)) for key in ("sent_p99_bytes", "received_p99_bytes"))
    return (*cells, *sizes) if wide else cells


def _hypotheses(report: Report, style: Style) -> Lines:
    lines: Lines = []
    for one in report.hypotheses:
        who, word = view.suspect_name(one.suspect, one.pattern), view.hypothesis_word(one)
        lines += paragraph(f"[{view.name(one.id)}] {who}: {word}", style.width, look=HEAD)
        lines += paragraph(f"{PATTERNS[one.pattern]}. {clean(one.statement, 900)}", style.width, indent=5)
        for sign, points in (("+", one.for_), ("-", one.against)):
            for point in points[:FEW]:
                lines += labelled(f"     {sign}", clean(point.text, 600), style.width, indent=7)
        for trait in one.distinguishing:
            lines += labelled(
                "     *", clean(trait.text or f"{trait.kind} {trait.name}", 600), style.width, indent=7
            )
        for hint in one.would_settle:
            lines += labelled("     ?", clean(hint, 600), style.width, indent=7)
    legend = Text("  + for   - against   * sets it apart   ? would settle it", style=DIM)
    return _section("HYPOTHESES", [*lines, legend] if lines else [])


def _patterns(report: Report, style: Style) -> Lines:
    lines: Lines = []
    for pattern in (phrases.pattern_row(row) for row in report.patterns):
        lines += paragraph(clean(f"{pattern['title']}: {pattern['status']}", 300), style.width, look=HEAD)
        if pattern["statement"]:
            lines += paragraph(clean(pattern["statement"], 600), style.width, indent=5)
        for sign, key in (("+", "for_"), ("-", "against")):
            for point in pattern[key]:
                lines += labelled(f"     {sign}", clean(point, 600), style.width, indent=7)
    return _section("THE FOUR COMMON PATTERNS", lines)


def _other_kills(report: Report, style: Style) -> Lines:
    cells = [tuple(phrases.kill_row(row, style).values()) for row in report.other_kills[:ROWS]]
    if not cells:
        return []
    heads = ("WHEN", "POD", "WHAT", "PEAK/LIMIT", "OPEN", "SUSPECT OPEN")
    body = _indented(table(heads, cells, style.width - 2, flex=(1,), right=(4,)))
    return _section("OTHER KILLS", [*body, *_cut(len(cells), len(report.other_kills))])


def _timeline(report: Report, style: Style) -> Lines:
    lines: Lines = []
    for row in report.timeline[:ROWS]:
        at = style.clock(fields.when(row, "at"), day=True, zone=False)
        source = f"  [{view.source_name(fields.text(row, 'source'))}]" if fields.text(row, "source") else ""
        lines += labelled(f"  {at}", clean(fields.text(row, "what"), 400) + source, style.width, indent=23)
    return _section("TIMELINE", [*lines, *_cut(ROWS, len(report.timeline))])


def _actions(report: Report, style: Style) -> Lines:
    lines: Lines = []
    for when in ("now", "investigate", "later"):
        for action in (one for one in report.actions if one.when == when):
            lines += labelled(f"  {when}", view.capital(clean(action.text, 900)), style.width, indent=15)
            lines += [
                Text(" " * 15 + line) for line in text.command_lines(action.command or "", style.width - 15)
            ]
    return _section("WHAT TO DO (this tool has changed nothing)", lines)


def _read(report: Report, style: Style) -> Lines:
    lines: Lines = []
    coverage = report.coverage
    if said := phrases.coverage_line(coverage):
        lines += paragraph(said, style.width)
    for stream in fields.rows(coverage, "streams")[:FEW]:
        lines += paragraph(phrases.stream_line(stream), style.width, indent=4)
    cells = [
        (view.source_name(query.source), f"{query.rows:,}" if query.rows is not None else "-",
         format_bytes(query.bytes_read), format_seconds(query.seconds), clean(query.text, 300))
        for query in report.queries[:ROWS]
    ]  # fmt: skip
    if cells:
        lines += _indented(
            table(
                ("SOURCE", "ROWS", "READ", "TOOK", "QUERY"),
                cells,
                style.width - 2,
                flex=(4,),
                right=(1, 2, 3),
            )
        )
    return _section("WHAT WAS READ", [*lines, *_cut(ROWS, len(report.queries))])


def _gaps(report: Report, style: Style) -> Lines:
    lines: Lines = []
    for gap in report.gaps:
        lines += paragraph("- " + view.gap_line(gap, style), style.width)
        if gap.fix:
            lines += labelled("    fix", clean(gap.fix, 400), style.width, indent=9)
    return _section("WHAT IS MISSING", lines or [Text("  nothing")])


def _words(style: Style) -> Lines:
    lines: Lines = []
    for word, meaning in {
        **STRENGTHS,
        "ruled out": STATUSES["ruled_out"],
        "untested": STATUSES["untested"],
    }.items():
        lines += labelled(f"  {word}", meaning, style.width, indent=16)
    return _section("WORDS", lines)
