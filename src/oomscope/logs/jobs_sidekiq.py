"""Sidekiq 2-8 text lines: the prefix, start/done/fail, and the lines that name a job it lost.

What this format cannot show: the queue and arguments of a job that only starts (they stand in error lines alone);
a SIGKILLed process prints nothing, its job merely has a ``start`` without an end; ``skip_default_job_logging`` or a
per-job log level hides start and end altogether. A ``fail`` line also ends a job that was pushed back at shutdown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from oomscope.logs.interface import EventKind, LogEvent
from oomscope.logs.scalars import (
    MAX_ARGS,
    as_float,
    as_int,
    as_text,
    as_time,
    bracket_end,
    cut,
    json_text,
    ruby_pairs,
    strip_ansi,
)

_LEVELS = "DEBUG|INFO|WARN|ERROR|FATAL|UNKNOWN"
_TS = r"(?:(?P<ts>\d{4}-\d\d-\d\dT[\d:]{8}(?:\.\d{1,9})?Z) )?"
# 6 and 7: time pid=.. tid=.. context.. LEVEL: message. 8: LEVEL time pid=.. tid=.. context: message.
_NOW = re.compile(
    rf"(?:(?P<level>{_LEVELS}) {{1,4}})?{_TS}pid=(?P<pid>\d{{1,10}}) tid=(?P<tid>[\w\-]{{1,40}})(?=[ :])"
)
_OLD = re.compile(
    rf"{_TS}(?P<pid>\d{{1,10}}) TID-(?P<tid>\w{{1,40}}) (?:(?P<class>[A-Z][\w:]{{0,200}}) )?"
    rf"(?:JID-(?P<jid>\w{{1,64}}) )?(?:BID-\S{{1,64}} )?(?:{_LEVELS}): "
)
_LEVEL_MARK = re.compile(rf" (?:{_LEVELS}): ")
_CONTEXT = re.compile(r" (class|jid|elapsed|queue)=(\S{1,255})")
_OLD_END = re.compile(r"(done|fail): ([\d.]{1,20}) sec")
_ENDS: dict[str, EventKind] = {"start": "job_started", "done": "job_completed", "fail": "job_failed"}
_MAX_HEADER = 2000  # the prefix with its context; a message may be as long as it likes


@dataclass(frozen=True, slots=True)
class SidekiqLine:
    """A line taken apart: ``context`` holds class, jid, elapsed where printed; ``message`` is what the program said."""

    message: str
    at: datetime | None = None
    pid: int | None = None
    thread: str | None = None
    context: dict[str, str] = field(default_factory=dict)


def split_sidekiq(text: str) -> SidekiqLine | None:
    """Prefix and message of a line in Sidekiq's own format (2 to 8, colours allowed); None if it has none."""
    if "pid=" not in text[:120] and "TID-" not in text[:120]:
        return None
    line = strip_ansi(text)
    head = _NOW.match(line)
    if head is None:
        return _split_old(line)
    if head["level"]:
        colon = line.find(": ", head.end() - 1, _MAX_HEADER)
        start, stop = colon, colon + 2
    else:
        mark = _LEVEL_MARK.search(line, head.end(), _MAX_HEADER)
        start, stop = (mark.start(), mark.end()) if mark else (-1, -1)
    if start < 0:
        return None
    context = dict(_CONTEXT.findall(line[head.end() : start]))
    return SidekiqLine(line[stop:], as_time(head["ts"]), int(head["pid"]), head["tid"], context)


def _split_old(line: str) -> SidekiqLine | None:
    head = _OLD.match(line)
    if head is None:
        return None
    context = {key: head[key] for key in ("class", "jid") if head[key]}
    message = line[head.end() :]
    ended = _OLD_END.fullmatch(message.strip())
    if ended:
        message, context["elapsed"] = ended[1], ended[2]
    return SidekiqLine(message, as_time(head["ts"]), int(head["pid"]), head["tid"], context)


def sidekiq_event(line: SidekiqLine) -> LogEvent | None:
    """The job event of one Sidekiq line (text or JSON alike): started, completed, failed, put back; else None."""
    message = line.message.strip() if len(line.message) < 64 else line.message
    kind = _ENDS.get(message)
    if kind is not None and line.context.get("jid"):
        seconds = as_float(line.context.get("elapsed"))
        fields: dict[str, Any] = {
            "job_class": line.context.get("class"),
            "job_id": line.context["jid"],
            "queue": line.context.get("queue"),
            "duration_ms": None if seconds is None else seconds * 1000,
        }
        return _event(kind, line, fields)
    if '"jid' in message or "jid\\" in message:
        return _named_job(message, line)
    return None


def _named_job(message: str, line: SidekiqLine) -> LogEvent | None:
    """Lines that carry the whole job: one that raised, or one still running at the shutdown deadline."""
    if message.startswith('{"context":'):
        try:
            found = orjson.loads(message)
        except orjson.JSONDecodeError:
            return None
        return job_event("job_failed", line, found.get("job"), note=as_text(found.get("context")))
    if message.startswith("Work still in progress"):
        at = message.find('job="')
        raw = message[at + 5 :].replace('\\"', '"') if at > 0 else ""
        job = ruby_pairs(raw.replace('":', '": ')) if raw else {}
        return job_event("job_requeued", line, job, note="still running at the shutdown deadline")
    return None


def error_context(text: str, line: SidekiqLine) -> LogEvent | None:
    """Sidekiq 8 prints the failed job as ``context=Job raised exception job={...}: message`` inside the prefix."""
    at = text.find(" job={")
    if "context=Job raised exception" not in text[:300] or at < 0:
        return None
    job = ruby_pairs(text[at + 5 : bracket_end(text, at + 5)])
    return job_event("job_failed", line, job, note="Job raised exception")


def job_event(kind: EventKind, line: SidekiqLine, job: object, note: str | None = None) -> LogEvent | None:
    """The event of a Sidekiq job payload (class, jid, queue, args); the wrapped class when Active Job wraps it."""
    if not isinstance(job, dict) or not as_text(job.get("jid")):
        return None
    args = job.get("args")
    if isinstance(args, list | dict):
        args = json_text(args)
    fields: dict[str, Any] = {
        "job_class": as_text(job.get("wrapped")) or as_text(job.get("class")),
        "job_id": as_text(job.get("jid"), 64),
        "queue": as_text(job.get("queue")),
        "args": cut(args, MAX_ARGS) if isinstance(args, str) else None,
        "enqueued_at": as_time(job.get("enqueued_at")),
        "note": note,
    }
    return _event(kind, line, fields)


def _event(kind: EventKind, line: SidekiqLine, fields: dict[str, Any]) -> LogEvent:
    known = {key: value for key, value in fields.items() if value is not None}
    return LogEvent(kind, line.at, line.pid, line.thread, fields={"adapter": "sidekiq", **known})


def from_json(obj: dict[str, Any]) -> SidekiqLine | None:
    """A line of Sidekiq's JSON formatter (``ts pid tid lvl msg ctx``) in the same shape; None if it is not one."""
    if not {"pid", "tid", "msg"} <= obj.keys() or not isinstance(obj["msg"], str):
        return None
    ctx = obj.get("ctx")
    context = (
        {key: text for key, value in ctx.items() if (text := as_text(value))} if isinstance(ctx, dict) else {}
    )
    return SidekiqLine(obj["msg"], as_time(obj.get("ts")), as_int(obj["pid"]), as_text(obj["tid"]), context)
