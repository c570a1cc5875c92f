"""One kernel log line out of whatever wraps it: its time, its seconds since boot, its host, its bare text. Pure.

Wrappers: ring buffer (``dmesg``, also ``-x``, ``-T``, ``--time-format=iso``), syslog with and without year,
``journalctl`` (short, short-iso, short-full, short-unix, short-monotonic, json), Fluent Bit and CloudWatch records,
FilterLogEvents and Logs Insights answers. A stamp without a zone is taken in ``tz``, else as UTC: nodes run in UTC.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timezone
from typing import Any

from oomscope.units import from_epoch, iso, parse_time

MAX_LINE = 8192
_MAX_LAYERS = 6

_LEVEL = re.compile(r"<\d{1,3}>(?:1 (?=\d{4}-))?")
_DMESG_X = re.compile(r"[a-z0-9]{2,8}\s{0,8}:[a-z]{3,7}\s{0,4}: ")
_UPTIME = re.compile(r"\[\s{0,12}(\d{1,10}\.\d{6})\](?:\[\s{0,8}[TC]\d{1,10}\])? ?")
_RELATIVE = re.compile(r"\[(?:\s{0,8}[+-]\d{1,8}\.\d{6}|[A-Z][a-z]{2}\s?\d{1,2} \d\d:\d\d)\] ?")
_CTIME = re.compile(r"\[?(?:[A-Z][a-z]{2} )([A-Z][a-z]{2})\s{1,2}(\d{1,2}) (\d\d:\d\d:\d\d) (\d{4})\]? ?")
_ISO = re.compile(
    r"\[?(?:[A-Z][a-z]{2} )?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?) ?(Z|UTC|[+-]\d\d:?\d\d)?\]?(?: |$)"
)
_EPOCH = re.compile(r"(1\d{9}\.\d{1,9}) ")
_SYSLOG = re.compile(r"([A-Z][a-z]{2})\s{1,2}(\d{1,2}) (\d\d:\d\d:\d\d(?:\.\d{1,6})?) ")
_HOST_KERNEL = re.compile(r"([A-Za-z0-9][\w.:-]{0,252}) kernel(?:\[\d{1,9}\])?:? (?:- - )?(?:- )?")
_HOST_OTHER = re.compile(r"[A-Za-z0-9][\w.:-]{0,252} [\w@./-]{1,64}(?:\[\d{1,9}\])?: ")
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_TEXT_KEYS = ("MESSAGE", "message", "log", "msg", "@message")


@dataclass(frozen=True, slots=True)
class KernelLine:
    """One line. ``yearless`` holds month to microsecond of a syslog stamp whose year is not known yet."""

    text: str
    at: datetime | None = None
    uptime_s: float | None = None
    host: str | None = None
    yearless: datetime | None = None  # naive, year 2000


def unwrap(raw: str, *, tz: timezone | None = None) -> KernelLine | None:
    """The kernel line inside ``raw``; None when another program than the kernel wrote it. Never raises."""
    line = KernelLine(raw[:MAX_LINE].rstrip("\r\n"))
    for _ in range(_MAX_LAYERS):
        peeled = _peel(line, tz or UTC)
        if peeled is None or peeled is line:
            return peeled
        line = peeled
    return line


def _peel(line: KernelLine, tz: timezone) -> KernelLine | None:
    """One wrapper less; the same object when there is none left; None for a line of another program."""
    text = line.text
    if not text:
        return line
    if text[0] == "{":
        return _peel_json(line, tz)
    if (match := _UPTIME.match(text)) is not None:
        return replace(line, text=text[match.end() :], uptime_s=float(match[1]))
    for pattern in (_LEVEL, _DMESG_X, _RELATIVE):
        if match := pattern.match(text):
            return replace(line, text=text[match.end() :])
    stamped = _peel_stamp(line, tz)
    if stamped is not None:
        return stamped
    if match := _HOST_KERNEL.match(text):
        return replace(line, text=text[match.end() :], host=match[1])
    if (line.at or line.yearless) and _HOST_OTHER.match(text) and "oom" not in text[:20]:
        return None
    return line


def _peel_stamp(line: KernelLine, tz: timezone) -> KernelLine | None:
    text = line.text
    if match := _ISO.match(text):
        at = parse_time(match[1] + (match[2] or ""), tz=tz)
    elif match := _CTIME.match(text):
        at = parse_time(f"{match[4]}-{_MONTHS.get(match[1], 0):02d}-{int(match[2]):02d}T{match[3]}", tz=tz)
    elif match := _EPOCH.match(text):
        at = from_epoch(float(match[1]))
    elif match := _SYSLOG.match(text):
        return replace(line, text=text[match.end() :], yearless=line.yearless or _yearless(match))
    else:
        return None
    return replace(line, text=text[match.end() :], at=line.at or at)


def _yearless(match: re.Match[str]) -> datetime | None:
    clock, _, fraction = match[3].partition(".")
    try:
        hour, minute, second = map(int, clock.split(":"))
        micros = int(fraction.ljust(6, "0")) if fraction else 0
        return datetime(2000, _MONTHS.get(match[1], 0), int(match[2]), hour, minute, second, micros)
    except ValueError:
        return None


def with_year(stamp: datetime, year: int, tz: timezone | None) -> datetime | None:
    """A yearless stamp in that year, UTC; None for 29 February of a common year."""
    try:
        return stamp.replace(year=year, tzinfo=tz or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _peel_json(line: KernelLine, tz: timezone) -> KernelLine | None:
    try:
        record = json.loads(line.text)
    except (ValueError, RecursionError):
        return line
    if not isinstance(record, dict):
        return line
    program = record.get("SYSLOG_IDENTIFIER", record.get("ident"))
    if isinstance(program, str) and program != "kernel":
        return None
    text = next((t for key in _TEXT_KEYS if (t := _as_text(record.get(key))) is not None), None)
    if text is None:
        return None
    host = next(
        (h for key in ("_HOSTNAME", "host", "hostname") if isinstance(h := record.get(key), str)), None
    )
    return KernelLine(
        text[:MAX_LINE],
        at=_record_time(record, tz) or line.at,
        uptime_s=_micros(record.get("_SOURCE_MONOTONIC_TIMESTAMP")),
        host=host or line.host,
        yearless=line.yearless,
    )


def _as_text(value: Any) -> str | None:
    """Text of a journal field; the journal writes a field that is not UTF-8 as a list of byte values."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(b, int) and 0 <= b < 256 for b in value[:MAX_LINE]):
        return bytes(value[:MAX_LINE]).decode("utf-8", "replace")
    return None


