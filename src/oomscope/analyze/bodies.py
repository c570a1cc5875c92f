"""How large request bodies were, as far as the application log alone can tell.

Rails prints ``Started`` when a request reaches it and ``Processing by`` after a JSON body has been parsed, so a large
body shows as a gap between the two: measured 7.5 s for 14.7 MB, against milliseconds for small ones. A process that
is stalled as a whole makes all gaps long, so only what goes beyond the usual gap of the same seconds counts, and only
seconds in which the process did something at all: while the kernel reclaims memory it logs nothing.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

PARSE_BYTES_PER_S = 1e6  # on the careful side of the measured 2 MB/s
SAME_TIME = "2s"
STALL_FACTOR = 3.0
MIN_EXCESS_S = 1.0
QUIET_S = 0.5
BODY_METHODS = ("POST", "PUT", "PATCH")


def body_bytes(requests: pl.DataFrame, killed_at: datetime) -> pl.Series:
    """Estimated body size of each request in bytes, in row order; null where the log tells nothing.

    The length of the logged parameters, or what the gap before the controller stands for, whichever is larger.
    """
    gap = (
        pl.when(pl.col("processing_at").is_not_null())
        .then(_seconds(pl.col("processing_at") - pl.col("started_at")))
        .when(pl.col("ended_at").is_null() & (pl.col("state") == "rack_level"))
        .then(_seconds(pl.lit(killed_at) - pl.col("started_at")))
    )
    with_body = pl.col("method").is_in(BODY_METHODS).fill_null(False)
    logged = pl.when(with_body).then(pl.col("params_bytes").cast(pl.Float64))
    timed = requests.select(
        "stream", "started_at", "processing_at", logged=logged, gap=gap, with_body=with_body
    )
    timed = timed.with_columns(late=(pl.col("with_body") & (pl.col("gap") >= MIN_EXCESS_S)).fill_null(False))
    # Most logs hold no such gap: what is usual at that time costs more than all the rest together.
    if not timed["late"].any():
        return timed["logged"].alias("body")
    excess = _excess(timed, _silence(requests, killed_at, timed["late"]))
    parsed = pl.when(pl.col("late") & (excess >= MIN_EXCESS_S)).then(excess * PARSE_BYTES_PER_S)
    return timed.select(pl.max_horizontal(parsed, "logged").alias("body")).to_series()


def _excess(timed: pl.DataFrame, silence: pl.Series) -> pl.Series:
    """Seconds of each gap beyond the silence of its process and what was usual there in the same seconds."""
    settled = pl.col("gap").filter(pl.col("processing_at").is_not_null())
    bins = timed.with_columns(bin=pl.col("started_at").dt.truncate(SAME_TIME), silence=silence)
    usual = pl.coalesce(settled.median().over("stream", "bin"), settled.median(), 0.0)
    return bins.select(pl.col("gap") - pl.col("silence") - STALL_FACTOR * usual).to_series()


def _silence(requests: pl.DataFrame, killed_at: datetime, asked: pl.Series) -> pl.Series:
    """Seconds of each request's gap in which its stream logged no life cycle line for longer than ``QUIET_S``.

    Only of streams in which one is ``asked`` for; zero elsewhere."""
    quiet = np.zeros(requests.height)
    start = requests["started_at"].dt.epoch("us").to_numpy().astype(float) / 1e6
    stop = requests["processing_at"].fill_null(killed_at).dt.epoch("us").to_numpy().astype(float) / 1e6
    end = requests["ended_at"].dt.epoch("us").to_numpy().astype(float) / 1e6
    streams = requests["stream"].fill_null("").to_numpy()
    for stream in np.unique(streams[asked.to_numpy()]):
        mine = streams == stream
        times = np.concatenate([start[mine], stop[mine], end[mine]])
        times = np.unique(times[~np.isnan(times)])
        steps = np.diff(times, prepend=times[0])
        total = np.cumsum(np.where(steps > QUIET_S, steps, 0.0))
        quiet[mine] = np.interp(stop[mine], times, total) - np.interp(start[mine], times, total)
    return pl.Series("silence", quiet).fill_nan(0.0)


def _seconds(span: pl.Expr) -> pl.Expr:
    return span.dt.total_microseconds() / 1e6
