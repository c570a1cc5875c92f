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
    """Both sides number processes in the order they were started, so equal ranks are the same process.

    Only where the kernel's table lists exactly as many processes as the log knows to be alive, at least two.
    """
    kernel = death.kernel
    if kernel is None:
        return None
    alive = sorted({life.pid for life in lives if life.pid and _alive(life, death)})
    hosts = sorted({t.pid for t in kernel.tasks if t.comm != _SANDBOX and t.tgid in (None, t.pid)})
    if len(alive) < 2 or len(alive) != len(hosts) or kernel.pid not in hosts:
        return None
    return alive[hosts.index(kernel.pid)]


def _alive(life: ProcessLife, death: Death) -> bool:
    if death.at is None:
        return True
    born = life.booted_at is None or life.booted_at <= death.at
    return born and (life.stopped_at is None or life.stopped_at >= death.at - _SLACK)
