"""CloudWatch Logs and Athena behind one address, as a configured ``endpoint_url`` has it."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from oomscope.alb.ddl import COLUMNS
from tests.fakes.cloudwatch import Api, AwsError, CloudWatchState


@dataclass
class AthenaState:
    """``rows``: name in our SELECT -> text. Rows whose time is outside of the statement's parameters are left out."""

    rows: list[dict[str, str]] = field(default_factory=list)
    denied: set[str] = field(default_factory=set)
    started: list[dict[str, Any]] = field(default_factory=list)

    def call(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
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
        return {"QueryExecutionId": str(len(self.started) - 1)}

    def GetQueryExecution(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {
            "QueryExecution": {"Status": {"State": "SUCCEEDED"}, "Statistics": {"DataScannedInBytes": 1000}}
        }

    def StopQueryExecution(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {}

    def GetQueryResults(self, arguments: dict[str, Any]) -> dict[str, Any]:
        asked = self.started[int(arguments["QueryExecutionId"])]
        names = re.findall(r'AS "?(\w+)"?', asked["QueryString"])
        times = [
            p.strip("'") for p in asked.get("ExecutionParameters", []) if re.match(r"'\d{4}-\d\d-\d\dT", p)
        ]
        if names == ["rows_all", "rows_read"]:
            rows = [[str(len(self.rows))] * 2]
        else:
            rows = [
                [row.get(name) for name in names]
                for row in self.rows
                if len(times) < 2 or times[0] <= row["time"] < times[1]
            ]
        cells = [
            {"Data": [{"VarCharValue": cell} if cell is not None else {} for cell in r]}
            for r in [names, *rows]
        ]
        return {
            "ResultSet": {
                "Rows": cells,
                "ResultSetMetadata": {"ColumnInfo": [{"Name": n, "Type": "varchar"} for n in names]},
            }
        }


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
