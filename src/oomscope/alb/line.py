"""One line of an ALB access log, by position: the plain parser that the fast one must equal.

A line is 29 fields or more. Fields 1-12, 15-17, 21, 22 and 30 are bare words, the others stand in double quotes. New
fields are only ever added at the end, so whatever follows the thirtieth is ignored. A line that does not fit is
``None``: nothing is guessed.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

MAX_LINE = 1 << 18  # longest line looked at; ALB refuses requests far shorter than this
CONTROL = b"Enable AccessLog for ELB"  # the object ELB writes to test the bucket's permission

_START = re.compile(rb"([a-z][a-z0-9]{1,15}) ([^ \"]+) ")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORD = re.compile(rb'[^ "]+')
_TYPE = re.compile(rb"[a-z][a-z0-9]{1,15}")
_TIME = re.compile(rb"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z")
_DECIMAL = re.compile(rb"\d{1,9}(?:\.\d{1,9})?")
_DIGITS = re.compile(rb"\d{1,15}")
_TRACE = re.compile(r"Root=?(1-[0-9a-fA-F]{8}-[0-9a-fA-F]{24})")
_HEAD = re.compile(
    rb"[a-z][a-z0-9]{1,15} \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z [^ \"]+ [^ \"]+ [^ \"]+ "
)
# What follows the user agent of every line. Used to find the end of a user agent that holds raw quotes.
_AFTER_AGENT = re.compile(
    rb'" [^ "]+ [^ "]+ [^ "]+ "[^"]*" "[^"]*" "[^"]*" [^ "]+ \d{4}-\d\d-\d\dT[0-9:.]{8,18}Z "'
)
_AFTER_REQUEST = re.compile(rb' (?:HTTP/\d(?:\.\d)?|-) ?" "')
THIRTIETH = re.compile(rb' ([^ "]+)(?: |$)')
_QUOTED_TAIL = 7  # actions_executed ... classification_reason


Bounds = tuple[
    int, ...
]  # start, end, start, end ... of spans that do not touch, in order; microseconds since 1970


class Damaged(ValueError):
    """The line is not a whole access-log line."""


@dataclass(frozen=True, slots=True)
class AlbStats:
    """What became of the lines: ``lines`` = ``rows`` + ``outside`` + ``control`` + ``blank`` + ``damaged``.

    ``outside`` rows have their time outside the window. ``repaired`` rows (counted in ``rows`` too) had raw
    quotes in the request or the user agent but left only one reading. ``left_out`` rows (counted in ``rows`` too) were
    more than were to be kept. ``first_damaged`` names the first damaged line.
    """

    lines: int = 0
    rows: int = 0
    outside: int = 0
    control: int = 0
    blank: int = 0
    damaged: int = 0
    repaired: int = 0
    bytes: int = 0
    left_out: int = 0
    first_damaged: str | None = None

    def __add__(self, other: AlbStats) -> AlbStats:
        """Both together."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return AlbStats(**counts, first_damaged=self.first_damaged or other.first_damaged)


_COUNTS = ("lines", "rows", "outside", "control", "blank", "damaged", "repaired", "bytes", "left_out")


def read_line(line: bytes, bounds: Bounds | None) -> tuple[dict[str, Any] | None, AlbStats]:
    """The row of a line, if it has one inside the bounds, and the count to add for it.

    A line that ends outside the bounds is not looked at any further.
    """
    size = len(line)
    if not line.strip(b"\r\n \t"):
        return None, AlbStats(lines=1, blank=1, bytes=size)
    if line.startswith(CONTROL):
        return None, AlbStats(lines=1, control=1, bytes=size)
    try:
        if bounds and bisect_right(bounds, line_time(line)) % 2 == 0:
            return None, AlbStats(lines=1, outside=1, bytes=size)
        row = parse_line(line)
    except Damaged:
        return None, AlbStats(lines=1, damaged=1, bytes=size)
    return row, AlbStats(lines=1, rows=1, repaired=int(row.pop("repaired")), bytes=size)


