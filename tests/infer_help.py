"""Hand-made evidence for the inference tests: a small app on one pod, timed in seconds around a kill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from oomscope.analyze.access_join import join
from oomscope.analyze.model import AccessJoin, KillCase
from oomscope.evidence import Bundle
from oomscope.facts import (
    ACCESS_SCHEMA,
    JOB_SCHEMA,
    MEMORY_SCHEMA,
    REQUEST_SCHEMA,
    Coverage,
    LogStream,
    PodFacts,
    ProcessLife,
    polars_schema,
)

KILLED_AT = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
STREAM, POD, CONTAINER_ID, ADDRESS = "web-1/0", "web-1", "c" * 64, "10.0.0.7"
MIB = 1 << 20


def at(seconds: float) -> datetime:
    """A time so many seconds after the kill."""
    return KILLED_AT + timedelta(seconds=seconds)


def request(start: float, end: float | None, endpoint: str | None = "A#show", **more: Any) -> dict[str, Any]:
    """One logged request. ``end`` None: open. Without an endpoint it stayed at rack level."""
    state = "rack_level" if endpoint is None else "open" if end is None else "completed"
    row = {
        "stream": STREAM, "pod": POD, "container_id": CONTAINER_ID, "method": "GET", "path": f"/{endpoint}".lower(),
        "endpoint": endpoint, "started_at": at(start), "ended_at": None if end is None else at(end), "state": state,
        "processing_at": None if endpoint is None else at(start), "client": "198.51.100.7",
        "request_id": f"{endpoint}-{start}",
    }  # fmt: skip
    if end is not None:
        row |= {"duration_ms": (end - start) * 1e3, "status": 200}
    return row | more


def access(created: float, time: float, path: str = "/a", **more: Any) -> dict[str, Any]:
    """One ALB row of the dead pod."""
    return {
        "type": "https", "created_at": at(created), "time": at(time), "method": "GET", "path": path,
        "target_ip": ADDRESS, "target_port": 3000, "elb_status": 200, "target_status": 200,
        "client": "198.51.100.7", "received_bytes": 300,
        "sent_bytes": 900, "source": "alb.log", "line": 1,
    } | more  # fmt: skip


def ordinary(
    seconds: float, every: float, endpoint: str, takes: float = 0.1, until: float = 0.0, **more: Any
) -> list[dict[str, Any]]:
    """Requests of one endpoint at an even pace, all finished."""
    count = int((seconds + until) / every)
    return [
        request(-seconds + i * every, -seconds + i * every + takes, endpoint, **more) for i in range(count)
    ]


def memory(seconds: float, step: float, level: Callable[[float], float], **more: Any) -> list[dict[str, Any]]:
    """Samples of the dead container; ``level`` gives MiB at a time relative to the kill."""
    count = int(seconds / step)
    row = {
        "pod": POD,
        "container": "web",
        "container_id": CONTAINER_ID,
        "source": "csv",
        "limit_bytes": 512 * MIB,
    }
    times = [-seconds + i * step for i in range(count)]
    return [row | {"at": at(t), "working_set_bytes": int(level(t) * MIB)} | more for t in times]


def kill_case(**more: Any) -> KillCase:
    """An OOM kill of the container at its own limit."""
    base: dict[str, Any] = {
        "verdict": "oom_limit", "rule": "test", "confidence": 0.99, "statement": "OOMKilled", "killed_at": KILLED_AT,
        "pod_name": POD, "container": "web", "container_id": CONTAINER_ID, "limit_bytes": 512 * MIB, "stream": STREAM,
        "scope": "container", "workload": "web", "namespace": "shop",
    }  # fmt: skip
    return KillCase(**(base | more))


def table(rows: Sequence[dict[str, Any]], schema: dict[str, str]) -> pl.DataFrame:
    """Rows as a table of that schema."""
    return pl.DataFrame(list(rows), schema=polars_schema(schema))


def bundle(
    requests: Sequence[dict[str, Any]] = (),
    *,
    jobs: Sequence[dict[str, Any]] = (),
    accesses: Sequence[dict[str, Any]] = (),
    samples: Sequence[dict[str, Any]] = (),
    threads: int = 5,
    workers: int | None = None,
    **stream: Any,
) -> Bundle:
    """A bundle of one pod with one life of its container."""
    facts: dict[str, Any] = {
        "stream": STREAM, "source": "app.log", "pod": POD, "container": "web", "container_id": CONTAINER_ID,
        "shape": "rails_tagged", "first_at": at(-3600), "coverage": Coverage(lines=10, recognised=10),
    }  # fmt: skip
    return Bundle(
        requests=table(requests, REQUEST_SCHEMA), jobs=table(jobs, JOB_SCHEMA), accesses=table(accesses, ACCESS_SCHEMA),
        memory=table(samples, MEMORY_SCHEMA), streams=(LogStream(**(facts | stream)),),
        lives=(ProcessLife(stream=STREAM, pid=1, role="single", threads_max=threads, workers=workers),),
        pods=(PodFacts(namespace="shop", name=POD, pod_ips=(ADDRESS,)),), sources=("app_log",),
    )  # fmt: skip


def joined(evidence: Bundle, kill: KillCase) -> AccessJoin:
    """The ALB join of a bundle."""
    return join(evidence.requests, evidence.accesses, kill=kill, pods=evidence.pods)
