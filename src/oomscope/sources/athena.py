"""ALB rows from an Athena table over the access logs: cheap for long windows, nothing is downloaded but the answer.

Needs, read-only: athena:GetTableMetadata and glue:GetTable, athena:StartQueryExecution, athena:GetQueryExecution,
athena:GetQueryResults, athena:StopQueryExecution, s3:GetObject on logs and results, s3:PutObject on the results.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from oomscope.alb.answer import answer_frame
from oomscope.alb.delivery import delivered_by
from oomscope.alb.query import AlbQuery, AlbTable, Statement, discover
from oomscope.errors import SourceError, UsageError
from oomscope.facts import Gap, Query, Target, Window
from oomscope.sources.aws_common import AwsAccess, aws_errors, source_error
from oomscope.sources.interface import Fragment
from oomscope.sources.limiter import limiter
from oomscope.sources.live import ask_again, gap_of
from oomscope.units import format_bytes

if TYPE_CHECKING:
    from oomscope.sources.interface import Context

USD_PER_BYTE = 5 / 10**12  # of compressed data scanned
LEAST_BILLED = 10 * 10**6
_PAGE = 1000
_POLL_S = (0.2, 2.0)  # first and longest wait between two looks at a running query
_CALLS_PER_S = 20.0


@dataclass(frozen=True)
class Answer:
    """Rows of text under their column names, and what the query cost."""

    names: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    scanned: int
    seconds: float


@dataclass(frozen=True)
class AthenaSource:
    """One table. ``max_scan_bytes`` stops a query that reads more; ``max_rows`` bounds the answer."""

    access: AwsAccess
    database: str
    table: str
    catalog: str = "AwsDataCatalog"
    workgroup: str | None = None
    output_location: str | None = None
    max_scan_bytes: int = 5 * 10**9
    max_rows: int = 200_000
    time_limit_s: float = 300.0
    now: datetime | None = None
    name: str = "athena"

    def collect(self, target: Target, window: Window, ctx: Context) -> Fragment:
        """All rows of the window. Raises SourceError when the query cannot be made or is stopped."""
        client = self.access.client("athena")
        table = self._table(client)
        query = AlbQuery(window, limit=self.max_rows + 1)
        ctx.progress(f"alb: asking Athena for {self.database}.{self.table}")
        main, check = query.sql(table), query.preflight(table)
        answer, counted = self._both(client, main, check, ctx)
        frame, bad = answer_frame(answer.names, answer.rows[: self.max_rows], f"athena:{self.table}")
        queries = [self._asked(main, answer, window)]
        gaps = self._gaps(answer, bad, window)
        due = delivered_by(window, target.at)
        if isinstance(counted, SourceError):
            gap = gap_of(counted, "alb", what="count unreadable rows", query=check.shown(), window=window)
            gaps.append(gap)
        else:
            queries.append(self._asked(check, counted, window))
            gaps += self._judge(counted, frame.height, window, due)
        return Fragment(
            window=window,
            accesses=frame,
            gaps=gaps,
            queries=queries,
            sources=("alb",) if frame.height else (),
            due=due if due > self._now() else None,
        )

    def _now(self) -> datetime:
        return self.now or datetime.now(UTC)

    def _both(
        self, client: Any, main: Statement, check: Statement, ctx: Context
    ) -> tuple[Answer, Answer | SourceError]:
        """Both statements run at the same time. When the first fails, the second is stopped."""
        first = self._start(client, main)
        second: str | SourceError
        try:
            second = self._start(client, check)
        except SourceError as error:
            second = error
        answer = None
        try:
            answer = self._finish(client, first, main, ctx)
        finally:
            if answer is None and isinstance(second, str):
                _stop(client, second)
        if isinstance(second, SourceError):
            return answer, second
        try:
            return answer, self._finish(client, second, check, ctx)
        except SourceError as error:
            return answer, error

    def probe(self, ctx: Context) -> AlbTable:
        """The table as it is defined, after one query that scans nothing proved the rights to ask. SourceError else."""
        client = self.access.client("athena")
        table = self._table(client)
        self._run(client, Statement("SELECT 1 AS one"), ctx)
        return table

    # -------------------------------------------------------------------------------------------- one query

    def _table(self, client: Any) -> AlbTable:
        what = f"read the definition of {self.database}.{self.table}"
        found = _call(
            client.get_table_metadata,
            what,
            "athena:GetTableMetadata and glue:GetTable",
            CatalogName=self.catalog,
            DatabaseName=self.database,
            TableName=self.table,
        )["TableMetadata"]
        columns = {one["Name"]: one.get("Type", "string") for one in found.get("Columns", [])}
        partitions = {one["Name"]: one.get("Type", "string") for one in found.get("PartitionKeys", [])}
        catalog = None if self.catalog == "AwsDataCatalog" else self.catalog
        try:
            return discover(
                self.database,
                self.table,
                columns,
                partitions,
                parameters=found.get("Parameters") or {},
                catalog=catalog,
            )
        except UsageError as error:
            raise SourceError("unparsable", error.what, fix=error.fix) from error

    def _run(self, client: Any, statement: Statement, ctx: Context) -> Answer:
        return self._finish(client, self._start(client, statement), statement, ctx)

    def _finish(self, client: Any, run: str, statement: Statement, ctx: Context) -> Answer:
        """Wait and read; whatever goes wrong meanwhile, a running query is stopped."""
        begun = time.monotonic()
        left = ctx.seconds_left()
        until = begun + min(self.time_limit_s, self.time_limit_s if left is None else left)
        running = True
        try:
            scanned = self._wait(client, run, statement, until, ctx)
            running = False
            names, rows = self._read(client, run, until, ctx)
        except SourceError as error:
            raise SourceError(error.reason, error.detail, query=statement.shown(), fix=error.fix) from error
        finally:
            if running:
                _stop(client, run)
        return Answer(names, rows, scanned, time.monotonic() - begun)

    def _start(self, client: Any, statement: Statement) -> str:
        asked: dict[str, Any] = {
            "QueryString": statement.text,
            "QueryExecutionContext": {"Catalog": self.catalog, "Database": self.database},
        }
        if statement.parameters:
            asked["ExecutionParameters"] = list(statement.parameters)
        if self.workgroup:
            asked["WorkGroup"] = self.workgroup
        if self.output_location:  # otherwise the workgroup's own place, or managed results
            asked["ResultConfiguration"] = {"OutputLocation": self.output_location}
        permission = f"athena:StartQueryExecution on workgroup {self.workgroup or 'primary'}"
        return str(
            _call(client.start_query_execution, "start the query", permission, **asked)["QueryExecutionId"]
        )

    def _wait(self, client: Any, run: str, statement: Statement, until: float, ctx: Context) -> int:
        """Bytes scanned by the finished query."""
        pause, longest = _POLL_S
        began = time.monotonic()
        while True:
            self._turn(ctx)
            found = _call(
                client.get_query_execution,
                "ask for the query's state",
                "athena:GetQueryExecution",
                QueryExecutionId=run,
            )["QueryExecution"]
            state, scanned = (
                found["Status"]["State"],
                found.get("Statistics", {}).get("DataScannedInBytes", 0),
            )
            if state == "SUCCEEDED":
                return int(scanned)
            if state in ("FAILED", "CANCELLED"):
                raise failure(found["Status"].get("StateChangeReason", state))
            _tell(ctx, state, int(scanned), time.monotonic() - began)
            if scanned > self.max_scan_bytes:
                limit = format_bytes(self.max_scan_bytes)
                raise SourceError(
                    "cut",
                    f"stopped after scanning more than {limit}",
                    fix="a shorter window, or a higher --max-scan",
                )
            _check_time(until, ctx)
            time.sleep(pause)
            pause = min(pause * 1.5, longest)

    def _read(
        self, client: Any, run: str, until: float, ctx: Context
    ) -> tuple[tuple[str, ...], tuple[tuple[str | None, ...], ...]]:
        names: tuple[str, ...] = ()
        rows: list[tuple[str | None, ...]] = []
        more: dict[str, str] = {}
        while True:
            self._turn(ctx)
            page = _call(
                client.get_query_results,
                "read the answer",
                "athena:GetQueryResults, and s3:GetObject on the query results",
                QueryExecutionId=run,
                MaxResults=_PAGE,
                **more,
            )
            found = page["ResultSet"]
            got = [
                tuple(cell.get("VarCharValue") for cell in row.get("Data", []))
                for row in found.get("Rows", [])
            ]
            if not more:
                names = tuple(one["Name"] for one in found.get("ResultSetMetadata", {}).get("ColumnInfo", []))
                got = (
                    got[1:] if got and got[0] == names else got
                )  # the first row of the first page is the header
            rows += got
            following = page.get("NextToken")
            if not following or following == more.get("NextToken"):
                return names, tuple(rows)
            more = {"NextToken": following}
            _check_time(until, ctx)

    def _turn(self, ctx: Context) -> None:
        limiter(self.access.account, self.access.region, "athena", _CALLS_PER_S).wait(ctx.cancelled)

    # ---------------------------------------------------------------------------------------------- what it means

    def _asked(self, statement: Statement, answer: Answer, window: Window) -> Query:
        return Query(
            source="alb",
            text=statement.shown(),
            window=window,
            rows=len(answer.rows),
            bytes_read=answer.scanned,
            seconds=round(answer.seconds, 3),
            cost_usd=billed_usd(answer.scanned),
        )

    def _gaps(self, answer: Answer, bad: int, window: Window) -> list[Gap]:
        gaps = []
        if len(answer.rows) > self.max_rows:
            detail = f"more than {self.max_rows:,} rows: only the earliest were read"
            gaps.append(Gap("alb", "cut", detail, window=window, fix="a shorter window"))
        if bad:
            gaps.append(
                Gap("alb", "unparsable", f"{bad:,} rows of the answer could not be read", window=window)
            )
        return gaps

    def _judge(self, counted: Answer, rows: int, window: Window, due: datetime) -> list[Gap]:
        """Unreadable rows show as nulls and never as errors; fresh logs are simply not there yet."""
        numbers = [int(cell or 0) for cell in counted.rows[0][:2]] if counted.rows else []
        every, readable = numbers if len(numbers) == 2 else (0, 0)
        gaps = []
        if readable < every:
            share = f"{every - readable:,} of {every:,} rows of these days are all null"
            detail = f"{share}: the table's pattern does not fit the log's present format"
            gaps.append(
                Gap("alb", "unparsable", detail, window=window, fix="make a new table: oomscope alb ddl")
            )
        if due > self._now():
            detail = "logs this fresh may not be delivered yet"
            gaps.append(Gap("alb", "not_yet", detail, window=window, fix=ask_again(due, self._now())))
        elif not rows and readable == every:
            gaps.append(
                Gap("alb", "no_data", "no row in the window", window=window, fix="check table and account")
            )
        return gaps


def billed_usd(scanned: int) -> float:
    """What Athena takes for a query that read so many bytes."""
    return max(scanned, LEAST_BILLED) * USD_PER_BYTE if scanned else 0.0


def _tell(ctx: Context, state: str, scanned: int, seconds: float) -> None:
    cost = f"{format_bytes(scanned)} scanned, ${billed_usd(scanned):.5f}"
    ctx.progress(f"alb: Athena {state.lower()} {seconds:.0f} s, {cost}")


def _call(action: Any, what: str, permission: str, **asked: Any) -> Any:
    try:
        return action(**asked)
    except aws_errors() as error:
        text = str(error)
        if "output location" in text.lower():
            fix = "set alb.output_location, or give the workgroup a place for results"
            raise SourceError("denied", f"{what}: no place for query results", fix=fix) from error
        if "workgroup" in text.lower() and "not found" in text.lower():
            raise SourceError("no_data", f"{what}: {text[:300]}", fix="check alb.workgroup") from error
        raise source_error(error, what, permission=permission) from error


def _stop(client: Any, run: str) -> None:
    """Stop a query that nobody waits for any more; it is billed for what it reads, so leave nothing running."""
    try:
        client.stop_query_execution(QueryExecutionId=run)
    except aws_errors():
        return  # it may have ended by itself, and the caller is busy with the real reason


def _check_time(until: float, ctx: Context) -> None:
    if ctx.cancelled():
        raise SourceError("timed_out", "cancelled")
    if time.monotonic() >= until:
        raise SourceError(
            "timed_out",
            "the query took too long and was stopped",
            fix="a shorter window, or a later deadline",
        )


# What Athena says when a query failed -> reason and fix. The first that is found counts.
_FAILURES: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("bytes scanned limit",), "cut", "the workgroup's limit on scanned bytes: a shorter window, or another workgroup"),
    (("access denied", "s3"), "denied", "allow s3:GetObject and s3:ListBucket on logs and query results"),
    (("access denied",), "denied", "allow glue:GetTable, glue:GetPartitions (oomscope doctor --policy)"),
    (("insufficient permissions",), "denied", "ask for SELECT on the table in Lake Formation"),
    (("does not exist",), "no_data", "check alb.database and alb.table"),
    (("not_found",), "no_data", "check alb.database, alb.table and the table's columns"),
    (("exhausted resources",), "timed_out", "a shorter window"),
    (("cancel",), "timed_out", "somebody stopped the query: run again"),
)  # fmt: skip


def failure(reason: str) -> SourceError:
    """What a failed query means."""
    text = reason.lower()
    for words, kind, fix in _FAILURES:
        if all(word in text for word in words):
            return SourceError(kind, f"the query failed: {reason[:300]}", fix=fix)
    return SourceError("unparsable", f"the query failed: {reason[:300]}")
