"""Times of log lines as whole microseconds or nanoseconds since 1970, fast for texts that repeat the same second."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=256)
def second_epoch(text: str) -> int | None:
    """Seconds since 1970 of ``2026-11-23T09:20:35`` (or with a space) read as UTC; None if it is no such text."""
    if len(text) != 19:
        return None
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


@lru_cache(maxsize=64)
def zone_seconds(text: str) -> int | None:
    """Seconds east of UTC of ``Z``, ``UTC``, ``+0900`` or ``+09:00``; None if it is no zone."""
    if text in ("Z", "z", "UTC"):
        return 0
    digits = text[1:].replace(":", "")
    if text[:1] not in ("+", "-") or len(digits) != 4 or not (digits.isascii() and digits.isdigit()):
        return None
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        return None
    return (hours * 3600 + minutes * 60) * (-1 if text[0] == "-" else 1)


def rfc3339_ns(text: str) -> int | None:
    """Nanoseconds since 1970 of an RFC 3339 time with zone (any fraction); None if it is none."""
    seconds = second_epoch(text[:19])
    if seconds is None:
        return None
    nanos, rest = 0, text[19:]
    if rest[:1] in (".", ","):
        zone = rest[1:].lstrip("0123456789")
        digits = rest[1 : len(rest) - len(zone)]
        if not digits:
            return None
        nanos, rest = int(digits[:9].ljust(9, "0")), zone
    east = zone_seconds(rest)
    return None if east is None else (seconds - east) * 1_000_000_000 + nanos


def from_us(at: int | None) -> datetime | None:
    """UTC time of microseconds since 1970; None when unknown or out of range."""
    if at is None:
        return None
    try:
        return datetime.fromtimestamp(at // 1_000_000, UTC).replace(microsecond=at % 1_000_000)
    except (ValueError, OverflowError, OSError):
        return None


def to_us(at: datetime | None, naive_offset_s: int | None = None) -> int | None:
    """Microseconds since 1970. A naive time is local time ``naive_offset_s`` east of UTC; None if that is unknown."""
    if at is None:
        return None
    if at.tzinfo is None:
        if naive_offset_s is None:
            return None
        return (
            int(at.replace(tzinfo=UTC).timestamp()) * 1_000_000 + at.microsecond - naive_offset_s * 1_000_000
        )
    whole = at.astimezone(UTC)
    return int(whole.replace(microsecond=0).timestamp()) * 1_000_000 + whole.microsecond
