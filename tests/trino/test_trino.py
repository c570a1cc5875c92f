"""The very statements that go to Athena, run by Trino, give the rows that the embedded engine gives."""

from __future__ import annotations

import gzip
import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from moto.server import ThreadedMotoServer

from oomscope.alb import AlbQuery, answer_frame, ddl, discover, parse_alb
from oomscope.alb.ddl import COLUMNS, PATTERN
from oomscope.alb.query import AlbTable, Statement
from oomscope.facts import ACCESS_SCHEMA, Target, Window
from oomscope.sources.athena import AthenaSource
from oomscope.sources.aws_common import AwsAccess
from oomscope.sources.interface import Context
from tests.fakes.athena_sql import Result, day_of, lines_of
from tests.fakes.aws import AthenaState, aws_server
from tests.fakes.cloudwatch import CloudWatchState
from tests.test_alb_line import TAILS, TID, line
from tests.trino.server import SCHEMA, Trino, create_table, trino

pytestmark = pytest.mark.trino
ACCOUNT, REGION, BUCKET = "123456789012", "us-east-1", "alb-logs"
PLACE = f"s3://{BUCKET}/AWSLogs/{ACCOUNT}/elasticloadbalancing/{REGION}"
DEMO = Path(str(files("oomscope").joinpath("data/demo/alb")))
EDGE = datetime(2026, 1, 2, 23, 59, tzinfo=UTC)
SAME = [name for name in ACCESS_SCHEMA if name not in ("source", "line", "repaired")]

SHAPES: list[dict[str, str]] = [
    {}, {"client": "2001:db8::1:443"}, {"target": "-", "status": "502 -", "times": "-1 -1 -1"},
    {"status": "502 -", "times": "0.001 4.205 -1"}, {"status": "460 -"}, {"kind": "wss", "status": "101 101"},
    {"request": "- http://host.example.com:80- -"}, {"request": "- - - "}, {"sizes": "123456789012 0"},
    {"request": "GET https://h.example.com:443/a b HTTP/1.1"}, {"agent": r"\x22quoted\x22 it's"}, {"agent": ""},
    {"request": "POST https://h.example.com:443/it's?q=%27%3B HTTP/2.0"}, {"times": "0.000 0.0002 12345678.5"},
    {"request": "GET https://h.example.com:443/caf\u00e9?x=\u4e16 HTTP/1.1"}, {"trace": "-"}, {"error": "WAFFailure"},
]  # fmt: skip


def edge_lines() -> list[str]:
    """Every shape with every tail, half a second apart, across midnight."""
    shapes = [(shape, tail) for shape in SHAPES for tail in TAILS.values()]
    stamps = [f"{EDGE + timedelta(seconds=n * 1.5):%Y-%m-%dT%H:%M:%S.%fZ}" for n in range(len(shapes))]
    return [
        line(**shape, tail=tail, at=at, created=at) for (shape, tail), at in zip(shapes, stamps, strict=True)
    ]


DAMAGED = ["Enable AccessLog for ELB: web at 2026-01-02T23:59:00Z", line(agent='raw"quote', tail=TID)]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        url = "http://{}:{}".format(*server.get_host_and_port())
        client = boto3.client("s3", region_name=REGION, endpoint_url=url)
        for bucket in (BUCKET, "metastore"):
            client.create_bucket(Bucket=bucket)
        for file in sorted(DEMO.iterdir()):
            put(client, "2026/11/23", file.name, file.read_bytes())
        by_day: dict[str, list[str]] = {}
        for text in edge_lines():
            by_day.setdefault(day_of(text), []).append(text)
        by_day["2026/01/02"] += DAMAGED
        for day, lines in by_day.items():
            put(client, day, "edge.log.gz", gzip.compress("\n".join(lines).encode() + b"\n"))
        put(client, "2026/01/05", "other.log.gz", gzip.compress(b"not an access log\n" * 50))
        yield url
        server.stop()


def put(client: Any, day: str, name: str, data: bytes) -> None:
    key = f"AWSLogs/{ACCOUNT}/elasticloadbalancing/{REGION}/{day}/{name}"
    client.put_object(Bucket=BUCKET, Key=key, Body=data)


@pytest.fixture(scope="module")
def engine(s3: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trino]:
    with trino(tmp_path_factory.mktemp("trino"), s3) as server:
        server(f"CREATE SCHEMA hive.{SCHEMA}")
        server(create_table("alb", PLACE))
        yield server


def table(name: str = "alb", columns: Any = COLUMNS) -> AlbTable:
    return discover(SCHEMA, name, dict(columns), {"day": "string"})


class Lines:
    label = "lines"

    def __init__(self, lines: list[str]) -> None:
        self.data = "\n".join(lines).encode() + b"\n"

    def open(self) -> Any:
        return io.BytesIO(self.data)


def embedded(lines: list[str]) -> pl.DataFrame:
    return parse_alb([Lines(lines)])


def frame(result: Result) -> tuple[pl.DataFrame, int]:
    return answer_frame(result.names, result.rows, "trino")


def ask(engine: Trino, statement: Statement) -> Result:
    return engine(statement.text, statement.parameters)


def same(engine: Trino, query: AlbQuery, lines: list[str], of: AlbTable) -> int:
    """Both engines' answers are the same, row for row. The number of rows."""
    answered, bad = frame(ask(engine, query.sql(of)))
    expected = query.apply(embedded(lines)).select(SAME).sort(SAME)
    assert bad == 0
    assert answered.select(SAME).sort(SAME).to_dicts() == expected.to_dicts()
    return expected.height


