"""What the load balancer knows of the incomplete requests: the third step, as one JSON document.

The rows of a request that was cut off are found by time, method, path and target, never by size: the ALB's own 502 page
is among its smallest answers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from oomscope.alb.templates import templates
from oomscope.analyze.access_join import join
from oomscope.analyze.model import KillCase
from oomscope.errors import UnreadableError
from oomscope.facts import ACCESS_SCHEMA, REQUEST_SCHEMA, Window, empty, polars_schema
from oomscope.units import iso
from oomscope.workflow.files import any_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomscope.facts import Gap, Query

BEFORE = timedelta(minutes=1)
BASELINE = timedelta(minutes=10)  # at least so much ordinary traffic to compare with
AFTER = timedelta(minutes=5)  # the ALB writes the 502 of a dead request after the kill, sometimes much after
LONGEST = timedelta(hours=6)
MAX_REQUESTS = 20_000
_LISTS = ("incomplete_requests", "requests", "incomplete")
_KEYS = {
    "request_id": ("request_id", "requestId", "id"),
    "trace_id": ("trace_id",),
    "method": ("method", "http_method", "verb"),
    "path": ("path", "url", "endpoint"),
    "client": ("client_ip", "client", "ip", "remote_ip"),
    "pod": ("pod",),
}
_TIMES = ("started_at", "timestamp", "start_time", "time")
_SHOWN = [name for name in ACCESS_SCHEMA if name not in ("source", "line")]


@dataclass(frozen=True)
class Asked:
    """The incomplete requests as a table (REQUEST_SCHEMA), and the time around which to look."""

    requests: pl.DataFrame
    killed_at: datetime
    window: Window


def read_incomplete(document: Any) -> Asked:
    """The second step's document, or a plain list of requests. Raises ``UnreadableError`` when it holds none."""
    found = document
    if isinstance(document, dict):
        found = next((document[name] for name in _LISTS if isinstance(document.get(name), list)), None)
    entries = [e for e in found if isinstance(e, dict)][:MAX_REQUESTS] if isinstance(found, list) else []
    rows = [row for entry in entries if (row := _row(entry)) is not None]
    if not rows:
        raise UnreadableError(
            "no incomplete request to look up",
            likely="the step before found none, or could not see any (see its cannot_show)",
            fix="oomscope requests --input logs.json --output incomplete.json",
            slug="no-requests",
        )
    ends = [end for entry in entries if (end := any_time(entry.get("log_ends_at"))) is not None]
    first, last = min(row["started_at"] for row in rows), max(row["started_at"] for row in rows)
    # The log that most of them stood in, when it ended. (Two at once: the earlier, the other may be a survivor's.)
    killed_at = Counter(sorted(ends)).most_common(1)[0][0] if ends else last
    start = max(min(first - BEFORE, killed_at - BASELINE), killed_at - LONGEST)
    return Asked(
        pl.DataFrame(rows, schema=polars_schema(REQUEST_SCHEMA)), killed_at, Window(start, killed_at + AFTER)
    )


def _row(entry: dict[str, Any]) -> dict[str, Any] | None:
    at = next((found for name in _TIMES if (found := any_time(entry.get(name))) is not None), None)
    if at is None:
        return None
    row: dict[str, Any] = {"state": "open", "started_at": at, "stream": ""}
    for ours, names in _KEYS.items():
        row[ours] = next((entry[n][:4096] for n in names if isinstance(entry.get(n), str)), None)
    row["path"] = row["path"].partition("?")[0] if row["path"] else None
    return row if row["path"] else None


def analyse(
    asked: Asked, accesses: pl.DataFrame, gaps: Sequence[Gap], queries: Sequence[Query]
) -> dict[str, Any]:
    """The document: each request with its ALB row, what else was in flight there, and the endpoints' ordinary sizes."""
    rows = accesses if accesses.height else empty(ACCESS_SCHEMA)
    kill = KillCase("undetermined", "workflow", 0.0, "", killed_at=asked.killed_at)
    found = join(asked.requests, rows, kill=kill, pods=())
    matched = {pair["request_row"]: pair for pair in found.pairs.iter_rows(named=True)}
    return {
        "format": 1,
        "window": {"start": iso(asked.window.start), "end": iso(asked.window.end)},
        "killed_at": iso(asked.killed_at),
        "rows": rows.height,
        "dead_target": found.dead_target,
        "noticed_at": iso(found.fingerprint_at),
        "clock_offset_s": found.clock_offset_s,
        "requests": [
            _with_access(number, row, matched, rows)
            for number, row in enumerate(asked.requests.iter_rows(named=True))
        ],
        "also_in_flight": [_access(row) for row in found.lost.iter_rows(named=True)],
        "endpoints": _endpoints(asked.requests, rows),
        "notes": list(found.notes),
        "gaps": [{"source": g.source, "reason": g.reason, "detail": g.detail, "fix": g.fix} for g in gaps],
        "queries": [
            {
                "source": q.source,
                "text": q.text,
                "rows": q.rows,
                "bytes_read": q.bytes_read,
                "cost_usd": q.cost_usd,
            }
            for q in queries
        ],
    }


def _with_access(
    number: int, row: dict[str, Any], matched: dict[int, dict[str, Any]], rows: pl.DataFrame
) -> dict[str, Any]:
    pair = matched.get(number)
    shown = {
        "request_id": row["request_id"],
        "method": row["method"],
        "path": row["path"],
        "client_ip": row["client"],
        "started_at": iso(row["started_at"]),
    }
    access = _access(rows.row(pair["access_row"], named=True)) if pair else None
    return {**shown, "match": pair["how"] if pair else None, "access": access}


def _access(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: iso(row[name]) if isinstance(row[name], datetime) else row[name]
        for name in _SHOWN
        if name in row
    }


def _endpoints(requests: pl.DataFrame, rows: pl.DataFrame) -> list[dict[str, Any]]:
    """For each endpoint of an incomplete request, the sizes of its answered and the number of its unanswered rows.

    Endpoints are method and path template: ids in a path would make each request an endpoint of its own.
    """
    key = pl.concat_str(pl.col("method").fill_null("?"), pl.lit(" "), "template")
    wanted = requests.with_columns(templates(requests["path"]).alias("template")).select(
        key.alias("endpoint")
    )
    known = rows.with_columns(templates(rows["path"]).alias("template")).with_columns(key.alias("endpoint"))
    found = []
    for (endpoint,), asked in wanted.group_by("endpoint", maintain_order=True):
        mine = known.filter(pl.col("endpoint") == endpoint)
        answered = mine.filter(pl.col("target_status").is_not_null())
        found.append(
            {
                "endpoint": endpoint,
                "incomplete": asked.height,
                "answered": answered.height,
                "unanswered": mine.height - answered.height,
                "received_bytes": _sizes(
                    mine["received_bytes"]
                ),  # a request's size is known however it ended
                "sent_bytes": _sizes(answered["sent_bytes"]),
            }
        )
    return sorted(found, key=lambda entry: (-entry["incomplete"], str(entry["endpoint"])))


def _sizes(values: pl.Series) -> dict[str, Any]:
    return {"median": values.median(), "max": values.max()}
