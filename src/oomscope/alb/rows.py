"""Rows of single lines -> the table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from oomscope.facts import ACCESS_SCHEMA, Window, polars_schema

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TRACE = r"Root=?(1-[0-9a-fA-F]{8}-[0-9a-fA-F]{24})"


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows with times in microseconds -> ACCESS_SCHEMA."""
    schema = polars_schema(ACCESS_SCHEMA)
    plain = {name: pl.Int64 if ACCESS_SCHEMA[name] == "time" else kind for name, kind in schema.items()}
    return pl.DataFrame(rows, schema=plain).cast(schema)  # type: ignore[arg-type]


def traces(texts: pl.Series) -> pl.Series:
    """``normalise_trace_id`` of a whole column."""
    root = texts.str.extract(_TRACE).str.to_lowercase()
    return pl.select(pl.lit("Root=") + root).to_series()


def micro_bounds(window: Window | None) -> tuple[int, int] | None:
    """The window as microseconds since 1970."""
    if window is None:
        return None
    micro = timedelta(microseconds=1)
    return (window.start - _EPOCH) // micro, (window.end - _EPOCH) // micro
