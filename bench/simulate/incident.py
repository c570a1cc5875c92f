"""One incident from seed to evidence: draw, run, find who dies when, and keep what would have been seen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from bench.simulate import physics
from bench.simulate.faults import BLAMELESS, PATTERNS, TRANSIENT, Fault, bad_requests, draw_fault, leaks
from bench.simulate.physics import GRID, Memory, Traffic
from bench.simulate.world import Deployment, Floats, Rng, World, make_deployment

TRIES = 12


@dataclass
class Run:
    """What really happened: traffic and jobs of all pods, memory on the grid, and the death."""

    deployment: Deployment
    fault: Fault
    traffic: Traffic
    jobs: Traffic
    memory: list[Floats]
    victim: int
    died_at: float
    limit: float
    onset: float
    objects: Floats
    earlier: Run | None = None  # the run of the image before, ending where this one begins
    previous: float = field(default=0.0)  # seconds the earlier run lasted


def make_runs(pattern: str, world: World, seed: int, k: int = 1) -> list[Run]:
    """``k`` incidents of one deployment with the same fault ("alternating": two different ones in turn)."""
    rng = np.random.default_rng([world.seed, list(PATTERNS).index(pattern), seed])
    while True:
        d = make_deployment(world, rng)
        names = (
            [str(n) for n in rng.choice(TRANSIENT, 2, replace=False)]
            if pattern == "alternating"
            else [pattern]
        )
        faults = [draw_fault(d, name, rng, world.long_share) for name in names]
        runs = [make_run(d, world, faults[i % len(faults)], rng) for i in range(k)]
        if all(run is not None for run in runs):
            return [run for run in runs if run is not None]


def make_run(d: Deployment, world: World, fault: Fault, rng: Rng) -> Run | None:
    """One incident; None when, however often drawn, something else than the fault would have killed a pod."""
    for _ in range(TRIES):
        run = _attempt(d, world, fault, rng)
        if run is not None:
            if rng.random() < world.deploy_share:
                _add_history(run, world, rng)
            return run
    return None


def _attempt(d: Deployment, world: World, fault: Fault, rng: Rng) -> Run | None:
    until = fault.minutes * 60.0
    steps = int(until / GRID)
    onset = (
        until - rng.uniform(150, 400)
        if fault.pattern not in ("leak", *BLAMELESS)
        else until * rng.uniform(0.6, 0.95)
    )
    rate = 0.15 if fault.long else 1.0
    ordinary = arrivals(d, world, fault.minutes, onset, rng, rate, frozenset(fault.culprits))
    ordinary.leak[:] = leaks(d, fault, ordinary, rng)
    jobs = job_runs(d, until, rng)
    quiet = [_quiet_level(d, ordinary, jobs, pod, steps, rng) for pod in range(d.pods)]
    level, usual = max(high for high, _ in quiet), np.array([middle for _, middle in quiet])
    limit = level * rng.uniform(*((1.25, 1.8) if fault.pattern in ("leak", "growth") else (1.1, 1.5)))
    extra = bad_requests(d, fault, onset, until, limit - usual, rng)
    traffic = ordinary if extra is None else physics.join([ordinary, extra])
    if fault.job is not None:
        jobs = physics.join([jobs, _bad_jobs(d, fault, onset, until, limit - usual, rng)])
    physics.serve(traffic, d.threads, d.pods)
    memory = [_with_jobs(d, traffic, jobs, pod, steps, rng) for pod in range(d.pods)]
    found = (
        _undersized(memory, rng)
        if fault.pattern == "undersized"
        else _death(memory, limit, fault, onset, rng)
    )
    if found is None:
        return None
    victim, died_at, limit, scale = found
    run = Run(
        d, fault, traffic, jobs, [m.total(scale) for m in memory], victim, died_at, limit, onset, np.zeros(0)
    )
    _finish(run, world, scale, steps, rng)
    return run


def arrivals(
    d: Deployment,
    world: World,
    minutes: int,
    onset: float,
    rng: Rng,
    rate: float = 1.0,
    never: frozenset[int] = frozenset(),
) -> Traffic:
    """Ordinary traffic of all pods: Poisson, with a mix that drifts from minute to minute, stalls, and slow spells."""
    mix = _mix(d.count, minutes, world.mix_sd, rng)
    counts = rng.poisson(d.lam[:, None] * rate * mix * 60 * d.pods)
    who = np.repeat(np.repeat(np.arange(d.count), minutes), counts.ravel())
    arrive = np.repeat(np.tile(np.arange(minutes) * 60.0, d.count), counts.ravel()) + rng.uniform(
        0, 60, who.size
    )
    order = np.argsort(arrive)
    who, arrive, total = who[order], arrive[order], who.size
    work = np.maximum(d.median[who] * np.exp(rng.normal(0, 1, total) * d.sigma[who]), 2e-3)
    work *= _stalls(d, world, minutes * 60.0, onset, who, arrive, rng, never)
    size = rng.normal(0, 0.4, total)
    return Traffic(
        pod=rng.integers(0, d.pods, total), endpoint=who, arrive=arrive, work=work, peak=d.peak[who] * np.exp(size),
        leak=np.zeros(total), received=d.received[who] * np.exp(rng.normal(0, d.upload[who] * 1.0)),
        sent=d.sent[who] * np.exp(size + rng.normal(0, 0.3, total)), mark=np.zeros(total, np.int64),
        start=np.zeros(total), end=np.zeros(total),
    )  # fmt: skip


def _mix(count: int, minutes: int, sd: float, rng: Rng) -> Floats:
    """Per-minute factors of every endpoint's rate: an AR(1) each, and a common one."""
    spread = np.append(np.full(count, sd), 0.2)
    steps = rng.normal(0, 1, (minutes, count + 1)) * spread
    level = np.empty_like(steps)
    level[0] = steps[0]
    for minute in range(1, minutes):
        level[minute] = 0.8 * level[minute - 1] + 0.6 * steps[minute]
    return np.asarray(np.exp(level[:, :count] + level[:, count:]).T)


