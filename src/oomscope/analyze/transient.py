"""Evidence from what was in flight: too many, too old, too frequent, too big. All in nats of surprise (-ln p).

Under innocence the open requests of endpoint e are Poisson with mean lambda_e W_e and their ages follow the residual
law of its durations; count and age are independent, so their surprises add.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betainc, log_ndtr, ndtr

from oomscope.analyze.baseline import Baseline
from oomscope.analyze.runs import Runs
from oomscope.analyze.standstill import Standstill

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

TINY = 1e-300
MIN_AGE_S = 0.02
AGE_SPAN = np.log(1200.0)  # ages of guilty requests: log-uniform on [0.1, 120] s
MAX_COMMON = 4.0  # times the usual traffic that a rise of all traffic together may explain
ARRIVAL_WINDOWS_S = (2.0, 5.0, 10.0, 30.0)
OUTSIZED, OUTSIZED_OWN, OUTSIZED_NATS = 3.0, 5.0, 6.0
FEW_OWN, MANY_OTHERS = 6, 20
LATE_END_S = 20.0  # runs that ended so shortly before the kill may have been survived versions of what killed
BODY_KEPT_S = 60.0  # what a large body left behind is still in the heap for about that long


@dataclass(frozen=True)
class Waiting:
    """Requests that only the load balancer saw: endpoint, seconds since creation, body bytes (NaN: unknown), row."""

    who: NDArray[np.int64]
    age: Floats
    received: Floats
    row: NDArray[np.int64]


@dataclass(frozen=True)
class Arrivals:
    """Per endpoint: ``surprise`` of the starts in a window of seconds, ``recent`` of them against ``expected``."""

    surprise: Floats
    recent: Floats
    expected: Floats
    window: Floats

    @property
    def others_busier(self) -> Floats:
        """Starts of all other endpoints against what was expected of them; 1 at least."""
        usual = np.maximum(self.expected.sum() - self.expected, 1e-9)
        return np.asarray(np.maximum((self.recent.sum() - self.recent) / usual, 1.0))


@dataclass(frozen=True)
class Transient:
    """Per endpoint: ``open`` at the kill, ``expected``; surprises ``count``, ``age``, ``slow`` (runs that ended in
    the last seconds), ``received``, ``sent``, ``allocs``. ``oldest`` seconds (0: none open), ``own_age`` without what
    all open requests share. ``arrivals``: each in the window that tells most; ``traffic``: all in the longest one.

    ``request_llr``: per run, log-likelihood ratio "this open request is the bad one"; NaN where not open.
    """

    open: Floats
    expected: Floats
    oldest: Floats
    own_age: Floats
    count: Floats
    age: Floats
    slow: Floats
    arrivals: Arrivals
    traffic: Arrivals
    received: Floats
    received_open: Floats
    sent: Floats
    sent_max: Floats
    allocs: Floats
    request_llr: Floats


def score_transient(runs: Runs, base: Baseline, waiting: Waiting, still: Standstill) -> Transient:
    """All transient surprises."""
    open_ = runs.count(runs.open)
    age, oldest, own_age = _age_surprise(runs, base, still)
    arrivals, longest = _arrival_surprise(runs, base, waiting)
    received, received_open = _received_surprise(runs, waiting)
    sent, sent_max = _tail_surprise(runs, runs.sent)
    sent = np.maximum(sent, _outsized(runs, runs.sent, sent_max))
    allocs, _ = _tail_surprise(runs, runs.allocs)
    return Transient(
        open=open_,
        expected=base.expected_open,
        oldest=oldest,
        own_age=own_age,
        count=_count_surprise(open_, base, still),
        age=age,
        slow=_slow_surprise(runs, base),
        arrivals=arrivals,
        traffic=longest,
        received=received,
        received_open=received_open,
        sent=sent,
        sent_max=sent_max,
        allocs=allocs,
        request_llr=_request_llr(runs, base, still),
    )


def poisson_tail(x: Floats, r: Floats, exposure: float, horizon: Floats) -> Floats:
    """-ln P(X >= x) for a count over ``horizon`` when r - 1/2 were seen over ``exposure`` (Gamma-Poisson)."""
    q = horizon / (horizon + max(exposure, 1e-9))
    tail = np.where(x > 0, betainc(np.maximum(x, 1e-9), r, np.clip(q, 1e-12, 1 - 1e-12)), 1.0)
    return -np.log(np.maximum(tail, TINY))


def _count_surprise(open_: Floats, base: Baseline, still: Standstill) -> Floats:
    horizon = base.w * base.stall_e + still.queue_s
    return poisson_tail(open_, base.count + 0.5, base.exposure_s, horizon)


def _age_surprise(runs: Runs, base: Baseline, still: Standstill) -> tuple[Floats, Floats, Floats]:
    """Oldest open request against the residual law, corrected for how many were open (Sidak); its age, and its own."""
    surprise, oldest, own = np.zeros(runs.n), np.zeros(runs.n), np.zeros(runs.n)
    who, raw = runs.who[runs.open], np.maximum(runs.age[runs.open], MIN_AGE_S)
    age = np.maximum(still.own(raw), MIN_AGE_S)
    p = residual_tail(age, base.mu[who] + np.log(base.stall_e[who]), base.sigma[who])
    for e in np.unique(who):
        mine = who == e
        surprise[e] = -np.log(
            max(-np.expm1(mine.sum() * np.log1p(-min(float(p[mine].min()), 1 - 1e-12))), TINY)
        )
        oldest[e], own[e] = raw[mine].max(), age[mine].max()
    return surprise, oldest, own


def _slow_surprise(runs: Runs, base: Baseline) -> Floats:
    """The slowest run that ended in the last seconds, against durations before and what all others lost then.

    A queue or a standstill adds the same seconds to every endpoint; the median of what they lost is taken off.
    """
    surprise = np.zeros(runs.n)
    late = runs.dead & ~runs.open & (runs.end > -LATE_END_S)
    who, lasted = runs.who[late], runs.duration[late]
    lost = np.maximum(lasted - np.exp(base.mu[who]), 0.0)
    endpoints = np.unique(who)
    common = float(np.median([lost[who == e].max() for e in endpoints])) if endpoints.size else 0.0
    own = np.log(np.maximum(lasted - common, MIN_AGE_S))
    z = (own - base.mu[who] - np.log(base.stall_e[who])) / base.sigma[who]
    for e in endpoints:
        surprise[e] = _sidak(float(z[who == e].max()), int((who == e).sum()))
    return surprise


def residual_tail(age: Floats, mu: Floats, sigma: Floats) -> Floats:
    """P(age of an open request >= age) for lognormal durations: integral of the survival function over the mean."""
    mean = np.exp(mu + sigma**2 / 2)
    z = (mu - np.log(age)) / sigma
    return np.asarray(np.clip((mean * ndtr(z + sigma) - age * ndtr(z)) / mean, 1e-12, 1.0))


def _arrival_surprise(runs: Runs, base: Baseline, waiting: Waiting) -> tuple[Arrivals, Arrivals]:
    """Starts on the dead pod in the last seconds, against the endpoint's share of all traffic then.

    A spike may have lasted a second or half a minute: several windows, the most surprising one (paid for), and the
    longest.
    """
    longest = float(min(ARRIVAL_WINDOWS_S[-1], base.guard_s))
    windows = [w for w in ARRIVAL_WINDOWS_S if w < longest] + [longest]
    looks = [_arrivals_in(runs, base, waiting, window) for window in windows]
    best = np.argmax([look.surprise for look in looks], axis=0)

    def chosen(name: str) -> Floats:
        return np.asarray(np.choose(best, [getattr(look, name) for look in looks]), dtype=float)

    paid = np.maximum(chosen("surprise") - np.log(len(windows)), 0.0)
    return Arrivals(paid, chosen("recent"), chosen("expected"), chosen("window")), looks[-1]


def _arrivals_in(runs: Runs, base: Baseline, waiting: Waiting, window: float) -> Arrivals:
    queued = np.bincount(waiting.who[waiting.age < window], minlength=runs.n)
    recent = runs.count(runs.dead & (runs.start > -window)) + queued
    look = Arrivals(np.zeros(runs.n), recent, base.rate * window, np.full(runs.n, window))
    horizon = look.window * np.minimum(look.others_busier, MAX_COMMON)
    return replace(look, surprise=poisson_tail(recent, base.count + 0.5, base.exposure_s, horizon))


def _sizes(values: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.log(np.maximum(values, 100.0))


def _robust(values: Floats, pseudo: float, prior: float, floor: float) -> tuple[float, float]:
    """Median and shrunk robust deviation."""
    centre = float(np.median(values))
    mad = float(np.median(np.abs(values - centre))) * 1.4826
    return centre, max((mad * values.size + prior * pseudo) / (values.size + pseudo), floor)


def _sidak(z: float, n: int) -> float:
    p = float(np.exp(log_ndtr(-z)))
    return -float(np.log(max(-np.expm1(max(n, 1) * np.log1p(-min(p, 1 - 1e-12))), TINY)))


def _received_surprise(runs: Runs, waiting: Waiting) -> tuple[Floats, Floats]:
    """Body sizes of open, waiting and just ended requests against the earlier ones of the endpoint (all, where it
    has none)."""
    surprise, largest = np.zeros(runs.n), np.full(runs.n, np.nan)
    known = ~np.isnan(runs.received)
    sizes = _sizes(runs.received)
    ours = known & (runs.open | (runs.dead & (runs.end > -BODY_KEPT_S)))
    done = known & ~ours
    overall = sizes[done] if done.any() else np.array([np.log(1000.0)])
    queued = ~np.isnan(waiting.received)
    who = np.concatenate([runs.who[ours], waiting.who[queued]])
    bytes_ = np.concatenate([runs.received[ours], waiting.received[queued]])
    for e in np.unique(who):
        mine = bytes_[who == e]
        history = sizes[done & (runs.who == e)]
        centre, spread = _robust(history if history.size else overall, 5.0, 1.0, 0.3)
        largest[e] = float(mine.max())
        z = (float(_sizes(mine).max()) - centre) / spread
        surprise[e] = min(_sidak(z, mine.size), 25.0)
    return np.maximum(surprise, _outsized(runs, runs.received, largest)), largest


def _tail_surprise(runs: Runs, values: Floats) -> tuple[Floats, Floats]:
    """How far the largest finished run of an endpoint stands out from its own others: survived versions of a killer."""
    surprise, largest = np.zeros(runs.n), np.full(runs.n, np.nan)
    known = ~np.isnan(values) & ~np.isnan(runs.end)
    sizes = _sizes(values)
    for e in np.unique(runs.who[known]):
        mine = sizes[known & (runs.who == e)]
        largest[e] = float(values[known & (runs.who == e)].max())
        if mine.size >= 4:
            centre, spread = _robust(mine, 5.0, 0.6, 0.2)
            surprise[e] = min(_sidak((float(mine.max()) - centre) / spread, mine.size), 25.0)
    return surprise, largest


def _outsized(runs: Runs, values: Floats, largest: Floats) -> Floats:
    """An endpoint whose largest size is several times what nearly all others stay below, and not usual for it.

    For endpoints with too short a history, or one full of survived bad runs, to stand out against themselves. Every
    factor e beyond that is a nat more.
    """
    done = ~np.isnan(values) & ~runs.open
    out = np.zeros(runs.n)
    for e in np.flatnonzero(~np.isnan(largest)):
        own, others = values[done & (runs.who == e)], values[done & (runs.who != e)]
        unusual = own.size < FEW_OWN or largest[e] > OUTSIZED_OWN * float(np.quantile(own, 0.25))
        if unusual and others.size >= MANY_OTHERS:
            times = largest[e] / max(OUTSIZED * float(np.quantile(others, 0.99)), 1.0)
            out[e] = OUTSIZED_NATS + float(np.log(times)) if times > 1 else 0.0
    return out


def _request_llr(runs: Runs, base: Baseline, still: Standstill) -> Floats:
    """ln g(age) - ln(lambda_e S_e(age)) of every open run: ranks requests, and sums to endpoints."""
    llr = np.full(runs.who.size, np.nan)
    who, age = runs.who[runs.open], np.maximum(still.own(runs.age[runs.open]), MIN_AGE_S)
    z = (np.log(age) - base.mu[who] - np.log(base.stall_e[who])) / base.sigma[who]
    survival = np.maximum(log_ndtr(-z), -15.0)
    llr[runs.open] = -np.log(age * AGE_SPAN) - np.log(base.rate[who]) - survival
    return llr
