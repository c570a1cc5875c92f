"""Every end of a container, and every kill inside one that lived on, put together from whatever tells of it. Pure.

Each source knows a death differently: Kubernetes by container id and a whole second, the kernel by cgroup and the
microsecond, kube-state-metrics by pod and a gauge, a log by just ending. ``gather`` makes one ``Death`` of each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from oomscope.analyze.verdict_death import SKEW, Death, belongs, near
from oomscope.analyze.verdict_events import ends_from_events
from oomscope.analyze.verdict_evidence import SIGKILL
from oomscope.analyze.verdict_known import Known
from oomscope.analyze.verdict_memory import falls
from oomscope.facts import LogStream, OomKill, PodFacts, ProcessLife, SeriesPoint, Termination
from oomscope.units import from_epoch

if TYPE_CHECKING:
    from oomscope.evidence import Bundle

_FLUSH = timedelta(seconds=2)  # a line later than this after a kill was written by a living process
_ALERT_DELAY = timedelta(minutes=5)  # scrape, evaluation and pending time of a usual rule
_SILENCE = timedelta(seconds=10)
_LONGEST_DELAY = timedelta(minutes=15)  # from a death to the alert about it
_SANDBOX = "pause"
_ZONE_STEP, _ZONE_SLACK, _MOST_ZONES = 900.0, 5.0, 56  # time zones are quarters of an hour, at most 14 h
_GAUGES = ("kube-state-metrics", "performance-log")


def gather(bundle: Bundle) -> list[Death]:
    """All deaths the bundle tells of, oldest first (those without a time last)."""
    known = Known(bundle)
    deaths = list(_from_pods(bundle.pods))
    for finder in (_from_state_metrics, _from_kernel, _from_performance, _from_logs):
        finder(deaths, known)
    deaths += ends_from_events(bundle.events, deaths)
    _from_lives(deaths, known)
    deaths += falls(bundle, deaths)
    _from_counters(deaths, known)
    for death in deaths:
        known.fill(death)
    _from_silence(deaths, known)
    return sorted(
        _without_undated(deaths),
        key=lambda d: (d.at is None, d.at.timestamp() if d.at else 0.0, d.pod_name or "", d.container or ""),
    )


def _without_undated(deaths: list[Death]) -> list[Death]:
    """A metric's end without a time is the newest end of that container, where another source dates one."""
    kept = []
    for death in deaths:
        if death.at is not None or death.termination is None or death.termination.source not in _GAUGES:
            kept.append(death)
            continue
        twins = [
            d
            for d in deaths
            if d is not death and d.at is not None and d.ended is not False
            and belongs(d, death.namespace, death.pod_name, death.container)
        ]  # fmt: skip
        if not twins:
            kept.append(death)
            continue
        newest = max(twins, key=lambda d: d.at.timestamp() if d.at else 0.0)
        newest.termination = newest.termination or death.termination
    return kept


def _from_pods(pods: tuple[PodFacts, ...]) -> Iterator[Death]:
    for pod in pods:
        ends = [(c, t) for c in pod.containers for t in c.terminations]
        for container, end in ends:
            yield Death(
                pod.namespace, pod.name, pod.uid, container.name, end.container_id, end.finished_at, True, pod,
                container, end,
            )  # fmt: skip
        if pod.status_reason == "Evicted" and not ends:
            yield Death(pod.namespace, pod.name, pod.uid, at=None, ended=True, pod=pod)


# ------------------------------------------------------------------------------------------------------ metrics


def _by_container(points: tuple[SeriesPoint, ...]) -> dict[tuple[str | None, ...], list[SeriesPoint]]:
    groups: dict[tuple[str | None, ...], list[SeriesPoint]] = defaultdict(list)
    for point in sorted(points, key=lambda p: p.at):
        if point.pod:
            groups[(point.namespace, point.pod, point.container, point.pod_uid)].append(point)
    return groups


def _from_state_metrics(deaths: list[Death], known: Known) -> None:
    for (namespace, pod, container, uid), points in _by_container(known.bundle.series).items():
        for end in _metric_ends(points):
            mine = [d for d in deaths if belongs(d, namespace, pod, container) and d.ended]
            if any(near(d.at, end.finished_at, timedelta(seconds=2)) for d in mine):
                continue
            if end.finished_at is None and mine:
                continue
            deaths.append(Death(namespace, pod, uid, container, None, end.finished_at, True, termination=end))


