"""Words shared by every form of the report. Says what the Report says; concludes nothing.

Parts of the Report that are plain dicts, as read here (every key may be absent; times are ISO 8601 UTC text)::

    impact       {"requests_in_flight": int | None, "by_method": {"GET": 5},
                  "by_endpoint": [{"endpoint": str, "count": int}],
                  "jobs_in_flight": int | None, "alb_502": int | None, "down_s": float | None, "clients": int | None,
                  "unknown": str,                          # why the number in flight cannot be told
                  "kill_index": int, "kills_total": int, "kills_window_s": float,   # "kill 1 of 3 in 60 min"
                  "last_kill_at": iso,                     # of the workload: is it still happening?
                  "ready": int, "wanted": int}             # pods up
    timeline     {"at": iso, "what": str, "source": str, "kind": str}
    other_kills  {"killed_at": iso, "pod": str, "container": str, "container_id": str, "verdict": str,
                  "peak_bytes": int, "limit_bytes": int, "open": int | None, "suspect_open": bool | None,
                  "suspect_age_s": float, "memory": {as report.memory}, "chart": {as report.chart}}
    endpoints    {"endpoint": str, "open": int, "expected": float, "lift": float, "share": float, "p50_s": float,
                  "p99_s": float, "longest_open_s": float, "memory_bytes": int, "memory_n": int, "sent_p99_bytes": int,
                  "received_p99_bytes": int, "sent_min_bytes": int, "sent_max_bytes": int,
                  "received_min_bytes": int, "received_max_bytes": int,
                  "first_at": iso, "last_at": iso, "survived": int, "count": int, "verdict": str}
    patterns     {"pattern": str, "title": str, "status": str, "statement": str, "for": [str], "against": [str]}
    coverage     {"lines": int, "recognised": int, "opened": int, "closed": int, "share_closed": float,
                  "streams": [{"stream": str, "shape": str, "lines": int, "recognised": int, "why": str}]}
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from oomscope.redact import shorten_ip
from oomscope.render import fields
from oomscope.render.escape import clean
from oomscope.render.style import Style
from oomscope.render.words import PATTERNS, REASONS, SHORT, SOURCES, VERDICTS, status_word
from oomscope.report import EvidenceRef, GapDoc, Hypothesis, Kill, Report, RequestDoc, Suspect
from oomscope.units import format_seconds

LONGEST_NAME = 300


def name(text: object) -> str:
    """A foreign name (path, pod, endpoint) on one line, harmless, cut when absurdly long."""
    return clean(text, LONGEST_NAME)


def plural(count: int, noun: str) -> str:
    """``1 request``, ``7 requests``, ``6,026 requests``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def quantity(value: float, unit: str) -> str:
    """``1 request``, ``109,000 objects``, ``4.1 times``, ``37 %`` of a share."""
    if unit == "share":
        return f"{value:.0%}".replace("%", " %")
    number = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{number} {unit.removesuffix('s') if number == '1' else unit}".strip()


def suspect_name(suspect: Suspect, pattern: str = "") -> str:
    """``GET /path``, the job class, or the name of the pattern when nobody is accused."""
    if suspect.kind == "none":
        return PATTERNS.get(pattern, "no one request or job")
    if suspect.kind == "job":
        return f"job {name(suspect.endpoint or 'unknown')}"
    path = " ".join(part for part in (suspect.method, suspect.path_pattern) if part)
    return name(path or suspect.endpoint or "unknown endpoint")


def suspect_detail(suspect: Suspect) -> str:
    """``Controller#action`` beside the path; empty when there is nothing to add."""
    return (
        name(suspect.endpoint)
        if suspect.kind == "endpoint" and suspect.endpoint and suspect.path_pattern
        else ""
    )


def lead(report: Report) -> Hypothesis | None:
    """The hypothesis the report names as the cause; None when it abstains."""
    return next((one for one in report.hypotheses if one.id == report.cause.hypothesis), None)


def others(report: Report) -> list[Hypothesis]:
    """The hypotheses beside the answer. That it was no OOM kill is the answer of a ``not_oom`` verdict."""
    settled = "not_oom" if report.kill.verdict == "not_oom" else None
    return [one for one in report.hypotheses if one.id != report.cause.hypothesis and one.pattern != settled]


def hypothesis_word(one: Hypothesis) -> str:
    """*strong, moderate, weak, inconclusive, ruled out* or *untested*."""
    return status_word(one.status, one.strength)


def reason_for(one: Hypothesis) -> str:
    """The weightiest argument, in the direction of its status; the statement when there is none."""
    side = one.against if one.status == "ruled_out" else one.for_
    best = max(side, key=lambda point: abs(point.weight), default=None)
    return clean(best.text if best else one.statement, 600)