def line_time(line: bytes) -> int:
    """``time`` of a line in microseconds since 1970. Raises ``Damaged`` when it does not start as a line does."""
    start = _START.match(line)
    if not start:
        raise Damaged("start")
    return micros(start[2])


def sniff_alb(head: bytes) -> bool:
    """Whether the first bytes of a (plain) file are an ALB access log: one of its first lines starts like one."""
    lines = [line for line in head[:65536].lstrip(b"\xef\xbb\xbf").split(b"\n")[:8] if line.strip()]
    return any(_HEAD.match(line) or line.startswith(CONTROL) for line in lines)


def parse_line(line: bytes) -> dict[str, Any]:
    """Columns of ``ACCESS_SCHEMA`` (without source and line) of one line; times are microseconds since 1970.

    ``-`` and ``-1`` become None. The key ``repaired`` is True when raw quotes had to be read around.
    Raises ``Damaged`` when the line is not whole.
    """
    fields, repaired = _split(line.rstrip(b"\r\n"))
    kind = fields[0]
    if not _TYPE.fullmatch(kind):
        raise Damaged("type")
    client, client_port = split_address(fields[3])
    target_ip, target_port = split_address(fields[4])
    method, host, path, query, protocol = split_request(fields[12])
    return {
        "time": micros(fields[1]),
        "created_at": None if fields[21] == b"-" else micros(fields[21]),
        "type": text_of(kind),
        "elb": text_of(fields[2]),
        "client": client,
        "client_port": client_port,
        "target_ip": target_ip,
        "target_port": target_port,
        "request_processing_s": to_seconds(fields[5]),
        "target_processing_s": to_seconds(fields[6]),
        "response_processing_s": to_seconds(fields[7]),
        "elb_status": to_integer(fields[8]),
        "target_status": to_integer(fields[9]),
        "received_bytes": to_integer(fields[10]),
        "sent_bytes": to_integer(fields[11]),
        "method": method,
        "host": host,
        "path": path,
        "query": query,
        "protocol": protocol,
        "user_agent": text_of(fields[13]),
        "trace_id": normalise_trace_id(text_of(fields[17])),
        "target_group": text_of(fields[16]),
        "actions": text_of(fields[22]),
        "error_reason": text_of(fields[24]),
        "conn_trace_id": text_of(fields[29]),
        "repaired": repaired,
    }


def normalise_trace_id(text: str | None) -> str | None:
    """``Root=1-8hex-24hex`` of an X-Amzn-Trace-Id in any form, also with ``=`` and ``;`` removed as Rails does."""
    match = _TRACE.search(text) if text else None
    return f"Root={match[1].lower()}" if match else None


