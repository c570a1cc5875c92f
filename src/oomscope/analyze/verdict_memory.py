"""A fall of memory from the limit in one step while the container runs on: the trace of a child's death. Pure.

A garbage collection can do the same, so this never convicts; it gives a death that something else tells of its time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from oomscope.analyze.verdict_death import Death, belongs, near

if TYPE_CHECKING:
    from oomscope.evidence import Bundle

_NEAR_LIMIT = 0.9
_FALL = 0.3  # of the limit, within two samples
_FIRST_STEP = 0.1


def falls(bundle: Bundle, deaths: list[Death]) -> list[Death]:
    """One Death (``ended`` False, ``dropped_bytes`` set) for each fall that no known death explains."""
    if bundle.memory.is_empty():
        return []
    who = ("namespace", "pod", "container", "container_id")
    used = pl.coalesce("working_set_bytes", "usage_bytes", "rss_bytes")
    steps = (
        bundle.memory.with_columns(used=used)
        .filter(pl.col("used").is_not_null() & pl.col("limit_bytes").is_not_null())
        .sort("at")
        .with_columns(
            before=pl.col("used").shift(1).over(who),
            low=pl.min_horizontal("used", pl.col("used").shift(-1).over(who)),
            left=pl.col("used").cum_count(reverse=True).over(who),
        )
        .filter(
            (pl.col("before") >= _NEAR_LIMIT * pl.col("limit_bytes"))
            & (pl.col("before") - pl.col("used") >= _FIRST_STEP * pl.col("limit_bytes"))
            & (pl.col("before") - pl.col("low") >= _FALL * pl.col("limit_bytes"))
            & (pl.col("left") >= 2)
        )
    )
    found = []
    for row in steps.iter_rows(named=True):
        death = Death(
            row["namespace"], row["pod"], None, row["container"], row["container_id"], row["at"], False
        )
        death.dropped_bytes = row["before"] - row["low"]
        if not any(_explains(known, death) for known in deaths):
            found.append(death)
    return found


def _explains(known: Death, fall: Death) -> bool:
    if known.container_id and fall.container_id:
        return known.container_id == fall.container_id and near(known.at, fall.at)
    return belongs(known, fall.namespace, fall.pod_name, fall.container) and near(known.at, fall.at)
