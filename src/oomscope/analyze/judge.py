"""The written rule from probability and evidence to the words people read.

strong        P >= 0.90, two independent kinds of evidence for it (2 nats or more each), nothing serious against it
moderate      P >= 0.60, one kind of evidence of 3 nats or more, less than 3 nats against it from memory's course
weak          P >= 0.25 and some evidence (1 nat of any kind, or memory rows it was held against)
inconclusive  less than that

A leak found in one kill is not above weak unless nine in ten resamples of the memory rows name the same endpoint and
its completions account for half of the growth.
A limit too small and growth with all traffic are untested without memory samples, and come after what was tested.

Kinds: in flight (how many, how old) · memory (growth that follows it) · traffic (arrivals) · size (bodies, responses) ·
recurrence. With a verdict that is not certain nothing is above moderate, or above weak without memory samples: an
endpoint cannot be surer to have filled the memory than the memory to have been full. Without memory samples and
without any excess in flight nothing is above weak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomscope.analyze.case import Case
    from oomscope.analyze.gate import Candidate
    from oomscope.report import Status, Strength

STRONG_P, MODERATE_P, WEAK_P = 0.90, 0.60, 0.25
STRONG_KIND, MODERATE_KIND, WEAK_KIND, SERIOUS, MUCH = 2.0, 3.0, 1.0, -2.0, -3.0
COUNTER = ("time", "sudden", "share", "rise")  # what memory says against it
KINDS = {
    "in flight": ("count", "age", "slow"),
    "memory": ("growth",),
    "traffic": ("arrivals",),
    "size": ("received", "sent", "allocs"),
    "recurrence": ("recurrence",),
}
ORDER: tuple[Strength, ...] = ("inconclusive", "weak", "moderate", "strong")
NO_ENDPOINT = ("undersized_limit", "process_growth", "node_pressure", "not_oom")


def evidence_kinds(terms: dict[str, float]) -> dict[str, float]:
    """Nats for the cause, per kind of evidence."""
    return {kind: sum(max(terms.get(name, 0.0), 0.0) for name in names) for kind, names in KINDS.items()}


def strength_of(candidate: Candidate, case: Case, refuted: float = 0.0) -> Strength:
    """The word for one candidate. ``refuted``: nats against it from refutation (0 or negative)."""
    if candidate.pattern in NO_ENDPOINT:
        return _without_endpoint(candidate)
    word = _by_rule(candidate, refuted)
    return at_most(word, _ceiling(case)) if case.kill.verdict == "undetermined" else word


def _ceiling(case: Case) -> Strength:
    """No cause of a memory kill is surer than that it was one: without memory samples nothing shows that."""
    return "moderate" if case.memory.dead is not None else "weak"


def _by_rule(candidate: Candidate, refuted: float) -> Strength:
    kinds = sorted(evidence_kinds(candidate.terms).values(), reverse=True)
    doubts = sum(min(v, 0.0) for k, v in candidate.terms.items() if k in COUNTER)
    against = min([*(v for k, v in candidate.terms.items() if k != "prior"), refuted, 0.0])
    if candidate.probability >= STRONG_P and kinds[1] >= STRONG_KIND and against > SERIOUS:
        return "strong"
    if candidate.probability >= MODERATE_P and kinds[0] >= MODERATE_KIND and doubts > MUCH:
        return "moderate"
    if candidate.probability >= WEAK_P and (kinds[0] >= WEAK_KIND or candidate.terms.get("growth")):
        return "weak"
    return "inconclusive"


def _without_endpoint(candidate: Candidate) -> Strength:
    if candidate.pattern == "not_oom":
        return "strong" if candidate.probability >= STRONG_P else "moderate"
    if candidate.pattern == "node_pressure":
        return "moderate"
    if candidate.probability >= MODERATE_P:
        return "moderate"
    return "weak" if candidate.probability >= WEAK_P else "inconclusive"


def at_most(word: Strength, limit: Strength) -> Strength:
    """The weaker of two words."""
    return min(word, limit, key=ORDER.index)


def untested(candidate: Candidate, case: Case) -> bool:
    """A cause in the shape of the memory curve cannot be tested without one; that is no evidence for it.

    A limit too small shows in the level alone, growth needs samples enough for a regression.
    """
    if candidate.pattern == "undersized_limit":
        return case.growth is None and case.memory.early_share is None
    return candidate.pattern == "process_growth" and case.growth is None


def status_of(word: Strength, probability: float) -> Status:
    """Supported, weak, or ruled out when hardly any probability is left."""
    if word in ("strong", "moderate"):
        return "supported"
    return "ruled_out" if probability < 0.005 else "weak"
