"""Leave a destination alone for a while when it keeps failing, so that its troubles do not become everybody's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FAILURES = 3  # in a row, before it is left alone
FIRST_PAUSE_S, MOST_PAUSE_S = 5.0, 120.0


class Breaker:
    """Counts failures in a row of one destination. After the pause one attempt is let through."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._failures, self._closed_at = 0, 0.0

    def pause_s(self) -> float:
        """Seconds to leave it alone; 0 when it may be asked."""
        with self._lock:
            return max(0.0, self._closed_at - self._clock())

    def failed(self, retry_after_s: float | None = None) -> None:
        """It did not answer, or asked for patience."""
        with self._lock:
            self._failures += 1
            pause = 0.0
            if self._failures >= FAILURES:
                pause = min(FIRST_PAUSE_S * 2 ** min(self._failures - FAILURES, 10), MOST_PAUSE_S)
            pause = max(pause, min(retry_after_s or 0.0, 600.0))
            self._closed_at = self._clock() + pause

    def worked(self) -> None:
        """It answered."""
        with self._lock:
            self._failures, self._closed_at = 0, 0.0


class Breakers:
    """One breaker a destination."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: dict[str, Breaker] = {}

    def __getitem__(self, name: str) -> Breaker:
        with self._lock:
            return self._all.setdefault(name, Breaker())
