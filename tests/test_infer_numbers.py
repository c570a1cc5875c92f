"""The formulas: Little's law with estimated rates, residual ages, memory shape, single-culprit growth."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from oomscope.analyze.activity import Activity
from oomscope.analyze.case import Case, measure
from oomscope.analyze.growth import fit_lasting
from oomscope.analyze.memory import read_memory
from oomscope.analyze.scores import grown_while_open, odds_of, raw_terms, score
from oomscope.analyze.transient import poisson_tail, residual_tail
from oomscope.analyze.weights import load_weights
from tests.infer_help import (
    CONTAINER_ID,
    KILLED_AT,
    MIB,
    POD,
    STREAM,
    at,
    bundle,
    joined,
    kill_case,
    memory,
    ordinary,
    request,
)


def case_of(evidence: Any, **kill: Any) -> Case:
    found = kill_case(**kill)
    return measure(evidence, found, joined(evidence, found))


def who(case: Case, name: str) -> int:
    return case.runs.names.index(name)


@given(x=st.integers(1, 60), n=st.integers(0, 5000), exposure=st.floats(10, 1e5), w=st.floats(0.01, 100))
def test_count_tail_is_the_negative_binomial_one(x: int, n: int, exposure: float, w: float) -> None:
    mine = poisson_tail(np.array([float(x)]), np.array([n + 0.5]), exposure, np.array([w]))[0]
    theirs = -stats.nbinom.logsf(x - 1, n + 0.5, exposure / (exposure + w))
    assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-7) or min(mine, theirs) > 690  # underflow


def test_none_open_is_no_surprise() -> None:
    assert poisson_tail(np.zeros(1), np.array([10.5]), 100.0, np.ones(1))[0] == 0.0


@given(age=st.floats(0.02, 300), mu=st.floats(-4, 3), sigma=st.floats(0.2, 1.5))
def test_residual_law_is_the_integral_of_the_survival_function(age: float, mu: float, sigma: float) -> None:
    law = stats.lognorm(s=sigma, scale=math.exp(mu))
    grid = np.concatenate([[0.0], np.geomspace(1e-5, age, 20_000)])
    whole = integrate.trapezoid(law.sf(grid), grid)
    got = residual_tail(np.array([age]), np.array([mu]), np.array([sigma]))[0]
    assert got == pytest.approx(max(1 - whole / law.mean(), 0.0), rel=2e-2, abs=1e-3)


@given(st.floats(0, 500))
def test_odds_of_a_surprise_never_exceed_it(surprise: float) -> None:
    assert 0 <= odds_of(np.array([surprise]))[0] <= surprise


@given(
    runs=st.lists(st.tuples(st.floats(-50, 0), st.floats(0, 30)), max_size=20),
    edges=st.lists(st.floats(-60, 0), min_size=2, max_size=8, unique=True),
)
def test_running_seconds_match_brute_force(runs: list[tuple[float, float]], edges: list[float]) -> None:
    start = np.array([s for s, _ in runs])
    end = np.array([s + d for s, d in runs])
    at_edges = np.array(sorted(edges))
    got = Activity(start, end, np.zeros(len(runs), dtype=np.int64), 1).seconds(at_edges)[:, 0]
    for i, (low, high) in enumerate(pairwise(at_edges)):
        brute = sum(max(0.0, min(e, high) - max(s, low)) for s, e in zip(start, end, strict=True))
        assert got[i] == pytest.approx(brute, abs=1e-6)


def test_what_never_ends_runs_until_the_last_edge() -> None:
    start, end = np.array([-3.0, -2.0, -1.0]), np.array([math.inf, -1.0, math.inf])
    activity = Activity(start, end, np.array([1, 0, 1]), 3)
    edges = np.array([-4.0, -2.0, 0.0])
    assert activity.seconds(edges).tolist() == [[0.0, 1.0, 0.0], [1.0, 3.0, 0.0]]
    assert activity.starts(edges).tolist() == [[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]
    assert activity.done(edges).tolist() == [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]


def test_expected_open_is_rate_times_duration() -> None:
    case = case_of(bundle(ordinary(600, 1, "A#show", takes=0.5)))
    assert case.transient.expected[who(case, "A#show")] == pytest.approx(0.5, rel=0.25)


def test_a_slow_popular_endpoint_is_expected_to_be_open() -> None:
    slow = [
        *ordinary(600, 2, "Slow#index", takes=4.0),
        request(-3, None, "Slow#index"),
        request(-1, None, "Slow#index"),
    ]
    fast = [
        *ordinary(600, 2, "Fast#show", takes=0.02),
        request(-3, None, "Fast#show"),
        request(-1, None, "Fast#show"),
    ]
    case = case_of(bundle([*slow, *fast]))
    surprise = case.transient.count
    assert surprise[who(case, "Slow#index")] < 2 < surprise[who(case, "Fast#show")]


def test_a_stall_of_the_whole_pod_excuses_age() -> None:
    calm = [*ordinary(600, 1, "A#show", until=-20), request(-0.3, None, "A#show")]
    late = [request(-14 + i, -8 + i, f"B{i}#show") for i in range(8)]
    usual = [r for i in range(8) for r in ordinary(600, 5, f"B{i}#show", until=-60)]
    quiet, stalled = case_of(bundle([*calm, *usual])), case_of(bundle([*calm, *usual, *late]))
    assert stalled.base.stall > 2 > quiet.base.stall
    assert stalled.transient.age[who(stalled, "A#show")] < quiet.transient.age[who(quiet, "A#show")]


def test_a_never_seen_endpoint_is_not_certain() -> None:
    case = case_of(bundle([*ordinary(600, 1, "A#show"), request(-0.5, None, "New#show")]))
    assert case.transient.age[who(case, "New#show")] < 5


# ------------------------------------------------------------------------------------------------------ memory


def test_the_curve_is_that_of_the_dead_instance_not_of_its_name() -> None:
    """After a restart the new instance has the same pod and container name; metrics of the dead one linger."""
    mine = memory(60, 1, lambda t: 300)
    newer = memory(10, 1, lambda t: 50, container_id="d" * 64)
    stale = [row | {"at": at(30)} for row in memory(1, 1, lambda t: 999)]
    curve = read_memory(bundle(samples=[*mine, *newer, *stale]), kill_case()).dead
    assert curve is not None
    assert curve.container_id == CONTAINER_ID
    assert curve.y.max() == 300 * MIB
    assert curve.t.max() <= 0


def test_without_ids_only_samples_of_the_life_count() -> None:
    rows = [row | {"container_id": None} for row in memory(100, 1, lambda t: 400 if t < -50 else 100)]
    curve = read_memory(bundle(samples=rows), kill_case(container_id=None, started_at=at(-50))).dead
    assert curve is not None
    assert curve.y.max() == 100 * MIB


def test_the_finest_source_is_used() -> None:
    rows = [*memory(60, 1, lambda t: 300), *memory(60, 15, lambda t: 300, source="prometheus")]
    curve = read_memory(bundle(samples=rows), kill_case()).dead
    assert curve is not None
    assert (curve.source, curve.step_s) == ("csv", 1.0)


def test_missing_bytes_are_limit_minus_last_sample() -> None:
    found = read_memory(bundle(samples=memory(60, 15, lambda t: 400)), kill_case())
    assert found.missing_bytes == 112 * MIB
    assert found.blind_s == 15.0


def test_no_samples_is_unknown_not_flat() -> None:
    found = read_memory(bundle(), kill_case())
    assert found.dead is None
    assert found.missing_bytes is None
    assert found.limit_bytes == 512 * MIB


def test_a_last_jump_is_extraordinary_a_steady_climb_is_not() -> None:
    jump = read_memory(bundle(samples=memory(600, 5, lambda t: 250 if t < -10 else 500)), kill_case())
    climb = read_memory(bundle(samples=memory(600, 5, lambda t: 512 + t * 0.4)), kill_case())
    assert jump.last_rise is not None
    assert climb.last_rise is not None
    assert jump.last_rise > 3 > 1.5 > climb.last_rise


# ------------------------------------------------------------------------------------------------------ growth


def leaking(seed: int = 1) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Traffic of three endpoints at varying pace; memory keeps 1 MiB for every run of ``Leaky#create``."""
    rng = np.random.default_rng(seed)
    rows, ends = [], []
    for name, rate in (("Leaky#create", 0.4), ("Busy#index", 2.0), ("Rare#show", 0.1)):
        for minute in range(10):
            for start in rng.uniform(
                -600 + 60 * minute, -540 + 60 * minute, rng.poisson(60 * rate * rng.uniform(0.3, 1.7))
            ):
                rows.append(request(float(start), float(start) + 0.1, name))
                ends += [float(start) + 0.1] if name == "Leaky#create" else []
    done = np.sort(ends)
    return rows, memory(600, 5, lambda t: 200 + float(np.searchsorted(done, t)))


