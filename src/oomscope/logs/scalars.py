"""Small readers shared by the line parsers: numbers, times, cut texts and the top level of a Ruby hash.

Every function takes hostile text or objects, works in time linear in their length and never raises.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import orjson

from oomscope.units import from_epoch, parse_time

MAX_ARGS = 2048
MAX_PARAMS = 4096
MAX_MESSAGE = 300
_MAX_HASH = 1 << 20  # characters of a Ruby hash that are looked at
_MAX_PAIRS = 200

_ANSI = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")
_INT = re.compile(r"-?[0-9]{1,18}")
_FLOAT = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?")
_NAIVE = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?")
_TRACE_ROOT = re.compile(r"Root=1-[0-9a-fA-F]{8}-[0-9a-fA-F]{24}")
_EPOCH_2000, _EPOCH_2100 = 946_684_800.0, 4_102_444_800.0


def strip_ansi(text: str) -> str:
    """The text without terminal colour codes."""
    return _ANSI.sub("", text) if "\x1b" in text else text


def cut(text: str, limit: int) -> str:
    """At most ``limit`` UTF-8 bytes of the text, without half a character at the end."""
    if len(text) * 4 <= limit:
        return text
    raw = text[:limit].encode("utf-8", "replace")
    return text if len(raw) <= limit and len(text) <= limit else raw[:limit].decode("utf-8", "ignore")


def as_text(value: object, limit: int = MAX_MESSAGE) -> str | None:
    """A non-empty string (or number) as bounded text; None for anything else."""
    if isinstance(value, str):
        return cut(value, limit) or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return cut(str(value), limit) if abs(value) < 1e300 else None
    return None


def as_int(value: object) -> int | None:
    """A whole number from a JSON value or its decimal text; None if it is none (or does not fit 63 bits)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    if isinstance(value, float):
        return int(value) if value == value and abs(value) < 2**53 else None
    if isinstance(value, str) and _INT.fullmatch(value):
        return int(value)
    return None


def as_float(value: object) -> float | None:
    """A finite number from a JSON value or its decimal text; None if it is none."""
    if isinstance(value, str):
        return float(value) if _FLOAT.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 else None


def as_time(value: object) -> datetime | None:
    """A time from ISO text or from an epoch in s, ms, us or ns; naive if the text has no zone; None if it is none.

    Numbers outside 2000-2100 are refused: they are monotonic clocks or counters, not times.
    """
    if isinstance(value, str):
        return (
            parse_time(value) or _naive_time(value) or (_epoch(as_float(value)) if value[:1] == "1" else None)
        )
    return _epoch(as_float(value))


def _naive_time(text: str) -> datetime | None:
    match = _NAIVE.fullmatch(text.strip()) if len(text) < 64 else None
    if not match:
        return None
    try:
        whole = datetime.fromisoformat(f"{match[1]}T{match[2]}")
    except ValueError:
        return None
    return whole.replace(microsecond=int((match[3] or "0").ljust(6, "0")[:6]))


def _epoch(number: float | None) -> datetime | None:
    for scale in (1.0, 1e3, 1e6, 1e9):
        if number is not None and _EPOCH_2000 <= number / scale < _EPOCH_2100:
            return from_epoch(number / scale)
    return None


def epoch_ns(value: object) -> datetime | None:
    """UTC time of integer nanoseconds since 1970, cut to microseconds without rounding through a float."""
    number = as_int(value)
    if number is None or not _EPOCH_2000 <= number / 1e9 < _EPOCH_2100:
        return None
    return datetime.fromtimestamp(number // 10**9, UTC).replace(microsecond=number % 10**9 // 1000)


def json_text(value: object) -> str:
    """Compact JSON of a value that came from JSON; empty when it cannot be written (lone surrogates, huge numbers)."""
    try:
        return orjson.dumps(value).decode("utf-8", "replace")
    except orjson.JSONEncodeError:
        return ""


def trace_root(value: object) -> str | None:
    """The ``Root=1-8hex-24hex`` part of an X-Amzn-Trace-Id value."""
    match = _TRACE_ROOT.search(value[:1000]) if isinstance(value, str) else None
    return match[0] if match else None


# ----------------------------------------------------------------------------------------------------- Ruby inspect

_KEY = re.compile(
    r"""\s*(?::"?([A-Za-z_@][\w@.\-]{0,63})"?\s*=>\s*"""  # :key=> or :"key"=>
    r"""|"([^"\\]{1,64})"(?:\s*=>\s*|:\s+)"""  # "key"=> or "key":
    r"""|([A-Za-z_]\w{0,63}):\s+)"""  # key:
)
_MARK = re.compile(r'"(?:[^"\\]++|\\.)*+"|["{}\[\],]', re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_ESCAPE = re.compile(r"\\(u\{?[0-9a-fA-F]{1,6}\}?|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPED = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "e": "\x1b",
    "0": "\0",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
}
_WORDS: dict[str, Any] = {"nil": None, "true": True, "false": False}


def value_end(text: str, start: int) -> int:
    """Where the Ruby or JSON value that begins at ``start`` ends: before its ``,`` or closing bracket, or the end."""
    depth = 0
    for mark in _MARK.finditer(text, start):
        sign = mark[0]
        if sign in "{[":
            depth += 1
        elif sign in "}]":
            if depth == 0:
                return mark.start()
            depth -= 1
        elif sign == "," and depth == 0:
            return mark.start()
        elif sign == '"':  # never closed: all the rest is inside it
            return len(text)
    return len(text)


def bracket_end(text: str, start: int) -> int:
    """One past the bracket that closes the one at ``start``; the length of the text when it is never closed."""
    depth = 0
    for mark in _MARK.finditer(text, start):
        if mark[0] in "{[":
            depth += 1
        elif mark[0] in "}]":
            depth -= 1
            if depth <= 0:
                return mark.end()
        elif mark[0] == '"':
            return len(text)
    return len(text)


def ruby_pairs(text: str) -> dict[str, Any]:
    """Top level of a Ruby hash as ``inspect`` prints it: scalars as Python values, nested ones as raw text.

    Reads what it can: a hash cut short gives the pairs before the cut, text that is no hash gives none.
    """
    body = text[:_MAX_HASH]
    pairs: dict[str, Any] = {}
    at = body.find("{") + 1
    while 0 < at < len(body) and len(pairs) < _MAX_PAIRS:
        key = _KEY.match(body, at)
        if not key:
            break
        end = value_end(body, key.end())
        pairs.setdefault(key[1] or key[2] or key[3], ruby_value(body[key.end() : end].strip()))
        at = end + 1 if body[end : end + 1] == "," else 0
    return pairs


def ruby_value(text: str) -> Any:
    """A Ruby scalar as a Python value: string, number, nil, true, false, symbol; anything else stays text."""
    if _STRING.fullmatch(text):
        return _ESCAPE.sub(_unescape, text[1:-1])
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text[1:] if text[:1] == ":" else text


def _unescape(match: re.Match[str]) -> str:
    sign = match[1]
    if sign[0] in "ux" and len(sign) > 1:
        code = int(sign[1:].strip("{}"), 16)
        return chr(code) if code < 0xD800 or 0xDFFF < code < 0x110000 else "\ufffd"
    return _ESCAPED.get(sign, sign)
