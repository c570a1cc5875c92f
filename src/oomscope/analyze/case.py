"""Everything measured about one kill, ready to be judged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from oomscope.analyze.baseline import Baseline, make_baseline
from oomscope.analyze.growth import Growth, make_growth
from oomscope.analyze.image import foreign_pods, runs_of_image
from oomscope.analyze.in_flight import find_in_flight
from oomscope.analyze.judge import strength_of, untested
from oomscope.analyze.memory import Memory, read_memory
from oomscope.analyze.model import AccessJoin, InFlight, KillCase
from oomscope.analyze.names import EndpointNames
from oomscope.analyze.runs import Runs, make_runs, seconds_after
from oomscope.analyze.standstill import find_standstill
from oomscope.analyze.transient import Transient, Waiting, score_transient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oomscope.analyze.gate import Candidate
    from oomscope.evidence import Bundle
    from oomscope.report import Strength

    Floats = NDArray[np.float64]

AT_LIMIT = ("oom_limit", "oom_child")
ROOM, ROOM_S = 1 / 3, 2.0  # share of the limit, seconds


@dataclass(frozen=True)
class Case:
    """One kill with its evidence measured. Arrays are indexed like ``runs.names``."""

    bundle: Bundle
    kill: KillCase
    join: AccessJoin
    names: EndpointNames
    flight: InFlight
    runs: Runs
    memory: Memory
    base: Baseline
    transient: Transient
    growth: Growth | None
    waiting: Waiting

    @property
    def queued(self) -> Floats:
        """Per endpoint: requests that had reached the load balancer and never the app."""
        return np.bincount(self.waiting.who, minlength=self.runs.n).astype(float)

    @property
    def at_limit(self) -> bool:
        """True when the kill means that the container's memory had reached its limit."""
        return self.kill.verdict in AT_LIMIT and self.kill.scope in ("container", "pod", "unknown")

    @property
    def _had_room(self) -> bool:
        """True when much of the limit was free so shortly before the end that hardly anything could have filled it."""
        m = self.memory
        if m.missing_bytes is None or m.blind_s is None or not m.limit_bytes:
            return False
        return m.blind_s <= ROOM_S and m.missing_bytes > ROOM * m.limit_bytes

    @property
    def unseen(self) -> NDArray[np.bool_]:
        """Per endpoint and job class: no source tells which of its kind (requests, jobs) were in flight."""
        open_, jobs = self.transient.open > 0, self.runs.is_job
        if self.flight.unknown is None:
            return np.zeros(self.runs.n, dtype=bool)
        return np.where(jobs, not open_[jobs].any(), not open_[~jobs].any())

    @property
    def blind(self) -> bool:
        """No source tells which requests were in flight; jobs may show all the same."""
        return self.flight.unknown is not None and not bool(self.transient.open[~self.runs.is_job].any())

    def cannot_test(self, candidate: Candidate) -> bool:
        """True when the samples that this cause would show in are missing."""
        return untested(candidate, level=self.memory.early_share is not None, growth=self.growth is not None)

    def strength(self, candidate: Candidate) -> Strength:
        """The word for a candidate, given what could be seen."""
        measured = self.memory.dead is not None
        sampled = measured and not self._had_room
        return strength_of(
            candidate, self.kill.verdict, measured=measured, sampled=sampled, seen=not self.blind
        )


def measure(bundle: Bundle, kill: KillCase, join: AccessJoin) -> Case:
    """All measurements of one kill whose time is known."""
    names = EndpointNames(bundle.requests, bundle.accesses)
    flight = find_in_flight(bundle, kill, join, names)
    foreign = foreign_pods(bundle, kill)
    runs = make_runs(bundle, kill, flight, join, names)
    lives = _pods_of_lives(bundle, kill, runs)
    runs = runs_of_image(runs, lives, foreign)
    memory = read_memory(bundle, kill, foreign)
    base = make_baseline(runs)
    waiting = _waiting(join, flight, runs, names, kill)
    still = find_standstill(runs, from_access=flight.unknown is not None)
    at_limit = kill.verdict in AT_LIMIT and kill.scope in ("container", "pod", "unknown")
    return Case(
        bundle=bundle, kill=kill, join=join, names=names, flight=flight, runs=runs, memory=memory, base=base,
        transient=score_transient(runs, base, waiting, still),
        growth=make_growth(runs, memory, lives, at_limit=at_limit),
        waiting=waiting,
    )  # fmt: skip


def _waiting(join: AccessJoin, flight: InFlight, runs: Runs, names: EndpointNames, kill: KillCase) -> Waiting:
    """ALB rows lost at the kill beyond those counted as in flight: they waited for a thread."""
    counted = set(flight.requests["access_row"].drop_nulls())
    rows = join.lost.filter(~pl.col("row").is_in(counted)) if counted else join.lost
    code = {(name, bool(job)): i for i, (name, job) in enumerate(zip(runs.names, runs.is_job, strict=True))}
    found = [code.get((name, False), -1) for name in names.names(rows["method"], rows["path"])]
    who = np.array(found, dtype=np.int64)
    age = -rows.select(seconds_after("created_at", kill.killed_at or datetime.max))["created_at"].to_numpy()
    received = rows["received_bytes"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    place, known = rows["row"].to_numpy().astype(np.int64), who >= 0
    return Waiting(who[known], age[known].astype(float), received[known].astype(float), place[known])


def _pods_of_lives(bundle: Bundle, kill: KillCase, runs: Runs) -> dict[str, str | None]:
    pods: dict[str, str | None] = {stream.stream: stream.pod for stream in bundle.streams}
    for pod in bundle.pods:
        pods.update(dict.fromkeys(pod.pod_ips, pod.name))
    pods.setdefault("dead", kill.pod_name)
    return {life: pods.get(life) for life in runs.lives}
