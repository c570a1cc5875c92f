"""The requests of a suspect endpoint in two tables: those that were (or may have been) bad, and its ordinary ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oomscope.analyze.case import Case

LONG_FACTOR, LONG_S = 3.0, 1.0


def split_requests(case: Case, who: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(suspect, ordinary) rows of an endpoint: what was open at the kill against all that ended.

    When nothing of it was open, its unusually long runs are the suspects. Rows carry ``received_bytes`` and
    ``user_agent`` where an ALB row was joined; without an application log they are ALB rows in the same columns.
    """
    runs = case.runs
    flight = case.flight.requests.filter(pl.col("endpoint") == runs.names[who])
    ended = (runs.who == who) & ~runs.open & ~np.isnan(runs.end)
    if not flight.is_empty():
        return _with_sizes(flight, case), rows_of(case, ended)
    usual = math.exp(float(case.base.mu[who] + case.base.sigma[who]))
    long = ended & (runs.duration > max(LONG_S, LONG_FACTOR * usual))
    return rows_of(case, long), rows_of(case, ended & ~long)


def with_waiting(case: Case, who: int, suspect: pl.DataFrame) -> pl.DataFrame:
    """The suspect requests together with those of the endpoint that waited at the load balancer and died with it.

    Where one value made the requests bad, most of those that waited carry it too: they came from the same place.
    """
    waiting = case.waiting.row[case.waiting.who == who]
    if not waiting.size:
        return suspect
    same = [
        name
        for name in ("method", "path", "query", "client", "user_agent", "received_bytes")
        if name in suspect
    ]
    return pl.concat([suspect.select(same), _access_rows(case, waiting).select(same)], how="vertical_relaxed")


def rows_of(case: Case, mask: NDArray[np.bool_]) -> pl.DataFrame:
    """Runs as rows of their log, or of the load balancer where the log has none."""
    runs = case.runs
    logged = mask & (runs.request_row >= 0)
    places = pl.DataFrame({"request_row": runs.request_row[logged], "access_row": runs.access_row[logged]})
    if places.height:
        requests = case.bundle.requests[places["request_row"]]
        return _with_sizes(pl.concat([places, requests], how="horizontal"), case)
    return _access_rows(case, runs.access_row[mask & (runs.access_row >= 0)])


def _with_sizes(rows: pl.DataFrame, case: Case) -> pl.DataFrame:
    """What only the load balancer knows; also the query, where the log (one line a request) has none."""
    seen = case.bundle.accesses.with_row_index("access_row").select(
        pl.col("access_row").cast(pl.Int64), "received_bytes", "user_agent", asked="query"
    )
    joined = rows.join(seen, on="access_row", how="left", maintain_order="left")
    return joined.with_columns(query=pl.coalesce("query", "asked")).drop("asked")


def _access_rows(case: Case, places: NDArray[np.int64]) -> pl.DataFrame:
    columns = ["method", "path", "query", "client", "user_agent", "received_bytes"]
    elapsed = (pl.col("time") - pl.col("created_at")).dt.total_microseconds() / 1e3
    picked: pl.DataFrame = case.bundle.accesses[places.tolist()]
    return picked.select(*columns, started_at="created_at", ended_at="time", duration_ms=elapsed)
