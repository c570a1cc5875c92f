"""One piece of work in a process of its own: ``python -m bench.speed.work WHAT FILE``; its answer as JSON."""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.speed import alb_work

Answer = dict[str, Any]
ALB = (
    alb_work.alb_day, alb_work.alb_rows, alb_work.alb_window, alb_work.alb_day_reference, alb_work.alb_day_csv,
    alb_work.alb_window_csv, alb_work.alb_day_duckdb,
)  # fmt: skip

# ------------------------------------------------------------------------------------------------ what the product does


def fast_open(path: Path) -> Answer:
    """Requests in flight at the end."""
    from oomscope import logs
    from oomscope.sources.bounded import FileInput

    return _open_answer(logs.scan_open([FileInput(path, "log")]).requests["request_id"].to_list())


def fast_full(path: Path) -> Answer:
    """What every ended request took."""
    import polars as pl

    from oomscope import logs
    from oomscope.logs.lifecycles import SCHEMA
    from oomscope.sources.bounded import FileInput

    sums: dict[str, list[float]] = {}

    def add(frame: pl.DataFrame) -> None:
        grouped = frame.filter(pl.col("duration_ms").is_not_null()).group_by("endpoint").agg(
            pl.len(), pl.col("duration_ms", "allocations", "params_bytes").sum(), (pl.col("status") >= 500).sum()
        )  # fmt: skip
        for endpoint, *values in grouped.iter_rows():
            known = sums.setdefault(endpoint or "", [0.0] * 5)
            sums[endpoint or ""] = [a + b for a, b in zip(known, values, strict=True)]

    rest = logs.scan_lifecycles([FileInput(path, "log")], add)
    add(rest.requests.select(list(SCHEMA)))
    return _full_answer(sums)


def scan_rows(path: Path) -> Answer:
    """The scan of an investigation: request rows with all they tell, as many as are kept."""
    from oomscope import logs
    from oomscope.sources.bounded import FileInput

    result = logs.scan([FileInput(path, "log")])
    return {"rows": result.requests.height, "lines": result.streams[0].coverage.lines}


def one_line_rows(path: Path) -> Answer:
    """The same scan of a log of one line a request."""
    from oomscope import logs
    from oomscope.sources.bounded import FileInput

    result = logs.scan([FileInput(path, "log")])
    last = result.requests.sort("line").tail(1000)["request_id"].to_list()
    return {"lines": result.streams[0].coverage.lines, "last": last}


# ------------------------------------------------------------------------ what one writes first: a regex a line, a dict

_STARTED = re.compile(
    r'\[(?P<id>[0-9a-f-]{36})\] Started (?P<method>[A-Z]+) "(?P<path>[^"]+)" for (?P<ip>\S+) at (.+)'
)
_PROCESSING = re.compile(r"\[(?P<id>[0-9a-f-]{36})\] Processing by (?P<endpoint>\S+) as (?P<format>\S+)")
_COMPLETED = re.compile(
    r"\[(?P<id>[0-9a-f-]{36})\] Completed (?P<status>\d+) .*?in (?P<ms>\d+)ms(?P<parts>.*)"
)
_PARAMETERS = re.compile(r"\[(?P<id>[0-9a-f-]{36})\]   Parameters: (?P<params>.*)")
_ERROR = re.compile(r"\[(?P<id>[0-9a-f-]{36})\] [A-Z]\w*(?:::\w+)* \(")
_ALLOCATIONS = re.compile(r"Allocations: (\d+)")