def _stalls(
    d: Deployment,
    world: World,
    until: float,
    onset: float,
    who: np.ndarray,
    arrive: Floats,
    rng: Rng,
    never: frozenset[int],
) -> Floats:
    """How many times slower each request is: a stalled endpoint now and then, and sometimes a slow database."""
    factor = np.ones(len(who))
    at = rng.uniform(-world.stall_period, 0)
    while at < until:
        endpoint, times = int(rng.integers(d.count)), rng.uniform(*world.stall_factor)
        if endpoint not in never:
            factor[(who == endpoint) & (arrive > at) & (arrive < at + 120)] *= times
        at += world.stall_period
    if rng.random() < world.slow_database_share:
        slow = np.isin(who, np.flatnonzero(rng.random(d.count) < 0.6))
        factor[slow & (arrive > onset - rng.uniform(0, 60))] *= rng.uniform(2, 5)
    return factor


def job_runs(d: Deployment, until: float, rng: Rng) -> Traffic:
    """Innocent background jobs in the same processes, on threads of their own."""
    counts = rng.poisson(d.job_rate * until * d.pods)
    who = np.repeat(np.arange(len(counts)), counts)
    total = who.size
    work = d.job_median[who] * np.exp(rng.normal(0, 0.5, total))
    return _jobs(
        d, rng.integers(0, d.pods, total), who, rng.uniform(0, until, total), work, d.job_peak[who], 0
    )


def _jobs(
    d: Deployment, pod: object, who: object, start: Floats, work: Floats, peak: Floats, mark: int
) -> Traffic:
    order, zero = np.argsort(start), np.zeros(len(start))
    jobs = Traffic(
        pod=np.asarray(pod), endpoint=np.asarray(who), arrive=start, work=work, peak=peak, leak=zero, received=zero,
        sent=zero, mark=np.full(len(start), mark), start=start, end=start + work,
    )  # fmt: skip
    return jobs.take(order)


def _bad_jobs(d: Deployment, fault: Fault, onset: float, until: float, headroom: Floats, rng: Rng) -> Traffic:
    """Either runs that each fill the headroom, or runs all along that each keep some of it."""
    if not fault.leaking_job:
        count = 4
        start = onset + np.cumsum(rng.exponential(15, count))
        pods = rng.integers(0, d.pods, count)
        work = fault.seconds * np.exp(rng.normal(0, 0.2, count))
        return _jobs(d, pods, np.full(count, fault.job), start, work, fault.size * headroom[pods], 1)
    count = int(rng.integers(12, 60)) * d.pods
    jobs = _jobs(d, rng.integers(0, d.pods, count), np.full(count, fault.job), rng.uniform(0, until, count),
                 d.job_median[fault.job or 0] * np.exp(rng.normal(0, 0.5, count)), np.full(count, 2.0), 1)  # fmt: skip
    jobs.leak[:] = np.exp(rng.normal(-0.125, 0.5, count))
    return jobs


