"""Figures for Prometheus: what this process answered, and what the database holds. No name of any pod is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy.exc import SQLAlchemyError

from oomscope.serve.schema import alerts, kills, messages, stages, tasks
from oomscope.serve.store import Store

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Figures:
    """Counters of this process, and a registry that also reads the database when it is scraped."""

    def __init__(self, store: Store) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "oomscope_alert_requests_total",
            "Requests with alerts, by answer.",
            ["code"],
            registry=self.registry,
        )
        self.accepting = Histogram(
            "oomscope_alert_accept_seconds",
            "From the whole body until the alerts were durable.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.registry.register(_OfDatabase(store))


class _OfDatabase:
    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Any]:
        """Gauges by state; ``oomscope_database_up`` is 0, and the rest missing, when it cannot be read."""
        up = GaugeMetricFamily("oomscope_database_up", "Whether the database could be read.")
        try:
            found = list(self._gauges())
        except SQLAlchemyError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from found

    def _gauges(self) -> Iterator[GaugeMetricFamily]:
        count = sa.func.count()
        with self._store.read() as connection:
            now = self._store.now(connection)
            waiting = sa.case((alerts.c.kill_id.is_(None), "looking"), else_="joined")
            for name, text, label, query in (
                ("oomscope_alerts", "Alerts stored.", "state", sa.select(waiting, count).group_by(waiting)),
                ("oomscope_kills", "Kills known.", "state", sa.select(kills.c.state, count).group_by(kills.c.state)),
                ("oomscope_tasks", "Tasks waiting or in work.", "kind",
                 sa.select(tasks.c.kind, count).group_by(tasks.c.kind)),
                ("oomscope_tasks_failing", "Tasks that failed and are tried again.", "kind",
                 sa.select(tasks.c.kind, count).where(tasks.c.errors > 0).group_by(tasks.c.kind)),
                ("oomscope_messages_behind", "Messages not sent yet.", "destination",
                 sa.select(messages.c.destination, count).where(messages.c.wanted > messages.c.sent)
                 .group_by(messages.c.destination)),
                ("oomscope_messages_failing", "Messages that could not be sent.", "destination",
                 sa.select(messages.c.destination, count).where(messages.c.problem.is_not(None))
                 .group_by(messages.c.destination)),
            ):  # fmt: skip
                family = GaugeMetricFamily(name, text, labels=[label])
                for key, value in connection.execute(query):
                    family.add_metric([str(key)], value)
                yield family
            yield from self._plain(connection, now)

    def _plain(self, connection: Any, now: Any) -> Iterator[GaugeMetricFamily]:
        oldest = connection.execute(
            sa.select(sa.func.min(tasks.c.due_at)).where(tasks.c.due_at <= now)
        ).scalar_one()
        late = (now - oldest).total_seconds() if oldest else 0.0
        yield GaugeMetricFamily(
            "oomscope_oldest_task_seconds", "How long the oldest task is due.", value=late
        )
        size = connection.execute(sa.select(sa.func.sum(stages.c.bundle_bytes))).scalar_one() or 0
        yield GaugeMetricFamily("oomscope_bundle_bytes", "Saved evidence.", value=float(size))