def micros(text: bytes) -> int:
    """Microseconds since 1970 of ``2026-01-02T10:05:00.123456Z``. Raises ``Damaged``."""
    match = _TIME.fullmatch(text)
    if not match:
        raise Damaged("time")
    *parts, fraction = match.groups()
    try:
        at = datetime(*map(int, parts), tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        raise Damaged("time") from None
    whole = at - _EPOCH
    return (whole.days * 86400 + whole.seconds) * 1_000_000 + int((fraction or b"0").ljust(6, b"0")[:6])


def split_request(request: bytes) -> tuple[str | None, str | None, str | None, str | None, str | None]:
    """Method, host, path, query, protocol of the request field; parts that are not there are None.

    The URL may hold spaces, so the method ends at the first and the protocol starts after the last space.
    """
    method, _, rest = request.partition(b" ")
    url, _, protocol = rest.rstrip(b" ").rpartition(b" ")
    if not url:
        url, protocol = protocol, b"-"
    host, path, query = _split_url(url)
    if path is None and method != b"-" and host is not None:
        path = b"/"
    return text_of(method), text_of(host), text_of(path), text_of(query), text_of(protocol)


def _split_url(url: bytes) -> tuple[bytes | None, bytes | None, bytes | None]:
    before, _, query = url.partition(b"?")
    scheme, mark, after = before.partition(b"://")
    if not mark or b"/" in scheme:
        return None, before, query
    authority, slash, path = after.partition(b"/")
    host = authority.rpartition(b"@")[2]
    name, colon, port = host.rpartition(b":")
    if colon and port.rstrip(b"-").isdigit() and (b":" not in name or name.endswith(b"]")):
        host = name
    return host, (b"/" + path if slash else None), query


def _split(line: bytes) -> tuple[list[bytes], bool]:
    if len(line) > MAX_LINE:
        raise Damaged("too long")
    head = line.split(b" ", 12)
    if len(head) < 13 or not all(_WORD.fullmatch(word) for word in head[:12]):
        raise Damaged("fewer than thirteen fields")
    fields, rest = head[:12], b" " + head[12]
    try:
        return fields + _tail(*_quoted(rest, 2)), False
    except Damaged:
        return fields + _repair(rest), True


def _repair(rest: bytes) -> list[bytes]:
    """Request and user agent hold raw quotes: read around them when only one reading is left."""
    agent_ends = [match.start() for match in _AFTER_AGENT.finditer(rest)]
    request_ends = [
        match.end() - 3 for match in _AFTER_REQUEST.finditer(rest[: agent_ends[0]] if agent_ends else b"")
    ]
    if len(agent_ends) != 1 or len(request_ends) != 1 or not rest.startswith(b' "'):
        raise Damaged("quotes")
    agent = rest[request_ends[0] + 3 : agent_ends[0]]
    return _tail([rest[2 : request_ends[0]], agent], rest[agent_ends[0] + 1 :])


def _tail(fields: list[bytes], rest: bytes) -> list[bytes]:
    """Fields 13 and 14 and the text after them -> fields 13 to 30 (``-`` for a thirtieth that is not there)."""
    for kind, count in ((_words, 3), (_quoted, 3), (_words, 2), (_quoted, _QUOTED_TAIL)):
        got, rest = kind(rest, count)
        fields = fields + got
    extra = THIRTIETH.match(rest)
    return [*fields, extra[1] if extra else b"-"]


def _words(rest: bytes, count: int) -> tuple[list[bytes], bytes]:
    parts = rest.split(b" ", count + 1)
    if len(parts) <= count or parts[0] or not all(_WORD.fullmatch(word) for word in parts[1 : count + 1]):
        raise Damaged("words")
    return parts[1 : count + 1], b" " + parts[count + 1] if len(parts) > count + 1 else b""


def _quoted(rest: bytes, count: int) -> tuple[list[bytes], bytes]:
    parts = rest.split(b'"', 2 * count)
    if len(parts) <= 2 * count or any(gap != b" " for gap in parts[0 : 2 * count : 2]):
        raise Damaged("quotes")
    after = parts[2 * count]
    if after and not after.startswith(b" "):
        raise Damaged("quotes")
    return parts[1 : 2 * count : 2], after


def text_of(value: bytes | None) -> str | None:
    """The text of a field, None for ``-`` and nothing."""
    return value.decode("utf-8", "replace") if value and value != b"-" else None


def split_address(value: bytes) -> tuple[str | None, int | None]:
    if value == b"-":
        return None, None
    host, colon, port = value.rpartition(b":")  # an IPv6 address is written without brackets
    if not colon:
        return text_of(value), None
    if not _DIGITS.fullmatch(port):
        raise Damaged("port")
    return text_of(host.strip(b"[]")), int(port)


def to_integer(value: bytes) -> int | None:
    if value in (b"-", b"-1"):
        return None
    if not _DIGITS.fullmatch(value):
        raise Damaged("number")
    return int(value)


def to_seconds(value: bytes) -> float | None:
    if value in (b"-", b"-1", b"-1.000"):
        return None
    if not _DECIMAL.fullmatch(value):
        raise Damaged("number")
    return float(value)
