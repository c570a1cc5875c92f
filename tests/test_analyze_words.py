"""What the points say: one sentence stands on one side only, and compares with something that was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bench.simulate.observe import simulate

from oomscope.analyze import analyze
from oomscope.analyze.case import measure
from oomscope.analyze.words import _usual
from oomscope.facts import ACCESS_SCHEMA, empty
from oomscope.report import Hypothesis, Report
from tests.infer_help import bundle, joined, kill_case, memory, ordinary, request
from tests.real_reports import REAL

PATTERNS = ("large_response", "runaway", "payload", "spike", "leak", "undersized")


def _reports() -> list[Report]:
    made = [analyze(simulate(pattern, "fit", 1)[0].bundle) for pattern in PATTERNS]
    return [*made, *(make() for make in REAL.values())]


@pytest.fixture(scope="module")
def hypotheses() -> list[Hypothesis]:
    return [one for report in _reports() for one in report.hypotheses]


def test_no_sentence_stands_for_and_against_the_same_cause(hypotheses: list[Hypothesis]) -> None:
    for one in hypotheses:
        pro, contra = [p.text for p in one.for_], [p.text for p in one.against]
        assert not set(pro) & set(contra), one
        assert len(set(pro)) == len(pro), one
        assert len(set(contra)) == len(contra), one
        shares = [text for text in (*pro, *contra) if "of the growth" in text and "limit" not in text]
        assert len(shares) <= 1, one


def test_a_leak_is_not_excused_by_runs_that_killed_nothing(hypotheses: list[Hypothesis]) -> None:
    leaks = [one for one in hypotheses if one.pattern == "memory_leak"]
    assert leaks
    assert not [p.text for one in leaks for p in one.against if "killed nothing" in p.text]
    assert [p.text for one in hypotheses for p in one.against if "killed nothing" in p.text]


def test_what_was_read_is_not_asked_for_again() -> None:
    (one,) = simulate("spike", "fit", 3)
    without = replace(one.bundle, accesses=empty(ACCESS_SCHEMA))
    assert one.bundle.accesses.height
    for evidence, asks in ((one.bundle, False), (without, True)):
        hints = {hint for h in analyze(evidence).hypotheses for hint in h.would_settle}
        assert any("ALB access log" in hint for hint in hints) is asks


def test_what_nobody_saw_is_not_none_open() -> None:
    (one,) = simulate("large_response", "fit", 3)
    blind = tuple(replace(s, cannot_show="lograge", why="one line a request") for s in one.bundle.streams)
    report = analyze(replace(one.bundle, streams=blind, accesses=empty(ACCESS_SCHEMA)))
    assert report.impact["unknown"]
    assert {row["open"] for row in report.endpoints} == {None}
    assert {row["lift"] for row in report.endpoints} == {None}
    status = {row["pattern"]: row["status"] for row in report.patterns}
    assert "ruled_out" not in (status["large_response"], status["concurrent_spike"])


@pytest.mark.parametrize(("before", "said"), [(30, "it usually takes"), (1, "it had hardly run before")])
def test_a_usual_duration_is_told_only_of_what_ran(before: int, said: str) -> None:
    rows = ordinary(600, 1, "B#show") + ordinary(600, 600 / before, "A#show")
    evidence = bundle(
        [*rows, request(-20, None)], samples=memory(600, 5, lambda t: 200 + max(0, t + 20) * 15)
    )
    case = measure(evidence, kill_case(), joined(evidence, kill_case()))
    assert said in _usual(case, case.runs.names.index("A#show"))


def test_a_count_of_more_than_were_in_flight_says_of_what() -> None:
    (one,) = REAL["demo"]().hypotheses[:1]
    assert one.statement.endswith("7 in flight at the kill, the oldest for 13 s")
    assert one.distinguishing[0].text.startswith("20 of 20 in flight or as slow had `id=")