def test_growth_follows_the_leaking_endpoint() -> None:
    rows, samples = leaking()
    case = case_of(bundle(rows, samples=samples))
    assert case.growth is not None
    leaky = who(case, "Leaky#create")
    assert int(case.growth.done.ll.argmax()) == leaky
    assert case.growth.done.beta[leaky] == pytest.approx(MIB, rel=0.3)
    assert case.growth.done.share[leaky] > 0.6
    assert case.growth.done.ll[leaky] > case.growth.done.total_ll + 3


def test_too_few_samples_give_no_fit() -> None:
    rows, _ = leaking()
    assert case_of(bundle(rows, samples=memory(600, 200, lambda t: 300))).growth is None


def test_growth_before_the_open_request_began_is_not_its_own() -> None:
    rows = [*ordinary(600, 1, "A#show"), request(-2, None, "Late#show"), request(-300, None, "Early#show")]
    case = case_of(bundle(rows, samples=memory(600, 5, lambda t: 200 + (t + 600) * 0.5)))
    share = grown_while_open(case)
    assert share[who(case, "Late#show")] < 0.1
    assert share[who(case, "Early#show")] > 0.4


def test_the_time_of_death_is_the_origin() -> None:
    case = case_of(bundle([request(-7, None, "A#show"), *ordinary(60, 1, "B#show")]))
    assert case.kill.killed_at == KILLED_AT
    assert case.transient.oldest[who(case, "A#show")] == 7.0


