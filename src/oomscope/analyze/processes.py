"""What each process held when the kernel killed one of them: its own table, with the names the log gives them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oomscope.analyze.verdict_worker import by_rank, processes
from oomscope.units import iso

if TYPE_CHECKING:
    from oomscope.analyze.case import Case
    from oomscope.facts import OomKill, ProcessLife, TaskRow

SHOWN = 12


def processes_doc(case: Case) -> dict[str, Any] | None:
    """The processes under the limit that was hit, largest first; None when the kernel listed fewer than two."""
    kernel = case.kill.kernel
    tasks = processes(kernel) if kernel is not None else []
    if kernel is None or len(tasks) < 2:
        return None
    lives = [life for life in case.bundle.lives if life.stream == case.kill.stream]
    known = by_rank(kernel, lives, case.kill.killed_at)
    ranked = sorted(tasks, key=lambda task: (-task.rss_bytes, task.pid))
    kept = [task for n, task in enumerate(ranked) if n < SHOWN or _killed(task, kernel)]
    return {
        "at": iso(case.kill.killed_at), "scope": kernel.scope, "total": len(tasks),
        "total_bytes": sum(task.rss_bytes for task in tasks),
        "rows": [_row(task, kernel, known.get(task.pid)) for task in kept[: 2 * SHOWN]],
    }  # fmt: skip


def _killed(task: TaskRow, kernel: OomKill) -> bool:
    return task.pid == kernel.pid or task.pid in kernel.group_pids


def _row(task: TaskRow, kernel: OomKill, life: ProcessLife | None) -> dict[str, Any]:
    return {
        "name": _name(life) or task.comm, "comm": task.comm, "host_pid": task.pid, "pid": life.pid if life else None,
        "role": life.role if life else None, "rss_bytes": task.rss_bytes, "anon_rss_bytes": task.anon_rss_bytes,
        "killed": _killed(task, kernel),
    }  # fmt: skip


def _name(life: ProcessLife | None) -> str:
    if life is None or life.role in ("other", "single"):
        return ""
    return f"{life.role} {life.index}" if life.index is not None else life.role
