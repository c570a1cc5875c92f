"""Process lives of one container instance, from what its servers print about booting, workers, stopping and dying."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from oomscope.facts import ProcessLife
from oomscope.logs.clock import from_us
from oomscope.logs.interface import LogEvent

Role = Literal["single", "master", "worker", "sidekiq", "other"]
End = Literal["running", "graceful", "timeout_killed", "culled", "replaced", "reaped_sigkill", "unknown"]

_MAX_LIVES = 5000
_MAX_ERROR = 300


@dataclass(slots=True)
class _Life:
    role: Role
    pid: int | None = None
    index: int | None = None
    server: str | None = None
    booted_at: int | None = None
    last_at: int | None = None
    stopped_at: int | None = None
    end: End | None = None


class Lives:
    """Processes of one stream. A worker that vanished without a word ends as ``unknown`` when its index boots again."""

    def __init__(self) -> None:
        self.threads: int | None = None
        self.workers: int | None = None
        self.boot_at: int | None = None
        self.booted = False
        self.stop_at: int | None = None
        self.stopped = False
        self.error: str | None = None
        self._server: str | None = None
        self._main: _Life | None = None
        self._lives: list[_Life] = []
        self._by_pid: dict[int, _Life] = {}
        self._by_index: dict[int, _Life] = {}

    def take(self, event: LogEvent, at: int | None) -> bool:
        """One server event. True when it says that a process was replaced (its pid is in ``fields``, if known)."""
        fields = event.fields
        if event.kind == "boot":
            self._boot(event, at)
        elif event.kind in ("config", "ready"):
            self._config(event)
        elif event.kind == "worker_boot":
            return self._worker(event, at)
        elif event.kind in ("worker_end", "worker_timeout", "reaped"):
            self._ended(fields, at)
        elif event.kind == "stop":
            self._stop(at)
        elif event.kind == "fatal":
            self.error = str(fields.get("message") or fields.get("exception"))[:_MAX_ERROR]
        return False

    def knows(self, pid: int) -> bool:
        """Whether this process was seen before."""
        return pid in self._by_pid

    def seen(self, pid: int, at: int | None) -> None:
        """A line written by this process at this time."""
        life = self._by_pid.get(pid)
        if life is None:
            main = self._main
            if main is not None and main.pid is None and self.workers is None:
                life = main
                life.pid = pid
            else:
                life = _Life("worker" if self.workers else "other", pid)
                self._add(life)
            self._by_pid[pid] = life
        life.last_at = at

    def _add(self, life: _Life) -> None:
        if len(self._lives) < _MAX_LIVES:
            self._lives.append(life)

    def _boot(self, event: LogEvent, at: int | None) -> None:
        fields = event.fields
        self.booted, self.boot_at = True, self.boot_at if self.boot_at is not None else at
        self._server = fields.get("server")
        pid = fields.get("pid") or event.pid
        life = self._by_pid.get(pid) if pid is not None else None
        if life is None or life.booted_at is not None:
            life = _Life("other", pid)
            self._add(life)
        life.role, life.booted_at, life.server = fields.get("role", "other"), at, self._server
        self._main = life
        self._by_index.clear()
        if life.pid is not None:
            self._by_pid[life.pid] = life

    def _config(self, event: LogEvent) -> None:
        fields, main = event.fields, self._main
        self.threads = fields.get("threads_max", self.threads)
        self.workers = fields.get("workers", self.workers)
        server = fields.get("server")
        if server and " " in server:
            self._server = server
        if main is not None:
            main.server = self._server or main.server
            main.role = fields.get("role", main.role)
            if main.pid is None and fields.get("pid") is not None:
                main.pid = fields["pid"]
                self._by_pid[fields["pid"]] = main

    def _worker(self, event: LogEvent, at: int | None) -> bool:
        index, pid = event.fields.get("index"), event.fields.get("pid")
        before = self._by_index.get(index) if index is not None else None
        if before is not None and before.end is None:
            before.end = "unknown"
        life = self._by_pid.get(pid) if pid is not None else None
        if life is None or life is before or life.booted_at is not None:
            life = _Life("worker", pid)
            self._add(life)
        life.role, life.index, life.server, life.booted_at = "worker", index, self._server, at
        if pid is not None:
            self._by_pid[pid] = life
        if index is not None:
            self._by_index[index] = life
        if before is not None:
            event.fields["replaced_pid"] = before.pid
        return before is not None

    def _ended(self, fields: dict[str, Any], at: int | None) -> None:
        life = self._by_pid.get(fields.get("pid", -1)) or self._by_index.get(fields.get("index", -1))
        if life is None:
            life = _Life(fields.get("role", "worker"), fields.get("pid"), fields.get("index"))
            self._add(life)
            if life.pid is not None:
                self._by_pid[life.pid] = life
        if life.end is None or life.end == "unknown":
            life.end, life.stopped_at = fields.get("end", "unknown"), at

    def _stop(self, at: int | None) -> None:
        if not self.stopped:
            self.stopped, self.stop_at = True, at
        if self._main is not None and self._main.end is None:
            self._main.end, self._main.stopped_at = "graceful", at
        for life in self._by_index.values():
            if life.end is None:
                life.end, life.stopped_at = "graceful", at

    def facts(self, stream: str) -> tuple[ProcessLife, ...]:
        """The lives found, in the order they were first seen."""
        workers = self.workers
        return tuple(
            ProcessLife(
                stream=stream,
                pid=life.pid,
                role=life.role,
                index=life.index,
                server=life.server or self._server,
                booted_at=from_us(life.booted_at),
                last_line_at=from_us(life.last_at),
                stopped_at=from_us(life.stopped_at),
                end=life.end or "running",
                threads_max=self.threads,
                workers=workers if life.role in ("master", "single") else None,
            )
            for life in self._lives
        )
