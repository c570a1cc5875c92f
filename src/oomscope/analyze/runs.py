"""Requests and jobs as one set of columns: who ran, where, when, how big. Times are seconds after the kill.

A *run* is one request or one job. Where an application log is missing the load balancer's rows are the runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from oomscope.analyze.bodies import body_bytes
from oomscope.analyze.model import AccessJoin, InFlight, KillCase
from oomscope.analyze.names import EndpointNames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oomscope.evidence import Bundle

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

HORIZON_S = 6 * 3600.0  # runs that ended longer than this before the kill say nothing about it

MEASURED_SHARE = 0.5  # of the requests joined to a load-balancer row, from which sizes count as measured

_FINISHED = ("completed", "errored")
_READ = (
    "stream", "pid", "method", "path", "endpoint", "state", "status", "started_at", "ended_at", "allocations",
    "mem_bytes",
)  # fmt: skip
_COLUMNS = {
    "life": pl.String,
    "name": pl.String,
    "job": pl.Boolean,
    "start": pl.Float64,
    "end": pl.Float64,
    "allocs": pl.Float64,
    "mem": pl.Float64,
    "received": pl.Float64,
    "sent": pl.Float64,
    "status": pl.Int64,
    "dead": pl.Boolean,
    "open": pl.Boolean,
    "request_row": pl.Int64,
    "access_row": pl.Int64,
}


@dataclass(frozen=True)
class Runs:
    """Columns of equal length, one entry a run, ordered by start.

    ``who`` indexes ``names``; ``life`` indexes ``lives`` (one container instance each); ``end`` is NaN while open or
    unknown; ``dead``: ran in the instance that died; ``open``: in flight there at the kill. Unknown sizes are NaN.
    ``is_job`` goes with ``names``. ``request_row``/``access_row``: row in the bundle's tables, -1 for none.
    """

    names: tuple[str, ...]
    is_job: Flags
    lives: tuple[str, ...]
    who: Ints
    life: Ints
    start: Floats
    end: Floats
    allocs: Floats
    mem: Floats
    received: Floats
    sent: Floats
    status: Ints
    dead: Flags
    open: Flags
    request_row: Ints
    access_row: Ints
    source: str = "app_log"  # or alb

    @property
    def n(self) -> int:
        """Number of endpoints and job classes."""
        return len(self.names)

    @property
    def duration(self) -> Floats:
        """Seconds from start to end; NaN while open."""
        return self.end - self.start

    @property
    def age(self) -> Floats:
        """Seconds from start to the kill."""
        return -self.start

    def count(self, mask: Flags, weights: Floats | None = None) -> Floats:
        """Per endpoint: how many of the runs in ``mask`` (or the sum of their weights)."""
        chosen = None if weights is None else weights[mask]
        return np.bincount(self.who[mask], weights=chosen, minlength=self.n).astype(float)


def make_runs(
    bundle: Bundle, kill: KillCase, flight: InFlight, join: AccessJoin, names: EndpointNames
) -> Runs:
    """All runs that bear on this kill. ``kill.killed_at`` must be known."""
    if kill.killed_at is None:
        raise ValueError("runs are timed from the kill")
    body = _bodies(bundle, kill.killed_at, join)
    logged = _logged(bundle, kill, join, names, body)
    source = "app_log"
    if logged.is_empty():
        logged, source = _from_alb(bundle, kill, join, names), "alb"
    parts = [
        logged,
        _jobs(bundle, kill, flight),
        _open_requests(flight, bundle, body),
        _open_jobs(flight),
    ]
    table = pl.concat(parts)
    table = table.filter(
        pl.col("start").is_not_null() & ((pl.col("end").is_null()) | (pl.col("end") >= -HORIZON_S))
    )
    table = table.with_columns(pl.col("name").fill_null("?"), pl.col("life").fill_null("?"))
    return _columns(table.sort("start", "name", "life", "request_row"), source)


def seconds_after(column: str, killed_at: datetime) -> pl.Expr:
    """A time column as seconds after the kill (negative before it)."""
    return (pl.col(column) - pl.lit(killed_at)).dt.total_microseconds() / 1e6


def _shape(table: pl.DataFrame) -> pl.DataFrame:
    missing = [
        pl.lit(None, dtype=kind).alias(name) for name, kind in _COLUMNS.items() if name not in table.columns
    ]
    return table.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in _COLUMNS.items())


def _logged(
    bundle: Bundle, kill: KillCase, join: AccessJoin, names: EndpointNames, body: pl.Series
) -> pl.DataFrame:
    at = _time(kill)
    told = bundle.requests.select(_READ).with_columns(body=body)
    done = told.with_row_index("request_row").filter(
        pl.col("state").is_in(_FINISHED) & pl.col("ended_at").is_not_null() & (pl.col("started_at") <= at)
    )
    pairs = join.pairs.select(
        pl.col("request_row").cast(pl.UInt32), pl.col("access_row").cast(pl.Int64)
    ).unique("request_row", keep="first", maintain_order=True)
    sizes = bundle.accesses.with_row_index("access_row").select(
        pl.col("access_row").cast(pl.Int64), "received_bytes", "sent_bytes"
    )
    done = done.join(pairs, on="request_row", how="left").join(sizes, on="access_row", how="left")
    return _shape(
        done.with_columns(
            life=pl.col("stream"),
            name=names.of_rows(done),
            job=pl.lit(False),
            start=seconds_after("started_at", at),
            end=seconds_after("ended_at", at),
            allocs="allocations",
            mem="mem_bytes",
            received=pl.coalesce(pl.col("received_bytes").cast(pl.Float64), "body"),
            sent="sent_bytes",
            dead=_in_dead_process(kill),
            open=pl.lit(False),
        )
    )


def _bodies(bundle: Bundle, killed_at: datetime, join: AccessJoin) -> pl.Series:
    """Body sizes the log alone lets guess; nothing where the load balancer measured them."""
    if join.pairs.height >= MEASURED_SHARE * max(bundle.requests.height, 1):
        return pl.Series("body", [None] * bundle.requests.height, dtype=pl.Float64)
    return body_bytes(bundle.requests, killed_at)


def _in_dead_process(kill: KillCase) -> pl.Expr:
    same_stream = pl.col("stream") == (kill.stream or "")
    if kill.verdict == "oom_child" and kill.victim_pid_in_container is not None:
        same_pid = pl.col("pid").is_null() | (pl.col("pid") == kill.victim_pid_in_container)
        return (same_stream & same_pid).fill_null(False)
    return same_stream.fill_null(False)


def _jobs(bundle: Bundle, kill: KillCase, flight: InFlight) -> pl.DataFrame:
    at = _time(kill)
    done = bundle.jobs.filter(pl.col("ended_at").is_not_null() & (pl.col("started_at") <= at))
    return _shape(
        done.with_columns(
            life=pl.col("stream"),
            name=pl.col("job_class"),
            job=pl.lit(True),
            start=seconds_after("started_at", at),
            end=seconds_after("ended_at", at),
            dead=_in_dead_process(kill),
            open=pl.lit(False),
        )
    )


def _open_requests(flight: InFlight, bundle: Bundle, body: pl.Series) -> pl.DataFrame:
    sizes = bundle.accesses.with_row_index("access_row").select(
        pl.col("access_row").cast(pl.Int64), "received_bytes"
    )
    rows = flight.requests.join(sizes, on="access_row", how="left", maintain_order="left")
    rows = rows.with_columns(body=body.gather(rows["request_row"]))
    return _shape(
        rows.with_columns(
            life=pl.col("stream").fill_null("dead"),
            name="endpoint",
            job=pl.lit(False),
            start=-pl.col("age_s"),
            received=pl.coalesce(pl.col("received_bytes").cast(pl.Float64), "body"),
            dead=pl.lit(True),
            open=pl.lit(True),
        )
    )


def _open_jobs(flight: InFlight) -> pl.DataFrame:
    return _shape(
        flight.jobs.with_columns(
            life=pl.col("stream").fill_null("dead"),
            name="job_class",
            job=pl.lit(True),
            start=-pl.col("age_s"),
            dead=pl.lit(True),
            open=pl.lit(True),
        )
    )


def _from_alb(bundle: Bundle, kill: KillCase, join: AccessJoin, names: EndpointNames) -> pl.DataFrame:
    at = _time(kill)
    rows = bundle.accesses.with_row_index("access_row").filter(
        pl.col("created_at").is_not_null()
        & (pl.col("created_at") <= at)
        & pl.col("target_status").is_not_null()
    )
    ours = pl.col("target_ip") == (join.dead_target or "").rpartition(":")[0]
    return _shape(
        rows.with_columns(
            life=pl.col("target_ip"),
            name=pl.Series(names.names(rows["method"], rows["path"]), dtype=pl.String),
            job=pl.lit(False),
            start=seconds_after("created_at", at),
            end=seconds_after("time", at),
            received="received_bytes",
            sent="sent_bytes",
            status="elb_status",
            open=pl.lit(False),
            dead=(
                ours & (pl.col("created_at") >= (kill.started_at or at.min.replace(tzinfo=at.tzinfo)))
            ).fill_null(False),
        )
    )


def _time(kill: KillCase) -> datetime:
    if kill.killed_at is None:
        raise ValueError("runs are timed from the kill")
    return kill.killed_at


def _coded(values: pl.Series) -> tuple[tuple[str, ...], Ints]:
    """The different texts in order, and the place of every row's among them."""
    different = values.unique().sort()
    return tuple(different), values.cast(pl.Enum(different)).to_physical().to_numpy().astype(np.int64)


def _columns(table: pl.DataFrame, source: str) -> Runs:
    lives, life = _coded(table["life"])
    every, name = _coded(table["name"])
    code = 2 * name + table["job"].to_numpy()
    pairs = np.flatnonzero(np.bincount(code, minlength=2 * len(every)))
    place = np.zeros(2 * len(every), dtype=np.int64)
    place[pairs] = np.arange(pairs.size)

    def floats(column: str) -> Floats:
        return table[column].cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(float)

    def ints(column: str) -> Ints:
        return table[column].cast(pl.Int64).fill_null(-1).to_numpy().astype(np.int64)

    def flags(column: str) -> Flags:
        return table[column].fill_null(False).to_numpy().astype(bool)

    return Runs(
        names=tuple(every[pair // 2] for pair in pairs),
        is_job=(pairs % 2).astype(bool),
        lives=lives,
        who=place[code],
        life=life,
        start=floats("start"),
        end=floats("end"),
        allocs=floats("allocs"),
        mem=floats("mem"),
        received=floats("received"),
        sent=floats("sent"),
        status=ints("status"),
        dead=flags("dead"),
        open=flags("open"),
        request_row=ints("request_row"),
        access_row=ints("access_row"),
        source=source,
    )
