"""Schemas of the tables that come by the million: requests, jobs, ALB rows, memory samples. See ``facts``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

# State of one request as the log tells it, before any kill time is considered:
#   completed   a Completed line (or its untagged Live form) was seen
#   errored     ended by an exception block, without Completed
#   open        Processing seen, nothing closed it by the end of its stream
#   rack_level  Started only: answered by middleware or a mounted app, or not yet at the controller
#   websocket   an upgraded connection
#   superseded  cannot be open any more (thread count, age bound, id reused): see ``note``
RequestState = Literal["completed", "errored", "open", "rack_level", "websocket", "superseded"]

REQUEST_SCHEMA: dict[str, str] = {
    "stream": "str",
    "pod": "str",
    "container_id": "str",
    "pid": "int",
    "thread": "str",
    "request_id": "str",
    "trace_id": "str",  # normalised: Root=1-8hex-24hex, when the log carries it
    "method": "str",
    "path": "str",  # without the query
    "query": "str",  # redacted unless --show-params
    "endpoint": "str",  # Controller#action or None
    "format": "str",
    "client": "str",
    "params": "str",  # the Parameters text as JSON where it could be read; redacted; at most 4 KiB
    "params_bytes": "int",  # length of the original Parameters text
    "started_at": "time",
    "processing_at": "time",
    "ended_at": "time",  # None while open
    "state": "str",
    "status": "int",
    "duration_ms": "float",
    "view_ms": "float",
    "db_ms": "float",
    "gc_ms": "float",
    "allocations": "int",  # process-wide counter, see inference.md 0.3
    "mem_bytes": "int",  # per-thread bytes where the app logs them
    "exception": "str",
    "note": "str",
    "line": "int",  # 1-based line of the start in its source
    "raw": "str",  # the start line as read (redacted), kept for requests that are not closed
}

JOB_SCHEMA: dict[str, str] = {
    "stream": "str",
    "pod": "str",
    "container_id": "str",
    "pid": "int",
    "thread": "str",
    "adapter": "str",  # active_job sidekiq solid_queue good_job delayed_job resque
    "job_class": "str",
    "job_id": "str",
    "queue": "str",
    "args": "str",  # redacted
    "enqueued_at": "time",
    "started_at": "time",
    "ended_at": "time",
    "state": "str",  # completed failed open superseded enqueued
    "duration_ms": "float",
    "note": "str",
    "line": "int",
    "raw": "str",
}

# --------------------------------------------------------------------------------------------------------- ALB, memory

ACCESS_SCHEMA: dict[str, str] = {
    "time": "time",  # the response was made; for ws/wss the connection closed
    "created_at": "time",  # request_creation_time: the ALB had the request
    "type": "str",
    "elb": "str",
    "client": "str",
    "client_port": "int",
    "target_ip": "str",
    "target_port": "int",
    "request_processing_s": "float",  # -1 -> None
    "target_processing_s": "float",
    "response_processing_s": "float",
    "elb_status": "int",
    "target_status": "int",  # "-" -> None
    "received_bytes": "int",
    "sent_bytes": "int",
    "method": "str",
    "host": "str",
    "path": "str",
    "query": "str",  # redacted unless --show-params
    "protocol": "str",
    "user_agent": "str",
    "trace_id": "str",  # Root=1-8hex-24hex
    "target_group": "str",
    "actions": "str",
    "error_reason": "str",
    "conn_trace_id": "str",
    "source": "str",
    "line": "int",
}

MEMORY_SCHEMA: dict[str, str] = {
    "at": "time",
    "namespace": "str",
    "pod": "str",
    "container": "str",
    "container_id": "str",
    "working_set_bytes": "int",
    "usage_bytes": "int",
    "rss_bytes": "int",
    "cache_bytes": "int",
    "limit_bytes": "int",
    "source": "str",
}


def polars_schema(schema: dict[str, str]) -> dict[str, pl.DataType | type[pl.DataType]]:
    """The Polars types of one of the schemas above (Polars is imported only here, it costs start-up time)."""
    import polars as pl

    kinds: dict[str, pl.DataType | type[pl.DataType]] = {
        "str": pl.String,
        "int": pl.Int64,
        "float": pl.Float64,
        "time": pl.Datetime("us", "UTC"),
    }
    return {name: kinds[kind] for name, kind in schema.items()}


def empty(schema: dict[str, str]) -> pl.DataFrame:
    """A table of that schema without rows."""
    import polars as pl

    return pl.DataFrame(schema=polars_schema(schema))
