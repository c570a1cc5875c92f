"""The decision table: evidence of a death -> verdict. The first rule that holds decides. Data, not control flow.

``row`` names the line of the table in docs/how-it-knows.md. Confidence is that of the rule; conflicts lower it later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from oomscope.analyze.verdict_evidence import SIGKILL, SIGTERM, Evidence
from oomscope.report import Verdict

OOM = "OOMKilled"
_CRASHES = {
    132: "SIGILL",
    133: "SIGTRAP",
    134: "SIGABRT",
    135: "SIGBUS",
    136: "SIGFPE",
    139: "SIGSEGV",
    159: "SIGSYS",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: when it holds, what it concludes, how sure, in which words, and what it was instead of an OOM kill."""

    id: str
    row: str
    when: Callable[[Evidence], bool]
    verdict: Verdict
    confidence: float | Callable[[Evidence], float]
    words: str
    instead: Callable[[Evidence], str] | None = None

    def sure(self, e: Evidence) -> float:
        """Confidence 0..1 for this evidence."""
        return self.confidence if isinstance(self.confidence, float) else self.confidence(e)


def _scope(e: Evidence) -> str | None:
    return e.kernel.scope if e.kernel else None


def _silent_kill(e: Evidence) -> bool:
    """SIGKILL that the runtime did not call an OOM kill, and no one else owns up to."""
    return (
        e.exit_code == SIGKILL and e.reason != OOM and not (e.probe or e.stopping or e.deleted or e.evicted)
    )


def _oom_then_exit(e: Evidence) -> float:
    """How sure it is that a child's OOM kill is the story: less when the exit came long after it."""
    soon = e.kernel_lag_s is not None and 0 <= e.kernel_lag_s <= 60
    return 0.92 if soon and e.exit_code else 0.9


def _probable(e: Evidence) -> float:
    return 0.6 + 0.07 * (e.near_limit + bool(e.runtime_misses_kills)) + (0.01 if e.abrupt else 0.0)


def _probe_words(e: Evidence) -> str:
    which = "startup" if e.probe and "startup probe" in e.probe.message else "liveness"
    return f"killed by the kubelet after failed {which} probes"


def _term_words(e: Evidence) -> str:
    if e.probe:
        return _probe_words(e)
    return "stopped with SIGTERM" + (
        " (pod deleted: rollout, drain or scale-down)" if e.deleted or e.stopping else ""
    )


def _error_words(e: Evidence) -> str:
    if e.refused_allocation:
        return "NoMemoryError: the process was refused memory, no OOM kill"
    if e.exit_code in (126, 127, 128):
        return "the container's command could not be started"
    if e.life_s is not None and e.life_s < 20 and e.fatal:
        return "error at boot"
    return f"the process ended by itself with exit code {e.exit_code}"


