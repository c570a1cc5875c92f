"""Logs of one JSON object a line, and semantic_logger's text.

Known objects: semantic_logger, Sidekiq's JSON formatter, Rails 8.1 structured events, lograge keys at the top level.
Everything else that has a message is a wrapper around a text line (ougai's Bunyan and Pino forms, logstash-logger
and home-made ones): ``inner_text`` takes it out, ``inner_process`` says who wrote it.

What they cannot show:

- ougai and most wrappers carry Rails' text without its tags, hence no request id unless the application adds one;
  a block of several lines is one object with newlines in its text.
- Rails 8.1 events exist only where the application subscribes to them. They have no method and no path, no Started
  of the Rack level, and no request id unless the application sets it as context: without one they say nothing of
  what was in flight, and become ``request_note``.
- lograge and semantic_logger: see their modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from oomscope.logs import lograge
from oomscope.logs.interface import EventKind, LogEvent
from oomscope.logs.jobs import parse_job_line
from oomscope.logs.jobs_sidekiq import SidekiqLine, from_json, job_event, sidekiq_event
from oomscope.logs.scalars import MAX_ARGS, as_float, as_int, as_text, as_time, cut, epoch_ns, json_text
from oomscope.logs.servers import sidekiq_server_event
from oomscope.logs.structured_semantic import (
    named_texts,
    record_of_json,
    record_of_text,
    semantic_event,
    tag_texts,
)

InnerText = tuple[str, datetime | None, str | None, tuple[str, ...]]

_TEXT_KEYS = ("message", "msg", "@message", "log", "event")
_TIME_KEYS = ("@timestamp", "timestamp", "time", "ts", "datetime")
_LEVEL_KEYS = ("level", "severity", "lvl", "log_level", "loglevel")
_ID_KEYS = ("request_id", "requestId", "req_id", "x_request_id", "correlation_id")
_BUNYAN = {10: "trace", 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal"}
_JOB_EVENTS: dict[str, EventKind] = {
    "active_job.enqueued": "job_enqueued",
    "active_job.enqueued_at": "job_enqueued",
    "active_job.started": "job_started",
    "active_job.completed": "job_completed",
    "active_job.retry_scheduled": "job_requeued",
    "active_job.interrupt": "job_requeued",
    "active_job.interrupted": "job_requeued",
    "active_job.retry_stopped": "job_failed",
    "active_job.discarded": "job_failed",
}
_REQUEST_EVENTS: dict[str, EventKind] = {
    "action_controller.request_started": "processing",
    "action_controller.request_completed": "completed",
}


def parse_json_line(obj: dict[str, Any]) -> LogEvent | None:
    """The event one JSON log object describes; None if it is text in a wrapper (see ``inner_text``) or nothing."""
    name = obj.get("name")
    if isinstance(name, str) and isinstance(obj.get("payload"), dict) and "timestamp" in obj:
        event = _rails_event(name, obj["payload"], obj)
        if event is not None:
            return event
    sidekiq = from_json(obj)
    if sidekiq is not None:
        return _sidekiq(sidekiq, obj)
    record = record_of_json(obj)
    if record is not None:
        return semantic_event(record)
    inner = obj.get("message") or obj.get("msg")
    if isinstance(inner, dict):
        return lograge.from_mapping({**obj, **inner})
    return lograge.from_mapping(obj)


def parse_semantic_text(text: str) -> LogEvent | None:
    """The event of a line of semantic_logger's default or colour formatter; None if it is none."""
    record = record_of_text(text)
    return semantic_event(record) if record else None


def semantic_inner_text(text: str) -> InnerText | None:
    """The message inside a semantic_logger text line, as ``inner_text`` gives it for JSON."""
    record = record_of_text(text)
    if record is None or not record.message:
        return None
    return record.message, record.at, record.level, _with_id(record.request_id, record.tags)


