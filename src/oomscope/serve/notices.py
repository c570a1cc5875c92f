"""The outbox: what every destination shall show is a row, written with the report; sending catches up with it.

A message is created once: before the first attempt the row says so, and when the outcome of an attempt is not known
the destination is searched for the message before another is sent.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from oomscope.serve import queue
from oomscope.serve.destinations import Destination, Notice, configured
from oomscope.serve.http import CallFailed, NotSent, Refused, Settling
from oomscope.serve.queue import Request, Task
from oomscope.serve.runtime import Runtime
from oomscope.serve.schema import kills, messages, threads
from oomscope.serve.store import Store

log = logging.getLogger(__name__)
REPLIES = 20  # kills of a thread that get a message of their own; more are only counted in its head
NOTIFY_PRIORITY = 3
SETTLE = 3  # timeouts to wait before a message that is not found counts as not created
SEARCH_BACK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Wanted:
    destination: str
    key: str
    kill_id: str | None


def want(runtime: Runtime, connection: Connection, kill: Row[Any], *, final: bool) -> None:
    """Have all destinations show the newest stage of this kill."""
    now = runtime.store.now(connection)
    thread = kill.thread_id
    wanted = [
        one for name in configured(runtime.settings) for one in _messages(name, connection, kill, final)
    ]
    insert = runtime.store.insert(messages)
    for one in wanted:
        connection.execute(
            insert.values(
                destination=one.destination,
                thread_id=thread,
                kill_id=one.kill_id,
                key=one.key,
                wanted=1,
                wanted_since=now,
            ).on_conflict_do_update(
                index_elements=["key"],
                set_={
                    "wanted": messages.c.wanted + 1,
                    "wanted_since": sa.func.coalesce(messages.c.wanted_since, now),
                },
            )
        )
    requests = [
        Request(f"notify:{name}:{thread}", f"notify_{name}", str(thread), now, NOTIFY_PRIORITY)
        for name in sorted({one.destination for one in wanted})
    ]
    queue.enqueue(runtime.store, connection, requests)


def _messages(name: str, connection: Connection, kill: Row[Any], final: bool) -> list[_Wanted]:
    own = _Wanted(name, f"{name}:kill:{kill.id}", kill.id)
    if name in ("grafana", "webhook"):
        return [own]
    reply = [own] if final and _place_in_thread(connection, kill) < REPLIES else []
    if name == "slack_webhook":
        return reply
    return [_Wanted(name, f"{name}:thread:{kill.thread_id}", None), *reply]


def _place_in_thread(connection: Connection, kill: Row[Any]) -> int:
    before = sa.select(sa.func.count()).where(
        kills.c.thread_id == kill.thread_id, kills.c.created_at < kill.created_at
    )
    return int(connection.execute(before).scalar_one())


# ---------------------------------------------------------------------------------------------------------- sending


def deliver(runtime: Runtime, task: Task, name: str, destination: Destination) -> None:
    """Send everything of one thread that is behind. The destination's troubles put it off for later."""
    breaker = runtime.breakers[name]
    thread_id = int(task.ref)
    try:
        refused = _send_all(runtime, task, name, destination)
    except CallFailed as error:
        log.warning("%s: %s", name, error)
        if not isinstance(error, Settling):
            breaker.failed(error.retry_after_s)
        return _put_off(runtime, task, name, thread_id, error)
    breaker.worked()
    if refused:
        return _put_off(runtime, task, name, thread_id, refused)
    with runtime.store.write() as connection:
        queue.finish(connection, task)
    return None


def _send_all(runtime: Runtime, task: Task, name: str, destination: Destination) -> Refused | None:
    """The last refusal that was about a message and not about the destination: the others are sent all the same."""
    refused = None
    for message_id, is_head in _behind(runtime.store, name, int(task.ref)):
        try:
            _send(runtime, task, message_id, destination)
        except Refused as error:
            if not error.of_message:
                raise
            log.warning("%s refuses a message: %s", name, error)
            refused = error
            if is_head and name == "slack":  # the others belong below it
                break
    return refused


def _behind(store: Store, name: str, thread_id: int) -> list[tuple[int, bool]]:
    """Messages to be sent and whether they head the thread; that one first: the others need its id."""
    behind = (
        sa.select(messages.c.id, messages.c.kill_id)
        .where(
            messages.c.destination == name,
            messages.c.thread_id == thread_id,
            messages.c.wanted > messages.c.sent,
        )
        .order_by(messages.c.kill_id.is_not(None), messages.c.id)
    )
    with store.read() as connection:
        return [(row.id, row.kill_id is None) for row in connection.execute(behind)]


