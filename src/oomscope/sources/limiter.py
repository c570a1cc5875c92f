"""One rate limiter per (account, region, API), shared by every thread: AWS counts calls that way, not per client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_LOCK = threading.Lock()
_ALL: dict[tuple[str, ...], Limiter] = {}


class Limiter:
    """Spaces calls evenly at ``per_second``; a caller waits for its turn. Never lets more through in any second."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Sleep until this call may be made; returns early when cancelled."""
        with self._lock:  # held while sleeping: two late sleepers must not go through together
            while not cancelled():
                left = self._next - time.monotonic()
                if left <= 0:
                    break
                time.sleep(min(left, 0.25))
            self._next = time.monotonic() + 1.0 / self.per_second

    def slow_down(self, seconds: float) -> None:
        """Nobody calls for that long: the service said "rate exceeded", so others are using the quota too."""
        self._next = max(self._next, time.monotonic() + seconds)


def limiter(account: str | None, region: str | None, api: str, per_second: float) -> Limiter:
    """The one limiter of that API; a later, lower rate lowers it for everybody."""
    key = (account or "", region or "", api)
    with _LOCK:
        found = _ALL.setdefault(key, Limiter(per_second))
        found.per_second = min(found.per_second, per_second)
        return found
