"""ALB access logs -> one table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, BinaryIO

import polars as pl

from oomscope.alb.ahead import read_ahead
from oomscope.alb.line import MAX_LINE, AlbStats, read_line
from oomscope.alb.rows import AlbInput, frame_of, micro_bounds, micros_of
from oomscope.alb.scan import scan
from oomscope.facts import ACCESS_SCHEMA, Window, polars_schema

_GROUP = 16  # files handed to a thread together at most: small ones are read together
_GROUPS = 16  # groups to make at least, so that threads end at about the same time
_ORDER = ("time", "source", "line")


def parse_alb(inputs: Sequence[AlbInput], *, window: Window | None = None) -> pl.DataFrame:
    """All rows (ACCESS_SCHEMA) whose ``time`` lies in the window, sorted by time, source, line.

    Queries are as written in the log (redacting is the caller's). Damaged lines are left out, and counted by
    ``parse_alb_report``.
    """
    return parse_alb_report(inputs, window=window)[0]


def parse_alb_report(
    inputs: Sequence[AlbInput],
    *,
    window: Window | Sequence[Window] | None = None,
    columns: Collection[str] | None = None,
    limit: int | None = None,
    near: Sequence[datetime] = (),
) -> tuple[pl.DataFrame, AlbStats]:
    """``parse_alb`` and what became of every line.

    ``columns``: only these (time, source and line come always). ``limit``: keep at most so many rows, those nearest to
    one of the times ``near``, the latest when there are none.
    """
    wanted = frozenset(columns or ACCESS_SCHEMA) | set(_ORDER)
    frames, held, stats = list[pl.DataFrame](), 0, AlbStats()
    for frame, found in scan_alb(inputs, window=window, columns=wanted):
        stats += found
        if frame.height:
            frames.append(frame)
            held += frame.height
        if limit is not None and held >= 2 * limit:
            frames, held = [_nearest(pl.concat(frames), limit, near)], limit
    schema = {name: kind for name, kind in polars_schema(ACCESS_SCHEMA).items() if name in wanted}
    table = pl.concat(frames) if frames else pl.DataFrame(schema=schema)
    if limit is not None and table.height > limit:
        table = _nearest(table, limit, near)
    stats += AlbStats(left_out=stats.rows - table.height)
    return table.sort(_ORDER, maintain_order=True), stats


def _nearest(table: pl.DataFrame, limit: int, near: Sequence[datetime]) -> pl.DataFrame:
    time = pl.col("time").to_physical()
    far = pl.min_horizontal(*((time - micros_of(at)).abs() for at in near)) if near else -time
    keys = table.select(far.alias("far"), *_ORDER).with_row_index("row").sort("far", *_ORDER)
    return table[keys["row"].head(limit).sort()]


def scan_alb(
    inputs: Sequence[AlbInput],
    *,
    window: Window | Sequence[Window] | None = None,
    columns: Collection[str] = ACCESS_SCHEMA,
) -> Iterator[tuple[pl.DataFrame, AlbStats]]:
    """The rows chunk by chunk, for sums over logs of any size in constant memory; no order within a chunk."""
    bounds, wanted = micro_bounds(window), frozenset(columns)

    def read(some: Sequence[AlbInput]) -> Iterator[tuple[pl.DataFrame, AlbStats]]:
        return scan(some, bounds, wanted)

    size = min(max(len(inputs) // _GROUPS, 1), _GROUP)
    yield from read_ahead([inputs[at : at + size] for at in range(0, len(inputs), size)], read)


def parse_slowly(
    source: AlbInput, *, window: Window | Sequence[Window] | None = None
) -> tuple[pl.DataFrame, AlbStats]:
    """One file, line by line, in file order: the meaning that the fast reader is held to."""
    bounds = micro_bounds(window)
    rows: list[dict[str, Any]] = []
    stats = AlbStats()
    with source.open() as stream:
        for number, line in enumerate(_lines(stream), 1):
            row, seen = read_line(line, bounds)
            stats += replace(seen, first_damaged=f"{source.label}:{number}" if seen.damaged else None)
            if row:
                rows.append({**row, "source": source.label, "line": number})
    return frame_of(rows), stats


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines of the stream; of one too long to be a log line only the start."""
    while line := stream.readline(MAX_LINE + 2):
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = stream.readline(1 << 20)
        yield line
