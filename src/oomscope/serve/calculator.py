"""The process that gathers, parses and analyses, beside the one that takes tasks and writes to the database.

Calculating holds Python's lock for long; in one process with the transactions it would hold up the database's lock as
well, and with it whoever accepts alerts. Apart, it may also run out of memory or crash in native code: then only the
jobs it had are begun again, in a new process.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from oomscope.errors import UserError
from oomscope.units import format_bytes

log = logging.getLogger(__name__)
Tell = Callable[[str], None]
# What runs there is a function of a module, by name; it gets the arguments and, last, a way to tell of its progress.
Calculate = Callable[[Callable[..., Any], tuple[Any, ...], Tell], Any]
THREADS = 64  # more than all lanes of a worker have
NICE = 10
LOOK_S = 0.5  # how often its memory is looked at
PAGE = os.sysconf("SC_PAGE_SIZE")
UNLIMITED = 1 << 60
SHARE = 0.7  # of the container's memory that it may hold
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Died(Exception):
    """The process ended while it had the work; nobody knows whether by this work or by another's."""


class Failed(Exception):
    """The work raised something that is not a user's to mend; ``str`` names it, its traceback is in the log."""


def allowed(limits: tuple[str, ...] = LIMITS) -> int | None:
    """Bytes the process may hold, by the limit of the container this runs in; None without one."""
    for path in limits:
        with contextlib.suppress(OSError, ValueError):
            limit = int(Path(path).read_text())
            return int(limit * SHARE) if limit < UNLIMITED else None
    return None


def here(work: Callable[..., Any], arguments: tuple[Any, ...], tell: Tell) -> Any:
    """The same without another process."""
    return work(*arguments, tell)


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    connection: Connection
    sending: threading.Lock = field(default_factory=threading.Lock)
    waiting: dict[int, SimpleQueue[tuple[str, Any]]] = field(default_factory=dict)
    gone: bool = False
    why: str = ""

    def held(self) -> int:
        """Bytes of memory it holds now."""
        try:
            return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE
        except (OSError, IndexError):
            return 0


class Calculator:
    """Starts the process when it is needed, and another when it ended. Safe to use from several threads."""

    def __init__(self, most_bytes: int | None = None) -> None:
        self._most = most_bytes
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._child: _Child | None = None

    def start(self) -> None:
        """Have the process ready."""
        with self._lock:
            self._running()

    def __call__(self, work: Callable[..., Any], arguments: tuple[Any, ...], tell: Tell) -> Any:
        """The result of the work. Raises ``Died``, ``Failed``, or what can be mended: ``UserError``, ``OSError``."""
        number, answers = next(self._numbers), SimpleQueue[tuple[str, Any]]()
        with self._lock:
            child = self._running()
            child.waiting[number] = answers
        try:
            with child.sending:
                child.connection.send((number, work, arguments))
        except OSError:
            self._bury(child)
        while True:
            kind, value = answers.get()
            if kind == "told":
                tell(value)
            elif kind == "error":
                raise value
            else:
                return value

    def stop(self) -> None:
        """End the process, whatever it has."""
        with self._lock:
            child, self._child = self._child, None
            if child:
                child.gone = True
        if child:
            child.process.kill()
            child.process.wait()

    def _running(self) -> _Child:
        if self._child is None or self._child.gone:
            self._child = child = _Child(*_spawn())
            threading.Thread(target=self._listen, args=(child,), name="calculator", daemon=True).start()
        return self._child

    def _listen(self, child: _Child) -> None:
        try:
            while True:
                if not child.connection.poll(LOOK_S):
                    self._bound(child)
                    continue
                number, kind, value = child.connection.recv()
                with self._lock:
                    answers = child.waiting.get(number) if kind == "told" else child.waiting.pop(number, None)
                if answers:
                    answers.put((kind, value))
        except (OSError, EOFError):
            if not child.gone:
                log.warning("the calculating process is gone")
        finally:  # also when an answer cannot be read: nobody may wait forever
            self._bury(child)

    def _bound(self, child: _Child) -> None:
        """End it before the kernel ends the whole container for it."""
        if self._most and (held := child.held()) > self._most:
            child.why = f": it held {format_bytes(held)}, more than {format_bytes(self._most)}"
            child.process.kill()

    def _bury(self, child: _Child) -> None:
        with self._lock:
            lost, child.waiting, child.gone = child.waiting, {}, True
        child.process.kill()
        code = child.process.wait()
        for answers in lost.values():
            answers.put(("error", Died(f"the calculating process ended with {code}{child.why}")))


def _spawn() -> tuple[subprocess.Popen[bytes], Connection]:
    ours, theirs = socket.socketpair()
    with theirs:
        # Not as a script: what it sends must be of the same classes as here.
        command = [sys.executable, "-c", f"from {__name__} import main; main()", str(theirs.fileno())]
        process = subprocess.Popen(  # noqa: S603 - our own module, no argument from outside
            command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),)
        )
    return process, Connection(ours.detach())


# ------------------------------------------------------------------------------------------------------ the process


def main() -> None:
    """Entry of the process. It ends at once when its parent does."""
    from oomscope.serve.process import set_up_logging

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    set_up_logging()
    os.nice(NICE)
    connection, sending = Connection(int(sys.argv[1])), threading.Lock()
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="calculate")
    while True:
        try:
            number, work, arguments = connection.recv()
        except (OSError, EOFError):
            os._exit(0)
        send = partial(_send, connection, sending, number)
        job = partial(work, *arguments, partial(send, "told"))
        pool.submit(job).add_done_callback(partial(_answer, send))


def _send(connection: Connection, sending: threading.Lock, number: int, kind: str, value: Any) -> None:
    try:
        with sending:
            connection.send((number, kind, value))
    except OSError:
        os._exit(0)


def _answer(send: Callable[[str, Any], None], future: Future[Any]) -> None:
    error = future.exception()
    if error is None:
        return send("done", future.result())
    return send("error", _portable(error))


def _portable(error: BaseException) -> Exception:
    """As something that surely arrives: many classes of errors cannot be made again on the other side."""
    if isinstance(error, UserError):
        return error.with_traceback(None)
    if isinstance(error, OSError):
        return OSError(error.errno, error.strerror) if error.errno else OSError(str(error))
    log.error("%s", "".join(traceback.format_exception(error)))
    return Failed(f"{type(error).__name__}: {error}")
