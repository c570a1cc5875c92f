"""What simple methods would have answered: the yardsticks beside every table."""

from __future__ import annotations

import polars as pl

from oomscope.evidence import Bundle

BASELINES = ("count", "ratio", "oldest", "Ochiai")


def ranked(bundle: Bundle) -> dict[str, list[str]]:
    """Per method the endpoints, most suspicious first."""
    killed_at, pod = bundle.target.at, bundle.target.pod
    requests = bundle.requests.filter(pl.col("started_at") <= killed_at)
    running = requests.filter(pl.col("ended_at").is_null() | (pl.col("ended_at") > killed_at))
    mine = running.filter((pl.col("pod") == pod) & pl.col("ended_at").is_null())
    recent = requests.filter(
        (pl.col("pod") == pod) & (killed_at - pl.col("started_at") <= pl.duration(minutes=5))
    )
    counts = mine.group_by("endpoint").agg(pl.len().alias("open"), pl.col("started_at").min().alias("first"))
    totals = recent.group_by("endpoint").agg(pl.len().alias("total"))
    table = counts.join(totals, on="endpoint", how="left").with_columns(
        ratio=pl.col("open") / pl.col("total")
    )
    return {
        "count": _by(table, "open"),
        "ratio": _by(table, "ratio"),
        "oldest": table.sort("first", "endpoint")["endpoint"].to_list(),
        "Ochiai": _ochiai(running, pod),
    }


def _by(table: pl.DataFrame, column: str) -> list[str]:
    return table.sort([column, "endpoint"], descending=[True, False], nulls_last=True)["endpoint"].to_list()


def _ochiai(running: pl.DataFrame, pod: str | None) -> list[str]:
    """Spectrum score over pods: running on the pod that died, against running on pods that lived."""
    seen = running.select("endpoint", "pod").unique()
    scores = seen.group_by("endpoint").agg(
        failed=(pl.col("pod") == pod).sum(), passed=(pl.col("pod") != pod).sum()
    )
    scored = scores.with_columns(score=pl.col("failed") / (pl.col("failed") + pl.col("passed")).sqrt())
    return _by(scored.filter(pl.col("failed") > 0), "score")
