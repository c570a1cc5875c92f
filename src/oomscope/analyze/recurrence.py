"""Several kills of one workload: one cause or several, and what together they say.

Log-evidence of the kills adds up (term ``recurrence``); for leaks the *rows* of the regression are pooled, not the
answers. Before that it is tested whether one common cause explains the kills better than one cause each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from oomscope.analyze.gains import MemoryGains, gain_of, memory_gains, steady_gain
from oomscope.analyze.gate import fuse
from oomscope.analyze.growth import fit_lasting, mean_fit
from oomscope.analyze.increments import stack
from oomscope.analyze.ledger import tidy
from oomscope.analyze.scores import Scores, score
from oomscope.analyze.stability import LeakRows, leak_rows
from oomscope.analyze.weights import Weights
from oomscope.units import iso

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oomscope.analyze.case import Case
    from oomscope.report import Pattern

    Floats = NDArray[np.float64]

ABSENT = -4.0  # an endpoint that did not run before a kill hardly caused it
A_KILL = 6.0  # nats another kill may add: kills minutes apart share their traffic and are not independent
SHARED = 0.25  # power of the kills by which pooled rows count less: they share traffic, code and its quirks
ALTERNATING_FROM = 3.0  # nats by which separate causes must win
LEFT_OUT = ("prior", "growth", "share", "busy", "work", "sent", "allocs")  # the same at every kill: told once


@dataclass(frozen=True)
class Pooled:
    """Scores of the first case with the others' evidence added, and how well one common cause fits them all.

    ``hits[name]``: (kills at which it was open, expected by chance). ``common``: log-odds of one cause against several.
    ``alone``: the scores of each kill by itself. ``leak``: the memory rows of all.
    """

    scores: Scores
    alone: list[Scores]
    leak: LeakRows | None
    kills: int
    hits: dict[str, tuple[int, float]]
    ochiai: dict[str, float]
    common: float

    @property
    def alternating(self) -> bool:
        """True when the kills do not look like one cause."""
        return self.common < -ALTERNATING_FROM


def pool(cases: list[Case], weights: Weights) -> Pooled:
    """Pool kills; the first is the one the report is about. Its endpoints are the candidates."""
    lead, others = cases[0], cases[1:]
    alone = [score(case, weights) for case in cases]
    leak = pooled_rows(cases)
    pooled = score(lead, weights, pooled_gains(cases, leak))
    terms: dict[Pattern, dict[str, Floats]] = {}
    for pattern, own in pooled.terms.items():
        extra = sum(
            (_aligned(s, c, lead, pattern) for s, c in zip(alone[1:], others, strict=True)), _zeros(lead)
        )
        terms[pattern] = {**own, "recurrence": _bounded(extra, pattern, lead)}
    none = {
        pattern: {**own, "recurrence": sum(_rest(s.none[pattern]) for s in alone[1:])}
        for pattern, own in pooled.none.items()
    }
    scores = Scores(terms, none)
    return Pooled(
        scores=scores, alone=alone, leak=leak or leak_rows(lead.growth), kills=len(cases), hits=_hits(cases),
        ochiai=_ochiai(cases), common=_common(scores, alone, cases),
    )  # fmt: skip


def _bounded(extra: Floats, pattern: Pattern, lead: Case) -> Floats:
    """What other kills add never carries a fault in flight that was not in flight at this kill."""
    if pattern in ("memory_leak", "background_job"):
        return extra
    here = lead.transient.open + lead.queued > 0
    return np.where(here, extra, np.minimum(extra, 0.0))


def _zeros(case: Case) -> Floats:
    return np.zeros(case.runs.n)


def _rest(terms: dict[str, float]) -> float:
    return sum(value for name, value in terms.items() if name not in LEFT_OUT)


def _aligned(scores: Scores, case: Case, lead: Case, pattern: Pattern) -> Floats:
    """Evidence of another kill (its memory fit left out: that is pooled) for the endpoints of the leading case."""
    own = sum((v for name, v in scores.terms[pattern].items() if name not in LEFT_OUT), _zeros(case))
    place = _places(lead, case)
    return np.array([float(np.clip(own[i], -A_KILL, A_KILL)) if i >= 0 else ABSENT for i in place])


def _places(lead: Case, case: Case) -> list[int]:
    """Index in ``case`` of every endpoint and job of ``lead``; -1 where it did not run."""
    known = {key: i for i, key in enumerate(zip(case.runs.names, case.runs.is_job, strict=True))}
    return [known.get(key, -1) for key in zip(lead.runs.names, lead.runs.is_job, strict=True)]


def pooled_gains(cases: list[Case], leak: LeakRows | None) -> MemoryGains:
    """Leak and steady growth fitted on the rows of all bundles; faults in flight add up on top, kill by kill."""
    lead = cases[0]
    own = memory_gains(lead)
    lasting, steady = _pooled_leak(cases, own, leak)
    starts, seconds = own.starts - own.steady + steady, own.seconds - own.steady + steady
    for case in (other for other in cases[1:] if other.runs.n):
        gains, place = memory_gains(case), np.array(_places(lead, case), dtype=np.int64)
        for total, gain in ((starts, gains.starts), (seconds, gains.seconds)):
            total += np.where(place >= 0, gain[place] - gains.steady, 0.0)
    return MemoryGains(lasting, starts, seconds, steady)


def pooled_rows(cases: list[Case]) -> LeakRows | None:
    """The memory rows of all bundles as one table, with the leading case's endpoints; None of less than two."""
    lead = cases[0]
    first_of_bundle = {id(case.bundle): case for case in reversed(cases) if case.growth is not None}
    back = [
        (case.growth, _places(case, lead)) for case in first_of_bundle.values() if case.growth is not None
    ]
    if len(back) < 2:
        return None
    fine = [
        stack([(growth.fine[min(width, len(growth.fine) - 1)], place) for growth, place in back], lead.runs.n)
        for width in range(max(len(growth.fine) for growth, _ in back))
    ]
    floor = stack([(growth.floor_rows, place) for growth, place in back], lead.runs.n)
    return LeakRows((fine[0], floor), mean_fit(fit_lasting(rows) for rows in fine))


