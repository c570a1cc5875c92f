"""The messages Rails writes about one request, prefix and tags taken off (Rails 3.2 to 8.x)."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_PATH = 8192

_STARTED = re.compile(
    r'Started ([^\s"]{1,40}) "([^"]*)"( ?\[(?:non-)?WebSocket\])? for (.{0,300}?) ?'
    r"at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) ([+-]\d{4}|UTC)\s*$"
)
_COMPLETED = re.compile(r"Completed (\d{3}|) (.{0,60}?) ?in (\d{1,12}(?:\.\d{1,9})?)ms(?=$|[ \s(])")
_PART = re.compile(r"(Views|ActiveRecord|GC): (\d{1,12}(?:\.\d{1,9})?)ms|(Allocations): (\d{1,18})")
# The usual form in one match; everything else goes the general way.
_USUAL = re.compile(
    r"Completed (\d{3}) [A-Za-z ]{1,40} in (\d{1,12})ms \((?:Views: (\d{1,9}\.\d)ms \| )?"
    r"(?:ActiveRecord: (\d{1,9}\.\d)ms(?: \([^()]{1,60}\))? \| )?"
    r"(?:Allocations: (\d{1,18})|GC: (\d{1,9}\.\d)ms)\)$"
)
_PROCESSING = re.compile(r"Processing by ([A-Z][\w:]{0,250}#[^\s#]{1,200}) as ?(\S{0,100})\s*$")
_EXCEPTION = re.compile(r"([A-Z]\w{0,100}(?:::[A-Z]\w{0,100}){0,12}) \(")
_FINISHED = re.compile(r'Finished "([^"]{0,8192})" ?\[((?:non-)?WebSocket)\]')
_SWALLOWED = re.compile(
    r"\[([\w\-@]{1,255})\] (?:\[[^\]\n]{1,400}\] ){0,8}(Completed (?:\d{3}) .{0,60}?in \d{1,12}ms)"
)


class Started(NamedTuple):
    """``socket`` is empty, ``WebSocket`` or ``non-WebSocket``; ``second`` is local to ``zone`` (``+0900``)."""

    method: str
    path: str
    query: str | None
    client: str | None
    second: str
    zone: str
    socket: str


class Completed(NamedTuple):
    """Status None when the action left by throw. Times in ms, ``allocations`` the process-wide counter."""

    status: int | None
    duration_ms: float
    view_ms: float | None
    db_ms: float | None
    gc_ms: float | None
    allocations: int | None


def parse_started(message: str) -> Started | None:
    """``Started GET "/path?query" for 1.2.3.4 at 2026-11-23 08:23:04 +0000``; None if it is not one."""
    match = _STARTED.match(message)
    if not match:
        return None
    method, target, socket, client, second, zone = match.groups()
    path, mark, query = target[:MAX_PATH].partition("?")
    kind = socket.strip(" []") if socket else ""
    return Started(method, path, query if mark else None, client or None, second, zone, kind)


def parse_processing(message: str) -> tuple[str, str | None] | None:
    """``Processing by Dock::SailsController#show as JSON`` as endpoint and format; None if it is not one."""
    match = _PROCESSING.match(message)
    return (match[1], match[2] or None) if match else None


def parse_completed(message: str) -> Completed | None:
    """``Completed 200 OK in 5ms (Views: ... | ...)``, with or without parts, status and reason; else None."""
    usual = _USUAL.match(message)
    if usual:
        status, duration, views, db, allocations, gc = usual.groups()
        count = int(allocations) if allocations else None
        return Completed(int(status), float(duration), _number(views), _number(db), _number(gc), count)
    match = _COMPLETED.match(message)
    if not match:
        return None
    values: dict[str, str] = {}
    if len(message) > match.end():
        for part in _PART.findall(message, match.end(), match.end() + 2000):
            values[part[0] or part[2]] = part[1] or part[3]
    return Completed(
        int(match[1]) if match[1] else None,
        float(match[3]),
        _number(values.get("Views")),
        _number(values.get("ActiveRecord")),
        _number(values.get("GC")),
        int(values["Allocations"]) if "Allocations" in values else None,
    )


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def parse_exception(message: str) -> str | None:
    """The class of ``ActionController::RoutingError (No route matches ...):``; None if it is no such line."""
    match = _EXCEPTION.match(message)
    return match[1] if match else None


def parse_finished(message: str) -> tuple[str, str] | None:
    """Path and kind of ``Finished "/cable" [WebSocket] for ...``; None if it is not one."""
    match = _FINISHED.match(message)
    return (match[1], match[2]) if match else None


def swallowed_completions(text: str) -> list[tuple[str, Completed]]:
    """Completed lines of other requests inside one long line (writes above 4 KiB to a shared pipe interleave)."""
    found = []
    for match in _SWALLOWED.finditer(text):
        done = parse_completed(text[match.start(2) : match.start(2) + 400])
        if done:
            found.append((match[1], done))
    return found
