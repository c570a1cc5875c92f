"""Captured logs as inputs of the scan, plain or in one of the container envelopes."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from oomscope.logs import scan
from oomscope.logs.clock import rfc3339_ns
from oomscope.logs.interface import Identity, LogScan

CAPTURES = Path(__file__).parent / "data" / "logs"
CONTAINER_ID = "ab" * 32
T0 = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


class Bytes:
    """An input held in memory."""

    def __init__(self, data: bytes, label: str = "app.log", identity: Identity | None = None) -> None:
        self.data, self.label, self.identity = data, label, identity or Identity()

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


def capture(name: str, *, until: str | None = None) -> bytes:
    """The log of a capture, up to (not including) the first line that holds ``until``."""
    lines = (CAPTURES / f"{name}.log").read_bytes().split(b"\n")
    kept = [line for line in lines if not line.startswith(b"####")]
    if until is not None:
        end = next(i for i, line in enumerate(kept) if until.encode() in line)
        kept = [*kept[:end], b""]
    return b"\n".join(kept)


def scanned(*data: bytes | str | Bytes, **options: Any) -> LogScan:
    """The scan of these logs."""
    inputs = [
        one if isinstance(one, Bytes) else Bytes(one.encode() if isinstance(one, str) else one, f"{i}.log")
        for i, one in enumerate(data)
    ]
    return scan(inputs, **options)


def states(result: LogScan) -> dict[str, list[str]]:
    """Path -> states of the requests to it, in order of their start."""
    found: dict[str, list[str]] = {}
    for path, state in result.requests.select("path", "state").iter_rows():
        found.setdefault(path or "?", []).append(state)
    return found


def one(result: LogScan, path: str) -> dict[str, Any]:
    """The only request to a path."""
    (row,) = [row for row in result.requests.to_dicts() if row["path"] == path]
    return row


_CLOCK = re.compile(r"[A-Z], \[(\S{26}) #|Started .* at (\S{10} \S{8}) \+0000|Completed .* in (\d+)ms")


def times(data: bytes) -> list[tuple[str, str]]:
    """Each line with the time a container runtime would have given it."""
    lines = data.decode("utf-8", "replace").removesuffix("\n").split("\n")
    now, found = T0 - timedelta(hours=2), []
    for line in lines:
        clock = _CLOCK.search(line)
        now += timedelta(microseconds=10)
        if clock and clock[1]:
            now = max(now, datetime.fromisoformat(clock[1] + "+00:00"))
        elif clock and clock[2]:
            now = max(now, datetime.fromisoformat(clock[2] + "+00:00"))
        elif clock:
            now += timedelta(milliseconds=int(clock[3]))
        found.append((now.strftime("%Y-%m-%dT%H:%M:%S.%f") + "007Z", line))
    return found


def cri(data: bytes) -> bytes:
    return "".join(f"{at} stdout F {line}\n" for at, line in times(data)).encode()


def docker(data: bytes) -> bytes:
    rows = ({"log": f"{line}\n", "stream": "stdout", "time": at} for at, line in times(data))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def kubectl_timestamps(data: bytes) -> bytes:
    return "".join(f"{at} {line}\n" for at, line in times(data)).encode()


def kubectl_prefix(data: bytes) -> bytes:
    return "".join(f"[pod/web-1/app] {at} {line}\n" for at, line in times(data)).encode()


def fluent_record(at: str, line: str, **more: Any) -> dict[str, Any]:
    owner = {"pod_name": "web-1", "namespace_name": "prod", "pod_id": "u-1", "host": "node-1"}
    owner |= {"container_name": "app", "docker_id": CONTAINER_ID}
    return {"time": at, "stream": "stdout", "_p": "F", "log": line, "kubernetes": owner, **more}


def fluentbit(data: bytes) -> bytes:
    return "".join(json.dumps(fluent_record(at, line)) + "\n" for at, line in times(data)).encode()


def fluentd(data: bytes) -> bytes:
    """Fluentd's Container Insights: an indented line is appended to the event before it."""
    events: list[list[str]] = []
    for at, line in times(data):
        if line[:1].isspace() and events:
            events[-1][1] += "\n" + line
        else:
            events.append([at, line])
    owner = {
        "container_name": "app",
        "namespace_name": "prod",
        "pod_name": "web-1",
        "pod_id": "u-1",
        "host": "node-1",
    }
    rows = [
        {
            "log": text,
            "stream": "stdout",
            "docker": {"container_id": CONTAINER_ID},
            "kubernetes": owner,
            "time": at,
        }
        for at, text in events
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def otlp(data: bytes) -> bytes:
    names = {
        "k8s.namespace.name": "prod",
        "k8s.pod.name": "web-1",
        "k8s.container.name": "app",
        "k8s.node.name": "node-1",
    }
    rows = []
    for text, line in times(data):
        at = rfc3339_ns(text)
        rows.append(
            {
                "resource": {"attributes": names},
                "timeUnixNano": at,
                "body": line,
                "attributes": {"log.iostream": "stdout", "logtag": "F"},
            }
        )
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def events(data: bytes) -> list[dict[str, Any]]:
    """Container Insights events as FilterLogEvents gives them."""
    stream = f"node-1-application.var.log.containers.web-1_prod_app-{CONTAINER_ID}.log"
    return [
        {
            "logStreamName": stream,
            "timestamp": (rfc3339_ns(at) or 0) // 1_000_000,
            "message": json.dumps(fluent_record(at, line)),
            "ingestionTime": int(T0.timestamp() * 1000) + 5000,
            "eventId": str(i),
        }
        for i, (at, line) in enumerate(times(data))
    ]


def answer_pretty(data: bytes) -> bytes:
    return json.dumps({"events": events(data), "searchedLogStreams": []}, indent=4).encode()


def answer_compact(data: bytes) -> bytes:
    return json.dumps(
        {"events": events(data), "searchedLogStreams": [{"logStreamName": "x"}]}, separators=(",", ":")
    ).encode()


def answer_event_a_line(data: bytes) -> bytes:
    rows = ",\n".join(json.dumps(event) for event in events(data))
    return ('{"events": [\n' + rows + '\n], "searchedLogStreams": []}').encode()


def answer_array(data: bytes) -> bytes:
    return json.dumps(events(data), indent=2).encode()


def event_lines(data: bytes) -> bytes:
    return "".join(json.dumps(event) + "\n" for event in events(data)).encode()


ENVELOPES = {
    "cri": (cri, "cri"),
    "docker": (docker, "docker"),
    "kubectl_ts": (kubectl_timestamps, "kubectl_ts"),
    "kubectl_prefix": (kubectl_prefix, "kubectl_prefix"),
    "fluentbit": (fluentbit, "fluentbit"),
    "fluentd": (fluentd, "fluentbit"),
    "otlp": (otlp, "fluentbit"),
    "answer_pretty": (answer_pretty, "filter_log_events"),
    "answer_compact": (answer_compact, "filter_log_events"),
    "answer_event_a_line": (answer_event_a_line, "filter_log_events"),
    "answer_array": (answer_array, "filter_log_events"),
    "event_lines": (event_lines, "jsonl"),
}