def _metric_ends(points: list[SeriesPoint]) -> Iterator[Termination]:
    """One termination for each distinct finish time of the gauge, with the reason and exit code told with it."""
    reasons = [p for p in points if p.metric == "last_terminated_reason" and p.value == 1]
    codes = [p for p in points if p.metric == "last_terminated_exitcode"]
    times: dict[float, datetime] = {}
    for point in points:
        if point.metric == "last_terminated_timestamp" and point.value > 0:
            times.setdefault(point.value, point.at)
    for value, seen in times.items():
        code = _as_of(codes, seen)
        reason = _as_of(reasons, seen)
        yield Termination(
            "kube-state-metrics", int(code.value) if code else None, reason.reason if reason else None,
            finished_at=from_epoch(value),
        )  # fmt: skip
    if not times and reasons:
        code = codes[-1] if codes else None
        yield Termination("kube-state-metrics", int(code.value) if code else None, reasons[-1].reason)


def _as_of(points: list[SeriesPoint], at: datetime) -> SeriesPoint | None:
    """The reading at that scrape, else the first one after it."""
    return next((p for p in points if p.at >= at), points[-1] if points else None)


def _from_counters(deaths: list[Death], known: Known) -> None:
    """``container_oom_events_total`` went up: some process of the container was OOM-killed between two readings."""
    for (namespace, pod, container, uid), points in _by_container(known.bundle.series).items():
        for since, rise in _rises(points):
            mine = [d for d in deaths if belongs(d, namespace, pod, container)]
            hit = next((d for d in mine if d.at and since - SKEW <= d.at <= rise.at + SKEW), None)
            if hit is None:
                hit = Death(namespace, pod, uid, container, None, rise.at, False)
                hit.notes.append(f"between {since:%H:%M:%S} and {rise.at:%H:%M:%S}")
                deaths.append(hit)
            hit.counter = rise


def _rises(points: list[SeriesPoint]) -> Iterator[tuple[datetime, SeriesPoint]]:
    """(since when, reading that is higher). An alert on the counter stands for a rise in the minutes before it."""
    readings = [p for p in points if p.metric == "oom_events"]
    for before, after in pairwise(readings):
        if after.value > before.value:
            yield before.at, after
    for point in points:
        if point.metric == "oom_events_alert":
            yield point.at - _ALERT_DELAY, point


def _from_performance(deaths: list[Death], known: Known) -> None:
    for (namespace, pod, container, uid), points in _by_container(known.bundle.series).items():
        readings = [p for p in points if p.metric == "performance_termination_reason"]
        if not readings:
            continue
        mine = [d for d in deaths if belongs(d, namespace, pod, container) and d.ended is not False]
        if mine:
            mine[-1].performance = readings[-1]
        else:
            end = Termination("performance-log", reason=readings[0].reason)
            deaths.append(
                Death(namespace, pod, uid, container, None, readings[0].at, True, termination=end,
                      performance=readings[0])
            )  # fmt: skip


# ------------------------------------------------------------------------------------------------------- kernel


def _from_kernel(deaths: list[Death], known: Known) -> None:
    """Newest first, so that the last kill of an instance is the one that ended it."""
    ends = [d for d in deaths if d.ended and d.termination]
    for kill in sorted(known.bundle.oom_kills, key=_kernel_order, reverse=True):
        end = _end_of(ends, kill)
        if end is not None:
            end.kernel = kill
            end.at = kill.at if end.at is None or near(kill.at, end.at) else end.at
            continue
        death = Death(
            pod_uid=kill.pod_uid, container_id=kill.container_id, at=kill.at, kernel=kill,
            container=None,
        )  # fmt: skip
        known.fill(death)
        death.ended = _ended(death, kill)
        if death.at is None and death.stream is not None and death.ended:
            death.at = death.stream.last_at
            death.notes.append("the kernel line has no wall time: the time is that of the log's last line")
        deaths.append(death)


def _kernel_order(kill: OomKill) -> tuple[float, float]:
    return (kill.at.timestamp() if kill.at else 0.0, kill.uptime_s or 0.0)


def _end_of(ends: list[Death], kill: OomKill) -> Death | None:
    """The known end this kill explains: same instance, near in time."""
    for death in ends:
        if death.kernel is not None:
            continue
        same_id = kill.container_id is not None and kill.container_id == death.container_id
        if same_id and (kill.at is None or death.at is None or near(kill.at, death.at)):
            return death
        if same_id and _other_clock(kill, death):
            return death
        loose = (
            not (kill.container_id and death.container_id) and kill.pod_uid and kill.pod_uid == death.pod_uid
        )
        if loose and near(kill.at, death.at):
            return death
    return None


def _other_clock(kill: OomKill, death: Death) -> bool:
    """The kernel log's clock is off: the kill lies outside of the instance's life, or a time zone away from its end."""
    end = death.termination
    if kill.at is None or death.at is None or end is None:
        return False
    if kill.at > death.at + SKEW or (end.started_at is not None and kill.at < end.started_at - SKEW):
        return True
    zones, rest = divmod((death.at - kill.at).total_seconds() + _ZONE_SLACK, _ZONE_STEP)
    return end.exit_code == SIGKILL and 1 <= zones <= _MOST_ZONES and rest <= 2 * _ZONE_SLACK