RULES: tuple[Rule, ...] = (
    # -- a process inside died, the container lived on or ended for another reason
    Rule("kernel_child", "17", lambda e: e.kernel is not None and e.ended is False, "oom_child", 0.95,
         "The kernel OOM-killed {victim} inside container {container}{at}; the container itself lived on."),
    Rule("counter_child", "17", lambda e: e.counter and e.ended is False, "oom_child",
         lambda e: 0.7 if e.counter_by_alert else 0.85,
         "The OOM counter of container {container} went up{at} while the container lived on: a child was OOM-killed."),
    Rule("sticky_reason", "4", lambda e: e.reason == OOM and e.exit_code not in (None, SIGKILL), "oom_child",
         _oom_then_exit, "A child in container {container} was OOM-killed; the container itself ended with exit code "
         "{exit}, which is not the kernel's SIGKILL."),
    Rule("kernel_then_exit", "4", lambda e: e.kernel is not None and e.exit_code not in (None, SIGKILL), "oom_child",
         0.9, "The kernel OOM-killed {victim} in container {container}{at}; the container then ended with exit code "
         "{exit}."),
    # -- the kernel names this container
    Rule("kernel_node", "12", lambda e: _scope(e) == "node" and e.ended is not None, "oom_node", 0.98,
         "The node ran out of memory and the kernel killed {victim} of container {container}{at}: not its own limit."),
    Rule("kernel_allocatable", "13", lambda e: _scope(e) == "allocatable" and e.ended is not None, "oom_node", 0.98,
         "All pods of the node together exhausted its allocatable memory; the kernel killed {victim} of container "
         "{container}{at}."),
    Rule("kernel_limit", "1", lambda e: e.kernel is not None and e.ended is True and e.reason in (OOM, None),
         "oom_limit", 0.99, "The kernel OOM-killed {victim} of container {container}{at} at {whose} {limit}."),
    Rule("kernel_missed_by_runtime", "5", lambda e: e.kernel is not None and e.ended is True, "oom_limit", 0.97,
         "The kernel OOM-killed {victim} of container {container}{at} at {whose} {limit}; the runtime reported "
         "{reason}."),
    Rule("kernel_only_node", "12", lambda e: _scope(e) in ("node", "allocatable"), "oom_node", 0.85,
         "The kernel killed {victim} of container {container}{at} because the node was short of memory; nothing else "
         "tells whether the whole container ended."),
    Rule("kernel_only", "1", lambda e: e.kernel is not None, "oom_limit", 0.8,
         "The kernel OOM-killed {victim} of container {container}{at} at {whose} {limit}; nothing else tells whether "
         "the whole container ended."),
    # -- eviction, then what the runtime or a metric says
    Rule("evicted", "11", lambda e: e.evicted, "not_oom", 0.97,
         "The kubelet evicted the pod of container {container}{at} because the node was short of memory or disk.",
         lambda e: "node-pressure eviction by the kubelet"),
    Rule("oom_before_probe_kill", "3", lambda e: e.reason == OOM and e.probe is not None, "not_oom", 0.6,
         "A probe killed container {container}{at}; the runtime's OOMKilled points to an earlier OOM kill of a child.",
         _probe_words),
    Rule("runtime_and_node", "12", lambda e: e.reason == OOM and e.node_oom is not None, "oom_node", 0.85,
         "The runtime reports OOMKilled for container {container}{at} and the node reported running out of memory."),
    Rule("metric_oom", "18", lambda e: e.reason == OOM and e.told_by == "kube-state-metrics", "oom_limit",
         lambda e: 0.9 if e.exit_code == SIGKILL else 0.8,
         "kube-state-metrics says container {container} was OOMKilled{at}."),
    Rule("performance_oom", "19", lambda e: e.reason == OOM and e.told_by == "performance-log", "oom_limit", 0.8,
         "The performance log says container {container} was OOMKilled; it gives no exit code and no exact time."),
    Rule("runtime_oom", "2", lambda e: e.reason == OOM, "oom_limit", lambda e: 0.95 if e.exit_code == SIGKILL else 0.8,
         "The runtime reports container {container} as OOMKilled (exit code {exit}){at}."),
    # -- plain ends
    Rule("status_lost", "14", lambda e: e.reason == "ContainerStatusUnknown", "undetermined", 0.3,
         "The kubelet lost the status of container {container}: its exit code is made up."),
    Rule("crash", "16", lambda e: e.exit_code in _CRASHES, "not_oom", 0.95,
         "Container {container} crashed{at} with exit code {exit}.",
         lambda e: f"crash: {_CRASHES.get(e.exit_code or 0, 'signal')}"),
    Rule("sigterm", "10", lambda e: e.exit_code == SIGTERM, "not_oom", 0.95,
         "Container {container} ended on SIGTERM{at} (exit code 143).", _term_words),
    Rule("completed", "15", lambda e: e.exit_code == 0 or (e.reason == "Completed" and e.exit_code is None), "not_oom",
         0.9, "Container {container} ended by itself{at} with exit code 0.", lambda e: "completed"),
    Rule("own_error", "15", lambda e: e.exit_code is not None and e.exit_code != SIGKILL, "not_oom", 0.9,
         "Container {container} ended{at} with exit code {exit}, not by a SIGKILL.", _error_words),
    # -- SIGKILL of disputed origin
    Rule("probe_kill", "7", lambda e: e.probe is not None, "not_oom", lambda e: 0.85 if e.exit_code else 0.8,
         "The kubelet killed container {container}{at} after failed probes; no OOM kill is on record.", _probe_words),
    Rule("grace_exceeded", "8",
         lambda e: e.exit_code == SIGKILL and bool(e.stopping or e.deleted or e.grace_exceeded or e.stopped_by_request),
         "not_oom", 0.85, "Container {container} was asked to stop and was killed{at} when its grace period ran out.",
         lambda e: "grace period exceeded on shutdown"),
    Rule("node_event_kill", "6", lambda e: _silent_kill(e) and (e.node_kill or e.node_oom) is not None, "oom_limit",
         0.75, "A SIGKILL ended container {container}{at} and its node reported an OOM kill in the same minute."),
    Rule("wrapped_kill", "22",
         lambda e: _silent_kill(e) and e.wrapper and (e.near_limit or (e.abrupt and e.events_read)), "oom_limit", 0.6,
         "A SIGKILL ended the process below the wrapper in container {container}{at}; probably an OOM kill."),
    Rule("probable_kill", "6", lambda e: _silent_kill(e) and (e.near_limit or (e.abrupt and e.events_read)),
         "oom_limit", _probable,
         "A SIGKILL that nobody owns up to ended container {container}{at}{share}; probably an OOM kill."),
    Rule("unknown_kill", "9", lambda e: e.exit_code == SIGKILL, "undetermined", 0.5,
         "A SIGKILL of unknown origin ended container {container}{at}."),
    # -- only the log, the events or the memory curve
    Rule("log_refused_memory", "15", lambda e: e.refused_allocation and e.ended is True, "not_oom", 0.8,
         "Container {container} ended{at} after its process was refused memory.", _error_words),
    Rule("log_stopped", "10", lambda e: e.stopped_by_request and e.ended is True, "not_oom", 0.7,
         "The log of container {container} shows a requested stop before its end{at}.",
         lambda e: "stopped on request (SIGTERM): rollout, scale-down or failed probe"),
    Rule("log_fatal", "15", lambda e: e.fatal is not None and e.ended is True, "not_oom", 0.65,
         "The log of container {container} ends{at} with a fatal error.", lambda e: "crash of the process"),
    Rule("event_stopping", "10", lambda e: e.stopping is not None and e.ended is True, "not_oom", 0.7,
         "The kubelet was told to stop container {container}{at}.", _term_words),
    Rule("worker_replaced", "17", lambda e: e.replaced, "undetermined", 0.5,
         "A worker of container {container} was replaced{at} without a word in the log: a SIGKILL, maybe by the OOM "
         "killer; the kernel log or container_oom_events_total would tell."),
    Rule("memory_dropped", "17", lambda e: e.dropped_bytes is not None, "undetermined", 0.5,
         "Memory of container {container} fell from its limit in one step{at} while it ran on: a child probably died."),
    Rule("sudden_end_at_limit", "20", lambda e: e.ended is True and e.near_limit, "undetermined", 0.6,
         "Container {container} ended{at}{share}; no source tells how. An OOM kill is likely."),
    Rule("log_falls_silent", "20", lambda e: e.ended is None, "undetermined", 0.35,
         "The log of container {container} falls silent{at}; no source tells whether or how it ended."),
    Rule("unknown_end", "20", lambda e: True, "undetermined", 0.4,
         "Container {container} ended{at}; no source tells how."),
)  # fmt: skip


def decide(evidence: Evidence) -> Rule:
    """The first rule that holds. The last one always does."""
    return next(rule for rule in RULES if rule.when(evidence))
