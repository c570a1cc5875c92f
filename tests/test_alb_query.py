"""One query for files and Athena: pruning, parameters, table variants, and the table's definition."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from oomscope.alb import AlbQuery, answer_frame, ddl, discover, parse_alb
from oomscope.alb.ddl import COLUMNS, PATTERN
from oomscope.alb.line import parse_line
from oomscope.alb.query import literal, quoted
from oomscope.errors import UsageError
from oomscope.facts import ACCESS_SCHEMA, Window
from tests.test_alb_line import TAILS, TID, line

DATA = Path(__file__).parent / "data" / "alb"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
WINDOW = Window(NOON, NOON + timedelta(minutes=10))
DAY = {"day": "string"}
DOCUMENTED = dict(COLUMNS)


def table(columns: dict[str, str] = DOCUMENTED, partitions: dict[str, str] = DAY, **more: Any) -> Any:
    return discover("logs", "alb", columns, partitions, **more)


def without(*names: str, **more: str) -> dict[str, str]:
    return {name: kind for name, kind in DOCUMENTED.items() if name not in names} | more


# ------------------------------------------------------------------------------------------------- pruning


@pytest.mark.parametrize(
    ("start", "minutes", "days"),
    [
        (NOON, 10, ["2026/01/02"]),
        (
            datetime(2026, 1, 2, 23, 55, tzinfo=UTC),
            4,
            ["2026/01/02", "2026/01/03"],
        ),  # delivered on the next day
        (datetime(2026, 1, 2, 23, 55, tzinfo=UTC), 10, ["2026/01/02", "2026/01/03"]),
        (datetime(2026, 1, 3, tzinfo=UTC), 10, ["2026/01/03"]),
        (datetime(2025, 12, 31, 23, 59, tzinfo=UTC), 2, ["2025/12/31", "2026/01/01"]),
    ],
)
def test_only_the_days_of_the_window_are_read_and_both_at_midnight(
    start: datetime, minutes: int, days: list[str]
) -> None:
    statement = AlbQuery(Window(start, start + timedelta(minutes=minutes))).sql(table())
    assert list(statement.parameters[: len(days)]) == [f"'{day}'" for day in days]
    assert f'"day" IN ({", ".join("?" * len(days))})' in statement.text
    assert "(day" not in statement.text.lower().replace('"', "")  # never inside a function


@pytest.mark.parametrize(
    ("partitions", "parameters", "text", "values"),
    [
        ({"day": "string"}, None, '"day" IN (?)', ["'2026/01/02'"]),
        ({"day": "string"}, {"projection.day.format": "yyyy-MM-dd"}, '"day" IN (?)', ["'2026-01-02'"]),
        ({"day": "date"}, None, '"day" IN (CAST(? AS date))', ["'2026-01-02'"]),
        (
            {"year": "string", "month": "string", "day": "string"},
            None,
            '(("year" = ? AND "month" = ? AND "day" = ?))',
            ["'2026'", "'01'", "'02'"],
        ),
        (
            {"year": "int", "month": "int", "day": "int"},
            None,
            '(("year" = ? AND "month" = ? AND "day" = ?))',
            ["2026", "1", "2"],
        ),
    ],
)
def test_partition_styles(
    partitions: dict[str, str], parameters: dict[str, str] | None, text: str, values: list[str]
) -> None:
    statement = AlbQuery(WINDOW).sql(table(partitions=partitions, parameters=parameters))
    assert text in statement.text
    assert list(statement.parameters[: len(values)]) == values


def test_a_table_without_partitions_is_named_as_costly() -> None:
    assert "reads all of its files" in table(partitions={}).notes[0]


# ----------------------------------------------------------------------------------------- values and names


def test_every_value_is_a_parameter_with_its_own_quotes() -> None:
    hostile = "/a'; DROP TABLE x; --?"
    statement = AlbQuery(WINDOW, methods=("GET",), paths=(hostile,), targets=("10.0.0.1",), limit=5).sql(
        table()
    )
    assert "DROP" not in statement.text
    assert statement.text.count("?") == len(statement.parameters)
    assert "'/a''; DROP TABLE x; --?'" in statement.parameters
    assert all(value.startswith("'") and value.endswith("'") for value in statement.parameters)
    assert statement.text.endswith("LIMIT 5")
    assert '"time" >= ?' in statement.text
    assert "'2026-01-02T12:00:00.000000Z'" in statement.parameters


def test_the_shown_statement_can_be_repeated() -> None:
    shown = AlbQuery(WINDOW, paths=("/a?b",)).sql(table()).shown()
    assert "IN ('/a?b')" in shown
    assert "\"day\" IN ('2026/01/02')" in shown


@pytest.mark.parametrize("name", ['a"b', "a b", "a;b", "", "a.b", "t\x00", "a-b", "x" * 300])
def test_names_that_glue_would_not_allow_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        quoted(name)
    with pytest.raises(UsageError):
        AlbQuery(WINDOW).sql(discover("logs", name, DOCUMENTED, DAY))


def test_literals_double_their_quotes() -> None:
    assert literal("o'b\x00") == "'o''b'"


@pytest.mark.parametrize(
    "wrong",
    [
        {"columns": ("nope",)},
        {"paths": ("/",) * 101},
        {"window": Window(NOON, NOON)},
        {"window": Window(NOON, NOON + timedelta(days=40))},
    ],
)
def test_queries_without_bounds_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        AlbQuery(**({"window": WINDOW} | wrong))


def test_statements_of_the_portable_subset_parse_as_athena_and_trino() -> None:
    sqlglot = pytest.importorskip("sqlglot")
    for given in (table(), table(without("request_verb", "request_url", "request_proto", request="string"))):
        query = AlbQuery(WINDOW, methods=("GET",), paths=("/a",), targets=("10.0.0.1",), limit=5)
        for statement in (query.sql(given), query.preflight(given)):
            for dialect in ("athena", "trino"):
                assert sqlglot.parse_one(statement.text, dialect=dialect)


# ------------------------------------------------------------------------------------------ tables in the wild


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            DOCUMENTED,
            {"error_reason": "lambda_error_reason", "client": "client_ip", "client_port": "client_port"},
        ),
        (without("lambda_error_reason", error_reason="string"), {"error_reason": "error_reason"}),
        (without("client_ip", client_port="string"), {"client_pair": "client_port"}),
        (without("target_ip", "target_port", target="string"), {"target_pair": "target"}),
        (without("request_verb", "request_url", "request_proto", request="string"), {"request": "request"}),
        (dict.fromkeys(DOCUMENTED, "string"), {"elb_status": "elb_status_code"}),
        (without("conn_trace_id"), {"trace_id": "trace_id"}),
    ],
)
def test_columns_are_found_under_the_names_in_use(columns: dict[str, str], expected: dict[str, str]) -> None:
    found = table(columns).columns
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize("missing", [("time",), ("type",), ("request_url",), ("client_ip", "client_port")])
def test_a_table_of_something_else_is_refused(missing: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="does not look like"):
        table(without(*missing))


def test_outdated_patterns_are_counted_by_their_null_rows() -> None:
    statement = AlbQuery(WINDOW).preflight(table())
    assert 'count(*) AS rows_all, count("type") AS rows_read' in statement.text
    assert statement.parameters == ("'2026/01/02'",)


# -------------------------------------------------------------------------------------- the same table from both


class File:
    label = "athena:alb"

    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self) -> Any:
        return io.BytesIO(self.data)


def athena_rows(lines: list[str], columns: dict[str, str]) -> list[list[str | None]]:
    """What the DDL's pattern makes of the lines, in the SELECT's order."""
    names = [name for name, _ in COLUMNS]
    rows = []
    for text in lines:
        match = re.fullmatch(PATTERN, text)
        cells: dict[str, str | None] = (
            dict(zip(names, match.groups(), strict=True)) if match else dict.fromkeys(names)
        )
        rows.append([cells[column] for column in columns.values()])
    return rows


@pytest.mark.parametrize("name", ["elapsed.log", "minus1.log"])
def test_files_and_athena_give_the_same_table(name: str) -> None:
    lines = (DATA / name).read_text().splitlines()
    columns = table().columns
    answered, bad = answer_frame(list(columns), athena_rows(lines, columns), "athena:alb")
    parsed = parse_alb([File((DATA / name).read_bytes())])
    assert bad == 0
    assert answered.drop("line").equals(parsed.drop("line"))
    window = Window(parsed["time"][20], parsed["time"][80])
    query = AlbQuery(window, methods=("GET",), columns=("time", "path"), limit=7)
    assert query.apply(answered).equals(query.apply(parsed))
    assert query.apply(parsed).height == 7


def test_null_rows_are_counted_not_kept() -> None:
    columns = table().columns
    answered, bad = answer_frame(list(columns), athena_rows([line(), "rubbish"], columns), "athena:alb")
    assert (answered.height, bad) == (1, 1)
    assert answered.schema == pl.Schema({n: answered.schema[n] for n in ACCESS_SCHEMA})


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"target_processing_s": "-1.0"}, {"target_processing_s": None}),
        ({"target_processing_s": "1.0E-3"}, {"target_processing_s": 0.001}),
        ({"target_processing_s": "10.109"}, {"target_processing_s": 10.109}),
        ({"client_pair": "2001:db8::1:443"}, {"client": "2001:db8::1", "client_port": 443}),
        ({"target_pair": "-"}, {"target_ip": None, "target_port": None}),
        ({"request": "GET https://h:443/a?b HTTP/2.0"}, {"method": "GET", "path": "/a", "query": "b"}),
        (
            {"method": "-", "url": "http://h:80-", "protocol": "- "},
            {"method": None, "host": "h", "path": None},
        ),
        ({"method": "-", "url": "- -", "protocol": ""}, {"method": None, "host": None, "path": None}),
        ({"method": "GET", "url": "https://h:443/a", "protocol": ""}, {"method": "GET", "path": "/a"}),
        ({"target_status": "-"}, {"target_status": None}),
        ({"elb_status": "502"}, {"elb_status": 502}),
    ],
)
def test_numbers_as_text_and_joined_columns(cells: dict[str, str], expected: dict[str, Any]) -> None:
    cells = {"time": "2026-01-02T10:05:00.123456Z", **cells}
    answered, _bad = answer_frame(list(cells), [list(cells.values())], "s")
    assert answered.select(list(expected)).to_dicts() == [expected]


# --------------------------------------------------------------------------------------------- the definition


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
@pytest.mark.parametrize(
    "change",
    [
        {}, {"client": "2001:db8::1:443"}, {"target": "-"}, {"status": "502 -"}, {"times": "-1 -1 -1"},
        {"request": "- http://host:80- -"}, {"request": "- - - "}, {"request": "GET https://h:443/a b HTTP/1.1"},
        {"agent": r"\x22quoted\x22"}, {"agent": ""}, {"trace": "-"},
    ],
    ids=str,
)  # fmt: skip
def test_the_pattern_reads_every_shape_of_line(change: dict[str, str], tail: str) -> None:
    text = line(**change, tail=tail)
    match = re.fullmatch(PATTERN, text)
    assert match
    assert match.re.groups == len(COLUMNS) == 34
    cells = dict(zip((name for name, _ in COLUMNS), match.groups(), strict=True))
    row = parse_line(text.encode())
    assert cells["conn_trace_id"] == (TID.strip() if tail else None)
    assert (cells["client_ip"], cells["client_port"]) == (row["client"], str(row["client_port"]))
    assert cells["request_creation_time"] == "2026-01-02T10:04:59.000001Z"


@pytest.mark.parametrize(
    "text", ["Enable AccessLog for ELB: web", line(agent='raw"quote'), line() + "\n", ""]
)
def test_the_pattern_refuses_damage_instead_of_shifting_columns(text: str) -> None:
    assert re.fullmatch(PATTERN, text) is None


def test_the_definition_names_one_place_and_projects_days() -> None:
    text = ddl("my-logs", "/team/web/", "123456789012", "eu-west-1", "logs", "alb")
    assert "LOCATION 's3://my-logs/team/web/AWSLogs/123456789012/elasticloadbalancing/eu-west-1/'" in text
    assert "/elasticloadbalancing/eu-west-1/${day}'" in text
    assert "'projection.day.format' = 'yyyy/MM/dd'" in text
    pattern = text.partition("'input.regex' = '")[2].partition("'")[0]
    assert pattern == PATTERN
    assert "\n" not in pattern  # a newline at its end would make every row null
    assert "\\" not in pattern  # nothing that a string literal would eat


@pytest.mark.parametrize(
    "wrong",
    [
        {"bucket": "a'b"},
        {"prefix": "x`y"},
        {"account": "1"},
        {"region": "x"},
        {"database": "a-b"},
        {"table": "T;"},
    ],
)
def test_the_definition_takes_only_names_aws_allows(wrong: dict[str, str]) -> None:
    given = {
        "bucket": "b-1",
        "prefix": "",
        "account": "123456789012",
        "region": "eu-west-1",
        "database": "d",
        "table": "t",
    }
    with pytest.raises(UsageError):
        ddl(**(given | wrong))
