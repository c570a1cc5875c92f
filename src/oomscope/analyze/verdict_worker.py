"""Which worker of a container died, as the container numbers its processes. Host pids are never taken for it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from oomscope.analyze.verdict_death import Death
from oomscope.facts import OomKill, ProcessLife, TaskRow

if TYPE_CHECKING:
    from oomscope.evidence import Bundle

_SANDBOX = "pause"
_SLACK = timedelta(seconds=2)


def victim_pid(death: Death, bundle: Bundle) -> int | None:
    """Pid, inside its container, of the process that was killed; None when it cannot be told.

    First by the worker that was replaced, else by its rank among the processes of the container.
    """
    if death.replaced is not None:
        return death.replaced.pid
    lives = [
        life for life in bundle.lives if death.stream and life.stream == death.stream.stream and life.pid
    ]
    return _by_log_end(death, lives) or _by_rank(death, lives)


def _by_log_end(death: Death, lives: list[ProcessLife]) -> int | None:
    """The one worker that died and was replaced around the kill."""
    gone = [
        life
        for life in lives
        if life.end in ("replaced", "reaped_sigkill")
        and (not death.at or not life.last_line_at or life.last_line_at <= death.at + _SLACK)
    ]
    return gone[0].pid if len(gone) == 1 else None


def _by_rank(death: Death, lives: list[ProcessLife]) -> int | None:
    """The killed process by its place in the kernel's table."""
    kernel = death.kernel
    life = None if kernel is None else by_rank(kernel, lives, death.at).get(kernel.pid)
    return life.pid if life else None


def by_rank(kernel: OomKill, lives: Sequence[ProcessLife], at: datetime | None) -> dict[int, ProcessLife]:
    """Host pid to process: both sides number processes in the order they were started, so equal ranks are the same.

    Empty unless the kernel's table lists exactly as many processes as the log knows to be alive, at least two.
    """
    alive = {life.pid: life for life in lives if life.pid and _alive(life, at)}
    hosts = sorted(task.pid for task in processes(kernel))
    if len(alive) < 2 or len(alive) != len(hosts) or kernel.pid not in hosts:
        return {}
    return dict(zip(hosts, (alive[pid] for pid in sorted(alive)), strict=True))


def processes(kernel: OomKill) -> list[TaskRow]:
    """The processes of the kernel's table, one row each: threads and the sandbox of the pod left out."""
    found = {t.pid: t for t in kernel.tasks if t.comm != _SANDBOX and t.tgid in (None, t.pid)}
    return list(found.values())


def _alive(life: ProcessLife, at: datetime | None) -> bool:
    if at is None:
        return True
    born = life.booted_at is None or life.booted_at <= at
    return born and (life.stopped_at is None or life.stopped_at >= at - _SLACK)
