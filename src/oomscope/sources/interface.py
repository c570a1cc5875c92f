"""What every source gives (a ``Fragment`` of evidence) and how the pieces become one bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from oomscope import evidence, kernel
from oomscope.evidence import Bundle
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
from oomscope.units import iso

if TYPE_CHECKING:
    from oomscope.logs.interface import LogInput
    from oomscope.redact import Redactor


@dataclass(frozen=True)
class Fragment:
    """A part of a bundle, as one source gives it. Not redacted yet. ``target`` is what the source says it is about."""

    target: Target | None = None
    window: Window | None = None  # the span that was asked for, where there was one
    requests: pl.DataFrame | None = None
    jobs: pl.DataFrame | None = None
    accesses: pl.DataFrame | None = None
    memory: pl.DataFrame | None = None
    pods: Sequence[PodFacts] = ()
    nodes: Sequence[NodeFacts] = ()
    events: Sequence[EventFacts] = ()
    oom_kills: Sequence[OomKill] = ()
    series: Sequence[SeriesPoint] = ()
    streams: Sequence[LogStream] = ()
    lives: Sequence[ProcessLife] = ()
    logs: Sequence[LogInput] = ()  # application logs still to be scanned, all sources together
    gaps: Sequence[Gap] = ()
    queries: Sequence[Query] = ()
    sources: Sequence[str] = ()
    due: datetime | None = None  # by then what is still on its way has come, and asking again makes sense
    look_every: timedelta | None = None  # before ``due`` too, where asking is free and it may come early


def _never() -> bool:
    return False


def _nobody(_text: str) -> None:
    pass


@dataclass(frozen=True)
class Context:
    """What a source needs to behave: when to stop (``time.monotonic`` seconds), whom to tell, whether to give up."""

    deadline: float | None = None
    progress: Callable[[str], None] = field(default=_nobody)
    cancelled: Callable[[], bool] = field(default=_never)

    def seconds_left(self) -> float | None:
        """Seconds until the deadline, at least 0; None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


class Source(Protocol):
    """A live system that holds evidence."""

    @property
    def name(self) -> str:
        """How gaps and queries call it."""

    def collect(self, target: Target, window: Window, ctx: Context) -> Fragment:
        """All it has for that target and window. Raises SourceError when it has to give up as a whole."""


def merge(
    fragments: Iterable[Fragment], *, target: Target, redactor: Redactor, window: Window | None = None
) -> Bundle:
    """One redacted bundle, the same whatever order the fragments come in.

    What ``target`` leaves open is filled from the fragments that name one. Facts told twice are kept once.
    """
    parts = list(fragments)
    facts: dict[str, Any] = {
        name: tuple(fact for part in parts for fact in getattr(part, name)) for name in evidence.FACTS
    }
    bundle = Bundle(
        target=_target(target, parts),
        window=window or _window(parts),
        requests=_table(parts, "requests", REQUEST_SCHEMA, ("started_at", "stream", "line")),
        jobs=_table(parts, "jobs", JOB_SCHEMA, ("started_at", "stream", "line")),
        accesses=_table(parts, "accesses", ACCESS_SCHEMA, ("time", "source", "line")),
        memory=_table(parts, "memory", MEMORY_SCHEMA, tuple(MEMORY_SCHEMA)),
        sources=tuple(sorted({name for part in parts for name in part.sources})),
        **facts,
    )
    return _once(evidence.redacted(bundle, redactor))


def _once(bundle: Bundle) -> Bundle:
    """Everything once and in its order. After redaction, so that a saved bundle and its raw evidence are the same."""
    facts: dict[str, Any] = {
        name: tuple(sorted(set(getattr(bundle, name)), key=_fact_order)) for name in evidence.FACTS
    }
    facts["oom_kills"] = tuple(kernel.merge(facts["oom_kills"]))
    return replace(
        bundle,
        requests=bundle.requests.unique(maintain_order=True),
        jobs=bundle.jobs.unique(maintain_order=True),
        accesses=_accesses_once(bundle.accesses),
        memory=bundle.memory.unique(maintain_order=True),
        **facts,
    )


def _target(given: Target, parts: Sequence[Fragment]) -> Target:
    """The given one, completed by what all that do not contradict it agree on."""
    told = [part.target for part in parts if part.target and not _contradicts(part.target, given)]
    found = agreed(told)
    unknown = {f.name: getattr(found, f.name) for f in fields(Target) if getattr(given, f.name) is None}
    return replace(given, **unknown)


def _window(parts: Sequence[Fragment]) -> Window | None:
    asked = [part.window for part in parts if part.window]
    return Window(min(w.start for w in asked), max(w.end for w in asked)) if asked else None


def _contradicts(one: Target, other: Target) -> bool:
    names = ("namespace", "workload", "pod", "container", "pod_uid", "cluster")
    pairs = ((getattr(one, name), getattr(other, name)) for name in names)
    return any(a is not None and b is not None and a != b for a, b in pairs)


def agreed(targets: Sequence[Target]) -> Target:
    """What all targets that say something say alike; what they say differently is left open."""
    said = {
        f.name: {value for t in targets if (value := getattr(t, f.name)) is not None} for f in fields(Target)
    }
    return Target(**{name: values.pop() for name, values in said.items() if len(values) == 1})


def _table(
    parts: Sequence[Fragment], name: str, schema: dict[str, str], keys: tuple[str, ...]
) -> pl.DataFrame:
    tables = [table for part in parts if (table := getattr(part, name)) is not None and len(table)]
    if not tables:
        return empty(schema)
    columns = list(schema)
    joined: pl.DataFrame = pl.concat([table.select(columns) for table in tables])
    return joined.sort(keys, maintain_order=True)


def _accesses_once(accesses: pl.DataFrame) -> pl.DataFrame:
    """A row that two copies of a log file hold is one request; within one file every row is its own.

    Whole rows are compared only where time and client are the same: nearly none, and comparing all takes much memory.
    """
    alike = accesses.select(
        pl.struct("time", "created_at", "client", "client_port").is_duplicated()
    ).to_series()
    if not alike.any():
        return accesses
    same = [column for column in ACCESS_SCHEMA if column not in ("source", "line")]
    twins = (
        accesses.with_row_index("row")
        .filter(alike)
        .unique(list(ACCESS_SCHEMA), keep="first", maintain_order=True)
    )
    numbered = twins.with_columns(pl.int_range(pl.len()).over(*same, "source").alias("nth"))
    kept = numbered.unique(subset=[*same, "nth"], keep="first", maintain_order=True)["row"].implode()
    return accesses.filter(~alike | pl.int_range(pl.len(), dtype=pl.UInt32).is_in(kept))


def _fact_order(fact: Any) -> tuple[str, ...]:
    """Timed facts in the order of time, others in that of their texts."""
    return (iso(getattr(fact, "at", None)) or "", *(str(getattr(fact, f.name)) for f in fields(fact)))
