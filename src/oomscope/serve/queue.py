"""Work to do, as rows with leases: nothing is done twice at once, and a dead replica's work is taken over.

The same statements run on both databases; PostgreSQL skips rows another replica is just taking, SQLite has one writer.
A job that outlives its lease has lost its token, and ``finish`` tells it so before it could write anything.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from oomscope.serve.schema import tasks
from oomscope.serve.store import Store


class LeaseLost(Exception):
    """Somebody else has this task now; what was done for it must not be written."""


@dataclass(frozen=True, slots=True)
class Task:
    """A leased task. Since it last succeeded it was begun ``leases`` times and failed ``errors`` times."""

    id: int
    key: str
    kind: str
    ref: str
    wanted: int
    token: str
    leases: int
    errors: int


@dataclass(frozen=True, slots=True)
class Request:
    """A task to be done at ``due_at``; lower ``priority`` first."""

    key: str
    kind: str
    ref: str
    due_at: datetime
    priority: int = 5


def enqueue(store: Store, connection: Connection, requests: Sequence[Request]) -> None:
    """Ask for tasks. One that is there already is done again after this moment, and no later than asked."""
    # In one order everywhere, so that two transactions never wait for each other's rows.
    unique = {request.key: request for request in sorted(requests, key=lambda r: r.due_at, reverse=True)}
    rows = [
        {"key": r.key, "kind": r.kind, "ref": r.ref, "due_at": r.due_at, "priority": r.priority}
        for _, r in sorted(unique.items())
    ]
    if not rows:
        return
    insert = store.insert(tasks)
    earliest = sa.case(
        (insert.excluded.due_at < tasks.c.due_at, insert.excluded.due_at), else_=tasks.c.due_at
    )
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["key"], set_={"wanted": tasks.c.wanted + 1, "due_at": earliest}
        ),
        rows,
    )


def lease(store: Store, kinds: Sequence[str], owner: str, seconds: float) -> Task | None:
    """Take the most urgent task that is due and not in anybody's hands.

    Among equals the one begun least often: a task that ends its process every time holds up no other.
    """
    if not due_kinds(store) & set(kinds):  # the usual answer, without a lock
        return None
    with store.write() as connection:
        now = store.now(connection)
        free = sa.or_(tasks.c.lease_until.is_(None), tasks.c.lease_until < now)
        first = (
            sa.select(tasks.c.id)
            .where(tasks.c.kind.in_(kinds), tasks.c.due_at <= now, free)
            .order_by(tasks.c.priority, tasks.c.leases, tasks.c.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        row = connection.execute(
            sa.update(tasks)
            .where(tasks.c.id == first)
            .values(
                token=secrets.token_hex(16),
                owner=owner,
                lease_until=now + timedelta(seconds=seconds),
                leases=tasks.c.leases + 1,
            )
            .returning(*(tasks.c[name] for name in Task.__slots__))
        ).one_or_none()
    return Task(*row) if row else None


def due_kinds(store: Store) -> set[str]:
    """Kinds of tasks that wait for somebody to take them."""
    with store.read() as connection:
        now = store.now(connection)
        free = sa.or_(tasks.c.lease_until.is_(None), tasks.c.lease_until < now)
        due = sa.select(tasks.c.kind).where(tasks.c.due_at <= now, free).distinct()
        return set(connection.execute(due).scalars())


def extend(store: Store, held: Sequence[Task], seconds: float) -> None:
    """Hold the leases longer; those that are lost stay lost."""
    with store.write() as connection:
        until = store.now(connection) + timedelta(seconds=seconds)
        mine = tasks.c.token.in_([task.token for task in held])
        connection.execute(sa.update(tasks).where(mine).values(lease_until=until))


def free_all(store: Store) -> None:
    """Take back every lease: for a database that only this process uses, when it starts."""
    with store.write() as connection:
        connection.execute(sa.update(tasks).values(token=None, owner=None, lease_until=None))


def hold(connection: Connection, task: Task) -> None:
    """Make sure, within this transaction, that the lease is still ours. Raises ``LeaseLost``."""
    mine = sa.update(tasks).where(tasks.c.id == task.id, tasks.c.token == task.token).values(id=tasks.c.id)
    if connection.execute(mine).rowcount != 1:
        raise LeaseLost(task.key)


def finish(connection: Connection, task: Task, *, again_at: datetime | None = None) -> None:
    """Done: forget the task, or have it due again. Asked for anew in the meantime, it is due at once.

    Raises ``LeaseLost``, which undoes the transaction it is called in.
    """
    hold(connection, task)
    asked_anew = tasks.c.wanted != task.wanted
    if again_at is None:
        connection.execute(sa.delete(tasks).where(tasks.c.id == task.id, sa.not_(asked_anew)))
    values: dict[str, Any] = {
        "token": None, "owner": None, "lease_until": None, "leases": 0, "errors": 0, "problem": None,
    }  # fmt: skip
    if again_at is not None:
        values["due_at"] = sa.case((asked_anew, tasks.c.due_at), else_=again_at)
    connection.execute(sa.update(tasks).where(tasks.c.id == task.id).values(**values))


def put_back(
    store: Store, task: Task, *, after_s: float, problem: str | None = None, failed: bool = True
) -> None:
    """Try again later. ``failed`` counts it as an error of this task, not of the destination's or the database's."""
    with store.write() as connection:
        hold(connection, task)
        due = store.now(connection) + timedelta(seconds=after_s)
        values: dict[str, Any] = {"token": None, "owner": None, "lease_until": None, "due_at": due}
        if failed:
            values |= {"errors": tasks.c.errors + 1, "problem": (problem or "")[:2000]}
        connection.execute(sa.update(tasks).where(tasks.c.id == task.id).values(**values))


def backoff(first_s: float, errors: int, most_s: float = 600.0) -> float:
    """The pause after that many failures: doubling, with a quarter of chance so that failures do not march in step."""
    pause: float = min(first_s * 2 ** min(errors, 16), most_s)
    return pause * (0.75 + secrets.randbelow(500) / 1000)
