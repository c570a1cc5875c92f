"""Alembic environment of the service's tables."""
