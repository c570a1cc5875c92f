"""Logs Insights, for what FilterLogEvents cannot do. It costs money by the byte scanned: the estimate comes first."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from oomscope.errors import SourceError
from oomscope.sources.aws_common import aws_errors, source_error

if TYPE_CHECKING:
    from oomscope.facts import Window
    from oomscope.sources.cloudwatch_streams import Layout, Selection

USD_PER_BYTE = 0.005 / 10**9
MAX_ROWS = 10_000
POLL_S = (0.2, 0.4, 0.8, 1.0)
MAX_WAIT_S = 120.0


def pod_filter(layout: Layout, pod: str) -> str:
    """The filter line for one pod. The name is checked: nothing else is ever put into a query text."""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", pod):
        raise SourceError("unparsable", f"{pod!r} is not a Kubernetes name")
    name = "resource.attributes.k8s.pod.name" if layout.kind == "otel" else "kubernetes.pod_name"
    return f'filter {name} = "{pod}"'


@dataclass
class Insights:
    """Runs queries and adds up what they scanned."""

    client: Any
    max_scan_bytes: int
    cancelled: Callable[[], bool] = lambda: False
    tell: Callable[[str], None] = lambda _text: None
    scanned_bytes: float = field(default=0.0)

    @property
    def cost_usd(self) -> float | None:
        """What the queries so far cost, None when there were none."""
        return round(self.scanned_bytes * USD_PER_BYTE, 6) if self.scanned_bytes else None

    def streams_of(self, layout: Layout, pod: str, window: Window) -> list[str]:
        """The streams that hold lines of the pod in the window."""
        self._allow(layout.bytes_a_day, window)
        text = f"{pod_filter(layout, pod)} | stats count(*) as n by @logStream"
        return sorted(
            row["@logStream"] for row in self._rows(layout.application, text, window) if "@logStream" in row
        )

    def events(self, chosen: Selection, window: Window) -> list[dict[str, Any]]:
        """The events of a selection, in time order; a span with more rows than a query may give is halved."""
        self._allow(chosen.bytes_a_day, window)
        found = self._span(chosen, int(window.start.timestamp()), int(window.end.timestamp()))
        unique = {event["eventId"]: event for event in found}
        return sorted(unique.values(), key=lambda event: (event["timestamp"], event["eventId"]))

    def _span(self, chosen: Selection, start: int, end: int) -> list[dict[str, Any]]:
        """Spans still to be asked are kept on a stack; both bounds are inclusive seconds."""
        from oomscope.facts import Window

        fields = "fields @timestamp, @message, @logStream, @ptr"
        text = f"{fields} | {chosen.where} | sort @timestamp asc | limit {MAX_ROWS}"
        found: list[dict[str, Any]] = []
        spans = [(start, end)]
        while spans:
            first, last = spans.pop()
            span = Window(datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC))
            rows = self._rows(chosen.group, text, span)
            if len(rows) >= MAX_ROWS and last > first:
                middle = (first + last) // 2
                spans += [(middle + 1, last), (first, middle)]
                continue
            found += [_event(row) for row in rows]
        return found

    def _allow(self, bytes_a_day: float | None, window: Window) -> None:
        """Refuse a scan that is likely to read more than the user allows."""
        if bytes_a_day is None:
            self.tell("cloudwatch: Insights scans a group of unknown size")
            return
        estimate = bytes_a_day * (window.end - window.start).total_seconds() / 86_400
        cost = f"about {estimate / 1e9:.1f} GB (about ${estimate * USD_PER_BYTE:.2f})"
        self.tell(f"cloudwatch: Insights scans {cost}")
        if estimate > self.max_scan_bytes:
            raise SourceError(
                "off",
                f"an Insights scan would read {cost}",
                fix=f"--max-scan {-(-estimate * 1.5 // 1e9):.0f}GB, or let oomscope read Kubernetes to know the node",
            )

    def _rows(self, group: str, text: str, window: Window) -> list[dict[str, str]]:
        try:
            query = self.client.start_query(
                logGroupName=group,
                startTime=int(window.start.timestamp()),
                endTime=int(window.end.timestamp()),
                queryString=text,
                limit=MAX_ROWS,
            )["queryId"]
            answer = self._wait(query)
        except aws_errors() as error:
            raise source_error(
                error, "Insights query", permission="logs:StartQuery, logs:GetQueryResults"
            ) from error
        self.scanned_bytes += float((answer.get("statistics") or {}).get("bytesScanned") or 0)
        return [
            {cell["field"]: cell["value"] for cell in row if "value" in cell} for row in answer["results"]
        ]

    def _wait(self, query: str) -> dict[str, Any]:
        began, polls = time.monotonic(), 0
        while True:
            answer: dict[str, Any] = self.client.get_query_results(queryId=query)
            status = answer["status"]
            if status == "Complete":
                return answer
            if status not in ("Scheduled", "Running", "Unknown"):
                raise SourceError(
                    "timed_out" if status == "Timeout" else "cut", f"the Insights query ended: {status}"
                )
            if self.cancelled() or time.monotonic() - began > MAX_WAIT_S:
                self.client.stop_query(queryId=query)
                raise SourceError("timed_out", "the Insights query took too long and was stopped")
            time.sleep(POLL_S[min(polls, len(POLL_S) - 1)])
            polls += 1


def _event(row: dict[str, str]) -> dict[str, Any]:
    at = datetime.strptime(row["@timestamp"], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
    return {
        "logStreamName": row.get("@logStream", ""),
        "timestamp": round(at.timestamp() * 1000),
        "message": row.get("@message", ""),
        "eventId": row.get("@ptr", ""),
    }
