"""Memory and restart series from Prometheus, Amazon Managed Prometheus (SigV4 ``aps``) or CloudWatch PromQL
(SigV4 ``monitoring``). One HTTP API, three ways to sign and two ways to name labels.

Needs: read access to ``/api/v1/query_range``; on AWS ``aps:QueryMetrics``, or ``cloudwatch:GetMetricData`` and
``cloudwatch:ListMetrics``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from oomscope import series
from oomscope.errors import SourceError
from oomscope.facts import Gap, Query
from oomscope.sources.interface import Fragment
from oomscope.sources.live import Attempts
from oomscope.sources.prometheus_http import ask, open_client

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import httpx

    from oomscope.facts import Target, Window
    from oomscope.sources.interface import Context

MIN_STEP_S = 5
MAX_POINTS = 10_000  # Prometheus refuses more than 11,000 points a series
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

# What is asked. A gap is told when the first group stays empty; the others are optional.
MEMORY = (
    "container_memory_working_set_bytes",
    "container_memory_rss",
    "container_memory_cache",
    "container_spec_memory_limit_bytes",
    "container_last_seen",  # tells which readings of a dead container are only repeated
)
STATE = (
    "kube_pod_container_resource_limits",
    "kube_pod_container_status_restarts_total",
    "kube_pod_container_status_last_terminated_reason",
    "kube_pod_container_status_last_terminated_exitcode",
    "kube_pod_container_status_last_terminated_timestamp",
    "container_oom_events_total",
)
# CloudWatch names a label after its OpenTelemetry attribute; here are the names everything else uses.
OTEL_LABELS = {
    "@resource.k8s.namespace.name": "namespace",
    "@resource.k8s.pod.name": "pod",
    "@resource.k8s.container.name": "container",
    "@resource.k8s.pod.uid": "uid",
    "@resource.container.id": "container_id",
}


@dataclass(frozen=True)
class PrometheusSource:
    """One Prometheus-compatible endpoint. ``labels`` are more matchers, e.g. ``{"cluster": "prod-eu"}``."""

    url: str
    kind: Literal["prometheus", "amp", "cloudwatch"] = "prometheus"
    region: str | None = None
    profile: str | None = None
    token_env: str | None = None
    user_env: str | None = None
    password_env: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str = "prometheus"

    def collect(self, target: Target, window: Window, ctx: Context) -> Fragment:
        """Memory of the pod and its siblings, limits, restarts, last terminations."""
        tries = Attempts(self.name, window)
        answers: list[dict[str, Any]] = []
        queries: list[Query] = []
        with open_client(self, ctx.seconds_left()) as client:
            for metric in (*MEMORY, *STATE):
                if ctx.cancelled() or ctx.seconds_left() == 0.0:
                    tries.note(SourceError("timed_out", "no time left"), metric, source=_about(metric))
                    break
                ctx.progress(f"prometheus: {metric}")
                text = selector(metric, target, self.labels, dotted=self.kind == "cloudwatch")
                answer = self._answer(client, metric, text, window, tries)
                queries.append(Query(self.name, text, window, rows=_samples(answer)))
                answers += [answer] if answer is not None else []
                if answer is None and metric == MEMORY[0]:
                    break  # the endpoint does not answer: ten more failures would say nothing new
        return self._fragment(answers, queries, tries, window)

    def _answer(
        self, client: httpx.Client, metric: str, text: str, window: Window, tries: Attempts
    ) -> dict[str, Any] | None:
        found = tries.run(metric, lambda: ask_range(client, text, window), source=_about(metric), query=text)
        return None if found is None else _named(found, metric)

    def _fragment(
        self, answers: list[dict[str, Any]], queries: list[Query], tries: Attempts, window: Window
    ) -> Fragment:
        # All answers are read together: only then are samples of one instant one row, and a stale one known as such.
        parsed = series.parse_prometheus(answers, source=self.name)
        memory, gaps = parsed.memory, list(tries.gaps)
        if answers and memory.is_empty():
            fix = "check the labels namespace, pod and container on container_memory_working_set_bytes"
            gaps.append(
                Gap("memory", "no_data", "no memory samples in this window", queries[0].text, window, fix)
            )
        there = (("memory", not memory.is_empty()), ("restarts", bool(parsed.points)))
        return Fragment(
            memory=memory,
            series=parsed.points,
            gaps=gaps,
            queries=queries,
            sources=[name for name, found in there if found],
        )


def _about(metric: str) -> str:
    """The kind of evidence a metric is, as gaps name it."""
    return "memory" if metric in MEMORY else "restarts"


def _samples(answer: dict[str, Any] | None) -> int | None:
    if answer is None:
        return None
    return sum(len(values) for entry in results(answer) if isinstance(values := entry.get("values"), list))


def results(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The series of an answer; what is no object is left out."""
    data = answer.get("data")
    found = data.get("result") if isinstance(data, dict) else None
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _named(answer: dict[str, Any], metric: str) -> dict[str, Any]:
    """The answer with plain label names and a metric name on every series."""
    renamed = []
    for entry in results(answer):
        labels = entry.get("metric")
        plain = {OTEL_LABELS.get(k, k): v for k, v in labels.items()} if isinstance(labels, dict) else {}
        renamed.append({**entry, "metric": {"__name__": metric, **plain}})
    return {"data": {"resultType": "matrix", "result": renamed}}


