"""The incident simulator: seeded, plausible, and blind to what a log could not show."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from bench import ablation, measures
from bench.simulate import incident
from bench.simulate.__main__ import page
from bench.simulate.baselines import BASELINES, ranked
from bench.simulate.faults import PATTERNS
from bench.simulate.observe import Simulated, simulate
from bench.simulate.run import ablate_group, grade, grade_group
from bench.simulate.world import WORLDS

from oomscope.facts import ACCESS_SCHEMA, JOB_SCHEMA, MEMORY_SCHEMA, REQUEST_SCHEMA, polars_schema


@pytest.fixture(scope="module", params=list(PATTERNS))
def simulated(request: pytest.FixtureRequest) -> Simulated:
    return simulate(request.param, "hard", 1)[0]


def test_tables_follow_the_schemas(simulated: Simulated) -> None:
    bundle = simulated.bundle
    for table, schema in (
        (bundle.requests, REQUEST_SCHEMA), (bundle.jobs, JOB_SCHEMA),
        (bundle.accesses, ACCESS_SCHEMA), (bundle.memory, MEMORY_SCHEMA),
    ):  # fmt: skip
        assert dict(table.schema) == polars_schema(schema)
        assert table.height > 0


def test_nothing_of_the_dead_pod_is_logged_after_its_death(simulated: Simulated) -> None:
    bundle = simulated.bundle
    mine = bundle.requests.filter(pl.col("pod") == bundle.target.pod)
    for column in ("started_at", "ended_at"):
        assert mine[column].max() <= bundle.target.at  # type: ignore[operator]
    assert mine.filter(pl.col("state") == "open").height < mine.height
    assert bundle.oom_kills[0].at == bundle.target.at


def test_truth_names_an_endpoint_of_the_log(simulated: Simulated) -> None:
    assert set(simulated.truth["culprits"]) <= set(simulated.bundle.requests["endpoint"])
    assert set(ranked(simulated.bundle)) == set(BASELINES)


def test_the_same_seed_gives_the_same_bundle() -> None:
    one, two, other = (simulate("leak", "standard", seed)[0] for seed in (3, 3, 4))
    assert one.bundle.requests.equals(two.bundle.requests)
    assert one.bundle.accesses.equals(two.bundle.accesses)
    assert one.truth == two.truth != other.truth


def test_recurrences_share_image_and_culprit() -> None:
    group = simulate("leak", "standard", 5, k=3)
    assert len({one.bundle.pods[0].containers[0].image for one in group}) == 1
    assert len({tuple(one.truth["culprits"]) for one in group}) == 1
    assert len({one.bundle.target.at for one in group}) == 3
    assert len({one.truth["kind"] for one in simulate("alternating", "standard", 5, k=2)}) == 2


def test_the_fault_and_not_chance_kills() -> None:
    run = incident.make_runs("large_response", WORLDS["standard"], 2)[0]
    bad = (run.traffic.mark == 1) & (run.traffic.pod == run.victim) & (run.traffic.start < run.died_at)
    assert run.died_at > run.onset
    assert bad.any()
    assert run.memory[run.victim][int(run.died_at * 4)] >= run.limit


@pytest.mark.parametrize("world", ["one pod", "fifty pods", "deploy"])
def test_other_worlds(world: str) -> None:
    one = simulate("spike", world, 0)[0]
    assert one.truth["pods"] in WORLDS[world].pods
    images = {pod.containers[0].image for pod in one.bundle.pods}
    assert len(images) == (2 if world == "deploy" else 1)


def said(name: str | None, strength: str = "strong") -> dict[str, Any]:
    suspect = {"kind": "endpoint" if name else "none", "endpoint": name}
    hypothesis = {
        "pattern": "memory_leak", "status": "supported", "strength": strength, "probability": 0.9, "suspect": suspect,
        "distinguishing": (),
    }  # fmt: skip
    return {"kill": {"verdict": "oom_limit"}, "cause": {"strength": strength}, "hypotheses": [hypothesis]}


def test_grading() -> None:
    leak, blameless = simulate("leak", "standard", 0)[0].truth, simulate("undersized", "standard", 0)[0].truth
    right = grade(said(leak["culprits"][0]), leak)
    assert all(right[key] for key in ("verdict", "top1", "top3", "shape", "accused_right", "trigger"))
    assert grade(said("OtherController#show"), leak)["top1"] is False
    assert grade(said("OtherController#show"), blameless)["false_accusation"]
    assert not grade(said("OtherController#show", "weak"), blameless)["false_accusation"]
    assert grade(said(None), blameless)["top1"] is None


def test_page_of_one_row() -> None:
    one = simulate("leak", "standard", 0)[0]
    row = grade(said(one.truth["culprits"][0]), one.truth)
    row |= {f"{m} {top}": True for m in BASELINES for top in ("top1", "top3")}
    row |= {"pattern": "leak", "world": "standard", "k": 1, "seconds": 0.1, "made_s": 0.1}
    assert "leak" in page([row], measures.plain, "{}")


def test_a_simulated_spike_is_analysed_and_graded() -> None:
    (row,) = grade_group(("spike", "standard", 0, 1))
    assert row["verdict"]
    assert row["top3"]
    assert row["count top1"] is not None


def test_terms_are_taken_away_one_at_a_time() -> None:
    rows = ablate_group(("runaway", "standard", 0, 1))
    assert rows[0]["term"] == ablation.ALL
    assert len({row["term"] for row in rows}) == len(rows) > 5
    assert ablation.table(rows)[1][0][0] == ablation.ALL
