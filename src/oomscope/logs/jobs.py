"""Background job lines: Active Job 4.2-8.x, Sidekiq, Solid Queue, Good Job, Delayed Job and Resque text.

The caller has stripped the Ruby prefix and gives the tags. What these formats cannot show:

- Active Job 4.2-5.0 print no Job ID on Performing and Performed: without the tag the job has no identity. Before
  5.1 a job that raised also prints Performed. Arguments may be switched off (``log_arguments = false``).
- The same Job ID is performed again after a retry or a redelivery: the last start counts, the earlier ones ended.
- Under Sidekiq an Active Job prints both kinds of lines, with two different ids for one run.
- Resque jobs have no id at all, only the process; its default formatter prints nothing.
- Good Job and Solid Queue print a job's start and end only through Active Job's own lines; what they print when a
  worker dies names database rows, not Job IDs.
- A SIGKILL prints nothing: the job is a start without an end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from oomscope.logs.interface import EventKind, LogEvent
from oomscope.logs.jobs_queues import parse_queue_line
from oomscope.logs.jobs_sidekiq import error_context, sidekiq_event, split_sidekiq
from oomscope.logs.scalars import MAX_ARGS, MAX_MESSAGE, as_float, as_time, cut, strip_ansi

_KINDS: dict[str, EventKind] = {
    "Enqueued": "job_enqueued",
    "Performing": "job_started",
    "Performed": "job_completed",
    "Error performing": "job_failed",
    "Retrying": "job_requeued",
    "Interrupted": "job_requeued",
    "Stopped retrying": "job_failed",
    "Discarded": "job_failed",
}
_VERBS = tuple(f"{verb} " for verb in _KINDS)
_LINE = re.compile(
    rf"(?P<verb>{'|'.join(_KINDS)}) (?P<class>[A-Z][\w:]{{0,200}})(?= |$)"
    r"(?: \(Job ID: (?P<id>[^()\s]{1,64})\))?"
    r"(?: (?:to|from) (?P<adapter>[\w:]{1,80})\((?P<queue>[^()]{0,200})\))?"
)
_TOOK = re.compile(r" in (\d{1,12}(?:\.\d{1,6})?)ms")
_QUEUED_AT = re.compile(r" enqueued at (\S{1,40})")
_AT = re.compile(r" at (\d{4}-\d\d-\d\d[T ]\S{8}(?: UTC|Z)?)")
_ARGUMENTS = " with arguments: "
_TAG = re.compile(r"\[([^\[\]]{1,255})\] ")
_CLASS = re.compile(r"[A-Z][\w:]{0,200}")
_MAX_TAGS = 12


def parse_job_line(
    text: str, *, tags: tuple[str, ...] = (), at: datetime | None = None, pid: int | None = None
) -> LogEvent | None:
    """What a line says about a background job; None if it says nothing.

    ``tags``, ``at`` and ``pid`` are what the stripped prefix told; a time, pid or thread in the line itself wins.
    ``request_id`` of the event is the tag before ``[ActiveJob]``: the request that enqueued or ran the job.
    """
    event = _parse(text, tags)
    if event is None:
        return None
    return replace(event, at=event.at or at, pid=event.pid if event.pid is not None else pid)


def _parse(text: str, tags: tuple[str, ...]) -> LogEvent | None:
    line = split_sidekiq(text)
    if line is not None:
        event = sidekiq_event(line) or error_context(text, line) or _active_job(line.message, tags)
        if event is None:
            return None
        return replace(event, at=line.at, pid=line.pid, thread=line.thread)
    body = strip_ansi(text).lstrip()
    return _active_job(body, tags) or parse_queue_line(body)


def _active_job(body: str, tags: tuple[str, ...]) -> LogEvent | None:
    if body.startswith("["):
        inner, body = _leading_tags(body)
        tags = (*tags, *inner)
    match = _LINE.match(body) if body.startswith(_VERBS) else None
    if match is None:
        return None
    rest = body[match.end() :]
    if match["id"] is None and match["adapter"] is None and "ActiveJob" not in tags:
        return None  # plain prose such as "Discarded Foo"
    job_class, job_id = _from_tags(tags)
    fields: dict[str, Any] = {
        "job_class": match["class"] or job_class,
        "job_id": match["id"] or job_id,
        "queue": match["queue"] or None,
        **_details(match["verb"], rest),
    }
    known = {key: value for key, value in fields.items() if value is not None}
    return LogEvent(
        _KINDS[match["verb"]], request_id=_request_of(tags), fields={"adapter": "active_job", **known}
    )


def _details(verb: str, rest: str) -> dict[str, Any]:
    head, told, arguments = rest.partition(_ARGUMENTS)
    if verb in ("Enqueued", "Performing"):
        queued, later = _QUEUED_AT.search(head[:200]), _AT.match(head[:200])
        return {
            "enqueued_at": as_time(queued[1]) if queued else None,
            "args": cut(arguments, MAX_ARGS) if told else None,
            "note": f"scheduled for {later[1]}" if later and verb == "Enqueued" else None,
        }
    took = _TOOK.match(rest) if verb in ("Performed", "Error performing") else None
    reason = rest[took.end() if took else 0 :].lstrip(": ")
    return {
        "duration_ms": as_float(took[1]) if took else None,
        "note": cut(reason, MAX_MESSAGE).rstrip() or None,
    }


def _leading_tags(body: str) -> tuple[tuple[str, ...], str]:
    found: list[str] = []
    at = 0
    while len(found) < _MAX_TAGS:
        tag = _TAG.match(body, at)
        if not tag:
            break
        found.append(tag[1])
        at = tag.end()
    return tuple(found), body[at:]


def _from_tags(tags: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Class and id of the innermost performing job, from ``ActiveJob, <Class>, <id>``."""
    for at in range(len(tags) - 3, -1, -1):
        if tags[at] == "ActiveJob" and _CLASS.fullmatch(tags[at + 1]):
            return tags[at + 1], tags[at + 2][:64]
    return None, None


def _request_of(tags: tuple[str, ...]) -> str | None:
    before: Iterable[str] = tags[: tags.index("ActiveJob")] if "ActiveJob" in tags else tags
    return next(iter(before), None)
