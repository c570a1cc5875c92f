"""What every request of a large log took, as numbers: its endpoint, status, times, counters and size of parameters.

The lines of whole requests are read where they stand, many at a time; everything else takes the general path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import polars as pl

from oomscope.logs.block_rows import read_completed
from oomscope.logs.bytescan import Ints, View
from oomscope.logs.heads import MESSAGE
from oomscope.logs.opens import Matcher
from oomscope.logs.rails_text import parse_completed, parse_processing

if TYPE_CHECKING:
    from oomscope.logs.opens import Form, Left

_NAME = b"O -- : ["
_PARAMETERS = len("  Parameters: ")
SCHEMA: dict[str, Any] = {
    "endpoint": pl.String,
    "status": pl.Int64,
    "duration_ms": pl.Float64,
    "view_ms": pl.Float64,
    "db_ms": pl.Float64,
    "gc_ms": pl.Float64,
    "allocations": pl.Int64,
    "params_bytes": pl.Int64,
}


class Lifecycles(Matcher):
    """A matcher that reads the requests it matches into ``frames``.

    ``end`` is what follows the application's line inside JSON text, with escaped quotes when that is JSON in JSON.
    """

    def __init__(self, form: Form) -> None:
        super().__init__(form)
        self._end = form.end
        self._depth = 0 if not self._end else 2 if b'\\"' in self._end else 1
        self._parts: list[dict[str, Any]] = []
        self._buffer = bytearray()

    def take(self, buffer: bytearray, size: int) -> Iterator[Left]:
        """See ``Matcher.take``."""
        self._buffer = buffer
        return super().take(buffer, size)

    def frame(self, *, least: int) -> pl.DataFrame | None:
        """See ``Matcher.frame``."""
        parts = self._parts
        if sum(len(part["endpoint"]) for part in parts) < least:
            return None
        self._parts = []
        columns = {
            name: [value for part in parts for value in part[name]]
            if name == "endpoint"
            else np.concatenate([part[name] for part in parts])
            for name in SCHEMA
        }
        return pl.DataFrame(columns, schema_overrides=SCHEMA).with_columns(
            pl.col("view_ms", "db_ms", "gc_ms").fill_nan(None),
            *(
                pl.when(pl.col(name) >= 0).then(name).alias(name)
                for name in ("allocations", "params_bytes", "status")
            ),
        )

    def _whole_here(self, view: View, ends: Ints, tags: Ints, whole: Ints) -> None:
        """Read them, those that are not as expected line by line."""
        done = read_completed(view, tags[whole[3]] + MESSAGE, self._text_ends(ends, tags, whole[3]))
        good = done.good
        if not good.all():
            self._slow(self._lines(ends, tags, whole[:, ~good]))
            whole = whole[:, good]
            done = read_completed(view, tags[whole[3]] + MESSAGE, self._text_ends(ends, tags, whole[3]))
        self._parts.append({
            "endpoint": self._endpoints(ends, tags, whole[1]),
            "status": done.status,
            "duration_ms": done.duration.astype(np.float64),
            "view_ms": done.view,
            "db_ms": done.db,
            "gc_ms": done.gc,
            "allocations": done.allocations,
            "params_bytes": self._sizes(ends, tags, whole[2]),
        })  # fmt: skip

    def _text_ends(self, ends: Ints, tags: Ints, lines: Ints) -> Ints:
        """Where the application's own text ends in these lines."""
        if not self._end:
            return ends[lines]
        find = self._buffer.find
        starts, stops = tags[lines].tolist(), ends[lines].tolist()
        found = [find(self._end, start, stop) for start, stop in zip(starts, stops, strict=True)]
        return np.array([at if at >= 0 else stop for at, stop in zip(found, stops, strict=True)], np.int64)

    def _endpoints(self, ends: Ints, tags: Ints, lines: Ints) -> list[str | None]:
        starts = (tags[lines] + MESSAGE).tolist()
        view = memoryview(self._buffer)
        stops = self._text_ends(ends, tags, lines).tolist()
        return [_endpoint(bytes(view[start:stop])) for start, stop in zip(starts, stops, strict=True)]

    def _sizes(self, ends: Ints, tags: Ints, lines: Ints) -> Ints:
        there = lines >= 0
        sizes = np.full(lines.size, -1, np.int64)
        starts = tags[lines[there]] + MESSAGE + _PARAMETERS
        stops = self._text_ends(ends, tags, lines[there])
        found = stops - starts
        if self._end or not self._buffer.isascii():
            view = memoryview(self._buffer)
            for place, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
                piece = bytes(view[start:stop])
                if b"\\" in piece or not piece.isascii():
                    found[place] = len(self.plain(piece).encode("utf-8", "replace"))
        sizes[there] = found
        return sizes

    def plain(self, piece: bytes) -> str:
        """The application's text in a piece of a line."""
        for _ in range(self._depth if b"\\" in piece else 0):
            piece = orjson.loads(b'"' + piece + b'"').encode("utf-8", "replace")
        return piece.decode("utf-8", "replace")

    def _lines(self, ends: Ints, tags: Ints, whole: Ints) -> list[list[str | None]]:
        view = memoryview(self._buffer)
        stops = [self._text_ends(ends, tags, np.maximum(row, 0)) for row in whole]
        return [
            [
                self.plain(bytes(view[int(tags[line]) + MESSAGE : int(stop)])) if line >= 0 else None
                for line, stop in zip(request, stopped, strict=True)
            ]
            for request, stopped in zip(whole.T.tolist(), np.stack(stops).T.tolist(), strict=True)
        ]

    def _whole_across(self, whole: Ints) -> None:
        numbers = np.concatenate([one.numbers for one in self._waiting])
        lines = {number: line for one in self._waiting for number, line in one.lines.items()}
        requests = [
            [self._message(lines[int(numbers[place])]) if place >= 0 else None for place in request]
            for request in whole.T.tolist()
        ]
        self._slow(requests)

    def _message(self, line: bytes) -> str:
        first = min(lead.offset for lead in self._leads)
        start = (line.find(_NAME, first) + len(_NAME) - 1 if self.form.prefix else first) + MESSAGE
        stop = line.find(self._end, start) if self._end else len(line)
        return self.plain(line[start : stop if stop >= 0 else len(line)])

    def _slow(self, requests: Sequence[Sequence[str | None]]) -> None:
        """Read requests line by line."""
        rows = [row for request in requests if (row := _row(request)) is not None]
        part: dict[str, Any] = {"endpoint": [row["endpoint"] for row in rows]}
        for name, kind in SCHEMA.items():
            if name != "endpoint":
                part[name] = np.array(
                    [row[name] for row in rows], np.float64 if kind == pl.Float64 else np.int64
                )
        self._parts.append(part)


def _row(request: Sequence[str | None]) -> dict[str, Any] | None:
    _, processing, parameters, completed = request
    done = parse_completed(completed or "")
    if done is None:
        return None
    action = parse_processing(processing) if processing else None
    nothing = float("nan")
    return {
        "endpoint": action[0] if action else None,
        "status": -1 if done.status is None else done.status,
        "duration_ms": done.duration_ms,
        "view_ms": nothing if done.view_ms is None else done.view_ms,
        "db_ms": nothing if done.db_ms is None else done.db_ms,
        "gc_ms": nothing if done.gc_ms is None else done.gc_ms,
        "allocations": -1 if done.allocations is None else done.allocations,
        "params_bytes": -1
        if parameters is None
        else len(parameters.encode("utf-8", "replace")) - _PARAMETERS,
    }


@lru_cache(maxsize=4096)
def _endpoint(text: bytes) -> str | None:
    found = parse_processing(text.decode("utf-8", "replace"))
    return found[0] if found else None