def _pooled_leak(cases: list[Case], own: MemoryGains, leak: LeakRows | None) -> tuple[Floats, float]:
    if leak is None:
        return own.leak, own.steady
    bundles = len({id(case.bundle) for case in cases if case.growth is not None})
    shared = bundles**-SHARED
    return shared * gain_of(leak.fit), shared * steady_gain(leak.fit)


def _common(pooled: Scores, alone: list[Scores], cases: list[Case]) -> float:
    """ln P(kills | one common cause) - ln P(kills | one cause each), both averaged over causes by their prior."""
    together = _evidence(pooled, cases[0])
    apart = sum(_evidence(scores, case) for scores, case in zip(alone, cases, strict=True))
    return float(together - apart)


def _evidence(scores: Scores, case: Case) -> float:
    """ln of the sum over causes of prior times likelihood."""
    logits: list[float] = []
    for pattern in scores.terms:
        mine = case.runs.is_job == (pattern == "background_job")
        logits.extend(float(v) for v in scores.total(pattern)[mine])
    logits.extend(float(sum(terms.values())) for terms in scores.none.values())
    return float(np.logaddexp.reduce(logits)) if logits else 0.0


def _hits(cases: list[Case]) -> dict[str, tuple[int, float]]:
    """Per endpoint of the leading case: kills at which it was open, and how many were expected by chance."""
    lead, found = cases[0], {}
    for e, name in enumerate(lead.runs.names):
        places = [(_case, _places(lead, _case)[e]) for _case in cases] if lead.transient.open[e] else []
        open_ = sum(1 for case, i in places if i >= 0 and case.transient.open[i] > 0)
        chance = sum(float(-np.expm1(-case.transient.expected[i])) for case, i in places if i >= 0)
        if open_:
            found[name] = (open_, tidy(chance))
    return found


def _ochiai(cases: list[Case]) -> dict[str, float]:
    """The count-only spectrum score over containers (died or lived), printed as a baseline."""
    died: dict[str, int] = {}
    lived: dict[str, int] = {}
    for case in cases:
        runs = case.runs
        for e in np.flatnonzero(case.transient.open > 0):
            died[runs.names[e]] = died.get(runs.names[e], 0) + 1
        across = ~runs.dead & (runs.start <= 0) & (runs.end > 0)
        for e, life in sorted(set(zip(runs.who[across].tolist(), runs.life[across].tolist(), strict=True))):
            lived[runs.names[e]] = lived.get(runs.names[e], 0) + int(life >= 0)
    return {
        name: round(hits / np.sqrt(len(cases) * (hits + lived.get(name, 0))), 3)
        for name, hits in sorted(died.items(), key=lambda item: (-item[1], item[0]))
    }


def recurrence_doc(pooled: Pooled) -> dict[str, Any]:
    """What the kills say together, for the report's ``impact``."""
    order = sorted(pooled.hits.items(), key=lambda item: (-item[1][0], item[1][1], item[0]))
    return {
        "kills": pooled.kills, "alternating": pooled.alternating, "common_cause_log_odds": tidy(pooled.common),
        "endpoints": [{"endpoint": n, "open_at": k, "expected": x} for n, (k, x) in order[:10]],
        "ochiai": [{"endpoint": n, "score": s} for n, s in list(pooled.ochiai.items())[:10]],
    }  # fmt: skip


def others_alone(pooled: Pooled, cases: list[Case], weights: Weights) -> list[dict[str, Any]]:
    """The likeliest cause of each other kill by itself: who and what may differ from the one the report is about."""
    found = []
    for case, scores in zip(cases[1:], pooled.alone[1:], strict=True):
        lead = fuse(scores, case, weights)[0]
        found.append({
            "killed_at": iso(case.kill.killed_at), "pod": case.kill.pod_name, "pattern": lead.pattern,
            "suspect": None if lead.who is None else case.runs.names[lead.who], "strength": case.strength(lead),
        })  # fmt: skip
    return found
