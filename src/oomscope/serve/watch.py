"""Watch mode: finds kills no alert told of. One replica looks at a time; the kills are known by the same key."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from oomscope.errors import SourceError, UserError
from oomscope.facts import PodFacts, Target, Window
from oomscope.kills import remembered
from oomscope.serve import queue
from oomscope.serve.deaths import Death, deaths_of, from_remembered, read_pods
from oomscope.serve.identify import record
from oomscope.serve.queue import Task
from oomscope.serve.runtime import Runtime, cluster_of
from oomscope.sources.interface import Context

log = logging.getLogger(__name__)
BACK = timedelta(minutes=30)  # how old a kill may be when it is found; restarts of the service fall in here
LOOK_S = 45.0
MOST_KILLS = 1000


def watch(runtime: Runtime, task: Task) -> None:
    """Look once at a cluster (``task.ref``; empty for the default one), then again after ``watch_every_s``."""
    found = _look(runtime, task.ref or None)
    with runtime.store.write() as connection:
        runtime.store.one_identifier(connection)
        for death in found[-MOST_KILLS:]:
            record(runtime, connection, death, "watch")
        later = runtime.store.now(connection) + timedelta(seconds=runtime.settings.serve.watch_every_s)
        queue.finish(connection, task, again_at=later)


def _look(runtime: Runtime, name: str | None) -> list[Death]:
    """OOM kills of the last half hour, oldest first: pod status, then what only metrics or logs tell (child kills)."""
    cluster = cluster_of(runtime.settings.config, name)
    breaker = runtime.breakers[f"kubernetes {name or ''}"]
    if breaker.pause_s():
        return []
    with runtime.store.read() as connection:
        now = runtime.store.now(connection)
    window = Window(now - BACK, now + timedelta(minutes=1))
    pods: list[PodFacts] = []
    try:
        pods = read_pods(cluster, Target(namespace=cluster.kubernetes.namespace))
        breaker.worked()
    except (SourceError, UserError) as error:
        log.warning("watch: the cluster cannot be read: %s", error)
        breaker.failed()
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
    return sorted((*certain, *told), key=lambda death: (death.about, death.killed_at))
