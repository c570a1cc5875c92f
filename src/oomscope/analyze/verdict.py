"""Was it an OOM kill, and whose limit was it? Every death in the bundle gets one case; one of them is the question.

Pure. The decision table is data (``verdict_rules``); what a death is, and the evidence of it, are made in
``verdict_deaths`` and ``verdict_evidence``. Conflicting evidence lowers the confidence and is always listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from oomscope.analyze.model import KillCase
from oomscope.analyze.verdict_death import Death
from oomscope.analyze.verdict_deaths import gather
from oomscope.analyze.verdict_evidence import SIGKILL, Evidence, collect, limit_of, started_at
from oomscope.analyze.verdict_rules import OOM, Rule, decide
from oomscope.analyze.verdict_traces import TRACE_OF_ALB, cases_from_traces
from oomscope.analyze.verdict_worker import victim_pid
from oomscope.facts import EventFacts, Target
from oomscope.report import EvidenceRef
from oomscope.units import format_bytes, iso

if TYPE_CHECKING:
    from oomscope.evidence import Bundle

_CONFLICT_COST = 0.03
_OTHER_RESTART_COST = 0.2
_LATE_FACTOR = 3.0  # an alert follows the death it is about
_MAX_RAW = 600
_MAX_ALERT_DELAY = 900.0


def find_kills(bundle: Bundle) -> tuple[KillCase, ...]:
    """Every termination and child kill in the evidence with its verdict, oldest first; undated ones last.

    Kills of other pods on the node are cases of their own; they never count for a container they do not name. Where
    nothing tells of an end, traces of one in the ALB log or in a log that stops are given as ``undetermined``.
    """
    return tuple(_case(death, bundle) for death in gather(bundle)) or cases_from_traces(bundle)


def choose_kill(kills: Iterable[KillCase], target: Target) -> KillCase | None:
    """The kill the question is about: of the target, nearest to its time; without a time the newest OOM kill, else
    the newest end. Kills of pods nothing else is known of come last. None when no kill fits the target.
    """
    kills = tuple(kills)
    fitting = [k for k in kills if _fits(k, target)]
    if not fitting:
        return _unlinked(kills, target)
    named = [k for k in fitting if k.pod_name] or fitting
    if target.at is None:
        oom = [k for k in named if k.verdict.startswith("oom_")]
        return max(oom or named, key=_order)
    return min(named, key=lambda k: _distance(k, target.at))


def _unlinked(kills: tuple[KillCase, ...], target: Target) -> KillCase | None:
    """The one kernel kill around the target's time that no pod's name is known for: a possibility, no more."""
    traces = [k for k in kills if k.rule == TRACE_OF_ALB and k.pod_name is None and _could_be(k, target)]
    if traces:
        return min(traces, key=lambda k: _distance(k, target.at))
    nameless = [k for k in kills if k.kernel and k.pod_name is None and _could_be(k, target)]
    if len(nameless) != 1:
        return None
    return replace(
        nameless[0],
        verdict="undetermined",
        rule="kernel_unlinked",
        confidence=0.4,
        statement=nameless[0].statement + " Nothing ties that container to the pod in question.",
    )


def _could_be(kill: KillCase, target: Target) -> bool:
    if target.pod_uid and kill.pod_uid and target.pod_uid != kill.pod_uid:
        return False
    if target.at is None or kill.killed_at is None:
        return True
    return -_MAX_ALERT_DELAY <= (kill.killed_at - target.at).total_seconds() <= 90


def _fits(kill: KillCase, target: Target) -> bool:
    pairs = (
        (target.namespace, kill.namespace),
        (target.pod, kill.pod_name),
        (target.container, kill.container),
        (target.pod_uid, kill.pod_uid),
        (target.workload, kill.workload),
    )
    if target.pod and kill.pod_name is None and not (target.pod_uid and target.pod_uid == kill.pod_uid):
        return False  # a kill of a pod without a name is not known to be the target's
    return all(wanted is None or found is None or wanted == found for wanted, found in pairs)


def _order(kill: KillCase) -> tuple[bool, float, float]:
    return (
        kill.killed_at is not None,
        kill.killed_at.timestamp() if kill.killed_at else 0.0,
        kill.confidence,
    )


def _distance(kill: KillCase, at: datetime | None) -> tuple[float, float]:
    if kill.killed_at is None or at is None:
        return (float("inf"), -kill.confidence)
    late = (kill.killed_at - at).total_seconds()
    return (late * _LATE_FACTOR if late > 0 else -late, -kill.confidence)


def _case(death: Death, bundle: Bundle) -> KillCase:
    evidence = collect(death, bundle)
    rule = decide(evidence)
    conflicts = tuple(_conflicts(death, evidence, rule, bundle))
    confidence = rule.sure(evidence) - _CONFLICT_COST * len(conflicts)
    if other := _other_restart(death, bundle):
        conflicts, confidence = (*conflicts, other), confidence - _OTHER_RESTART_COST
    case = KillCase(
        verdict=rule.verdict,
        rule=rule.id,
        confidence=round(max(0.05, confidence), 3),
        statement=_statement(rule, death, evidence),
        conflicts=conflicts,
        evidence=tuple(_references(death, evidence)),
        instead=rule.instead(evidence) if rule.instead else None,
        victim_pid_in_container=victim_pid(death, bundle) if rule.verdict == "oom_child" else None,
    )
    return _with_identity(case, death)


def _with_identity(case: KillCase, death: Death) -> KillCase:
    pod, end = death.pod, death.termination
    return replace(
        case,
        killed_at=death.at,
        started_at=started_at(death),
        namespace=death.namespace,
        workload=pod.workload if pod else None,
        pod_name=death.pod_name,
        pod_uid=death.pod_uid,
        container=death.container,
        container_id=death.container_id or (death.stream.container_id if death.stream else None),
        node=pod.node if pod else death.kernel.host if death.kernel else None,
        image=death.container_facts.image if death.container_facts else None,
        scope=_scope(death),
        exit_code=end.exit_code if end else None,
        reason=end.reason if end else None,
        limit_bytes=limit_of(death),
        kernel=death.kernel,
        termination=end,
        pod=pod,
        container_facts=death.container_facts,
        stream=death.stream.stream if death.stream else None,
    )


def _scope(death: Death) -> Literal["container", "pod", "allocatable", "node", "unknown"]:
    """Whose limit. A pod cgroup with the limit of its one container is that container's limit, charged one level up."""
    kernel = death.kernel
    if kernel is None:
        return "unknown"
    container = death.container_facts
    alone = death.pod is not None and sum(c.kind == "container" for c in death.pod.containers) == 1
    if (
        kernel.scope == "pod"
        and alone
        and container
        and container.limit_bytes == kernel.limit_bytes is not None
    ):
        return "container"
    return kernel.scope


