"""Where a sentence comes from: rows of the log or the load balancer, and memory samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomscope.analyze.ledger import shorten, tidy
from oomscope.report import EvidenceRef
from oomscope.units import format_bytes, format_seconds, iso

if TYPE_CHECKING:
    from oomscope.analyze.case import Case


def open_refs(case: Case, who: int, limit: int = 5) -> tuple[EvidenceRef, ...]:
    """Log or ALB rows of the endpoint's open runs, oldest first."""
    runs = case.runs
    refs: list[EvidenceRef] = []
    name, is_job = runs.names[who], bool(runs.is_job[who])
    table = case.flight.jobs if is_job else case.flight.requests
    column = "job_class" if is_job else "endpoint"
    mine = table.filter(table[column] == name)
    oldest = mine.sort("age_s", descending=True, maintain_order=True).head(limit)
    for row in oldest.iter_rows(named=True):
        source = row["stream"] or ("alb" if not is_job else "app_log")
        ref = f"line {row['line']}" if row["line"] is not None else row.get("request_id")
        refs.append(EvidenceRef(source=source, ref=ref, raw=shorten(row["raw"])))
    return tuple(refs)


def memory_refs(case: Case) -> tuple[EvidenceRef, ...]:
    """The dead container's last sample."""
    curve = case.memory.dead
    if curve is None or case.kill.killed_at is None:
        return ()
    last = f"{format_bytes(curve.y[-1])}, {format_seconds(-float(curve.t[-1]))} before the kill"
    return (
        EvidenceRef(
            source=curve.source or "memory",
            ref=f"{curve.pod or '?'} {curve.metric}, {curve.t.size} samples to {iso(case.kill.killed_at)}",
            raw=f"last sample {last}; step {tidy(curve.step_s)} s",
        ),
    )
