"""Which worker of a container died, as the container numbers its processes. Host pids are never taken for it. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from oomscope.analyze.verdict_death import Death
from oomscope.facts import ProcessLife

if TYPE_CHECKING:
    from oomscope.evidence import Bundle

_SANDBOX = "pause"
_SLACK = timedelta(seconds=2)


def victim_pid(death: Death, bundle: Bundle) -> int | None:
    """Pid, inside its container, of the process that was killed; None when it cannot be told.

    First by the worker that was replaced; else by the distance between host and container pids, which is one and the
    same number for all processes of a container that were started without another fork in between.
    """
    if death.replaced is not None:
        return death.replaced.pid
    lives = [
        life for life in bundle.lives if death.stream and life.stream == death.stream.stream and life.pid
    ]
    return _by_log_end(death, lives) or _by_shift(death, lives)


def _by_log_end(death: Death, lives: list[ProcessLife]) -> int | None:
    """The one worker that died and was replaced around the kill."""
    gone = [
        life
        for life in lives
        if life.end in ("replaced", "reaped_sigkill")
        and (not death.at or not life.last_line_at or life.last_line_at <= death.at + _SLACK)
    ]
    return gone[0].pid if len(gone) == 1 else None


def _by_shift(death: Death, lives: list[ProcessLife]) -> int | None:
    kernel = death.kernel
    if kernel is None:
        return None
    alive = {life.pid for life in lives if life.pid and _alive(life, death)}
    hosts = {t.pid for t in kernel.tasks if t.comm != _SANDBOX and t.tgid in (None, t.pid)}
    if len(alive) < 3 or kernel.pid not in hosts:
        return None
    shift = min(hosts) - min(alive)
    return (
        kernel.pid - shift
        if {pid + shift for pid in alive} <= hosts and kernel.pid - shift in alive
        else None
    )


def _alive(life: ProcessLife, death: Death) -> bool:
    if death.at is None:
        return True
    born = life.booted_at is None or life.booted_at <= death.at
    return born and (life.stopped_at is None or life.stopped_at >= death.at - _SLACK)
