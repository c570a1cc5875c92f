"""The Report document, format 1: the one thing every renderer, script and colleague reads.

More fields may be added within format 1; the ones here keep their meaning. ``json_schema()`` is published in docs.
Text in it is data, not markup: a renderer escapes it for its own medium.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from oomscope.units import iso

Verdict = Literal["oom_limit", "oom_node", "oom_child", "not_oom", "undetermined"]
Strength = Literal["strong", "moderate", "weak", "inconclusive"]
Status = Literal["supported", "weak", "ruled_out", "untested"]
Pattern = Literal[
    "large_response", "large_payload", "memory_leak", "concurrent_spike", "runaway_request", "background_job",
    "undersized_limit", "node_pressure", "process_growth", "not_oom",
]  # fmt: skip
Time = Annotated[datetime, PlainSerializer(iso, return_type=str, when_used="json")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class TargetDoc(_Model):
    """The container the report is about."""

    namespace: str | None = None
    workload: str | None = None
    pod: str | None = None
    container: str | None = None
    container_id: str | None = None
    node: str | None = None
    image: str | None = None


class Victim(_Model):
    """The process the kernel killed. ``pid`` is a host pid."""

    comm: str | None = None
    pid: int | None = None
    anon_rss_bytes: int | None = None


class EvidenceRef(_Model):
    """Where a claim comes from: source, place in it (line, row, query), and the raw text (redacted, shortened)."""

    source: str
    ref: str | None = None
    raw: str | None = None


class Kill(_Model):
    """What ended, and whether the kernel's OOM killer did it. ``confidence`` 0..1 is that of the rule that fired."""

    verdict: Verdict
    killed_at: Time | None = None
    scope: Literal["container", "pod", "allocatable", "node", "unknown"] = "unknown"
    exit_code: int | None = None
    reason: str | None = None
    victim: Victim | None = None
    limit_bytes: int | None = None
    rule: str = ""
    confidence: float = 0.0
    statement: str = ""  # one sentence for people
    instead: str | None = None  # when not_oom: what it was
    conflicts: tuple[str, ...] = ()  # evidence that disagrees
    evidence: tuple[EvidenceRef, ...] = ()


class Suspect(_Model):
    """Who is accused."""

    kind: Literal["endpoint", "job", "none"]
    endpoint: str | None = None  # Controller#action, or the job class
    method: str | None = None
    path_pattern: str | None = None
    also: tuple[str, ...] = ()  # endpoints that cannot be told apart from it (collinear group)


class Point(_Model):
    """One finding for or against a hypothesis; ``weight`` is its part of the score in nats (0: shown, not scored)."""

    finding: str  # id of a Finding
    text: str
    weight: float = 0.0


class Distinguishing(_Model):
    """What sets the bad requests apart: ``hits`` of ``of`` suspect requests against ``base_share`` of the others."""

    kind: Literal["param", "path_id", "client", "user_agent", "format", "body_size", "job_arg"]
    name: str
    value: str | None = None  # redacted form unless --show-params
    hits: int = 0
    of: int = 0
    base_share: float | None = None
    p_value: float | None = None
    text: str = ""


class Hypothesis(_Model):
    """One candidate cause. ``probability`` is for machines; people see ``strength``."""

    id: str
    pattern: Pattern
    status: Status
    strength: Strength
    probability: float
    suspect: Suspect
    statement: str
    for_: tuple[Point, ...] = Field(default=(), alias="for")
    against: tuple[Point, ...] = ()
    would_settle: tuple[str, ...] = ()
    distinguishing: tuple[Distinguishing, ...] = ()
    score: dict[str, float] = Field(default_factory=dict)  # how the score adds up, in nats


class Cause(_Model):
    """The answer: the id of the leading hypothesis, or null when the tool abstains (``why`` says so)."""

    hypothesis: str | None = None
    strength: Strength = "inconclusive"
    why: str | None = None
    missing: str | None = None  # the one missing input with the largest expected gain


