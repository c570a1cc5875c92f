"""What is done with single request rows: opened by a Started line, compared with a Completed line, merged."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

from oomscope.logs.rails_text import Started
from oomscope.logs.rows import RequestRow, intern

_ID_SEGMENT = re.compile(r"/(?!v\d{1,2}(?:/|$))[^/\d]{0,100}\d[^/]{0,300}")


def route(path: str) -> str:
    """A path with ids taken out, to compare requests to the same route: segments with a digit become ``:id``."""
    return _ID_SEGMENT.sub("/:id", path)


def start_row(head_pid: int | None, at: int | None, line: int, found: Started) -> RequestRow:
    """The row a Started line opens."""
    row = RequestRow("rack_level", at, line)
    row.pid, row.method, row.path = head_pid, intern(found.method), found.path
    row.query, row.client = found.query, found.client
    return row


def age_error(row: RequestRow, at: int | None, duration_ms: float) -> float:
    """How badly a Completed line at ``at`` after ``duration_ms`` fits this request, in microseconds."""
    began = row.processing_at if row.processing_at is not None else row.started_at
    if began is None or at is None:
        return 0.0
    return abs(at - began - duration_ms * 1000)


def merge(live: RequestRow, told: RequestRow) -> None:
    """Fill in what only a line that tells the whole request knows."""
    names: tuple[str, ...] = (
        "endpoint", "format", "status", "duration_ms", "view_ms", "db_ms", "allocations", "exception", "client",
        "trace_id", "params", "params_bytes", "mem_bytes", "gc_ms",
    )  # fmt: skip
    for name in names:
        value: Any = getattr(told, name)
        if value is not None and getattr(live, name) is None:
            setattr(live, name, value)


def by_id(key: Hashable) -> bool:
    """Request ids are texts; the process as a key (untagged logs) is a tuple."""
    return isinstance(key, str)


def since(then: int | None, now: int | None) -> int:
    """Microseconds between two times, 0 when one is unknown."""
    return 0 if then is None or now is None else now - then
