"""Tables of the service, the same on SQLite and PostgreSQL. Times are UTC; sizes bytes; JSON is text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Number = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only an INTEGER PRIMARY KEY


class Utc(TypeDecorator[datetime]):
    """An aware time in UTC on both databases; SQLite itself forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """To UTC; for SQLite without the zone."""
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Aware, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# An alert as accepted. ``dedup`` is fingerprint and start; ``place`` is what has to be looked up to know the kill.
alerts = Table(
    "alerts",
    metadata,
    Column("id", Number, primary_key=True),
    Column("dedup", String(64), nullable=False, unique=True),
    Column("received_at", Utc, nullable=False, index=True),
    Column("kind", String(32), nullable=False),
    Column("status", String(16), nullable=False),
    Column("rule", String(512)),
    Column("place", String(64), nullable=False, index=True),
    Column("details", Text, nullable=False),  # serve.intake.AlertDetails
    Column("kill_id", String(16), index=True),
    Column("looked", Integer, nullable=False, server_default="0"),  # times its kill was not found yet
)

# One death of a container instance, or of a process inside one. ``key`` is the hash of what makes it the same death
# (see serve.identify), ``id`` its beginning.
kills = Table(
    "kills",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("cluster", String(253)),
    Column("namespace", String(253)),
    Column("workload", String(253)),
    Column("pod", String(253)),
    Column("container", String(253)),
    Column("pod_uid", String(64)),
    Column("node", String(253)),
    Column("killed_at", Utc, nullable=False, index=True),
    Column("about", Integer, nullable=False, server_default="0"),  # 1: the time is an alert's or a metric's
    Column("search_start", Utc),
    Column("search_end", Utc),
    Column("found_by", String(16), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("thread_id", Number, ForeignKey("threads.id"), index=True),
    Column("step", Integer, nullable=False, server_default="0"),  # steps done, see serve.stages
    Column("state", String(16), nullable=False, server_default="open"),  # open, final, failed
    Column("progress", String(200)),
    Column("problem", Text),
    Column("version", Integer, nullable=False, server_default="0"),  # of the report
    Column("verdict", String(32)),
    Column("strength", String(32)),
    Column("suspect", String(512)),
    Column("pattern", String(64)),
    Column("endpoints", Text),  # [[endpoint, open at the kill, expected], ...]
    Column("links", Text),  # dashboard uid, panel id, org id of the alert that told of it
    Index("ix_kills_place", "namespace", "workload", "killed_at"),
    Index("ix_kills_pod", "namespace", "pod", "container"),
    Index("ix_kills_node", "node", "killed_at"),
)

# What was done for a kill, step by step, and where the evidence of the step is.
stages = Table(
    "stages",
    metadata,
    Column("kill_id", String(16), ForeignKey("kills.id", ondelete="CASCADE"), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("name", String(32), nullable=False),
    Column("began_at", Utc, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("replica", String(128), nullable=False),
    Column("bundle", String(256)),  # name in the bundle store
    Column("bundle_bytes", BigInteger, nullable=False, server_default="0"),
    Column("gaps", Integer, nullable=False, server_default="0"),
)

# The one report of a kill: its newest stage replaces the one before. Both bodies are compressed with zlib.
reports = Table(
    "reports",
    metadata,
    Column("kill_id", String(16), ForeignKey("kills.id", ondelete="CASCADE"), primary_key=True),
    Column("stage", String(32), nullable=False),
    Column("made_at", Utc, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("page", LargeBinary, nullable=False),
)

# Kills that are told of together: of one workload, or of one node in a storm.
threads = Table(
    "threads",
    metadata,
    Column("id", Number, primary_key=True),
    Column("place", String(800), nullable=False, index=True),
    Column("label", String(512), nullable=False),
    Column("opened_at", Utc, nullable=False),
    Column("last_kill_at", Utc, nullable=False),
    Column("kills", Integer, nullable=False, server_default="0"),
)

# What a destination shall show. ``wanted`` ahead of ``sent`` means: to be sent. ``ref`` is the destination's own id.
messages = Table(
    "messages",
    metadata,
    Column("id", Number, primary_key=True),
    Column("destination", String(32), nullable=False),
    Column("thread_id", Number, ForeignKey("threads.id"), nullable=False, index=True),
    Column("kill_id", String(16), index=True),  # null: the head of the thread
    Column("key", String(128), nullable=False, unique=True),
    Column("wanted", Integer, nullable=False, server_default="0"),
    Column("sent", Integer, nullable=False, server_default="0"),
    Column("ref", String(256)),
    Column("trying_since", Utc),  # creating it was begun then, and the outcome is not known
    Column("wanted_since", Utc),
    Column("sent_at", Utc),
    Column("problem", Text),
)

# Work to do, one row a unit that must never be done twice at once. See docs/adr/0001-queue.md.
tasks = Table(
    "tasks",
    metadata,
    Column("id", Number, primary_key=True),
    Column("key", String(200), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("ref", String(200), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("due_at", Utc, nullable=False),
    Column("wanted", Integer, nullable=False, server_default="1"),  # grows with every request for it
    Column("token", String(40)),  # of the lease; a job whose token is gone may not write
    Column("owner", String(128)),
    Column("lease_until", Utc),
    Column("leases", Integer, nullable=False, server_default="0"),
    Column("errors", Integer, nullable=False, server_default="0"),
    Column("problem", Text),
    UniqueConstraint("key"),
    Index("ix_tasks_due", "priority", "due_at"),
)
