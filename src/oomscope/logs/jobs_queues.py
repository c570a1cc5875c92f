"""Lines of the queues that are not Sidekiq: Delayed Job, Resque, Good Job and Solid Queue.

What they cannot show: see ``jobs``. Delayed Job prints its text twice when it runs in the foreground (once bare).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from oomscope.logs.interface import EventKind, LogEvent
from oomscope.logs.scalars import MAX_ARGS, MAX_MESSAGE, as_float, as_time, bracket_end, cut

_DELAYED = re.compile(
    r"(?:(?P<ts>\d{4}-\d\d-\d\dT[\d:]{8}[+-]\d{4}): )?\[Worker\((?P<worker>[^)]{0,200})\)\] Job (?P<name>[^\n]{1,4000})"
)
_DELAYED_END = re.compile(
    r" \(id=(?P<id>[\w\-]{1,64})\)(?: \(queue=(?P<queue>[^()]{0,200})\))? "
    r"(?P<word>RUNNING|COMPLETED|FAILED)(?: after (?P<took>[\d.]{1,20}))?(?P<rest>.{0,2000})",
    re.DOTALL,
)
_DELAYED_KINDS: dict[str, EventKind] = {
    "RUNNING": "job_started",
    "COMPLETED": "job_completed",
    "FAILED": "job_failed",
}
_WORKER_PID = re.compile(r"pid:(\d{1,10})")
_WORD = re.compile(r"[\w:#.]{1,200}")

_RESQUE = re.compile(
    r"\*{2,3} (?:\[(?P<clock>[\d:]{8}) (?P<day>\d{4}-\d\d-\d\d)\] (?P<pid>\d{1,10}): )?"
    r"(?P<verb>got: |done: |)\(Job\{(?P<queue>[^{}]{1,200})\} \| (?P<class>[A-Z][\w:]{0,200}) \| "
)
_RESQUE_KINDS: dict[str, EventKind] = {"got: ": "job_started", "done: ": "job_completed"}
_WRAPPED_CLASS = re.compile(r'"job_class"\s{0,2}=>\s{0,2}"([\w:]{1,200})"')
_WRAPPED_ID = re.compile(r'"job_id"\s{0,2}=>\s{0,2}"([\w\-]{1,64})"')

_SOLID = re.compile(r"SolidQueue-\S{1,30} (Fail|Release) claimed jobs \([\d.]{1,12}ms\)")
_GOOD_KILLED = "The following Active Jobs were interrupted:"


def parse_queue_line(text: str) -> LogEvent | None:
    """The job event of one such line, prefix and colours stripped; None if it is none."""
    if "[Worker(" in text[:40]:
        return _delayed(text)
    if text.startswith("**"):
        return _resque(text)
    if text.startswith("SolidQueue-"):
        return _solid_queue(text)
    if _GOOD_KILLED in text[:300]:
        note = cut(text[text.find(_GOOD_KILLED) :], MAX_MESSAGE)
        return LogEvent("job_requeued", fields={"adapter": "good_job", "note": note})
    return None


def _delayed(text: str) -> LogEvent | None:
    head = _DELAYED.match(text)
    # the first id counts: an error text behind it may hold another
    tail = _DELAYED_END.search(text, head.start("name"), head.end()) if head else None
    if head is None or tail is None:
        return None
    name = text[head.start("name") : tail.start()]
    word = _WORD.match(name)
    pid = _WORKER_PID.search(head["worker"])
    took = as_float(tail["took"])
    arguments = name.partition(" with arguments: ")[2]
    return _event(
        _DELAYED_KINDS[tail["word"]],
        {
            "adapter": "delayed_job",
            "job_class": word[0] if word else None,
            "job_id": tail["id"],
            "queue": tail["queue"] or None,
            "args": cut(arguments, MAX_ARGS) or None,
            "duration_ms": None if took is None else took * 1000,
            "note": cut(tail["rest"].strip(), MAX_MESSAGE) or None if tail["word"] == "FAILED" else None,
        },
        at=_offset_time(head["ts"]),
        pid=int(pid[1]) if pid else None,
    )


def _offset_time(text: str | None) -> datetime | None:
    return as_time(text) if text else None


def _resque(text: str) -> LogEvent | None:
    head = _RESQUE.match(text)
    if head is None:
        return None
    end = bracket_end(text, head.end())
    args = text[head.end() : end]
    failed = text[end:].startswith(") failed:")
    kind: EventKind | None = "job_failed" if failed else _RESQUE_KINDS.get(head["verb"])
    if kind is None:
        return None
    job_class, job_id = _WRAPPED_CLASS.search(args), _WRAPPED_ID.search(args)
    return _event(
        kind,
        {
            "adapter": "resque",
            "job_class": job_class[1] if job_class else head["class"],
            "job_id": job_id[1] if job_id else None,
            "queue": head["queue"],
            "args": cut(args, MAX_ARGS),
            "note": cut(text[end + 9 :].strip(), MAX_MESSAGE) or None if failed else None,
        },
        at=as_time(f"{head['day']} {head['clock']}") if head["day"] else None,
        pid=int(head["pid"]) if head["pid"] else None,
    )


def _solid_queue(text: str) -> LogEvent | None:
    """Claimed rows given up when a worker died (``Fail``) or stopped (``Release``); row ids, not Job IDs."""
    match = _SOLID.match(text)
    if match is None:
        return None
    kind: EventKind = "job_failed" if match[1] == "Fail" else "job_requeued"
    return _event(kind, {"adapter": "solid_queue", "note": cut(text, MAX_MESSAGE)})


def _event(
    kind: EventKind, fields: dict[str, Any], *, at: datetime | None = None, pid: int | None = None
) -> LogEvent:
    return LogEvent(kind, at, pid, fields={key: value for key, value in fields.items() if value is not None})
