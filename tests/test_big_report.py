"""A million requests, 5,000 in flight: the page stays small and says what it leaves out.

How fast it is: ``python -m bench.big``.
"""

from __future__ import annotations

import re

import pytest
from bench.big import FLOODING, big_bundle

from oomscope import pipeline
from oomscope.render import render
from oomscope.render.html import extract_report
from oomscope.report import Report


@pytest.fixture(scope="module")
def report() -> Report:
    return pipeline.analyse(big_bundle(1_000_000, 5_000))


def test_the_same_seed_gives_the_same_bundle() -> None:
    assert big_bundle(2_000, 100).requests.equals(big_bundle(2_000, 100).requests)
    assert not big_bundle(2_000, 100).requests.equals(big_bundle(2_000, 100, seed=2).requests)


def test_all_in_flight_are_found_and_the_flood_is_named(report: Report) -> None:
    assert report.impact["requests_in_flight"] == 5_000
    assert report.hypotheses[0].suspect.endpoint == f"Area{FLOODING}Controller#show"


def test_the_page_is_small_and_says_what_it_leaves_out(report: Report) -> None:
    page = render(report, "html")
    assert len(page.encode()) < 1_500_000
    assert "100 of 5,000 shown, longest first" in page
    assert "20 of 5,000 in flight, longest first" in page
    assert re.search(r"[\d,]+ of [\d,]{5,} drawn", page)
    assert re.search(r"60 of \d+ shown", page)
    inside = extract_report(page)
    assert f"cut to {len(inside.in_flight)} requests in flight" in page
    assert len(inside.in_flight) < 5_000
    assert inside.impact["requests_in_flight"] == 5_000


@pytest.mark.parametrize("fmt", ["text", "markdown", "slack"])
def test_the_other_forms_stay_short(report: Report, fmt: str) -> None:
    text = render(report, fmt)  # type: ignore[arg-type]
    assert "5,000" in text
    assert len(text) < 40_000
