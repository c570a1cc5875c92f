"""Requests the load balancer gave up on while the dead process was still at work on them.

The client left (460) or the target took too long (504), and the app never learns of either: Rails goes on to the end.
A log that writes one line when a request ends then tells which of them never ended.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from oomscope.analyze.access_target import is_target

if TYPE_CHECKING:
    from oomscope.analyze.model import AccessJoin
    from oomscope.evidence import Bundle
    from oomscope.facts import LogStream

_GAVE_UP = [460, 504]
_IDLE = timedelta(minutes=1)  # a log may begin so long before its first request
_LEAST_ANSWERED = 20
_LEAST_MATCHED = (
    0.95  # of the answered rows, how many must have their line in the log: else a missing line says nothing
)


def given_up(
    bundle: Bundle, join: AccessJoin, stream: LogStream | None, since: datetime, killed_at: datetime
) -> pl.DataFrame:
    """ALB rows (ACCESS_SCHEMA plus ``row``) given up on before the kill whose end the dead process's log lacks.

    None where the log cannot tell: it also writes when a request starts, has lost lines, or does not go back so far.
    """
    rows = bundle.accesses.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    if (
        stream is None
        or stream.cannot_show != "lograge"
        or stream.first_at is None
        or join.dead_target is None
    ):
        return rows.clear()
    mine = rows.filter(
        is_target(bundle.accesses, join.dead_target)
        & pl.col("created_at").is_between(max(since, _known_from(bundle, stream, stream.first_at)), killed_at)
    )
    matched = join.pairs.select(row=pl.col("access_row").cast(pl.Int64)).unique()
    over = mine.filter(pl.col("time") < killed_at)
    answered = over.filter(pl.col("target_status").is_not_null())
    has_line = answered.join(matched, on="row", how="semi").height
    if answered.height < _LEAST_ANSWERED or has_line < _LEAST_MATCHED * answered.height:
        return rows.clear()
    gave_up = pl.col("target_status").is_null() & pl.col("elb_status").is_in(_GAVE_UP)
    left = over.filter(gave_up).join(matched, on="row", how="anti")
    ended = pl.col("last_end") >= pl.col("created_at")
    ends = _ends(bundle, join, stream)
    return left.join(ends, on=["method", "path"], how="left").filter(~ended.fill_null(False)).drop("last_end")


def _known_from(bundle: Bundle, stream: LogStream, first_at: datetime) -> datetime:
    """Since when there are rows of the log's requests: of a large one only the last are kept."""
    begun = bundle.requests.filter(pl.col("stream") == stream.stream)["started_at"].min()
    return begun if isinstance(begun, datetime) and begun - first_at > _IDLE else first_at


def _ends(bundle: Bundle, join: AccessJoin, stream: LogStream) -> pl.DataFrame:
    """The last end of every method and path among the lines that have no ALB row: it may be of any of these."""
    matched = join.pairs.select(pl.col("request_row").cast(pl.UInt32)).unique()
    lines = bundle.requests.with_row_index("request_row").filter(pl.col("stream") == stream.stream)
    alone = lines.join(matched, on="request_row", how="anti")
    return alone.group_by("method", "path").agg(last_end=pl.col("ended_at").max())