# ----------------------------------------------------------------------------------------------------------- words


def _statement(rule: Rule, death: Death, e: Evidence) -> str:
    kernel = e.kernel
    victim = f"process {kernel.pid} ({kernel.comm})" if kernel else "a process"
    if kernel and kernel.group_kill and len(kernel.group_pids) > 1:
        victim += f" and the {len(kernel.group_pids) - 1} other processes of its cgroup"
    share = f" with memory at {e.peak_share:.0%} of its limit" if e.peak_share is not None else ""
    return rule.words.format(
        victim=victim,
        container=death.container or (death.container_id or "unknown")[:12],
        at=f" at {death.at:%Y-%m-%d %H:%M:%S} UTC" if death.at else "",
        whose={"container": "its limit of", "pod": "its pod's limit of"}.get(_scope(death), "a limit of"),
        limit=format_bytes(limit_of(death)) if limit_of(death) else "unknown size",
        exit="unknown" if e.exit_code is None else e.exit_code,
        reason=e.reason,
        share=share,
    )


def _conflicts(death: Death, e: Evidence, rule: Rule, bundle: Bundle) -> Iterator[str]:
    """Evidence that does not fit the verdict. Each is one sentence."""
    oom = rule.verdict.startswith("oom_")
    if e.kernel and e.reason not in (OOM, None) and e.exit_code == SIGKILL:
        yield f"The runtime reports {e.reason}, the kernel log an OOM kill: the runtime can miss it."
    if e.kernel and e.probe:
        yield f"A probe kill was announced too: {e.probe.message[:200]}"
    if not oom and e.reason == OOM:
        yield "The runtime reports OOMKilled, which sticks to a container once any child of it was OOM-killed."
    if oom and e.stopped_by_request and rule.verdict != "oom_child":
        yield "The log shows that a requested stop was under way."
    if oom and not e.kernel and e.peak_share is not None and e.peak_share < 0.7:
        yield f"Memory samples reached only {e.peak_share:.0%} of the limit; a burst between samples would not show."
    if not oom and rule.verdict == "not_oom" and e.near_limit:
        yield f"Memory was at {e.peak_share:.0%} of the limit: pressure may have slowed the process down."
    if e.kernel_lag_s is not None and not -2 <= e.kernel_lag_s <= 30:
        yield f"Kernel log and Kubernetes put the death {abs(e.kernel_lag_s):.0f} s apart."
    yield from _limit_conflict(death)


