"""The database: SQLite in one file by default, PostgreSQL for several replicas. Opening it migrates it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from oomscope.errors import UnreadableError, UsageError
from oomscope.redact import printable

BUSY_S = 10.0  # how long SQLite waits for another writer
RARELY = 20_000  # pages (80 MB) in the log before whoever accepts alerts has to tidy it; 1,000 is usual
_MIGRATING, _IDENTIFYING = 7_310_001, 7_310_002  # PostgreSQL advisory locks


class Store:
    """Transactions on the service's tables. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sqlite = engine.dialect.name == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; SQLite takes its write lock at once, so it never fails half way for it."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads and never waits for writers."""
        with self.engine.connect().execution_options(only_reads=True) as connection, connection.begin():
            yield connection

    def now(self, connection: Connection) -> datetime:
        """The time all replicas agree on: the database's."""
        if self.sqlite:
            return datetime.now(UTC)
        at: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return at.astimezone(UTC)

    def one_identifier(self, connection: Connection) -> None:
        """Until the transaction ends, nobody else decides which alerts belong to which kill."""
        if not self.sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_IDENTIFYING)))

    def insert_new(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert the rows; those that are there already (by any unique key) stay as they are."""
        if rows:
            connection.execute(self.insert(table).on_conflict_do_nothing(), list(rows))

    def insert(self, table: Table) -> Any:
        """An INSERT that knows ``on_conflict_do_*`` in the dialect of the database."""
        if self.sqlite:
            from sqlalchemy.dialects import sqlite

            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)

    def problem(self) -> str | None:
        """Why nothing can be written now, or None. Really writes: taken back, a full disk would not show."""
        try:
            with self.write() as connection:
                connection.execute(sa.text("UPDATE alembic_version SET version_num = version_num"))
        except SQLAlchemyError as error:
            return reason(error)
        return None

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def reason(error: SQLAlchemyError) -> str:
    """What the database said, in one line without the statement or its values."""
    return printable(str(getattr(error, "orig", None) or error).strip().splitlines()[0], 200)


def open_store(url: str, *, migrate: bool = True, durable: bool = True) -> Store:
    """Connect and bring the schema up to date. Raises ``UnreadableError`` when that cannot be done.

    Without ``durable`` SQLite does not wait for the disk at every commit: a crash of the process loses nothing, a power
    cut may take back the last moments. That is for work that is then done again, never for accepting alerts.
    """
    try:
        engine = _engine(url, durable)
    except (ArgumentError, ImportError) as error:
        raise UsageError(
            "the database URL cannot be used",
            tried=printable(str(error), 200),
            fix="sqlite:////data/oomscope.db or postgresql+psycopg://user@host/name",
            slug="database",
        ) from error
    store = Store(engine)
    try:
        if store.sqlite and engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        if migrate:
            _migrate(store)
    except (SQLAlchemyError, OSError) as error:
        engine.dispose()
        what = reason(error) if isinstance(error, SQLAlchemyError) else str(error.strerror)
        raise UnreadableError(
            "the database cannot be opened",
            tried=engine.url.render_as_string(hide_password=True),
            likely=what,
            fix="check that it runs, and that its disk is writable and has room",
            slug="database",
        ) from error
    return store


def _engine(url: str, durable: bool) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sa.create_engine(parsed, connect_args={"timeout": BUSY_S}, pool_size=12, max_overflow=8)
        event.listen(engine, "connect", partial(_sqlite_connected, "FULL" if durable else "NORMAL"))
        event.listen(engine, "begin", _sqlite_begins)
        return engine
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    return sa.create_engine(
        parsed,
        pool_pre_ping=True,
        pool_size=12,
        max_overflow=8,
        pool_timeout=10,
        connect_args={"connect_timeout": 5, "options": "-c statement_timeout=30000 -c lock_timeout=10000"},
    )


def _sqlite_connected(synchronous: str, connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    pragmas = ["journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON"]
    if synchronous == "FULL":  # moving the log into the database takes long: left to the worker's connections
        pragmas.append(f"wal_autocheckpoint={RARELY}")
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}").close()


def _sqlite_begins(connection: Connection) -> None:
    """Readers wait for nobody. Writers ask for the lock every millisecond: SQLite's own waiting sleeps up to 100."""
    if connection.get_execution_options().get("only_reads"):
        connection.exec_driver_sql("BEGIN")
        return
    raw: Any = connection.connection.dbapi_connection
    raw.execute("PRAGMA busy_timeout=0").close()
    try:
        _wait_for_lock(raw)
    finally:
        raw.execute(f"PRAGMA busy_timeout={int(BUSY_S * 1000)}").close()
    if not raw.in_transaction:
        connection.exec_driver_sql(
            "BEGIN IMMEDIATE"
        )  # the last attempt, whose error is the one that is raised


def _wait_for_lock(raw: sqlite3.Connection) -> None:
    until = time.monotonic() + BUSY_S
    while time.monotonic() < until:
        try:
            raw.execute("BEGIN IMMEDIATE").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                return
            time.sleep(0.001)
        else:
            return


def _migrate(store: Store) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("oomscope.serve") / "migrations"))
    config.set_main_option("path_separator", "os")
    with store.engine.begin() as connection:
        if not store.sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