def verdict_word(kill: Kill) -> str:
    """What happened, in two words."""
    word = VERDICTS[kill.verdict]
    return f"{word} (pod limit)" if kill.verdict == "oom_limit" and kill.scope == "pod" else word


def where(report: Report) -> str:
    """``namespace/pod``, or the best name there is."""
    target = report.target
    pod = target.pod or target.workload or "unknown pod"
    return name(f"{target.namespace}/{pod}" if target.namespace else pod)


def recurrence(report: Report, style: Style) -> str:
    """``Kill 1 of 3 for deployment/web in 60 min · STILL HAPPENING (2 min ago) · 9/10 up``; only what is known."""
    impact, parts = report.impact, []
    index, total = fields.count(impact, "kill_index"), fields.count(impact, "kills_total")
    if total and total > 1:
        whom = f" for {name(report.target.workload)}" if report.target.workload else ""
        span = fields.number(impact, "kills_window_s")
        parts.append(
            (f"Kill {index} of {total}" if index else plural(total, "kill")) + whom
            + (f" in {format_seconds(span).removesuffix(' 00 min')}" if span else "")
        )  # fmt: skip
    last, killed = fields.when(impact, "last_kill_at"), report.kill.killed_at
    if last and killed and last > killed:
        parts.append(f"HAPPENED AGAIN {style.age(last) or 'at ' + style.clock(last)}")
    ready, wanted = fields.count(impact, "ready"), fields.count(impact, "wanted")
    if ready is not None and wanted:
        parts.append(f"{ready}/{wanted} up")
    return " · ".join(parts)


def lost(report: Report, *, methods: bool = True) -> str:
    """Who was hurt: requests and jobs cut, 502s, time down. Unknown is said, never shown as zero."""
    impact = report.impact
    parts = [_requests_lost(report, methods)]
    jobs = len(report.jobs_in_flight) or fields.count(impact, "jobs_in_flight")
    if jobs:
        parts.append(plural(jobs, "job"))
    if bad := fields.count(impact, "alb_502"):
        parts.append(f"{bad:,} ALB 502" + ("" if bad == 1 else "s"))
    if (down := fields.number(impact, "down_s")) is not None:
        parts.append(f"{format_seconds(down)} down")
    return ", ".join(parts)


def in_flight_count(report: Report) -> int | None:
    """Requests open at the kill; None when it cannot be told."""
    known = fields.count(report.impact, "requests_in_flight")
    if known is None and report.in_flight:
        return len(report.in_flight)
    return known


def _requests_lost(report: Report, methods: bool) -> str:
    count = in_flight_count(report)
    if count is None:
        why = fields.text(report.impact, "unknown")
        return "requests in flight unknown" + (f" ({clean(why, 200)})" if why else "")
    counts = fields.mapping(report.impact, "by_method") if methods else {}
    split = [
        f"{fields.count(counts, key):,} {clean(key, 10)}"
        for key in list(counts)[:4]
        if fields.count(counts, key)
    ]
    return plural(count, "request") + " in flight" + (f" ({', '.join(split)})" if len(split) > 1 else "")


def source_name(source: str) -> str:
    """A source as people call it; a container id by its first twelve digits."""
    if len(source) == 64 and source.isalnum():
        return f"log of container {name(source[:12])}"
    return SOURCES.get(source) or name(source)


def place_of(ref: EvidenceRef) -> str:
    """Where a piece of evidence is: source and place in it."""
    return ", ".join(
        part for part in (source_name(ref.source), clean(ref.ref, 200) if ref.ref else "") if part
    )


