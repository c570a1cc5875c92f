"""Leases: never two at once, never lost, taken over from the dead. The same tests run on PostgreSQL (tests/real)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from oomscope.errors import UnreadableError, UsageError
from oomscope.serve import queue
from oomscope.serve.breaker import Breaker
from oomscope.serve.limits import Bucket
from oomscope.serve.queue import LeaseLost, Request
from oomscope.serve.schema import metadata, tasks
from oomscope.serve.store import Store, open_store

KIND = ("work",)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path}/queue.db")
    yield store
    store.close()


def ask(store: Store, *keys: str, due: datetime | None = None, priority: int = 5) -> None:
    at = due or datetime.now(UTC)
    with store.write() as connection:
        queue.enqueue(store, connection, [Request(key, "work", key, at, priority) for key in keys])


def test_most_urgent_first_and_each_once(store: Store) -> None:
    ask(store, "later", priority=9)
    ask(store, "first", priority=1)
    ask(store, "not yet", due=datetime.now(UTC) + timedelta(hours=1), priority=0)
    assert queue.due_kinds(store) == {"work"}
    taken = [queue.lease(store, KIND, "me", 30) for _ in range(3)]
    assert [task.key if task else None for task in taken] == ["first", "later", None]
    assert queue.due_kinds(store) == set()


def test_asked_for_anew_while_in_work_is_done_again(store: Store) -> None:
    ask(store, "a")
    task = queue.lease(store, KIND, "me", 30)
    assert task
    ask(store, "a")
    with store.write() as connection:
        queue.finish(connection, task)
    again = queue.lease(store, KIND, "me", 30)
    assert again
    assert again.leases == 1
    with store.write() as connection:
        queue.finish(connection, again)
    assert queue.lease(store, KIND, "me", 30) is None
    with store.read() as connection:
        assert connection.execute(sa.select(tasks)).all() == []


def test_a_dead_replicas_work_is_taken_over_and_it_may_not_write_any_more(store: Store) -> None:
    ask(store, "a")
    dead = queue.lease(store, KIND, "dead", 0.05)
    assert dead
    time.sleep(0.1)
    taken = queue.lease(store, KIND, "alive", 30)
    assert taken
    assert taken.leases == 2
    for late in (lambda c: queue.finish(c, dead), lambda c: queue.hold(c, dead)):
        with pytest.raises(LeaseLost), store.write() as connection:
            late(connection)
    with pytest.raises(LeaseLost):
        queue.put_back(store, dead, after_s=0)
    with store.write() as connection:
        queue.finish(connection, taken)


def test_a_held_lease_is_not_taken(store: Store) -> None:
    ask(store, "a")
    task = queue.lease(store, KIND, "me", 0.2)
    assert task
    for _ in range(4):
        queue.extend(store, [task], 0.2)
        time.sleep(0.1)
        assert queue.lease(store, KIND, "other", 30) is None


def test_failures_are_counted_and_forgotten_after_success(store: Store) -> None:
    ask(store, "a")
    task = queue.lease(store, KIND, "me", 30)
    assert task
    queue.put_back(store, task, after_s=0, problem="no")
    task = queue.lease(store, KIND, "me", 30)
    assert task
    assert (task.leases, task.errors) == (2, 1)
    queue.put_back(store, task, after_s=0, failed=False)
    task = queue.lease(store, KIND, "me", 30)
    assert task
    assert task.errors == 1
    with store.write() as connection:
        queue.finish(connection, task, again_at=datetime.now(UTC))
    task = queue.lease(store, KIND, "me", 30)
    assert task
    assert (task.leases, task.errors) == (1, 0)


def test_a_task_that_ends_its_process_holds_up_no_other(store: Store) -> None:
    ask(store, "deadly", due=datetime.now(UTC) - timedelta(hours=1))
    assert queue.lease(store, KIND, "dead", 0.01)
    ask(store, "other")
    time.sleep(0.05)
    task = queue.lease(store, KIND, "alive", 30)
    assert task
    assert task.key == "other"


def test_many_threads_share_the_work_without_overlap(store: Store) -> None:
    keys = [f"k{number:03d}" for number in range(60)]
    ask(store, *keys)
    done: list[str] = []

    def work(name: str) -> None:
        while task := queue.lease(store, KIND, name, 30):
            done.append(task.key)
            with store.write() as connection:
                queue.finish(connection, task)

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == keys


def test_the_migrations_make_the_tables_of_the_schema(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_opening_again_keeps_what_is_there(store: Store, tmp_path: Path) -> None:
    ask(store, "a")
    again = open_store(f"sqlite:///{tmp_path}/queue.db")
    assert queue.lease(again, KIND, "me", 30)
    again.close()


@pytest.mark.parametrize("url", ["nonsense", "mysql://x", "sqlite:////proc/nothing/x.db"])
def test_a_database_that_cannot_be_opened_is_an_error_to_mend(url: str) -> None:
    with pytest.raises((UsageError, UnreadableError)):
        open_store(url)


@given(errors=st.integers(0, 10_000), first=st.floats(0.01, 600))
def test_pauses_grow_and_stay_bounded(errors: int, first: float) -> None:
    assert 0 < queue.backoff(first, errors) <= 600 * 1.25


def test_a_breaker_opens_after_failures_and_lets_one_through_later() -> None:
    clock = [0.0]
    breaker = Breaker(lambda: clock[0])
    for _ in range(2):
        breaker.failed()
        assert breaker.pause_s() == 0
    breaker.failed()
    assert breaker.pause_s() == 5
    clock[0] = 5
    assert breaker.pause_s() == 0
    breaker.failed()
    assert breaker.pause_s() == 10
    breaker.worked()
    assert breaker.pause_s() == 0
    breaker.failed(retry_after_s=7)
    assert breaker.pause_s() == 7
    breaker.failed(retry_after_s=1e9)
    assert breaker.pause_s() <= 600


def test_a_bucket_gives_its_rate() -> None:
    clock = [0.0]
    bucket = Bucket(10, 20, lambda: clock[0])
    assert sum(bucket.take() == 0 for _ in range(50)) == 20
    clock[0] = 1.0
    assert sum(bucket.take() == 0 for _ in range(50)) == 10
    assert bucket.take() == pytest.approx(0.1)
