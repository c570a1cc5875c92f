"""What can be read right now: each configured source is asked, read-only, for just what an investigation needs.

A row says one thing about one source: reachable, permitted, fresh, covering. Nothing configured is no fault (``off``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from oomscope.errors import SourceError, UserError

if TYPE_CHECKING:
    from oomscope.config import Cluster
    from oomscope.sources.interface import Context

# A gap's reason as a row's status.
_STATUS = {
    "no_data": "missing",
    "unparsable": "error",
    "cut": "error",
    "not_yet": "lagging",
    "too_late": "missing",
}
UNREADABLE = frozenset({"denied", "unreachable", "timed_out", "error"})


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the answer. ``status``: ok, off, lagging, missing, or why it cannot be read."""

    source: str
    status: str
    detail: str
    fix: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """The row as ``render_doctor`` and JSON take it."""
        return {"source": self.source, "status": self.status, "detail": self.detail, "fix": self.fix}


Check = Callable[["Cluster", datetime, "Context"], list[Row]]


def of_error(source: str, error: SourceError, what: str = "") -> Row:
    """The row for a call that failed."""
    detail = f"{what}: {error.detail}" if what else error.detail
    return Row(source, _STATUS.get(error.reason, error.reason), detail, error.fix)


def _checks() -> Sequence[tuple[str, Check]]:
    from oomscope.doctor_alb import check_alb
    from oomscope.doctor_kubernetes import check_kubernetes
    from oomscope.doctor_logs import check_identity, check_logs
    from oomscope.doctor_prometheus import check_prometheus

    return (
        ("kubernetes", check_kubernetes),
        ("prometheus", check_prometheus),
        ("aws", check_identity),
        ("cloudwatch", check_logs),
        ("alb", check_alb),
    )


def examine(cluster: Cluster, now: datetime, ctx: Context) -> list[Row]:
    """All rows, in a fixed order; sources are asked at the same time, and none later than the deadline."""
    checks = _checks()
    pool = ThreadPoolExecutor(len(checks), thread_name_prefix="doctor")
    futures = [(name, pool.submit(_guarded, name, check, cluster, now, ctx)) for name, check in checks]
    try:
        return [row for name, future in futures for row in _rows(name, future, ctx)]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _rows(name: str, future: Future[list[Row]], ctx: Context) -> list[Row]:
    try:
        return future.result(timeout=ctx.seconds_left())
    except FutureTimeout:
        return [
            Row(name, "timed_out", "no answer before the deadline", "check the network, or raise deadline_s")
        ]


def _guarded(name: str, check: Check, cluster: Cluster, now: datetime, ctx: Context) -> list[Row]:
    ctx.progress(f"{name}: asking")
    try:
        return check(cluster, now, ctx)
    except SourceError as error:
        return [of_error(name, error)]
    except UserError as error:  # no kubeconfig, an extra that is not installed
        return [Row(name, "error", error.what, error.fix or None)]


def probe(source: str, asks: Sequence[tuple[str, Callable[[], object]]]) -> tuple[list[str], list[Row]]:
    """What may be done, and a row for each thing that may not. "Not found" proves the permission."""
    may: list[str] = []
    rows: list[Row] = []
    for what, ask in asks:
        try:
            ask()
        except SourceError as error:
            if error.reason != "no_data":
                rows.append(of_error(source, error, what))
                continue
        may.append(what)
    return may, rows
