"""Memory and restart series from Prometheus, Amazon Managed Prometheus (SigV4 ``aps``) or CloudWatch PromQL
(SigV4 ``monitoring``). One HTTP API, three ways to sign and two ways to name labels.

Needs: read access to ``/api/v1/query_range``; on AWS ``aps:QueryMetrics``, or ``cloudwatch:GetMetricData`` and
``cloudwatch:ListMetrics``.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from oomscope import series
from oomscope.errors import SourceError
from oomscope.facts import Gap, Query
from oomscope.sources.interface import Fragment
from oomscope.sources.live import Attempts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

    from oomscope.facts import Target, Window
    from oomscope.sources.interface import Context

MIN_STEP_S = 5
MAX_POINTS = 10_000  # Prometheus refuses more than 11,000 points a series
MAX_ANSWER_BYTES = 64 * 1024 * 1024
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

# What is asked. A gap is told when the first group stays empty; the others are optional.
MEMORY = (
    "container_memory_working_set_bytes",
    "container_memory_rss",
    "container_memory_cache",
    "container_spec_memory_limit_bytes",
)
STATE = (
    "kube_pod_container_resource_limits",
    "kube_pod_container_status_restarts_total",
    "kube_pod_container_status_last_terminated_reason",
    "kube_pod_container_status_last_terminated_exitcode",
    "kube_pod_container_status_last_terminated_timestamp",
    "container_oom_events_total",
)
_EXTRA = {
    "kube_pod_container_resource_limits": ("resource", "memory"),
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
        answers: list[series.SeriesAnswer] = []
        queries: list[Query] = []
        with self._client(ctx) as client:
            for metric in (*MEMORY, *STATE):
                ctx.progress(f"prometheus: {metric}")
                text = selector(metric, target, self.labels, dotted=self.kind == "cloudwatch")
                answer = self._answer(client, metric, text, window, tries)
                queries.append(
                    Query(self.name, text, window, rows=None if answer is None else len(answer.memory))
                )
                answers += [answer] if answer is not None else []
                if answer is None and metric == MEMORY[0]:
                    break  # the endpoint does not answer: ten more failures would say nothing new
        return self._fragment(answers, queries, tries, window)

    def _answer(
        self, client: httpx.Client, metric: str, text: str, window: Window, tries: Attempts
    ) -> series.SeriesAnswer | None:
        source = "memory" if metric in MEMORY else "restarts"
        found = tries.run(metric, lambda: ask(client, text, window), source=source, query=text)
        return None if found is None else series.parse_prometheus(found, source=self.name, metric=metric)

    def _fragment(
        self, answers: list[series.SeriesAnswer], queries: list[Query], tries: Attempts, window: Window
    ) -> Fragment:
        import polars as pl

        memory = pl.concat([a.memory for a in answers]) if answers else None
        gaps = list(tries.gaps)
        if answers and (memory is None or memory.is_empty()):
            fix = "check the labels namespace, pod and container on container_memory_working_set_bytes"
            gaps.append(
                Gap("memory", "no_data", "no memory samples in this window", queries[0].text, window, fix)
            )
        points = tuple(point for answer in answers for point in answer.points)
        found = [
            name
            for name, there in (("memory", memory is not None and len(memory)), ("restarts", points))
            if there
        ]
        return Fragment(memory=memory, series=points, gaps=gaps, queries=queries, sources=found)

    def _client(self, ctx: Context) -> httpx.Client:
        import httpx

        left = ctx.seconds_left()
        timeout = httpx.Timeout(min(30.0, left if left is not None else 30.0) or 0.1, connect=5.0)
        return httpx.Client(
            base_url=self.url.rstrip("/"), timeout=timeout, auth=self._auth(), follow_redirects=False
        )

    def _auth(self) -> Any:
        import httpx

        if self.kind != "prometheus":
            from oomscope.sources.sigv4 import SigV4

            return SigV4("aps" if self.kind == "amp" else "monitoring", self.region, self.profile)
        if self.token_env:
            token = _secret(self.token_env)
            return lambda request: _bearer(request, token)
        if self.user_env and self.password_env:
            return httpx.BasicAuth(_secret(self.user_env), _secret(self.password_env))
        return None


def _secret(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise SourceError(
            "denied", f"the environment variable {variable} is empty", fix=f"export {variable}=..."
        )
    return value


def _bearer(request: httpx.Request, token: str) -> httpx.Request:
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def selector(metric: str, target: Target, labels: Mapping[str, str], *, dotted: bool = False) -> str:
    """A PromQL selector for the target. Every value is checked or quoted; none can end the string it stands in."""
    terms = list(_matchers(target, dotted=dotted))
    if metric in _EXTRA:
        terms.append((_EXTRA[metric][0], "=", _EXTRA[metric][1]))
    elif metric.startswith("container_"):
        terms.append(("@resource.k8s.container.name" if dotted else "container", "!=", ""))
    for label, value in sorted(labels.items()):
        if not _LABEL.fullmatch(label):
            raise SourceError("unparsable", f"{label!r} is not a label name", fix="mend prometheus.labels")
        terms.append((label, "=", value))
    inner = ",".join(f"{_quoted(k) if dotted and '.' in k else k}{op}{_quoted(v)}" for k, op, v in terms)
    return f"{{{_quoted(metric)},{inner}}}" if dotted else f"{metric}{{{inner}}}"


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


def ask(client: httpx.Client, text: str, window: Window) -> dict[str, Any]:
    """The answer of ``query_range``, asked by POST, with up to three tries when the server is busy."""
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

    span = (window.end - window.start).total_seconds()
    form = {
        "query": text,
        "start": f"{window.start.timestamp():.3f}",
        "end": f"{window.end.timestamp():.3f}",
        "step": str(max(MIN_STEP_S, math.ceil(span / MAX_POINTS))),
    }
    busy = retry_if_exception(lambda error: isinstance(error, _BusyError))
    tries = Retrying(stop=stop_after_attempt(3), wait=wait_exponential(0.2, max=2), retry=busy, reraise=True)
    return tries(_ask_once, client, form)


class _BusyError(SourceError):
    """The server may answer in a moment: 429, 502, 503, 504, or no answer at all."""


def _ask_once(client: httpx.Client, form: dict[str, str]) -> dict[str, Any]:
    import httpx
    import orjson

    try:
        with client.stream("POST", "/api/v1/query_range", data=form) as response:
            body = b"".join(_bounded(response))
    except httpx.TimeoutException as error:
        raise _BusyError("timed_out", f"no answer in time ({type(error).__name__})") from error
    except httpx.HTTPError as error:
        raise _BusyError(
            "unreachable", str(error) or type(error).__name__, fix="check the URL and network"
        ) from error
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    _check(response.status_code, answer if isinstance(answer, dict) else None, body)
    return dict(answer)


def _bounded(response: httpx.Response) -> Iterator[bytes]:
    total = 0
    for chunk in response.iter_bytes():
        total += len(chunk)
        if total > MAX_ANSWER_BYTES:
            raise SourceError(
                "cut", "the answer is larger than 64 MiB", fix="add prometheus.labels to narrow it"
            )
        yield chunk


def _check(status: int, answer: dict[str, Any] | None, body: bytes) -> None:
    detail = f"HTTP {status}: {(answer or {}).get('error') or body[:200].decode('utf-8', 'replace')}"
    if status in (401, 403):
        raise SourceError(
            "denied", detail, fix="check the token or the IAM policy (oomscope doctor --policy)"
        )
    if status in (429, 502, 503, 504):
        raise _BusyError("timed_out" if status == 429 else "unreachable", detail)
    if status >= 500:
        raise SourceError("unreachable", detail)
    if status >= 400 or answer is None or answer.get("status") != "success":
        raise SourceError("unparsable", detail, fix="is the URL that of a Prometheus API?")