def _micros(value: Any) -> float | None:
    try:
        return int(value) / 1e6
    except (TypeError, ValueError, OverflowError):
        return None


def _record_time(record: dict[str, Any], tz: timezone) -> datetime | None:
    for key in ("_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP"):
        if (seconds := _micros(record.get(key))) is not None:
            return from_epoch(seconds)
    for key in ("@timestamp", "timestamp", "time"):
        value = record.get(key)
        if isinstance(value, str) and (at := parse_time(value, tz=tz)):
            return at
        if isinstance(value, int) and not isinstance(value, bool) and value > 10**11:
            return from_epoch(value / 1000)
    return None


def lines_of_answer(answer: Any) -> Iterator[str]:
    """The lines of a saved log query answer: FilterLogEvents (``events``), Logs Insights (``results``), or a list.

    Each comes out as ``ISO-time message``, which ``unwrap`` understands. Anything else gives no lines.
    """
    rows: Any = answer
    if isinstance(answer, dict):
        rows = answer.get("events") or answer.get("results") or []
    for row in rows if isinstance(rows, list) else []:
        record = _insights_row(row) if isinstance(row, list) else row
        if isinstance(record, dict):
            yield from _record_line(record)


def _insights_row(row: list[Any]) -> dict[str, Any]:
    return {str(c.get("field")): c.get("value") for c in row if isinstance(c, dict)}


def _record_line(record: dict[str, Any]) -> Iterable[str]:
    text = next(
        (t for key in ("@message", *_TEXT_KEYS) if (t := _as_text(record.get(key))) is not None), None
    )
    if text is None:
        return
    at = _record_time(record, UTC) or _record_time({"time": record.get("@timestamp")}, UTC)
    host = record.get("host")
    prefix = f"{host} kernel: " if isinstance(host, str) and not text.startswith("{") else ""
    yield f"{iso(at)} {prefix}{text}" if at else prefix + text
