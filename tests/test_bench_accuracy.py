"""The accuracy bench grades what it should: a small made-up incident and reports about it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from bench import measures
from bench.accuracy import tables
from bench.accuracy.__main__ import main, page
from bench.accuracy.corpus import VARIANTS, Incident, load_corpus, make_variant
from bench.accuracy.grade import grade
from bench.accuracy.original import grade_original, ranked_paths

IDS = [f"{n:08d}-0000-4000-8000-000000000000" for n in range(5)]
TRUTH: dict[str, Any] = {
    "kind": "large_response", "is_oom": True, "died": True, "log_format": "tagged", "culprit_job": None,
    "culprit": {"action": "BooksController#show", "method": "GET", "path_pattern": "/books/:id",
                "trigger": {"type": "id", "name": "id", "ids": ["7"]}},
    "victim": {"pod": "web-1"}, "death": {"only_worker_killed": False},
    "in_flight": [{"request_id": IDS[0], "method": "GET", "path": "/books/7"}],
}  # fmt: skip


@pytest.fixture
def incident(tmp_path: Path) -> Incident:
    folder = tmp_path / "large_response-1"
    (folder / "input/alb").mkdir(parents=True)
    (folder / "truth").mkdir()
    (folder / "truth/truth.json").write_text(json.dumps(TRUTH))
    (folder / "input/alb/a.log.gz").write_bytes(b"")
    lines = [
        f'[{IDS[i]}] Started GET "{p}" for 1.1.1.1'
        for i, p in enumerate(["/books/7", "/books/7", "/health_check", "/x"])
    ]
    lines.append(f"[{IDS[3]}] Completed 200 OK in 3ms")
    events = [
        {"logStreamName": "a.web-1_b", "timestamp": 1000 * n, "message": text} for n, text in enumerate(lines)
    ]
    (folder / "input/cloudwatch.json.gz").write_bytes(gzip.compress(json.dumps({"events": events}).encode()))
    return load_corpus(tmp_path)[0]


def report(**over: Any) -> dict[str, Any]:
    suspect = {
        "kind": "endpoint",
        "endpoint": "BooksController#show",
        "method": "GET",
        "path_pattern": "/books/:id",
    }
    hypothesis = {
        "id": "H1", "pattern": "large_response", "status": "supported", "strength": "strong", "probability": 0.9,
        "suspect": suspect | over.pop("suspect", {}),
        "distinguishing": [{"kind": "path_id", "name": "id", "value": "7"}],
    }  # fmt: skip
    return {
        "kill": {"verdict": "oom_limit"}, "cause": {"hypothesis": "H1", "strength": "strong"},
        "hypotheses": [hypothesis], "in_flight": [{"request_id": IDS[0], "method": "GET", "path": "/books/7"}],
    } | over  # fmt: skip


def test_a_right_report_is_right_everywhere(incident: Incident) -> None:
    row = grade(incident, report())
    assert all(row[k] for k in ("verdict", "top1", "top3", "pattern", "accused_right", "trigger_named"))
    assert (row["in_flight_found"], row["in_flight_false"], row["false_accusation"]) == (1, 0, None)


def test_a_suspect_known_by_its_path_only_is_right(incident: Incident) -> None:
    assert grade(incident, report(suspect={"endpoint": None}))["top1"]
    assert not grade(incident, report(suspect={"endpoint": None, "method": "POST"}))["top1"]
    assert not grade(incident, report(suspect={"endpoint": "OtherController#show"}))["top1"]


def test_an_extra_request_in_flight_is_counted(incident: Incident) -> None:
    row = grade(incident, report(in_flight=[{"request_id": IDS[4], "method": "GET", "path": "/x"}]))
    assert (row["in_flight_found"], row["in_flight_false"]) == (0, 1)


def test_an_accusation_where_no_endpoint_is_at_fault_is_false(incident: Incident) -> None:
    blameless = Incident("u", incident.input, TRUTH | {"culprit": None, "kind": "undersized"})
    assert grade(blameless, report())["false_accusation"]
    assert not grade(blameless, report(hypotheses=[], cause={"hypothesis": None, "strength": "weak"}))[
        "false_accusation"
    ]


def test_a_job_is_matched_with_or_without_its_module(incident: Incident) -> None:
    jobs = Incident("j", incident.input, TRUTH | {"culprit": None, "culprit_job": "Nightly::SyncJob"})
    assert grade(jobs, report(suspect={"kind": "job", "endpoint": "SyncJob"}))["job"]


def test_the_original_method_counts_incomplete_paths(incident: Incident) -> None:
    assert ranked_paths(incident) == [("GET", "/books/7")]
    assert grade_original(incident)["top1"]


def test_a_variant_leaves_files_out(incident: Incident, tmp_path: Path) -> None:
    folder = make_variant(incident, VARIANTS["no ALB"], tmp_path / "v")
    assert [p.name for p in folder.rglob("*") if p.is_file()] == ["cloudwatch.json.gz"]


def test_tables_and_page(incident: Incident) -> None:
    rows = [grade(incident, report()) | {"variant": "full", "seconds": 0.1, "error": None}]
    assert tables.mistakes(rows) == []
    assert "large_response" in page([incident], rows, measures.markdown)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    assert main(["--corpus", str(tmp_path)]) == 2


def test_measures() -> None:
    assert measures.share([1, 0, None, 1]).n == 3
    assert measures.share([]).text() == "-"
    assert measures.calibration_error([0.9] * 10, [True] * 9 + [False]) == pytest.approx(0.1, abs=0.101)
    assert measures.brier([1.0, 0.0], [True, False]) == 0
    assert measures.replace_section("a<!-- x:begin -->old<!-- x:end -->b", "x", "new").count("new") == 1
    with pytest.raises(ValueError, match="no section"):
        measures.replace_section("nothing", "x", "new")
