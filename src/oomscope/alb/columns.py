"""Columns of the table out of the proven positions in a buffer, only those that are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from oomscope.alb.bytesview import (
    Bools,
    Ints,
    Lines,
    Origin,
    View,
    few_strings,
    first_of,
    integers_of,
    nullify,
    repeated,
    slices,
    strings,
    thousandths_of,
    tokens,
)
from oomscope.alb.line import THIRTIETH, normalise_trace_id, text_of
from oomscope.facts import ACCESS_SCHEMA, polars_schema

TYPES = (b"https ", b"h2 ", b"http ", b"ws ", b"wss ", b"grpcs ")
METHODS = (b"GET ", b"POST ", b"PATCH ", b"PUT ", b"DELETE ", b"HEAD ", b"OPTIONS ")
PROTOCOLS = (b"HTTP/1.1", b"HTTP/2.0", b"HTTP/1.0")
SIDES = {"client": 2, "target": 3}
DECIMALS = ("request_processing_s", "target_processing_s", "response_processing_s")
# in this order behind the fourth space
NUMBERS = (*DECIMALS, "elb_status", "target_status", "received_bytes", "sent_bytes")
_KINDS = polars_schema(ACCESS_SCHEMA)
_BLANK, _NEWLINE, _QUESTION, _HYPHEN = 32, 10, 63, 45
_ROOT = np.frombuffer(b"Root=1-", np.uint8)
_HEX = np.zeros(256, bool)
_HEX[list(b"0123456789abcdef")] = True
_WORDS = np.zeros(256, bool)
_WORDS[33:127] = True
_WORDS[ord('"')] = False


def table(lines: Lines, f: dict[str, Any], origin: Origin, columns: frozenset[str]) -> pl.DataFrame:
    """The asked columns of the lines, whose positions and numbers are in ``f``."""
    if not len(lines.start):
        return pl.DataFrame(schema=schema_of(columns))
    found = {name: _column(name, lines, f, origin) for name in schema_of(columns)}
    return pl.DataFrame({name: _as(values, _KINDS[name]) for name, values in found.items()})


def _as(values: pl.Series, kind: Any) -> pl.Series:
    return values if values.dtype == kind else values.cast(kind)


def schema_of(columns: frozenset[str]) -> dict[str, Any]:
    """The part of ACCESS_SCHEMA that is asked for."""
    return {name: kind for name, kind in _KINDS.items() if name in columns}


def _column(name: str, lines: Lines, f: dict[str, Any], origin: Origin) -> pl.Series:
    """One column of the table; the column's name decides where in the line it is taken from."""
    view, quote = lines.view, f["quote"]
    if name in _QUOTED:
        first = 2 * _QUOTED[name]
        return _TEXT_READERS.get(name, strings)(view, quote[first] + 1, quote[first + 1])
    if name in NUMBERS:
        row, read = NUMBERS.index(name), thousandths_of if name in DECIMALS else integers_of
        return nullify(pl.Series(read(f["digits"][row])), f["minus"][row])
    return _SPECIAL[name](lines, f, origin)


def _known(name: str, texts: tuple[bytes, ...]) -> Callable[..., pl.Series]:
    known = pl.Series([text.decode().strip() for text in texts])
    return lambda _lines, f, _origin: known[f[name]]


def _kind_of(lines: Lines, _f: dict[str, Any], _origin: Origin) -> pl.Series:
    which, _ = tokens(lines.view.words[lines.start], TYPES)
    return pl.Series([text.decode().strip() for text in TYPES])[which]


def _word(index: int) -> Callable[..., pl.Series]:
    return lambda lines, f, _origin: repeated(lines.view, f["space"][index] + 1, f["space"][index + 1])


def _host_part(side: str, read: Callable[..., pl.Series]) -> Callable[..., pl.Series]:
    def column(lines: Lines, f: dict[str, Any], _origin: Origin) -> pl.Series:
        return read(lines.view, f["space"][SIDES[side]] + 1, np.where(f[side + "?"], 0, f[side] - 1))

    return column


