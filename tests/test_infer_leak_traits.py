"""Which runs of a leaking endpoint keep memory."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from oomscope.analyze.case import Case, measure
from oomscope.analyze.leak_traits import leaking_runs
from oomscope.analyze.split import rows_of
from tests.infer_help import access, at, bundle, joined, kill_case, memory, request

SPAN_S = 240.0


def leaking(keeps: float, others_keep: float, *, seed: int = 1) -> Case:
    """``scope=all`` (four runs in ten, at times that vary) keeps so many MiB a run, the other runs ``others_keep``."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    kept: list[tuple[float, float]] = []
    for _ in range(300):
        start = -SPAN_S * rng.random() - 1
        wide = rng.random() < 0.4 + 0.3 * (int(start / 20) % 2)
        params = {"scope": "all" if wide else "mine", "page": str(rng.randrange(4))}
        rows.append(request(start, start + 0.1, "Boats#index", params=json.dumps(params)))
        kept.append((start + 0.1, keeps if wide else others_keep))
        rows.append(request(start + 0.3, start + 0.4, "Sails#show"))
    rows.sort(key=lambda row: row["started_at"])
    rows = [row | {"request_id": str(i)} for i, row in enumerate(rows)]
    samples = memory(
        SPAN_S, 1.0, lambda t: 200 + rng.gauss(0, 0.3) + sum(size for end, size in kept if end <= t)
    )
    evidence = bundle(rows, samples=samples, first_at=at(-SPAN_S - 2))
    return measure(evidence, kill_case(), joined(evidence, kill_case()))


def named(case: Case) -> list[tuple[str, str | None]]:
    return [(d.name, d.value) for d in leaking_runs(case, case.runs.names.index("Boats#index"))]


def test_the_value_whose_runs_keep_memory_is_named() -> None:
    case = leaking(2.0, 0.0)
    (found,) = leaking_runs(case, case.runs.names.index("Boats#index"))
    assert (found.kind, found.name, found.of) == ("param", "scope", 300)
    assert found.text.startswith(f"{found.hits} of 300 runs had `scope=all`; memory grew with those alone; ")
    assert found.p_value is not None
    assert found.p_value < 0.01


def test_runs_of_several_containers_are_said_to_be() -> None:
    """The cause's own line counts the runs of the dead container only."""
    case = leaking(2.0, 0.0)
    half = np.where(np.arange(case.runs.who.size) % 4 < 2, case.runs.life, case.runs.life + 1)
    (found,) = leaking_runs(
        replace(case, runs=replace(case.runs, life=half)), case.runs.names.index("Boats#index")
    )
    assert " of 300 runs in 2 containers had `scope=all`" in found.text


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_named_when_every_run_keeps_its_share(seed: int) -> None:
    assert named(leaking(0.8, 0.8, seed=seed)) == []


def test_a_log_without_parameters_takes_the_query_of_the_load_balancer() -> None:
    """One line a request: the path, and nothing of what it asked for."""
    queries = ["scope=all", None]
    rows = [request(-9 + i, -8.5 + i, "Boats#index", path="/boats") for i in range(2)]
    seen = [
        access(-9 + i, -8.5 + i, "/boats", query=query, received_bytes=300 + i)
        for i, query in enumerate(queries)
    ]
    evidence = bundle(rows, accesses=seen)
    case = measure(evidence, kill_case(), joined(evidence, kill_case()))
    assert rows_of(case, ~case.runs.open)["query"].to_list() == queries


def test_nothing_is_named_without_memory_samples_or_runs() -> None:
    evidence = bundle(
        [request(-9, -8, "Boats#index", params='{"scope":"all"}'), request(-5, None, "Boats#index")]
    )
    case = measure(evidence, kill_case(), joined(evidence, kill_case()))
    assert named(case) == []
