"""Rows of text, as Athena answers them, -> ACCESS_SCHEMA: the same meaning as the line parser gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from oomscope.alb.line import (
    Damaged,
    micros,
    normalise_trace_id,
    split_address,
    split_request,
    to_integer,
    to_seconds,
)
from oomscope.alb.rows import frame_of
from oomscope.facts import ACCESS_SCHEMA

_SECONDS = ("request_processing_s", "target_processing_s", "response_processing_s")
_INTEGERS = ("elb_status", "target_status", "received_bytes", "sent_bytes", "client_port", "target_port")
_TEXTS = (
    "type", "elb", "client", "target_ip", "user_agent", "target_group", "actions", "error_reason", "conn_trace_id",
)  # fmt: skip


def answer_frame(
    names: Sequence[str], rows: Sequence[Sequence[str | None]], source: str
) -> tuple[pl.DataFrame, int]:
    """The table (sorted by time) and the number of rows that could not be read, such as those that are all null."""
    good, bad = list[dict[str, Any]](), 0
    for number, values in enumerate(rows, 1):
        try:
            row = _row(dict(zip(names, values, strict=False)))
        except Damaged:
            bad += 1
            continue
        good.append({**row, "source": source, "line": number})
    return frame_of(good).sort("time", "source", "line"), bad


def _row(cells: dict[str, str | None]) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(ACCESS_SCHEMA)
    text = {name: (value or "-").encode() for name, value in cells.items()}
    row["time"] = micros(text.get("time", b"-"))
    row["created_at"] = None if text.get("created_at", b"-") == b"-" else micros(text["created_at"])
    row.update({name: to_seconds(_shortened(text.get(name, b"-"))) for name in _SECONDS})
    row.update({name: to_integer(text.get(name, b"-")) for name in _INTEGERS})
    row.update({name: _known(cells.get(name)) for name in _TEXTS})
    for side, (host, port) in {
        "client": ("client", "client_port"),
        "target": ("target_ip", "target_port"),
    }.items():
        if f"{side}_pair" in cells:
            row[host], row[port] = split_address(text[f"{side}_pair"])
    request = text.get("request")
    if request is None:
        # an empty part stays empty: of "- - - " the table's pattern makes "-", "- -" and nothing
        request = " ".join((cells.get(name) or "").strip() for name in ("method", "url", "protocol")).encode()
    row["method"], row["host"], row["path"], row["query"], row["protocol"] = split_request(request)
    row["trace_id"] = normalise_trace_id(cells.get("trace_id"))
    return row


def _known(text: str | None) -> str | None:
    return text if text not in ("", "-", None) else None


def _shortened(value: bytes) -> bytes:
    """A double as Trino prints it: ``-1.0`` for a number that was not recorded, ``1.0E-3`` for a small one."""
    if value.startswith(b"-1"):
        return b"-1"
    if b"E" in value.upper():
        try:
            return f"{float(value):.9f}".encode()
        except ValueError:
            return value
    return value
