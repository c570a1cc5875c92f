"""From a bundle to the whole report: simulated incidents of every kind, end to end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import jsonschema
import numpy as np
import polars as pl
import pytest
from bench.simulate.observe import simulate

from oomscope.analyze import analyze, analyze_many
from oomscope.errors import NoKillFound
from oomscope.evidence import Bundle
from oomscope.facts import ACCESS_SCHEMA, MEMORY_SCHEMA, REQUEST_SCHEMA, empty
from oomscope.report import json_schema, to_json

PLANTED = ["large_response", "runaway", "payload", "spike"]


@pytest.fixture(scope="module")
def incident() -> Bundle:
    return simulate("large_response", "fit", 3)[0].bundle


@pytest.mark.parametrize("pattern", PLANTED)
def test_planted_culprits_are_named(pattern: str) -> None:
    right = 0
    for seed in range(3):
        (one,) = simulate(pattern, "fit", 700 + seed)
        lead = analyze(one.bundle).hypotheses[0]
        right += lead.suspect.endpoint in one.truth["culprits"]
    assert right >= 2


def test_the_same_evidence_gives_the_same_bytes(incident: Bundle) -> None:
    assert to_json(analyze(incident)) == to_json(analyze(incident))


def test_the_order_of_rows_does_not_matter_for_the_answer(incident: Bundle) -> None:
    turned = replace(incident, requests=incident.requests.reverse(), memory=incident.memory.reverse())
    mine, theirs = analyze(incident), analyze(turned)
    assert [(h.pattern, h.suspect, h.probability) for h in mine.hypotheses] == [
        (h.pattern, h.suspect, h.probability) for h in theirs.hypotheses
    ]


def test_the_report_fits_its_schema(incident: Bundle) -> None:
    report = analyze(incident)
    jsonschema.validate(report.model_dump(mode="json", by_alias=True), json_schema())


def test_every_point_leads_to_a_finding(incident: Bundle) -> None:
    report = analyze(incident)
    known = {finding.id for finding in report.findings}
    points = [p for h in report.hypotheses for p in (*h.for_, *h.against)]
    assert points
    assert all(point.finding in known for point in points)


def test_shifting_every_clock_changes_nothing_but_times(incident: Bundle) -> None:
    """No clock of this machine, no time zone, no rounding to minutes takes part."""
    hour = timedelta(hours=7, minutes=13)

    def later(table: pl.DataFrame) -> pl.DataFrame:
        return table.with_columns(pl.col(pl.Datetime) + hour)

    moved = replace(
        incident, requests=later(incident.requests), jobs=later(incident.jobs), accesses=later(incident.accesses),
        memory=later(incident.memory), oom_kills=tuple(replace(k, at=k.at and k.at + hour) for k in incident.oom_kills),
        target=replace(incident.target, at=None), pods=(), streams=tuple(
            replace(s, first_at=s.first_at and s.first_at + hour, last_at=s.last_at and s.last_at + hour,
                    boot_seen_at=s.boot_seen_at and s.boot_seen_at + hour) for s in incident.streams),
    )  # fmt: skip
    still = replace(incident, target=replace(incident.target, at=None), pods=())
    assert [(h.suspect.endpoint, h.probability) for h in analyze(moved).hypotheses] == [
        (h.suspect.endpoint, h.probability) for h in analyze(still).hypotheses
    ]


@pytest.mark.parametrize("gone", ["accesses", "memory", "requests", "everything"])
def test_missing_sources_never_crash_and_never_make_it_surer(incident: Bundle, gone: str) -> None:
    empties = {"accesses": ACCESS_SCHEMA, "memory": MEMORY_SCHEMA, "requests": REQUEST_SCHEMA}
    names = list(empties) if gone == "everything" else [gone]
    report = analyze(replace(incident, **{name: empty(empties[name]) for name in names}))
    assert report.kill.verdict == "oom_limit"
    if gone == "everything":
        assert report.cause.hypothesis is None
        assert report.cause.missing


def test_pictures_are_thin_and_honest_about_it(incident: Bundle) -> None:
    report = analyze(incident)
    chart, memory = report.chart, report.memory
    assert chart["drawn"] == len(chart["bars"]) <= 400 <= chart["total"]
    assert [bar["state"] for bar in chart["bars"]][: len(report.in_flight)] == ["in_flight"] * len(
        report.in_flight
    )
    assert memory["series"][0]["dead"]
    assert all(len(series["points"]) <= 600 for series in memory["series"])
    assert memory["last_sample_at"] < memory["killed_at"]


def test_three_kills_of_one_leak_say_more_than_one() -> None:
    better = 0
    for seed in (11, 14):
        incidents = simulate("leak", "fit", seed, 3)
        culprit = incidents[0].truth["culprits"][0]

        def of(report: object, culprit: str = culprit) -> float:
            hypotheses = getattr(report, "hypotheses", ())
            return max((h.probability for h in hypotheses if h.suspect.endpoint == culprit), default=0.0)

        alone = of(analyze(incidents[0].bundle))
        report = analyze_many([one.bundle for one in incidents])
        better += of(report) >= alone
        assert report.impact["recurrence"]["kills"] == 3
    assert better >= 1


def test_kills_without_a_common_cause_are_told_apart() -> None:
    incidents = simulate("alternating", "fit", 0, 2)
    report = analyze_many([one.bundle for one in incidents])
    recurrence = report.impact["recurrence"]
    assert set(recurrence) >= {"kills", "alternating", "common_cause_log_odds", "endpoints", "ochiai"}
    (other,) = recurrence["alone"]
    assert other["suspect"] in incidents[0].truth["culprits"] + incidents[1].truth["culprits"]
    assert recurrence["alternating"] == (
        report.cause.why is not None and other["suspect"] in report.cause.why
    )


def _with_holes(table: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """A table as a bad day leaves it: values gone from some columns, most rows gone."""
    for column in [c for c in table.columns if rng.random() < 0.25]:
        gone = pl.Series(rng.random(table.height) < rng.choice([0.1, 0.5, 1.0]))
        table = table.with_columns(pl.when(gone).then(None).otherwise(pl.col(column)).alias(column))
    keep = int(rng.choice([0, 1, 2, 5, table.height]))
    return table.sample(min(keep, table.height), seed=1) if rng.random() < 0.4 else table


@pytest.mark.parametrize("seed", range(24))
def test_evidence_full_of_holes_never_crashes(incident: Bundle, seed: int) -> None:
    rng = np.random.default_rng(seed)
    short = replace(incident, requests=incident.requests.tail(2000), accesses=incident.accesses.tail(2000))
    names = ("requests", "accesses", "memory", "jobs")
    holed = replace(short, **{name: _with_holes(getattr(short, name), rng) for name in names})
    for field in ("streams", "pods", "lives"):
        holed = replace(holed, **{field: ()}) if rng.random() < 0.3 else holed
    try:
        report = analyze(holed)
    except NoKillFound:
        return
    assert 0 <= sum(h.probability for h in report.hypotheses) <= 1.001
