"""CloudWatch Logs of Container Insights: the dead container's log, the node's kernel lines, the performance log.

Both layouts are known: classic (one stream a container instance, its id in the stream's name) and OTel (one stream a
node). Streams are chosen by name, never by their "last event" times, which lag by an hour. Needs, read-only:
logs:DescribeLogGroups, logs:DescribeLogStreams, logs:FilterLogEvents; logs:StartQuery and logs:GetQueryResults only for
groups of the Infrequent Access class or when the node of a pod is unknown.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from oomscope import kernel, series
from oomscope.errors import SourceError
from oomscope.facts import Gap, PodFacts, Query, Target, Window
from oomscope.logs.interface import Identity
from oomscope.sources.aws_common import AwsAccess
from oomscope.sources.cloudwatch_insights import Insights
from oomscope.sources.cloudwatch_reader import Progress, Reader, default_rate
from oomscope.sources.cloudwatch_streams import (
    MAX_STREAMS,
    Layout,
    Selection,
    find_layouts,
    list_streams,
    nodes_of,
    select,
)
from oomscope.sources.interface import Fragment
from oomscope.sources.limiter import limiter
from oomscope.sources.live import Attempts, BytesLog, ask_again
from oomscope.units import format_bytes

if TYPE_CHECKING:
    from oomscope.sources.interface import Context

SETTLED = timedelta(minutes=2)  # lines are usually there within half a minute of being written
LATEST = timedelta(minutes=15)


@dataclass(frozen=True)
class CloudWatchLogsSource:
    """``pods`` are what Kubernetes (or a metric) told: node and container ids make the search a single-stream read."""

    access: AwsAccess
    eks_cluster: str | None = None
    application_group: str | None = None
    host_group: str | None = None
    performance_group: str | None = None
    pods: Sequence[PodFacts] = ()
    rate: float | None = None
    max_scan_bytes: int = 5 * 10**9
    now: datetime | None = None
    name: str = "cloudwatch_logs"
    workers: int = field(default=8)
    lines_only: bool = False  # the application's log alone: no kernel lines, no performance log

    def collect(self, target: Target, window: Window, ctx: Context) -> Fragment:
        """Application log, kernel lines and performance records of the target in the window."""
        tries = Attempts(self.name, window)
        client = self.access.client("logs", attempts=1, pool=self.workers + 2)
        reader = self._reader(client, ctx)
        layouts = tries.run("find log groups", lambda: self._layouts(client), source="app_log")
        if layouts is None:
            return Fragment(gaps=tries.gaps)
        if not layouts:
            fix = "set logs.eks_cluster or logs.application_group in the configuration"
            return Fragment(
                gaps=[
                    Gap("app_log", "no_data", "no Container Insights log group found", window=window, fix=fix)
                ]
            )
        insights = Insights(client, self.max_scan_bytes, ctx.cancelled, ctx.progress)
        nodes = {pod.node for pod in self.pods if pod.node}
        parts = []
        for layout in layouts:
            found, streams = self._application(layout, target, window, reader, insights, tries)
            parts.append(found)
            if not self.pods:  # Kubernetes could not tell where the pod ran, but its streams do
                nodes |= nodes_of(streams)
        if not self.lines_only:
            late = max((part.due for part in parts if part.due), default=None)
            parts += [self._host(layouts[0], sorted(nodes), window, reader, tries, late)]
            parts += [self._performance(layouts[0], window, target, reader, tries)]
        return _joined([*parts, Fragment(gaps=tries.gaps)])

    def _reader(self, client: Any, ctx: Context) -> Reader:
        rate = self.rate or default_rate(self.access.region)

        def tell(progress: Progress) -> None:
            size, rate = format_bytes(progress.bytes), format_bytes(round(progress.rate))
            held = f", {progress.throttled} held back" if progress.throttled else ""
            ctx.progress(
                f"cloudwatch: {progress.events:,} lines, {size}, {rate}/s, {progress.calls} calls{held}"
            )

        shared = limiter(self.access.account, self.access.region, "FilterLogEvents", rate)
        return Reader(client, shared, workers=self.workers, cancelled=ctx.cancelled, on_progress=tell)

    def _layouts(self, client: Any) -> list[Layout]:
        return find_layouts(
            client,
            self.eks_cluster,
            application=self.application_group,
            host=self.host_group,
            performance=self.performance_group,
        )

    def _application(
        self,
        layout: Layout,
        target: Target,
        window: Window,
        reader: Reader,
        insights: Insights,
        tries: Attempts,
    ) -> tuple[Fragment, set[str]]:
        """The log, and the streams it was in."""

        def read() -> tuple[Fragment, set[str]]:
            chosen = select(reader.client, layout, target, self.pods, window, insights)
            if chosen is None:
                return Fragment(gaps=[_nothing(layout, target, window)]), set()
            return self._read_application(chosen, window, target.at, reader, insights)

        what = f"logs of {layout.application}"
        found = tries.run(what, read, source="app_log", query=layout.application)
        return found or (Fragment(), set())

    def _read_application(
        self,
        chosen: Selection,
        window: Window,
        killed_at: datetime | None,
        reader: Reader,
        insights: Insights,
    ) -> tuple[Fragment, set[str]]:
        began = time.monotonic()
        if chosen.by_insights:
            events, progress = insights.events(chosen, window), Progress()
        else:
            events, progress = reader.read(
                chosen.group, _ms(window.start), _ms(window.end) - 1, **chosen.filter
            )
        gaps, due = self._freshness(window, killed_at, events)
        if not events:
            gaps.append(Gap("app_log", "no_data", "no log events in this window", chosen.text, window))
        query = Query(
            self.name, chosen.text, window, rows=len(events),
            bytes_read=progress.bytes, seconds=round(time.monotonic() - began, 3), cost_usd=insights.cost_usd,
        )  # fmt: skip
        logs = [BytesLog(chosen.group, Identity(), as_answer(events))] if events else []
        streams = {str(event.get("logStreamName")) for event in events}
        sources = ["app_log"] if events else []
        return Fragment(logs=logs, gaps=gaps, queries=[query], sources=sources, due=due), streams

    def _freshness(
        self, window: Window, killed_at: datetime | None, events: Sequence[dict[str, Any]]
    ) -> tuple[list[Gap], datetime | None]:
        """Lines of the last minutes may still be on their way. With when they will be there."""
        inside = killed_at is not None and window.start <= killed_at < window.end
        lag = worst_lag(events)
        due = (killed_at if inside and killed_at else window.end) + min(max(SETTLED, 2 * lag), LATEST)
        if self.now is None or self.now >= due:
            return [], None
        detail = f"the incident is fresh: lines may still be arriving (so far up to {lag.total_seconds():.0f} s late)"
        return [Gap("app_log", "not_yet", detail, None, window, ask_again(due, self.now))], due

    def _host(
        self,
        layout: Layout,
        nodes: list[str],
        window: Window,
        reader: Reader,
        tries: Attempts,
        late: datetime | None,
    ) -> Fragment:
        if not layout.host or not nodes:
            why = "no host log group" if not layout.host else "the node is not known"
            fix = "see docs/sources/cloudwatch.md"
            return Fragment(gaps=[Gap("kernel_log", "no_data", why, layout.host, window, fix)])
        read = partial(self._host_lines, layout.host, nodes, window, reader)
        found = tries.run("kernel lines", read, source="kernel_log")
        if found is None:
            return Fragment()
        query = Query(self.name, f"{layout.host} {nodes[0]}", window, rows=len(found))
        if not found and late and self.now:
            fix = ask_again(late, self.now)
            gap = Gap(
                "kernel_log",
                "not_yet",
                "the incident is fresh: no kernel line so far",
                layout.host,
                window,
                fix,
            )
            return Fragment(queries=[query], gaps=[gap])
        if not found:
            why = "no kernel lines: the agent may not ship them"
            return Fragment(queries=[query], gaps=[Gap("kernel_log", "no_data", why, layout.host, window)])
        kills = kernel.parse_kernel_log(found, source=layout.host)
        return Fragment(oom_kills=kills, queries=[query], sources=["kernel_log"])

    def _host_lines(self, host: str, nodes: list[str], window: Window, reader: Reader) -> list[str]:
        prefixes = [form.format(node) for node in nodes for form in ("{}.host.", "host.dmesg-{}", "{}-host")]
        streams = sorted({name for prefix in prefixes for name in list_streams(reader.client, host, prefix)})
        if not streams:
            return []
        bounds = (_ms(window.start), _ms(window.end) - 1)
        events, _progress = reader.read(host, *bounds, logStreamNames=streams[:MAX_STREAMS])
        return list(kernel.lines_of_answer({"events": events}))

    def _performance(
        self, layout: Layout, window: Window, target: Target, reader: Reader, tries: Attempts
    ) -> Fragment:
        names = sorted({pod.name for pod in self.pods} | ({target.pod} if target.pod else set()))
        if not layout.performance or not names:
            return Fragment()

        def read() -> Fragment:
            answer, rows = self._performance_answer(layout, names, window, reader)
            query = Query(self.name, str(layout.performance), window, rows=rows)
            return Fragment(
                memory=answer.memory,
                series=answer.points,
                queries=[query],
                sources=["memory"] if len(answer.memory) else [],
            )

        return tries.run("performance log", read, source="memory", query=layout.performance) or Fragment()

    def _performance_answer(
        self, layout: Layout, names: list[str], window: Window, reader: Reader
    ) -> tuple[series.SeriesAnswer, int]:
        import orjson

        records: list[Any] = []
        for name in names[:20]:
            wanted = f'{{ $.kubernetes.pod_name = "{safe_name(name)}" }}'
            events, _progress = reader.read(
                str(layout.performance), _ms(window.start), _ms(window.end) - 1, filterPattern=wanted
            )
            for event in events:
                try:
                    records.append(orjson.loads(event["message"]))
                except orjson.JSONDecodeError:
                    continue
        return series.parse_performance_log(records, source=str(layout.performance)), len(records)


def safe_name(name: str) -> str:
    """A pod name that can stand inside a filter pattern: Kubernetes names need no quoting, others are refused."""
    import re

    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", name):
        raise SourceError("unparsable", f"{name!r} is not a Kubernetes name")
    return name


def as_answer(events: Sequence[dict[str, Any]]) -> bytes:
    """The events as a FilterLogEvents answer, one a line: the form that the log scan knows."""
    import orjson

    keys = ("logStreamName", "timestamp", "message", "ingestionTime", "eventId")
    lines = b",\n".join(orjson.dumps({key: event[key] for key in keys if key in event}) for event in events)
    return b'{"events": [\n' + lines + b"\n]}\n"


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _nothing(layout: Layout, target: Target, window: Window) -> Gap:
    detail = f"no stream of {target.pod or target.workload or 'the pod'} in {layout.application}"
    return Gap(
        "app_log", "no_data", detail, layout.application, window, "check the log group and the pod's name"
    )


def _joined(parts: Sequence[Fragment]) -> Fragment:
    import polars as pl

    memory = [part.memory for part in parts if part.memory is not None and len(part.memory)]
    return Fragment(
        memory=pl.concat(memory) if memory else None,
        oom_kills=[kill for part in parts for kill in part.oom_kills],
        series=[point for part in parts for point in part.series],
        logs=[log for part in parts for log in part.logs],
        gaps=[gap for part in parts for gap in part.gaps],
        queries=[query for part in parts for query in part.queries],
        sources=sorted({name for part in parts for name in part.sources}),
        due=max((part.due for part in parts if part.due), default=None),
    )


def worst_lag(events: Sequence[dict[str, Any]]) -> timedelta:
    """How much later than written the lines were there to be read; nothing where the service does not tell."""
    lags = (event["ingestionTime"] - event["timestamp"] for event in events if event.get("ingestionTime"))
    return timedelta(milliseconds=max(0, max(lags, default=0)))
