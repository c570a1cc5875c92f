"""Which kill does an alert tell of? Kills are known by (pod UID, container, time of the end), so each exists once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from oomscope.facts import Target
from oomscope.serve import intake, queue
from oomscope.serve.calculation import Found, look
from oomscope.serve.deaths import Death, meant
from oomscope.serve.intake import AlertDetails
from oomscope.serve.queue import Request, Task
from oomscope.serve.runtime import Runtime, cluster_of
from oomscope.serve.schema import alerts, kills, threads
from oomscope.serve.store import Store

log = logging.getLogger(__name__)
LOOKS = 4  # times the cluster is looked at before the alert's own time has to do
SAME = timedelta(minutes=2)  # two tellings of one death, when one of them is not exact
MOST_KILLS = 50  # of one alert that names no pod
STORM = 3  # kills of one node before the next ones join their thread
CAPTURE_PRIORITY = 1


@dataclass(frozen=True, slots=True)
class _Waiting:
    id: int
    received_at: datetime
    looked: int
    details: AlertDetails


def identify(runtime: Runtime, task: Task) -> None:
    """Find the kills of all alerts of one place that have none yet."""
    with runtime.store.read() as connection:
        waiting = _waiting(connection, task.ref)
    deaths = _look(runtime, waiting[0].details.target) if waiting else []
    found = [(alert, meant(alert.details.target, alert.details.search, deaths)) for alert in waiting]
    with runtime.store.write() as connection:
        runtime.store.one_identifier(connection)
        joined, again = _settle(runtime, connection, found)
        for kill_id, ids in joined.items():
            connection.execute(sa.update(alerts).where(alerts.c.id.in_(ids)).values(kill_id=kill_id))
        if again:
            looked = sa.update(alerts).where(alerts.c.id.in_(again))
            connection.execute(looked.values(looked=alerts.c.looked + 1))
        pause = runtime.settings.serve.retry_s * 2 ** max((alert.looked for alert in waiting), default=0)
        later = runtime.store.now(connection) + timedelta(seconds=pause)
        queue.finish(connection, task, again_at=later if again else None)


def _waiting(connection: Connection, place: str) -> list[_Waiting]:
    rows = connection.execute(
        sa.select(alerts.c.id, alerts.c.received_at, alerts.c.looked, alerts.c.details)
        .where(alerts.c.place == place, alerts.c.kill_id.is_(None))
        .order_by(alerts.c.id)
        .limit(1000)
    )
    return [_Waiting(row.id, row.received_at, row.looked, intake.load(row.details)) for row in rows]


def _look(runtime: Runtime, target: Target) -> list[Death]:
    """What the cluster knows; nothing when it cannot be asked (then the alert's time has to do)."""
    breaker = runtime.breakers[f"kubernetes {target.cluster or ''}"]
    if breaker.pause_s():
        return []
    cluster = cluster_of(runtime.settings.config, target.cluster)
    found: Found = runtime.calculate(look, (cluster, target.cluster, target), lambda _text: None)
    if found.trouble:
        log.warning("cannot look for the kill: %s", found.trouble)
        if found.away:
            breaker.failed()
    else:
        breaker.worked()
    return found.deaths


def _settle(
    runtime: Runtime, connection: Connection, found: Sequence[tuple[_Waiting, Sequence[Death]]]
) -> tuple[dict[str, list[int]], list[int]]:
    """Alerts by the kill they belong to, and those to look for again. Quick: everybody else waits meanwhile."""
    recorded: dict[str, str] = {}
    joined: dict[str, list[int]] = {}
    again: list[int] = []
    for alert, deaths in found:
        kill_id = None if deaths else near(connection, _told(alert), alert.details)
        if kill_id is None and not deaths and alert.looked + 1 < LOOKS:
            again.append(alert.id)
            continue
        for death in () if kill_id else deaths[-MOST_KILLS:] or (_told(alert),):
            if death.id not in recorded:
                recorded[death.id] = record(runtime, connection, death, "alert", _links(alert.details))
            kill_id = recorded[death.id]
        joined.setdefault(str(kill_id), []).append(alert.id)
    return joined, again


def _told(alert: _Waiting) -> Death:
    """A death at the time the alert gives."""
    target = alert.details.target
    return Death(
        target.at or alert.received_at,
        target.cluster,
        target.namespace,
        target.workload,
        target.pod,
        target.container,
        target.pod_uid,
        about=True,
        search=alert.details.search,
    )


def _links(details: AlertDetails) -> str | None:
    import json

    if not details.dashboard_uid:
        return None
    return json.dumps(
        {"dashboard": details.dashboard_uid, "panel": details.panel_id, "org": details.org_id}, sort_keys=True
    )


def near(connection: Connection, death: Death, details: AlertDetails | None = None) -> str | None:
    """A kill already known that this one, whose time is not exact, must be."""
    if not death.pod:
        return None
    search = details.search if details else None
    start = search.start if search else death.killed_at - SAME
    end = search.end if search else death.killed_at + SAME
    conditions = [kills.c.pod == death.pod, kills.c.killed_at.between(start, end)]
    if death.namespace:
        conditions.append(kills.c.namespace == death.namespace)
    if death.container:
        conditions.append(sa.or_(kills.c.container == death.container, kills.c.container.is_(None)))
    found = sa.select(kills.c.id).where(*conditions).order_by(kills.c.about, kills.c.killed_at.desc())
    return connection.execute(found.limit(1)).scalar_one_or_none()


def record(
    runtime: Runtime, connection: Connection, death: Death, found_by: str, links: str | None = None
) -> str:
    """The id of the kill; when it is new, its thread is found and its evidence asked for at once.

    Must run under ``Store.one_identifier``.
    """
    if connection.execute(sa.select(kills.c.id).where(kills.c.id == death.id)).scalar_one_or_none():
        return death.id
    told_before = _told_before(connection, death)
    if told_before:
        return told_before
    now = runtime.store.now(connection)
    thread = _thread(runtime, connection, death)
    connection.execute(sa.insert(kills).values(_row(death, found_by, now, thread, links)))
    capture = Request(f"capture:{death.id}", "capture", death.id, now, CAPTURE_PRIORITY)
    queue.enqueue(runtime.store, connection, [capture])
    return death.id


def _told_before(connection: Connection, death: Death) -> str | None:
    """A kill recorded with an alert's or a metric's time is this one, now known exactly."""
    if death.about:
        return near(connection, death)
    found = connection.execute(
        sa.select(kills.c.id)
        .where(
            kills.c.about == 1,
            kills.c.pod == death.pod,
            kills.c.namespace == death.namespace,
            sa.or_(kills.c.container == death.container, kills.c.container.is_(None)),
            sa.or_(
                kills.c.killed_at.between(death.killed_at - SAME, death.killed_at + SAME),
                sa.and_(kills.c.search_start <= death.killed_at, kills.c.search_end >= death.killed_at),
            ),
        )
        .limit(1)
    )
    return found.scalar_one_or_none()


def _row(death: Death, found_by: str, now: datetime, thread: int, links: str | None) -> dict[str, Any]:
    return {
        "id": death.id,
        "key": death.key,
        "cluster": death.cluster,
        "namespace": death.namespace,
        "workload": death.workload,
        "pod": death.pod,
        "container": death.container,
        "pod_uid": death.pod_uid,
        "node": death.node,
        "killed_at": death.killed_at,
        "about": int(death.about),
        "search_start": death.search.start if death.search else None,
        "search_end": death.search.end if death.search else None,
        "found_by": found_by,
        "created_at": now,
        "thread_id": thread,
        "links": links,
    }


def _thread(runtime: Runtime, connection: Connection, death: Death) -> int:
    """The open thread of this workload, or of a node where a storm is going on, or a new one."""
    serve = runtime.settings.serve
    found = _storm_thread(connection, death, serve.storm_window_s)
    place = "/".join((death.cluster or "-", death.namespace or "-", death.workload or death.pod or "-"))
    if found is None:
        since = death.killed_at - timedelta(seconds=serve.thread_window_s)
        found = connection.execute(
            sa.select(threads.c.id)
            .where(threads.c.place == place, threads.c.last_kill_at >= since)
            .order_by(threads.c.id.desc())
            .limit(1)
        ).scalar_one_or_none()
    if found is None:
        return _new_thread(runtime.store, connection, place, death)
    newest = sa.case(
        (threads.c.last_kill_at < death.killed_at, death.killed_at), else_=threads.c.last_kill_at
    )
    connection.execute(
        sa.update(threads).where(threads.c.id == found).values(kills=threads.c.kills + 1, last_kill_at=newest)
    )
    return int(found)


def _storm_thread(connection: Connection, death: Death, window_s: float) -> int | None:
    if not death.node:
        return None
    near_by = timedelta(seconds=window_s)
    rows = connection.execute(
        sa.select(kills.c.thread_id)
        .where(
            kills.c.node == death.node,
            kills.c.killed_at.between(death.killed_at - near_by, death.killed_at + near_by),
        )
        .order_by(kills.c.created_at, kills.c.id)
        .limit(STORM)
    ).all()
    return rows[0].thread_id if len(rows) >= STORM else None


def _new_thread(store: Store, connection: Connection, place: str, death: Death) -> int:
    label = "/".join(part for part in (death.namespace, death.workload or death.pod) if part)
    row = connection.execute(
        sa.insert(threads)
        .values(
            place=place,
            label=label or "unknown",
            opened_at=store.now(connection),
            last_kill_at=death.killed_at,
            kills=1,
        )
        .returning(threads.c.id)
    )
    return int(row.scalar_one())