def _limit_conflict(death: Death) -> Iterator[str]:
    kernel, container = death.kernel, death.container_facts
    if kernel is None or container is None or kernel.scope != "container":
        return
    if kernel.limit_bytes and container.limit_bytes and kernel.limit_bytes != container.limit_bytes:
        yield (
            f"The limit was {format_bytes(kernel.limit_bytes)} at the kill and is "
            f"{format_bytes(container.limit_bytes)} in the pod now."
        )


def _other_restart(death: Death, bundle: Bundle) -> str | None:
    """The death lies outside of the window asked for, so its evidence may be that of another restart."""
    window = bundle.window
    if window is None or death.at is None:
        return None
    slack = timedelta(seconds=90)
    if window.start - slack <= death.at < window.end + slack:
        return None
    return (
        "This death lies outside of the time asked for: it may be another restart than the one in question."
    )


# ------------------------------------------------------------------------------------------------------ references


def _references(death: Death, e: Evidence) -> Iterator[EvidenceRef]:
    if death.kernel:
        k = death.kernel
        ref = iso(k.at) or (f"{k.uptime_s} s after boot" if k.uptime_s is not None else None)
        yield from (
            EvidenceRef(source=k.source or "kernel_log", ref=ref, raw=line[:_MAX_RAW]) for line in k.raw[:4]
        )
    if end := death.termination:
        raw = f"reason={end.reason} exitCode={end.exit_code} finishedAt={iso(end.finished_at)}"
        yield EvidenceRef(
            source=end.source, ref=f"{death.namespace}/{death.pod_name}/{death.container}", raw=raw
        )
    for event in (e.probe, e.stopping, e.node_oom, e.node_kill):
        if event is not None:
            yield _event_ref(event)
    if death.counter:
        yield EvidenceRef(
            source="restarts", ref=iso(death.counter.at), raw=f"oom_events={death.counter.value:g}"
        )
    if e.peak_share is not None:
        raw = f"highest working set before the death: {e.peak_share:.1%} of the limit"
        yield EvidenceRef(source="memory", ref=iso(death.at), raw=raw)
    if death.stream and death.ended is not False:
        how = "after a requested stop" if e.stopped_by_request else e.fatal or "without a word of stopping"
        yield EvidenceRef(source="app_log", ref=death.stream.stream, raw=f"the log ends {how}"[:_MAX_RAW])
    yield from (EvidenceRef(source="note", raw=note) for note in death.notes)


def _event_ref(event: EventFacts) -> EvidenceRef:
    return EvidenceRef(source="events", ref=iso(event.at), raw=f"{event.reason}: {event.message}"[:_MAX_RAW])