NIGHT = Window(EDGE, EDGE + timedelta(minutes=10))


def test_every_shape_of_line_across_midnight(engine: Trino) -> None:
    assert same(engine, AlbQuery(NIGHT), edge_lines(), table()) == len(SHAPES) * len(TAILS)


@pytest.mark.parametrize(
    "condition",
    [
        {"methods": ("POST",)},
        {"methods": ("GET", "POST"), "targets": ("10.0.0.1",)},
        {"paths": ("/it's", "/caf\u00e9", "/items/7?full=1", "'; DROP TABLE x; --")},
        {"paths": ("/items/7",), "limit": 10},
        {"targets": ("192.0.2.99",)},
    ],
    ids=str,
)
def test_every_condition(engine: Trino, condition: dict[str, Any]) -> None:
    found = same(engine, AlbQuery(NIGHT, **condition), edge_lines(), table())
    assert (found == 0) == ("targets" in condition and "192.0.2.99" in condition["targets"])


def test_a_window_is_closed_at_its_start_and_open_at_its_end(engine: Trino) -> None:
    window = Window(EDGE + timedelta(seconds=3), EDGE + timedelta(seconds=6))
    assert same(engine, AlbQuery(window), edge_lines(), table()) == 2


def test_an_incident(engine: Trino) -> None:
    start = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    assert same(engine, AlbQuery(Window(start, start + timedelta(hours=1))), lines_of(DEMO), table()) > 900


def test_only_the_days_asked_for_are_read(engine: Trino) -> None:
    day = AlbQuery(Window(EDGE - timedelta(hours=2), EDGE - timedelta(hours=1)))
    both = AlbQuery(NIGHT)
    small, large = ask(engine, day.sql(table())).scanned, ask(engine, both.sql(table())).scanned
    assert 0 < small < large < 20_000  # the incident's day alone holds more


def test_unreadable_rows_are_counted_and_never_an_error(engine: Trino) -> None:
    counted = ask(engine, AlbQuery(NIGHT).preflight(table()))
    every, readable = (int(cell or 0) for cell in counted.rows[0])
    assert (every, readable) == (len(edge_lines()) + len(DAMAGED), len(edge_lines()))


def test_an_outdated_pattern_gives_nulls(engine: Trino) -> None:
    old = PATTERN.removesuffix("(?: ([^ ]*))?(?: .*)?")  # fits lines of 29 fields only
    engine(create_table("outdated", PLACE, old, COLUMNS[:-1]))
    counted = ask(engine, AlbQuery(NIGHT).preflight(table("outdated", COLUMNS[:-1])))
    every, readable = (int(cell or 0) for cell in counted.rows[0])
    assert every == len(edge_lines()) + len(DAMAGED)
    assert readable == len(SHAPES)
    answered, bad = frame(ask(engine, AlbQuery(NIGHT).sql(table("outdated", COLUMNS[:-1]))))
    assert (answered.height, bad) == (len(SHAPES), 0)


def test_a_table_that_keeps_request_and_addresses_in_one_piece(engine: Trino) -> None:
    pattern = PATTERN.replace("([^ ]+?)(?::([0-9]+))?", "([^ ]*)").replace(
        '"([^ "]*) ([^"]*) ([^ "]*) ?"', '"([^"]*)"'
    )
    dropped = {"client_ip", "target_ip", "request_verb", "request_proto"}
    names = {"client_port": "client", "target_port": "target", "request_url": "request"}
    columns = [
        (names.get(name, name), "string" if name in names else kind)
        for name, kind in COLUMNS
        if name not in dropped
    ]
    engine(create_table("whole", PLACE, pattern, columns))
    whole = table("whole", columns)
    assert {"request", "client_pair", "target_pair"} <= set(whole.columns)
    assert same(engine, AlbQuery(NIGHT), edge_lines(), whole) == len(edge_lines())
    query = AlbQuery(NIGHT, methods=("GET",), paths=("/items/7",), targets=("10.0.0.1",))
    assert same(engine, query, edge_lines(), whole) > 0


def test_the_definition_trino_holds_is_the_one_we_print(engine: Trino, s3: str) -> None:
    """What Athena's DDL would put into the catalog is what Trino's put into the metastore."""
    body = boto3.client("s3", region_name=REGION, endpoint_url=s3).get_object(
        Bucket="metastore", Key=f"{SCHEMA}/alb/.trinoSchema"
    )["Body"]
    held = json.loads(body.read())
    printed = ddl(BUCKET, "", ACCOUNT, REGION, SCHEMA, "alb")
    for name in ("projection.day.format", "projection.day.range", "storage.location.template", "input.regex"):
        assert f"'{name}' = '{held['parameters'][name]}'" in printed
    for column in held["dataColumns"]:
        assert f"`{column['name']}` {column['type']}" in printed


def test_the_source_end_to_end(engine: Trino, s3: str) -> None:
    """Our Athena client against an Athena whose engine is Trino."""
    with aws_server(CloudWatchState(), AthenaState(engine)) as url:
        access = AwsAccess(region=REGION, account=ACCOUNT, endpoint_url=url)
        source = AthenaSource(access, SCHEMA, "alb")
        found = source.collect(Target(), NIGHT, Context())
    assert found.accesses is not None
    expected = AlbQuery(NIGHT).apply(embedded(edge_lines()))
    assert found.accesses.select(SAME).sort(SAME).equals(expected.select(SAME).sort(SAME))
    assert [gap.reason for gap in found.gaps] == ["unparsable"]
    assert "2 of 104 rows" in found.gaps[0].detail
    assert found.queries[0].bytes_read
