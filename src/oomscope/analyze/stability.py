"""Whether a leak is found again when the memory rows are drawn anew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from oomscope.analyze.growth import Growth, Rows, fit_lasting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RESAMPLES, BLOCK_ROWS, SEED = 40, 4, 20260304


def stability(growth: Growth) -> Floats:
    """Share of resamples of the rows (in blocks) in which each endpoint explains the growth best, better than all
    traffic together. Seeded: the same rows give the same shares."""
    rng = np.random.default_rng(SEED)
    wins = np.zeros(growth.done.ll.size)
    for _ in range(RESAMPLES):
        gains, steady = np.zeros(wins.size), 0.0
        for rows in (growth.fine_rows, growth.floor_rows):
            picked = _resampled(rows, rng)
            fit = fit_lasting(picked)
            gains, steady = gains + fit.ll, steady + fit.total_ll
        if gains.size and gains.max() > steady:
            wins[int(gains.argmax())] += 1
    return wins / RESAMPLES


def _resampled(rows: Rows, rng: np.random.Generator) -> Rows:
    blocks = max(rows.n // BLOCK_ROWS, 1)
    starts = rng.integers(0, max(rows.n - BLOCK_ROWS, 0) + 1, blocks)
    index = np.minimum((starts[:, None] + np.arange(BLOCK_ROWS)).ravel(), rows.n - 1)
    return replace(
        rows, y=rows.y[index], starts=rows.starts[index], done=rows.done[index], seconds=rows.seconds[index],
        held=rows.held[index], age=rows.age[index], dead=rows.dead[index], late=rows.late[index],
    )  # fmt: skip
