"""From measurements to log-odds: every pattern for every endpoint, as named terms in nats that simply add up.

Each term is a capped log-likelihood ratio (or a plain yes/no) times one weight of ``data/weights.json``. The memory
term is relative: the fit of this endpoint against all traffic together, so that what all explain counts for none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from oomscope.analyze.case import Case
from oomscope.analyze.gains import MemoryGains, Relative, memory_gains
from oomscope.analyze.weights import Weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oomscope.report import Pattern

    Floats = NDArray[np.float64]
    Terms = dict[str, Floats]

BIG_BODY, BIG_RESPONSE = 256 << 10, 1 << 20
STANDS_OUT = 3.0  # nats of surprise from which a size counts as large for its endpoint
SPIKE_RATIO, SPIKE_EXTRA, SPIKE_OPEN = 3.0, 12.0, 4.0
SHORT_WORK_S, CAUGHT = 0.02, 3.0
ENOUGH_ROWS = 30
BUSY_WHEN_MEASURED = 0.4  # with memory samples the fit says it better
RUNAWAY_AGE_S, RUNAWAY_RATIO, RUNAWAY_OPEN = 5.0, 3.0, 3
SAME_OPEN, SAME_SHARE, USUAL_SHARE = 3, 0.7, 0.5
NO_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")
ENDPOINT_PATTERNS: tuple[Pattern, ...] = (
    "large_response",
    "large_payload",
    "memory_leak",
    "concurrent_spike",
    "runaway_request",
)
NOBODY_PATTERNS: tuple[Pattern, ...] = ("undersized_limit", "process_growth")
WHO = ("busy", "work")
JOB_FORMS: tuple[Pattern, ...] = ("large_response", "memory_leak", "runaway_request")


@dataclass(frozen=True)
class Scores:
    """``terms[pattern][name]``: nats for every endpoint; ``none[pattern][name]``: causes without one endpoint."""

    terms: dict[Pattern, Terms]
    none: dict[Pattern, dict[str, float]]

    def total(self, pattern: Pattern) -> Floats:
        """Sum of the terms of a pattern, per endpoint."""
        return np.asarray(np.sum(list(self.terms[pattern].values()), axis=0))


def odds_of(surprise: Floats) -> Floats:
    """Largest log-odds a p-value of e^-surprise can lend to an alternative (Sellke, Bayarri and Berger 2001)."""
    safe = np.maximum(surprise, 1.0)
    return np.asarray(np.maximum(safe - 1.0 - np.log(safe), 0.0))


def score(case: Case, weights: Weights, memory: MemoryGains | None = None) -> Scores:
    """All terms of all causes. Endpoints and jobs are scored alike; the gate keeps jobs to their own pattern.

    ``memory``: gains pooled over several kills, instead of this case's own.
    """
    raw = raw_terms(case, weights, memory)
    jobs = case.runs.is_job
    terms: dict[Pattern, Terms] = {}
    for pattern, values in raw.terms.items():
        terms[pattern] = {name: weights.weights[name] * value for name, value in values.items()}
    terms["background_job"] = _best_form(terms, case.runs.n)
    terms = {
        pattern: _shared_out(
            weights.log_prior(pattern), values, jobs if pattern == "background_job" else ~jobs
        )
        for pattern, values in terms.items()
    }
    none = {
        pattern: {
            **{name: weights.weights[name] * value for name, value in values.items()},
            "prior": weights.log_prior(pattern),
        }
        for pattern, values in raw.none.items()
    }
    return Scores(terms, none)


def raw_terms(case: Case, weights: Weights, gains: MemoryGains | None = None) -> Scores:
    """The terms before their weights: what a refit starts from."""
    cap = weights.caps
    memory = Relative(gains or memory_gains(case), cap["growth"])
    shared = {
        "count": np.clip(odds_of(case.transient.count), 0, cap["count"]),
        "age": np.clip(odds_of(case.transient.age), 0, cap["age"]) * _time_enough(case.transient.own_age),
        "time": _in_time(case),
        "sudden": np.full(case.runs.n, _sudden(case)),
    }
    same = _same_input(case)
    work = _work(case)
    for_jobs = {"work": np.where(case.runs.is_job, work, 0.0)}  # whatever form a job's fault has
    slow = np.clip(odds_of(case.transient.slow), 0, cap["slow"])
    terms: dict[Pattern, Terms] = {
        "large_response": {
            **shared,
            **_response(case, cap),
            "slow": slow,
            "alone": _alone(case),
            "same_input": same,
            "growth": memory.of("seconds"),
            "share": _share(case, "seconds"),
            **for_jobs,
        },
        "large_payload": {
            **shared,
            **_payload(case, cap),
            "slow": slow,
            "growth": memory.of("starts", "seconds"),
            "share": _share(case, "starts", "seconds"),
        },
        "memory_leak": {
            "growth": memory.of("leak"),
            "share": _share(case, "done", "floor"),
            "rise": np.full(case.runs.n, _ordinary_rise(case)),
            "busy": _busy(case),
            "work": work,
            "caught": _caught(case),
        },
        "concurrent_spike": {
            "count": shared["count"],
            "time": shared["time"],
            "sudden": shared["sudden"],
            **_arrivals(case, cap),
            "together": _together(case),
            "same_input": -same,
            "growth": memory.of("starts", "seconds"),
            "share": _share(case, "starts", "seconds"),
        },
        "runaway_request": {
            "age": shared["age"],
            "time": shared["time"],
            "sudden": shared["sudden"],
            **_runaway(case),
            "same_input": same,
            "growth": memory.of("seconds"),
            "share": _share(case, "seconds"),
            **for_jobs,
        },
    }
    return Scores(terms, _nobody(case, memory))


def _nobody(case: Case, memory: Relative) -> dict[Pattern, dict[str, float]]:
    """Raw terms of the causes without one endpoint."""
    return {
        "undersized_limit": {
            "growth": memory.of_nothing,
            "rise": _ordinary_rise(case),
            "tight": _tight(case),
        },
        "process_growth": {
            "growth": memory.of_all,
            "rise": _ordinary_rise(case),
            "one_explains": memory.one_explains if case.growth is not None else 0.0,
        },
    }


def _shared_out(log_prior: float, terms: Terms, among: NDArray[np.bool_]) -> Terms:
    """The terms with a pattern's prior, shared out among its suspects by those terms that tell beforehand who it
    would be. Somebody is always the busiest, which is nothing for the pattern: what the likely ones have on average
    is taken off everyone, so that these terms only move a prior that is else even."""
    told = {name: terms[name] for name in WHO if name in terms and terms[name][among].any()}
    prior = np.full(among.size, log_prior - float(np.log(max(int(among.sum()), 1))))
    if not told:
        return {**terms, "prior": prior}
    who = np.sum(list(told.values()), axis=0)
    whole = float(np.logaddexp.reduce(who[among]))
    likely = np.where(among, np.exp(who - whole), 0.0)
    average = {name: float(likely @ values) for name, values in told.items()}
    surplus = (whole - float(np.log(among.sum())) - sum(average.values())) / len(average)
    return {**terms, **{name: told[name] - average[name] - surplus for name in told}, "prior": prior}


def _best_form(terms: dict[Pattern, Terms], n: int) -> Terms:
    """A job may hold, leak or run away: its best case among those."""
    forms = [{k: v for k, v in terms[form].items() if k != "prior"} for form in JOB_FORMS]
    best = np.array([np.sum(list(form.values()), axis=0) for form in forms]).argmax(axis=0)
    zero = np.zeros(n)
    names = sorted({name for form in forms for name in form})
    return {name: np.choose(best, [form.get(name, zero) for form in forms]) for name in names}


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
    return np.asarray(np.where(oldest > 0, share, np.nan))


def _time_enough(oldest: Floats) -> Floats:
    """A request that ran for a blink cannot have taken much: age counts in full from a second on."""
    return np.clip(oldest, 0.0, 1.0)


def _in_time(case: Case) -> Floats:
    """-1 when nothing of it was open, or when its open requests began after the memory was taken; 0 when in time.

    Also 0 for all when no source tells what was open: that is no evidence of absence.
    """
    share = grown_while_open(case)
    late = -np.clip(0.4 - share, 0.0, 0.4) / 0.4
    absent = np.where(case.unseen | (case.transient.open + case.queued > 0), 0.0, -1.0)
    return np.asarray(np.where(np.isnan(share), absent, late))


def _share(case: Case, *names: str) -> Floats:
    """Against: the fit accounts for little of the growth it should explain (0 at half of it and more, -3 at 2.5 %)."""
    if case.growth is None:
        return np.zeros(case.runs.n)
    share = np.max([getattr(case.growth, name).share for name in names], axis=0)
    return np.asarray(np.clip(np.log(np.maximum(share, 0.025) / 0.5), -3.0, 0.0))


def _ordinary_rise(case: Case) -> float:
    """Against slow causes: the last rise was far larger than any usual one (ln of the ratio, -3..0.7)."""
    ratio = case.memory.last_rise
    return 0.0 if ratio is None else float(np.clip(-np.log(max(ratio, 0.5)), -3.0, 0.7))


def _sudden(case: Case) -> float:
    """Against faults in flight: the last minutes rose no more than usual ones (0 at twice the usual, -1.5 at 45 %)."""
    ratio = case.memory.late_rise
    return 0.0 if ratio is None else float(np.clip(np.log(max(ratio, 0.1) / 2.0), -1.5, 0.0))


def _tight(case: Case) -> float:
    """How near the limit memory already was early in the life (0 at 80 %, +1.5 at 92 % and more, -2 at 64 %)."""
    share = case.memory.early_share
    return 0.0 if share is None else float(np.clip((share - 0.8) / 0.08, -2.0, 1.5))


def _busy(case: Case) -> Floats:
    """ln of the runs of each endpoint against the usual one's: the more runs, the smaller a leak that can kill."""
    known = 1.0 - (1.0 - BUSY_WHEN_MEASURED) * _measured(case)
    more = _against_usual(finished_here(case)[0], 1.0)
    return np.asarray(np.where(case.runs.is_job, 0.0, known * more))


