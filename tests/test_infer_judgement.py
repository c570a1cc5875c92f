"""From scores to probabilities and words: exclusive causes, the written rule, abstention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from oomscope.analyze import analyze
from oomscope.analyze.case import Case, measure
from oomscope.analyze.gate import Candidate, fuse
from oomscope.analyze.investigate import report_of
from oomscope.analyze.judge import at_most, status_of, strength_of, untested
from oomscope.analyze.ledger import Ledger
from oomscope.analyze.model import AnalyzeOptions
from oomscope.analyze.refute import doubt_beside_a_body
from oomscope.analyze.scores import score
from oomscope.analyze.weights import Weights, load_weights
from oomscope.errors import NoKillFound
from oomscope.evidence import Bundle
from oomscope.report import Report
from tests.infer_help import MIB, access, at, bundle, joined, kill_case, memory, ordinary, request

SPLIT = {"count": 5.0, "age": 4.0, "growth": 6.0, "prior": -5.0}


def report(evidence: Bundle, **kill: Any) -> Report:
    case = case_of(evidence, **kill)
    return report_of([case], [case.kill], AnalyzeOptions())


def case_of(evidence: Bundle, **kill: Any) -> Case:
    found = kill_case(**kill)
    return measure(evidence, found, joined(evidence, found))


def candidate(probability: float, terms: dict[str, float], pattern: Any = "large_response") -> Candidate:
    return Candidate(pattern, 0, probability, 0.0, terms, {pattern: probability})


# ----------------------------------------------------------------------------------------------- the written rule


@pytest.mark.parametrize(
    ("probability", "terms", "verdict", "word"),
    [
        (0.95, SPLIT, "oom_limit", "strong"),
        (0.95, {"count": 9.0, "growth": 1.0}, "oom_limit", "moderate"),
        (0.95, {**SPLIT, "time": -2.5}, "oom_limit", "moderate"),
        (0.95, {**SPLIT, "time": -2.0, "sudden": -1.5}, "oom_limit", "weak"),
        (0.95, SPLIT, "undetermined", "moderate"),
        (0.89, SPLIT, "oom_limit", "moderate"),
        (0.70, {"growth": 2.0}, "oom_limit", "weak"),
        (0.30, SPLIT, "oom_limit", "weak"),
        (0.20, SPLIT, "oom_limit", "inconclusive"),
        (0.50, {"busy": 3.0, "work": 3.0}, "oom_limit", "inconclusive"),
        (0.50, {"busy": 3.0, "caught": 1.2}, "oom_limit", "weak"),
    ],
)
def test_words(probability: float, terms: dict[str, float], verdict: Any, word: str) -> None:
    assert strength_of(candidate(probability, terms), verdict) == word


def test_an_endpoint_is_no_surer_than_that_memory_was_full() -> None:
    assert strength_of(candidate(0.95, SPLIT), "undetermined", sampled=False) == "weak"
    assert strength_of(candidate(0.95, SPLIT), "oom_limit", sampled=False) == "strong"


@pytest.mark.parametrize(("level", "word"), [(500.0, "moderate"), (300.0, "weak")])
def test_nobody_is_accused_of_filling_memory_that_was_free_a_moment_before(level: float, word: str) -> None:
    rows = [*ordinary(300, 0.5, "A#show"), request(-20, None, "A#show")]
    case = case_of(
        bundle(rows, samples=memory(300, 1, lambda t: level)), verdict="undetermined", rule="unknown_end"
    )
    assert case.strength(candidate(0.95, SPLIT)) == word


def test_no_fault_in_flight_is_accused_where_nothing_tells_what_was() -> None:
    assert strength_of(candidate(0.95, SPLIT), "oom_limit", seen=False) == "weak"
    assert strength_of(candidate(0.95, SPLIT, "memory_leak"), "oom_limit", seen=False) == "moderate"


def test_nothing_is_strong_where_memory_was_not_measured() -> None:
    """An export that is always slow and large looks guilty at any kill it happens to be in."""
    assert strength_of(candidate(0.95, SPLIT), "oom_limit", measured=False) == "moderate"
    assert strength_of(candidate(0.3, SPLIT), "oom_limit", measured=False) == "weak"


def test_growth_without_anyone_to_blame_is_weak_where_nothing_tells_what_was_in_flight() -> None:
    """One request that nobody saw may have grown it. That the limit was nearly full at once nobody in flight did."""
    growth, small = candidate(0.9, {}, "process_growth"), candidate(0.9, {}, "undersized_limit")
    assert (strength_of(growth, "oom_limit"), strength_of(small, "oom_limit")) == ("moderate", "moderate")
    assert strength_of(growth, "oom_limit", seen=False) == "weak"
    assert strength_of(small, "oom_limit", seen=False) == "moderate"


def test_a_cause_without_an_endpoint_is_never_strong() -> None:
    assert strength_of(candidate(0.99, {}, "undersized_limit"), "oom_limit") == "moderate"


def test_status_and_order_of_words() -> None:
    known = [
        (candidate(0.9, {}), "strong"),
        (candidate(0.4, {}), "weak"),
        (candidate(0.001, {}), "inconclusive"),
    ]
    assert [status_of(one, word) for one, word in known] == ["supported", "weak", "ruled_out"]
    assert at_most("strong", "moderate") == "moderate"


def test_a_leak_that_memory_follows_is_not_ruled_out_by_one_it_follows_better() -> None:
    followed, not_followed = (candidate(0.001, {"growth": nats}, "memory_leak") for nats in (1.5, 0.0))
    assert status_of(followed, "inconclusive") == "weak"
    assert status_of(not_followed, "inconclusive") == "ruled_out"


def test_the_shape_of_memory_is_untested_without_memory() -> None:
    tight, grown = candidate(0.5, {}, "undersized_limit"), candidate(0.5, {}, "process_growth")
    assert untested(tight, level=False, growth=False)
    assert not untested(tight, level=True, growth=False)
    assert untested(grown, level=True, growth=False)
    assert not untested(grown, level=True, growth=True)
    assert not untested(candidate(0.5, {}, "runaway_request"), level=False, growth=False)


# -------------------------------------------------------------------------------------------------- probabilities


def runaway() -> Bundle:
    """One request open for two minutes while memory climbs; everything else is quick and even."""
    rows = [*ordinary(900, 1, "A#index"), *ordinary(900, 2, "B#show"), *ordinary(900, 30, "Slow#report")]
    rows.append(request(-120, None, "Slow#report", path="/reports/7"))
    return bundle(rows, samples=memory(900, 5, lambda t: 250 if t < -120 else 250 + (t + 120) * 2.15))


def test_probabilities_are_exclusive_and_name_the_runaway() -> None:
    case = case_of(runaway())
    found = fuse(score(case, load_weights()), case, load_weights())
    assert sum(c.probability for c in found) <= 1
    assert case.runs.names[found[0].who or 0] == "Slow#report"
    assert found[0].pattern == "runaway_request"


def test_a_weight_of_zero_switches_a_term_off() -> None:
    case, shipped = case_of(runaway()), load_weights()
    off = Weights(shipped.caps, {**shipped.weights, "age": 0.0}, shipped.prior)
    assert all(not score(case, off).terms[p]["age"].any() for p in ("large_response", "runaway_request"))


def test_the_score_adds_up() -> None:
    lead = report(runaway()).hypotheses[0]
    total = lead.score.pop("total") if isinstance(lead.score, dict) else 0.0
    assert sum(lead.score.values()) == pytest.approx(total, abs=0.05)
    assert lead.for_
    assert all(p.weight > 0 for p in lead.for_)
    assert all(p.weight <= 0 for p in lead.against)


def test_not_an_oom_kill_accuses_nobody() -> None:
    found = report(runaway(), verdict="not_oom", instead="liveness probe")
    assert [h.pattern for h in found.hypotheses] == ["not_oom"]
    assert found.hypotheses[0].suspect.kind == "none"
    assert len(found.in_flight) == 1
    assert "raising memory would not help" in found.actions[0].text


def test_a_node_kill_leads_with_the_node() -> None:
    found = report(runaway(), verdict="oom_node", scope="node")
    assert found.hypotheses[0].pattern == "node_pressure"
    assert not any("raise the limit" in action.text for action in found.actions)


def test_nothing_known_abstains_and_names_what_is_missing() -> None:
    found = report(bundle(ordinary(60, 1, "A#show")))
    assert found.cause.hypothesis is None
    assert found.cause.strength == "inconclusive"
    assert "memory samples" in (found.cause.missing or "")


def test_who_was_only_busy_is_not_named_and_the_report_says_so() -> None:
    others = [row for name in "BCD" for row in ordinary(300, 6, f"{name}#show", takes=0.02)]
    quiet = report(bundle([*others, *ordinary(300, 0.2, "Busy#show", takes=0.1)]))
    caught = report(
        bundle([*others, *ordinary(300, 0.6, "Busy#show", takes=0.1), request(-0.1, None, "Busy#show")])
    )
    assert quiet.cause.hypothesis is None
    assert quiet.hypotheses[0].suspect.endpoint == caught.hypotheses[0].suspect.endpoint == "Busy#show"
    assert "Busy#show is the likeliest, but hardly anything" in (quiet.cause.why or "")
    assert caught.cause.strength == "weak"


def test_no_kill_at_all_is_an_error_of_its_own() -> None:
    with pytest.raises(NoKillFound):
        analyze(Bundle())


@pytest.mark.parametrize(
    ("pattern", "word", "received", "said"),
    [
        ("concurrent_spike", "strong", 7.8, "moderate"),
        ("concurrent_spike", "moderate", 7.8, "weak"),
        ("concurrent_spike", "strong", 2.0, "strong"),
        ("concurrent_spike", "weak", 7.8, "weak"),
        ("memory_leak", "moderate", 7.8, "moderate"),
    ],
)
def test_beside_a_body_far_beyond_the_usual_another_endpoint_is_less_sure(
    pattern: Any, word: Any, received: float, said: str
) -> None:
    case, ledger = case_of(bundle([*ordinary(60, 1, "A#show"), *ordinary(60, 1, "B#create")])), Ledger()
    lead = candidate(0.95, SPLIT, pattern)
    rival = replace(candidate(0.04, {"received": received}, "large_payload"), who=1)
    ((_, first), (_, second)) = doubt_beside_a_body(case, [(lead, word), (rival, "inconclusive")], ledger)
    assert (first, second) == (said, "inconclusive")


# ------------------------------------------------------------------------------------------------------- causes


def test_large_bodies_are_a_payload() -> None:
    usual = ordinary(900, 2, "Files#create", method="POST", path="/files")
    rows = [*ordinary(900, 1, "A#index"), *usual]
    accesses = [access(-900 + 2 * i, -900 + 2 * i + 0.1, "/files", method="POST") for i in range(440)]
    for i in range(3):
        rows.append(
            request(-3.0 + i, None, "Files#create", method="POST", path="/files", client=f"198.51.100.{i}")
        )
        accesses.append(
            access(-3.0 + i, 0.01, "/files", method="POST", client=f"198.51.100.{i}", received_bytes=40 * MIB,
                   elb_status=502, target_status=None)
        )  # fmt: skip
    found = report(bundle(rows, accesses=accesses, samples=memory(900, 15, lambda t: 250)))
    assert (found.hypotheses[0].pattern, found.hypotheses[0].suspect.endpoint) == (
        "large_payload",
        "Files#create",
    )
    assert found.hypotheses[0].suspect.path_pattern == "/files"


def test_a_job_is_a_suspect_of_its_own_kind() -> None:
    job = {"stream": "web-1/0", "job_class": "BigJob", "pod": "web-1"}
    jobs = [
        job | {"started_at": at(-900 + 90 * i), "ended_at": at(-899 + 90 * i), "state": "completed"}
        for i in range(9)
    ]
    jobs.append(job | {"started_at": at(-100), "state": "open", "job_id": "j9"})
    climb = memory(900, 5, lambda t: 250 if t < -100 else 250 + (t + 100) * 2.6)
    found = report(
        bundle([*ordinary(900, 1, "A#index"), *ordinary(900, 3, "B#show")], jobs=jobs, samples=climb)
    )
    lead = found.hypotheses[0]
    assert (lead.pattern, lead.suspect.kind, lead.suspect.endpoint) == ("background_job", "job", "BigJob")
    assert found.jobs_in_flight[0].job_id == "j9"


def test_a_limit_too_small_is_not_an_endpoint() -> None:
    level = memory(900, 5, lambda t: 490 + 15 * ((t // 5) % 3 - 1))
    found = report(bundle([*ordinary(900, 1, "A#index"), *ordinary(900, 3, "B#show")], samples=level))
    assert found.hypotheses[0].pattern == "undersized_limit"
    assert not any(
        h.suspect.kind == "endpoint" and h.strength in ("strong", "moderate") for h in found.hypotheses
    )


def test_the_four_patterns_are_always_told() -> None:
    rows = report(bundle(ordinary(60, 1, "A#show"))).patterns
    assert [row["pattern"] for row in rows] == [
        "large_response",
        "large_payload",
        "memory_leak",
        "concurrent_spike",
    ]
    assert all(row["evidence"] for row in rows)
    assert rows[2]["status"] == "untested"


def test_every_term_of_the_score_is_explained() -> None:
    from oomscope.analyze.weights import load_weights
    from oomscope.analyze.words import SPEAKERS
    from oomscope.render.words import SCORE_PARTS

    terms = set(load_weights().weights)
    assert terms <= set(SPEAKERS)
    assert terms <= set(SCORE_PARTS)
