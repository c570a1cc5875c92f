"""CloudWatch Logs as it really behaves, in memory, speaking the real wire protocol to boto3.

What moto leaves out and this does: events always sorted over streams, 1 MB and 10,000-event pages, empty pages with a
token, a repeated token, inclusive ``endTime`` of FilterLogEvents against the exclusive one of GetLogEvents, stream
prefixes, JSON patterns, throttling by calls per second, late ingestion, log classes, and the few Insights queries the
tool sends. Every request is checked against botocore's own model.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PAGE_BYTES = 1 << 20
PAGE_EVENTS = 10_000


@dataclass(slots=True)
class Event:
    timestamp: int  # ms
    stream: str
    message: str
    event_id: str
    ingested: int  # ms


@dataclass
class Group:
    log_class: str = "STANDARD"
    stored_bytes: int = 0
    retention_days: int | None = 30
    created: int = 0  # ms
    events: list[Event] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    streams: list[str] = field(default_factory=list)

    def add(self, stream: str, timestamp: int, message: str, ingested: int | None = None) -> None:
        """Put one event; call ``seal`` when all are in."""
        number = len(self.events)
        self.events.append(Event(timestamp, stream, message, f"{number:056d}", ingested or timestamp))
        self.stored_bytes += len(message) + 26

    def seal(self) -> None:
        self.events.sort(key=lambda e: (e.timestamp, e.ingested, e.event_id))
        self.times = [event.timestamp for event in self.events]
        self.streams = sorted({event.stream for event in self.events})


@dataclass
class CloudWatchState:
    """The groups, and the weather: quota per API in calls a second, latency, which pages come back empty."""

    groups: dict[str, Group] = field(default_factory=dict)
    tps: dict[str, float] = field(default_factory=dict)
    latency_s: float = 0.0
    empty_every: int = 0  # every nth FilterLogEvents page is empty, with a token
    repeat_token_once: bool = False
    denied: set[str] = field(default_factory=set)  # API names
    now_ms: int | None = None  # events ingested later are not there yet
    calls: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    throttled: int = 0
    queries: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    recent: dict[str, deque[float]] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)

    def group(self, name: str, **options: Any) -> Group:
        return self.groups.setdefault(name, Group(**options))


class AwsError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _model() -> Any:
    from botocore.session import Session

    return Session().get_service_model("logs")


class Api:
    """The operations. Bounds and orders follow the API reference of the service."""

    def __init__(self, state: CloudWatchState) -> None:
        self.state, self.model = state, _model()

    def call(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        shape = self.model.operation_model(operation).input_shape
        unknown = set(arguments) - set(shape.members)
        if unknown:
            raise AwsError("SerializationException", f"unknown members {sorted(unknown)}")
        self._throttle(operation, arguments)
        if operation in self.state.denied:
            raise AwsError("AccessDeniedException", f"User: x is not authorized to perform: logs:{operation}")
        answer: dict[str, Any] = getattr(self, operation)(arguments)
        return answer

    def _throttle(self, operation: str, arguments: dict[str, Any]) -> None:
        state, now = self.state, time.monotonic()
        with state.lock:
            state.calls.append((now, operation, arguments))
            quota = state.tps.get(operation)
            recent = state.recent.setdefault(operation, deque())
            while recent and recent[0] <= now - 1.0:
                recent.popleft()
            if quota and len(recent) >= quota:
                state.throttled += 1
                raise AwsError("ThrottlingException", "Rate exceeded")
            recent.append(now)
        time.sleep(state.latency_s)

    def _group(self, arguments: dict[str, Any]) -> Group:
        name = (
            arguments.get("logGroupName")
            or arguments.get("logGroupIdentifier", "").rpartition("log-group:")[2]
        )
        if name not in self.state.groups:
            raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
        return self.state.groups[name]

    def DescribeLogGroups(self, arguments: dict[str, Any]) -> dict[str, Any]:
        prefix = arguments.get("logGroupNamePrefix", "")
        found = [
            {
                "logGroupName": name, "logGroupClass": group.log_class, "storedBytes": group.stored_bytes,
                "creationTime": group.created, "arn": f"arn:aws:logs:us-east-1:1:log-group:{name}:*",
                **({"retentionInDays": group.retention_days} if group.retention_days else {}),
            }
            for name, group in sorted(self.state.groups.items()) if name.startswith(prefix)
        ]  # fmt: skip
        return {"logGroups": found}

    def DescribeLogStreams(self, arguments: dict[str, Any]) -> dict[str, Any]:
        group = self._group(arguments)
        prefix = arguments.get("logStreamNamePrefix", "")
        if prefix and arguments.get("orderBy", "LogStreamName") != "LogStreamName":
            raise AwsError(
                "InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix."
            )
        names = [name for name in group.streams if name.startswith(prefix)]
        start = int(arguments.get("nextToken", 0))
        page = names[start : start + 50]
        token = {"nextToken": str(start + 50)} if start + 50 < len(names) else {}
        return {"logStreams": [{"logStreamName": name, "storedBytes": 0} for name in page], **token}

    def FilterLogEvents(self, arguments: dict[str, Any]) -> dict[str, Any]:
        state, group = self.state, self._group(arguments)
        if group.log_class != "STANDARD":
            raise AwsError("InvalidOperationException", "FilterLogEvents is not supported on this log class")
        names, prefix = arguments.get("logStreamNames"), arguments.get("logStreamNamePrefix")
        if (names is not None and prefix is not None) or len(names or ()) > 100:
            raise AwsError(
                "InvalidParameterException", "logStreamNames and logStreamNamePrefix, or too many names"
            )
        if names is not None and not set(names) <= set(group.streams):
            raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
        if len(arguments.get("filterPattern", "")) > 1024:
            raise AwsError("InvalidParameterException", "filterPattern too long")
        token = arguments.get("nextToken")
        position, page_number = (int(part) for part in token.split(":")) if token else (0, 0)
        if state.empty_every and page_number % state.empty_every == state.empty_every - 1:
            return {"events": [], "nextToken": f"{position}:{page_number + 1}", "searchedLogStreams": []}
        start = bisect.bisect_left(group.times, arguments.get("startTime", 0))
        end = bisect.bisect_right(group.times, arguments.get("endTime", 1 << 62))  # inclusive
        matches = pattern(arguments.get("filterPattern", ""))
        chosen, size, at = [], 0, max(start, position)
        while at < end and len(chosen) < min(arguments.get("limit", PAGE_EVENTS), PAGE_EVENTS):
            event = group.events[at]
            if self._visible(event) and _of(event, names, prefix) and matches(event.message):
                size += len(event.message.encode()) + 26
                if chosen and size > PAGE_BYTES:
                    break
                chosen.append(event)
            at += 1
        answer: dict[str, Any] = {"events": [_wire(e, stream=True) for e in chosen], "searchedLogStreams": []}
        if at < end:
            answer["nextToken"] = f"{at}:{page_number + 1}"
            if state.repeat_token_once and token and token not in state.repeated:
                state.repeated.add(token)
                answer = {"events": [], "searchedLogStreams": [], "nextToken": token}
        return answer

    def _visible(self, event: Event) -> bool:
        return self.state.now_ms is None or event.ingested <= self.state.now_ms

    def GetLogEvents(self, arguments: dict[str, Any]) -> dict[str, Any]:
        group, stream = self._group(arguments), arguments["logStreamName"]
        if stream not in group.streams:
            raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
        events = [
            e for e in group.events
            if e.stream == stream and self._visible(e)
            and arguments.get("startTime", 0) <= e.timestamp < arguments.get("endTime", 1 << 62)
        ]  # fmt: skip
        start = int(arguments.get("nextToken", "f/0").partition("/")[2])
        page, size = [], 0
        for event in events[start : start + arguments.get("limit", PAGE_EVENTS)]:
            size += len(event.message.encode()) + 26
            if page and size > PAGE_BYTES:
                break
            page.append(event)
        return {
            "events": [_wire(e) for e in page],
            "nextForwardToken": f"f/{start + len(page)}",
            "nextBackwardToken": "b/0",
        }

    def StartQuery(self, arguments: dict[str, Any]) -> dict[str, Any]:
        names = arguments.get("logGroupNames") or [arguments.get("logGroupName")]
        group = self._group({"logGroupName": names[0]})
        rows, scanned = insights(group, arguments)
        number = str(len(self.state.queries))
        self.state.queries[number] = {"rows": rows, "scanned": scanned, "polls": 0}
        return {"queryId": number}

    def GetQueryResults(self, arguments: dict[str, Any]) -> dict[str, Any]:
        query = self.state.queries[arguments["queryId"]]
        query["polls"] += 1
        if query["polls"] < 2:
            return {"status": "Running", "results": [], "statistics": {}}
        results = [[{"field": k, "value": v} for k, v in row.items()] for row in query["rows"]]
        return {
            "status": "Complete",
            "results": results,
            "statistics": {"bytesScanned": float(query["scanned"])},
        }

    def StopQuery(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"success": True}


def _of(event: Event, names: list[str] | None, prefix: str | None) -> bool:
    return (names is None or event.stream in names) and (prefix is None or event.stream.startswith(prefix))


def _wire(event: Event, *, stream: bool = False) -> dict[str, Any]:
    body = {"timestamp": event.timestamp, "message": event.message, "ingestionTime": event.ingested}
    return {**body, "logStreamName": event.stream, "eventId": event.event_id} if stream else body


def pattern(text: str) -> Any:
    """A predicate of a filter pattern: JSON equalities joined by &&, ?terms, or quoted phrases."""
    text = text.strip()
    if not text:
        return lambda _message: True
    if text.startswith("{"):
        terms = re.findall(r"(\$[^=!\s]+)\s*(=|!=)\s*\"([^\"]*)\"", text)
        return lambda message: _json_matches(message, terms)
    words = re.findall(r"\?\"([^\"]*)\"|\?(\S+)", text)
    if words:
        return lambda message: any((a or b) in message for a, b in words)
    phrases = [a or b for a, b in re.findall(r"\"([^\"]*)\"|(\S+)", text)]
    return lambda message: all(phrase in message for phrase in phrases)


def _json_matches(message: str, terms: list[tuple[str, str, str]]) -> bool:
    try:
        record = json.loads(message)
    except ValueError:
        return False
    for path, operator, wanted in terms:
        node: Any = record
        for bracket, plain in re.findall(r"\['([^']+)'\]|\.?([A-Za-z0-9_@-]+)", path[1:]):
            node = node.get(bracket or plain) if isinstance(node, dict) else None
        matched = (
            isinstance(node, str) and re.fullmatch(re.escape(wanted).replace(r"\*", ".*"), node) is not None
        )
        if matched != (operator == "="):
            return False
    return True


def insights(group: Group, arguments: dict[str, Any]) -> tuple[list[dict[str, str]], int]:
    """The rows of the few query forms the tool sends, and the bytes they scan."""
    text = arguments["queryString"]
    start, end = arguments["startTime"] * 1000, arguments["endTime"] * 1000 + 999  # inclusive seconds
    events = [e for e in group.events if start <= e.timestamp <= end]
    stream = re.search(r'@logStream = "([^"]+)"', text)
    if stream:
        events = [e for e in events if e.stream == stream[1]]
    scanned = sum(len(e.message) for e in events)
    fields = re.findall(r'filter ([a-z_.A-Z0-9`-]+) = "([^"]*)"', text.replace("@logStream", "_logStream"))
    for name, value in fields:
        if name != "_logStream":
            events = [
                e for e in events if _json_matches(e.message, [("$." + name.replace("`", ""), "=", value)])
            ]
    if "stats" in text:
        counts: dict[str, int] = {}
        for event in events:
            counts[event.stream] = counts.get(event.stream, 0) + 1
        return [{"@logStream": s, "n": str(n)} for s, n in sorted(counts.items())], scanned
    limit = int((re.search(r"limit (\d+)", text) or [0, 1000])[1])
    rows = [
        {
            "@timestamp": _insights_time(e.timestamp),
            "@message": e.message, "@logStream": e.stream, "@ptr": e.event_id,
        }
        for e in events[: min(limit, 10_000)]
    ]  # fmt: skip
    return rows, scanned


def _insights_time(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms / 1000)) + f".{ms % 1000:03d}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: Api

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        operation = self.headers.get("X-Amz-Target", ".").rpartition(".")[2]
        try:
            self._send(200, self.api.call(operation, json.loads(body or b"{}")))
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
def cloudwatch_server(state: CloudWatchState) -> Iterator[str]:
    """Serve ``state`` on a free loopback port; yields the endpoint URL."""
    for group in state.groups.values():
        group.seal()
    handler = type("Handler", (_Handler,), {"api": Api(state)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
