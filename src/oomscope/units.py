"""Bytes, times and numbers, in and out. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation

_SUFFIX: dict[str, int | Decimal] = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
    "m": Decimal("0.001"), "u": Decimal("0.000001"), "n": Decimal("0.000000001"),
}  # fmt: skip
_QUANTITY = re.compile(r"([+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30}))(?:([eE][+-]?\d{1,2})|([a-zA-Z]{0,2}))")


def parse_quantity(text: str | int | float | None) -> int | None:
    """Bytes of a Kubernetes quantity (``2Gi``, ``1536Mi``, ``2.5G``, ``1e9``, ``100m``), rounded up; else None.

    Source: apimachinery ``resource.Quantity``. A value below one byte (``100m``) rounds up to 1.
    """
    if isinstance(text, bool) or text is None:
        return None
    match = _QUANTITY.fullmatch(str(text).strip())
    if not match:
        return None
    number, exponent, suffix = match.groups()
    factor = _SUFFIX.get(suffix or "")
    if factor is None:
        return None
    try:
        value = Decimal(number + (exponent or "")) * Decimal(factor)
    except InvalidOperation:
        return None
    return int(value.to_integral_value(rounding="ROUND_CEILING"))


def format_bytes(value: float | None) -> str:
    """Three figures, binary units: ``1.80 GiB``; ``-`` when unknown."""
    if value is None:
        return "-"
    size, sign = abs(float(value)), "-" if value < 0 else ""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1000 or unit == "TiB":
            digits = 0 if unit == "B" or size >= 100 else 1 if size >= 10 else 2
            return f"{sign}{size:.{digits}f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def format_seconds(value: float | None) -> str:
    """``0.48 s``, ``41 s``, ``12 min``, ``3 h 05 min``, ``2 d 4 h``; ``-`` when unknown."""
    if value is None:
        return "-"
    seconds, sign = abs(float(value)), "-" if value < 0 else ""
    if seconds < 9.95:
        return f"{sign}{seconds:.2g} s" if seconds >= 0.095 else f"{sign}{seconds * 1000:.0f} ms"
    if seconds < 119.5:
        return f"{sign}{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{sign}{minutes} min"
    if minutes < 48 * 60:
        return f"{sign}{minutes // 60} h {minutes % 60:02d} min"
    return f"{sign}{minutes // 1440} d {minutes % 1440 // 60} h"


_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)?\s*(Z|z|UTC|[+-]\d\d:?\d\d)?"
)


def parse_time(text: str | None, *, tz: tzinfo | None = None) -> datetime | None:
    """UTC time of an RFC 3339 text (nanoseconds are cut to microseconds); None if it is not one.

    A text without a zone is refused (None) unless ``tz`` says what zone it is in.
    """
    match = _RFC3339.fullmatch(text.strip()) if text else None
    if not match:
        return None
    *parts, fraction, zone = match.groups()
    offset = _zone(zone) if zone else tz
    if offset is None:
        return None
    micros = int((fraction or "0").ljust(9, "0")[:6])
    try:
        return datetime(*map(int, parts), micros, tzinfo=offset).astimezone(UTC)  # type: ignore[arg-type,misc]
    except (ValueError, OverflowError):
        return None


def _zone(text: str) -> timezone | None:
    if text in ("Z", "z", "UTC"):
        return UTC
    sign = -1 if text[0] == "-" else 1
    hours, minutes = int(text[1:3]), int(text[-2:])
    if hours > 23 or minutes > 59:
        return None
    return timezone(sign * timedelta(hours=hours, minutes=minutes))


def from_epoch(seconds: float) -> datetime | None:
    """UTC time of seconds since 1970, None when out of range."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def iso(at: datetime | None) -> str | None:
    """``2026-11-23T09:18:26.694049Z``: fixed width, so that text order is time order."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
