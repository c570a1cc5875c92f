"""Whether a leak is found again when the memory rows are drawn anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from oomscope.analyze.growth import Fit, Growth, fit_lasting
from oomscope.analyze.increments import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RESAMPLES, BLOCK_ROWS, SEED = 40, 4, 20260304


@dataclass(frozen=True)
class LeakRows:
    """What the leaks of a report are fitted on: the memory rows, finer and coarser, and the fit of the finer ones."""

    tables: tuple[Rows, ...]
    fit: Fit


def leak_rows(growth: Growth | None) -> LeakRows | None:
    """Those of one incident; None where memory was not sampled."""
    return None if growth is None else LeakRows((growth.fine[0], growth.floor_rows), growth.done)


def stability(leak: LeakRows) -> Floats:
    """Share of resamples of the rows (in blocks) in which each endpoint explains the growth best, better than all
    traffic together. Seeded: the same rows give the same shares."""
    rng = np.random.default_rng(SEED)
    wins = np.zeros(leak.fit.ll.size)
    for _ in range(RESAMPLES):
        gains, steady = np.zeros(wins.size), 0.0
        for rows in leak.tables:
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
