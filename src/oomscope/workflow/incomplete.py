"""Which requests had begun and not ended when their log ended: the second step, as one JSON document.

Pairing is the log scan's own. A log that cannot show such requests is told as that: no incomplete request found in
it would mean nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import polars as pl

from oomscope import evidence, logs
from oomscope.alb.templates import templates
from oomscope.evidence import Bundle
from oomscope.redact import Redactor
from oomscope.units import iso

if TYPE_CHECKING:
    from datetime import tzinfo

    from oomscope.facts import LogStream
    from oomscope.logs.interface import LogInput, LogScan

# What probes and scrapers call, by the usual names of such paths.
MONITORING = re.compile(
    r"/(?:[\w-]+/)?(?:health(?:[_-]?checks?|z)?|up|ping|metrics|livez|readyz|liveness|readiness|status)(?:\.\w+)?/?"
)
MIN_STARTS = 5
REGULAR = 0.15  # median absolute deviation over median of the intervals
MAX_CLIENTS = 10


@dataclass(frozen=True)
class Options:
    """``last``: how near to the newest line a log must end to be of the incident."""

    last: timedelta = timedelta(minutes=5)
    exclude: tuple[str, ...] = ()
    tz: tzinfo | None = None
    show_params: bool = False


def find_incomplete(inputs: Sequence[LogInput], options: Options) -> dict[str, Any]:
    """The document: incomplete requests, counts by endpoint and client, rhythm, and what could not be seen.

    Where a container's log is followed by that of its next instance, the requests in question are those of the logs
    that ended so; what was open elsewhere was only running when the input ended.
    """
    scan = logs.scan(inputs, tz=options.tz)
    newest = max((stream.last_at for stream in scan.streams if stream.last_at), default=None)
    recent = [s for s in scan.streams if newest is None or (s.last_at and s.last_at >= newest - options.last)]
    dead = [stream for stream in recent if _followed(stream, scan.streams)] or recent
    table = _table(scan, options).with_columns(
        pl.col("stream").is_in([s.stream for s in recent]).alias("recent"),
        pl.col("stream").is_in([s.stream for s in dead]).alias("dead"),
    )
    monitoring = table.filter(pl.col("recent") & pl.col("monitoring"))
    ours = table.filter(pl.col("recent") & ~pl.col("monitoring"))
    cut, ends = ours.filter("dead"), {stream.stream: stream.last_at for stream in recent}
    blind = [stream for stream in dead if stream.cannot_show or not stream.coverage.recognised]
    opened = _requests(cut, "open", ends)
    return {
        "format": 1,
        "window": {"end": iso(newest), "last_n_minutes": options.last.total_seconds() / 60},
        "conclusive": bool(dead) and not blind,
        "cannot_show": [_blind(stream) for stream in blind],
        "incomplete_count": len(opened),
        "incomplete_requests": opened,
        "rack_level": _requests(cut, "rack_level", ends),
        "running_elsewhere": _requests(ours.filter(~pl.col("dead")), "open", ends),
        "by_endpoint": _by_endpoint(ours),
        "by_client": _counts(cut.filter(pl.col("state") == "open")["client"]),
        "excluded": {
            "monitoring": monitoring.height,
            "monitoring_incomplete": monitoring.filter((pl.col("state") == "open") & pl.col("dead")).height,
            "requests_of_logs_that_ended_earlier": table.filter(~pl.col("recent")).height,
        },
        "streams": [_stream(stream, stream in dead) for stream in scan.streams],
        "gaps": [
            {"source": g.source, "reason": g.reason, "detail": g.detail, "fix": g.fix} for g in scan.gaps
        ],
    }


def _followed(stream: LogStream, streams: Sequence[LogStream]) -> bool:
    """Whether another instance of the same container began to log after this one had ended."""
    return stream.pod is not None and any(
        (other.pod, other.namespace, other.container) == (stream.pod, stream.namespace, stream.container)
        and other.container_id != stream.container_id
        and other.first_at is not None
        and stream.last_at is not None
        and other.first_at >= stream.last_at
        for other in streams
    )


def _table(scan: LogScan, options: Options) -> pl.DataFrame:
    """The requests, redacted, with what each one called (endpoint, or method and path template)."""
    templated = pl.concat_str("method", pl.lit(" "), templates(scan.requests["path"]))
    return _redacted(scan, options).with_columns(
        _monitoring(scan.requests["path"], options.exclude).alias("monitoring"),
        pl.coalesce("endpoint", templated).alias("what"),
    )


def _requests(table: pl.DataFrame, state: str, ends: dict[str, datetime | None]) -> list[dict[str, Any]]:
    found = table.filter(pl.col("state") == state).sort("started_at", maintain_order=True)
    return [_request(row, ends) for row in found.iter_rows(named=True)]


def _redacted(scan: LogScan, options: Options) -> pl.DataFrame:
    bundle = evidence.redacted(Bundle(requests=scan.requests), Redactor(options.show_params))
    return bundle.requests


def _monitoring(paths: pl.Series, more: Sequence[str]) -> pl.Series:
    exact = set(more)
    found = [p is not None and (p in exact or MONITORING.fullmatch(p) is not None) for p in paths]
    return pl.Series(found, dtype=pl.Boolean)


def _blind(stream: LogStream) -> dict[str, Any]:
    why = stream.why or "no line of a Rails log was recognised"
    return {
        "stream": stream.stream,
        "reason": stream.cannot_show or "no_rails_lines",
        "why": why,
        "fix": stream.fix,
    }


def _stream(stream: LogStream, dead: bool) -> dict[str, Any]:
    return {
        "stream": stream.stream,
        "in_question": dead,
        "pod": stream.pod,
        "container_id": stream.container_id,
        "shape": stream.shape,
        "first_at": iso(stream.first_at),
        "last_at": iso(stream.last_at),
        "lines": stream.coverage.lines,
        "recognised": stream.coverage.recognised,
        "opened": stream.coverage.opened,
        "closed": stream.coverage.closed,
    }


def _request(row: dict[str, Any], ends: dict[str, datetime | None]) -> dict[str, Any]:
    started = row["started_at"] or row["processing_at"]
    end = ends.get(row["stream"])
    return {
        "request_id": row["request_id"],
        "trace_id": row["trace_id"],
        "method": row["method"],
        "path": row["path"],
        "query": row["query"],
        "endpoint": row["what"],
        "client_ip": row["client"],
        "started_at": iso(started),
        "log_ends_at": iso(end),
        "age_s": round((end - started).total_seconds(), 3) if end and started else None,
        "pod": row["pod"],
        "pid": row["pid"],
        "thread": row["thread"],
    }


def _by_endpoint(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Most incomplete ones first. ``total`` is the endpoint's ordinary traffic, without which a count says little."""
    found = []
    for (what,), rows in table.group_by("what", maintain_order=True):
        opened = rows.filter((pl.col("state") == "open") & pl.col("dead"))
        found.append(
            {
                "endpoint": what,
                "incomplete": opened.height,
                "total": rows.height,
                "first_started_at": iso(opened["started_at"].min()),  # type: ignore[arg-type]
                "last_started_at": iso(opened["started_at"].max()),  # type: ignore[arg-type]
                "clients": _counts(opened["client"]),
                "repeats_every_s": _rhythm_of(rows),
            }
        )
    kept = [entry for entry in found if entry["incomplete"]]
    return sorted(kept, key=lambda entry: (-entry["incomplete"], str(entry["endpoint"])))


def _counts(clients: pl.Series) -> list[dict[str, Any]]:
    counted = Counter(client for client in clients if client)
    return [{"client_ip": client, "incomplete": n} for client, n in sorted(counted.most_common(MAX_CLIENTS))]


def _rhythm_of(rows: pl.DataFrame) -> float | None:
    """The beat at which the endpoint's most frequent client calls it, if it keeps one."""
    clients = rows["client"].drop_nulls()
    if len(clients):
        rows = rows.filter(pl.col("client") == clients.mode().sort()[0])
    return rhythm(rows["started_at"].drop_nulls().sort().to_list())


def rhythm(starts: Sequence[datetime]) -> float | None:
    """Seconds between calls when they come as regularly as a machine's; None for people's traffic.

    Median of the intervals, if their median absolute deviation is below 15 % of it and it is at least a second.
    """
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(starts)]
    if len(starts) < MIN_STARTS:
        return None
    middle = median(gaps)
    if middle < 1.0 or median(abs(gap - middle) for gap in gaps) > REGULAR * middle:
        return None
    return round(middle, 1)
