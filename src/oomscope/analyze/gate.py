"""Which cause, and who: scores to probabilities over exclusive causes, one candidate a suspect.

P(pattern, endpoint) is a softmax of the summed terms at a fitted temperature. An endpoint's probability is the sum over
its patterns; the likeliest of them is the pattern shown. Causes without one endpoint compete on the same scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from oomscope.analyze.scores import ENDPOINT_PATTERNS, Scores
from oomscope.analyze.weights import Weights

if TYPE_CHECKING:
    from oomscope.analyze.case import Case
    from oomscope.report import Pattern

NODE_SHARE = 0.9  # of the probability goes to node pressure when the kill was the node's
CEILING = 0.99  # no single incident proves more


@dataclass(frozen=True)
class Candidate:
    """One suspect (``who`` indexes ``runs.names``; None: no single one) with its likeliest pattern.

    ``terms``: the nats of that pattern; ``patterns``: probability of each pattern of this suspect.
    """

    pattern: Pattern
    who: int | None
    probability: float
    score: float
    terms: dict[str, float]
    patterns: dict[Pattern, float]


def fuse(scores: Scores, case: Case, weights: Weights) -> list[Candidate]:
    """Candidates, likeliest first. Probabilities sum to at most 1."""
    if case.kill.verdict == "not_oom":
        return [_single("not_oom", case.kill.confidence or 0.9)]
    entries = _entries(scores, case)
    logits = np.array([total for *_, total, _ in entries]) / weights.temperature
    odds = np.exp(logits - logits.max())
    share = CEILING * odds / odds.sum()
    grouped: dict[tuple[str, int | None], list[int]] = {}
    for index, (pattern, who, _, _) in enumerate(entries):
        grouped.setdefault((pattern, None) if who is None else ("", who), []).append(index)
    found = [_candidate(entries, share, members) for members in grouped.values()]
    if case.kill.verdict == "oom_node":
        found = [_single("node_pressure", NODE_SHARE), *(_scaled(c, 1 - NODE_SHARE) for c in found)]
    return sorted(
        found, key=lambda c: (-c.probability, -c.score, c.pattern, c.who if c.who is not None else -1)
    )


Entry = tuple["Pattern", int | None, float, dict[str, float]]


def _entries(scores: Scores, case: Case) -> list[Entry]:
    entries: list[Entry] = []
    kinds: tuple[Pattern, ...] = (*ENDPOINT_PATTERNS, "background_job")
    for pattern in kinds:
        total = scores.total(pattern)
        for who in range(case.runs.n):
            if bool(case.runs.is_job[who]) == (pattern == "background_job"):
                terms = {name: float(values[who]) for name, values in scores.terms[pattern].items()}
                entries.append((pattern, who, float(total[who]), terms))
    for pattern, alone in scores.none.items():
        entries.append((pattern, None, float(sum(alone.values())), dict(alone)))
    return entries


def _candidate(entries: list[Entry], share: np.ndarray, members: list[int]) -> Candidate:
    best = max(members, key=lambda i: (float(share[i]), -i))
    pattern, who, total, terms = entries[best]
    return Candidate(
        pattern=pattern, who=who, probability=float(sum(share[i] for i in members)), score=total, terms=terms,
        patterns={entries[i][0]: float(share[i]) for i in members},
    )  # fmt: skip


def _single(pattern: Pattern, probability: float) -> Candidate:
    share = min(probability, CEILING)
    return Candidate(pattern, None, share, 0.0, {}, {pattern: share})


def _scaled(c: Candidate, factor: float) -> Candidate:
    patterns = {pattern: share * factor for pattern, share in c.patterns.items()}
    return Candidate(c.pattern, c.who, c.probability * factor, c.score, c.terms, patterns)


def netted(terms: dict[str, float]) -> dict[str, float]:
    """Fit and share of the growth are one fact: where they pull apart it is told once, on the side that wins."""
    growth, share = terms.get("growth", 0.0), terms.get("share", 0.0)
    if growth <= 0 or share >= 0:
        return terms
    kept, dropped = ("growth", "share") if growth + share > 0 else ("share", "growth")
    return {name: value for name, value in terms.items() if name != dropped} | {kept: growth + share}
