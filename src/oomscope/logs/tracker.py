"""From the life cycle lines of one stream to request rows: what was opened, what closed it, what is still open.

A bucket holds the live requests of one key: the request id where lines are tagged, else the process. A request leaves
its bucket some thousand completions after its end, because an exception block, a second action (``exceptions_app``,
Devise's recall) or a retry under the same id may still follow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from oomscope.facts import REQUEST_SCHEMA
from oomscope.logs.rails_text import Completed
from oomscope.logs.request_rows import age_error, by_id, merge, route, since
from oomscope.logs.rows import RequestRow, Rows, intern
from oomscope.logs.sketch import Sketch

NOTE_NO_START = "no Started line in this log"
NOTE_BEFORE_CONTROLLER = "before_controller: this path normally reaches a controller"
NOTE_MIDDLEWARE = "middleware_or_mounted_app: no request to this path ever reached a controller"
NOTE_SUPERSEDED = "more requests than threads were open: this one must have ended, its Completed line is lost"
NOTE_REPLACED = "its process was replaced later"
NOTE_LIVE = "streamed (Completed without the tag)"

LINGER = 2048  # finished requests kept for late lines
_MAX_ROUTES = 20_000
_MAX_WAITING = 20_000  # requests without a controller that are kept waiting for one
_MAX_BUCKET = 256  # live requests of one key
# Untagged logs: Processing follows its Started, an exception block its Completed, within this.
_FRESH_US = 250_000
_LONGEST_MS = 86_400_000.0
_ENDED = ("completed", "errored")


class Tracker:
    """The requests of one stream. ``threads`` bounds how many of one process can run at a time (all, without pids)."""

    def __init__(self) -> None:
        self.rows = Rows(REQUEST_SCHEMA)
        self.sketch = Sketch()
        self.threads: int | None = None
        self.precise = True  # lines carry their own time
        self.opened = 0
        self.closed = 0
        self.whole = 0  # requests told in one line
        self.starts = 0
        self._counted = 0  # of these by ``count_in``
        self.ambiguous = 0
        self.partial = False  # requests were counted in of which nothing else is known
        self._forgotten = 0
        self.replacements = 0  # processes of the stream that were replaced by others
        self._live: dict[Hashable, list[RequestRow]] = {}
        self._last: dict[Hashable, RequestRow] = {}
        self._running: dict[int | None, dict[int, RequestRow]] = {}
        self.endings = 0  # so far, also those counted in by ``skip``
        self._done: deque[tuple[int, Hashable, RequestRow]] = deque()  # with the number of the ending
        self._waiting: deque[tuple[int, Hashable, RequestRow]] = deque()  # with the number of the start
        self._sockets: dict[str, deque[RequestRow]] = {}
        self._routes: set[tuple[str | None, str]] = set()

    # ------------------------------------------------------------------------------------------------ life cycle

    def started(self, key: Hashable, row: RequestRow) -> None:
        """A request reached Rails."""
        self.starts += 1
        self.sketch.add(row.request_id, row.path)
        self._enter(key, row)
        self._waiting.append((self.starts - self._counted, key, row))
        self._drop_waiting()

    def _drop_waiting(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.starts - self._counted - _MAX_WAITING:
            _, key, row = self._waiting.popleft()
            if row.state == "rack_level":
                self._give_up(key, row)

    def skip(self, starts: int, endings: int) -> None:
        """So many requests began and ended meanwhile that nobody will ask for here."""
        self.starts += starts
        self.endings += endings
        self._drop_waiting()
        self._retire()

    def count_in(self, whole: int, *, one_line: bool) -> None:
        """So many requests began, reached a controller and ended. Lines before them may follow, so nothing ages."""
        self.partial = True
        self.rows.given_up += whole
        if one_line:
            self.whole += whole
            return
        self.starts += whole
        self._counted += whole
        self.opened, self.closed = self.opened + whole, self.closed + whole

    def forget(self) -> None:
        """Rows of requests that ended before this place are not wanted: of most of them nothing is known."""
        self._forgotten, self.sketch = self.endings, Sketch()
        self.rows.forget()

    def _enter(self, key: Hashable, row: RequestRow) -> None:
        bucket = self._live.setdefault(key, [])
        bucket.append(row)
        if len(bucket) > _MAX_BUCKET:
            if bucket[0].state == "open":
                self._supersede(bucket[0])
            self._give_up(key, bucket[0])

    def processing(self, key: Hashable, at: int | None, endpoint: str, kind: str | None) -> RequestRow | None:
        """It reached a controller; gives its row, None when no start of that key was seen (see ``unstarted``)."""
        row = self._for_processing(key, at)
        if row is None:
            return None
        if row.endpoint is None:
            row.endpoint, row.format, row.processing_at = intern(endpoint), intern(kind), at
        else:
            row.add_note(f"then {endpoint}"[:200])
        self._run(key, row)
        self._learn_route(row)
        return row

    def _learn_route(self, row: RequestRow) -> None:
        """Requests to this route reach a controller."""
        if row.path is not None:
            self.learn_route(row.method, route(row.path))

    def learn_route(self, method: str | None, path: str) -> None:
        """Requests to this path, ids taken out, reach a controller."""
        if len(self._routes) < _MAX_ROUTES:
            self._routes.add((method, path))

    def unstarted(self, key: Hashable, row: RequestRow) -> None:
        """A request seen first in its controller: silenced, lost, or begun before this log."""
        row.add_note(NOTE_NO_START)
        self.sketch.add(row.request_id, row.endpoint)
        self._enter(key, row)
        self._run(key, row)

    def _run(self, key: Hashable, row: RequestRow) -> None:
        if row.state in _ENDED:  # a second action under the same Started
            self.closed -= 1
            row.ended_at = None
            self._enter(key, row)
        elif row.state != "open":
            self.opened += 1
        row.state = "open"
        running = self._running.setdefault(row.pid, {})
        running[id(row)] = row
        if self.threads is not None and len(running) > self.threads:
            self._supersede(next(iter(running.values())))

    def _supersede(self, oldest: RequestRow) -> None:
        """A thread cannot run two requests: the oldest surplus one has ended unseen."""
        oldest.state = "superseded"
        oldest.add_note(NOTE_SUPERSEDED)
        self._running.get(oldest.pid, {}).pop(id(oldest), None)

    def completed(
        self,
        key: Hashable,
        at: int | None,
        done: Completed,
        *,
        note: str | None = None,
        endpoint: str | None = None,
    ) -> bool:
        """A Completed line (structured loggers tell the endpoint only now). False when it can mean no request."""
        row = self._for_completed(key, at, done.duration_ms)
        if row is None:
            row = self._last.get(key)
            if row is None or NOTE_LIVE not in (row.note or ""):
                return False
            row.note = None  # the tagged line is the true one
        if endpoint and row.endpoint is None:
            row.endpoint = intern(endpoint)
            self._learn_route(row)
        self.close(key, row, at, done, note)
        return True

    def close(
        self, key: Hashable, row: RequestRow, at: int | None, done: Completed, note: str | None = None
    ) -> None:
        """End a row with what its Completed line says."""
        row.status, row.duration_ms = done.status, done.duration_ms
        row.view_ms, row.db_ms = done.view_ms, done.db_ms
        row.gc_ms, row.allocations = done.gc_ms, done.allocations
        if note:
            row.add_note(note)
        self._end(key, row, "completed", at)

    def _end(self, key: Hashable, row: RequestRow, state: str, at: int | None) -> None:
        if row.state in ("open", "superseded"):
            self.closed += 1
            self._running.get(row.pid, {}).pop(id(row), None)
        row.state, row.raw, row.ended_at = state, None, self._end_time(row, at)
        self._leave(key, row)
        self._last[key] = row
        row.endings += 1
        self.endings += 1
        self._done.append((self.endings, key, row))
        self._retire()

    def _end_time(self, row: RequestRow, at: int | None) -> int | None:
        """The line's time; without one, not before the start plus the duration."""
        began = row.processing_at if row.processing_at is not None else row.started_at
        if (self.precise and at is not None) or began is None or row.duration_ms is None:
            return at
        least = began + int(min(row.duration_ms, _LONGEST_MS) * 1000)
        return least if at is None else max(at, least)

    def _leave(self, key: Hashable, row: RequestRow) -> None:
        bucket = self._live.get(key, [])
        if row in bucket:
            bucket.remove(row)
            if not bucket:
                del self._live[key]

    def _retire(self, linger: int = LINGER) -> None:
        """The longest finished requests are given up waiting for late lines, unless opened again meanwhile."""
        while self._done and self._done[0][0] <= self.endings - linger:
            ending, key, row = self._done.popleft()
            row.endings -= 1
            if row.endings or row.state not in _ENDED:
                continue
            if self._last.get(key) is row:
                del self._last[key]
            if ending <= self._forgotten:
                self.rows.given_up += 1
            else:
                self.rows.add(row)

    def _give_up(self, key: Hashable, row: RequestRow) -> None:
        self._leave(key, row)
        self._explain_rack_level(row)
        self.rows.add(row)

    def touches(self, keys: set[str]) -> set[str]:
        """Those of the keys that a later line could still matter to."""
        return {
            key
            for known in (self._live, self._last)
            if not keys.isdisjoint(known)
            for key in keys & known.keys()
        }

    def linger(self, key: Hashable, row: RequestRow, ending: int) -> None:
        """Take a request that ended earlier, as the so many-th: late lines may follow."""
        if ending <= self.endings - LINGER:
            self.rows.add(row)
            return
        self._last[key] = row
        row.endings += 1
        self._done.append((ending, key, row))
        if len(self._done) > 1 and self._done[-2][0] > ending:
            self._done = deque(sorted(self._done, key=lambda done: done[0]))

    def running(self, pid: int | None) -> int:
        """How many requests run in this process."""
        return len(self._running.get(pid, ()))

    def errored(self, key: Hashable, at: int | None, exception: str) -> None:
        """An exception block: names what a completed request died of, ends one that has no Completed."""
        last, named = self._last.get(key), by_id(key)
        fits = last is not None and last.exception is None and (last.status or 0) >= 400
        live = [row for row in self._live.get(key, ()) if row.state == "rack_level" or named]
        if last is not None and fits and (not live or (not named and since(last.ended_at, at) <= _FRESH_US)):
            last.exception = exception
        elif live and (named or since(live[-1].started_at, at) <= _FRESH_US):
            live[-1].exception = exception
            self._end(key, live[-1], "errored", at)

    def ended_otherwise(self, key: Hashable, at: int | None, note: str) -> None:
        """Something other than a Completed line says that the newest request of this key is over."""
        row = self.newest(key)
        if row is not None:
            row.add_note(note)
            self._end(key, row, "completed", at)

    # ------------------------------------------------------------------------------------------------ other lines

    def websocket(self, key: Hashable, path: str | None) -> None:
        """The newest request of this key (and path, if told) was upgraded to a WebSocket."""
        row = self.newest(key)
        same = row is not None and (path is None or (row.path or "").rstrip("/") == path.rstrip("/"))
        if row is not None and same and row.state == "rack_level":
            row.state = "websocket"
            self._leave(key, row)
            sockets = self._sockets.setdefault((row.path or "").rstrip("/")[:200], deque())
            sockets.append(row)
            if len(sockets) > _MAX_BUCKET:
                self.rows.add(sockets.popleft())

    def websocket_finished(self, path: str, at: int | None) -> None:
        """An untagged ``Finished``: the oldest open socket of that path is closed."""
        sockets = self._sockets.get(path.rstrip("/")[:200])
        if sockets:
            row = sockets.popleft()
            row.ended_at = at
            self.rows.add(row)

    def live_completed(
        self, pid: int | None, at: int | None, done: Completed, slack_us: int, *, unless: Hashable | None
    ) -> bool:
        """A Completed line without the usual tag: closes the one open request of that process whose age fits."""
        fitting = [
            row
            for row in self._running.get(pid, {}).values()
            if age_error(row, at, done.duration_ms) <= slack_us + done.duration_ms * 10
        ]
        if len(fitting) != 1 or (unless is not None and fitting[0].request_id == unless):
            return False
        self.close(fitting[0].request_id, fitting[0], at, done, NOTE_LIVE)
        return True

    def params(self, key: Hashable, text: str, size: int) -> None:
        """The Parameters line of the request that is in its controller."""
        row = self.newest(key)
        if row is not None and row.params is None and row.state == "open":
            row.params, row.params_bytes = text, size

    def whole_request(self, row: RequestRow) -> None:
        """A request told by one line (lograge): completes the live request of the same id, or is a row of its own."""
        self.whole += 1
        live = self.newest(row.request_id) or self._last.get(row.request_id) if row.request_id else None
        if live is not None:
            merge(live, row)
            if live.state not in _ENDED:
                self._end(row.request_id, live, "completed", row.ended_at)
            return
        self.sketch.add(row.request_id, f"{row.path} {row.duration_ms}")
        self.rows.add(row)

    def replaced(self, pid: int | None) -> None:
        """A process was replaced: what ran in it does not count against the threads of the new one."""
        self.replacements += 1
        for row in self._running.pop(pid, {}).values():
            if pid is not None:
                row.add_note(NOTE_REPLACED)

    # ---------------------------------------------------------------------------------------------------- look-ups

    def newest(self, key: Hashable) -> RequestRow | None:
        """The live request of this key that began last."""
        bucket = self._live.get(key)
        return bucket[-1] if bucket else None

    def knows(self, key: Hashable) -> bool:
        """Whether a request of this key is live."""
        return key in self._live

    def _for_processing(self, key: Hashable, at: int | None) -> RequestRow | None:
        waiting = [row for row in self._live.get(key, ()) if row.state == "rack_level"]
        if by_id(key):
            return waiting[-1] if waiting else self.newest(key) or self._last.get(key)
        fresh = [row for row in waiting if since(row.started_at, at) <= _FRESH_US]
        if len(fresh) > 1:
            self.ambiguous += 1
        return fresh[0] if fresh else None

    def _for_completed(self, key: Hashable, at: int | None, duration_ms: float) -> RequestRow | None:
        bucket = self._live.get(key, ())
        running = [row for row in bucket if row.state == "open"] or [
            row for row in bucket if row.state == "superseded"
        ]
        if len(running) <= 1:
            return running[0] if running else self._for_redirect(key, at)
        ranked = sorted(running, key=lambda row: age_error(row, at, duration_ms))
        best, second = (age_error(row, at, duration_ms) for row in ranked[:2])
        if best > 10_000 + duration_ms * 10 or second < best + 3_000:
            self.ambiguous += 1
        return ranked[0]

    def _for_redirect(self, key: Hashable, at: int | None) -> RequestRow | None:
        """The router answers a redirect with Completed, but without a controller."""
        row = self.newest(key)
        if row is None or (not by_id(key) and since(row.started_at, at) > _FRESH_US):
            return None
        return row

    # ------------------------------------------------------------------------------------------------------- the end

    def finish(self) -> None:
        """The stream ended: everything still known becomes a row."""
        self._retire(linger=0)
        for bucket in self._live.values():
            for row in bucket:
                self._explain_rack_level(row)
                self.rows.add(row)
        for sockets in self._sockets.values():
            for row in sockets:
                self.rows.add(row)
        for known in (self._live, self._running, self._waiting, self._sockets):
            known.clear()

    def _explain_rack_level(self, row: RequestRow) -> None:
        if row.state == "rack_level":
            if (row.method, route(row.path or "")) in self._routes:
                row.add_note(NOTE_BEFORE_CONTROLLER)
            elif not self.partial:
                row.add_note(NOTE_MIDDLEWARE)
