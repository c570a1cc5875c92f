"""Request events of the line parsers (one-line requests, structured loggers, rack-timeout) applied to the tracker."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

from oomscope.logs.interface import LogEvent
from oomscope.logs.rails_text import Completed
from oomscope.logs.request_lines import MAX_RAW, Line
from oomscope.logs.rows import RequestRow, intern
from oomscope.logs.shape import trace_id
from oomscope.logs.tracker import Tracker

_CLASS = re.compile(r"[A-Z]\w{0,100}(?:::[A-Z]\w{0,100}){0,12}")
_ANONYMOUS = frozenset({"started", "processing", "completed", "exception"})
_SHARED = ("method", "endpoint", "format")
_OWN = (
    "path", "query", "client", "params", "params_bytes", "trace_id", "status", "duration_ms", "view_ms", "db_ms",
    "gc_ms", "allocations", "mem_bytes", "exception", "note",
)  # fmt: skip


def apply_event(tracker: Tracker, event: LogEvent, at: int | None, line: Line, *, text_log: bool) -> bool:
    """Give a request event to the tracker; False when it is no request event.

    Beside a text log (``text_log``), events that name neither request nor thread only tell the same again.
    """
    kind = event.kind
    if text_log and kind in _ANONYMOUS and event.request_id is None and event.thread is None:
        return True
    if kind == "request":
        tracker.whole_request(_request(event, at, line))
    elif kind == "started":
        row = _row(event, at, line)
        row.raw = line.text[:MAX_RAW]
        tracker.started(_key(event), row)
    elif kind == "processing":
        _processing(tracker, event, at, line)
    elif kind == "completed":
        fields = event.fields
        tracker.completed(_key(event), at, _completed(fields), endpoint=fields.get("endpoint"))
    elif kind == "exception":
        tracker.errored(_key(event), at, _class_name(str(event.fields.get("exception"))))
    elif kind == "websocket":
        tracker.websocket(_key(event), event.fields.get("path"))
    elif kind == "websocket_finished":
        tracker.websocket_finished(str(event.fields.get("path") or ""), at)
    elif kind == "timeout_state":
        _timeout_state(tracker, event, at)
    else:
        return kind in ("parameters", "request_note")
    return True


def _key(event: LogEvent) -> Hashable:
    """Request id, else the thread, which structured loggers print; else the process."""
    return event.request_id or ("process", event.pid, event.thread)


def _row(event: LogEvent, at: int | None, line: Line) -> RequestRow:
    row = RequestRow("rack_level", at, line.number)
    row.pid, row.thread, row.request_id = event.pid, intern(event.thread), event.request_id
    fields: dict[str, Any] = event.fields
    for name in _SHARED:
        setattr(row, name, intern(fields.get(name)))
    for name in _OWN:
        setattr(row, name, fields.get(name))
    if row.trace_id is None:
        row.trace_id = trace_id(line.head.tags) or trace_id(event.request_id or "")
    return row


def _request(event: LogEvent, at: int | None, line: Line) -> RequestRow:
    """A whole request in one line, which is written at its end."""
    row = _row(event, at, line)
    row.state, row.ended_at = "completed", at
    if at is not None and row.duration_ms is not None:
        row.started_at = row.processing_at = at - int(row.duration_ms * 1000)
    return row


def _processing(tracker: Tracker, event: LogEvent, at: int | None, line: Line) -> None:
    endpoint = event.fields.get("endpoint")
    if not endpoint or tracker.processing(_key(event), at, endpoint, event.fields.get("format")) is not None:
        return
    row = _row(event, at, line)
    row.processing_at, row.raw = at, line.text[:MAX_RAW]
    tracker.unstarted(_key(event), row)


def _completed(fields: dict[str, Any]) -> Completed:
    return Completed(
        fields.get("status"),
        float(fields.get("duration_ms") or 0.0),
        fields.get("view_ms"),
        fields.get("db_ms"),
        fields.get("gc_ms"),
        fields.get("allocations"),
    )


def _class_name(text: str) -> str:
    found = _CLASS.match(text)
    return found[0] if found else text[:200]


def _timeout_state(tracker: Tracker, event: LogEvent, at: int | None) -> None:
    """rack-timeout wraps the whole application: what it calls completed is over, controller or not."""
    if event.request_id and event.fields.get("state") in ("completed", "expired"):
        tracker.ended_otherwise(event.request_id, at, "rack-timeout saw its end")
