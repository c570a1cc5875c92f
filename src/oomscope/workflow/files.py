"""Reading the JSON files of the workflow: our own, and those that other tools of the same kind write."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from oomscope.errors import UnreadableError, UsageError
from oomscope.logs.interface import Identity, LogInput
from oomscope.sources.bounded import FileInput
from oomscope.sources.live import BytesLog
from oomscope.units import from_epoch, parse_time

MAX_DOCUMENT = 512 * 1024 * 1024
_TIMES = ("timestamp", "@timestamp", "time", "ingestionTime")
_TEXTS = ("message", "@message", "log", "msg")
_STREAMS = ("logStreamName", "@logStream", "log_stream", "stream")


def log_input(path: Path) -> LogInput:
    """The log in a file: any form the log scan knows, or a JSON list of events, or an Insights answer.

    Raises ``UsageError`` when there is no such file.
    """
    try:
        size = path.stat().st_size
        file = FileInput(path, path.name, size=size)
        head = file.head()
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror or error}", fix="--input FILE", slug="missing-path"
        ) from error
    if head.lstrip()[:1] not in (b"[", b"{") or b'"events"' in head[:4096] or size > MAX_DOCUMENT:
        return file
    events = _foreign_events(file)
    return file if events is None else BytesLog(path.name, Identity(), filter_log_answer(events))


def _foreign_events(file: FileInput) -> list[dict[str, Any]] | None:
    """Events of a JSON list, of ``{"logs": [...]}`` and the like, or of Insights rows; None for JSON lines."""
    with file.open() as stream:
        document = _json(stream.read(MAX_DOCUMENT))
    if isinstance(document, dict):
        lists = [document.get(name) for name in ("results", "logs", "log_events", "logEvents", "data")]
        document = next((found for found in lists if isinstance(found, list)), None)
    if not isinstance(document, list):
        return None
    events = [event for entry in document if (event := _event(entry)) is not None]
    return events or None


def _event(entry: Any) -> dict[str, Any] | None:
    if isinstance(entry, list):  # one Insights row: [{"field": "@message", "value": "..."}, ...]
        entry = {
            cell["field"]: cell.get("value")
            for cell in entry
            if isinstance(cell, dict) and isinstance(cell.get("field"), str)
        }
    if not isinstance(entry, dict):
        return None
    text = next((entry[name] for name in _TEXTS if isinstance(entry.get(name), str)), None)
    at = next((found for name in _TIMES if (found := any_time(entry.get(name))) is not None), None)
    if text is None or at is None:
        return None
    stream = next((entry[name] for name in _STREAMS if isinstance(entry.get(name), str)), "")
    return {"logStreamName": stream, "timestamp": round(at.timestamp() * 1000), "message": text}


def filter_log_answer(events: Iterable[dict[str, Any]]) -> bytes:
    """Events as CloudWatch's FilterLogEvents gives them, one a line."""
    lines = ",\n".join(json.dumps(event) for event in events)
    return f'{{"events": [\n{lines}\n]}}\n'.encode()


def any_time(value: Any) -> datetime | None:
    """UTC of RFC 3339 text, of Insights' text (UTC without saying so), or of epoch seconds or milliseconds."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return from_epoch(value / 1000 if value > 10**11 else value)
    if not isinstance(value, str) or len(value) > 64:
        return None
    return parse_time(value, tz=UTC)


def read_json(path: Path, flag: str) -> Any:
    """The document in a file. Raises ``UsageError`` for a missing file, ``UnreadableError`` for no JSON."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror or error}", fix=f"{flag} FILE", slug="missing-path"
        ) from error
    document = _json(data) if len(data) <= MAX_DOCUMENT else None
    if document is None:
        raise UnreadableError(f"{path} is not JSON", fix=f"{flag} takes the file the step before wrote")
    return document


def _json(data: bytes) -> Any:
    import orjson

    try:
        return orjson.loads(data)  # bounds the nesting depth
    except orjson.JSONDecodeError:
        return None
