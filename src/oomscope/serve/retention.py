"""Forget what is too old or too much: whole kills with their evidence, oldest first."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from oomscope.serve import queue
from oomscope.serve.queue import Task
from oomscope.serve.runtime import Runtime
from oomscope.serve.schema import alerts, kills, messages, reports, stages, tasks, threads

log = logging.getLogger(__name__)
EVERY = timedelta(hours=1)
AT_ONCE = 200
_OF_KILL = (stages, reports, messages)


def tidy(runtime: Runtime, task: Task) -> None:
    """One round; due again in an hour, or at once when there is more to forget."""
    doomed = _too_old(runtime) or _too_much(runtime)
    if doomed:
        _forget_evidence(runtime, doomed)
        log.info("forgetting %d kills", len(doomed))
    with runtime.store.write() as connection:
        now = runtime.store.now(connection)
        queue.finish(connection, task, again_at=now if doomed else now + EVERY)
        _forget(connection, doomed, now - timedelta(days=runtime.settings.serve.keep_days))


def _too_old(runtime: Runtime) -> list[str]:
    with runtime.store.read() as connection:
        limit = runtime.store.now(connection) - timedelta(days=runtime.settings.serve.keep_days)
        old = (
            sa.select(kills.c.id)
            .where(kills.c.created_at < limit)
            .order_by(kills.c.created_at)
            .limit(AT_ONCE)
        )
        return list(connection.execute(old).scalars())


def _too_much(runtime: Runtime) -> list[str]:
    """Finished kills, oldest first, until the rest fits."""
    with runtime.store.read() as connection:
        total = connection.execute(sa.select(sa.func.sum(stages.c.bundle_bytes))).scalar_one() or 0
        over = int(total) - runtime.settings.serve.keep_bytes
        if over <= 0:
            return []
        sizes = connection.execute(
            sa.select(kills.c.id, sa.func.sum(stages.c.bundle_bytes))
            .join(stages, stages.c.kill_id == kills.c.id)
            .where(kills.c.state != "open")
            .group_by(kills.c.id, kills.c.created_at)
            .order_by(kills.c.created_at)
            .limit(AT_ONCE)
        )
        return list(_until_enough(((name, int(size)) for name, size in sizes), over))


def _until_enough(sizes: Iterator[tuple[str, int]], over: int) -> Iterator[str]:
    for name, size in sizes:
        if over <= 0:
            return
        over -= size
        yield name


def _forget_evidence(runtime: Runtime, doomed: Sequence[str]) -> None:
    """Archives first: a row without its archive is found again next time, an archive without its row is not."""
    with runtime.store.read() as connection:
        names = connection.execute(
            sa.select(stages.c.bundle).where(stages.c.kill_id.in_(doomed), stages.c.bundle.is_not(None))
        ).scalars()
        for name in list(names):
            runtime.bundles.delete(name)


def _forget(connection: Connection, doomed: Sequence[str], limit: datetime) -> None:
    for table in _OF_KILL:
        connection.execute(sa.delete(table).where(table.c.kill_id.in_(doomed)))
    keys = [f"{kind}:{one}" for one in doomed for kind in ("capture", "analyse")]
    connection.execute(sa.delete(tasks).where(tasks.c.key.in_(keys)))
    connection.execute(sa.delete(kills).where(kills.c.id.in_(doomed)))
    connection.execute(sa.delete(alerts).where(alerts.c.received_at < limit, alerts.c.kill_id.is_not(None)))
    used = sa.select(kills.c.thread_id).where(kills.c.thread_id == threads.c.id)
    empty = sa.and_(threads.c.opened_at < limit, ~sa.exists(used))
    connection.execute(
        sa.delete(messages).where(messages.c.thread_id.in_(sa.select(threads.c.id).where(empty)))
    )
    connection.execute(sa.delete(threads).where(empty))
