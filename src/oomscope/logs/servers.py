"""Lines of application servers: boot, configuration, workers, stop, death; rack-timeout; Ruby running out of memory.

What they cannot show:

- A Puma worker killed by SIGKILL (the kernel's OOM kill in a cluster) prints nothing: the only trace is a second
  ``booted`` line for an index that was already up, with no timeout, culling or phased restart before it.
- A container killed as a whole prints nothing either: its log just ends, and the next life has boot lines only.
- Puma's lines carry no time, and in single mode no pid but the one of its boot block.
- ``failed to allocate memory`` is a refused malloc inside Ruby, not the kernel's OOM kill.
- Sidekiq does not print its concurrency; from version 7 on the size of its default Redis pool equals it.

``LogEvent.pid`` is the process that wrote the line, ``fields["pid"]`` the process the line is about.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from oomscope.logs.interface import LogEvent
from oomscope.logs.jobs_sidekiq import split_sidekiq
from oomscope.logs.scalars import MAX_MESSAGE, as_time, cut, strip_ansi
from oomscope.logs.server_rules import ANYWHERE, RULES, Rule

_WORKER_TIME = re.compile(r"(\d{4}-\d\d-\d\dT[\d:]{8}[+-]\d{4}): (?=\[Worker\()")
_OWN_PID = re.compile(r"\[(\d{1,10})\] ")
_RUBY_PREFIX = re.compile(
    r"[DIWEFA], \[([\d\-]{10}T[\d:]{8}\.\d{1,9}) #(\d{1,10})\] +[A-Z]{3,7} -- [^:\n]{0,60}: "
)
_TIMEOUT_PAIR = re.compile(r" (id|wait|timeout|service|state)=(\S{1,255})")
_RACK_APP = re.compile(
    r"(?:(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}) )?(?P<what>Rack app|HTTP parse error, malformed request) "
    r'\("(?P<method>[A-Z]{1,20}) (?P<target>[^"]{0,8000})" - \((?P<client>[^()]{0,255})\)\): (?P<error>.{0,300})',
    re.DOTALL,
)
_NUMBERS = frozenset({"pid", "index", "threads_min", "threads_max", "workers", "phase", "busy", "signal"})
_LONGEST = 64 * 1024  # no server line is longer; what is, has at most its head looked at


def parse_server_line(text: str) -> LogEvent | None:
    """What a line says about a server process; None if it says nothing. See ``server_rules`` for the lines known."""
    line = strip_ansi(text[:_LONGEST]).rstrip()
    sidekiq = split_sidekiq(line)
    if sidekiq is not None:
        event = sidekiq_server_event(sidekiq.message)
        return event and replace(event, at=sidekiq.at, pid=sidekiq.pid, thread=sidekiq.thread)
    prefix = _RUBY_PREFIX.match(line)
    at, pid = (as_time(prefix[1]), int(prefix[2])) if prefix else (None, None)
    body = line[prefix.end() :] if prefix else line
    own = _OWN_PID.match(body)
    if own:
        pid, body = int(own[1]), body[own.end() :]
    stamp = _WORKER_TIME.match(body)
    if stamp:
        at, body = as_time(stamp[1]), body[stamp.end() :]
    event = _by_rules(body) or _timeout_state(body) or _rack_app(body) or _anywhere(body)
    return event and replace(event, at=event.at or at, pid=pid)


def sidekiq_server_event(message: str) -> LogEvent | None:
    """The event of a Sidekiq process line, given only its message (text and JSON formatters alike)."""
    return _by_rules(message, sidekiq=True) or _anywhere(message)


def _by_rules(body: str, *, sidekiq: bool = False) -> LogEvent | None:
    for rule in RULES.get(body[:3], ()):
        if rule.sidekiq_only and not sidekiq:
            continue
        match = rule.pattern.match(body)
        if match:
            return _event(rule, match)
    return None


def _event(rule: Rule, match: re.Match[str]) -> LogEvent:
    fields: dict[str, Any] = dict(rule.fields)
    for name, value in match.groupdict().items():
        if value is not None:
            fields[name] = int(value) if name in _NUMBERS else cut(value.strip(), MAX_MESSAGE)
    version = fields.pop("version", None)
    if version:
        fields["server"] = f"{fields.get('server', '')} {version}".strip()
    return LogEvent(rule.kind, fields=fields)


def _timeout_state(body: str) -> LogEvent | None:
    """rack-timeout: ``state`` ready, active, timed_out, completed or expired; times in ms."""
    at = body.find("source=rack-timeout ", 0, 300)
    if at < 0:
        return None
    found = dict(_TIMEOUT_PAIR.findall(body[at : at + 2000]))
    if "state" not in found:
        return None
    fields: dict[str, Any] = {"state": found["state"]}
    for name in ("wait", "timeout", "service"):
        number = found.get(name, "").removesuffix("ms")
        if number.isdecimal() and len(number) < 16:
            fields[f"{name}_ms"] = float(number)
    return LogEvent("timeout_state", request_id=found.get("id"), fields=fields)


def _rack_app(body: str) -> LogEvent | None:
    """An error Puma caught above Rails. Puma 5.0-6.6 prints path and query without the ``?`` between them."""
    match = _RACK_APP.match(body)
    if match is None:
        return None
    path, mark, query = match["target"].partition("?")
    if not mark and "=" in path:
        path, query = "", path
    fields = {
        "method": match["method"],
        "path": path or None,
        "query": query or None,
        "client": match["client"].strip("-") or None,
        "exception": match["error"].strip() or None,
        "note": match["what"],
    }
    known = {key: value for key, value in fields.items() if value is not None}
    return LogEvent("request_note", at=as_time(match["at"]), fields=known)


def _anywhere(body: str) -> LogEvent | None:
    """Ruby's last words, with or without a file name in front."""
    head = body[:4000].lstrip()
    for mark, pattern, fields in ANYWHERE:
        if mark in head and pattern.match(head):
            return LogEvent("fatal", fields={**fields, "message": cut(head.strip(), MAX_MESSAGE)})
    return None