def _texts(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        if path.suffix != ".jsonl":
            yield from file
            return
        for line in file:
            yield json.loads(json.loads(line)["message"])["log"]


def naive_open(path: Path) -> Answer:
    """Requests in flight at the end."""
    requests: dict[str, dict[str, str | None]] = {}
    for text in _texts(path):
        if found := _STARTED.search(text):
            requests[found["id"]] = {"path": found["path"], "endpoint": None}
        elif found := _PROCESSING.search(text):
            if found["id"] in requests:
                requests[found["id"]]["endpoint"] = found["endpoint"]
        elif (found := _COMPLETED.search(text)) or (found := _ERROR.search(text)):
            requests.pop(found["id"], None)
    return _open_answer(requests)


def one_line_json(path: Path) -> Answer:
    """As ``one_line_rows``: every line that is an object is decoded, the latest are kept."""
    count, kept = 0, deque[dict[str, Any]](maxlen=40_000)
    for text in _texts(path):
        count += 1
        if text.startswith("{"):
            kept.append(json.loads(text))
    return {"lines": count, "last": [row["request_id"] for row in list(kept)[-1000:]]}


def naive_full(path: Path) -> Answer:
    """What every completed request took."""
    requests: dict[str, dict[str, Any]] = {}
    for text in _texts(path):
        if found := _STARTED.search(text):
            requests[found["id"]] = {"path": found["path"], "endpoint": "", "params": 0, "done": None}
        elif found := _PROCESSING.search(text):
            requests[found["id"]]["endpoint"] = found["endpoint"]
        elif found := _PARAMETERS.search(text):
            requests[found["id"]]["params"] = len(found["params"].encode())
        elif (found := _COMPLETED.search(text)) and found["id"] in requests:
            count = _ALLOCATIONS.search(found["parts"])
            requests[found["id"]]["done"] = (
                int(found["status"]),
                int(found["ms"]),
                int(count[1]) if count else 0,
            )
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0] * 5)
    for request in requests.values():
        if request["done"]:
            status, took, allocations = request["done"]
            values = (1, took, allocations, request["params"], status >= 500)
            sums[request["endpoint"]] = [
                a + b for a, b in zip(sums[request["endpoint"]], values, strict=True)
            ]
    return _full_answer(sums)


# ----------------------------------------------------------------------------------------------------------- others


_MARK = r"-- : \[([0-9a-f-]{36})\] (Started|Completed|[A-Z]\w*(?:::\w+)* \()"


def duckdb_open(path: Path) -> Answer:
    """Requests in flight by SQL over lines."""
    import duckdb

    text = (
        "json_extract_string(json_extract_string(line, '$.message'), '$.log')"
        if path.suffix == ".jsonl"
        else "line"
    )
    query = f"""
        with lines as (select {text} as text from read_csv('{path}', columns={{'line': 'VARCHAR'}}, delim='\\x01',
                       quote='', escape='', header=false, max_line_size=4000000)),
        marks as (select regexp_extract(text, '{_MARK}', ['id', 'mark']) as found from lines
                  where text like '%] Started %' or text like '%] Completed %'
                  or text like 'F%')
        select found.id from marks where found.id <> '' group by 1
        having bool_or(found.mark = 'Started') and not bool_or(found.mark <> 'Started')
    """
    return _open_answer(row[0] for row in duckdb.sql(query).fetchall())


def marker_scan(path: Path, size: int = 1 << 18) -> Answer:
    """Lines that begin, act and end, counted by their markers and nothing else: what numpy on bytes costs at least."""
    import numpy as np

    marks = {text: int.from_bytes(text, "little") for text in (b"Started ", b"Processi", b"Complete")}
    counts = dict.fromkeys(marks, 0)
    buffer, flags = bytearray(size + 16), np.empty(size, np.bool_)
    data, words = np.frombuffer(buffer, np.uint8), np.ndarray((size + 8,), "<u8", buffer, strides=(1,))
    held = 0
    with path.open("rb", buffering=0) as file:
        while more := file.readinto(memoryview(buffer)[held:size]):
            held += more
            end = buffer.rfind(b"\n", 0, held) + 1 or held
            said = words[np.flatnonzero(np.equal(data[:end], ord("]"), out=flags[:end])) + 2]
            for text, mark in marks.items():
                counts[text] += int(np.count_nonzero(said == mark))
            buffer[: held - end] = buffer[end:held]
            held -= end
    return {text.decode(): count for text, count in counts.items()}


def _open_answer(ids: Iterable[str]) -> Answer:
    return {"open": sorted(ids)}


def _full_answer(sums: dict[str, list[float]]) -> Answer:
    return {"endpoints": {name: [round(value) for value in sums[name]] for name in sorted(sums)}}


OURS = (fast_open, fast_full, scan_rows, one_line_rows)
OTHERS = (naive_open, naive_full, one_line_json, duckdb_open, marker_scan)
WORK: dict[str, Callable[[Path], Answer]] = {work.__name__: work for work in (*OURS, *OTHERS, *ALB)}

if __name__ == "__main__":
    print(json.dumps(WORK[sys.argv[1]](Path(sys.argv[2]))))
