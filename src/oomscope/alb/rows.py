"""What is read, and rows of single lines -> the table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, Protocol

import polars as pl

from oomscope.alb.line import Bounds
from oomscope.facts import ACCESS_SCHEMA, Window, polars_schema

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AlbInput(Protocol):
    """A log file: its name for the report and a fresh reader of its plain bytes."""

    @property
    def label(self) -> str:
        """File name."""

    def open(self) -> BinaryIO:
        """A fresh reader from the first byte, already inflated."""


def frame_of(rows: list[dict[str, Any]], columns: Collection[str] = ACCESS_SCHEMA) -> pl.DataFrame:
    """Rows with times in microseconds -> ACCESS_SCHEMA, or the part of it that is asked for."""
    return pl.DataFrame([
        pl.Series(name, [row.get(name) for row in rows], pl.Int64 if ACCESS_SCHEMA[name] == "time" else kind).cast(kind)
        for name, kind in polars_schema(ACCESS_SCHEMA).items()
        if name in columns
    ])  # fmt: skip


def micros_of(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def micro_bounds(windows: Window | Sequence[Window] | None) -> Bounds | None:
    """The windows, put together where they touch; None for no windows: any time."""
    if windows is None:
        return None
    spans = [windows] if isinstance(windows, Window) else windows
    edges: list[int] = []
    for start, end in sorted((micros_of(span.start), micros_of(span.end)) for span in spans):
        if edges and start <= edges[-1]:
            edges[-1] = max(edges[-1], end)
        elif start < end:
            edges += [start, end]
    return tuple(edges) or (0, 0)
