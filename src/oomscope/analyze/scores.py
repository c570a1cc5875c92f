"""From measurements to log-odds: every pattern for every endpoint, as named terms in nats that simply add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from oomscope.analyze.case import Case
from oomscope.analyze.growth import Fit
from oomscope.analyze.weights import Weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oomscope.report import Pattern

    Floats = NDArray[np.float64]
    Terms = dict[str, Floats]

BIG_BODY, BIG_RATIO = 256 * 1024, 8.0
BIG_RESPONSE = 1 << 20
SPIKE_RATIO = 4.0
RUNAWAY_AGE_S, RUNAWAY_RATIO = 5.0, 5.0
NO_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")
ENDPOINT_PATTERNS: tuple[Pattern, ...] = (
    "large_response", "large_payload", "memory_leak", "concurrent_spike", "runaway_request",
)  # fmt: skip


@dataclass(frozen=True)
class Scores:
    """``terms[pattern][name]``: nats for every endpoint; ``none[pattern][name]``: causes without one endpoint."""

    terms: dict[Pattern, Terms]
    none: dict[Pattern, dict[str, float]]

    def total(self, pattern: Pattern) -> Floats:
        """Sum of the terms of a pattern, per endpoint."""
        return np.sum(list(self.terms[pattern].values()), axis=0)


def odds_of(surprise: Floats) -> Floats:
    """Largest log-odds a p-value of e^-surprise can lend to an alternative (Sellke, Bayarri and Berger 2001)."""
    safe = np.maximum(surprise, 1.0)
    return np.maximum(safe - 1.0 - np.log(safe), 0.0)


def score(case: Case, weights: Weights) -> Scores:
    """All terms of all causes. Endpoints and jobs are scored alike; the gate keeps jobs to their own pattern."""
    shared = _shared(case, weights)
    terms: dict[Pattern, Terms] = {
        "large_response": _large_response(case, weights, shared),
        "large_payload": _large_payload(case, weights, shared),
        "memory_leak": _memory_leak(case, weights),
        "concurrent_spike": _concurrent_spike(case, weights, shared),
        "runaway_request": _runaway(case, weights, shared),
    }
    terms["background_job"] = _background_job(case, terms)
    n = case.runs.n
    for pattern in terms:
        terms[pattern]["prior"] = np.full(n, weights.prior[pattern] - np.log(max(n, 1)))
    return Scores(terms, _no_culprit(case, weights))


# ---------------------------------------------------------------------------------------------------- shared terms


def _capped(values: Floats, name: str, weights: Weights) -> Floats:
    return weights.weights[name] * np.clip(values, 0.0, weights.caps[name])


def _evidence(fit: Fit | None, n: int) -> Floats:
    """Log-likelihood ratio less the price of its one free number (half a log of the rows)."""
    if fit is None:
        return np.zeros(n)
    return np.maximum(fit.ll - 0.5 * np.log(max(fit.rows, 2)), 0.0)


def _shared(case: Case, weights: Weights) -> Terms:
    t = case.transient
    return {
        "count": _capped(odds_of(t.count), "count", weights),
        "age": _capped(odds_of(t.age), "age", weights),
        "time": _in_time(case),
    }


def grown_while_open(case: Case) -> Floats:
    """Share of the growth (base level to limit) that came while the oldest open request of each endpoint was open.

    NaN where nothing is open or memory is unknown.
    """
    memory, oldest = case.memory, case.transient.oldest
    share = np.full(case.runs.n, np.nan)
    curve = memory.dead
    if curve is None or not memory.growth_bytes or memory.base_bytes is None:
        return share
    top = memory.base_bytes + memory.growth_bytes
    level = np.interp(-oldest, curve.t, curve.y)
    share = np.clip((top - level) / memory.growth_bytes, 0.0, 1.0)
    return np.where(oldest > 0, share, np.nan)


def _in_time(case: Case) -> Floats:
    """Against: the open requests began after most of the memory was already taken (0 to -4 nats)."""
    share = grown_while_open(case)
    late = -4.0 * np.clip(0.5 - share, 0.0, 0.5) / 0.5
    known = case.memory.dead is not None
    return np.where(np.isnan(share), -4.0 if known else 0.0, late)


def _growth(case: Case, weights: Weights, *names: str) -> Floats:
    if case.growth is None:
        return np.zeros(case.runs.n)
    best = np.max([_evidence(getattr(case.growth, name), case.runs.n) for name in names], axis=0)
    return _capped(best, "growth", weights)


# ------------------------------------------------------------------------------------------------------ patterns


def _large_response(case: Case, weights: Weights, shared: Terms) -> Terms:
    t = case.transient
    big = (t.sent_max >= BIG_RESPONSE) & (t.sent > 3.0)
    return {
        "count": shared["count"], "age": shared["age"], "time": 0.5 * shared["time"],
        "growth": _growth(case, weights, "seconds"),
        "sent": np.where(big, _capped(t.sent, "sent", weights), 0.0),
        "allocs": _capped(t.allocs, "allocs", weights),
    }  # fmt: skip


def _large_payload(case: Case, weights: Weights, shared: Terms) -> Terms:
    t = case.transient
    known = ~np.isnan(t.received_open)
    big = known & (t.received_open >= BIG_BODY) & (t.received > 3.0)
    bodiless = np.array([(case.names.pattern(name)[0] or "") in NO_BODY for name in case.runs.names])
    against = np.where(known & ~big, -4.0, np.where(bodiless, -6.0, np.where(known, 0.0, -2.0)))
    return {
        "count": shared["count"], "age": 0.5 * shared["age"],
        "growth": _growth(case, weights, "starts", "seconds"),
        "received": np.where(big, _capped(t.received, "received", weights), against),
    }  # fmt: skip


def _memory_leak(case: Case, weights: Weights) -> Terms:
    if case.growth is None:
        return {"growth": np.full(case.runs.n, -3.0)}
    n = case.runs.n
    mean = 0.5 * (_evidence(case.growth.done, n) + _evidence(case.growth.floor, n))
    return {"growth": weights.weights["floor"] * np.minimum(mean, weights.caps["growth"])}


def _concurrent_spike(case: Case, weights: Weights, shared: Terms) -> Terms:
    t = case.transient
    ratio = t.recent / np.maximum(t.recent_expected, 0.5)
    return {
        "count": shared["count"], "time": shared["time"],
        "arrivals": np.where(ratio >= SPIKE_RATIO, _capped(odds_of(t.arrivals), "arrivals", weights), -3.0),
        "growth": _growth(case, weights, "starts", "seconds"),
    }  # fmt: skip


def _runaway(case: Case, weights: Weights, shared: Terms) -> Terms:
    t = case.transient
    long = (t.oldest >= RUNAWAY_AGE_S) & (t.oldest >= RUNAWAY_RATIO * case.base.w)
    few = np.where(t.open > 3, -3.0, 0.0)
    return {
        "age": np.where(long, shared["age"] / 0.6 * 0.9, -4.0), "few": few, "time": shared["time"],
        "growth": _growth(case, weights, "seconds"),
    }  # fmt: skip


def _background_job(case: Case, terms: dict[Pattern, Terms]) -> Terms:
    """A job may hold, leak or run away: its best case among those."""
    kinds: tuple[Pattern, ...] = ("large_response", "memory_leak", "runaway_request")
    totals = np.array([np.sum(list(terms[kind].values()), axis=0) for kind in kinds])
    best = totals.argmax(axis=0)
    names = sorted({name for kind in kinds for name in terms[kind]})
    zero = np.zeros(case.runs.n)
    return {name: np.choose(best, [terms[kind].get(name, zero) for kind in kinds]) for name in names}


def _no_culprit(case: Case, weights: Weights) -> dict[Pattern, dict[str, float]]:
    """Causes without one endpoint, on the same scale."""
    steady = 0.0
    if case.growth is not None:
        fits = (case.growth.done, case.growth.floor)
        steady = float(np.mean([max(f.total_ll - 0.5 * np.log(max(f.rows, 2)), 0.0) for f in fits]))
    steady = weights.weights["floor"] * min(steady, weights.caps["growth"])
    return {
        "undersized_limit": {"prior": weights.prior["undersized_limit"] - np.log(max(case.runs.n, 1))},
        "process_growth": {
            "prior": weights.prior["process_growth"] - np.log(max(case.runs.n, 1)), "growth": steady,
        },
    }  # fmt: skip
