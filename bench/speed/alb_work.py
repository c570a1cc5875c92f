"""The access log's part of the speed bench: payload per endpoint of a day, and ten minutes out of it."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
TEN_MINUTES = (NOON, NOON.replace(minute=10))


def _files(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else [path]


def _inputs(path: Path) -> list[Any]:
    from oomscope.sources.bounded import FileInput

    return [FileInput(file, file.name) for file in _files(path)]


def alb_day(path: Path) -> Answer:
    """Rows and bytes received and sent (sum, largest) of every method and path template."""
    from oomscope import alb

    table, stats = alb.payload_per_endpoint(_inputs(path))
    return _answer(stats.rows, table.select("method", "template", *_VALUES).iter_rows())


def alb_rows(path: Path) -> Answer:
    """Every column of every row, piece by piece."""
    from oomscope import alb

    rows, received = 0, 0
    for frame, _ in alb.scan_alb(_inputs(path)):
        rows += frame.height
        received += int(frame["received_bytes"].sum() or 0)
    return {"rows": rows, "received": received}


def alb_window(path: Path) -> Answer:
    """All columns of the rows of ten minutes."""
    from oomscope import alb
    from oomscope.facts import Window

    rows = alb.parse_alb(_inputs(path), window=Window(*TEN_MINUTES))
    return _ten_minutes(rows["time"].to_physical(), rows["path"], rows["received_bytes"])


def alb_day_reference(path: Path) -> Answer:
    """As ``alb_day``, by the plain line parser."""
    from oomscope.alb.read import parse_slowly

    table, stats = parse_slowly(_inputs(path)[0])
    columns = table.select("method", "path", "received_bytes", "sent_bytes")
    return _answer(stats.rows, _sums(columns.iter_rows()))


def alb_day_csv(path: Path) -> Answer:
    """As ``alb_day``, by the csv module and a dict."""
    rows = [0]

    def read() -> Iterator[tuple[str | None, str | None, int | None, int | None]]:
        for row in _csv(path):
            rows[0] += 1
            method, url, _ = row[12].split(" ", 2)
            yield method, "/" + url.split("?", 1)[0].split("/", 3)[3], int(row[10]), int(row[11])

    sums = list(_sums(read()))
    return _answer(rows[0], sums)


def alb_window_csv(path: Path) -> Answer:
    """As ``alb_window``, by the csv module: only the time is looked at before a row is dropped."""
    start, end = (f"{at:%Y-%m-%dT%H:%M:%S}" for at in TEN_MINUTES)
    rows = [row for row in _csv(path) if start <= row[1] < end]
    times = [
        int(datetime.fromisoformat(row[1]).replace(microsecond=0).timestamp()) * 10**6 + int(row[1][20:26])
        for row in rows
    ]
    paths = ["/" + row[12].split(" ", 2)[1].split("?", 1)[0].split("/", 3)[3] for row in rows]
    return _ten_minutes(times, paths, [int(row[10]) for row in rows])


def alb_day_duckdb(path: Path) -> Answer:
    """Rows and bytes by method, by SQL over the columns."""
    import duckdb

    names = [str(file) for file in _files(path)]
    columns = ", ".join(f"'column{n:02}': 'VARCHAR'" for n in range(33))
    query = f"""
        select split_part(column12, ' ', 1) as method,
               regexp_replace(regexp_extract(column12, '://[^/]+([^? ]*)', 1), '/[0-9]+', '/:id', 'g') as path,
               count(*), sum(column10::bigint), max(column10::bigint), sum(column11::bigint), max(column11::bigint)
        from read_csv(?, delim=' ', quote='"', escape='"', header=false, all_varchar=true, strict_mode=false,
                      null_padding=true, columns={{{columns}}})
        group by 1, 2
    """
    return {"groups": len(duckdb.execute(query, [names]).fetchall())}


_VALUES = ("rows", "received_total", "received_max", "sent_total", "sent_max")


def _csv(path: Path) -> Iterator[list[str]]:
    for file in _files(path):
        reader: Any = gzip.open if file.suffix == ".gz" else open
        with reader(file, "rt", encoding="utf-8", errors="replace", newline="") as text:
            yield from csv.reader(text, delimiter=" ", quotechar='"')


def _sums(
    rows: Iterable[tuple[str | None, str | None, int | None, int | None]],
) -> Iterator[tuple[Any, ...]]:
    from oomscope.alb import path_template

    template = lru_cache(1 << 20)(path_template)
    sums: dict[tuple[str | None, str | None], list[int]] = {}
    for method, path, received, sent in rows:
        key = (method, template(path) if path is not None else None)
        known = sums.setdefault(key, [0] * 5)
        known[0] += 1
        known[1] += received or 0
        known[2] = max(known[2], received or 0)
        known[3] += sent or 0
        known[4] = max(known[4], sent or 0)
    for key, values in sums.items():
        yield (*key, *values)


def _answer(rows: int, sums: Iterable[tuple[Any, ...]]) -> Answer:
    return {"rows": rows, "endpoints": sorted([list(row) for row in sums], key=str)}


def _ten_minutes(times: Iterable[int], paths: Iterable[str | None], received: Iterable[int]) -> Answer:
    rows = sorted(zip(times, paths, received, strict=True))
    return {"rows": len(rows), "first": rows[:3], "last": rows[-3:], "received": sum(row[2] for row in rows)}
