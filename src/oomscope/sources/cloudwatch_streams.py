"""Which log groups there are, and in which streams of them a pod's log stands: cheapest way first (aws.md 2.5)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from oomscope.errors import SourceError
from oomscope.sources.aws_common import aws_errors, source_error

if TYPE_CHECKING:
    from oomscope.facts import PodFacts, Target, Window
    from oomscope.sources.cloudwatch_insights import Insights

MAX_STREAMS = 100
MAX_PAGES = 20
MAX_PODS = 8
_OF_NODE = re.compile(r"([a-z0-9][a-z0-9.-]{0,252}?)-application(?:\.var\.log\.containers\..+)?")


@dataclass(frozen=True)
class Layout:
    """One way Container Insights writes: ``classic`` has a stream a container instance, ``otel`` one a node."""

    kind: Literal["classic", "otel"]
    application: str
    host: str | None = None
    performance: str | None = None
    log_class: str = "STANDARD"
    bytes_a_day: float | None = None  # of the application group, for the cost of an Insights scan


@dataclass(frozen=True)
class Selection:
    """What to read: a filter for FilterLogEvents, or (``by_insights``) a query text for Insights."""

    group: str
    text: str  # for the report
    filter: dict[str, Any] = field(default_factory=dict)
    by_insights: bool = False
    where: str = ""  # Insights filter lines
    bytes_a_day: float | None = None


def find_layouts(
    client: Any, cluster: str | None, *, application: str | None, host: str | None, performance: str | None
) -> list[Layout]:
    """The layouts that exist, OTel first. A configured application group is the only one looked at."""
    if application:
        names = [(application, "otel" if "/otel/" in application else "classic")]
    elif cluster:
        names = [
            (f"/aws/otel/containerinsights/{cluster}/application", "otel"),
            (f"/aws/containerinsights/{cluster}/application", "classic"),
        ]
    else:
        raise SourceError(
            "off", "no log group is configured", fix="set logs.eks_cluster in the configuration"
        )
    layouts = []
    for name, kind in names:
        group = _describe(client, name)
        if group is not None:
            base = name.removesuffix("/application")
            classic = f"/aws/containerinsights/{base.rpartition('/')[2]}"
            layouts.append(
                Layout(
                    kind,  # type: ignore[arg-type]
                    name,
                    host or _existing(client, f"{base}/host", f"{classic}/host"),
                    performance or _existing(client, f"{classic}/performance"),
                    group.get("logGroupClass") or "STANDARD",
                    _daily(group, time.time()),
                )
            )
    return layouts


def _describe(client: Any, name: str) -> dict[str, Any] | None:
    try:
        answer = client.describe_log_groups(logGroupNamePrefix=name)
    except aws_errors() as error:
        raise source_error(error, f"describe {name}", permission="logs:DescribeLogGroups") from error
    return next((group for group in answer["logGroups"] if group["logGroupName"] == name), None)


def _existing(client: Any, *names: str) -> str | None:
    return next((name for name in dict.fromkeys(names) if _describe(client, name) is not None), None)


def _daily(group: dict[str, Any], now: float) -> float | None:
    """Bytes a day on the average of the days that are kept; without retention that is since the group was made."""
    stored, kept, made = (group.get(name) for name in ("storedBytes", "retentionInDays", "creationTime"))
    age = max(1.0, (now - made / 1000) / 86_400) if made else None
    days = min((float(d) for d in (kept, age) if d), default=None)
    return stored / days if stored and days else None


def select(
    client: Any, layout: Layout, target: Target, pods: Sequence[PodFacts], window: Window, insights: Insights
) -> Selection | None:
    """Where the target's log is, or None when no stream of it can be found.

    1. node, pod and container known: the streams' names (classic), the node's stream (OTel);
    2. only the pod known: Insights tells the streams, unless that scan would cost more than allowed.
    """
    wanted = sorted(pods, key=lambda pod: pod.name != target.pod)[:MAX_PODS]  # siblings tell what is ordinary
    if layout.log_class != "STANDARD":
        return _with_insights(layout, target)
    nodes = sorted({pod.node for pod in wanted if pod.node})
    if nodes and layout.kind == "otel":
        found = [n for node in nodes for n in list_streams(client, layout.application, f"{node}-application")]
        return _streams(layout, found) if found else None
    if nodes:
        found = [name for pod in wanted if pod.node for name in _names(client, layout, pod, target)]
        if found:
            return _streams(layout, found)
    if target.pod is None:
        return None
    found = insights.streams_of(layout, target.pod, window)
    return _streams(layout, found) if found else None


def _streams(layout: Layout, names: Sequence[str]) -> Selection:
    chosen = sorted(set(names))[:MAX_STREAMS]
    text = f"FilterLogEvents {layout.application}: {len(chosen)} streams, first {chosen[0]}"
    return Selection(layout.application, text, {"logStreamNames": chosen})


def nodes_of(streams: Iterable[str]) -> set[str]:
    """The nodes that application streams of either layout name."""
    return {found[1] for name in streams if (found := _OF_NODE.fullmatch(name))}


def _names(client: Any, layout: Layout, pod: PodFacts, target: Target) -> list[str]:
    """Streams of the pod's container instances: the ids Kubernetes told, and every other one with that prefix."""
    prefix = f"{pod.node}-application.var.log.containers.{pod.name}_{pod.namespace}_"
    listed = list_streams(client, layout.application, prefix)
    listed += list_streams(
        client, layout.application, f"{pod.name}_{pod.namespace}_"
    )  # fluentd-compatible names
    if target.container:
        listed = [name for name in listed if f"_{target.container}-" in name]
    return listed


def list_streams(client: Any, group: str, prefix: str) -> list[str]:
    """Names of the streams that begin with ``prefix``. FilterLogEvents refuses a name that does not exist."""
    names: list[str] = []
    token: dict[str, str] = {}
    try:
        for _page in range(MAX_PAGES):
            answer = client.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix, **token)
            names += [stream["logStreamName"] for stream in answer["logStreams"]]
            if not answer.get("nextToken"):
                return names
            token = {"nextToken": answer["nextToken"]}
    except aws_errors() as error:
        raise source_error(error, f"list streams of {group}", permission="logs:DescribeLogStreams") from error
    return names


def _with_insights(layout: Layout, target: Target) -> Selection | None:
    if not target.pod:
        return None
    from oomscope.sources.cloudwatch_insights import pod_filter

    where = pod_filter(layout, target.pod)
    text = f"Insights {layout.application} ({layout.log_class}): {where}"
    return Selection(layout.application, text, by_insights=True, where=where, bytes_a_day=layout.bytes_a_day)
