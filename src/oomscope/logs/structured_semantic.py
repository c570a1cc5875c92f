"""semantic_logger and rails_semantic_logger: JSON (default and Fluentd) and the default and colour text.

What this format cannot show:

- By default only ``Completed #action`` is printed at info; ``Started`` needs ``started = true``. Without it nothing
  tells what was in flight: that is "unknown", not "none".
- A background thread writes the lines. At SIGKILL its queue is lost, so the newest Started *and* Completed lines may
  both be missing; an open request near the end of the log may in truth be finished.
- The text carries no time zone (the process's local time); Action Controller::Live lines lose their tags.

A ``Completed #action`` line tells a whole request, so it is a ``request`` event; it also closes the open request of
the same id where Started lines are printed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from oomscope.logs import lograge
from oomscope.logs.interface import EventKind, LogEvent
from oomscope.logs.jobs import parse_job_line
from oomscope.logs.scalars import (
    MAX_ARGS,
    MAX_PARAMS,
    as_float,
    as_int,
    as_text,
    as_time,
    bracket_end,
    cut,
    ruby_pairs,
    strip_ansi,
)

_JOB_KINDS: dict[str, EventKind] = {
    "enqueue.active_job": "job_enqueued",
    "enqueue_at.active_job": "job_enqueued",
    "perform_start.active_job": "job_started",
    "perform.active_job": "job_completed",
    "enqueue_retry.active_job": "job_requeued",
    "retry_stopped.active_job": "job_failed",
    "discard.active_job": "job_failed",
}
_ACTION = re.compile(r"(Completed|Processing) #\S{1,200}")
_HEAD = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{1,9}) ([TDIWEF]) \[(\d{1,10}):([^\]\n]{1,160})\] ")
_SOURCE_FILE = re.compile(r" [\w.\-]{1,100}:\d{1,7}$")
_TAG = re.compile(r"\[([^\[\]\n]{1,255})\] ")
_DURATION = re.compile(r"\(([\d.]{1,12}[a-zµ]{1,2}(?: [\d.]{1,12}[a-z]{1,2})?)\) ")
_PART = re.compile(r"([\d.]{1,12})([a-zµ]{1,2})")
_MILLIS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6, "d": 8.64e7}
_LEVELS = {"T": "trace", "D": "debug", "I": "info", "W": "warn", "E": "error", "F": "fatal"}
_MAX_TAGS = 12
_MAX_NAMED = 4000
_MAX_NAME = 300


@dataclass(frozen=True, slots=True)
class SemanticRecord:
    """One record, whichever formatter printed it. ``named`` are the named tags, ``exception`` is ``Class: message``."""

    name: str
    message: str
    at: datetime | None = None
    level: str | None = None
    pid: int | None = None
    thread: str | None = None
    tags: tuple[str, ...] = ()
    named: dict[str, str] = field(default_factory=dict)
    duration_ms: float | None = None
    payload: dict[str, Any] = field(default_factory=dict)
    exception: str | None = None

    @property
    def request_id(self) -> str | None:
        """The request id of the named tags, else the first plain tag."""
        return self.named.get("request_id") or (self.tags[0] if self.tags and not self.named else None)


def record_of_json(obj: dict[str, Any]) -> SemanticRecord | None:
    """The record of one JSON object; None if semantic_logger did not write it."""
    name = as_text(obj.get("name"))
    if name is None or not (
        {"level_index", "severity_index"} & obj.keys() or {"host", "thread"} <= obj.keys()
    ):
        return None
    tags, named, payload = obj.get("tags"), obj.get("named_tags"), obj.get("payload")
    return SemanticRecord(
        name,
        obj["message"] if isinstance(obj.get("message"), str) else "",
        at=as_time(obj.get("timestamp")) or as_time(obj.get("time")),
        level=as_text(obj.get("level")) or as_text(obj.get("severity")),
        pid=as_int(obj.get("pid")),
        thread=as_text(obj.get("thread"), 100),
        tags=tag_texts(tags),
        named=named_texts(named),
        duration_ms=as_float(obj.get("duration_ms")),
        payload=payload if isinstance(payload, dict) else {},
        exception=_exception(obj.get("exception")),
    )


def tag_texts(tags: object) -> tuple[str, ...]:
    """Plain tags as bounded texts; empty for anything that is no list."""
    if not isinstance(tags, list):
        return ()
    return tuple(text for tag in tags[:_MAX_TAGS] if (text := as_text(tag, 255)))


def named_texts(named: object) -> dict[str, str]:
    """Named tags as bounded texts; empty for anything that is no object."""
    if not isinstance(named, dict):
        return {}
    return {key: text for key, value in list(named.items())[:_MAX_TAGS] if (text := as_text(value, 255))}


def _exception(value: object) -> str | None:
    if not isinstance(value, dict):
        return None
    name, message = as_text(value.get("name")), as_text(value.get("message"))
    return cut(": ".join(part for part in (name, message) if part), MAX_PARAMS) or None


def record_of_text(text: str) -> SemanticRecord | None:
    """The record of one line of the default or colour formatter; None if it is none."""
    line = strip_ansi(text)
    head = _HEAD.match(line)
    if head is None:
        return None
    at = head.end()
    tags: list[str] = []
    while len(tags) < _MAX_TAGS and (tag := _TAG.match(line, at)):
        tags.append(tag[1])
        at = tag.end()
    named: dict[str, str] = {}
    if line.startswith("{", at) and (end := line.find("} ", at, at + _MAX_NAMED)) > 0:
        named = _named_tags(line[at + 1 : end])
        at = end + 2
    took = _DURATION.match(line, at)
    at = took.end() if took else at
    dashes = line.find(" -- ", at, at + _MAX_NAME)
    if dashes < 0:
        return None
    message, payload, exception = _rest(line[dashes + 4 :])
    return SemanticRecord(
        line[at:dashes],
        message,
        at=as_time(head[1]),
        level=_LEVELS[head[2]],
        pid=int(head[3]),
        thread=_SOURCE_FILE.sub("", head[4]),
        tags=tuple(tags),
        named=named,
        duration_ms=_human_ms(took[1]) if took else None,
        payload=payload,
        exception=exception,
    )


def _named_tags(text: str) -> dict[str, str]:
    pairs = (part.partition(": ") for part in text.split(", ", _MAX_TAGS)[:_MAX_TAGS])
    return {key: value[:255] for key, colon, value in pairs if colon and value}


def _human_ms(text: str) -> float | None:
    total = 0.0
    for number, unit in _PART.findall(text):
        value = as_float(number)
        if value is None or unit not in _MILLIS:
            return None
        total += value * _MILLIS[unit]
    return total


def _rest(text: str) -> tuple[str, dict[str, Any], str | None]:
    """Message, payload and exception of what follows the logger's name."""
    if text.startswith("Exception: "):
        return "", {}, cut(text[11:].partition("\n")[0], MAX_PARAMS)
    start = text.find(" -- {")
    end = bracket_end(text, start + 4) if start >= 0 else 0
    payload = ruby_pairs(text[start + 4 : end]) if start >= 0 else {}
    mark = text.find(" -- Exception: ", end)
    exception = cut(text[mark + 15 :].partition("\n")[0], MAX_PARAMS) if mark >= 0 else None
    stops = [at for at in (start, mark) if at >= 0]
    return (text[: min(stops)] if stops else text), payload, exception


