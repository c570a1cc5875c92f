"""Spans of time as people write them: ``24h``, ``90m``, ``2d``."""

from __future__ import annotations

import re
from datetime import timedelta

from oomscope.errors import UsageError

_SPAN = re.compile(r"(\d{1,6})\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
MAX_DAYS = 90


def parse_span(text: str) -> timedelta:
    """The length of time, at most 90 days. Raises ``UsageError``."""
    match = _SPAN.fullmatch(text.strip())
    span = timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else timedelta()
    if not timedelta() < span <= timedelta(days=MAX_DAYS):
        raise UsageError(
            f"cannot read the span {text!r}", fix=f"e.g. 30m, 24h or 2d, at most {MAX_DAYS}d", slug="span"
        )
    return span
