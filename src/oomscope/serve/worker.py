"""The worker process: takes tasks, runs jobs, holds their leases while they run.

Each kind of work has its own threads, so that a slow destination or cluster delays nothing but itself. A job that
hangs beyond all its own timeouts ends the process; the supervisor starts another, and the lease runs out.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from oomscope.errors import EXIT_BUG
from oomscope.serve import notices, queue
from oomscope.serve.calculator import Died, Failed
from oomscope.serve.destinations import Destination, configured, open_destination
from oomscope.serve.http import Caller
from oomscope.serve.identify import identify
from oomscope.serve.queue import LeaseLost, Task
from oomscope.serve.retention import tidy
from oomscope.serve.runtime import Runtime
from oomscope.serve.stages import analyse, capture, give_up
from oomscope.serve.store import reason
from oomscope.serve.watch import watch

log = logging.getLogger(__name__)
Job = Callable[[Runtime, Task], None]
SCOUT_S = 0.25  # how often is looked for work
MOST_LEASES = 25  # a job that ends its process that often is given up
HANGS_S = 300.0  # beyond the deadline of gathering
DISK_PAUSE_S = 15.0
DIED_PAUSE_S = 120.0


@dataclass(frozen=True)
class Lane:
    """Threads for some kinds of work. ``breaker`` names the destination they depend on."""

    name: str
    jobs: dict[str, Job]
    threads: int = 1
    breaker: str | None = None


def lanes(runtime: Runtime, caller: Caller) -> list[Lane]:
    """All work there is with this configuration."""
    found = [
        Lane("identify", {"identify": identify}, 2),
        Lane("capture", {"capture": capture}, 4),
        Lane("analyse", {"analyse": analyse}, runtime.settings.serve.workers),
        Lane("watch", {"watch": watch}),
        Lane("tidy", {"tidy": tidy}),
    ]
    for name in configured(runtime.settings):
        destination = open_destination(name, runtime.settings, caller)
        job: Job = partial(_deliver, name, destination)
        found.append(Lane(name, {f"notify_{name}": job}, 1, name))
    return found


def _deliver(name: str, destination: Destination, runtime: Runtime, task: Task) -> None:
    notices.deliver(runtime, task, name, destination)


class Worker:
    """Runs until ``stop``. ``start`` returns at once."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._caller = Caller(runtime.settings.serve.http_timeout_s)
        self._lanes = lanes(runtime, self._caller)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._held: dict[str, tuple[Task, float]] = {}  # by token: task and when it was begun
        self._wake = {kind: threading.Event() for lane in self._lanes for kind in lane.jobs}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Ask for the recurring work and start all threads."""
        self._recurring()
        self._thread("scout", self._scout)
        self._thread("leases", self._hold)
        for lane in self._lanes:
            for number in range(lane.threads):
                self._thread(f"{lane.name}-{number}", partial(self._work, lane))

    def stop(self, wait_s: float = 20.0) -> None:
        """Take no more work and wait for what is running; leases of the rest run out."""
        self._stopping.set()
        for event in self._wake.values():
            event.set()
        until = time.monotonic() + wait_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._caller.close()

    def _thread(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _recurring(self) -> None:
        config = self._runtime.settings.config
        now = datetime.now(UTC)
        wanted = [queue.Request("tidy", "tidy", "", now, 9)]
        if config.serve.watch == "on":
            wanted += [queue.Request(f"watch:{n}", "watch", n, now, 0) for n in config.clusters or ("",)]
        while not self._stopping.is_set():
            try:
                with self._runtime.store.write() as connection:
                    queue.enqueue(self._runtime.store, connection, wanted)
            except SQLAlchemyError as error:
                log.error("the database cannot be written: %s", reason(error))
                self._stopping.wait(2.0)
            else:
                return

    def _scout(self) -> None:
        """Wakes the lanes that have something to do."""
        while not self._stopping.wait(SCOUT_S):
            try:
                due = queue.due_kinds(self._runtime.store)
            except SQLAlchemyError as error:
                log.error("the database cannot be read: %s", reason(error))
                self._stopping.wait(2.0)
                continue
            for kind in due & self._wake.keys():
                self._wake[kind].set()

    def _hold(self) -> None:
        """Extends the leases of running jobs; ends the process when one hangs."""
        serve = self._runtime.settings.serve
        limit = self._runtime.settings.config.deadline_s + HANGS_S
        while not self._stopping.wait(serve.lease_s / 3):
            with self._lock:
                held = list(self._held.values())
            for task, began in held:
                if time.monotonic() - began > limit:
                    log.critical("%s hangs: ending this process", task.key)
                    os._exit(EXIT_BUG)
            try:
                if held:
                    queue.extend(self._runtime.store, [task for task, _ in held], serve.lease_s)
            except SQLAlchemyError as error:
                log.error("leases cannot be extended: %s", reason(error))

    def _work(self, lane: Lane) -> None:
        while not self._stopping.is_set():
            pause = self._runtime.breakers[lane.breaker].pause_s() if lane.breaker else 0.0
            if pause:
                self._stopping.wait(min(pause, 1.0))
                continue
            task = self._take(lane)
            if task is None:
                self._sleep(lane)
            else:
                self._run(lane.jobs[task.kind], task)

    def _sleep(self, lane: Lane) -> None:
        kind = next(iter(lane.jobs))
        self._wake[kind].wait(30.0)
        self._wake[kind].clear()

    def _take(self, lane: Lane) -> Task | None:
        try:
            runtime = self._runtime
            return queue.lease(
                runtime.store, tuple(lane.jobs), runtime.replica, runtime.settings.serve.lease_s
            )
        except SQLAlchemyError as error:
            log.error("no work can be taken: %s", reason(error))
            self._stopping.wait(2.0)
            return None

    def _run(self, job: Job, task: Task) -> None:
        with self._lock:
            self._held[task.token] = (task, time.monotonic())
        try:
            if task.leases > MOST_LEASES and task.kind == "analyse":
                give_up(self._runtime, task, "the analysis ended its process every time")
            else:
                job(self._runtime, task)
        except LeaseLost:
            log.warning("%s was taken over by another replica", task.key)
        except Died as error:  # perhaps another job's doing, so it does not count as a failure of this one
            log.error("%s: %s", task.key, error)
            pause = queue.backoff(self._runtime.settings.serve.retry_s, task.leases - 1, DIED_PAUSE_S)
            self._put_back(task, pause, str(error), failed=False)
        except (SQLAlchemyError, OSError) as error:
            # No fault of the job's: database down, disk full or read-only. It waits, as everything does.
            what = reason(error) if isinstance(error, SQLAlchemyError) else str(error)
            log.error("%s: %s", task.key, what)
            self._put_back(task, DISK_PAUSE_S, what, failed=False)
        except Exception as error:
            log.exception("%s failed", task.key)
            self._failed(
                task, str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            )
        finally:
            with self._lock:
                self._held.pop(task.token, None)

    def _failed(self, task: Task, problem: str) -> None:
        serve = self._runtime.settings.serve
        if task.kind == "analyse" and task.errors + 1 >= serve.max_errors:
            try:
                give_up(self._runtime, task, problem)
            except (SQLAlchemyError, LeaseLost, Died, Failed) as error:
                log.error("%s cannot be given up: %s", task.key, error)
            return
        self._put_back(task, queue.backoff(serve.retry_s, task.errors), problem, failed=True)

    def _put_back(self, task: Task, after_s: float, problem: str, *, failed: bool) -> None:
        try:
            queue.put_back(self._runtime.store, task, after_s=after_s, problem=problem, failed=failed)
        except (SQLAlchemyError, LeaseLost) as error:
            log.error("%s stays leased until its lease runs out: %s", task.key, error)
