"""Alembic's entry: migrations run on the connection the service gives, never on a URL of their own."""

from __future__ import annotations

from alembic import context

from oomscope.serve.schema import metadata


def run() -> None:
    """Bring the schema of the given connection up to date."""
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection, target_metadata=metadata, render_as_batch=connection.dialect.name == "sqlite"
    )
    with context.begin_transaction():
        context.run_migrations()


run()