def _port_part(side: str) -> Callable[..., pl.Series]:
    return lambda _lines, f, _origin: nullify(pl.Series(integers_of(f[side + ":"])), f[side + "?"])


def _path_end(lines: Lines, f: dict[str, Any]) -> Ints:
    """Where the path ends and the query begins. Found once, and only if a column wants it."""
    if "path_end" not in f:
        f["path_end"] = first_of(lines.view, f["path"], f["url_end"], _QUESTION)
    found: Ints = f["path_end"]
    return found


def _trace(view: View, begin: Ints, end: Ints) -> pl.Series:
    """Nearly all are 40 bytes as they are wanted; of the others the root is looked for one by one."""
    text = view.block(begin, 5).view(np.uint8).reshape(len(begin), 40)
    plain = (end - begin == 40) & (text[:, :7] == _ROOT).all(axis=1) & (text[:, 15] == _HYPHEN)
    plain &= _HEX[text[:, 7:15]].all(axis=1) & _HEX[text[:, 16:]].all(axis=1)
    found = slices(view, begin, end)
    return _one_by_one(found, plain, lambda row: normalise_trace_id(text_of(found[row])))


def _connection(lines: Lines, f: dict[str, Any], _origin: Origin) -> pl.Series:
    """The thirtieth field: nearly always a word of 36 bytes behind the last quote, or not there at all."""
    view, quote = lines.view, f["quote"][23]
    begin, end = quote + 2, quote + 38
    text = view.block(begin, 5).view(np.uint8).reshape(len(begin), 40)[:, :36]
    plain = (view.bytes[quote + 1] == _BLANK) & _WORDS[text].all(axis=1)
    after = view.bytes[end]
    plain &= (after == _BLANK) | (after == _NEWLINE)

    def rare(row: int) -> str | None:
        match = THIRTIETH.match(view.data[int(quote[row]) + 1 : int(lines.stop[row])])
        return text_of(match[1]) if match else None

    return _one_by_one(slices(view, begin, end), plain, rare)


def _one_by_one(texts: list[bytes], plain: Bools, rare: Callable[[int], str | None]) -> pl.Series:
    """The column of ASCII texts; those that are not plain as ``rare`` says."""
    values: list[bytes | None] = list(texts)
    for row in np.flatnonzero(~plain).tolist():
        found = rare(row)
        values[row] = found.encode() if found is not None else None
    return pl.Series(values, dtype=pl.Binary).cast(pl.String)


_QUOTED = {"user_agent": 1, "trace_id": 2, "actions": 5, "error_reason": 7}
_TEXT_READERS: dict[str, Callable[..., pl.Series]] = {
    "trace_id": _trace, "actions": repeated, "error_reason": repeated,
}  # fmt: skip
_SPECIAL: dict[str, Callable[[Lines, dict[str, Any], Origin], pl.Series]] = {
    "time": lambda lines, _f, _origin: pl.Series(lines.time),
    "created_at": lambda _lines, f, _origin: pl.Series(f["created_at"]),
    "type": _kind_of,
    "elb": _word(1),
    "client": _host_part("client", strings),
    "client_port": _port_part("client"),
    "target_ip": _host_part("target", repeated),
    "target_port": _port_part("target"),
    "method": _known("method", METHODS),
    "host": lambda _lines, f, _origin: few_strings(f["host"], f["hosts"]),
    "path": lambda lines, f, _origin: strings(lines.view, f["path"], _path_end(lines, f)),
    "query": lambda lines, f, _origin: strings(lines.view, _path_end(lines, f) + 1, f["url_end"]),
    "protocol": _known("protocol", PROTOCOLS),
    "target_group": lambda _lines, f, _origin: few_strings(f["target_group"], f["target_groups"]),
    "conn_trace_id": _connection,
    "source": lambda lines, _f, origin: pl.Series(origin.labels)[origin.stretch_of(lines.number)],
    "line": lambda lines, _f, origin: pl.Series(origin.lines_of(lines.number)),
}
