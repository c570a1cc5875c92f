"""The one small interface of the log scan: inputs in, tables and stream facts out.

The general path and the byte-level path both fulfil it, and a test holds them equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

if TYPE_CHECKING:
    import polars as pl

    from oomscope.facts import Gap, LogStream, ProcessLife


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose log it is, as far as known from outside the bytes (a live source knows, a file does not)."""

    namespace: str | None = None
    pod: str | None = None
    container: str | None = None
    container_id: str | None = None
    pod_uid: str | None = None
    node: str | None = None


class LogInput(Protocol):
    """Something with log lines in it. ``open`` gives plain (already inflated) bytes and may be called again."""

    @property
    def label(self) -> str:
        """File or log stream name, for the report."""

    @property
    def identity(self) -> Identity:
        """What is known of its owner."""

    def open(self) -> BinaryIO:
        """A fresh reader from the first byte."""


@dataclass(frozen=True)
class LogScan:
    """All that the logs told: REQUEST_SCHEMA and JOB_SCHEMA tables, one LogStream a container instance, lives, gaps."""

    requests: pl.DataFrame
    jobs: pl.DataFrame
    streams: tuple[LogStream, ...] = ()
    lives: tuple[ProcessLife, ...] = ()
    gaps: tuple[Gap, ...] = ()


EventKind = Literal[
    # requests: one line each of the text log; ``request`` is a whole request in one line (lograge and friends)
    "started", "processing", "parameters", "completed", "exception", "websocket", "websocket_finished", "request",
    "timeout_state", "request_note",
    # jobs
    "job_enqueued", "job_started", "job_completed", "job_failed", "job_requeued",
    # servers
    "boot", "config", "ready", "worker_boot", "worker_end", "worker_timeout", "stop", "reaped", "fatal",
]  # fmt: skip


@dataclass(slots=True)
class LogEvent:
    """What one line says. ``fields`` uses the column names of REQUEST_SCHEMA / JOB_SCHEMA / ProcessLife.

    ``at`` is the time the line itself carries (None: take the envelope's). Times are UTC-aware, or naive when the line
    has no zone (the caller localises them). ``request_id`` is the tag that ties lines of one request together.
    """

    kind: EventKind
    at: datetime | None = None
    pid: int | None = None
    thread: str | None = None
    request_id: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
