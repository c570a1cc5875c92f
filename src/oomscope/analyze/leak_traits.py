"""Which runs of a leaking endpoint keep memory: all of them, or those that ask for something.

The completions of the endpoint are cut in two by one value of one parameter or id, and the memory rows are regressed on
either part alone. The value is named when one part explains the growth much better than all runs together do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from oomscope.analyze.growth import lasting_fit
from oomscope.analyze.split import rows_of
from oomscope.analyze.statements import statement
from oomscope.analyze.traits import ABSENT, Columns, Feature, read_traits
from oomscope.report import Distinguishing
from oomscope.units import format_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oomscope.analyze.case import Case
    from oomscope.analyze.growth import Growth

    Flags = NDArray[np.bool_]

MIN_RUNS = 3  # with the value
MOST_VALUES, MOST_TRIED = 8, 40
MOST_RUNS = 5000  # looked at; of more, the endpoint's parameters are not compared
# That runs picked at random explain as much more, times values tried. The likelihood ratio bounds it, and loosely.
CHANCE = 0.1


def leaking_runs(case: Case, who: int) -> tuple[Distinguishing, ...]:
    """The value that tells the runs which keep memory from those that do not, or nothing."""
    growth, runs = case.growth, case.runs
    mine = (runs.who == who) & ~runs.open & ~np.isnan(runs.end) & (runs.request_row >= 0)
    if growth is None or not 2 * MIN_RUNS <= int(mine.sum()) <= MOST_RUNS:
        return ()
    table = rows_of(case, mine)
    tried = list(_cuts(read_traits(table, table.head(0))))[:MOST_TRIED]
    found = [(_gain(case, growth, who, mine, has), feature, value, has) for feature, value, has in tried]
    (gain, each), feature, value, has = max(found, key=lambda one: one[0][0], default=((0.0, 0.0), *NOTHING))
    chance = len(tried) * math.exp(-gain)
    if chance > CHANCE or feature is None:
        return ()
    lives = np.unique(runs.life[mine]).size
    return (_describe(feature, value, has, lives, each, chance),)


NOTHING = (None, None, np.zeros(0, dtype=bool))


def _cuts(columns: Columns) -> Iterator[tuple[Feature, str | None, Flags]]:
    """Every common enough value, then that there is any, with the runs that have it: of equals the first is told."""
    for feature, (values, _) in columns.items():
        counts = Counter(v for v in values if v is not None)
        if feature.kind not in ("param", "path_id"):
            continue
        for value, count in counts.most_common(MOST_VALUES):
            if MIN_RUNS <= count < len(values) and value != ABSENT:
                yield feature, value, np.array([v == value for v in values])
        given = np.array([v not in (None, ABSENT) for v in values])
        if ABSENT in counts and given.sum() >= MIN_RUNS:
            yield feature, None, given


def _gain(case: Case, growth: Growth, who: int, mine: Flags, has: Flags) -> tuple[float, float]:
    """Log-likelihood ratio of the runs that have it against all runs of the endpoint; bytes each of those keeps."""
    runs = case.runs
    apart = runs.who.copy()
    apart[np.flatnonzero(mine)[has]] = runs.n
    cut = replace(runs, who=apart, names=(*runs.names, ""), is_job=np.append(runs.is_job, False))
    fit = lasting_fit(cut, growth)
    return (0.0, 0.0) if fit is None else (float(fit.ll[-1] - growth.done.ll[who]), float(fit.beta[-1]))


def _describe(
    feature: Feature, value: str | None, has: Flags, lives: int, each: float, chance: float
) -> Distinguishing:
    said, hits = statement(feature, "present" if value is None else "value", value), int(has.sum())
    where = f" in {lives} containers" if lives > 1 else ""
    return Distinguishing(
        kind=feature.kind,
        name=feature.name,
        value=value,
        hits=hits,
        of=has.size,
        p_value=float(f"{chance:.3g}"),
        text=f"{hits} of {has.size} runs{where} had {said}; memory grew with those alone; {format_bytes(each)} each",
    )