def _quiet_level(
    d: Deployment, ordinary: Traffic, jobs: Traffic, pod: int, steps: int, rng: Rng
) -> tuple[float, float]:
    """Highest and middle memory of a pod when nothing goes wrong (no queue, which hardly ever forms then)."""
    calm = ordinary.take(np.flatnonzero(ordinary.pod == pod))
    calm.start, calm.end, calm.pod = calm.arrive, calm.arrive + calm.work, np.full(len(calm.arrive), pod)
    total = _with_jobs(d, calm, jobs, pod, steps, rng).total(0.0)[steps // 4 :]
    return float(total.max()), float(np.median(total))


def _with_jobs(d: Deployment, traffic: Traffic, jobs: Traffic, pod: int, steps: int, rng: Rng) -> Memory:
    memory = physics.memory_of(d, traffic, pod, steps, rng)
    mine = jobs.take(np.flatnonzero(jobs.pod == pod))
    bad = mine.mark == 1
    memory.held = memory.held + physics.live(mine.start[~bad], mine.end[~bad], mine.peak[~bad], steps)
    memory.fault_held = memory.fault_held + physics.live(
        mine.start[bad], mine.end[bad], mine.peak[bad], steps
    )
    at = np.minimum((mine.end / GRID).astype(np.int64), steps)
    memory.leaked = memory.leaked + np.cumsum(np.bincount(at, mine.leak, steps + 1))[:steps]
    return memory


Death = tuple[int, float, float, float]  # pod, when, limit, scale of the fault


def _first_over(memory: list[Memory], limit: float, scale: float) -> tuple[int, float] | None:
    first = [np.argmax(over) if (over := m.total(scale) >= limit).any() else -1 for m in memory]
    dying = [(int(step), pod) for pod, step in enumerate(first) if step >= 0]
    return (min(dying)[1], min(dying)[0] * GRID) if dying else None


def _death(memory: list[Memory], limit: float, fault: Fault, onset: float, rng: Rng) -> Death | None:
    """The fault is made as large as it takes, a little more, and must not kill before its onset."""
    if fault.pattern in ("leak", "growth") or fault.leaking_job:
        worst = max(memory, key=lambda m: float(m.leaked[int(onset / GRID) - 1]))
        at = int(onset / GRID) - 1
        scale = (limit - float(np.median(worst.total(0.0)))) / max(float(worst.leaked[at]), 1e-9)
        found = _first_over(memory, limit, scale)
        return None if found is None or found[1] < 480 else (*found, limit, scale)
    scale = 1.0
    for _ in range(12):
        found = _first_over(memory, limit, scale)
        if found is not None:
            return (*found, limit, scale) if found[1] > onset else None
        scale *= 1.25
    return None


def _undersized(memory: list[Memory], rng: Rng) -> Death | None:
    """The limit is what ordinary traffic reached by some moment; the next record is the death."""
    totals = [m.total(0.0) for m in memory]
    since = int(rng.uniform(600, 1100) / GRID)
    limit = max(float(t[:since].max()) for t in totals) * rng.uniform(1.0, 1.01)
    found = _first_over(memory, limit, 0.0)
    return None if found is None else (*found, limit, 0.0)


def _finish(run: Run, world: World, scale: float, steps: int, rng: Rng) -> None:
    """The last seconds of the dying pod are slow; sizes on the wire follow the memory; everything ends at the death."""
    d, fault, traffic = run.deployment, run.fault, run.traffic
    since = run.died_at - rng.uniform(5, 20)
    physics.slow_down(traffic, run.victim, d.threads, since, rng.uniform(*world.slowdown))
    bad = traffic.mark == 1
    traffic.peak[bad] *= scale
    if fault.pattern == "payload":
        traffic.received[bad] = traffic.peak[bad] * 1e6 / fault.amplification
    elif fault.pattern in ("large_response", "two culprits"):
        traffic.sent[bad] = traffic.peak[bad] * 1e6 / rng.uniform(3, 10)
    run.objects = np.zeros(len(traffic.arrive))
    for pod in range(d.pods):
        run.objects[traffic.pod == pod] = physics.allocated(d, traffic, pod, steps)


def _add_history(run: Run, world: World, rng: Rng) -> None:
    """Ten to thirty minutes on the image before: other rates and durations, same names, other pods."""
    d = run.deployment
    minutes = int(rng.integers(10, 30))
    old = replace(
        d,
        lam=d.lam * np.exp(rng.normal(0, 0.5, d.count)),
        median=d.median * np.exp(rng.normal(0, 0.4, d.count)),
        image=d.image + "-before",
    )
    traffic = arrivals(old, world, minutes, 1e9, rng)
    physics.serve(traffic, old.threads, old.pods)
    steps = minutes * 60 * int(1 / GRID)
    jobs = job_runs(old, minutes * 60.0, rng)
    memory = [_with_jobs(old, traffic, jobs, pod, steps, rng).total(0.0) for pod in range(old.pods)]
    objects = traffic.peak * old.objects_per_mb[traffic.endpoint]
    calm = Fault("undersized")
    run.earlier = Run(old, calm, traffic, jobs, memory, -1, minutes * 60.0, run.limit, 1e9, objects)
    run.previous = minutes * 60.0