def semantic_event(record: SemanticRecord) -> LogEvent | None:
    """What the record says of a request or a job; None for any other message (its text may still say something)."""
    event = _request(record) or _job(record)
    if event is None and record.exception is not None:
        event = LogEvent("exception", fields={"exception": record.exception})
    if event is None:
        return None
    return replace(
        event,
        at=record.at,
        pid=record.pid,
        thread=record.thread,
        request_id=record.request_id or event.request_id,
    )


def _request(record: SemanticRecord) -> LogEvent | None:
    payload = record.payload
    if record.name == "Rack" and record.message == "Started":
        return _started(payload)
    action = _ACTION.fullmatch(record.message)
    # the logger is named after the controller, so that no application message can pass for one of these
    if action is None or payload.get("controller") != record.name:
        return None
    if action[1] == "Completed":
        found = {**payload, "duration": record.duration_ms}
        raised = as_text(payload.get("exception_object"))
        found.setdefault("error", raised and raised.removeprefix("#<").removesuffix(">"))
        found.setdefault("method", None)
        found.setdefault("path", None)
        return lograge.from_mapping(found)
    fields = {
        "endpoint": f"{record.name}#{as_text(payload.get('action')) or ''}",
        "format": as_text(payload.get("format"), 100),
        **lograge.params_fields(payload.get("params")),
    }
    return LogEvent("processing", fields={key: value for key, value in fields.items() if value is not None})


def _started(payload: dict[str, Any]) -> LogEvent:
    path, _, query = (as_text(payload.get("path"), MAX_PARAMS) or "").partition("?")
    fields = {
        "method": as_text(payload.get("method"), 32),
        "path": path or None,
        "query": query or None,
        "client": as_text(payload.get("ip"), 255),
    }
    return LogEvent("started", fields={key: value for key, value in fields.items() if value is not None})


def _job(record: SemanticRecord) -> LogEvent | None:
    kind = _JOB_KINDS.get(str(record.payload.get("event_name")))
    if kind is not None and as_text(record.payload.get("job_class")):
        failed = kind == "job_completed" and (record.exception or record.message.startswith("Error"))
        return _active_job("job_failed" if failed else kind, record)
    if record.named.get("jid") and record.message in ("Start #perform", "Completed #perform"):
        return _sidekiq_job(record)
    return parse_job_line(record.message, tags=record.tags)


def _active_job(kind: EventKind, record: SemanticRecord) -> LogEvent:
    payload = record.payload
    duration = as_float(payload.get("duration"))
    fields = {
        "adapter": "active_job",
        "job_class": as_text(payload.get("job_class")),
        "job_id": as_text(payload.get("job_id"), 64),
        "queue": as_text(payload.get("queue")),
        "args": as_text(payload.get("arguments"), MAX_ARGS),
        "enqueued_at": as_time(payload.get("enqueued_at")),
        "duration_ms": record.duration_ms if duration is None else duration,
        "note": record.exception,
    }
    return LogEvent(kind, fields={key: value for key, value in fields.items() if value is not None})


def _sidekiq_job(record: SemanticRecord) -> LogEvent:
    kind: EventKind = "job_started" if record.message.startswith("Start") else "job_completed"
    fields = {
        "adapter": "sidekiq",
        "job_class": record.named.get("class") or record.name,
        "job_id": record.named["jid"],
        "queue": record.named.get("queue"),
        "duration_ms": record.duration_ms if kind == "job_completed" else None,
        "note": record.exception,
    }
    kind = "job_failed" if record.exception else kind
    return LogEvent(kind, fields={key: value for key, value in fields.items() if value is not None})
