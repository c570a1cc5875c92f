"""The written rule from probability and evidence to the words people read.

strong        P >= 0.90, two independent kinds of evidence for it (2 nats or more each), nothing serious against it
moderate      P >= 0.60, one kind of evidence of 3 nats or more, less than 3 nats against it from memory's course, and
              for a fault in flight at least 1 nat from what was there just before the kill (number, age, rate, size)
weak          P >= 0.25 and some evidence (1 nat of any kind, or memory rows it was held against)
inconclusive  less than that

A leak is not above weak unless nine in ten resamples of the memory rows name the same endpoint and its completions
account for three fifths of the growth. A leak is never strong: all there is against the other endpoints is one
regression, and more kills are more rows of it, not another kind of evidence.
A fault in flight loses a word while another endpoint has, or just had, a body far beyond its usual (3 nats).
A limit too small and growth with all traffic are untested without memory samples, and come after what was tested.

Kinds: in flight (how many, how old) · memory (growth that follows it) · traffic (arrivals) · size (bodies, responses) ·
recurrence. With a verdict that is not certain nothing is above moderate, or above weak without memory samples or where
a third of the limit was free within two seconds of the end: an endpoint cannot be surer to have filled the memory
than the memory to have been full. Where no source tells what was in flight, neither a fault in flight nor growth that
nobody is to blame for is above weak: a request that nobody saw may have been it. Without memory samples no endpoint is
above moderate, as slow and large is not yet guilty, and without any excess in flight nothing is above weak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomscope.analyze.gate import Candidate
    from oomscope.report import Status, Strength, Verdict

STRONG_P, MODERATE_P, WEAK_P, RULED_OUT_P = 0.90, 0.60, 0.25, 0.005
STRONG_KIND, MODERATE_KIND, WEAK_KIND, SERIOUS, MUCH = 2.0, 3.0, 1.0, -2.0, -3.0
COUNTER = ("time", "sudden", "share", "rise")  # what memory says against it
KINDS = {
    "in flight": ("count", "age", "slow", "caught"),
    "memory": ("growth",),
    "traffic": ("arrivals",),
    "size": ("received", "sent", "allocs"),
    "recurrence": ("recurrence",),
}
IN_FLIGHT = ("large_response", "large_payload", "concurrent_spike", "runaway_request")
ORDER: tuple[Strength, ...] = ("inconclusive", "weak", "moderate", "strong")
NO_ENDPOINT = ("undersized_limit", "process_growth", "node_pressure", "not_oom")


def evidence_kinds(terms: dict[str, float]) -> dict[str, float]:
    """Nats for the cause, per kind of evidence."""
    return {kind: sum(max(terms.get(name, 0.0), 0.0) for name in names) for kind, names in KINDS.items()}


def strength_of(
    candidate: Candidate,
    verdict: Verdict,
    *,
    measured: bool = True,
    sampled: bool = True,
    seen: bool = True,
) -> Strength:
    """The word for one candidate. ``measured``: there are memory samples of the dead container. ``sampled``: and they
    do not show it far from full. ``seen``: some source tells what was in flight.

    No cause of a memory kill is surer than that it was one, and without samples nothing shows that. A fault in flight
    is not accused when what was in flight is unknown: another one may have been there.
    """
    if candidate.pattern in NO_ENDPOINT:
        word = _without_endpoint(candidate)
        return word if seen or candidate.pattern != "process_growth" else at_most(word, "weak")
    word = _by_rule(candidate)
    if candidate.pattern == "memory_leak" or not measured:
        word = at_most(word, "moderate")
    if verdict == "undetermined":
        word = at_most(word, "moderate" if sampled else "weak")
    return word if seen or candidate.pattern not in IN_FLIGHT else at_most(word, "weak")


def _by_rule(candidate: Candidate) -> Strength:
    kinds = sorted(evidence_kinds(candidate.terms).values(), reverse=True)
    doubts = sum(min(v, 0.0) for k, v in candidate.terms.items() if k in COUNTER)
    against = min([*(v for k, v in candidate.terms.items() if k != "prior"), 0.0])
    if candidate.probability >= STRONG_P and kinds[1] >= STRONG_KIND and against > SERIOUS:
        return "strong"
    seen = candidate.pattern not in IN_FLIGHT or _excess(candidate.terms) >= WEAK_KIND
    if candidate.probability >= MODERATE_P and kinds[0] >= MODERATE_KIND and doubts > MUCH and seen:
        return "moderate"
    if candidate.probability >= WEAK_P and (kinds[0] >= WEAK_KIND or candidate.terms.get("growth")):
        return "weak"
    return "inconclusive"


def _excess(terms: dict[str, float]) -> float:
    """Nats from what was there just before the kill: how many, how old, how frequent, how large."""
    kinds = evidence_kinds(terms)
    return kinds["in flight"] + kinds["traffic"] + max(terms.get("received", 0.0), 0.0)


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


def untested(candidate: Candidate, *, level: bool, growth: bool) -> bool:
    """A cause in the shape of the memory curve cannot be tested without one; that is no evidence for it.

    ``level``: memory early in the life is known, enough to see that a limit is too small. ``growth``: there are
    samples enough for a regression.
    """
    if candidate.pattern == "undersized_limit":
        return not (level or growth)
    return candidate.pattern == "process_growth" and not growth


def status_of(candidate: Candidate, word: Strength) -> Status:
    """Supported, weak, or ruled out when hardly any probability is left.

    A leak that memory follows better than it follows all traffic is not ruled out by one that it follows better still:
    regressions of endpoints that rise and fall together often swap their order.
    """
    if word in ("strong", "moderate"):
        return "supported"
    followed = candidate.pattern == "memory_leak" and candidate.terms.get("growth", 0.0) > 0
    return "ruled_out" if candidate.probability < RULED_OUT_P and not followed else "weak"
