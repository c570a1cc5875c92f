"""What all open requests share is no evidence against one; what was survived just before the kill is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from oomscope.analyze.case import Case, measure
from oomscope.facts import ContainerFacts, PodFacts
from tests.infer_help import STREAM, access, at, bundle, joined, kill_case, ordinary, request

USUAL = [row for name in "ABCD" for row in ordinary(600.2, 2.003, f"{name}#show", 0.05, until=-30)]


def case_of(evidence: Any, **kill: Any) -> Case:
    found = kill_case(**kill)
    return measure(evidence, found, joined(evidence, found))


def who(case: Case, name: str) -> int:
    return case.runs.names.index(name)


def test_a_frozen_process_makes_no_request_old() -> None:
    frozen = [request(-9.5 - i / 10, None, f"{name}#show") for i, name in enumerate("ABC")]
    t = case_of(bundle([*USUAL, *frozen])).transient
    assert t.age[:3].max() < 2.0
    assert t.oldest[:3].min() >= 9.5


def test_what_is_older_than_the_standstill_still_counts() -> None:
    frozen = [request(-3.0, None, f"{name}#show") for name in "ABC"]
    case = case_of(bundle([*USUAL, *frozen, request(-25.0, None, "D#show")]))
    assert case.transient.age[who(case, "D#show")] > 8.0
    assert case.transient.own_age[who(case, "D#show")] == pytest.approx(25 - 1.1 * 3)


def test_two_endpoints_in_flight_are_too_few_to_tell_a_standstill() -> None:
    slow = [request(-20.0, None, "A#show"), request(-18.0, None, "B#show")]
    case = case_of(bundle([*USUAL, *slow]))
    assert case.transient.own_age[who(case, "A#show")] == pytest.approx(20.0)


def test_a_clock_of_whole_seconds_makes_no_request_a_second_old() -> None:
    coarse = [replace_start(row) for row in USUAL]
    case = case_of(bundle([*coarse, request(-1.0, None, "A#show"), request(-1.0, None, "B#show")]))
    assert case.transient.age.max() < 1.0


def replace_start(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"started_at": row["started_at"].replace(microsecond=0)}


def test_the_queue_in_front_of_the_app_is_not_the_age_of_a_request() -> None:
    rows = [
        access(-t, -t + 0.05, f"/{name}", received_bytes=300)
        for name in "abcd" for t in range(30, 600, 3)
    ]  # fmt: skip
    lost = [
        access(-9.0 - i / 10, 0.1, f"/{name}", elb_status=502, target_status=None)
        for i, name in enumerate("abc")
    ]
    culprit = access(-24.0, 0.1, "/d", elb_status=502, target_status=None)
    case = case_of(bundle(accesses=[*rows, *lost, culprit], threads=5), started_at=at(-3600))
    ages = dict(zip(case.runs.names, case.transient.age, strict=True))
    assert ages["GET /d"] > 5.0
    assert max(ages[f"GET /{name}"] for name in "abc") < 3.0


def test_a_slow_run_that_was_survived_counts_and_a_common_delay_does_not() -> None:
    delayed = [request(-8.0, -2.0, f"{name}#show") for name in "ABC"]
    case = case_of(bundle([*USUAL, *delayed, request(-18.0, -1.0, "D#show")]))
    slow = case.transient.slow
    assert slow[who(case, "D#show")] > 8.0
    assert max(slow[who(case, f"{name}#show")] for name in "ABC") < 2.0


def test_a_large_body_that_was_survived_still_speaks() -> None:
    posts = ordinary(600, 4.0, "E#create", 0.1, until=-90, method="POST", params_bytes=200)
    big = request(-12.0, -3.0, "E#create", method="POST", params_bytes=9_000_000)
    case = case_of(bundle([*USUAL, *posts, big]))
    assert case.transient.received[who(case, "E#create")] > 6.0
    assert case.transient.received_open[who(case, "E#create")] == 9_000_000


def test_where_no_source_tells_what_was_open_nothing_is_held_against_anyone() -> None:
    evidence = bundle(USUAL, shape="lograge", cannot_show="requests_in_flight", why="one line a request")
    case = case_of(evidence)
    assert case.flight.unknown is not None
    from oomscope.analyze.scores import raw_terms
    from oomscope.analyze.weights import load_weights

    assert not raw_terms(case, load_weights()).terms["large_response"]["time"].any()


def test_runs_of_another_image_are_left_out() -> None:
    old = [
        row | {"stream": "web-old/0", "pod": "web-old"}
        for row in ordinary(600, 0.5, "A#show", 4.0, until=-60)
    ]
    evidence = bundle([*USUAL, *old])
    pods = (
        replace(evidence.pods[0], containers=(ContainerFacts(name="web", image="app:2"),)),
        PodFacts("shop", "web-old", containers=(ContainerFacts(name="web", image="app:1"),)),
    )
    streams = (*evidence.streams, replace(evidence.streams[0], stream="web-old/0", pod="web-old"))
    evidence = replace(evidence, pods=pods, streams=streams)
    both = case_of(evidence)
    ours = case_of(evidence, image="app:2")
    assert both.base.w[who(both, "A#show")] > 1.0
    assert ours.base.w[who(ours, "A#show")] < 0.2
    assert ours.runs.lives.count(STREAM) == 1


def test_a_burst_of_a_second_is_seen_and_does_not_excuse_itself() -> None:
    burst = [request(-1.0 + i / 40, None if i % 2 else -0.9 + i / 40, "A#show") for i in range(36)]
    case = case_of(bundle([*USUAL, *burst], threads=40))
    arrivals, a = case.transient.arrivals, who(case, "A#show")
    assert arrivals.window[a] == 2.0
    assert arrivals.recent[a] >= 30
    assert arrivals.surprise[a] > 20
    assert case.transient.traffic.others_busier[a] < 1.5


def test_a_large_body_waits_to_be_parsed_where_others_of_its_path_were() -> None:
    posts = ordinary(600, 20.0, "E#create", 0.1, until=-90, method="POST", path="/e")
    waiting = request(-9.0, None, None, method="POST", path="/e")
    case = case_of(bundle([*USUAL, *posts, waiting]))
    assert case.flight.requests["endpoint"].to_list() == ["E#create"]
    assert case.flight.rack_level.is_empty()


def test_what_the_load_balancer_has_answered_is_over() -> None:
    redirect = request(-9.0, None, None, path="/old", trace_id="Root=1-0-a")
    other = request(-8.0, None, None, path="/new", trace_id="Root=1-0-b")
    rows = [access(-9.0, -8.9, "/old", elb_status=301, target_status=301, trace_id="Root=1-0-a")]
    case = case_of(bundle([*USUAL, redirect, other], accesses=rows))
    assert case.flight.rack_level["path"].to_list() == ["/new"]