def selector(metric: str, target: Target, labels: Mapping[str, str], *, dotted: bool = False) -> str:
    """A PromQL selector for the target. Every value is checked or quoted; none can end the string it stands in.

    A scrape that puts its own labels on top moves the pod's to ``exported_*``: those series are asked for too.
    """
    more = list(_own_matchers(metric, labels, dotted=dotted))
    if dotted:
        return _selector(metric, [*_matchers(target, dotted=True), *more], dotted=True)
    plain = [*_matchers(target, dotted=False)]
    exported = [(f"exported_{name}", op, value) for name, op, value in plain]
    if any(name == "container" for name, _, _ in more):
        return _selector(metric, [*plain, *more])
    return f"{_selector(metric, [*plain, *more])} or {_selector(metric, [*exported, *more])}"


def _selector(metric: str, terms: list[tuple[str, str, str]], *, dotted: bool = False) -> str:
    inner = ",".join(f"{_quoted(k) if dotted and '.' in k else k}{op}{_quoted(v)}" for k, op, v in terms)
    return (
        f"{{{','.join([_quoted(metric), *([inner] if inner else [])])}}}"
        if dotted
        else f"{metric}{{{inner}}}"
    )


def _own_matchers(metric: str, labels: Mapping[str, str], *, dotted: bool) -> Iterator[tuple[str, str, str]]:
    """What the metric and the configuration add to the target's own matchers."""
    if metric == "kube_pod_container_resource_limits":
        yield "resource", "=", "memory"
    elif metric.startswith("container_"):
        yield "@resource.k8s.container.name" if dotted else "container", "!=", ""
    yield from _configured(labels)


def _configured(labels: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for label, value in sorted(labels.items()):
        if not _LABEL.fullmatch(label):
            raise SourceError("unparsable", f"{label!r} is not a label name", fix="mend prometheus.labels")
        yield label, "=", value


def _matchers(target: Target, *, dotted: bool) -> Iterator[tuple[str, str, str]]:
    names = ("@resource.k8s.namespace.name", "@resource.k8s.pod.name") if dotted else ("namespace", "pod")
    if target.namespace:
        yield names[0], "=", _checked(target.namespace)
    if target.workload:  # the siblings too
        yield names[1], "=~", f"{re.escape(_checked(target.workload))}-.*"
    elif target.pod:
        yield names[1], "=", _checked(target.pod)
    else:
        raise SourceError("off", "no pod or workload to ask for", fix="name the pod")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise SourceError("unparsable", f"{name!r} is not a Kubernetes name")
    return name


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def selector_of(
    metric: str, namespace: str | None, labels: Mapping[str, str], terms: Sequence[tuple[str, str, str]] = ()
) -> str:
    """A selector for every pod of a namespace (or of all), wherever a scrape has put the pod's labels."""
    common = [*terms, *_configured(labels)]
    if namespace is None:
        return _selector(metric, common)
    name = _checked(namespace)
    if metric.startswith("container_"):  # the kubelet's own: nobody's labels are put on top of these
        return _selector(metric, [("namespace", "=", name), *common])
    exported = _selector(metric, [("exported_namespace", "=", name), *common])
    return f"({_selector(metric, [('namespace', '=', name), *common])} or {exported})"


def bare_selector(metric: str, labels: Mapping[str, str], *, dotted: bool = False) -> str:
    """A selector for every pod there is."""
    return _selector(metric, list(_own_matchers(metric, labels, dotted=dotted)), dotted=dotted)


def ask_steps(client: httpx.Client, text: str, window: Window, step_s: int) -> dict[str, Any]:
    """The answer of ``query_range`` at steps of so many seconds, or wider ones for a long window."""
    span = (window.end - window.start).total_seconds()
    form = {
        "query": text,
        "start": f"{window.start.timestamp():.3f}",
        "end": f"{window.end.timestamp():.3f}",
        "step": str(max(step_s, math.ceil(span / MAX_POINTS))),
    }
    return ask(client, "query_range", form)


def ask_range(client: httpx.Client, text: str, window: Window) -> dict[str, Any]:
    """The answer of ``query_range`` over the window, with as fine a step as the server allows."""
    return ask_steps(client, text, window, MIN_STEP_S)
