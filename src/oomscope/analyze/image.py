"""Pods of another image: their rates, durations and memory say nothing about the code that was killed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from oomscope.analyze.runs import Runs

if TYPE_CHECKING:
    from oomscope.analyze.model import KillCase
    from oomscope.evidence import Bundle


def foreign_pods(bundle: Bundle, kill: KillCase) -> frozenset[str]:
    """Names of the pods known to run another image in that container. Unknown images count as the same one."""
    if kill.image is None:
        return frozenset()
    return frozenset(
        pod.name
        for pod in bundle.pods
        for container in pod.containers
        if container.name == kill.container and container.image not in (None, kill.image)
    )


def runs_of_image(runs: Runs, pods: dict[str, str | None], foreign: frozenset[str]) -> Runs:
    """``runs`` without those of foreign pods; ``pods`` names the pod of each life."""
    others = [life for life, name in enumerate(runs.lives) if pods.get(name) in foreign]
    if not others:
        return runs
    keep = ~np.isin(runs.life, others) | runs.dead
    columns = ("who", "life", "start", "end", "allocs", "mem", "received", "sent", "status", "dead", "open",
               "request_row", "access_row")  # fmt: skip
    return replace(runs, **{name: getattr(runs, name)[keep] for name in columns})
