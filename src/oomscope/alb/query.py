"""One question to the access log, asked of files (Polars) and of Athena or Trino (SQL) alike.

In SQL every value is an execution parameter and every identifier is checked and quoted, so no text from a log or an
alert ever becomes SQL. Days are compared as literals on the partition column: without that, Athena would read years.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

import polars as pl

from oomscope.errors import UsageError
from oomscope.facts import ACCESS_SCHEMA, Window
from oomscope.units import iso

_NAME = re.compile(r"[A-Za-z0-9_]{1,255}")
_CATALOG = re.compile(r"[A-Za-z0-9_@/.-]{1,256}")
_LATE = timedelta(
    minutes=15
)  # a file is put into the folder of the day it was delivered, which may be the next one
MAX_VALUES = 100  # values of one condition
MAX_DAYS = 31

# What a table may call the parts of a row; the first name found is taken. A name of ours that is not a column of
# ACCESS_SCHEMA (request, url, *_pair) holds several and is taken apart afterwards.
_NAMES: dict[str, tuple[str, ...]] = {
    "time": ("time", "timestamp"),
    "created_at": ("request_creation_time",),
    "type": ("type", "request_type"),
    "elb": ("elb", "elb_name"),
    "client": ("client_ip",),
    "target_ip": ("target_ip",),
    "request_processing_s": ("request_processing_time",),
    "target_processing_s": ("target_processing_time",),
    "response_processing_s": ("response_processing_time",),
    "elb_status": ("elb_status_code",),
    "target_status": ("target_status_code",),
    "received_bytes": ("received_bytes",),
    "sent_bytes": ("sent_bytes",),
    "method": ("request_verb", "request_method", "method"),
    "url": ("request_url", "url"),
    "protocol": ("request_proto", "request_protocol"),
    "user_agent": ("user_agent",),
    "trace_id": ("trace_id",),
    "target_group": ("target_group_arn", "target_group"),
    "actions": ("actions_executed",),
    "error_reason": ("lambda_error_reason", "error_reason"),
    "conn_trace_id": ("conn_trace_id", "connection_trace_id"),
}
_PORTS = {"client": "client_port", "target_ip": "target_port"}
_PAIRS: dict[str, tuple[str, tuple[str, ...]]] = {
    "client": ("client_pair", ("client", "client_ip_port", "client_port")),
    "target_ip": ("target_pair", ("target", "target_ip_port", "target_port", "backend")),
}
_REQUEST = ("request", "request_line")
_NEEDED = ("type", "time", "created_at", "elb_status", "target_status")


@dataclass(frozen=True)
class AlbQuery:
    """Rows whose ``time`` lies in the window, and that have one of the values given. Empty means "any"."""

    window: Window
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()  # exact, without the query
    targets: tuple[str, ...] = ()  # IP addresses
    columns: tuple[str, ...] = ()  # of ACCESS_SCHEMA; empty: all
    limit: int | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be asked: unknown columns, too many values, a window without end."""
        unknown = [name for name in self.columns if name not in ACCESS_SCHEMA]
        if unknown:
            raise UsageError(f"no such ALB column: {', '.join(unknown)}", fix="see docs for the columns")
        if max(len(self.methods), len(self.paths), len(self.targets)) > MAX_VALUES:
            raise UsageError(f"more than {MAX_VALUES} values in one condition of an ALB query")
        if not self.window.start < self.window.end:
            raise UsageError("the window of an ALB query ends before it starts")
        if self.window.end - self.window.start > timedelta(days=MAX_DAYS):
            raise UsageError(f"an ALB query may not span more than {MAX_DAYS} days")

    def apply(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The answer from a parsed table (ACCESS_SCHEMA), in order of time."""
        wanted = pl.col("time").is_between(self.window.start, self.window.end, closed="left")
        for name, values in (("method", self.methods), ("path", self.paths), ("target_ip", self.targets)):
            if values:
                wanted &= pl.col(name).is_in(list(values))
        found = rows.filter(wanted.fill_null(False)).sort("time", "source", "line", maintain_order=True)
        found = found.head(self.limit) if self.limit is not None else found
        return found.select(self.columns) if self.columns else found

    def days(self) -> tuple[date, ...]:
        """UTC days whose folders can hold rows of the window: a file from around midnight may lie in the next day's."""
        first, last = self.window.start.date(), (self.window.end + _LATE).date()
        return tuple(first + timedelta(days=n) for n in range((last - first).days + 1))

    def sql(self, table: AlbTable) -> Statement:
        """``SELECT`` for Athena engine 3 and Trino."""
        where, values = table.partition_filter(self.days())
        time = table.column("time")
        where += [
            f"{time} >= ?",
            f"{time} < ?",
        ]  # fixed width, so the order of the texts is that of the times
        values += [literal(str(iso(self.window.start))), literal(str(iso(self.window.end)))]
        for condition, of in (
            (table.expression("method"), self.methods),
            (table.path_expression(), self.paths),
            (table.target_expression(), self.targets),
        ):
            if of:
                where.append(f"{condition} IN ({', '.join('?' * len(of))})")
                values += [literal(value) for value in of]
        select = ",\n  ".join(
            f"{expression} AS {quoted(name)}" for name, expression in table.selected().items()
        )
        text = (
            f"SELECT\n  {select}\nFROM {table.name}\nWHERE " + "\n  AND ".join(where) + f"\nORDER BY {time}"
        )
        if self.limit is not None:
            text += f"\nLIMIT {int(self.limit)}"
        return Statement(text, tuple(values))

    def preflight(self, table: AlbTable) -> Statement:
        """Rows of the window's days, and how many of them the table's pattern could read.

        A table made for an older log format gives rows of nulls instead of an error.
        """
        where, values = table.partition_filter(self.days())
        count = f"SELECT count(*) AS rows_all, count({table.column('type')}) AS rows_read\nFROM {table.name}"
        return Statement(f"{count}\nWHERE " + "\n  AND ".join(where), tuple(values))


@dataclass(frozen=True)
class Statement:
    """SQL with ``?`` marks and the SQL literals for them, as Athena's ExecutionParameters want them."""

    text: str
    parameters: tuple[str, ...] = ()

    def shown(self) -> str:
        """The statement with its values filled in, for the reader to repeat."""
        pieces = self.text.split("?")
        marks = [*self.parameters, *[""] * (len(pieces) - 1 - len(self.parameters)), ""]
        return "".join(piece + mark for piece, mark in zip(pieces, marks, strict=True))


def literal(text: str) -> str:
    """A SQL string literal. Athena takes parameters as SQL, so the quotes are ours to add."""
    return "'" + text.replace("\x00", "").replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A SQL identifier in double quotes. Raises UsageError for a name Glue would not allow."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"not a table, database or column name: {name!r}", fix="letters, digits and _ only")
    return f'"{name}"'


@dataclass(frozen=True)
class AlbTable:
    """An existing table over ALB logs, as its columns tell. Made by ``discover``."""

    database: str
    table: str
    columns: Mapping[str, str]  # our name -> the table's
    types: Mapping[str, str]  # the table's column -> its type, lower case
    partitions: tuple[str, ...]  # partition columns, in order
    catalog: str | None = None
    day_format: Literal["%Y/%m/%d", "%Y-%m-%d"] = "%Y/%m/%d"
    notes: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """Qualified and quoted."""
        if self.catalog is not None and not _CATALOG.fullmatch(self.catalog):
            raise UsageError(f"not a catalog name: {self.catalog!r}")
        parts = [quoted(self.database), quoted(self.table)]
        return ".".join([f'"{self.catalog}"', *parts] if self.catalog else parts)

    def column(self, name: str) -> str:
        """The table's column for one of ours, quoted."""
        return quoted(self.columns[name])

    def expression(self, name: str) -> str:
        """SQL for method or url, also where the table has the request line in one piece."""
        if name in self.columns:
            return self.column(name)
        part = {"method": 1, "url": 2}[name]
        return f"regexp_extract({self.column('request')}, '^([^ ]*) (.*) [^ ]*$', {part})"

    def path_expression(self) -> str:
        """SQL for the path without host and query. (``\\x3f`` is the question mark, which would be a parameter.)"""
        return f"regexp_extract({self.expression('url')}, '^[a-z]+://[^/\\x3f]+([^\\x3f]*)', 1)"

    def target_expression(self) -> str:
        """SQL for the target's address."""
        if "target_ip" in self.columns:
            return self.column("target_ip")
        return f"regexp_extract({self.column('target_pair')}, '^(.*):[0-9]+$', 1)"

    def selected(self) -> dict[str, str]:
        """Everything the table has of an access row, under our names."""
        return {name: self.column(name) for name in self.columns}

    def partition_filter(self, days: tuple[date, ...]) -> tuple[list[str], list[str]]:
        """Conditions and parameters that keep the scan to those days."""
        lower = [name.lower() for name in self.partitions]
        if {"year", "month", "day"} <= set(lower):
            return self._by_parts(lower, days)
        names = [name for name in lower if name in ("day", "date", "dt", "partition_date")]
        if not names:
            return [], []
        column = self.partitions[lower.index(names[0])]
        if self.types.get(column) == "date":
            marks, values = "CAST(? AS date)", [literal(day.isoformat()) for day in days]
        else:
            marks, values = "?", [literal(day.strftime(self.day_format)) for day in days]
        return [f"{quoted(column)} IN ({', '.join([marks] * len(days))})"], values

    def _by_parts(self, lower: list[str], days: tuple[date, ...]) -> tuple[list[str], list[str]]:
        tests, values = list[str](), list[str]()
        columns = [self.partitions[lower.index(name)] for name in ("year", "month", "day")]
        for day in days:
            tests.append("(" + " AND ".join(f"{quoted(column)} = ?" for column in columns) + ")")
            texts = (f"{day.year:04d}", f"{day.month:02d}", f"{day.day:02d}")
            for column, text in zip(columns, texts, strict=True):
                values.append(str(int(text)) if "int" in self.types.get(column, "") else literal(text))
        return ["(" + " OR ".join(tests) + ")"], values


def discover(
    database: str,
    table: str,
    columns: Mapping[str, str],
    partitions: Mapping[str, str],
    *,
    parameters: Mapping[str, str] | None = None,
    catalog: str | None = None,
) -> AlbTable:
    """How a table (column -> type, partition column -> type, table properties) holds ALB rows.

    Raises UsageError when columns that every analysis needs are not there.
    """
    found = {ours: name for ours, names in _NAMES.items() for name in reversed(names) if name in columns}
    for ours, (pair, names) in _PAIRS.items():
        if ours in found and _PORTS[ours] in columns:
            found[_PORTS[ours]] = _PORTS[ours]
        elif ours not in found:
            _take(found, pair, names, columns)
    if "method" not in found or "url" not in found:
        _take(found, "request", _REQUEST, columns)
    missing = [ours for ours in _NEEDED if ours not in found]
    missing += [] if "request" in found or ("method" in found and "url" in found) else ["request"]
    missing += [pair for ours, (pair, _) in _PAIRS.items() if ours not in found and pair not in found]
    if missing:
        raise UsageError(
            f"{database}.{table} does not look like an ALB access log: no column for {', '.join(missing)}",
            fix="make one: oomscope alb ddl",
            slug="athena-table",
        )
    pattern = (parameters or {}).get("projection.day.format", "yyyy/MM/dd")
    return AlbTable(
        database=database,
        table=table,
        columns=found,
        types={name: kind.lower() for name, kind in {**columns, **partitions}.items()},
        partitions=tuple(partitions),
        catalog=catalog,
        day_format="%Y-%m-%d" if pattern == "yyyy-MM-dd" else "%Y/%m/%d",
        notes=()
        if partitions
        else ("the table has no partition column: every query reads all of its files",),
    )


def _take(found: dict[str, str], ours: str, names: tuple[str, ...], columns: Mapping[str, str]) -> None:
    first = next((name for name in names if name in columns), None)
    if first is not None:
        found[ours] = first
