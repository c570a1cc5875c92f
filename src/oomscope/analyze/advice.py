"""What is safe to do now, what to look at, what to change later. Text only: nothing here is ever run."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from oomscope.analyze.hypotheses import label
from oomscope.report import Action, Pattern, Strength

if TYPE_CHECKING:
    from oomscope.analyze.case import Case
    from oomscope.analyze.gate import Candidate

GIB = 1 << 30
STEP = 256 << 20

NOW: dict[Pattern, str] = {
    "large_response": "bound what {who} may return (page size, date range) or block it at the load balancer",
    "large_payload": "refuse large bodies for {who} in front of the app",
    "memory_leak": "restart pods in turn before they reach the limit; the growth follows {who}",
    "concurrent_spike": "limit how many {who} run at once (rate limit or queue at the load balancer)",
    "runaway_request": "stop {who} for the input shown until its work is bounded",
    "background_job": "pause the queue of {who}, or run it in a process of its own",
}
LATER: dict[Pattern, str] = {
    "large_response": "stream or paginate the response; select only the columns that are sent",
    "large_payload": "upload straight to object storage; parse in chunks",
    "memory_leak": "find what keeps the objects: heap dumps (ObjectSpace) before and after a few hundred runs",
    "concurrent_spike": "make each run cheaper, or size the thread count to the memory a run needs",
    "runaway_request": "put a statement timeout and a bound on rows or iterations on this path",
    "background_job": "process in batches and give the job its own memory limit",
    "undersized_limit": "size the limit from the level after warm-up plus threads times the memory of a large request",
    "process_growth": "try jemalloc or MALLOC_ARENA_MAX=2, and fewer threads a process",
    "node_pressure": "set memory requests near real use so that the scheduler does not overcommit the node",
}


def make_actions(case: Case, lead: Candidate | None, word: Strength) -> tuple[Action, ...]:
    """Safe steps, most urgent first."""
    if case.kill.verdict == "not_oom":
        return (
            Action(
                when="investigate",
                text=f"raising memory would not help: {case.kill.instead or 'this was no OOM kill'}",
            ),
        )
    actions = [*_suspect_actions(case, lead, word), *_more_memory(case, lead)]
    return (*actions, *_log_actions(case), *_later(lead))


def _suspect_actions(case: Case, lead: Candidate | None, word: Strength) -> list[Action]:
    if lead is None or lead.who is None or lead.pattern not in NOW or word == "inconclusive":
        return []
    text = NOW[lead.pattern].format(who=label(case, lead.who))
    return [Action(when="now" if word in ("strong", "moderate") else "investigate", text=text)]


def _more_memory(case: Case, lead: Candidate | None) -> list[Action]:
    kill = case.kill
    limit = kill.limit_bytes or case.memory.limit_bytes
    if not limit or kill.scope in ("node", "allocatable"):
        return []
    wanted = -(-int(limit * 1.5) // STEP) * STEP
    text = f"buy time: raise the limit from {_mi(limit)} to {_mi(wanted)}"
    if lead is not None and lead.pattern == "memory_leak":
        text += " (a leak fills this too, only later)"
    return [
        Action(when="now", text=text, command=_command(kill.namespace, kill.workload, kill.container, wanted))
    ]


def _mi(value: int) -> str:
    return f"{value // GIB}Gi" if value % GIB == 0 else f"{value >> 20}Mi"


def _command(namespace: str | None, workload: str | None, container: str | None, limit: int) -> str | None:
    """A kubectl line to read, check and paste; every name is quoted for a shell."""
    if not workload:
        return None
    target = workload if "/" in workload else f"deployment/{workload}"
    words = ["kubectl", *(["-n", namespace] if namespace else []), "set", "resources", target]
    words += [*(["-c", container] if container else []), f"--limits=memory={_mi(limit)}"]
    return " ".join(shlex.quote(word) for word in words)


def _log_actions(case: Case) -> list[Action]:
    if case.flight.fix:
        return [
            Action(
                when="investigate", text=f"so that the next kill shows what was in flight: {case.flight.fix}"
            )
        ]
    return []


def _later(lead: Candidate | None) -> list[Action]:
    if lead is None or lead.pattern not in LATER:
        return []
    return [Action(when="later", text=LATER[lead.pattern])]
