"""Lograge: one line a request, in its key=value, JSON, Logstash, LTSV, Cee and Graylog2 forms.

The caller has stripped the Ruby prefix and the tags. What this format cannot show:

- No line at the start of a request: what was in flight at a kill never appears at all. A log with only such lines
  says nothing about open requests; that is "unknown", not "none".
- No query string in ``path``, no params unless the application adds them, no process id, no thread.
- ``status=0`` (left by ``throw``) hides the status the client saw; mounted Rack apps, routing errors and
  middleware answers print no line.
- The line is printed when the action ends, so the start is the line's time minus ``duration``; queueing before the
  controller and the sending of the body are not in it. A custom ``time`` option may be the start or the end.

A ``request`` event closes a request of the same id that is still open (``keep_original_rails_log`` prints both).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from oomscope.logs.interface import LogEvent
from oomscope.logs.scalars import (
    MAX_PARAMS,
    as_float,
    as_int,
    as_text,
    as_time,
    bracket_end,
    cut,
    json_text,
    ruby_pairs,
    trace_root,
)

_MAX_KEYS = 200
_PAIR = re.compile(r"(?:^|(?<=\s))([A-Za-z_][\w.#\-]{0,63})=")
_REQUEST_ID = ("request_id", "requestId", "req_id", "x_request_id", "correlation_id", "uuid")
_CLIENT = ("remote_ip", "client_ip", "ip", "remote_addr")
_TRACE = ("trace_id", "x_amzn_trace_id", "amzn_trace_id", "x-amzn-trace-id", "trace")
_TIME = ("@timestamp", "timestamp", "time", "ts", "datetime")
_MILLIS = {
    "duration_ms": ("duration", "duration_ms", "measure#page.duration"),
    "view_ms": ("view", "view_ms", "view_runtime", "measure#page.view"),
    "db_ms": ("db", "db_ms", "db_runtime", "measure#page.db"),
    "gc_ms": ("gc", "gc_ms", "gc_time", "gc_time_ms"),
}
_SECONDS = {"duration_ms": "duration_s", "view_ms": "view_duration_s", "db_ms": "db_duration_s"}


def parse_lograge(text: str) -> LogEvent | None:
    """One line of any of the formatters as a ``request`` event; None if it is not one."""
    body = text.strip()
    if body.startswith("@cee:"):
        body = body[5:].lstrip()
    if body.startswith("{"):
        return from_mapping(_json(body) if body[1:2] in '"}' else _graylog(body))
    if body.startswith("method:") and "\t" in body:
        return from_mapping(_ltsv(body))
    if "method=" in body and ("status=" in body or "duration=" in body):
        return from_mapping(_key_values(body))
    return None


def _json(body: str) -> Mapping[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        # Ruby 3.4 prints a hash with string keys almost like JSON
        found = ruby_pairs(body) if '" => ' in body[:80] or '"=>' in body[:80] else None
    return found if isinstance(found, dict) else {}


def _graylog(body: str) -> dict[str, Any]:
    return {key.removeprefix("_"): value for key, value in ruby_pairs(body).items()}


def _ltsv(body: str) -> dict[str, Any]:
    pairs = (part.partition(":") for part in body.split("\t", _MAX_KEYS)[:_MAX_KEYS])
    found: dict[str, Any] = {}
    for key, colon, value in pairs:
        if colon:
            found.setdefault(key, value.strip("'") if key == "error" else value)
    return found


def _key_values(body: str) -> dict[str, Any]:
    """First value of each key. ``error='...'`` is not escaped, so it is cut out first, up to its last quote."""
    found: dict[str, Any] = {}
    start, end = body.find(" error='"), body.rfind("' duration=")
    if 0 <= start < end:
        found["error"] = body[start + 8 : end]
        body = body[:start] + body[end + 1 :]
    at = 0
    while len(found) < _MAX_KEYS:
        key = _PAIR.search(body, at)
        if not key:
            break
        at = key.end()
        opens = body[at : at + 1] in ("{", "[")
        stop = bracket_end(body, at) if opens else body.find(" ", at)
        stop = len(body) if stop < 0 else stop
        found.setdefault(key[1], body[at:stop])
        at = stop
    return found


def from_mapping(found: Mapping[str, Any]) -> LogEvent | None:
    """The event of lograge's keys, however they were written; None if they do not describe a request.

    Action Cable lines (no method, no path) become ``request_note``: they are messages on an open connection.
    """
    if not _is_request(found):
        return None
    controller, action = as_text(found.get("controller")), as_text(found.get("action"))
    fields: dict[str, Any] = {
        "method": as_text(found.get("method"), 32),
        "path": _path(found.get("path")),
        "format": as_text(found.get("format"), 100),
        "endpoint": f"{controller}#{action}" if controller and action else None,
        "status": as_int(found.get("status")),
        **_durations(found),
        "allocations": as_int(found.get("allocations")),
        "mem_bytes": as_int(found.get("mem_bytes")),
        "exception": _exception(found),
        "client": _first_text(found, _CLIENT),
        "trace_id": next((root for key in _TRACE if (root := trace_root(found.get(key)))), None),
        **params_fields(found.get("params")),
    }
    if fields["status"] == 0:
        fields |= {"status": None, "note": "left by throw: the status was set outside the controller"}
    cable = fields["method"] is None and fields["path"] is None
    if cable:
        fields["note"] = "action_cable"
    return LogEvent(
        kind="request_note" if cable else "request",
        at=next((at for key in _TIME if (at := as_time(found.get(key)))), None),
        pid=as_int(found.get("pid")),
        request_id=_first_text(found, _REQUEST_ID),
        fields={key: value for key, value in fields.items() if value is not None},
    )


def _is_request(found: Mapping[str, Any]) -> bool:
    ended = any(
        key in found for key in ("status", "duration", "duration_ms", "duration_s", "measure#page.duration")
    )
    if not ended or "method" not in found or "path" not in found:
        return False
    if as_text(found.get("controller")) and as_text(found.get("action")):
        return True
    return "duration" in found and isinstance(found["path"], str) and found["path"].startswith("/")


def _path(value: object) -> str | None:
    text = as_text(value, MAX_PARAMS)
    return text.partition("?")[0] if text else None


def _durations(found: Mapping[str, Any]) -> dict[str, float | None]:
    result: dict[str, float | None] = {}
    for name, keys in _MILLIS.items():
        result[name] = next((ms for key in keys if (ms := as_float(found.get(key))) is not None), None)
        seconds = as_float(found.get(_SECONDS.get(name, "")))
        if result[name] is None and seconds is not None:
            result[name] = seconds * 1000
    return result


def _exception(found: Mapping[str, Any]) -> str | None:
    for key in ("error", "exception"):
        value = found.get(key)
        if isinstance(value, list):
            value = ": ".join(str(part) for part in value[:2] if isinstance(part, str)) or None
        if text := as_text(value):
            return text
    return None


def params_fields(value: object) -> dict[str, Any]:
    """``params`` (JSON, or Ruby text as it came, at most 4 KiB) and ``params_bytes``; empty without params."""
    if isinstance(value, dict | list) and value:
        text = json_text(value)
    elif isinstance(value, str) and value not in ("", "{}"):
        text = value
    else:
        return {}
    return {"params": cut(text, MAX_PARAMS), "params_bytes": len(text.encode("utf-8", "replace"))}


def _first_text(found: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((text for key in keys if (text := as_text(found.get(key), 255))), None)
