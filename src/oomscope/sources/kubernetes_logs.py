"""The logs Kubernetes still has of a pod: one previous instance of each container, and the one that runs.

The API takes no container id: after one more restart "previous" silently means another instance. So the lines' own
times are held against the life that the log is said to be of, and a log of another life is not taken for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from oomscope.errors import SourceError
from oomscope.logs.interface import Identity, LogInput
from oomscope.sources.live import Attempts, BytesLog
from oomscope.units import iso, parse_time

if TYPE_CHECKING:
    from oomscope.facts import ContainerFacts, PodFacts, Target
    from oomscope.sources.interface import Context
    from oomscope.sources.kube_client import ClusterReader

MAX_LOG_BYTES = 128 * 1024 * 1024
SLACK = timedelta(seconds=5)  # finishedAt is cut to seconds, and the last lines reach the file a moment later
LATER_DEATH = timedelta(minutes=2)


@dataclass(frozen=True)
class _Life:
    """One instance of a container: which one the API is asked for, and when it lived."""

    previous: bool
    container_id: str | None
    started_at: datetime | None
    finished_at: datetime | None


def container_logs(
    reader: ClusterReader, pod: PodFacts, target: Target, tries: Attempts, ctx: Context
) -> list[LogInput]:
    """The logs of the pod's wanted containers; what cannot be had, or is of another instance, is one gap each."""
    found: list[LogInput] = []
    for container in pod.containers:
        if target.container not in (None, container.name):
            continue
        for life in _lives(container):
            label = f"pod/{pod.name}/{container.name}{' (previous)' if life.previous else ''}"
            read = partial(_read, reader, pod, container, life, ctx)
            data = tries.run(label, read, source="app_log", query=label)
            if data:
                who = Identity(pod.namespace, pod.name, container.name, life.container_id, pod.uid, pod.node)
                found.append(BytesLog(label, who, data))
        _tell_later_death(container, target, tries)
    return found


def _lives(container: ContainerFacts) -> list[_Life]:
    """The instance before the present one, then the present one. While it waits to restart both are the same."""
    dead = next((t for t in container.terminations if t.source == "pod.lastState"), None)
    ended = next((t for t in container.terminations if t.source == "pod.state"), None)
    lives = [_Life(True, dead.container_id, dead.started_at, dead.finished_at)] if dead else []
    if container.container_id and (dead is None or container.container_id != dead.container_id):
        started = ended.started_at if ended else container.running_since
        finished = ended.finished_at if ended else None
        lives.append(_Life(False, container.container_id, started, finished))
    return lives


def _read(
    reader: ClusterReader, pod: PodFacts, container: ContainerFacts, life: _Life, ctx: Context
) -> bytes:
    chunks = reader.pod_log(pod.namespace or "default", pod.name, container.name, previous=life.previous)
    data = _newest(chunks, ctx)
    if _of_another_life(data, life):
        raise SourceError(
            "too_late",
            "the container restarted again: the log at hand is of another instance",
            fix="take it from CloudWatch, or run again",
        )
    return data


def _newest(chunks: Iterator[bytes], ctx: Context) -> bytes:
    """The last ``MAX_LOG_BYTES``, from the beginning of a line."""
    kept: deque[bytes] = deque()
    size, cut = 0, False
    for chunk in chunks:
        if ctx.cancelled() or ctx.seconds_left() == 0.0:
            raise SourceError("timed_out", "the log was still coming in when the time was up")
        kept.append(chunk)
        size += len(chunk)
        while size - len(kept[0]) >= MAX_LOG_BYTES:
            size -= len(kept.popleft())
            cut = True
    data = b"".join(kept)
    return data[data.find(b"\n") + 1 :] if cut else data


def _of_another_life(data: bytes, life: _Life) -> bool:
    first, last = _time_of(data[:200]), _time_of(data[data.rstrip(b"\n").rfind(b"\n") + 1 :][:200])
    if first and life.started_at and first < life.started_at - SLACK:
        return True
    return bool(life.finished_at and last and last > life.finished_at + SLACK)


def _time_of(line: bytes) -> datetime | None:
    """The time the kubelet put in front of a line."""
    return parse_time(line.split(b" ", 1)[0].decode("ascii", "replace"))


def _tell_later_death(container: ContainerFacts, target: Target, tries: Attempts) -> None:
    """Only one previous instance is kept. If that one died after the time asked for, the log asked for is gone."""
    ends = [t.finished_at for t in container.terminations if t.finished_at]
    if target.at is None or not ends or min(ends) <= target.at + LATER_DEATH:
        return
    if container.restart_count is not None and container.restart_count <= len(ends):
        return  # nothing died before: the times are merely apart
    error = SourceError(
        "too_late",
        f"Kubernetes keeps one previous log, that of the instance which died at {iso(min(ends))}",
        fix="take the earlier one from CloudWatch",
    )
    tries.note(error, f"log of {container.name} at {iso(target.at)}", source="app_log")