def gap_line(gap: GapDoc, style: Style) -> str:
    """``Prometheus 03:12:32 to 03:12:41 (no data): detail``."""
    span = ""
    if gap.start and gap.end:
        span = f" {style.clock(gap.start, day=False, zone=False)} to {style.clock(gap.end, day=False, zone=False)}"
    reason, detail = REASONS.get(gap.reason) or name(gap.reason), clean(gap.detail, 300)
    return f"{source_name(gap.source)}{span} ({reason})" + (
        f": {detail}" if detail not in ("", reason) else ""
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """The second question, "what did it?", in its four forms: cause, abstain, not_oom, undetermined."""

    form: str
    heading: str  # LIKELY CAUSE, NO CLEAR CAUSE ...
    strength: str = ""
    hypothesis: str = ""  # H1
    suspect: str = ""
    detail: str = ""
    sentences: tuple[str, ...] = ()
    settle: str = ""
    accused: bool = False  # an endpoint or a job is named


def answer(report: Report) -> Answer:
    """The answer of the report, as it stands in every form of it."""
    kill, cause, one = report.kill, report.cause, lead(report)
    settle = clean(cause.missing or "", 600)
    if kill.verdict == "not_oom":
        sentences = (clean(kill.statement, 900), *(f"But: {clean(text, 300)}" for text in kill.conflicts[:2]))
        return Answer("not_oom", "WHAT IT WAS", suspect=clean(kill.instead or "", 300), sentences=sentences)
    if one is not None:
        return _cause(one, report, settle)
    why = clean(cause.why or "", 900)
    if kill.verdict == "undetermined":
        sentences = tuple(text for text in (clean(kill.statement, 900), _sentence(why)) if text)
        return Answer("undetermined", "CANNOT TELL IF IT WAS AN OOM KILL", sentences=sentences, settle=settle)
    settle = settle or clean(next((hint for h in report.hypotheses for hint in h.would_settle), ""), 600)
    return Answer("abstain", "NO CLEAR CAUSE", sentences=(_sentence(why),) if why else (), settle=settle)


def _cause(one: Hypothesis, report: Report, settle: str) -> Answer:
    also = [name(other) for other in one.suspect.also]
    more = f" and {len(also) - 3} more." if len(also) > 3 else "."
    twins = (f"Cannot be told apart from {', '.join(also[:3])}{more}",) if also else ()
    return Answer(
        "cause",
        "LIKELY CAUSE" if report.cause.strength in ("strong", "moderate") else "POSSIBLE CAUSE",
        strength=report.cause.strength,
        hypothesis=name(one.id),
        suspect=suspect_name(one.suspect, one.pattern),
        detail=suspect_detail(one.suspect),
        sentences=(_sentence(brief(clean(one.statement, 900), one)), *twins),
        settle=settle,
        accused=one.suspect.kind != "none",
    )


def brief(text: str, one: Hypothesis | None) -> str:
    """``text`` with one name of the suspect instead of two, or "it" where it begins with it: they stand above."""
    if one is None or one.suspect.kind == "none":
        return text
    who, detail = suspect_name(one.suspect), suspect_detail(one.suspect)
    text = text.replace(f"{who} ({detail})", who) if detail else text
    return f"it{text[len(who) :]}" if text.startswith(who) else text


def short_name(one: Hypothesis) -> str:
    """The suspect, or the pattern in two or three words."""
    return SHORT[one.pattern] if one.suspect.kind == "none" else suspect_name(one.suspect)


def capital(text: str) -> str:
    """The text with its first letter large."""
    return text[:1].upper() + text[1:]


def heading(said: Answer) -> str:
    """The heading of the answer as a sentence starts: ``Cannot tell if it was an OOM kill``."""
    return said.heading.capitalize().replace(" oom ", " OOM ")


def _sentence(text: str) -> str:
    return capital(text) + ("" if not text or text.endswith((".", "!", "?")) else ".")


def client(one: RequestDoc, style: Style) -> str:
    """Who sent the request: the address shortened unless parameters are to be shown."""
    address = one.client or (one.access.client if one.access else None)
    if not address:
        return "-"
    return name(address) if style.show_params else name(shorten_ip(address))


def last_sample(report: Report) -> str:
    """``last sample 9 s before the kill``; empty when unknown."""
    last, killed = fields.when(report.memory, "last_sample_at"), memory_kill(report)
    if not last or not killed or killed < last:
        return ""
    return f"last sample {format_seconds((killed - last).total_seconds())} before the kill"


def memory_kill(report: Report) -> datetime | None:
    """The kill on the memory chart."""
    return fields.when(report.memory, "killed_at") or report.kill.killed_at


def limit_bytes(report: Report) -> float | None:
    """The limit drawn in red: the memory series' own, else the verdict's."""
    return fields.number(report.memory, "limit_bytes") or report.kill.limit_bytes


def dead_series(report: Report) -> fields.Row | None:
    """The memory series of the container that died, when it has samples."""
    for series in fields.rows(report.memory, "series"):
        if (
            series.get("dead") is True
            and not fields.text(series, "process")
            and fields.points(series, "points")
        ):
            return series
    return None


def legend(report: Report) -> str:
    """What the main picture is made of: only what is in it."""
    metric = fields.text(report.memory, "metric").replace("_", " ")
    step = fields.number(report.memory, "step_s")
    every = f" every {format_seconds(step)}" if step else ""
    said = []
    if metric and dead_series(report):
        blind = (
            "; hatching is time without any" if (fields.number(report.memory, "blind_s") or 0) > 0.5 else ""
        )
        said.append(f"Memory is the {name(metric)}{every}; dots are samples{blind}.")
    bars = fields.rows(report.chart, "bars")
    states = {fields.text(bar, "state") for bar in bars}
    if bars:
        cut = (
            "Dark bars were cut by the end; light bars completed"
            if "in_flight" in states
            else "Bars are requests that completed"
        )
        accused = any(bar.get("suspect") is True for bar in bars)
        said.append(cut + ("; red is the suspect, pale red its runs that survived." if accused else "."))
    return " ".join(said)