def _send(runtime: Runtime, task: Task, message_id: int, destination: Destination) -> None:
    from oomscope.serve.wording import compose

    with runtime.store.read() as connection:
        message = connection.execute(sa.select(messages).where(messages.c.id == message_id)).one()
        body = compose(runtime.settings, connection, message)
        mark, head = _mark(connection, message), _head(connection, message)
    if body is None:  # the kill was forgotten meanwhile
        return _sent(runtime, task, message, message.ref)
    notice = Notice(mark, body, message.wanted, head)
    if message.ref:
        return _sent(runtime, task, message, destination.change(message.ref, notice))
    if message.trying_since and destination.searchable:
        if found := destination.find(notice, message.trying_since - SEARCH_BACK):
            return _sent(runtime, task, message, destination.change(found, notice))
        _let_settle(runtime, message.trying_since)
    _trying(runtime, task, message)
    try:
        ref = destination.create(notice)
    except (NotSent, Refused):
        _not_created(runtime, task, message)
        raise
    return _sent(runtime, task, message, ref)


def _let_settle(runtime: Runtime, tried_at: datetime) -> None:
    """A request we gave up waiting for may still be carried out: only later does not finding it mean anything."""
    settled = tried_at + timedelta(seconds=SETTLE * runtime.settings.serve.http_timeout_s)
    with runtime.store.read() as connection:
        left = (settled - runtime.store.now(connection)).total_seconds()
    if left > 0:
        raise Settling("waiting whether the attempt before came through", left)


def _mark(connection: Connection, message: Row[Any]) -> str:
    """Known to this message alone, also among those of an earlier database."""
    opened: datetime = connection.execute(
        sa.select(threads.c.opened_at).where(threads.c.id == message.thread_id)
    ).scalar_one()
    return hashlib.sha256(f"{message.key} {opened.isoformat()}".encode()).hexdigest()[:24]


def _head(connection: Connection, message: Row[Any]) -> str | None:
    if message.kill_id is None or message.destination != "slack":
        return None
    head = sa.select(messages.c.ref).where(messages.c.key == f"slack:thread:{message.thread_id}")
    return connection.execute(head).scalar_one_or_none()


def _trying(runtime: Runtime, task: Task, message: Row[Any]) -> None:
    with runtime.store.write() as connection:
        queue.hold(connection, task)
        since = sa.func.coalesce(messages.c.trying_since, runtime.store.now(connection))
        connection.execute(sa.update(messages).where(messages.c.id == message.id).values(trying_since=since))


def _not_created(runtime: Runtime, task: Task, message: Row[Any]) -> None:
    with runtime.store.write() as connection:
        queue.hold(connection, task)
        connection.execute(sa.update(messages).where(messages.c.id == message.id).values(trying_since=None))


def _sent(runtime: Runtime, task: Task, message: Row[Any], ref: str | None) -> None:
    """Note what is shown now. ``wanted`` may have grown meanwhile; then it is still behind."""
    with runtime.store.write() as connection:
        queue.hold(connection, task)
        caught_up = messages.c.wanted == message.wanted
        connection.execute(
            sa.update(messages)
            .where(messages.c.id == message.id)
            .values(
                ref=ref,
                sent=message.wanted,
                sent_at=runtime.store.now(connection),
                problem=None,
                trying_since=None,
                wanted_since=sa.case((caught_up, None), else_=messages.c.wanted_since),
            )
        )


def _put_off(runtime: Runtime, task: Task, name: str, thread_id: int, error: CallFailed) -> None:
    """Try later; what could not be sent for a day is given up, visibly."""
    serve = runtime.settings.serve
    pause = max(queue.backoff(serve.retry_s, task.errors), error.retry_after_s or 0.0)
    mine = sa.and_(
        messages.c.destination == name,
        messages.c.thread_id == thread_id,
        messages.c.wanted > messages.c.sent,
    )
    with runtime.store.write() as connection:
        queue.hold(connection, task)
        connection.execute(sa.update(messages).where(mine).values(problem=str(error)[:500]))
        too_long = runtime.store.now(connection) - timedelta(seconds=serve.notify_for_s)
        connection.execute(
            sa.update(messages).where(mine, messages.c.wanted_since < too_long).values(sent=messages.c.wanted)
        )
    queue.put_back(runtime.store, task, after_s=pause, problem=str(error))
