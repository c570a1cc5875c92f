"""The report as Markdown in postmortem order, with the four headings of the original workflow in their places.

What only people know (why now, detection, resolution) is left for people to fill in. Every foreign text is escaped or
in a code span.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from oomscope.render import fields, phrases, titles, view
from oomscope.render.escape import markdown as md
from oomscope.render.escape import markdown_code as code
from oomscope.render.escape import markdown_ticked as ticked
from oomscope.render.fields import Row
from oomscope.render.style import Style
from oomscope.render.words import CONFIRMED, PATTERNS, STRENGTHS
from oomscope.report import Action, Hypothesis, Report, RequestDoc
from oomscope.units import format_bytes, format_seconds, iso

ENDPOINTS = 5
REQUESTS = 50
UNKNOWN = "unknown"


def render_markdown(report: Report, style: Style) -> str:
    """A document to paste into an incident page."""
    sections = (
        _title(report, style),
        _summary(report, style),
        _impact(report),
        _evidence(report, style),
        _suspicious(report, style),
        _in_flight(report, style),
        _hypotheses(report),
        _patterns(report),
        _trigger(report, style),
        ["### Detection", "", "_To be filled in: who noticed, how, after how long._"],
        ["### Resolution", "", "_To be filled in._"],
        _actions(report),
        _timeline(report, style),
        _gaps(report, style),
        _read(report),
    )
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _title(report: Report, style: Style) -> list[str]:
    at = style.clock(report.kill.killed_at, day=True)
    return [f"## {md(view.verdict_word(report.kill))}: {code(view.where(report))} at {at}"]


def _summary(report: Report, style: Style) -> list[str]:
    said = view.answer(report)
    head = view.heading(said)
    strength = f" ({said.strength} evidence)" if said.strength else ""
    lines = ["### Summary", "", f"**{head}{strength}**" + (f": {_who(said)}" if said.suspect else "")]
    if said.detail and said.detail != said.suspect:
        lines[-1] += f" ({code(said.detail)})"
    lines += ["", " ".join(md(text) for text in said.sentences)] if said.sentences else []
    if said.settle and said.form != "cause":
        lines += ["", f"What would settle it: {md(said.settle)}"]
    if again := view.recurrence(report, style):
        lines += ["", md(again)]
    return lines


def _who(said: view.Answer) -> str:
    return code(said.suspect) if said.accused else md(said.suspect)


def _impact(report: Report) -> list[str]:
    lines = ["### Impact", "", f"- Lost: {md(view.lost(report))}"]
    hit = [f"{code(fields.text(row, 'endpoint'))} ({phrases.whole(row, 'count')})"
           for row in fields.rows(report.impact, "by_endpoint")[:10]]  # fmt: skip
    if clients := fields.count(report.impact, "clients"):
        lines.append(f"- Clients: {clients:,}")
    return [*lines, f"- Hit: {', '.join(hit)}"] if hit else lines


def _evidence(report: Report, style: Style) -> list[str]:
    kill, target = report.kill, report.target
    victim = kill.victim
    held = (
        f", {format_bytes(victim.anon_rss_bytes)} anonymous memory"
        if victim and victim.anon_rss_bytes
        else ""
    )
    facts = [
        ("Container restart time", _restarted(report)),
        ("Pod", code(target.pod) if target.pod else UNKNOWN),
        ("Namespace", code(target.namespace) if target.namespace else ""),
        ("Container", code(target.container) if target.container else ""),
        ("Confirmed OOM", f"{CONFIRMED[kill.verdict]}. {md(kill.statement)}".rstrip(". ")),
        ("Instead", md(kill.instead or "")),
        (
            "Exit code and reason",
            md(" ".join(str(part) for part in (kill.exit_code, kill.reason) if part is not None)),
        ),
        ("Victim", (code(victim.comm) if victim.comm else "process") + held if victim else ""),
        ("Limit", format_bytes(kill.limit_bytes) if kill.limit_bytes else UNKNOWN),
        ("Rule", md(kill.rule)),
        (
            "Memory",
            md("; ".join(part for part in (titles.memory_title(report), view.last_sample(report)) if part)),
        ),
        ("Requests in flight", _count(report)),
    ]
    lines = ["### Evidence Summary", ""] + [f"- {label}: {value}" for label, value in facts if value]
    lines += [f"- Against the verdict: {md(conflict)}" for conflict in kill.conflicts]
    for ref in kill.evidence[:6]:
        lines.append(f"- Seen in {md(view.place_of(ref))}" + (f": {code(ref.raw, 500)}" if ref.raw else ""))
    return lines


def _restarted(report: Report) -> str:
    at = iso(report.kill.killed_at) or UNKNOWN
    return f"none, the container lived on; process killed {at}" if report.kill.verdict == "oom_child" else at


def _count(report: Report) -> str:
    count = view.in_flight_count(report)
    why = md(fields.text(report.impact, "unknown"))
    return f"{count:,}" if count is not None else f"{UNKNOWN}" + (f" ({why})" if why else "")


def _suspicious(report: Report, style: Style) -> list[str]:
    """The endpoints that had requests open, the accused first; every field of the original output format."""
    lines = ["### Suspicious Requests", ""]
    shown = _suspects_first(report)[:ENDPOINTS]
    for row in shown:
        lines += _endpoint(row, report, style)
    if not shown:
        count = view.in_flight_count(report)
        lines.append(
            "None: no request was open at the end."
            if count == 0
            else "Unknown: no request could be tied to the kill."
        )
    left = sum(1 for row in report.endpoints if fields.count(row, "open")) - len(shown)
    return [*lines, f"- and {left:,} more endpoints with requests open"] if left > 0 else lines


def _suspects_first(report: Report) -> list[Row]:
    one = view.lead(report)
    names = {one.suspect.endpoint, view.suspect_name(one.suspect)} if one else set()
    rows = [
        row for row in report.endpoints if fields.count(row, "open") or fields.text(row, "endpoint") in names
    ]
    return sorted(rows, key=lambda row: fields.text(row, "endpoint") not in names)


def _endpoint(row: Row, report: Report, style: Style) -> list[str]:
    first, last = fields.when(row, "first_at"), fields.when(row, "last_at")
    return [
        f"- Endpoint: {code(_named(row))}",
        f"  - Count: {phrases.whole(row, 'open')} open at the kill, {phrases.decimal(row, 'expected')} expected "
        f"by chance; {phrases.whole(row, 'count')} in the window",
        f"  - Time range: {_range(first, last)}",
        f"  - Request payload: {_sizes(row, 'received')}",
        f"  - Response payload: {_sizes(row, 'sent')}",
    ]


def _named(row: Row) -> str:
    path, endpoint = phrases.endpoint_name(row), fields.text(row, "endpoint")
    return path if path == endpoint or not endpoint else f"{path} ({endpoint})"


def _range(first: datetime | None, last: datetime | None) -> str:
    return f"{iso(first)} - {iso(last)}" if first and last else UNKNOWN


def _sizes(row: Row, kind: str) -> str:
    low, high, most = (fields.number(row, f"{kind}_{part}_bytes") for part in ("min", "max", "p99"))
    if low is not None and high is not None:
        return f"{format_bytes(low)} - {format_bytes(high)}"
    return f"99 % below {format_bytes(most)}" if most is not None else f"{UNKNOWN} (no load balancer row)"


def _in_flight(report: Report, style: Style) -> list[str]:
    ranked = sorted(report.in_flight, key=lambda one: -(one.age_s or 0))
    if not ranked and not report.jobs_in_flight:
        return []
    lines = ["#### In flight at the kill", "", "| Age | Request | Endpoint | Started (UTC) | Client | Request ID |",
             "|---:|---|---|---|---|---|"]  # fmt: skip
    lines += [_request(one, style) for one in ranked[:REQUESTS]]
    lines += [
        f"| {format_seconds(job.age_s)} | job | {code(job.job_class, 200)} | {iso(job.started_at) or '-'} | - | "
        f"{code(job.job_id, 80) if job.job_id else '-'} |"
        for job in report.jobs_in_flight[:REQUESTS]
    ]
    if len(ranked) > REQUESTS:
        lines += ["", f"{REQUESTS} of {len(ranked):,} requests shown."]
    if report.rack_level:
        lines += [
            "",
            f"{view.plural(len(report.rack_level), 'more request')} started but had not reached a controller.",
        ]
    return lines


def _request(one: RequestDoc, style: Style) -> str:
    path = " ".join(part for part in (one.method, one.path) if part)
    cells = (
        format_seconds(one.age_s),
        code(path, 300) if path else "-",
        code(one.endpoint, 200) if one.endpoint else "-",
        iso(one.started_at) or "-",
        code(view.client(one, style), 80),
        code(one.request_id, 80) if one.request_id else "-",
    )
    return "| " + " | ".join(cells) + " |"


def _hypotheses(report: Report) -> list[str]:
    lines = ["### Root Cause Hypotheses", ""]
    if not report.hypotheses:
        return [*lines, md(report.cause.why or "None could be formed from what was read.")]
    for number, one in enumerate(report.hypotheses, 1):
        lines += _hypothesis(number, one)
    used = {one.strength for one in report.hypotheses if one.status not in ("ruled_out", "untested")}
    legend = "; ".join(f"*{word}*: {meaning}" for word, meaning in STRENGTHS.items() if word in used)
    return [*lines, "", legend] if legend else lines


def _hypothesis(number: int, one: Hypothesis) -> list[str]:
    who = view.suspect_name(one.suspect, one.pattern)
    title = f"{code(who)}, " if one.suspect.kind != "none" else ""
    pattern = PATTERNS[one.pattern]
    lines = [f"{number}. **{md(one.id)}** {title}{pattern.lower() if title else pattern} "
             f"(**{view.hypothesis_word(one)}**): {md(one.statement)}"]  # fmt: skip
    for label, points in (("For", one.for_), ("Against", one.against)):
        lines += [f"   - {label}: {ticked(point.text)}" for point in points[:10]]
    lines += [f"   - Sets it apart: {ticked(trait.text or trait.name)}" for trait in one.distinguishing[:5]]
    return lines + [f"   - Would settle it: {md(hint)}" for hint in one.would_settle[:3]]


def _patterns(report: Report) -> list[str]:
    if not report.patterns:
        return []
    lines = ["#### The four common patterns", ""]
    for pattern in (phrases.pattern_row(row) for row in report.patterns[:12]):
        lines.append(
            f"- {md(pattern['title'])}: **{md(pattern['status'])}**. {md(view.capital(pattern['statement']))}".rstrip()
        )
        lines += [f"  - For: {ticked(text)}" for text in pattern["for_"]]
        lines += [f"  - Against: {ticked(text)}" for text in pattern["against"]]
    return lines


def _trigger(report: Report, style: Style) -> list[str]:
    """When it began and what came before, as far as it was seen."""
    lines = ["### Trigger", ""]
    killed = report.kill.killed_at
    if killed and report.kill.verdict.startswith("oom"):
        if began := fields.when(report.memory, "rise_from"):
            lines.append(
                f"- {style.clock(began, day=True)} memory began its last rise{_before(began, killed)}"
            )
        one = view.lead(report)
        name = one.suspect.endpoint if one and view.answer(report).accused else None
        first = min(
            (r.started_at for r in report.in_flight if name and r.endpoint == name and r.started_at),
            default=None,
        )
        if first and one:
            who = code(view.suspect_name(one.suspect, one.pattern))
            lines.append(
                f"- {style.clock(first, day=True)} the first {who} still in flight began{_before(first, killed)}"
            )
    for row in _changes(report):
        lines.append(f"- {style.clock(fields.when(row, 'at'), day=True)} {md(fields.text(row, 'text'), 200)}")
    return [*lines, *([""] if len(lines) > 2 else []), "_To be completed: why it happened now._"]


def _before(at: datetime, killed: datetime) -> str:
    return f", {format_seconds((killed - at).total_seconds())} before the kill" if at < killed else ""


def _changes(report: Report) -> list[Row]:
    """The last few changes before the end: deploys, settings, scaling."""
    marks = [row for row in fields.rows(report.chart, "marks") if fields.when(row, "at")]
    return [row for row in marks if fields.text(row, "kind") in ("deploy", "config", "scale")][-3:]


def _actions(report: Report) -> list[str]:
    lines = ["### Recommended Actions", "", "Nothing has been changed by this tool."]
    titles = (("now", "Immediate"), ("investigate", "Investigation"), ("later", "Long-term"))
    for when, title in titles:
        chosen = [action for action in report.actions if action.when == when]
        lines += ["", f"- {title}", *_steps(chosen)] if chosen else []
    return lines if len(lines) > 3 else [*lines[:2], "None that the evidence supports."]


def _steps(actions: Iterable[Action]) -> list[str]:
    lines = []
    for action in actions:
        lines.append(f"  - {md(view.capital(action.text))}")
        if action.command:
            lines.append(f"    {code(action.command, 2000)}")
    return lines


def _timeline(report: Report, style: Style) -> list[str]:
    if not report.timeline:
        return []
    lines = ["### Timeline", ""]
    for row in report.timeline[:60]:
        source = fields.text(row, "source")
        note = f" ({md(view.source_name(source))})" if source else ""
        lines.append(
            f"- {style.clock(fields.when(row, 'at'), day=True)} {md(fields.text(row, 'what'), 400)}{note}"
        )
    return lines if len(report.timeline) <= 60 else [*lines, f"- {len(report.timeline) - 60:,} more left out"]


def _gaps(report: Report, style: Style) -> list[str]:
    lines = ["### Data Gaps", ""]
    if not report.gaps:
        return [*lines, "Nothing missing."]
    for gap in report.gaps:
        lines.append(
            f"- {md(view.gap_line(gap, style))}" + (f". Fix: {code(gap.fix, 400)}" if gap.fix else "")
        )
    return lines


def _read(report: Report) -> list[str]:
    lines = ["#### What was read", ""]
    if said := phrases.coverage_line(report.coverage):
        lines.append(f"- {md(said)}")
    for query in report.queries[:40]:
        rows = f" ({view.plural(query.rows, 'row')})" if query.rows is not None else ""
        lines.append(f"- {md(view.source_name(query.source))}{rows}: {code(query.text, 500)}")
    tool = " ".join(part for part in (report.tool.get("name"), report.tool.get("version")) if part)
    lines += [f"- Made by {md(tool, 80)}, report format {report.format}"] if tool else []
    return lines if len(lines) > 2 else []
