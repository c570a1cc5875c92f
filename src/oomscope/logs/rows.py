"""Rows of the request and job tables while they are being built, and the tables made of them."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from oomscope.facts import JOB_SCHEMA, REQUEST_SCHEMA, empty, polars_schema

if TYPE_CHECKING:
    import polars as pl

    from oomscope.logs.interface import Identity

FLUSH_ROWS = 8192
MOST_ROWS = 40_000  # of one stream; a log of any size must not take more memory than that
MOST_IN_ALL = 80_000  # of all streams together
ENDED = ("completed", "errored", "failed", "superseded", "enqueued")
STREAM_COLUMNS = ("stream", "pod", "container_id")


class RequestRow:
    """One request. Names as in REQUEST_SCHEMA; times in microseconds since 1970; stream columns come at the end."""

    __slots__ = (*(name for name in REQUEST_SCHEMA if name not in STREAM_COLUMNS), "endings")

    def __init__(self, state: str, started_at: int | None, line: int) -> None:
        self.state = state
        self.started_at = started_at
        self.line = line
        self.pid: int | None = None
        self.thread: str | None = None
        self.request_id: str | None = None
        self.trace_id: str | None = None
        self.method: str | None = None
        self.path: str | None = None
        self.query: str | None = None
        self.endpoint: str | None = None
        self.format: str | None = None
        self.client: str | None = None
        self.params: str | None = None
        self.params_bytes: int | None = None
        self.processing_at: int | None = None
        self.ended_at: int | None = None
        self.status: int | None = None
        self.duration_ms: float | None = None
        self.view_ms: float | None = None
        self.db_ms: float | None = None
        self.gc_ms: float | None = None
        self.allocations: int | None = None
        self.mem_bytes: int | None = None
        self.exception: str | None = None
        self.note: str | None = None
        self.raw: str | None = None
        self.endings = 0  # times it ended and still waits for late lines, see tracker

    def add_note(self, note: str) -> None:
        """Append a note once."""
        if self.note is None:
            self.note = note
        elif note not in self.note:
            self.note = f"{self.note}; {note}"


class JobRow:
    """One run of a job. Names as in JOB_SCHEMA; times in microseconds since 1970."""

    __slots__ = tuple(name for name in JOB_SCHEMA if name not in STREAM_COLUMNS)

    def __init__(self, state: str, line: int) -> None:
        self.state = state
        self.line = line
        self.pid: int | None = None
        self.thread: str | None = None
        self.adapter: str | None = None
        self.job_class: str | None = None
        self.job_id: str | None = None
        self.queue: str | None = None
        self.args: str | None = None
        self.enqueued_at: int | None = None
        self.started_at: int | None = None
        self.ended_at: int | None = None
        self.duration_ms: float | None = None
        self.note: str | None = None
        self.raw: str | None = None

    def add_details(self, fields: dict[str, Any]) -> None:
        """Fill in what is not known yet."""
        for name in ("adapter", "job_class", "queue"):
            if getattr(self, name) is None:
                setattr(self, name, intern(fields.get(name)))
        if self.args is None:
            self.args = fields.get("args")


class Rows:
    """Finished rows of one stream, packed into columns every ``FLUSH_ROWS`` so that they stay small in memory."""

    def __init__(self, schema: dict[str, str]) -> None:
        self._schema = {name: kind for name, kind in schema.items() if name not in STREAM_COLUMNS}
        self._pending: list[Any] = []
        self._waiting: list[dict[str, Any]] = []
        self._waiting_rows = 0
        self._packed: deque[pl.DataFrame] = deque()
        self._unended: list[pl.DataFrame] = []  # what is left of the oldest
        self.count = 0
        self.kept = 0  # in columns
        self.given_up = 0

    def add(self, row: RequestRow | JobRow) -> None:
        """Take a row that will not change any more."""
        self.count += 1
        self._pending.append(row)
        if len(self._pending) >= FLUSH_ROWS:
            self._pack()

    def add_columns(self, columns: dict[str, Any], without: set[int]) -> None:
        """Take finished rows that are columns already, all but these."""
        count = len(columns["line"])
        if without:
            kept = [place for place in range(count) if place not in without]
            columns = {name: [values[place] for place in kept] for name, values in columns.items()}
            count = len(kept)
        self.count += count
        self._waiting.append(columns)
        self._waiting_rows += count
        if self._waiting_rows >= FLUSH_ROWS:
            self._pack_columns()

    def _pack_columns(self) -> None:
        import numpy as np
        import polars as pl

        types = polars_schema(self._schema)
        series = []
        for name in self._waiting[0]:
            parts = [columns[name] for columns in self._waiting]
            if isinstance(parts[0], list) and self._schema[name] == "str":
                values = pl.Series(name, [value for part in parts for value in part], pl.String)
            else:
                values = pl.Series(name, np.concatenate(parts))
            series.append(values)
        frame = pl.DataFrame(series).with_columns(
            pl.col("view_ms", "db_ms", "gc_ms").fill_nan(None),
            pl.when(pl.col("allocations", "params_bytes") >= 0).then(pl.col("allocations", "params_bytes")),
            pl.lit("completed").alias("state"),
        )
        absent = [pl.lit(None).alias(name) for name in self._schema if name not in frame.columns]
        frame = frame.with_columns(absent).select(pl.col(name).cast(types[name]) for name in self._schema)
        self._keep(frame)
        self._waiting.clear()
        self._waiting_rows = 0

    def _keep(self, frame: pl.DataFrame) -> None:
        self._packed.append(frame)
        self.kept += frame.height
        self.shrink(MOST_ROWS)

    def shrink(self, most: int) -> None:
        """Keep about so many rows: the oldest are given up, but for those that did not end."""
        import polars as pl

        open_ = pl.col("state") == "open"
        if "status" not in self._schema:
            open_ = ~pl.col("state").is_in(ENDED)
        while self.kept > most and self._packed:
            frame = self._packed.popleft()
            rest = frame.filter(open_)
            self.kept -= frame.height
            self.given_up += frame.height - rest.height
            self._unended.append(rest)
        while len(self._unended) > 1 and sum(frame.height for frame in self._unended) > MOST_ROWS:
            self.given_up += self._unended.pop(0).height

    def forget(self) -> None:
        """Give up all rows that ended, so that those kept from now on are of one piece of the log."""
        if self._waiting:
            self._pack_columns()
        if self._pending:
            self._pack()
        self.shrink(0)

    def _pack(self) -> None:
        import polars as pl

        types = polars_schema(self._schema)
        columns = {
            name: pl.Series(name, [getattr(row, name) for row in self._pending], _storage(kind), strict=False)
            for name, kind in self._schema.items()
        }
        frame = pl.DataFrame(columns)
        times = [pl.col(name).cast(types[name]) for name, kind in self._schema.items() if kind == "time"]
        self._keep(frame.with_columns(times))
        self._pending.clear()

    def frame(self) -> pl.DataFrame | None:
        """All rows without the stream's own columns; None if there is none. They are not kept here any longer."""
        import polars as pl

        if self._pending:
            self._pack()
        if self._waiting:
            self._pack_columns()
        frames = [*self._unended, *self._packed]
        self._unended.clear()
        self._packed.clear()
        return pl.concat(frames) if frames else None


def _storage(kind: str) -> Any:
    import polars as pl

    return {"str": pl.String, "float": pl.Float64}.get(kind, pl.Int64)


def stream_table(
    frame: pl.DataFrame | None, schema: dict[str, str], stream: str, identity: Identity
) -> pl.DataFrame:
    """A stream's rows in the column order of the schema, with the columns that say whose they are."""
    import polars as pl

    if frame is None:
        return empty(schema)
    owner = {"stream": stream, "pod": identity.pod, "container_id": identity.container_id}
    named = [pl.lit(value, dtype=pl.String).alias(name) for name, value in owner.items()]
    return frame.with_columns(named).select(list(schema))


def intern(text: str | None) -> str | None:
    """One copy of texts that come again and again (methods, endpoints, formats)."""
    return None if text is None else sys.intern(text)