class AccessDoc(_Model):
    """The ALB row of a request."""

    time: Time | None = None
    created_at: Time | None = None
    elb_status: int | None = None
    target_status: int | None = None
    received_bytes: int | None = None
    sent_bytes: int | None = None
    target_processing_s: float | None = None
    client: str | None = None
    user_agent: str | None = None
    joined_by: str | None = None  # trace_id, or method+path+client+time


class RequestDoc(_Model):
    """A request open at the kill. ``age_s`` is how long it had been running."""

    request_id: str | None = None
    method: str | None = None
    path: str | None = None
    endpoint: str | None = None
    client: str | None = None
    started_at: Time | None = None
    age_s: float | None = None
    process: str | None = None  # container id (12) and pid
    access: AccessDoc | None = None
    seen_in: Literal["app_log", "alb", "both"] = "app_log"
    params: str | None = None
    posterior: float | None = None  # P(this one held the missing memory), for ranking
    raw: str | None = None
    source: str | None = None


class JobDoc(_Model):
    """A job open at the kill."""

    job_class: str
    job_id: str | None = None
    adapter: str | None = None
    queue: str | None = None
    started_at: Time | None = None
    age_s: float | None = None
    process: str | None = None
    args: str | None = None
    raw: str | None = None
    source: str | None = None


class Finding(_Model):
    """One measured statement: value, unit, what it is compared with, and where it comes from."""

    id: str
    text: str
    name: str = ""
    value: float | str | None = None
    unit: str = ""
    baseline: str | None = None
    evidence: tuple[EvidenceRef, ...] = ()


class GapDoc(_Model):
    """Evidence that is missing, why, and how to get it."""

    source: str
    reason: str
    detail: str
    query: str | None = None
    start: Time | None = None
    end: Time | None = None
    fix: str | None = None


class QueryDoc(_Model):
    """One thing that was asked or read."""

    source: str
    text: str
    start: Time | None = None
    end: Time | None = None
    rows: int | None = None
    bytes_read: int | None = None
    seconds: float | None = None
    cost_usd: float | None = None


class Action(_Model):
    """Something safe to do. ``when``: now, investigate or later; ``command`` is for the user to run, never by us."""

    when: Literal["now", "investigate", "later"]
    text: str
    command: str | None = None


class Report(_Model):
    """The whole answer. See design section 5 for the contract of the first block of fields."""

    format: Literal[1] = 1
    target: TargetDoc
    kill: Kill
    cause: Cause
    hypotheses: tuple[Hypothesis, ...] = ()
    in_flight: tuple[RequestDoc, ...] = ()
    rack_level: tuple[RequestDoc, ...] = ()
    jobs_in_flight: tuple[JobDoc, ...] = ()
    impact: dict[str, Any] = Field(default_factory=dict)
    actions: tuple[Action, ...] = ()
    findings: tuple[Finding, ...] = ()
    gaps: tuple[GapDoc, ...] = ()
    coverage: dict[str, Any] = Field(default_factory=dict)
    queries: tuple[QueryDoc, ...] = ()
    other_kills: tuple[dict[str, Any], ...] = ()
    timeline: tuple[dict[str, Any], ...] = ()  # {at, what, source}
    endpoints: tuple[dict[str, Any], ...] = ()  # one row an endpoint: see analyze/endpoint_table.py
    memory: dict[str, Any] = Field(default_factory=dict)  # series for the chart and its summary numbers
    chart: dict[str, Any] = Field(default_factory=dict)  # request bars for the chart, already thinned
    patterns: tuple[dict[str, Any], ...] = ()  # the four original patterns, with evidence for and against
    tool: dict[str, str] = Field(default_factory=dict)  # {"name": "oomscope", "version": ...}


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the Report document."""
    schema = Report.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def to_json(report: Report) -> str:
    """The document as JSON text; the same report gives the same bytes."""
    return report.model_dump_json(by_alias=True, indent=1) + "\n"


def from_json(text: str | bytes) -> Report:
    """Read a Report document. Raises ``pydantic.ValidationError`` when it is not one."""
    return Report.model_validate_json(text)
