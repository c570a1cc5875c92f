"""Traffic per endpoint of access logs of any size, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from oomscope.alb.line import AlbStats
from oomscope.alb.read import scan_alb
from oomscope.alb.rows import AlbInput
from oomscope.alb.templates import roughly, templates
from oomscope.facts import Window

_BATCH = 65_536  # rows added up at a time: less costs overhead, more costs memory
_COLUMNS = ("method", "path", "received_bytes", "sent_bytes")


def payload_per_endpoint(
    inputs: Sequence[AlbInput], *, window: Window | None = None
) -> tuple[pl.DataFrame, AlbStats]:
    """Rows, bytes received and sent (sum and largest) per method and path template, most bytes sent first."""
    parts, stats = list[pl.DataFrame](), AlbStats()
    for batch, found in _batches(inputs, window):
        stats += found
        parts.append(_add_up(batch))
        if len(parts) > 64:
            parts = [_merge(parts)]
    return _merge([*parts, _add_up(pl.DataFrame(schema=_SCHEMA))]), stats


_SCHEMA = {"method": pl.String, "path": pl.String, "received_bytes": pl.Int64, "sent_bytes": pl.Int64}


def _batches(inputs: Sequence[AlbInput], window: Window | None) -> Iterator[tuple[pl.DataFrame, AlbStats]]:
    frames, stats, rows = list[pl.DataFrame](), AlbStats(), 0
    for frame, found in scan_alb(inputs, window=window, columns=_COLUMNS):
        frames.append(frame)
        stats += found
        rows += frame.height
        if rows >= _BATCH:
            yield pl.concat(frames), stats
            frames, stats, rows = [], AlbStats(), 0
    if frames:
        yield pl.concat(frames), stats


def _add_up(rows: pl.DataFrame) -> pl.DataFrame:
    """Sums per method and path with its numbers replaced, then per template: few rows are left to be looked at."""
    rough = rows.group_by("method", roughly(rows["path"]).alias("path")).agg(
        pl.len().cast(pl.Int64).alias("rows"),
        pl.col("received_bytes").sum().alias("received_total"),
        pl.col("received_bytes").max().alias("received_max"),
        pl.col("sent_bytes").sum().alias("sent_total"),
        pl.col("sent_bytes").max().alias("sent_max"),
    )
    return _per_template(rough.with_columns(templates(rough["path"]).alias("template")))


def _merge(parts: list[pl.DataFrame]) -> pl.DataFrame:
    table = _per_template(pl.concat(parts))
    return table.sort(["sent_total", "method", "template"], descending=[True, False, False])


def _per_template(sums: pl.DataFrame) -> pl.DataFrame:
    totals = ("rows", "received_total", "sent_total")
    same = sums.group_by("method", "template")
    return same.agg(pl.col(*totals).sum(), pl.col("received_max", "sent_max").max())
