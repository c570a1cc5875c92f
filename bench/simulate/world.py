"""The worlds incidents happen in, and one deployment (app, traffic, pods) drawn from a world."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rng = np.random.Generator
Range = tuple[float, float]


@dataclass(frozen=True)
class World:
    """How kind the evidence is. Ranges are uniform; times in seconds."""

    seed: int
    pods: tuple[int, ...] = (4,)
    endpoints: tuple[int, int] = (28, 33)
    mix_sd: float = 0.35  # sd of the log of the per-minute rate of an endpoint: what makes leaks identifiable
    rate_factor: float = 1.0
    stall_period: float = 400.0  # every so often a random endpoint is slow everywhere, for 120 s
    stall_factor: Range = (4, 10)
    slow_database_share: float = 0.1  # incidents in which most endpoints are slow in the last minute
    slowdown: Range = (1.0, 1.8)  # of the dying pod's last seconds
    log_loss: Range = (0.0, 0.5)  # lines of the last moments that never left the container
    alb_loss: float = 0.0
    skew: float = 0.0  # clocks of load balancer and memory series, against the log's
    memory_every: tuple[float, ...] = (15.0, 30.0)
    deploy_share: float = 0.0  # a new image in the middle of the history, with other rates and durations
    long_share: float = 0.1  # leaks over hours instead of half an hour


# Weights may be fitted on "fit" only; it differs from the others in seeds and in its parameters.
WORLDS: dict[str, World] = {
    "fit": World(900_000_000, pods=(2, 3, 5), endpoints=(20, 40), mix_sd=0.45, stall_period=300.0, slowdown=(1.0, 2.5),
                 log_loss=(0.0, 1.0), alb_loss=0.01, skew=0.3, memory_every=(15.0, 30.0, 60.0), deploy_share=0.1),
    "standard": World(100_000_000),
    "hard": World(200_000_000, stall_period=200.0, stall_factor=(6, 20), slow_database_share=0.3, slowdown=(1.5, 4.0),
                  log_loss=(0.0, 2.0), alb_loss=0.05, skew=1.0, memory_every=(15.0, 30.0, 60.0), deploy_share=0.15),
    "one pod": World(300_000_000, pods=(1,)),
    "fifty pods": World(400_000_000, pods=(50,), rate_factor=0.25),
    "flat mix": World(500_000_000, mix_sd=0.05),
    "deploy": World(600_000_000, deploy_share=1.0),
    "memory every 60 s": World(700_000_000, memory_every=(60.0,)),
}  # fmt: skip

WORDS = (
    "acorn", "birch", "cedar", "daisy", "elder", "fern", "gorse", "hazel", "iris", "juniper", "kelp", "lilac", "maple",
    "nettle", "oak", "poppy", "quince", "rose", "sedge", "thyme", "umbel", "violet", "willow", "yarrow", "alder",
    "broom", "clover", "dock", "elm", "flax", "ginger", "heather", "ivy", "jasmine", "larch", "moss", "nutmeg",
    "orchid", "pine", "rue", "sorrel", "teasel", "vetch", "wormwood",
)  # fmt: skip
JOB_WORDS = ("Digest", "Import", "Cleanup", "Report", "Sync")


@dataclass
class Deployment:
    """One app on its pods: per endpoint rate a pod (1/s), duration (s), memory while running (MB), bytes."""

    pods: int
    threads: int
    lam: Floats
    median: Floats
    sigma: Floats
    peak: Floats
    objects_per_mb: Floats
    upload: Floats
    received: Floats
    sent: Floats
    base: Floats  # MB a pod at boot
    warm_up: float
    warm_up_tau: float
    heap_tau: float
    has_allocations: bool
    has_trace_ids: bool
    memory_every: float
    job_rate: Floats
    job_median: Floats
    job_peak: Floats
    image: str = ""
    mean: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.mean = self.median * np.exp(self.sigma**2 / 2)

    @property
    def count(self) -> int:
        return len(self.lam)

    def endpoint(self, e: int) -> str:
        """``AcornController#index`` and so on: plain words, so that names carry nothing."""
        return f"{WORDS[e].capitalize()}Controller#{('show', 'create')[int(self.upload[e])]}"


def make_deployment(world: World, rng: Rng) -> Deployment:
    """An app with a long-tailed traffic mix and a few slow but innocent endpoints carrying a third of the load."""
    count = int(rng.integers(*world.endpoints))
    threads = int(rng.choice([5, 8, 12]))
    median = np.clip(np.exp(rng.normal(np.log(0.25), 0.8, count)), 0.02, 2.5)
    slow = rng.choice(count, rng.integers(2, 5), replace=False)
    median[slow] = rng.uniform(4, 12, slow.size)
    sigma = rng.uniform(0.3, 0.8, count)
    lam = _rates(count, slow, median * np.exp(sigma**2 / 2), rng.uniform(0.2, 0.4) * threads, rng)
    upload = np.zeros(count, bool)
    upload[rng.choice(count, 8, replace=False)] = True
    peak = np.clip(np.exp(np.log(2.0) + 0.5 * np.log(median / 0.1) + rng.normal(0, 0.7, count)), 0.2, 40)
    pods = int(rng.choice(world.pods))
    return Deployment(
        pods=pods,
        threads=threads,
        lam=lam * world.rate_factor,
        median=median,
        sigma=sigma,
        peak=peak,
        objects_per_mb=20_000 * np.exp(rng.normal(0, 0.8, count)),
        upload=upload,
        received=np.where(upload, np.exp(rng.normal(np.log(3e3), 1.0, count)), 400.0),
        sent=np.exp(rng.normal(np.log(1e4), 1.2, count)),
        base=rng.uniform(350, 500) + rng.uniform(-10, 10, pods),
        warm_up=rng.uniform(30, 120),
        warm_up_tau=rng.uniform(300, 900),
        heap_tau=rng.uniform(200, 1200),
        has_allocations=bool(rng.random() < 0.5),
        has_trace_ids=bool(rng.random() < 0.5),
        memory_every=float(rng.choice(world.memory_every)),
        job_rate=rng.uniform(0.004, 0.02, 4) * world.rate_factor,
        job_median=np.exp(rng.normal(np.log(2.0), 0.8, 4)),
        job_peak=rng.uniform(1, 15, 4),
        image=f"registry.example/app:{rng.integers(1 << 30):08x}",
    )


def _rates(count: int, slow: Ints, mean: Floats, load: float, rng: Rng) -> Floats:
    """Zipf-like rates whose running requests add up to ``load`` threads, the slow endpoints carrying 35 % of it."""
    weight = 1.0 / np.arange(1, count + 1) * np.exp(rng.normal(0, 0.5, count))
    rng.shuffle(weight)
    fast = np.ones(count, bool)
    fast[slow] = False
    lam = np.zeros(count)
    lam[fast] = weight[fast] / (weight[fast] * mean[fast]).sum() * load * 0.65
    lam[slow] = load * 0.35 / slow.size / mean[slow] * rng.uniform(0.5, 1.5, slow.size)
    return np.clip(lam, 0.004, 3.0)
