"""OOM kills remembered as series: kube-state-metrics and cAdvisor in Prometheus, the performance log in CloudWatch."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from oomscope import series
from oomscope.errors import SourceError
from oomscope.kills import Remembered, kind_of
from oomscope.units import from_epoch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oomscope.config import Cluster
    from oomscope.facts import SeriesPoint, Window
    from oomscope.sources.interface import Context

Who = tuple[str | None, str, str | None]
STEP_S = 60
NEAR_RESTART = timedelta(minutes=5)
_JOIN = "and on(namespace,pod,uid,container,exported_namespace,exported_pod,exported_container)"
_KSM = "kube_pod_container_status_last_terminated"
MAX_EVENTS = 20_000


# ------------------------------------------------------------------------------------------------------- Prometheus


def from_prometheus(
    cluster: Cluster, window: Window, namespace: str | None, ctx: Context
) -> list[Remembered]:
    """Terminations with reason OOMKilled by their own timestamp, and rises of the OOM counter without one."""
    from oomscope.sources.prometheus import PrometheusSource, ask_steps
    from oomscope.sources.prometheus_http import open_client

    settings = cluster.prometheus
    source = PrometheusSource(
        settings.url or "", settings.kind, cluster.aws.region, cluster.aws.profile,
        settings.token_env, settings.user_env, settings.password_env, settings.labels,
    )  # fmt: skip
    if settings.kind == "cloudwatch":
        raise SourceError("off", "kube-state-metrics are not in CloudWatch", fix="see the performance log")

    texts = _texts(namespace, settings.labels)
    points: dict[str, list[SeriesPoint]] = {}
    with open_client(source, ctx.seconds_left()) as client:
        for metric, text in texts.items():
            name = (
                "container_oom_events_total"
                if metric == "oom_events"
                else f"kube_pod_container_status_{metric}"
            )
            answer = ask_steps(client, text, window, STEP_S)
            points[metric] = list(series.parse_prometheus(answer, metric=name).points)
    deaths = _deaths(points["last_terminated_timestamp"], points["last_terminated_exitcode"])
    return [*deaths, *_children(points["oom_events"], deaths)]


def _texts(namespace: str | None, labels: Mapping[str, str]) -> dict[str, str]:
    """What is asked, by the short name of what is answered."""
    from oomscope.sources.prometheus import selector_of

    def chosen(metric: str, *terms: tuple[str, str, str]) -> str:
        return selector_of(metric, namespace, labels, terms)

    killed = f"({chosen(_KSM + '_reason', ('reason', '=', 'OOMKilled'))} == 1)"
    risen = chosen("container_oom_events_total", ("container", "!=", ""))
    return {
        "last_terminated_timestamp": f"{chosen(_KSM + '_timestamp')} {_JOIN} {killed}",
        "last_terminated_exitcode": f"{chosen(_KSM + '_exitcode')} {_JOIN} {killed}",
        "oom_events": f"increase({risen}[{4 * STEP_S}s]) > 0",
    }


def _who(point: SeriesPoint) -> Who | None:
    return (point.namespace, point.pod, point.container) if point.pod else None


def _deaths(stamps: list[SeriesPoint], codes: list[SeriesPoint]) -> list[Remembered]:
    """One a timestamp: a gauge that repeats its value tells of the same death."""
    exits: dict[Who, list[SeriesPoint]] = defaultdict(list)
    for point in codes:
        if who := _who(point):
            exits[who].append(point)
    found: dict[tuple[Who, float], Remembered] = {}
    for point in stamps:
        who, at = _who(point), from_epoch(point.value)
        if who is None or at is None or (who, point.value) in found:
            continue
        # The exit code that was seen when this timestamp was.
        code = next((int(p.value) for p in reversed(exits[who]) if p.at <= point.at), None)
        kind = kind_of("OOMKilled", code)
        if kind:
            found[who, point.value] = Remembered(at, *who, kind, "prometheus", code)
    return list(found.values())


def _children(rises: list[SeriesPoint], deaths: list[Remembered]) -> list[Remembered]:
    """A rise of the counter with no death of the container near it: a process inside was killed."""
    found: list[Remembered] = []
    for point in sorted(rises, key=lambda p: p.at):
        who = _who(point)
        if who is None:
            continue
        about = point.at - timedelta(seconds=STEP_S)
        mine = [d for d in [*deaths, *found] if (d.namespace, d.pod, d.container) == who]
        if not any(abs(d.at - about) <= NEAR_RESTART for d in mine):
            found.append(Remembered(about, *who, "child", "prometheus", about=True))
    return found


# -------------------------------------------------------------------------------------------------- performance log


def from_performance_log(
    cluster: Cluster, window: Window, namespace: str | None, ctx: Context
) -> list[Remembered]:
    """Restarts after OOMKilled as Container Insights recorded them: no exit code, exact to about a minute."""
    import orjson

    from oomscope.sources.aws_common import AwsAccess
    from oomscope.sources.cloudwatch_reader import Reader, default_rate
    from oomscope.sources.limiter import limiter

    aws, logs = cluster.aws, cluster.logs
    client = AwsAccess(aws.region, aws.profile, aws.account, aws.endpoint_url).client("logs", attempts=1)
    rate = logs.requests_per_second or default_rate(aws.region)
    shared = limiter(aws.account, aws.region, "FilterLogEvents", rate)
    reader = Reader(client, shared, max_bytes=200 * 10**6, cancelled=lambda: _over(ctx))
    group = logs.performance_group or f"/aws/containerinsights/{logs.eks_cluster}/performance"
    wanted = '{ $.Type = "Container" && $.container_last_termination_reason = "OOMKilled" }'
    bounds = (int(window.start.timestamp() * 1000), int(window.end.timestamp() * 1000) - 1)
    events, _progress = reader.read(group, *bounds, filterPattern=wanted)
    records: list[Any] = []
    for event in events[:MAX_EVENTS]:
        try:
            records.append(orjson.loads(event["message"]))
        except orjson.JSONDecodeError:
            continue
    found = of_performance_records(records)
    return [kill for kill in found if namespace in (None, kill.namespace)]


def _over(ctx: Context) -> bool:
    return ctx.cancelled() or ctx.seconds_left() == 0.0


def of_performance_records(records: list[Any]) -> list[Remembered]:
    """A record repeats the last reason while the pod lives; a kill is where the count of restarts moved."""
    found = []
    for point in series.parse_performance_log(records).points:
        who = _who(point)
        if who and point.metric == "restarts" and point.value > 0 and point.reason == "OOMKilled":
            found.append(Remembered(point.at, *who, "oom", "performance-log", about=True))
    return found
