"""Several kills together: evidence adds up, within bounds."""

from __future__ import annotations

from typing import Any

import pytest
from bench.simulate.observe import simulate

from oomscope.analyze import analyze_many
from oomscope.analyze.case import Case, measure
from oomscope.analyze.investigate import report_of
from oomscope.analyze.model import AnalyzeOptions
from oomscope.analyze.recurrence import A_KILL, pool, recurrence_doc
from oomscope.analyze.weights import load_weights
from tests.infer_help import access, at, bundle, joined, kill_case, memory, ordinary, request


def case_of(*open_: dict[str, Any]) -> Case:
    rows = [*ordinary(900, 1, "A#index"), *ordinary(900, 30, "Slow#report"), *open_]
    evidence, kill = bundle(rows, samples=memory(900, 5, lambda t: 300)), kill_case()
    return measure(evidence, kill, joined(evidence, kill))


def recurrence(cases: list[Case], name: str) -> float:
    pooled = pool(cases, load_weights())
    return float(pooled.scores.terms["runaway_request"]["recurrence"][cases[0].runs.names.index(name)])


def test_the_same_request_at_two_kills_counts_for_more() -> None:
    old = request(-120, None, "Slow#report")
    assert 0 < recurrence([case_of(old), case_of(old)], "Slow#report") <= A_KILL


def test_a_fault_that_was_not_in_flight_at_this_kill_is_not_carried_over() -> None:
    assert recurrence([case_of(), case_of(request(-120, None, "Slow#report"))], "Slow#report") <= 0


def test_hits_stand_against_chance_and_the_baseline_score_is_told() -> None:
    old = request(-120, None, "Slow#report")
    doc = recurrence_doc(pool([case_of(old), case_of(old), case_of(old)], load_weights()))
    assert doc["kills"] == 3
    assert doc["endpoints"][0]["endpoint"] == "Slow#report"
    assert doc["endpoints"][0]["open_at"] == 3
    assert doc["endpoints"][0]["expected"] < 0.5
    assert doc["ochiai"][0] == {"endpoint": "Slow#report", "score": pytest.approx(1.0)}


def test_traffic_is_not_new_evidence_at_every_kill() -> None:
    """A busy endpoint gains nothing on a rare one by being busy again."""
    pooled = pool([case_of(), case_of()], load_weights())
    busy, rare = pooled.scores.terms["memory_leak"]["recurrence"]
    assert busy == rare


def answered(size: int) -> Case:
    """Two endpoints; one answer of the rare one, which is in flight, was so large."""
    rows = [*ordinary(900, 1, "A#index"), *ordinary(900, 30, "Slow#report"), request(-1, None, "Slow#report")]
    closed = [(row, (row["started_at"] - at(0)).total_seconds()) for row in rows[:-1]]
    alb = [access(t, t + 0.1, row["path"], sent_bytes=900) for row, t in closed]
    alb[-1]["sent_bytes"] = size
    evidence, kill = bundle(rows, accesses=alb), kill_case()
    return measure(evidence, kill, joined(evidence, kill))


def test_how_large_its_answers_are_is_not_new_evidence_at_every_kill() -> None:
    """An export is as large at every kill: told once. Two innocent coincidences made it look proven."""
    found = []
    for size in (900, 50_000_000):
        cases = [answered(size), answered(size)]
        terms = pool(cases, load_weights()).scores.terms["large_response"]
        slow = cases[0].runs.names.index("Slow#report")
        found.append((float(terms["sent"][slow]), float(terms["recurrence"][slow])))
    assert found[0][0] == 0 < found[1][0]
    assert found[0][1] == pytest.approx(found[1][1])


def test_a_kill_of_which_nothing_was_logged_does_not_stop_the_others() -> None:
    evidence, kill = bundle(()), kill_case()
    silent = measure(evidence, kill, joined(evidence, kill))
    old = request(-120, None, "Slow#report")
    assert pool([case_of(old), silent], load_weights()).kills == 2
    assert pool([silent, case_of(old)], load_weights()).kills == 2


def test_a_suspect_not_in_flight_at_this_kill_is_not_said_to_be_at_none() -> None:
    cases = [case_of(), case_of(request(-120, None, "Slow#report"))]
    report = report_of(cases, [case.kill for case in cases], AnalyzeOptions())
    said = [point.text for h in report.hypotheses for point in (*h.for_, *h.against)]
    assert not any("in flight at 0 of" in text for text in said)


def test_growth_of_nobody_at_several_kills_accuses_nobody() -> None:
    """With three times the rows some endpoint fits well; drawn anew, they name another."""
    group = simulate("growth", "standard", 2, k=3)
    found = analyze_many([one.bundle for one in group])
    lead = found.hypotheses[0]
    assert lead.suspect.kind == "none" or lead.strength in ("weak", "inconclusive")
    assert lead.pattern != "memory_leak" or any(one.name == "stability" for one in found.findings)


def test_a_leak_at_several_kills_is_still_accused() -> None:
    group = simulate("leak", "standard", 0, k=3)
    found = analyze_many([one.bundle for one in group])
    assert found.hypotheses[0].suspect.endpoint in group[0].truth["culprits"]
    assert found.cause.strength == "moderate"