def _work(case: Case) -> Floats:
    """ln of the time its runs took together against the usual one's: what is kept must have been built.

    Only without memory samples, or with a handful: with more the fit says it better.
    """
    return (1.0 - _measured(case)) * _against_usual(finished_here(case)[1], SHORT_WORK_S)


def _measured(case: Case) -> float:
    """How much the memory rows can tell of who leaks: 0 without any, 1 from so many on."""
    return 0.0 if case.growth is None else min(case.growth.done.rows / ENOUGH_ROWS, 1.0)


def _caught(case: Case) -> Floats:
    """-ln of the chance that a run of it is open at a random moment, where one was at the kill (3 at most).

    A limit is often met by one who takes memory to keep it.
    """
    chance = -np.expm1(-np.maximum(case.transient.expected, 1e-9))
    return np.asarray(np.where(case.transient.open > 0, np.clip(-np.log(chance), 0.0, CAUGHT), 0.0))


def finished_here(case: Case) -> tuple[Floats, Floats]:
    """How many runs of each endpoint ended in the instance that died, and the seconds they took together.

    Those of all instances where it is not known which ran what there.
    """
    ended = ~case.runs.open & ~np.isnan(case.runs.end)
    here = ended & case.runs.dead
    ended = here if here.any() else ended
    return case.runs.count(ended), case.runs.count(ended, np.where(ended, case.runs.duration, 0.0))


