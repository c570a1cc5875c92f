"""The tails equal those of scipy.stats."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom, poisson

from oomscope.analyze.tails import log_hypergeometric_tail, poisson_tail


@given(st.data())
def test_hypergeometric(data: st.DataObject) -> None:
    total = data.draw(st.integers(1, 500))
    marked, drawn = data.draw(st.integers(0, total)), data.draw(st.integers(0, total))
    at_least = data.draw(st.integers(0, total))
    ours, theirs = (
        log_hypergeometric_tail(at_least, total, marked, drawn),
        hypergeom.sf(at_least - 1, total, marked, drawn),
    )
    assert math.exp(ours) == pytest.approx(theirs, rel=1e-6, abs=1e-12)


@given(st.integers(0, 50), st.floats(1e-6, 100))
def test_poisson(at_least: int, mean: float) -> None:
    assert poisson_tail(at_least, mean) == pytest.approx(poisson.sf(at_least - 1, mean), rel=1e-9, abs=1e-300)