def inner_text(obj: dict[str, Any]) -> InnerText | None:
    """Text, time, level and tags of an object that wraps a text line; None if there is no text in it.

    The request id is the first tag, whatever it was called. The time is naive when it has no zone.
    """
    text = next((obj[key] for key in _TEXT_KEYS if isinstance(obj.get(key), str) and obj[key]), None)
    if text is None:
        return None
    at = next((at for key in _TIME_KEYS if (at := as_time(obj.get(key)))), None)
    level = next((level for key in _LEVEL_KEYS if (level := _level(obj.get(key)))), None)
    return text, at, level, _with_id(_request_id(obj), tag_texts(obj.get("tags")))


def inner_process(obj: dict[str, Any]) -> tuple[int | None, str | None]:
    """Process id and thread of the writer, where the object names them."""
    thread = next(
        (text for key in ("thread", "tid", "thread_name") if (text := as_text(obj.get(key), 100))), None
    )
    return as_int(obj.get("pid")), thread


def _level(value: object) -> str | None:
    number = as_int(value)
    if number is not None:
        return _BUNYAN.get(number)
    text = as_text(value, 20)
    return text.lower() if text else None


def _request_id(obj: Mapping[str, Any]) -> str | None:
    for source in (obj, named_texts(obj.get("named_tags")), named_texts(obj.get("context")), obj.get("tags")):
        if isinstance(source, dict):
            found = next((text for key in _ID_KEYS if (text := as_text(source.get(key), 255))), None)
            if found:
                return found
    return None


def _with_id(request_id: str | None, tags: tuple[str, ...]) -> tuple[str, ...]:
    return (request_id, *tags) if request_id and request_id not in tags else tags


def _sidekiq(line: SidekiqLine, obj: Mapping[str, Any]) -> LogEvent | None:
    ctx = obj.get("ctx")
    event = sidekiq_event(line) or sidekiq_server_event(line.message) or parse_job_line(line.message)
    if event is None and isinstance(ctx, dict) and ctx.get("context") == "Job raised exception":
        event = job_event("job_failed", line, ctx.get("job"), note=as_text(line.message))
    return event and replace(event, at=line.at, pid=line.pid, thread=line.thread)


def _rails_event(name: str, payload: Mapping[str, Any], obj: Mapping[str, Any]) -> LogEvent | None:
    at = epoch_ns(obj["timestamp"])
    if name in _JOB_EVENTS:
        return replace(_job(_JOB_EVENTS[name], payload), at=at, request_id=_request_id(obj))
    kind = _REQUEST_EVENTS.get(name)
    if kind is None:
        return None
    fields = {
        "endpoint": f"{as_text(payload.get('controller'))}#{as_text(payload.get('action'))}",
        "format": as_text(payload.get("format"), 100),
        "status": as_int(payload.get("status")),
        "duration_ms": as_float(payload.get("duration_ms")),
        "view_ms": as_float(payload.get("view_runtime")),
        "db_ms": as_float(payload.get("db_runtime")),
        "gc_ms": as_float(payload.get("gc_time_ms")),
        **lograge.params_fields(payload.get("params")),
    }
    request_id = _request_id(obj)
    if request_id is None:
        kind, fields["note"] = "request_note", f"{name} without a request id"
    known = {key: value for key, value in fields.items() if value is not None}
    return LogEvent(kind, at, request_id=request_id, fields=known)


def _job(kind: EventKind, payload: Mapping[str, Any]) -> LogEvent:
    raised = as_text(payload.get("exception_class"))
    arguments = payload.get("arguments")
    fields = {
        "adapter": "active_job",
        "job_class": as_text(payload.get("job_class")),
        "job_id": as_text(payload.get("job_id"), 64),
        "queue": as_text(payload.get("queue")),
        "args": cut(json_text(arguments), MAX_ARGS) or None if isinstance(arguments, list) else None,
        "enqueued_at": as_time(payload.get("enqueued_at")),
        "duration_ms": as_float(payload.get("duration")),
        "note": raised,
    }
    kind = "job_failed" if kind == "job_completed" and raised else kind
    return LogEvent(kind, fields={key: value for key, value in fields.items() if value is not None})
