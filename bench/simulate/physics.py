"""Threads, queues and memory: from arrivals to the moment a pod crosses its limit. Sizes in MB, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapreplace

import numpy as np

from bench.simulate.world import Deployment, Floats, Ints, Rng

GRID = 0.25


@dataclass
class Traffic:
    """Requests of all pods, one array element each, in order of arrival. ``mark``: 0 ordinary, 1 the fault's."""

    pod: Ints
    endpoint: Ints
    arrive: Floats
    work: Floats
    peak: Floats
    leak: Floats
    received: Floats
    sent: Floats
    mark: Ints
    start: Floats
    end: Floats

    def take(self, rows: Ints | np.ndarray) -> Traffic:
        return Traffic(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


def join(parts: list[Traffic]) -> Traffic:
    """Several sources of requests as one, in order of arrival."""
    names = Traffic.__dataclass_fields__
    whole = Traffic(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})
    return whole.take(np.argsort(whole.arrive, kind="stable"))


def serve(traffic: Traffic, threads: int, pods: int) -> None:
    """Fill in start and end: first come, first served, ``threads`` at a time in every pod."""
    for pod in range(pods):
        rows = np.flatnonzero(traffic.pod == pod)
        _serve_pod(traffic, rows, threads, np.inf, 1.0)


def slow_down(traffic: Traffic, pod: int, threads: int, since: float, factor: float) -> None:
    """Serve one pod again, ``factor`` times slower from ``since`` on: what a pod does just before it dies."""
    _serve_pod(traffic, np.flatnonzero(traffic.pod == pod), threads, since, factor)


def _serve_pod(traffic: Traffic, rows: Ints, threads: int, since: float, factor: float) -> None:
    free = [0.0] * threads
    starts, ends = [], []
    for arrive, work in zip(traffic.arrive[rows].tolist(), traffic.work[rows].tolist(), strict=True):
        start = max(arrive, free[0])
        end = start + work
        if end > since:
            end = max(start, since) + (end - max(start, since)) * factor
        heapreplace(free, end)
        starts.append(start)
        ends.append(end)
    traffic.start[rows], traffic.end[rows] = starts, ends


def live(start: Floats, end: Floats, peak: Floats, steps: int) -> Floats:
    """Memory held by running requests on the grid: each grows in a straight line to its peak, then lets go."""
    length = np.maximum(end - start, GRID)
    slope = peak / length
    first = np.minimum((start / GRID).astype(np.int64) + 1, steps)
    last = np.minimum(np.maximum((end / GRID).astype(np.int64) + 1, first + 1), steps)

    def running(weight: Floats) -> Floats:
        up = np.bincount(first, weight, steps + 1) - np.bincount(last, weight, steps + 1)
        return np.asarray(np.cumsum(up)[:steps])

    time = np.arange(steps) * GRID
    return np.maximum(time * running(slope) - running(slope * start), 0.0)


def high_water(held: Floats, tau: float) -> Floats:
    """A heap gives back what it took only slowly: the running maximum, decaying with ``tau``."""
    rise = np.exp(np.minimum(np.arange(held.size) * GRID / tau, 600.0))
    return np.asarray(np.maximum.accumulate(held * rise) / rise)


@dataclass
class Memory:
    """Memory of one pod on the grid, in parts, so that the fault's part can be scaled without serving again."""

    base: Floats
    held: Floats
    fault_held: Floats
    leaked: Floats
    tau: float

    def total(self, scale: float) -> Floats:
        """All of it, the fault ``scale`` times as large."""
        return self.base + high_water(self.held + scale * self.fault_held, self.tau) + scale * self.leaked


def memory_of(d: Deployment, traffic: Traffic, pod: int, steps: int, rng: Rng) -> Memory:
    """The memory of one pod over the whole run."""
    rows = traffic.take(np.flatnonzero(traffic.pod == pod))
    time = np.arange(steps) * GRID
    base = d.base[pod] + d.warm_up * (1 - np.exp(-time / d.warm_up_tau)) + rng.normal(0, 1.0, steps)
    fault = rows.mark == 1
    at = np.minimum((rows.end / GRID).astype(np.int64), steps)
    leaked = np.cumsum(np.bincount(at, rows.leak, steps + 1).astype(float))[:steps]
    return Memory(
        base,
        live(rows.start[~fault], rows.end[~fault], rows.peak[~fault], steps),
        live(rows.start[fault], rows.end[fault], rows.peak[fault], steps),
        leaked,
        d.heap_tau,
    )


def allocated(d: Deployment, traffic: Traffic, pod: int, steps: int) -> Floats:
    """What Rails would log as allocations: objects the whole process made between start and end of each request."""
    rows = np.flatnonzero(traffic.pod == pod)
    r = traffic.take(rows)
    objects = r.peak * d.objects_per_mb[r.endpoint]
    slope = objects / np.maximum(r.end - r.start, 1e-3)
    first = np.minimum((r.start / GRID).astype(np.int64), steps)
    last = np.minimum((r.end / GRID).astype(np.int64), steps)
    rate = np.cumsum(np.bincount(first, slope, steps + 1) - np.bincount(last, slope, steps + 1))[:steps]
    made = np.concatenate([[0.0], np.cumsum(np.maximum(rate, 0)) * GRID])
    time = np.arange(steps + 1) * GRID
    inside = np.interp(r.end, time, made) - np.interp(r.start, time, made)
    return np.asarray(np.maximum(inside, objects))
