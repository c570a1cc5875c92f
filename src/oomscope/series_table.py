"""Memory samples gathered metric by metric, made one MEMORY_SCHEMA table."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from oomscope.facts import MEMORY_SCHEMA, polars_schema

if TYPE_CHECKING:
    import polars as pl

# namespace, pod, container, container id
Key = tuple[str | None, str | None, str | None, str | None]
Samples = dict[datetime, dict[str, int]]


class MemoryRows:
    """One row per container instance and instant; the columns come from different series of one answer."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._rows: dict[Key, Samples] = {}

    def put(self, key: Key, at: datetime, column: str, value: int) -> None:
        """Note one reading, bytes."""
        self._rows.setdefault(key, {}).setdefault(at, {})[column] = value

    def fill_limits(
        self, limits: dict[tuple[str | None, str | None, str | None], list[tuple[datetime, int]]]
    ) -> None:
        """Give samples without a limit the newest one known at their time, else the first one known."""
        for key, samples in self._rows.items():
            known = sorted(limits.get(key[:3], ()))
            if not known:
                continue
            position, limit = 0, known[0][1]
            for at in sorted(samples):
                while position < len(known) and known[position][0] <= at:
                    limit = known[position][1]
                    position += 1
                samples[at].setdefault("limit_bytes", limit)

    def drop_stale(self, last_seen: dict[str, float]) -> None:
        """Drop what was exported for a container instance after its end.

        Kubelets repeat the last reading of a dead container for minutes. A reading is stale when it is later than
        ``container_last_seen`` of its instance (epoch seconds), or when the next instance of the same container has
        begun. Equal readings alone prove nothing: a process that hangs holds its memory still.
        """
        for key, samples in self._rows.items():
            seen = last_seen.get(key[3] or "")
            if seen:
                limit = datetime.fromtimestamp(seen, UTC)
                for at in [at for at in samples if at > limit]:
                    del samples[at]
        instances: dict[tuple[str | None, str | None, str | None], list[Samples]] = {}
        for key, samples in self._rows.items():
            if key[3] is not None and samples:
                instances.setdefault(key[:3], []).append(samples)
        for lives in instances.values():
            lives.sort(key=min)
            for life, successor in pairwise(lives):
                _cut(life, min(successor))

    def table(self) -> pl.DataFrame:
        """MEMORY_SCHEMA rows, in the order of time."""
        import polars as pl

        records = [
            {
                "at": at, "namespace": key[0], "pod": key[1], "container": key[2], "container_id": key[3],
                "source": self._source, **values,
            }
            for key, samples in self._rows.items()
            for at, values in samples.items()
            if values.keys() - {"limit_bytes"}
        ]  # fmt: skip
        table = pl.DataFrame(records, schema=polars_schema(MEMORY_SCHEMA))
        return table.sort("at", "namespace", "pod", "container", "container_id", nulls_last=True)


def _cut(life: Samples, next_start: datetime) -> None:
    """Take the readings of an ended life from its successor's start on."""
    for at in [at for at in life if at >= next_start and at != min(life)]:
        del life[at]