def _against_usual(values: Floats, least: float) -> Floats:
    """ln of each value against the median one; ``least``: so little is next to nothing."""
    if not values.size:
        return np.zeros(0)
    logs = np.log(np.maximum(values, least))
    return np.asarray(np.clip(logs - np.log(max(float(np.median(values)), least)), -2.0, 4.0))


# ----------------------------------------------------------------------------------------------------- patterns


def _response(case: Case, cap: dict[str, float]) -> Terms:
    t = case.transient
    big = (np.nan_to_num(t.sent_max) >= BIG_RESPONSE) & (t.sent > STANDS_OUT)
    return {
        "sent": np.where(big, np.clip(t.sent, 0, cap["sent"]), 0.0),
        "allocs": np.clip(t.allocs, 0, cap["allocs"]),
    }


def _payload(case: Case, cap: dict[str, float]) -> Terms:
    t = case.transient
    known = ~np.isnan(t.received_open)
    big = known & (np.nan_to_num(t.received_open) >= BIG_BODY) & (t.received > STANDS_OUT)
    bodiless = np.array(
        [(case.names.pattern(name)[0] or "") in NO_BODY for name in case.runs.names], dtype=bool
    )
    no_body = np.where(bodiless, -1.5, np.where(known & ~big, -1.0, np.where(known, 0.0, -0.5)))
    return {
        "received": np.where(big, np.clip(t.received, 0, cap["received"]), 0.0),
        "no_body": np.where(big, 0.0, no_body),
    }


