"""The evidence bundle: every fact gathered about one incident, what was asked, and what is missing.

A bundle is a value. It can be saved to a folder (see ``save``), loaded again, mailed, checked in as a test. ``analyze``
takes nothing else. Everything in it is redacted before it gets here (see ``redact``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from oomscope.facts import (
    ACCESS_SCHEMA,
    JOB_SCHEMA,
    MEMORY_SCHEMA,
    REQUEST_SCHEMA,
    EventFacts,
    Gap,
    LogStream,
    NodeFacts,
    OomKill,
    PodFacts,
    ProcessLife,
    Query,
    SeriesPoint,
    Target,
    Window,
    empty,
)

if TYPE_CHECKING:
    import polars as pl

SCHEMA_NUMBER = 1


def _table(schema: dict[str, str]) -> Any:
    return field(default_factory=lambda: empty(schema))


@dataclass(frozen=True)
class Bundle:
    """All evidence of one incident. Tables follow the schemas of ``facts``; empty means "none read", see ``gaps``."""

    target: Target = field(default_factory=Target)
    window: Window | None = None
    requests: pl.DataFrame = _table(REQUEST_SCHEMA)
    jobs: pl.DataFrame = _table(JOB_SCHEMA)
    accesses: pl.DataFrame = _table(ACCESS_SCHEMA)
    memory: pl.DataFrame = _table(MEMORY_SCHEMA)
    pods: tuple[PodFacts, ...] = ()
    nodes: tuple[NodeFacts, ...] = ()
    events: tuple[EventFacts, ...] = ()
    oom_kills: tuple[OomKill, ...] = ()
    series: tuple[SeriesPoint, ...] = ()
    streams: tuple[LogStream, ...] = ()
    lives: tuple[ProcessLife, ...] = ()
    gaps: tuple[Gap, ...] = ()
    queries: tuple[Query, ...] = ()
    sources: tuple[str, ...] = ()  # kinds of source that gave something: app_log alb kernel_log kubernetes ...
    redacted: bool = True

    def with_gaps(self, *gaps: Gap) -> Bundle:
        """The same bundle with more gaps."""
        return replace(self, gaps=(*self.gaps, *gaps))
