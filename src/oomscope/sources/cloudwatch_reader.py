"""Reads a time span of CloudWatch log events as fast as the quota allows, each event exactly once.

``FilterLogEvents`` pages one token chain at a time, about 1 MB a page, at a latency that leaves most of the quota
unused. So the span is cut into disjoint slices with a chain each; a worker that runs out of work takes the later half
of the slice with the most left. The botocore paginator is not used: it fails on a repeated token, which the service
sends now and then; empty pages with a token are normal too. Limits: aws.md 2.1, 2.2.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from oomscope.errors import SourceError
from oomscope.sources.aws_common import aws_errors, is_throttle, source_error
from oomscope.sources.limiter import Limiter

MAX_REPEATS = 3
MIN_STEAL_MS = 1_000
MAX_THROTTLES = 20

# Calls a second that AWS grants an account per region; FilterLogEvents, not adjustable.
FILTER_TPS = {"us-east-1": 25.0}
FILTER_TPS_SLOW = frozenset({"eu-central-1", "ap-northeast-3", "ap-southeast-3", "ca-west-1", "il-central-1"})


def default_rate(region: str | None) -> float:
    """Four fifths of the region's FilterLogEvents quota: others in the account need some too."""
    return 0.8 * FILTER_TPS.get(region or "", 5.0 if region in FILTER_TPS_SLOW else 10.0)


@dataclass
class _Slice:
    """Times [start, end] in ms, both inclusive, of one worker; ``position`` is how far it is, ``end`` may be moved."""

    start: int
    end: int
    position: int = 0
    pages: int = 0  # with events
    events: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False

    def pages_left(self) -> float:
        """Expected from the span that a page covered so far; 0 before the first page."""
        covered = max(1, self.position - self.start)
        return self.pages * (self.end - self.position) / covered


@dataclass
class Progress:
    """What has been read so far; updated by the workers."""

    events: int = 0
    bytes: int = 0
    calls: int = 0
    throttled: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.bytes / max(0.001, time.monotonic() - self.began)


@dataclass(frozen=True)
class Reader:
    """Bound to one client and one limiter. ``workers`` chains at most are open at once."""

    client: Any
    limiter: Limiter
    workers: int = 8
    max_bytes: int = 2 * 10**9
    cancelled: Callable[[], bool] = lambda: False
    on_progress: Callable[[Progress], None] = lambda _progress: None

    def read(
        self, group: str, start_ms: int, end_ms: int, **selection: Any
    ) -> tuple[list[dict[str, Any]], Progress]:
        """All events of [start_ms, end_ms] in the service's order, each once, and what it took.

        ``selection`` goes to FilterLogEvents: ``logStreamNames``, ``logStreamNamePrefix``, ``filterPattern``. Raises
        ``SourceError``.
        """
        work = _Work(self, {"logGroupName": group, **selection}, start_ms, end_ms)
        work.run()
        return list(_once(work.events())), work.progress


class _Work:
    def __init__(self, reader: Reader, request: dict[str, Any], start_ms: int, end_ms: int) -> None:
        self.reader, self.request = reader, request
        self.progress = Progress()
        self.lock = threading.Lock()
        self.failure: Exception | None = None
        count = max(1, min(reader.workers, (end_ms - start_ms) // 5_000))
        edges = [start_ms + (end_ms + 1 - start_ms) * i // count for i in range(count + 1)]
        self.slices = [_Slice(a, b - 1, a) for a, b in itertools.pairwise(edges)]

    def run(self) -> None:
        with ThreadPoolExecutor(len(self.slices), thread_name_prefix="logs") as pool:
            for future in [pool.submit(self._worker, piece) for piece in list(self.slices)]:
                future.result()
        if self.failure is not None:
            raise self.failure

    def events(self) -> Iterator[dict[str, Any]]:
        for piece in sorted(self.slices, key=lambda s: s.end):
            yield from piece.events

    def _worker(self, piece: _Slice | None) -> None:
        while piece is not None and self.failure is None:
            try:
                self._drain(piece)
            except SourceError as error:
                self.failure = self.failure or error
            piece.done = True
            piece = self._next()

    def _next(self) -> _Slice | None:
        """A part of somebody's slice, as soon as it is known how much each still has; None when nothing is worth it."""
        while self.failure is None:
            with self.lock:
                stolen = self._steal()
                undecided = any(not s.done and not s.pages for s in self.slices)
            if stolen is not None or not undecided:
                return stolen
            time.sleep(0.02)
        return None

    def _steal(self) -> _Slice | None:
        """The later half of the slice with the most pages left, if more than two: each part ends in a partial page."""
        busy = [
            s
            for s in self.slices
            if not s.done and s.pages_left() > 2.0 and s.end - s.position > MIN_STEAL_MS
        ]
        if not busy:
            return None
        victim = max(busy, key=_Slice.pages_left)
        middle = (victim.position + victim.end) // 2
        stolen = _Slice(middle + 1, victim.end, middle + 1)
        victim.end = middle
        self.slices.append(stolen)
        return stolen

    def _drain(self, piece: _Slice) -> None:
        """Follow the token chain until it ends, or passes the (perhaps lowered) end of the slice."""
        token, repeats = None, 0
        asked_end = piece.end
        while not self.reader.cancelled():
            page = self._page(piece, asked_end, token)
            if self._keep(piece, page):
                return
            following = page.get("nextToken")
            repeats = repeats + 1 if following == token else 0
            if not following or repeats > MAX_REPEATS:
                return
            token = following
        raise SourceError("cut", "interrupted while reading logs")

    def _page(self, piece: _Slice, end: int, token: str | None) -> dict[str, Any]:
        # With a token the service continues its own span; the bounds must be repeated unchanged.
        bounds = {"startTime": piece.start, "endTime": end}
        request = {**self.request, **bounds, **({"nextToken": token} if token else {})}
        for attempt in range(MAX_THROTTLES):
            self.reader.limiter.wait(self.reader.cancelled)
            try:
                self.progress.calls += 1
                answer: dict[str, Any] = self.reader.client.filter_log_events(**request)
                return answer
            except aws_errors() as error:
                if not is_throttle(error):
                    what = f"read {self.request['logGroupName']}"
                    raise source_error(error, what, permission="logs:FilterLogEvents") from error
                self.progress.throttled += 1
                self.reader.limiter.slow_down(min(0.2 * 2**attempt, 5.0))
        raise SourceError(
            "timed_out", "the quota of FilterLogEvents is used up by others", fix="run again in a minute"
        )

    def _keep(self, piece: _Slice, page: dict[str, Any]) -> bool:
        """Take the events of a page that are still this slice's; True when the slice is finished."""
        found = [event for event in page.get("events") or [] if "timestamp" in event and "message" in event]
        with self.lock:
            mine = [event for event in found if event["timestamp"] <= piece.end]
            piece.events += mine
            if found:
                piece.position = max(piece.position, found[-1]["timestamp"])
                piece.pages += 1
            self.progress.events += len(mine)
            self.progress.bytes += sum(len(event["message"]) for event in mine)
            too_much = self.progress.bytes > self.reader.max_bytes
        self.reader.on_progress(self.progress)
        if too_much:
            raise SourceError(
                "cut", f"more than {self.reader.max_bytes:,} bytes of logs", fix="narrow the window"
            )
        return len(mine) < len(found)


def _once(events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each event id once: a repeated token or two overlapping reads give some twice."""
    seen: set[str] = set()
    for event in events:
        key = event.get("eventId") or ""
        if key and key in seen:
            continue
        seen.add(key)
        yield event
