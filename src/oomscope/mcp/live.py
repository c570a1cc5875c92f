"""The live side of the tools: the kills a cluster remembers, and the report of one of them."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from oomscope import kills, pipeline
from oomscope.facts import Target, Window
from oomscope.mcp.marking import marked
from oomscope.mcp.paging import page
from oomscope.pipeline_live import Plan, gather_live
from oomscope.sources.interface import Context
from oomscope.units import iso

if TYPE_CHECKING:
    from oomscope.config import Config
    from oomscope.report import Report


def report(config: Config, target: Target) -> Report:
    """Gather from the configured sources and analyse. Without a pod or workload the newest kill is taken."""
    cluster = config.chosen(target.cluster)
    plan = Plan(
        target=target,
        cluster=cluster,
        config=config,
        now=datetime.now(UTC),
        without=frozenset(cluster.without),
        require=frozenset(cluster.require),
    )
    if not (target.pod or target.workload):
        plan = replace(plan, target=kills.newest(plan))
    return pipeline.analyse(gather_live(plan))


def listed(
    config: Config, cluster: str | None, namespace: str | None, hours: float, cursor: str | None
) -> dict[str, Any]:
    """The kills the sources remember, newest first, with the sources that could not be asked.

    Raises ``UnreadableError`` when none could be asked: that is not the same as no kills.
    """
    now, span = datetime.now(UTC), timedelta(hours=hours)
    ctx = Context(deadline=time.monotonic() + config.deadline_s, progress=pipeline.quiet)
    found = kills.remembered(config.chosen(cluster), Window(now - span, now), ctx, namespace=namespace)
    if not found.asked:
        raise kills.none_found(found, span)
    gaps = [
        marked({"source": gap.source, "reason": gap.reason, "detail": gap.detail, "fix": gap.fix})
        for gap in found.gaps
    ]
    return {
        "from": "live",
        **page(found.kills, cursor, show=lambda kill: marked(_row(kill))),
        "sources_asked": found.asked,
        "gaps": gaps,
    }


def _row(kill: kills.Remembered) -> dict[str, Any]:
    return {
        "killed_at": iso(kill.at),
        "about": kill.about,
        "namespace": kill.namespace,
        "pod": kill.pod,
        "container": kill.container,
        "kind": kill.kind,
        "exit_code": kill.exit_code,
        "limit_bytes": kill.limit_bytes,
        "source": kill.source,
    }
