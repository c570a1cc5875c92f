"""Accepted alerts on their way to disk: many requests share one transaction, and all wait until it is committed."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from oomscope.serve import queue
from oomscope.serve.intake import Understood
from oomscope.serve.schema import alerts
from oomscope.serve.store import Store, reason

BATCH = 500  # requests in one transaction
LINGER_S = 0.01  # waited for more; fewer transactions leave the database to those who look into the alerts
WAITING = 5_000  # requests that may wait; more are told to come again
IDENTIFY_PRIORITY = 0
REFUSED_S = 60.0


class NotStored(Exception):
    """The alerts are not on disk; ``str`` says why. The sender has to send them again."""


@dataclass
class _Waiting:
    understood: Understood
    loop: asyncio.AbstractEventLoop
    stored: asyncio.Future[None] = field(repr=False)

    def tell(self, error: NotStored | None) -> None:
        """Let the request go on, in its own loop. A loop that is gone has nobody waiting."""
        with _gone_is_fine():
            self.loop.call_soon_threadsafe(self._settle, error)

    def _settle(self, error: NotStored | None) -> None:
        if self.stored.done():
            return
        if error is None:
            self.stored.set_result(None)
        else:
            self.stored.set_exception(error)


def _gone_is_fine() -> Any:
    import contextlib

    return contextlib.suppress(RuntimeError)


class Inbox:
    """Group commit. ``start`` before use, ``stop`` writes what is still waiting."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
        self._refused: tuple[str, float] | None = None

    def start(self) -> None:
        """Begin writing."""
        self._thread.start()

    def problem(self) -> str | None:
        """Why the newest alerts could not be stored, for a minute: then it is worth another try."""
        refused = self._refused
        return refused[0] if refused and time.monotonic() - refused[1] < REFUSED_S else None

    def stop(self) -> None:
        """Write what waits, then end."""
        self._queue.put(None)
        self._thread.join(timeout=30)

    async def put(self, understood: Understood) -> None:
        """Return when the alerts are durable. Raises ``NotStored``."""
        if not understood.rows:
            return
        if self._queue.qsize() >= WAITING:
            raise NotStored("too many alerts are waiting to be stored")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(understood, loop, loop.create_future())
        self._queue.put(waiting)
        await waiting.stored

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            time.sleep(LINGER_S)
            batch, more = self._batch(first)
            error = self._write(batch)
            for waiting in batch:
                waiting.tell(error)
            if not more:
                return

    def _batch(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """What has gathered while the last transaction was written; False when told to stop."""
        batch = [first]
        while len(batch) < BATCH:
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                break
            if waiting is None:
                return batch, False
            batch.append(waiting)
        return batch, True

    def _write(self, batch: list[_Waiting]) -> NotStored | None:
        try:
            with self._store.write() as connection:
                store_alerts(self._store, connection, [waiting.understood for waiting in batch])
        except SQLAlchemyError as error:
            self._refused = (reason(error), time.monotonic())
            return NotStored(reason(error))
        self._refused = None
        return None


def store_alerts(store: Store, connection: Connection, batch: list[Understood]) -> None:
    """Write the alerts that are new, and ask that their kills be found."""
    rows = {row["dedup"]: row for understood in batch for row in understood.rows}
    store.insert_new(connection, alerts, [rows[key] for key in sorted(rows)])
    now = datetime.now(UTC)
    places = sorted({place for understood in batch for place in understood.places})
    queue.enqueue(
        store,
        connection,
        [queue.Request(f"identify:{p}", "identify", p, now, IDENTIFY_PRIORITY) for p in places],
    )
