"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from oomscope.serve import schema

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "alerts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("dedup", sa.String(length=64), nullable=False),
        sa.Column("received_at", schema.Utc(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("rule", sa.String(length=512), nullable=True),
        sa.Column("place", sa.String(length=64), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("kill_id", sa.String(length=16), nullable=True),
        sa.Column("looked", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("dedup", name=op.f("uq_alerts_dedup")),
    )
    op.create_index(op.f("ix_alerts_kill_id"), "alerts", ["kill_id"], unique=False)
    op.create_index(op.f("ix_alerts_place"), "alerts", ["place"], unique=False)
    op.create_index(op.f("ix_alerts_received_at"), "alerts", ["received_at"], unique=False)
    op.create_table(
        "tasks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("ref", sa.String(length=200), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("due_at", schema.Utc(timezone=True), nullable=False),
        sa.Column("wanted", sa.Integer(), server_default="1", nullable=False),
        sa.Column("token", sa.String(length=40), nullable=True),
        sa.Column("owner", sa.String(length=128), nullable=True),
        sa.Column("lease_until", schema.Utc(timezone=True), nullable=True),
        sa.Column("leases", sa.Integer(), server_default="0", nullable=False),
        sa.Column("errors", sa.Integer(), server_default="0", nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("key", name=op.f("uq_tasks_key")),
    )
    op.create_index("ix_tasks_due", "tasks", ["priority", "due_at"], unique=False)
    op.create_table(
        "threads",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("place", sa.String(length=800), nullable=False),
        sa.Column("label", sa.String(length=512), nullable=False),
        sa.Column("opened_at", schema.Utc(timezone=True), nullable=False),
        sa.Column("last_kill_at", schema.Utc(timezone=True), nullable=False),
        sa.Column("kills", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_threads")),
    )
    op.create_index(op.f("ix_threads_place"), "threads", ["place"], unique=False)
    op.create_table(
        "kills",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("cluster", sa.String(length=253), nullable=True),
        sa.Column("namespace", sa.String(length=253), nullable=True),
        sa.Column("workload", sa.String(length=253), nullable=True),
        sa.Column("pod", sa.String(length=253), nullable=True),
        sa.Column("container", sa.String(length=253), nullable=True),
        sa.Column("pod_uid", sa.String(length=64), nullable=True),
        sa.Column("node", sa.String(length=253), nullable=True),
        sa.Column("killed_at", schema.Utc(timezone=True), nullable=False),
        sa.Column("about", sa.Integer(), server_default="0", nullable=False),
        sa.Column("search_start", schema.Utc(timezone=True), nullable=True),
        sa.Column("search_end", schema.Utc(timezone=True), nullable=True),
        sa.Column("found_by", sa.String(length=16), nullable=False),
        sa.Column("created_at", schema.Utc(timezone=True), nullable=False),
        sa.Column("thread_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("step", sa.Integer(), server_default="0", nullable=False),
        sa.Column("state", sa.String(length=16), server_default="open", nullable=False),
        sa.Column("progress", sa.String(length=200), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("verdict", sa.String(length=32), nullable=True),
        sa.Column("strength", sa.String(length=32), nullable=True),
        sa.Column("suspect", sa.String(length=512), nullable=True),
        sa.Column("pattern", sa.String(length=64), nullable=True),
        sa.Column("endpoints", sa.Text(), nullable=True),
        sa.Column("links", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["thread_id"], ["threads.id"], name=op.f("fk_kills_thread_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kills")),
        sa.UniqueConstraint("key", name=op.f("uq_kills_key")),
    )
    op.create_index(op.f("ix_kills_killed_at"), "kills", ["killed_at"], unique=False)
    op.create_index("ix_kills_node", "kills", ["node", "killed_at"], unique=False)
    op.create_index("ix_kills_place", "kills", ["namespace", "workload", "killed_at"], unique=False)
    op.create_index("ix_kills_pod", "kills", ["namespace", "pod", "container"], unique=False)
    op.create_index(op.f("ix_kills_thread_id"), "kills", ["thread_id"], unique=False)
    op.create_table(
        "messages",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("destination", sa.String(length=32), nullable=False),
        sa.Column("thread_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kill_id", sa.String(length=16), nullable=True),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("wanted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sent", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ref", sa.String(length=256), nullable=True),
        sa.Column("trying_since", schema.Utc(timezone=True), nullable=True),
        sa.Column("wanted_since", schema.Utc(timezone=True), nullable=True),
        sa.Column("sent_at", schema.Utc(timezone=True), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["thread_id"], ["threads.id"], name=op.f("fk_messages_thread_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint("key", name=op.f("uq_messages_key")),
    )
    op.create_index(op.f("ix_messages_kill_id"), "messages", ["kill_id"], unique=False)
    op.create_index(op.f("ix_messages_thread_id"), "messages", ["thread_id"], unique=False)
    op.create_table(
        "reports",
        sa.Column("kill_id", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=32), nullable=False),
        sa.Column("made_at", schema.Utc(timezone=True), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("page", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["kill_id"], ["kills.id"], name=op.f("fk_reports_kill_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("kill_id", name=op.f("pk_reports")),
    )
    op.create_table(
        "stages",
        sa.Column("kill_id", sa.String(length=16), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("began_at", schema.Utc(timezone=True), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("replica", sa.String(length=128), nullable=False),
        sa.Column("bundle", sa.String(length=256), nullable=True),
        sa.Column("bundle_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("gaps", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["kill_id"], ["kills.id"], name=op.f("fk_stages_kill_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("kill_id", "step", name=op.f("pk_stages")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("stages")
    op.drop_table("reports")
    op.drop_index(op.f("ix_messages_thread_id"), table_name="messages")
    op.drop_index(op.f("ix_messages_kill_id"), table_name="messages")
    op.drop_table("messages")
    op.drop_index(op.f("ix_kills_thread_id"), table_name="kills")
    op.drop_index("ix_kills_pod", table_name="kills")
    op.drop_index("ix_kills_place", table_name="kills")
    op.drop_index("ix_kills_node", table_name="kills")
    op.drop_index(op.f("ix_kills_killed_at"), table_name="kills")
    op.drop_table("kills")
    op.drop_index(op.f("ix_threads_place"), table_name="threads")
    op.drop_table("threads")
    op.drop_index("ix_tasks_due", table_name="tasks")
    op.drop_table("tasks")
    op.drop_index(op.f("ix_alerts_received_at"), table_name="alerts")
    op.drop_index(op.f("ix_alerts_place"), table_name="alerts")
    op.drop_index(op.f("ix_alerts_kill_id"), table_name="alerts")
    op.drop_table("alerts")