def _arrivals(case: Case, cap: dict[str, float]) -> Terms:
    """A spike is many times the usual rate, beyond what all traffic grew by; a handful more is a small one."""
    arrivals, common = case.transient.arrivals, np.sqrt(case.transient.traffic.others_busier)
    burst = arrivals.recent >= SPIKE_RATIO * common * np.maximum(arrivals.expected, 0.5)
    extra = np.clip((arrivals.recent - arrivals.expected) / SPIKE_EXTRA, 0.0, 1.0)
    return {
        "arrivals": np.where(burst, np.clip(odds_of(arrivals.surprise), 0, cap["arrivals"]), 0.0),
        "no_burst": np.where(burst, extra, 0.0) - 1.0,
    }


def _together(case: Case) -> Floats:
    """Against a spike: -1 when at most one was open or waiting at the kill; 0 from four on, or when nobody saw."""
    missing = (SPIKE_OPEN - case.transient.open - case.queued) / (SPIKE_OPEN - 1)
    return np.where(case.unseen, 0.0, -np.clip(missing, 0.0, 1.0))


def _alone(case: Case) -> Floats:
    """-1 when a single unusually long request is open, less with a second and third: that is a runaway."""
    few = np.clip((RUNAWAY_OPEN + 1 - case.transient.open) / RUNAWAY_OPEN, 0.0, 1.0)
    return np.where(_long(case) & (case.transient.open >= 1), -few, 0.0)


def _long(case: Case) -> NDArray[np.bool_]:
    t = case.transient
    return (t.own_age >= RUNAWAY_AGE_S) & (t.own_age >= RUNAWAY_RATIO * case.base.w)


def _same_input(case: Case) -> Floats:
    """1 where three or more open requests of an endpoint ask for the same thing, which is rare for it otherwise."""
    same = np.zeros(case.runs.n)
    flight = case.flight.requests
    for e in np.flatnonzero((case.transient.open >= SAME_OPEN) & ~case.runs.is_job):
        paths = flight.filter(pl.col("endpoint") == case.runs.names[e])["path"].drop_nulls()
        top = paths.value_counts(sort=True, name="n").sort(["n", "path"], descending=[True, False]).head(1)
        if not len(top) or top["n"][0] < SAME_SHARE * len(paths):
            continue
        rows = case.runs.request_row[(case.runs.who == e) & ~case.runs.open & (case.runs.request_row >= 0)]
        usual = case.bundle.requests["path"][rows]
        same[e] = float(len(usual) > 0 and float((usual == top["path"][0]).sum()) < USUAL_SHARE * len(usual))
    return same


def _runaway(case: Case) -> Terms:
    t = case.transient
    long = _long(case)
    return {
        "not_long": np.where(long | case.unseen, 0.0, -1.0),
        "few": np.where(t.open > RUNAWAY_OPEN, -1.0, 0.0),
    }
