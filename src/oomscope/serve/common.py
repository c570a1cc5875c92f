"""What the kills of one workload have in common: endpoints open at many of them, and at how many by chance.

An endpoint with on average ``e`` open requests is open at a random moment with probability ``1 - exp(-e)``. Over the
kills these probabilities differ, so the count expected by chance has a Poisson binomial distribution.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recurrence:
    """An endpoint over the kills of a workload. ``chance``: of seeing it at so many or more by accident."""

    endpoint: str
    kills: int  # it was open at
    of: int  # kills whose evidence says how often it is open
    expected: float
    chance: float


def recurrences(told: Sequence[str]) -> list[Recurrence]:
    """Endpoints by how little chance explains them. Damaged texts count for nothing."""
    seen: dict[str, list[tuple[bool, float]]] = {}
    for text in told:
        for endpoint, was_open, expected in _rows(text):
            seen.setdefault(endpoint, []).append((was_open > 0, 1 - math.exp(-max(0.0, expected))))
    found = [
        Recurrence(
            endpoint,
            hits := sum(was_open for was_open, _ in of),
            len(of),
            sum(p for _, p in of),
            at_least(hits, [p for _, p in of]),
        )
        for endpoint, of in seen.items()
        if any(was_open for was_open, _ in of)
    ]
    return sorted(found, key=lambda one: (one.chance, -one.kills, one.endpoint))


def _rows(text: str) -> list[tuple[str, float, float]]:
    try:
        rows = json.loads(text)
    except ValueError:
        return []
    return [
        (str(row[0]), float(row[1]), float(row[2])) for row in rows if len(row) == 3 and row[2] is not None
    ]


def at_least(hits: int, probabilities: Sequence[float]) -> float:
    """P(at least ``hits`` of independent events with these probabilities happen), by dynamic programming."""
    counts = [1.0]
    for p in probabilities:
        counts = [
            (counts[k] if k < len(counts) else 0.0) * (1 - p) + (counts[k - 1] * p if k else 0.0)
            for k in range(len(counts) + 1)
        ]
    return min(1.0, sum(counts[hits:]))
