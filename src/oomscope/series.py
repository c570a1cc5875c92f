"""Metric answers into memory samples and state readings: Prometheus, memory CSV, Container Insights performance log.

Pure. Sizes are bytes, times UTC. What is not understood is named in ``unknown``, never guessed.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from oomscope.facts import MEMORY_SCHEMA, SeriesPoint, polars_schema
from oomscope.series_table import MemoryRows
from oomscope.units import from_epoch, parse_quantity, parse_time
from oomscope.units_cgroup import cgroup_identity

if TYPE_CHECKING:
    import polars as pl

MAX_SAMPLES = 2_000_000
MAX_UNKNOWN = 50
_NO_LIMIT = 2**60  # cgroups without a limit say 2^63 or so

_MEMORY_METRICS = {
    "container_memory_working_set_bytes": "working_set_bytes",
    "container_memory_usage_bytes": "usage_bytes",
    "container_memory_rss": "rss_bytes",
    "container_memory_cache": "cache_bytes",
    "container_spec_memory_limit_bytes": "limit_bytes",
}
_POINT_METRICS = {
    "kube_pod_container_status_last_terminated_reason": "last_terminated_reason",
    "kube_pod_container_status_last_terminated_exitcode": "last_terminated_exitcode",
    "kube_pod_container_status_last_terminated_timestamp": "last_terminated_timestamp",
    "kube_pod_container_status_terminated_reason": "terminated_reason",
    "kube_pod_container_status_restarts_total": "restarts",
    "kube_pod_container_resource_limits": "memory_limit",
    "kube_pod_status_reason": "pod_status_reason",
    "container_oom_events_total": "oom_events",
    "container_memory_max_usage_bytes": "memory_peak",
    "container_start_time_seconds": "started",
    "node_vmstat_oom_kill": "node_oom_kill",
}
_INIT = re.compile(r"kube_pod_init_container_(status_\w+|resource_limits)")
_HEX_ID = re.compile(r"(?:^|[/-])([0-9a-f]{64})(?:\.scope)?$")


@dataclass(frozen=True)
class SeriesAnswer:
    """``memory``: MEMORY_SCHEMA rows in time order; ``points``: state readings; ``unknown``: names not understood."""

    memory: pl.DataFrame
    points: tuple[SeriesPoint, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Labels:
    namespace: str | None
    pod: str | None
    container: str | None
    container_id: str | None
    pod_uid: str | None
    reason: str | None


def sniff(obj: Any) -> Literal["prometheus", "performance"] | None:
    """What kind of metric document a JSON value is, by content; None when it is none."""
    if isinstance(obj, list):
        return sniff(obj[0]) if obj and isinstance(obj[0], dict) else None
    if not isinstance(obj, dict):
        return None
    data = obj.get("data", obj)
    if isinstance(data, dict) and data.get("resultType") in ("matrix", "vector"):
        return "prometheus"
    if isinstance(obj.get("Type"), str) and any(
        isinstance(k, str) and k.startswith(("container_", "pod_", "node_", "number_of_")) for k in obj
    ):
        return "performance"
    return None


def sniff_csv(head: bytes) -> bool:
    """True when the first line is the header of a memory CSV: a time column and a memory column."""
    first = head[:4096].split(b"\n", 1)[0].decode("utf-8", "replace")
    columns = {_csv_column(name)[0] for name in first.split(",")}
    return "at" in columns and bool(columns & {"working_set_bytes", "usage_bytes", "rss_bytes"})


# ------------------------------------------------------------------------------------------------------ Prometheus


def parse_prometheus(obj: Any, *, source: str = "", metric: str | None = None) -> SeriesAnswer:
    """Answers of ``query_range`` (matrix) and ``query`` (vector), one or a list of them. Never raises.

    ``metric`` names the series of an aggregation, which has no ``__name__``. Pod totals (no container) and sandbox
    containers are left out, NaN is dropped, readings a dead container went on exporting after its successor had
    started are dropped.
    """
    rows, points, unknown = MemoryRows(source), list[SeriesPoint](), dict[str, None]()
    last_seen: dict[str, float] = {}
    for answer in obj if isinstance(obj, list) else [obj]:
        for labels, samples in _series_of(answer):
            name = labels.get("__name__") or metric or ""
            who = _labels(labels)
            if name == "container_last_seen" and who.container_id:
                last_seen[who.container_id] = max((v for _, v in samples), default=0.0)
            elif name in _MEMORY_METRICS:
                _add_memory(rows, _MEMORY_METRICS[name], who, samples)
            elif (short := _point_metric(name)) and labels.get("resource", "memory") == "memory":
                points += _thinned(short, who, samples)
            elif not short and len(unknown) < MAX_UNKNOWN:
                unknown[name or "(no metric name)"] = None
    _limits_from_points(rows, points)
    rows.drop_stale(last_seen)
    return SeriesAnswer(rows.table(), tuple(points), tuple(unknown))


def _point_metric(name: str) -> str | None:
    match = _INIT.fullmatch(name)
    return _POINT_METRICS.get(f"kube_pod_container_{match[1]}" if match else name)


def _series_of(answer: Any) -> Iterator[tuple[dict[str, str], list[tuple[datetime, float]]]]:
    """(labels, finite samples) of each series of one answer."""
    data = answer.get("data", answer) if isinstance(answer, dict) else None
    result = data.get("result") if isinstance(data, dict) else None
    budget = MAX_SAMPLES
    for entry in result if isinstance(result, list) else []:
        if not isinstance(entry, dict) or budget <= 0:
            continue
        raw = entry.get("metric")
        labels = {k: v[:512] for k, v in raw.items() if isinstance(v, str)} if isinstance(raw, dict) else {}
        values = entry.get("values")
        pairs = values[:budget] if isinstance(values, list) else [entry.get("value")]
        budget -= len(pairs)
        yield labels, [sample for pair in pairs if (sample := _sample(pair)) is not None]


def _sample(pair: Any) -> tuple[datetime, float] | None:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        return None
    try:
        seconds, value = float(pair[0]), float(pair[1])
    except (TypeError, ValueError, OverflowError):
        return None
    at = from_epoch(seconds) if math.isfinite(seconds) else None
    return (at, value) if at is not None and math.isfinite(value) else None


def _labels(labels: dict[str, str]) -> _Labels:
    """Whose series it is. ``exported_*`` are the true ones where a scrape put its own on top."""

    def pick(*names: str) -> str | None:
        return next((labels[n] for n in names if labels.get(n)), None)

    pod_uid, container_id = cgroup_identity(labels.get("id", ""))
    named = _HEX_ID.search(pick("container_id", "name") or "")
    return _Labels(
        namespace=pick("exported_namespace", "namespace"),
        pod=pick("exported_pod", "pod", "pod_name"),
        container=pick("exported_container", "container", "container_name"),
        container_id=container_id or (named[1] if named else None),
        pod_uid=pick("uid") or pod_uid,
        reason=pick("reason"),
    )


def _add_memory(rows: MemoryRows, column: str, who: _Labels, samples: list[tuple[datetime, float]]) -> None:
    if who.container == "POD" or not (who.container or who.container_id):
        return  # the sandbox, or the pod's total: it would count every container twice
    for at, value in samples:
        if 0 <= value < 2**62 and not (column == "limit_bytes" and not 0 < value < _NO_LIMIT):
            rows.put((who.namespace, who.pod, who.container, who.container_id), at, column, int(value))


def _thinned(metric: str, who: _Labels, samples: list[tuple[datetime, float]]) -> Iterator[SeriesPoint]:
    """First, last and both sides of every change: a state gauge says the same thing at every scrape."""
    for index, (at, value) in enumerate(samples):
        before = samples[index - 1][1] if index else None
        after = samples[index + 1][1] if index + 1 < len(samples) else None
        if value == before and value == after:
            continue
        yield SeriesPoint(
            metric, at, value, who.namespace, who.pod, who.container, who.reason, who.pod_uid
        )  # fmt: skip


def _limits_from_points(rows: MemoryRows, points: list[SeriesPoint]) -> None:
    """The limit kube-state-metrics tells, on every sample of that container that has none of its own."""
    limits: dict[tuple[str | None, str | None, str | None], list[tuple[datetime, int]]] = {}
    for point in points:
        if point.metric == "memory_limit" and 0 < point.value < _NO_LIMIT:
            key = (point.namespace, point.pod, point.container)
            limits.setdefault(key, []).append((point.at, int(point.value)))
    rows.fill_limits(limits)


# ------------------------------------------------------------------------------------------------------------- CSV

_TIME_NAMES = {"timestamp", "time", "at", "ts", "date", "datetime"}
_CSV_NAMES = {
    "namespace": "namespace", "pod": "pod", "pod_name": "pod", "container": "container",
    "container_name": "container", "container_id": "container_id", "working_set": "working_set_bytes",
    "container_memory_working_set": "working_set_bytes", "usage": "usage_bytes", "memory_usage": "usage_bytes",
    "container_memory_usage": "usage_bytes", "memory": "usage_bytes", "rss": "rss_bytes", "memory_rss": "rss_bytes",
    "container_memory_rss": "rss_bytes", "cache": "cache_bytes", "container_memory_cache": "cache_bytes",
    "limit": "limit_bytes", "memory_limit": "limit_bytes",
}  # fmt: skip
_UNITS = {"bytes": 1, "kb": 1000, "kib": 1024, "mb": 10**6, "mib": 2**20, "gb": 10**9, "gib": 2**30}


def _csv_column(name: str) -> tuple[str | None, int]:
    """(column of MEMORY_SCHEMA, factor to bytes) of a header name such as ``rss_mib``; (None, 1) when unknown."""
    plain = name.strip().strip('"\ufeff').lower().replace(" ", "_")
    if plain in _TIME_NAMES:
        return "at", 1
    if plain in _CSV_NAMES:
        return _CSV_NAMES[plain], 1
    stem, _, unit = plain.rpartition("_")
    column = _CSV_NAMES.get(stem)
    return (column, _UNITS[unit]) if unit in _UNITS and column and column.endswith("_bytes") else (None, 1)


def parse_memory_csv(text_lines: Iterable[str], *, source: str = "") -> SeriesAnswer:
    """Memory samples of a CSV with a header; times are RFC 3339 with zone, or epoch seconds or milliseconds.

    Column names it does not know come back in ``unknown``. Rows without a readable time are dropped.
    """
    reader = csv.reader(line.replace("\0", "") for line in text_lines)
    rows = MemoryRows(source)
    try:
        header = next(reader, [])
        columns = [_csv_column(name) for name in header[:256]]
        for count, cells in enumerate(reader):
            if count >= MAX_SAMPLES:
                break
            _add_csv_row(rows, columns, cells)
    except csv.Error:
        return SeriesAnswer(rows.table(), unknown=("unreadable CSV",))
    unknown = (name[:64] for name, (column, _) in zip(header, columns, strict=False) if column is None)
    rows.drop_stale({})
    return SeriesAnswer(rows.table(), unknown=tuple(unknown)[:MAX_UNKNOWN])


def _add_csv_row(rows: MemoryRows, columns: list[tuple[str | None, int]], cells: list[str]) -> None:
    names: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for (column, factor), cell in zip(columns, cells, strict=False):
        if column is None or not cell:
            continue
        if column.endswith("_bytes"):
            size = parse_quantity(cell[:40])
            if size is not None and 0 <= size < 2**53:
                sizes[column] = size * factor
        else:
            names[column] = cell.strip()[:512]
    at = _any_time(names.get("at"))
    if at is None:
        return
    found = _HEX_ID.search(names.get("container_id", ""))
    key = (names.get("namespace"), names.get("pod"), names.get("container"), found[1] if found else None)
    for column, size in sizes.items():
        if column != "limit_bytes" or 0 < size < _NO_LIMIT:
            rows.put(key, at, column, size)


def _any_time(value: Any) -> datetime | None:
    """RFC 3339 text with zone, epoch seconds or epoch milliseconds."""
    if isinstance(value, str) and (at := parse_time(value[:64])) is not None:
        return at
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    return from_epoch(number / 1000 if number > 10**11 else number)


# ------------------------------------------------------------------------------------- Container Insights performance

_PERFORMANCE_MEMORY = {
    "container_memory_working_set": "working_set_bytes",
    "container_memory_usage": "usage_bytes",
    "container_memory_rss": "rss_bytes",
    "container_memory_cache": "cache_bytes",
    "container_memory_limit": "limit_bytes",
}


def parse_performance_log(objs: Iterable[Any], *, source: str = "") -> SeriesAnswer:
    """Records of ``/aws/containerinsights/CLUSTER/performance`` (``Type`` Container and Pod). Never raises.

    The last termination reason becomes a point ``performance_termination_reason``: it has neither exit code nor time.
    """
    rows, points = MemoryRows(source), list[SeriesPoint]()
    for count, record in enumerate(objs):
        if count >= MAX_SAMPLES:
            break
        if isinstance(record, dict) and (at := _any_time(record.get("Timestamp"))) is not None:
            who = _performance_labels(record)
            if record.get("Type") == "Container":
                for key, column in _PERFORMANCE_MEMORY.items():
                    _add_memory(rows, column, who, _number(at, record.get(key)))
            points += _performance_points(record, at, who)
    rows.drop_stale({})
    return SeriesAnswer(rows.table(), tuple(points))


def _number(at: datetime, value: Any) -> list[tuple[datetime, float]]:
    sample = _sample((at.timestamp(), value))
    return [(at, sample[1])] if sample is not None and not isinstance(value, bool) else []


def _performance_labels(record: dict[str, Any]) -> _Labels:
    kubernetes = record.get("kubernetes")
    meta: dict[str, Any] = kubernetes if isinstance(kubernetes, dict) else {}
    runtimes = [meta.get(k) for k in ("containerd", "docker", "crio")]
    ids = [r.get("container_id") for r in runtimes if isinstance(r, dict)]

    def pick(*values: Any) -> str | None:
        return next((v[:300] for v in values if isinstance(v, str) and v), None)

    found = _HEX_ID.search(pick(*ids, record.get("ContainerId")) or "")
    return _Labels(
        namespace=pick(record.get("Namespace"), meta.get("namespace_name")),
        pod=pick(meta.get("pod_name"), record.get("FullPodName"), record.get("PodName")),
        container=pick(meta.get("container_name"), record.get("ContainerName")),
        container_id=found[1] if found else None,
        pod_uid=pick(meta.get("pod_id"), record.get("PodId")),
        reason=pick(record.get("container_last_termination_reason")),
    )


def _performance_points(record: dict[str, Any], at: datetime, who: _Labels) -> Iterator[SeriesPoint]:
    readings: list[tuple[str, Any]] = [("restarts", record.get("pod_number_of_container_restarts"))]
    if record.get("Type") == "Container":
        readings = [("restarts", record.get("number_of_container_restarts"))]
        if who.reason:
            readings.append(("performance_termination_reason", 1))
    for metric, value in readings:
        for moment, number in _number(at, value):
            yield SeriesPoint(
                metric, moment, number, who.namespace, who.pod, who.container, who.reason, who.pod_uid
            )  # fmt: skip


def empty_answer() -> SeriesAnswer:
    """An answer with nothing in it."""
    import polars as pl

    return SeriesAnswer(pl.DataFrame(schema=polars_schema(MEMORY_SCHEMA)))
