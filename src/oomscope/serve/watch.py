"""Watch mode: finds kills no alert told of. One replica looks at a time; the kills are known by the same key."""

from __future__ import annotations

import logging
from datetime import timedelta

from oomscope.facts import Window
from oomscope.serve import queue
from oomscope.serve.calculation import Found, watched
from oomscope.serve.deaths import Death
from oomscope.serve.identify import record
from oomscope.serve.queue import Task
from oomscope.serve.runtime import Runtime, cluster_of

log = logging.getLogger(__name__)
BACK = timedelta(minutes=30)  # how old a kill may be when it is found; restarts of the service fall in here
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
    cluster = cluster_of(runtime.settings.config, name)
    breaker = runtime.breakers[f"kubernetes {name or ''}"]
    if breaker.pause_s():
        return []
    with runtime.store.read() as connection:
        now = runtime.store.now(connection)
    window = Window(now - BACK, now + timedelta(minutes=1))
    found: Found = runtime.calculate(watched, (cluster, name, window), lambda _text: None)
    if found.trouble:
        log.warning("watch: the cluster cannot be read: %s", found.trouble)
        breaker.failed()
    else:
        breaker.worked()
    return found.deaths
