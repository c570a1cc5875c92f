"""Doctor: does Prometheus answer, how fresh and how dense are the memory series, how far back do they go."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

from oomscope.doctor import Row, of_error
from oomscope.errors import SourceError
from oomscope.units import format_seconds

if TYPE_CHECKING:
    from oomscope.config import Cluster
    from oomscope.sources.interface import Context

MEMORY = "container_memory_working_set_bytes"
RESTARTS = "kube_pod_container_status_restarts_total"
SPAN_S = 600
STALE_S = 300.0


def check_prometheus(cluster: Cluster, now: datetime, ctx: Context) -> list[Row]:
    """Rows for memory series and for kube-state-metrics."""
    settings = cluster.prometheus
    if not settings.url:
        return [Row("prometheus", "off", "no URL is configured", "set prometheus.url")]
    from oomscope.sources.prometheus import PrometheusSource, bare_selector
    from oomscope.sources.prometheus_http import ask, open_client

    source = PrometheusSource(
        settings.url, settings.kind, cluster.aws.region, cluster.aws.profile,
        settings.token_env, settings.user_env, settings.password_env, settings.labels,
    )  # fmt: skip
    dotted = settings.kind == "cloudwatch"
    memory = bare_selector(MEMORY, settings.labels, dotted=dotted)
    with open_client(source, ctx.seconds_left()) as client:

        def number(text: str) -> float | None:
            return _value(ask(client, "query", {"query": text, "time": f"{now.timestamp():.3f}"}))

        rows = [_memory_row(number, memory, now, _retention(client, settings.kind))]
        if not dotted:
            rows.append(_restarts_row(number, bare_selector(RESTARTS, settings.labels)))
    return rows


def _memory_row(number: Any, memory: str, now: datetime, kept: str) -> Row:
    count = number(f"count({memory})")
    if not count:
        fix = "scrape the kubelet's /metrics/cadvisor, or check prometheus.labels"
        return Row("prometheus", "missing", f"answers, but holds no {MEMORY}", fix)
    newest = number(f"max(timestamp({memory}))")
    samples = number(f"max(count_over_time({memory}[{SPAN_S}s]))")
    age = now.timestamp() - newest if newest else None
    every = f"every {SPAN_S / samples:.0f} s" if samples and samples > 1 else "at an unknown pace"
    detail = f"working set of {count:.0f} containers {every}, newest {format_seconds(age)} old{kept}"
    return Row("prometheus", "lagging" if age is not None and age > STALE_S else "ok", detail)


def _restarts_row(number: Any, restarts: str) -> Row:
    try:
        count = number(f"count({restarts})")
    except SourceError as error:
        return of_error("restarts", error)
    if not count:
        fix = "install kube-state-metrics: without it a replaced pod's death leaves no trace here"
        return Row("restarts", "missing", "no series of kube-state-metrics", fix)
    return Row("restarts", "ok", f"kube-state-metrics tells of {count:.0f} containers")


def _retention(client: Any, kind: str) -> str:
    """How far back it goes; only Prometheus itself tells, and it may keep that to itself."""
    from oomscope.sources.prometheus_http import ask

    if kind != "prometheus":
        return ""
    try:
        data = ask(client, "status/runtimeinfo", {}, method="GET").get("data")
    except SourceError:
        return ""
    kept = data.get("storageRetention") if isinstance(data, dict) else None
    return f", kept {kept[:40]}" if isinstance(kept, str) and kept else ""


def _value(answer: dict[str, Any]) -> float | None:
    """The number of an instant answer of one series; None when there is none."""
    from oomscope.sources.prometheus import results

    try:
        found = float(results(answer)[0]["value"][1])
    except (IndexError, KeyError, TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None
