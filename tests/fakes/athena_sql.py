"""A SQL engine behind the Athena double: DuckDB over the rows that the table's own pattern makes of log lines.

So the very statement that would go to Athena is parsed and run, and a wrong one fails.
"""

from __future__ import annotations

import gzip
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from oomscope.alb.ddl import COLUMNS, PATTERN

_SQL_TYPES = {"string": "VARCHAR", "int": "INTEGER", "bigint": "BIGINT", "double": "DOUBLE"}
_READ: dict[str, Any] = {"string": str, "int": int, "bigint": int, "double": float}


@dataclass(frozen=True)
class Result:
    """Rows as Athena answers them, all text, under the names of the SELECT."""

    names: list[str]
    rows: list[list[str | None]]
    scanned: int


def day_of(line: str) -> str:
    """The folder of a line's day, unless it is delivered after midnight."""
    return line.split(" ")[1][:10].replace("-", "/")


def lines_of(folder: Path) -> list[str]:
    """Every line of the log files of a folder."""
    found = []
    for file in sorted(folder.iterdir()):
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        found += data.decode().splitlines()
    return found


class LogTable:
    """The table of ``oomscope alb ddl`` over these lines. Call it with a statement and its parameters."""

    def __init__(
        self, lines: Iterable[str], database: str = "default", table: str = "alb_logs", pattern: str = PATTERN
    ) -> None:
        self.lock, self.database, self.scanned = threading.Lock(), database, 0
        self.connection = duckdb.connect()
        columns = ", ".join(f'"{name}" {_SQL_TYPES[kind]}' for name, kind in COLUMNS)
        self.connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{database}"')
        name = f'"{database}"."{table}"'
        self.connection.execute(f"CREATE TABLE {name} ({columns}, day VARCHAR)")
        compiled = re.compile(pattern)
        for line in lines:
            self.scanned += len(line)
            marks = ", ".join("?" * (len(COLUMNS) + 1))
            self.connection.execute(
                f"INSERT INTO {name} VALUES ({marks})", [*_cells(compiled, line), day_of(line)]
            )

    def __call__(self, statement: str, parameters: Sequence[str]) -> Result:
        """Run it as Athena does: the parameters are SQL, not values."""
        with self.lock:
            self.connection.execute(f"PREPARE asked AS {statement}")
            given = f"({', '.join(parameters)})" if parameters else ""
            cursor = self.connection.execute(f"EXECUTE asked{given}")
            names = [column[0] for column in cursor.description]
            rows = [[as_text(value) for value in row] for row in cursor.fetchall()]
        return Result(names, rows, self.scanned)


def _cells(pattern: re.Pattern[str], line: str) -> list[Any]:
    """A line that does not fit is a row of nulls; a number that is none is a null."""
    found = pattern.fullmatch(line)
    if found is None:
        return [None] * len(COLUMNS)
    return [_value(kind, text) for (_, kind), text in zip(COLUMNS, found.groups(), strict=True)]


def _value(kind: str, text: str | None) -> Any:
    try:
        return None if text is None else _READ[kind](text)
    except ValueError:
        return None


def as_text(value: Any) -> str | None:
    """A value as Athena prints it: doubles in Java's way, with an exponent when they are small or large."""
    if not isinstance(value, float):
        return None if value is None else str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    mantissa, _, exponent = f"{Decimal(repr(value)):E}".partition("E")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{int(exponent)}"
