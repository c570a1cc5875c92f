"""Rows of single lines -> the table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from oomscope.facts import ACCESS_SCHEMA, Window, polars_schema

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows with times in microseconds -> ACCESS_SCHEMA."""
    schema = polars_schema(ACCESS_SCHEMA)
    plain = {name: pl.Int64 if ACCESS_SCHEMA[name] == "time" else kind for name, kind in schema.items()}
    return pl.DataFrame(rows, schema=plain).cast(schema)  # type: ignore[arg-type]


def micro_bounds(window: Window | None) -> tuple[int, int] | None:
    """The window as microseconds since 1970."""
    if window is None:
        return None
    micro = timedelta(microseconds=1)
    return (window.start - _EPOCH) // micro, (window.end - _EPOCH) // micro
