"""The live side of ``investigate`` and ``collect``: flags to a plan, and what happens on Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from oomscope.cli import targets
from oomscope.cli.notes import say
from oomscope.errors import UsageError
from oomscope.facts import Target
from oomscope.units import iso

if TYPE_CHECKING:
    from oomscope.evidence import Bundle
    from oomscope.pipeline_live import Plan
    from oomscope.report import Report


@dataclass(frozen=True)
class Wanted:
    """The flags of a live investigation, as given."""

    target: Target
    alert: str | None = None
    cluster: str | None = None
    config: Path | None = None
    without: list[str] | None = None
    require: list[str] | None = None
    deadline: str | None = None
    wait: str = "0"
    max_scan: str | None = None
    show_params: bool = False


def make_plan(
    wanted: Wanted, tell: Callable[[str], None], note: Callable[[str], None] = lambda _text: None
) -> Plan:
    """Flags and configuration as a plan. Without a pod, workload or alert the newest kill is taken, and said."""
    from oomscope.config import load
    from oomscope.pipeline_live import NAMES, Plan

    for name in (*(wanted.without or ()), *(wanted.require or ())):
        if name not in NAMES:
            raise UsageError(f"unknown source {name!r}", fix=f"one of: {', '.join(NAMES)}", slug="source")
    flags = {
        "deadline_s": targets.parse_duration(wanted.deadline, "--deadline"),
        "max_scan_bytes": targets.parse_size(wanted.max_scan, "--max-scan"),
    }
    config = load(file=wanted.config, flags=flags).config
    alert = targets.read_alert(wanted.alert, config.label_map) if wanted.alert else None
    target = targets.narrowed(wanted.target, alert) if alert else wanted.target
    cluster = targets.pick_cluster(config, wanted.cluster, target.cluster)
    for text in targets.notes_of(wanted.target, alert) if alert else ():
        note(text)
    return Plan(
        target=target,
        cluster=cluster,
        config=config,
        now=datetime.now(UTC),
        search=targets.meant(wanted.target, alert).search if alert else None,
        claims=alert.points if alert else (),
        show_params=wanted.show_params,
        without=frozenset({*cluster.without, *(wanted.without or ())}),
        require=frozenset({*cluster.require, *(wanted.require or ())}),
        tell=tell,
        note=note,
        wait_s=targets.parse_duration(wanted.wait, "--wait", zero=True) or 0.0,
    )


def gather(wanted: Wanted, tell: Callable[[str], None], *, quiet: bool = False) -> Bundle:
    """The bundle of a live investigation. On Ctrl-C what had arrived is saved, and where is said."""
    from dataclasses import replace

    from oomscope import pipeline
    from oomscope.pipeline_live import Interrupted, gather_live

    plan = make_plan(wanted, tell, (lambda _text: None) if quiet else say)
    if not (plan.target.pod or plan.target.workload):
        from oomscope.kills import newest

        target = newest(plan)
        plan.note(f"newest kill: {target.namespace}/{target.pod} at {iso(target.at)}")
        plan = replace(plan, target=target)
    try:
        return gather_live(plan)
    except Interrupted as stop:
        folder = Path(f"oomscope-interrupted-{plan.now:%Y%m%d-%H%M%S}")
        pipeline.save_bundle(stop.bundle, folder)
        print(f"interrupted: what was gathered is in {folder} (oomscope report {folder})", file=sys.stderr)
        raise KeyboardInterrupt from stop


def investigate_live(wanted: Wanted, tell: Callable[[str], None], *, quiet: bool = False) -> Report:
    """Gather and analyse."""
    from oomscope import pipeline

    bundle = gather(wanted, tell, quiet=quiet)
    tell("analysing")
    return pipeline.analyse(bundle, show_params=wanted.show_params)
