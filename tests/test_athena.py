"""Athena: start, wait, read, stop; what it costs; and what its failures mean."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from oomscope.alb.ddl import COLUMNS
from oomscope.errors import SourceError
from oomscope.facts import Target, Window
from oomscope.sources import athena
from oomscope.sources.athena import AthenaSource, failure
from oomscope.sources.aws_common import AwsAccess
from oomscope.sources.interface import Context, Fragment

TEN = datetime(2026, 1, 2, 10, 0, tzinfo=UTC)
WINDOW = Window(TEN, TEN + timedelta(minutes=10))
LATER = TEN + timedelta(days=1)
NAMES = [
    "time",
    "created_at",
    "type",
    "elb_status",
    "target_status",
    "method",
    "url",
    "protocol",
    "client",
    "target_ip",
]


def row(minute: float) -> list[str | None]:
    at = f"{TEN + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%S.%fZ}"
    return [at, at, "h2", "200", "200", "GET", "https://h:443/a?b=1", "HTTP/2.0", "192.0.2.1", "10.0.0.1"]


def error(code: str, message: str, operation: str = "op") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


@dataclass
class Service:
    """An Athena that answers the big query with ``rows`` and the counting one with ``counts``."""

    rows: list[list[str | None]] = field(default_factory=lambda: [row(1), row(2)])
    counts: tuple[str, str] = ("2", "2")
    states: tuple[str, ...] = ("QUEUED", "RUNNING", "SUCCEEDED")
    reason: str = ""
    scanned: int = 5_000_000
    errors: dict[str, ClientError] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=lambda: dict(COLUMNS))
    partitions: dict[str, str] = field(default_factory=lambda: {"day": "string"})
    started: list[dict[str, Any]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    looks: dict[str, int] = field(default_factory=dict)
    pages: list[int] = field(default_factory=list)

    def _maybe_fail(self, name: str) -> None:
        if name in self.errors:
            raise self.errors[name]

    def get_table_metadata(self, **_asked: Any) -> Any:
        self._maybe_fail("get_table_metadata")
        tell = lambda columns: [{"Name": name, "Type": kind} for name, kind in columns.items()]  # noqa: E731
        return {"TableMetadata": {"Columns": tell(self.columns), "PartitionKeys": tell(self.partitions)}}

    def start_query_execution(self, **asked: Any) -> Any:
        self._maybe_fail("start_query_execution")
        self.started.append(asked)
        return {"QueryExecutionId": f"q{len(self.started)}"}

    def get_query_execution(self, QueryExecutionId: str) -> Any:
        self._maybe_fail("get_query_execution")
        seen = self.looks.get(QueryExecutionId, 0)
        self.looks[QueryExecutionId] = seen + 1
        status = {"State": self.states[min(seen, len(self.states) - 1)], "StateChangeReason": self.reason}
        return {"QueryExecution": {"Status": status, "Statistics": {"DataScannedInBytes": self.scanned}}}

    def get_query_results(self, QueryExecutionId: str, MaxResults: int, NextToken: str = "0") -> Any:
        self._maybe_fail("get_query_results")
        counting = "count(*)" in self.started[int(QueryExecutionId[1:]) - 1]["QueryString"]
        names = ["rows_all", "rows_read"] if counting else NAMES
        rows: list[Any] = [names, *([list(self.counts)] if counting else self.rows)]
        at = int(NextToken)
        page = rows[at : at + MaxResults]
        self.pages.append(len(page))
        cells = [{"Data": [{} if cell is None else {"VarCharValue": cell} for cell in one]} for one in page]
        more = {"NextToken": str(at + MaxResults)} if at + MaxResults < len(rows) else {}
        return {
            "ResultSet": {"Rows": cells, "ResultSetMetadata": {"ColumnInfo": [{"Name": n} for n in names]}},
            **more,
        }

    def stop_query_execution(self, QueryExecutionId: str) -> Any:
        self.stopped.append(QueryExecutionId)
        self._maybe_fail("stop_query_execution")


@dataclass(frozen=True)
class Access(AwsAccess):
    service: Any = None

    def client(self, service: str, **_more: Any) -> Any:
        return self.service


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(athena, "_POLL_S", (0.001, 0.002))
    monkeypatch.setattr(athena, "_CALLS_PER_S", 100_000.0)


def collect(service: Service, context: Context | None = None, **more: Any) -> Fragment:
    given: dict[str, Any] = {"now": LATER, **more}
    source = AthenaSource(
        Access(region="eu-west-1", account="athena-test", service=service), "logs", "alb", **given
    )
    return source.collect(Target(), WINDOW, context or Context())


def test_rows_cost_and_statement_are_told() -> None:
    service = Service()
    fragment = collect(service)
    assert fragment.accesses is not None
    assert (
        fragment.accesses.select("path", "query", "method", "host").rows() == [("/a", "b=1", "GET", "h")] * 2
    )
    main, counted = fragment.queries
    assert (main.rows, main.bytes_read, counted.rows) == (2, 5_000_000, 1)
    assert main.cost_usd == pytest.approx(5e-5)  # billed as ten megabytes at least
    assert "'2026/01/02'" in main.text
    assert list(fragment.gaps) == []
    assert service.stopped == []
    assert service.started[0]["ExecutionParameters"][0] == "'2026/01/02'"


def test_the_header_is_the_first_row_of_the_first_page_only() -> None:
    service = Service(rows=[row(n / 1000) for n in range(2500)])
    fragment = collect(service)
    assert fragment.accesses is not None
    assert fragment.accesses.height == 2500
    assert service.pages == [1000, 1000, 501, 2]


def test_results_go_where_the_workgroup_says_unless_told() -> None:
    plain, told = Service(), Service()
    collect(plain)
    collect(told, workgroup="team", output_location="s3://results/")
    assert "ResultConfiguration" not in plain.started[0]
    assert "WorkGroup" not in plain.started[0]
    assert told.started[0]["ResultConfiguration"] == {"OutputLocation": "s3://results/"}
    assert told.started[0]["WorkGroup"] == "team"
    assert "ResultReuseConfiguration" not in told.started[0]  # an old answer hides logs that came since


def test_a_query_that_scans_too_much_is_stopped() -> None:
    service = Service(states=("RUNNING",), scanned=10**12)
    with pytest.raises(SourceError) as stopped:
        collect(service, max_scan_bytes=10**9)
    assert stopped.value.reason == "cut"
    assert service.stopped == ["q1", "q2"]
    assert stopped.value.query


@pytest.mark.parametrize("how", ["cancelled", "deadline", "limit", "interrupt"])
def test_nothing_is_left_running(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(states=("RUNNING",))
    if how == "interrupt":

        def ctrl_c(_seconds: float) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(athena.time, "sleep", ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            collect(service)
    else:
        context = {
            "cancelled": Context(cancelled=lambda: True),
            "deadline": Context(deadline=time.monotonic() + 0.02),
            "limit": Context(),
        }[how]
        with pytest.raises(SourceError) as ended:
            collect(service, context, time_limit_s=0.02)
        assert ended.value.reason == "timed_out"
    assert service.stopped == ["q1", "q2"]


def test_a_stop_that_fails_does_not_hide_the_reason() -> None:
    service = Service(
        states=("RUNNING",), errors={"stop_query_execution": error("InternalServerException", "x")}
    )
    with pytest.raises(SourceError, match="too long"):
        collect(service, time_limit_s=0.0)


@pytest.mark.parametrize(
    ("counts", "rows", "reason"),
    [
        (("1127", "0"), 0, "unparsable"),  # the pattern is from before the format grew, or ends in a newline
        (("1000", "900"), 2, "unparsable"),
        (("0", "0"), 0, "no_data"),
        (("500", "500"), 0, "no_data"),
        (("500", "500"), 2, None),
    ],
)
def test_null_rows_and_empty_answers_are_told_apart(
    counts: tuple[str, str], rows: int, reason: str | None
) -> None:
    fragment = collect(Service(rows=[row(n) for n in range(rows)], counts=counts))
    assert [gap.reason for gap in fragment.gaps] == ([reason] if reason else [])
    assert all(gap.fix for gap in fragment.gaps)
    if reason == "unparsable":
        assert "oomscope alb ddl" in (fragment.gaps[0].fix or "")


def test_fresh_logs_may_not_be_there_yet() -> None:
    (gap,) = collect(Service(rows=[]), now=WINDOW.end + timedelta(minutes=2)).gaps
    assert gap.reason == "not_yet"
    assert "2026-01-02T10:20" in (gap.fix or "")


def test_an_answer_too_long_is_cut_and_said_so() -> None:
    fragment = collect(Service(rows=[row(n / 100) for n in range(30)]), max_rows=20)
    assert fragment.accesses is not None
    assert fragment.accesses.height == 20
    assert [gap.reason for gap in fragment.gaps] == ["cut"]


def test_a_count_that_fails_does_not_lose_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    start = service.start_query_execution

    def second_fails(**asked: Any) -> Any:
        if service.started:
            raise error("TooManyRequestsException", "busy")
        return start(**asked)

    monkeypatch.setattr(service, "start_query_execution", second_fails)
    fragment = collect(service)
    assert fragment.accesses is not None
    assert fragment.accesses.height == 2
    assert [gap.reason for gap in fragment.gaps] == ["timed_out"]


@pytest.mark.parametrize(
    ("operation", "code", "message", "reason", "fix"),
    [
        ("get_table_metadata", "AccessDeniedException", "no", "denied", "glue:GetTable"),
        ("get_table_metadata", "MetadataException", "EntityNotFoundException: no table", "unparsable", None),
        (
            "start_query_execution",
            "AccessDeniedException",
            "no",
            "denied",
            "athena:StartQueryExecution on workgroup",
        ),
        (
            "start_query_execution",
            "InvalidRequestException",
            "No output location provided",
            "denied",
            "output_location",
        ),
        (
            "start_query_execution",
            "InvalidRequestException",
            "WorkGroup x is not found.",
            "no_data",
            "alb.workgroup",
        ),
        ("start_query_execution", "TooManyRequestsException", "busy", "timed_out", "again"),
        ("get_query_results", "AccessDeniedException", "no", "denied", "s3:GetObject on the query results"),
    ],
)
def test_refusals_name_what_is_missing(
    operation: str, code: str, message: str, reason: str, fix: str | None
) -> None:
    with pytest.raises(SourceError) as refused:
        collect(Service(errors={operation: error(code, message)}))
    assert refused.value.reason == reason
    assert fix is None or fix in (refused.value.fix or "")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("Access denied when writing to s3 location: s3://results", "denied"),
        ("PERMISSION_DENIED: Access Denied (Service: Amazon S3; Status Code: 403)", "denied"),
        ("Insufficient permissions to execute the query.", "denied"),
        ("TABLE_NOT_FOUND: line 1:8: Table awsdatacatalog.logs.alb does not exist", "no_data"),
        ("COLUMN_NOT_FOUND: line 1:8: Column 'x' cannot be resolved", "no_data"),
        ("Query exhausted resources at this scale factor", "timed_out"),
        ("Query cancelled! : Bytes scanned limit was exceeded", "cut"),
        ("Query cancelled by user", "timed_out"),
        ("HIVE_CURSOR_ERROR: incorrect header check", "unparsable"),
    ],
)
def test_failures_of_a_query_have_a_reason(reason: str, expected: str) -> None:
    assert failure(reason).reason == expected
    with pytest.raises(SourceError) as failed:
        collect(Service(states=("FAILED",), reason=reason))
    assert failed.value.reason == expected
    assert failed.value.query


def test_a_table_of_something_else_is_not_asked() -> None:
    service = Service(columns={"a": "string"})
    with pytest.raises(SourceError) as refused:
        collect(service)
    assert refused.value.reason == "unparsable"
    assert service.started == []


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield


@pytest.mark.usefixtures("moto")
def test_the_calls_have_the_shape_boto3_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    """The double takes any text for SQL and knows no table definitions, so it proves the wiring only."""
    import boto3

    table = athena.discover("logs", "alb", dict(COLUMNS), {"day": "string"})
    monkeypatch.setattr(AthenaSource, "_table", lambda _self, _client: table)
    access = AwsAccess(region="eu-west-1")
    boto3.client("athena", region_name="eu-west-1").create_work_group(Name="team")
    source = AthenaSource(access, "logs", "alb", workgroup="team", output_location="s3://results/", now=LATER)
    fragment = source.collect(Target(), WINDOW, Context())
    assert [gap.reason for gap in fragment.gaps] == ["no_data"]
    assert len(fragment.queries) == 2
