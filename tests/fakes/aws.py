"""CloudWatch Logs and Athena behind one address, as a configured ``endpoint_url`` has it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from oomscope.alb.ddl import COLUMNS
from tests.fakes.athena_sql import Result
from tests.fakes.cloudwatch import Api, AwsError, CloudWatchState

Engine = Callable[[str, Sequence[str]], Result]


@dataclass
class AthenaState:
    """``engine`` runs the statements. The weather: what is denied, how long a query runs, what becomes of it."""

    engine: Engine
    denied: set[str] = field(default_factory=set)
    latency_s: float = 0.0  # of every call
    run_s: float = 0.0  # of every query
    failure: str | None = None  # why every query fails
    started: list[dict[str, Any]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    answers: dict[str, Result | str] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)

    def call(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        time.sleep(self.latency_s)
        if operation in self.denied:
            raise AwsError("AccessDeniedException", f"not authorized to perform: athena:{operation}")
        answer: dict[str, Any] = getattr(self, operation)(arguments)
        return answer

    def GetTableMetadata(self, arguments: dict[str, Any]) -> dict[str, Any]:
        columns = [{"Name": name, "Type": kind} for name, kind in COLUMNS]
        keys = [{"Name": "day", "Type": "string"}]
        return {"TableMetadata": {"Name": arguments["TableName"], "Columns": columns, "PartitionKeys": keys}}

    def StartQueryExecution(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self.started.append(arguments)
        number = str(len(self.started) - 1)
        self.begun[number] = time.monotonic()
        try:
            self.answers[number] = self.engine(
                arguments["QueryString"], arguments.get("ExecutionParameters", [])
            )
        except Exception as error:  # noqa: BLE001 - any trouble of the engine's is a failed query
            self.answers[number] = str(error)
        return {"QueryExecutionId": number}

    def GetQueryExecution(self, arguments: dict[str, Any]) -> dict[str, Any]:
        number = arguments["QueryExecutionId"]
        answer = self.answers[number]
        trouble = self.failure or (answer if isinstance(answer, str) else None)
        state = "FAILED" if trouble else "SUCCEEDED"
        if number in self.stopped:
            state = "CANCELLED"
        elif time.monotonic() < self.begun[number] + self.run_s:
            state = "RUNNING"
        scanned = answer.scanned if isinstance(answer, Result) else 0
        return {
            "QueryExecution": {
                "Status": {"State": state, **({"StateChangeReason": trouble} if trouble else {})},
                "Statistics": {"DataScannedInBytes": scanned},
            }
        }

    def StopQueryExecution(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self.stopped.append(arguments["QueryExecutionId"])
        return {}

    def GetQueryResults(self, arguments: dict[str, Any]) -> dict[str, Any]:
        answer = self.answers[arguments["QueryExecutionId"]]
        assert isinstance(answer, Result)
        rows = [answer.names, *answer.rows]  # the header is the first row of the first page
        start, size = int(arguments.get("NextToken", 0)), min(1000, arguments.get("MaxResults", 1000))
        cells = [
            {"Data": [{} if cell is None else {"VarCharValue": cell} for cell in row]}
            for row in rows[start : start + size]
        ]
        more = {"NextToken": str(start + size)} if start + size < len(rows) else {}
        told = [{"Name": name, "Type": "varchar"} for name in answer.names]
        return {"ResultSet": {"Rows": cells, "ResultSetMetadata": {"ColumnInfo": told}}, **more}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    logs: Api
    athena: AthenaState

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        service, _, operation = self.headers.get("X-Amz-Target", ".").rpartition(".")
        side: Any = self.athena if "Athena" in service else self.logs
        try:
            self._send(200, side.call(operation, body))
        except AwsError as error:
            self._send(400, {"__type": error.code, "message": str(error)})

    def _send(self, code: int, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(code)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)


@contextlib.contextmanager
def aws_server(logs: CloudWatchState, athena: AthenaState) -> Iterator[str]:
    """Serve both on a free loopback port; yields the endpoint URL."""
    for group in logs.groups.values():
        group.seal()
    handler = type("Handler", (_Handler,), {"logs": Api(logs), "athena": athena})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