def test_a_process_that_stood_still_for_long_has_an_ordinary_time_before() -> None:
    """At its limit a process may be stuck in reclaim for half a minute; that is not all there is to compare with."""
    usual = [request(-50 + i * 0.2, -49.95 + i * 0.2, "A#index") for i in range(90)]
    stuck = [request(-32 - i * 0.1, None, "Big#show") for i in range(6)]
    evidence, kill = bundle([*usual, request(-45, -44, "Big#show"), *stuck]), kill_case()
    case = measure(evidence, kill, joined(evidence, kill))
    assert case.base.exposure_s > 3
    big = case.runs.names.index("Big#show")
    assert case.base.expected_open[big] < 1
    assert case.transient.count[big] > 5


def test_an_endpoint_seen_only_late_is_held_against_its_own_late_runs() -> None:
    """A slow and harmless export that came for the first time just before the kill."""
    late = [request(-20.0 + 4 * i, -17.6 + 4 * i, "Exports#show") for i in range(3)]
    usual = ordinary(120.0, 0.5, "A#show", takes=0.02)
    never = case_of(bundle([*usual, request(-2.5, None, "Exports#show")]))
    often = case_of(bundle([*usual, *late, request(-2.5, None, "Exports#show")]))
    assert often.transient.age[who(often, "Exports#show")] < 2
    assert never.transient.age[who(never, "Exports#show")] > 2


def test_how_long_an_unknown_endpoint_takes_is_nearly_unknown() -> None:
    """Endpoints of one application differ by more than a factor of ten: an age alone convicts no newcomer."""
    usual = ordinary(120.0, 0.5, "A#show", takes=0.02)
    case = case_of(bundle([*usual, request(-2.5, None, "Exports#show")]))
    assert case.transient.age[who(case, "Exports#show")] < 6


def test_a_spike_needs_many_open_at_once() -> None:
    usual = ordinary(120.0, 1.0, "A#show", takes=0.02)
    rush = [request(-2.0 + 0.2 * i, -1.95 + 0.2 * i, "A#show") for i in range(9)]
    for crowd, together in ((1, -1.0), (2, -2 / 3), (4, 0.0), (9, 0.0)):
        open_ = [request(-0.3 - 0.01 * i, None, "A#show") for i in range(crowd)]
        case = case_of(bundle([*usual, *rush, *open_]))
        terms = raw_terms(case, load_weights()).terms["concurrent_spike"]
        assert terms["together"][who(case, "A#show")] == pytest.approx(together)


def test_where_no_source_shows_what_was_open_a_spike_is_not_doubted_for_it() -> None:
    case = case_of(bundle(ordinary(120.0, 1.0, "A#show", takes=0.02)))
    unseen = replace(case, flight=replace(case.flight, unknown="one line a request"))
    assert raw_terms(unseen, load_weights()).terms["concurrent_spike"]["together"].tolist() == [0.0]


