"""Processes: the one that answers requests, and the worker beside it. The worker ends when its parent does."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import IO

from oomscope.config import Config
from oomscope.errors import UsageError
from oomscope.serve import queue
from oomscope.serve.bundles import open_bundles
from oomscope.serve.calculator import Calculator, allowed
from oomscope.serve.runtime import Runtime
from oomscope.serve.settings import Settings, resolve
from oomscope.serve.store import Store, open_store

log = logging.getLogger(__name__)
LOCK_WAIT_S = 30.0
STOP = "stop\n"


def set_up_logging() -> None:
    """One line an event on stderr; libraries only when something is wrong."""
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, stream=sys.stderr)
    for noisy in ("httpx", "httpx2", "httpcore", "alembic", "botocore", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def replica_name() -> str:
    """Names this process in leases, different after every start."""
    return f"{socket.gethostname()[:80]}/{os.getpid()}/{secrets.token_hex(4)}"


def check_role(settings: Settings, role: str) -> None:
    """Refuse what would take alerts that nobody investigates: SQLite has one process, and no other could work."""
    if role == "api" and settings.database_url.startswith("sqlite"):
        raise UsageError(
            "--role api takes alerts but investigates none, and no other process can work on this SQLite database",
            fix=f"leave --role out, or name a PostgreSQL database in {settings.serve.database_url_env} "
            "and start --role worker beside it",
            slug="serve-data",
        )


def take_database(settings: Settings) -> tuple[Store, IO[str] | None]:
    """Open and migrate. On SQLite this process and its worker are the only ones: the open file is their lock."""
    lock = _lock(settings) if settings.database_url.startswith("sqlite") else None
    store = open_store(settings.database_url)
    if lock is not None:
        queue.free_all(store)
    return store, lock


def _lock(settings: Settings) -> IO[str]:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        file = (settings.data_dir / "lock").open("w")
    except OSError as error:
        raise UsageError(
            f"cannot write to {settings.data_dir}: {error.strerror}",
            fix="give serve.data_dir a writable folder, or use PostgreSQL and S3",
            slug="serve-data",
        ) from error
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                file.close()
                raise UsageError(
                    f"another oomscope serve uses {settings.data_dir}",
                    fix="use PostgreSQL for more than one replica",
                    slug="serve-data",
                ) from None
            time.sleep(0.2)
        else:
            return file


# ------------------------------------------------------------------------------------------------------- supervisor


class Supervisor:
    """Keeps one worker process running."""

    def __init__(self, config: Config, lock: IO[str] | None) -> None:
        self._config, self._lock = config, lock
        self._stopping = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start the worker, and start it again whenever it ends."""
        self._thread.start()

    def alive(self) -> bool:
        """Whether the worker runs now."""
        return self._process is not None and self._process.poll() is None

    def stop(self, wait_s: float = 25.0) -> None:
        """Let the worker finish what it is doing, within bounds."""
        self._stopping.set()
        process = self._process
        if process is None or process.poll() is not None:
            return
        try:
            if process.stdin:
                process.stdin.write(STOP)
                process.stdin.flush()
            process.wait(wait_s)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()

    def _run(self) -> None:
        pause = 1.0
        while not self._stopping.is_set():
            began = time.monotonic()
            self._process = self._spawn()
            code = self._process.wait()
            if self._stopping.is_set():
                return
            pause = 1.0 if time.monotonic() - began > 60 else min(pause * 2, 30.0)
            log.error("the worker ended with %s, starting another in %.0f s", code, pause)
            self._stopping.wait(pause)

    def _spawn(self) -> subprocess.Popen[str]:
        keep = (self._lock.fileno(),) if self._lock else ()
        command = [sys.executable, "-m", "oomscope.serve.process"]
        process = subprocess.Popen(  # noqa: S603 - our own module, no argument from outside
            command, stdin=subprocess.PIPE, text=True, pass_fds=keep
        )
        if process.stdin:
            process.stdin.write(self._config.model_dump_json() + "\n")
            process.stdin.flush()
        return process


# ------------------------------------------------------------------------------------------------------- the worker


def run_worker(settings: Settings, store: Store) -> None:
    """Work until told to stop on stdin; end at once when the parent is gone."""
    from oomscope.serve.worker import Worker

    calculator = Calculator(allowed())
    calculator.start()
    runtime = Runtime(settings, store, open_bundles(settings), replica_name(), calculate=calculator)
    worker = Worker(runtime)
    worker.start()
    log.info("worker %s is ready", runtime.replica)
    if sys.stdin.readline() != STOP:
        os._exit(1)  # the parent died: another may already be starting, so nothing more may be sent
    worker.stop()
    calculator.stop()
    store.close()


def main() -> None:
    """Entry of the worker process: the configuration is the first line of stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which says stop
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    set_up_logging()
    config = Config.model_validate_json(sys.stdin.readline())
    settings = resolve(config)
    run_worker(settings, open_store(settings.database_url, migrate=False, durable=False))


def serve(config: Config, role: str = "all") -> None:
    """Answer requests until told to stop. ``role`` is all, api (no worker) or worker (answers only probes)."""
    import uvicorn

    from oomscope.serve.api import build

    set_up_logging()
    settings = resolve(config)
    check_role(settings, role)
    with ExitStack() as stack:
        store, lock = take_database(settings)
        stack.callback(store.close)
        if lock is not None:
            stack.enter_context(lock)
        supervisor = Supervisor(config, lock) if role != "api" else None
        if supervisor:
            supervisor.start()
            stack.callback(supervisor.stop)
        app = build(settings, store, worker_alive=supervisor.alive if supervisor else None, role=role)
        uvicorn.run(
            app,
            host=config.serve.host,
            port=config.serve.port,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
            limit_concurrency=2000,
        )


if __name__ == "__main__":
    main()
