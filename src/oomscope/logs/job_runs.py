"""From job events of one stream to job rows: runs that started, ended, were started again, or are still open."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from oomscope.facts import JOB_SCHEMA
from oomscope.logs.interface import LogEvent
from oomscope.logs.rows import JobRow, Rows, intern
from oomscope.logs.sketch import Sketch

NOTE_AGAIN = "started again later: this run ended (retry or redelivery)"

_MAX_WAITING = 20_000
_SAME_RUN_US = 2_000_000
_SAME_START_US = 50_000
_STATES = {"job_completed": "completed", "job_failed": "failed", "job_requeued": "superseded"}


class JobRuns:
    """The jobs of one stream. A run is keyed by its job id, else by process, thread and class."""

    def __init__(self) -> None:
        self.rows = Rows(JOB_SCHEMA)
        self.sketch = Sketch()
        self.started = 0
        self._open: OrderedDict[Hashable, JobRow] = OrderedDict()
        self._started: OrderedDict[Hashable, None] = OrderedDict()
        self._queued: OrderedDict[Hashable, JobRow] = OrderedDict()
        self._alias: OrderedDict[str, Hashable] = (
            OrderedDict()
        )  # Active Job's id -> key of the Sidekiq run around it

    def take(self, event: LogEvent, at: int | None, enqueued_at: int | None, line: int, text: str) -> None:
        """One job event; ``at`` is its time in microseconds, ``text`` the line as read."""
        job_id = event.fields.get("job_id")
        key: Hashable = job_id or (event.pid, event.thread, event.fields.get("job_class"))
        if event.kind == "job_enqueued":
            self._enqueued(key, event, at, line)
        elif event.kind == "job_started":
            self._start(key, event, at, enqueued_at, line, text)
        elif event.kind in _STATES:
            self._end(key, event, at, _STATES[event.kind])

    def _enqueued(self, key: Hashable, event: LogEvent, at: int | None, line: int) -> None:
        if key in self._started:
            # Queues in the same process start a job before the line that says it was put there.
            running = self._open.get(key)
            if running is not None and running.enqueued_at is None:
                running.enqueued_at = at
            return
        row = _row("enqueued", event, line)
        row.enqueued_at = at
        self._queued[key] = row
        if len(self._queued) > _MAX_WAITING:
            self.rows.add(self._queued.popitem(last=False)[1])

    def _start(
        self, key: Hashable, event: LogEvent, at: int | None, enqueued_at: int | None, line: int, text: str
    ) -> None:
        around = self._sidekiq_run(event, at)
        if around is not None:
            self._same_run(key, around, event)
            return
        if self._told_twice(key, event, at):
            return
        self._end_earlier(key)
        self._started[key] = None
        if len(self._started) > _MAX_WAITING:
            self._started.popitem(last=False)
        self.started += 1
        self.sketch.add(str(event.fields.get("job_id")), "job")
        row = _row("open", event, line)
        queued = self._queued.pop(key, None)
        row.started_at, row.raw = at, text[:2000]
        row.enqueued_at = enqueued_at if enqueued_at is not None or queued is None else queued.enqueued_at
        if queued is not None:
            row.queue, row.args = row.queue or queued.queue, row.args or queued.args
        self._open[key] = row
        if len(self._open) > _MAX_WAITING:
            self.rows.add(self._open.popitem(last=False)[1])

    def _sidekiq_run(self, event: LogEvent, at: int | None) -> Hashable | None:
        """The Sidekiq run this Active Job start belongs to: both print their own line, with their own id."""
        if event.fields.get("adapter") != "active_job":
            return None
        fitting = [
            key
            for key, row in reversed(self._open.items())
            if row.adapter == "sidekiq"
            and row.pid == event.pid
            and (event.thread is None or row.thread == event.thread)
            and row.job_class == event.fields.get("job_class")
            and (at is None or row.started_at is None or at - row.started_at <= _SAME_RUN_US)
            and not (row.note or "").startswith("Job ID ")
        ]
        return fitting[0] if len(fitting) == 1 else None

    def _same_run(self, key: Hashable, around: Hashable, event: LogEvent) -> None:
        row = self._open[around]
        row.add_details(event.fields)
        if isinstance(key, str):
            row.note = f"Job ID {key}"
            self._alias[key] = around
            if len(self._alias) > _MAX_WAITING:
                self._alias.popitem(last=False)

    def _told_twice(self, key: Hashable, event: LogEvent, at: int | None) -> bool:
        """Two sinks tell the same start."""
        row = self._open.get(key)
        if row is None or row.adapter != event.fields.get("adapter"):
            return False
        return at is not None and row.started_at is not None and abs(at - row.started_at) <= _SAME_START_US

    def _end_earlier(self, key: Hashable) -> None:
        earlier = self._open.pop(key, None)
        if earlier is not None:
            earlier.state, earlier.note, earlier.raw = "superseded", NOTE_AGAIN, None
            self.rows.add(earlier)

    def _end(self, key: Hashable, event: LogEvent, at: int | None, state: str) -> None:
        if isinstance(key, str) and key in self._alias:
            return  # Sidekiq's own line follows
        row = self._open.pop(key, None)
        if row is None:
            return
        row.state, row.ended_at, row.raw = state, at, None
        row.duration_ms = event.fields.get("duration_ms")
        row.add_details(event.fields)
        if event.fields.get("note"):
            row.note = event.fields["note"]
        self.rows.add(row)

    def finish(self) -> None:
        """The stream ended: open and enqueued jobs become rows."""
        for row in (*self._open.values(), *self._queued.values()):
            self.rows.add(row)
        self._open.clear()
        self._queued.clear()


def _row(state: str, event: LogEvent, line: int) -> JobRow:
    row = JobRow(state, line)
    row.pid, row.thread = event.pid, intern(event.thread)
    row.job_id, row.note = event.fields.get("job_id"), event.fields.get("note")
    row.add_details(event.fields)
    return row