def _ended(death: Death, kill: OomKill) -> bool | None:
    """Did the container end with this kill? By what came after it, else by who was in it."""
    stream, at = death.stream, kill.at
    if at and stream and stream.last_at and stream.last_at > at + _FLUSH:
        return False
    if death.successor is not None:
        return True
    if _was_alone(kill):
        return True
    if death.pod is not None and death.container_id is not None:
        container = death.container_facts
        ends = container.terminations if container else ()
        if any(t.container_id == death.container_id for t in ends):
            return False  # it ended, but at another time than this kill
        if container and container.container_id == death.container_id:
            return not container.running_since
        return True  # no instance of that id is left
    return kill.group_kill or _was_main(kill)


def _was_alone(kill: OomKill) -> bool:
    """The victim was the only process, so its death was the container's, whatever a Pod read too early says."""
    others = [t for t in kill.tasks if t.comm != _SANDBOX]
    return len(others) == 1 and others[0].pid == kill.pid and kill.scope in ("container", "pod")


def _was_main(kill: OomKill) -> bool | None:
    """Was the victim the container's first process? Processes start in the order of their pids."""
    if not kill.tasks:
        return None
    others = [t.pid for t in kill.tasks if t.comm != _SANDBOX and (t.tgid in (None, t.pid))]
    if kill.scope not in ("container", "pod") or kill.pid not in others:
        return None
    return kill.pid == min(others)


# ----------------------------------------------------------------------------------------------------------- logs


def _from_logs(deaths: list[Death], known: Known) -> None:
    """A log followed by the log of the next instance ended in a death, whatever it was."""
    for stream in known.bundle.streams:
        successor = known.successor.get(stream.stream)
        told = successor is not None or stream.stop_seen_at is not None
        if not told or _has_end(deaths, stream, known):
            continue
        deaths.append(
            Death(
                stream.namespace, stream.pod, stream.pod_uid, stream.container, stream.container_id,
                stream.last_at, True, stream=stream, successor=successor,
            )
        )  # fmt: skip


def _from_silence(deaths: list[Death], known: Known) -> None:
    """The target's log stops long before the time asked about, and nothing tells of any death of that pod then."""
    target = known.bundle.target
    if target.at is None or any(
        d.pod_name == target.pod and near(d.at, target.at, _LONGEST_DELAY) for d in deaths
    ):
        return
    for stream in known.bundle.streams:
        if target.pod != stream.pod or stream.first_at is None or stream.last_at is None:
            continue
        spacing = (stream.last_at - stream.first_at) / max(stream.coverage.lines, 1)
        quiet = target.at - stream.last_at > max(_SILENCE, 50 * spacing)
        if quiet and not known.successor.get(stream.stream) and not _has_end(deaths, stream, known):
            deaths.append(
                Death(
                    stream.namespace, stream.pod, stream.pod_uid, stream.container, stream.container_id,
                    stream.last_at, None, stream=stream,
                )
            )  # fmt: skip


def _has_end(deaths: list[Death], stream: LogStream, known: Known) -> bool:
    for death in deaths:
        if death.ended is False:
            continue
        if stream.container_id and death.container_id:
            if stream.container_id == death.container_id:
                return True
            continue
        named = stream.pod is None or belongs(death, stream.namespace, stream.pod, stream.container)
        if named and (death.stream is stream or near(death.at, stream.last_at)):
            death.stream = death.stream or stream
            death.successor = death.successor or known.successor.get(stream.stream)
            return True
    return False


def _from_lives(deaths: list[Death], known: Known) -> None:
    """A worker whose index booted again without any word of a stop: it died, nothing in the log says of what."""
    streams = {s.stream: s for s in known.bundle.streams}
    for life in known.bundle.lives:
        stream = streams.get(life.stream)
        if life.end not in ("replaced", "reaped_sigkill") or stream is None:
            continue
        when = life.stopped_at or life.last_line_at
        hit = next((d for d in deaths if d.ended is not True and _inside(d, stream, life)), None)
        if hit is None:
            hit = Death(
                stream.namespace, stream.pod, stream.pod_uid, stream.container, stream.container_id, when, False,
                stream=stream,
            )  # fmt: skip
            deaths.append(hit)
        hit.replaced = life


def _inside(death: Death, stream: LogStream, life: ProcessLife) -> bool:
    if death.container_id and stream.container_id and death.container_id != stream.container_id:
        return False
    named = death.container_id == stream.container_id or belongs(
        death, stream.namespace, stream.pod, stream.container
    )
    when = life.stopped_at or life.last_line_at
    alive = death.at is None or life.booted_at is None or life.booted_at <= death.at
    return named and alive and death.replaced is None and (when is None or near(when, death.at))
