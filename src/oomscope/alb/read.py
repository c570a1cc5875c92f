"""ALB access logs -> one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, Protocol

import polars as pl

from oomscope.alb.line import CONTROL, AlbStats, Damaged, parse_line
from oomscope.facts import ACCESS_SCHEMA, Window, polars_schema

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AlbInput(Protocol):
    """A log file: its name for the report and a fresh reader of its plain bytes."""

    @property
    def label(self) -> str:
        """File name."""

    def open(self) -> BinaryIO:
        """A fresh reader from the first byte, already inflated."""


def parse_alb(inputs: Sequence[AlbInput], *, window: Window | None = None) -> pl.DataFrame:
    """All rows (ACCESS_SCHEMA) whose ``time`` lies in the window, sorted by time, source, line.

    Queries are as written in the log (redacting is the caller's). Damaged lines are left out; see ``parse_alb_report``.
    """
    return parse_alb_report(inputs, window=window)[0]


def parse_alb_report(
    inputs: Sequence[AlbInput], *, window: Window | None = None
) -> tuple[pl.DataFrame, AlbStats]:
    """``parse_alb`` and what became of every line."""
    frames, stats = [], AlbStats()
    for source in inputs:
        frame, found = parse_slowly(source, window=window)
        frames.append(frame)
        stats += found
    table = pl.concat(frames) if frames else pl.DataFrame(schema=polars_schema(ACCESS_SCHEMA))
    return table.sort("time", "source", "line", maintain_order=True), stats


def parse_slowly(source: AlbInput, *, window: Window | None = None) -> tuple[pl.DataFrame, AlbStats]:
    """One file, line by line: the meaning that any faster reader is held to."""
    bounds = micro_bounds(window)
    rows: list[dict[str, Any]] = []
    stats = AlbStats()
    with source.open() as stream:
        for number, line in enumerate(_lines(stream), 1):
            row, seen = read_one(line, bounds)
            stats += seen if not seen.damaged else replace(seen, first_damaged=f"{source.label}:{number}")
            if row:
                rows.append({**row, "source": source.label, "line": number})
    return frame_of(rows), stats


def read_one(line: bytes, bounds: tuple[int, int] | None) -> tuple[dict[str, Any] | None, AlbStats]:
    """The row of a line, if it has one inside the bounds (microseconds), and the count to add for it."""
    size = len(line)
    if not line.strip():
        return None, AlbStats(lines=1, blank=1, bytes=size)
    if line.startswith(CONTROL):
        return None, AlbStats(lines=1, control=1, bytes=size)
    try:
        row = parse_line(line)
    except Damaged:
        return None, AlbStats(lines=1, damaged=1, bytes=size)
    if bounds and not bounds[0] <= row["time"] < bounds[1]:
        return None, AlbStats(lines=1, outside=1, bytes=size)
    return row, AlbStats(lines=1, rows=1, repaired=int(row.pop("repaired")), bytes=size)


def micro_bounds(window: Window | None) -> tuple[int, int] | None:
    """The window as microseconds since 1970."""
    if window is None:
        return None
    micro = timedelta(microseconds=1)
    return (window.start - _EPOCH) // micro, (window.end - _EPOCH) // micro


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows with times in microseconds -> ACCESS_SCHEMA."""
    schema = polars_schema(ACCESS_SCHEMA)
    plain = {name: pl.Int64 if ACCESS_SCHEMA[name] == "time" else kind for name, kind in schema.items()}
    return pl.DataFrame(rows, schema=plain).cast(schema)  # type: ignore[arg-type]


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines of the stream; one too long to be a log line comes in pieces, each of which is damaged."""
    while line := stream.readline(1 << 20):
        yield line