def test_without_memory_a_leak_is_sought_where_the_time_went() -> None:
    """What is kept must have been built: an endpoint that takes no time hardly fills a memory."""
    usual = [row for name in ("A#show", "B#show", "C#show") for row in ordinary(300, 1, name, takes=0.02)]
    rows = [*usual, *ordinary(300, 1, "Slow#show", takes=0.5)]
    unmeasured = case_of(bundle(rows))
    work = raw_terms(unmeasured, load_weights()).terms["memory_leak"]["work"]
    assert work[who(unmeasured, "Slow#show")] == pytest.approx(np.log(25), rel=0.1)
    assert work[who(unmeasured, "A#show")] == pytest.approx(0, abs=0.1)
    measured = case_of(bundle(rows, samples=memory(300, 5, lambda t: 400 + t / 3)))
    assert not raw_terms(measured, load_weights()).terms["memory_leak"]["work"].any()


def test_an_open_job_does_not_tell_which_requests_were_open() -> None:
    """A log of one line a request still shows jobs begin: no request is less likely for it."""
    job = {"stream": STREAM, "pod": POD, "job_class": "NightlyJob", "state": "open", "started_at": at(-5)}
    case = case_of(bundle(ordinary(120.0, 1.0, "A#show", takes=0.02), jobs=[job]))
    unseen = replace(case, flight=replace(case.flight, unknown="one line a request"))
    assert not case.blind
    assert unseen.blind
    for seen, late in ((case, -1.0), (unseen, 0.0)):
        terms = raw_terms(seen, load_weights()).terms
        assert terms["large_response"]["time"][who(seen, "A#show")] == late
        assert terms["runaway_request"]["not_long"][who(seen, "A#show")] == late
        assert not seen.unseen[who(seen, "NightlyJob")]


def test_who_was_open_against_chance_speaks_for_a_leak() -> None:
    usual = [*ordinary(300, 1, "A#show", takes=0.02), *ordinary(300, 1, "Slow#show", takes=0.5)]
    for name, told in (("A#show", 3.0), ("Slow#show", 0.9)):
        case = case_of(bundle([*usual, request(-0.3, None, name)]))
        caught = raw_terms(case, load_weights()).terms["memory_leak"]["caught"]
        assert caught[who(case, name)] == pytest.approx(told, abs=0.15)
        assert caught.sum() == caught[who(case, name)]


def test_somebody_is_always_the_busiest() -> None:
    """How busy an endpoint was tells who leaks, if one does; not that one does."""
    even = [row for name in "ABCD" for row in ordinary(300, 1, f"{name}#show", takes=0.02)]
    skewed = [*even, *ordinary(300, 0.1, "A#show", takes=0.02)]
    whole = []
    for rows in (even, skewed):
        case = case_of(bundle(rows))
        whole.append(float(np.logaddexp.reduce(score(case, load_weights()).total("memory_leak"))))
    assert whole[0] == pytest.approx(load_weights().log_prior("memory_leak"))
    assert whole[1] == pytest.approx(whole[0])


def test_a_term_that_tells_nothing_beforehand_stays_nothing() -> None:
    rows, samples = leaking()
    case = case_of(bundle(rows, samples=samples))
    terms = score(case, load_weights()).terms["memory_leak"]
    assert not terms["work"].any()
    assert terms["busy"][who(case, "Busy#index")] > 0 > terms["busy"][who(case, "Rare#show")]
    assert terms["prior"][0] == pytest.approx(load_weights().log_prior("memory_leak") - np.log(3))


def test_growth_is_fitted_in_bins_of_several_widths_where_samples_allow() -> None:
    usual = ordinary(300.0, 0.5, "A#show", takes=0.02)
    fine = case_of(bundle(usual, samples=memory(120, 1.0, lambda t: 300 + t)))
    coarse = case_of(bundle(usual, samples=memory(300, 15.0, lambda t: 300 + t / 2)))
    assert fine.growth is not None
    assert coarse.growth is not None
    assert len({rows.n for rows in fine.growth.fine}) == len(fine.growth.fine) == 3
    assert len(coarse.growth.fine) == 2
    mean = np.mean([fit_lasting(rows).ll for rows in fine.growth.fine], axis=0)
    assert fine.growth.done.ll == pytest.approx(mean)
