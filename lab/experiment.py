"""Runs one incident: starts the pods, sends the traffic, waits for the death, and lets the restart be seen."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
import zlib
from pathlib import Path

from lab import kernel
from lab.balancer import Balancer
from lab.plan import Plan
from lab.pods import Life, Pod
from lab.traffic import Ask, schedule
from lab.write import Run

BOOT_S = 90.0
LEAST_AFTER_S = 3.0


class NoIncident(Exception):
    """Nothing died in time, or more than one incident came out of one plan."""


def names_of(plan: Plan, rng: random.Random) -> dict[str, str]:
    app = rng.choice(("wardbook", "caredesk", "rounds"))
    cert = f"{rng.getrandbits(128):032x}"
    return {
        "app": app, "container": rng.choice((app, "web", "rails")), "alb": f"{app}-public",
        "namespace": rng.choice(("clinical", "production", "care-eu", "default")),
        "account": str(rng.randrange(10**11, 10**12)), "tag": f"{rng.getrandbits(28):07x}",
        "alb_id": f"{rng.getrandbits(64):016x}", "host": f"{app}.hospital.example",
        "cert": f"{cert[:8]}-{cert[8:12]}-{cert[12:16]}-{cert[16:20]}-{cert[20:]}",
    }  # fmt: skip


async def run(plan: Plan, noise: kernel.Report | None, work: Path) -> Run:
    """The incident, or ``NoIncident``; whatever happens nothing stays running. Traces are left in ``work``."""
    ring = kernel.Reader()
    ring.start()
    experiment = Experiment(plan, work, ring, noise)
    try:
        return await experiment.run()
    finally:
        await experiment.close()
        ring.stop()


class Experiment:
    """The parts of one run and when each thing happened."""

    def __init__(self, plan: Plan, work: Path, ring: kernel.Reader, noise: kernel.Report | None) -> None:
        self.plan, self.work, self.ring, self.noise = plan, work, ring, noise
        self.rng = random.Random(zlib.crc32(f"names/{plan.id}".encode()) ^ int.from_bytes(os.urandom(4)))
        self.names = names_of(plan, self.rng)
        self.hash = f"{self.rng.getrandbits(40):010x}"
        self.pods = [Pod(plan, self.rng, self.hash, work, self.names) for _ in range(plan.n_pods)]
        self.balancer: Balancer | None = None
        self.started_at = self.load_at = 0.0

    async def run(self) -> Run:
        self.started_at = time.time()
        for pod in self.pods:
            pod.start()
            pod.watch()
        async with asyncio.timeout(BOOT_S):
            await asyncio.gather(*(pod.ready.wait() for pod in self.pods))
        self.load_at = time.time()
        self.balancer = Balancer(self.pods, self.rng, self.names["host"])
        load = asyncio.create_task(self._load(schedule(self.plan, self.plan.max_s + 40)))
        try:
            if self.plan.subkind == "deploy":
                await asyncio.sleep(self.plan.onset_s)
                await self._roll_out()
            await self._death()
            ended_at = await self._aftermath()
        finally:
            load.cancel()
        await self.balancer.finish()
        return self._result(ended_at)

    async def _load(self, asks: list[Ask]) -> None:
        assert self.balancer is not None
        for ask in asks:
            if ask.fault and self.plan.style["gives_up"] and self._ends():
                continue
            await asyncio.sleep(max(0.0, self.load_at + ask.at - time.time()))
            self.balancer.send(ask)

    async def _roll_out(self) -> None:
        """One pod of a new version comes, an old one goes."""
        assert self.balancer is not None
        new = Pod(self.plan, self.rng, f"{self.rng.getrandbits(40):010x}", self.work, self.names)
        self.pods.append(new)
        new.start()
        new.watch()
        await asyncio.wait_for(new.ready.wait(), BOOT_S)
        old = self.pods[0]
        self.balancer.pods = [pod for pod in self.pods if pod is not old]
        await old.leave()
        try:
            async with asyncio.timeout(12):
                while old.life.ended_at is None:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            old.signal(signal.SIGKILL)

    async def _death(self) -> None:
        deadline = self.load_at + self.plan.max_s
        while not self._ends() and not self._kills():
            if time.time() > deadline:
                raise NoIncident(f"nothing died within {self.plan.max_s:.0f} s")
            await asyncio.sleep(0.1)

    async def _aftermath(self) -> float:
        """When the evidence ends: a while after the first kill, but before the next one of the same pod."""
        till = time.time() + self.plan.after_s
        while time.time() < till:
            kills = self._kills()
            again = [kill for kill, pod, _ in kills if pod is kills[0][1]][1:]
            if again:
                return self.ring.wall(again[0].stamp) - 0.2
            await asyncio.sleep(0.05)
        return time.time()

    def _ends(self) -> list[tuple[float, Pod, Life]]:
        ends = [(life.ended_at, pod, life) for pod in self.pods for life in pod.lives if life.ended_at]
        return sorted(ends, key=lambda end: end[0])

    def _kills(self) -> list[tuple[kernel.Report, Pod, Life]]:
        """Reports of our containers, in order. A container's id stands in the path of its cgroup."""
        found = []
        for report in kernel.reports(list(self.ring.lines)):
            for pod in self.pods:
                found += [(report, pod, life) for life in pod.lives if report.chose(life.container_id)]
        return found

    def _result(self, ended_at: float) -> Run:
        kills, ends = self._kills(), self._ends()
        kills = [kill for kill in kills if self.ring.wall(kill[0].stamp) <= ended_at]
        if bool(kills) == (self.plan.kind == "not_oom"):
            raise NoIncident("killed for memory, or not, against the plan")
        if kills:
            report, victim, life = kills[0]
            death_at = self.ring.wall(report.stamp)
        else:
            death_at, victim, life = ends[0]
        if self.plan.fault.get("endpoint") and death_at < self.load_at + self.plan.onset_s:
            raise NoIncident("died before the fault began")
        if ended_at - death_at < LEAST_AFTER_S:
            raise NoIncident("the same pod was killed twice at once")
        return Run(
            self.plan, self.names, self.pods, self.balancer.rows if self.balancer else [], kills, victim, life,
            death_at, self.ring.offset, self._noise(death_at), self.started_at, self.load_at, ended_at,
            self.load_at + self.plan.onset_s,
        )  # fmt: skip

    def _noise(self, death_at: float) -> kernel.Report | None:
        """An earlier kill of some other pod, moved to a few seconds from this one."""
        if self.noise is None or not self.plan.style["kernel_noise"]:
            return None
        shift = (
            death_at
            + self.rng.choice((-1, 1)) * self.rng.uniform(2, 40)
            - self.ring.offset
            - self.noise.stamp
        )
        lines = tuple(kernel.Line(line.stamp + shift, line.text) for line in self.noise.lines)
        return kernel.Report(lines, self.noise.pid, self.noise.comm)

    async def close(self) -> None:
        if self.balancer:
            await self.balancer.finish()
        await asyncio.gather(*(pod.close() for pod in self.pods))
