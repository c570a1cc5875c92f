"""What the calculating process does for the jobs: look at a cluster, gather evidence, analyse it. No database here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from oomscope.config import Cluster, Config
from oomscope.errors import SourceError, UnreadableError, UserError
from oomscope.facts import Gap, PodFacts, SeriesPoint, Target, Window
from oomscope.kills import remembered
from oomscope.report import Report
from oomscope.serve.bundles import pack, unpack
from oomscope.serve.deaths import Death, deaths_of, from_remembered, read_pods
from oomscope.serve.reporting import Made, made, make
from oomscope.sources.interface import Context

if TYPE_CHECKING:
    from oomscope.evidence import Bundle

log = logging.getLogger(__name__)
Tell = Callable[[str], None]
LOOK_S = 45.0
AGAIN = ("unreachable", "timed_out", "not_yet")


@dataclass(frozen=True, slots=True)
class Gather:
    """What to gather: the fields of ``pipeline_live.Plan`` the service uses."""

    target: Target
    cluster: Cluster
    config: Config
    now: datetime
    search: Window | None
    without: frozenset[str]


@dataclass(frozen=True, slots=True)
class Found:
    """Ends a cluster tells of. ``trouble`` says why it could not be asked; ``away``: it may be down."""

    deaths: list[Death]
    trouble: str | None = None
    away: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A report, the evidence it is made of when some was added, and why nothing could be added.

    ``again``: sources that did not answer, or have no data yet, so that another look may say more.
    """

    made: Made | None
    archive: bytes | None = None
    problem: str | None = None
    again: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------- one investigation


def capture(gather: Gather, tell: Tell) -> bytes:
    """The evidence as an archive. Raises ``UserError``."""
    return pack(_gathered(gather, tell))


def investigate(
    saved: bytes | None, gather: Gather | None, claims: tuple[SeriesPoint, ...], tell: Tell
) -> Outcome:
    """All evidence so far with what can be added now, analysed. No report when there is no evidence at all."""
    from oomscope.serve.combine import combined, with_claims

    early, problem = _opened(saved)
    fresh: Bundle | None = None
    gaps: tuple[Gap, ...] = ()
    if gather is not None:
        tell("gathering")
        fresh, gaps, problem = _added(gather, tell, problem)
    again = tuple(sorted({gap.source for gap in gaps if gap.reason in AGAIN}))
    known = fresh or early
    if known is None:
        return Outcome(None, problem=problem or "nothing could be captured", again=again)
    bundle = combined(early, fresh, claims) if fresh and early else with_claims(known, claims)
    tell("analysing")
    return Outcome(make(bundle), pack(bundle) if fresh else None, problem, again)


def _added(
    gather: Gather, tell: Tell, problem: str | None
) -> tuple[Bundle | None, tuple[Gap, ...], str | None]:
    from oomscope.pipeline_live import NothingRead

    try:
        fresh = _gathered(gather, tell)
    except UnreadableError as error:
        gaps = error.gaps if isinstance(error, NothingRead) else ()
        return None, gaps, f"{error.what}: {error.tried}"
    return fresh, fresh.gaps, problem


def rendered(report: Report, _tell: Tell) -> Made:
    """A report that was made without evidence, or made before."""
    return made(report)


def _opened(saved: bytes | None) -> tuple[Bundle | None, str | None]:
    if saved is None:
        return None, None
    try:
        return unpack(saved), None
    except UserError as error:
        return None, f"{error.what}: {error.tried}"


def _gathered(gather: Gather, tell: Tell) -> Bundle:
    from oomscope.pipeline_live import Plan, gather_live

    return gather_live(
        Plan(
            target=gather.target,
            cluster=gather.cluster,
            config=gather.config,
            now=gather.now,
            search=gather.search,
            without=gather.without,
            tell=tell,
        )
    )


# ----------------------------------------------------------------------------------------------- looks at a cluster


def look(cluster: Cluster, name: str | None, target: Target, _tell: Tell) -> Found:
    """Every end the status of the pods still holds that a target may mean."""
    pods, found = _pods(cluster, target)
    return replace(found, deaths=deaths_of(pods, name))


def watched(cluster: Cluster, name: str | None, window: Window, _tell: Tell) -> Found:
    """OOM kills in the window, oldest first: pod status, then what only metrics or logs tell (child kills)."""
    pods, found = _pods(cluster, Target(namespace=cluster.kubernetes.namespace))
    certain = [
        death
        for death in deaths_of(pods, name)
        if death.certain and window.start <= death.killed_at < window.end
    ]
    ctx = Context(deadline=time.monotonic() + LOOK_S)
    others = remembered(cluster, window, ctx, namespace=cluster.kubernetes.namespace)
    told = [
        from_remembered(kill, pods, name)
        for kill in others.kills
        if kill.source != "kubernetes" and kill.kind != "unclear"
    ]
    for gap in others.gaps:
        log.info("watch: %s: %s", gap.source, gap.detail)
    return replace(found, deaths=sorted((*certain, *told), key=lambda death: (death.about, death.killed_at)))


def _pods(cluster: Cluster, target: Target) -> tuple[list[PodFacts], Found]:
    try:
        return read_pods(cluster, target), Found([])
    except (SourceError, UserError) as error:
        away = isinstance(error, SourceError) and error.reason in ("unreachable", "timed_out")
        return [], Found([], str(error), away)
