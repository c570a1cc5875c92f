"""The one missing input that would help most, in one line the user can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from oomscope.analyze.case import Case
    from oomscope.analyze.gate import Candidate


def most_wanted(case: Case, lead: Candidate) -> str | None:
    """Ordered by what each source was worth in the ablations: log, memory, ALB, a second kill."""
    if case.runs.source == "alb" or (case.flight.unknown and not case.runs.who.size):
        return (
            "the application log of the dead container instance (kubectl logs --previous, or the log store)"
        )
    if case.growth is None:
        return "memory samples of the dead container (container_memory_working_set_bytes, 15 s or finer)"
    if np.isnan(case.runs.received).all():
        return "ALB access logs (body and response sizes, arrivals, in-flight requests the app never logged)"
    if case.flight.unknown:
        return case.flight.fix or "a log that shows when requests start"
    if lead.pattern in ("memory_leak", "process_growth", "undersized_limit"):
        return "a second kill of the same image: the rows of the memory regression add up"
    return "a second kill of the same workload"
