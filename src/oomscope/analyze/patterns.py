"""The four original patterns, each always looked at: what speaks for it, what against, with numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from oomscope.analyze.gate import Candidate
from oomscope.analyze.ledger import Ledger
from oomscope.analyze.words import points
from oomscope.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from oomscope.analyze.case import Case
    from oomscope.analyze.scores import Scores
    from oomscope.report import Pattern

TITLES: dict[Pattern, str] = {
    "large_response": "Large response",
    "large_payload": "Large request body",
    "memory_leak": "Memory leak",
    "concurrent_spike": "Spike of concurrent requests",
}
SUPPORTED_FROM, WEAK_FROM, RULED_OUT_BELOW = 0.5, 0.1, 0.01


def four_patterns(
    case: Case, scores: Scores, candidates: list[Candidate], ledger: Ledger
) -> tuple[dict[str, Any], ...]:
    """One row a pattern: its best endpoint, status, and the evidence either way."""
    return tuple(_row(case, scores, candidates, ledger, pattern) for pattern in TITLES)


def _row(
    case: Case, scores: Scores, candidates: list[Candidate], ledger: Ledger, pattern: Pattern
) -> dict[str, Any]:
    share = sum(c.patterns.get(pattern, 0.0) for c in candidates)
    who = _best(case, scores, pattern)
    pro, contra = ((), ()) if who is None else points(case, _as_candidate(scores, pattern, who), ledger)
    general = _general(case, pattern)
    status = _status(share)
    # Where nobody saw what was in flight, nothing that was in flight is ruled out.
    if not _testable(case, pattern) or (case.blind and share < WEAK_FROM and pattern != "memory_leak"):
        status = "untested"
    name = "no endpoint" if who is None else case.runs.names[who]
    return {
        "pattern": pattern, "title": TITLES[pattern], "status": status, "probability": round(share, 4),
        "statement": f"best fit: {name}" if who is not None else "nothing to test it on",
        "suspect": None if who is None else name,
        "for": [p.text for p in pro], "against": [p.text for p in contra], "evidence": general,
    }  # fmt: skip


def _status(share: float) -> str:
    if share >= SUPPORTED_FROM:
        return "supported"
    return "weak" if share >= WEAK_FROM else "ruled_out" if share < RULED_OUT_BELOW else "inconclusive"


def _best(case: Case, scores: Scores, pattern: Pattern) -> int | None:
    if not case.runs.n or case.runs.is_job.all():
        return None
    return int(np.argmax(np.where(case.runs.is_job, -np.inf, scores.total(pattern))))


def _as_candidate(scores: Scores, pattern: Pattern, who: int) -> Candidate:
    terms = {name: float(values[who]) for name, values in scores.terms[pattern].items()}
    return Candidate(pattern, who, 0.0, sum(terms.values()), terms, {})


def _testable(case: Case, pattern: Pattern) -> bool:
    if pattern == "memory_leak":
        return case.growth is not None
    if pattern == "large_payload":
        return bool((~np.isnan(case.runs.received)).any())
    return bool(case.runs.who.size)


def _general(case: Case, pattern: Pattern) -> list[str]:
    """What was measured over all endpoints, whatever it says."""
    facts = {
        "large_response": _responses, "large_payload": _bodies, "memory_leak": _curve, "concurrent_spike": _arrivals
    }[pattern]  # fmt: skip
    return facts(case)


def _sizes(case: Case, values: np.ndarray, what: str) -> list[str]:
    known = values[~np.isnan(values)]
    if not known.size:
        return [f"{what} sizes are not known (no ALB access log joined)"]
    return [
        f"{what} sizes from {format_bytes(known.min())} to {format_bytes(known.max())},"
        f" median {format_bytes(float(np.median(known)))}, {known.size:,} known"
    ]


def _responses(case: Case) -> list[str]:
    return _sizes(case, case.runs.sent, "response")


def _bodies(case: Case) -> list[str]:
    return _sizes(case, case.runs.received, "request")


def _curve(case: Case) -> list[str]:
    m = case.memory
    if m.dead is None or m.slope is None:
        return ["no memory samples of the dead container"]
    slope = f"{format_bytes(abs(m.slope) * 60)} {'up' if m.slope >= 0 else 'down'} a minute"
    return [
        f"memory went {slope} over the last {format_seconds(min(-float(m.dead.t[0]), 900.0))}"
        f" (straight line R2 {m.straight:.2f}, levelling-off curve R2 {m.settling:.2f})"
    ]


def _arrivals(case: Case) -> list[str]:
    t = case.transient
    total, usual = float(t.traffic.recent.sum()), float(t.traffic.expected.sum())
    return [
        f"{t.open.sum():.0f} incomplete at the kill over {int((t.open > 0).sum())} endpoints; {total:.0f} requests"
        f" started in the last {format_seconds(float(t.traffic.window.max(initial=0.0)))}, {usual:.0f} expected"
    ]
