"""What goes wrong: for every pattern the requests or jobs the fault adds, or the memory it never gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bench.simulate.physics import Traffic
from bench.simulate.world import Deployment, Floats, Rng

# pattern -> (names the report may give it, is an endpoint at fault)
PATTERNS: dict[str, tuple[tuple[str, ...], bool]] = {
    "large_response": (("large_response", "runaway_request"), True),
    "runaway": (("runaway_request", "large_response"), True),
    "leak": (("memory_leak",), True),
    "payload": (("large_payload",), True),
    "spike": (("concurrent_spike",), True),
    "job": (("background_job",), False),
    "undersized": (("undersized_limit", "process_growth"), False),
    "growth": (("process_growth", "undersized_limit"), False),
    "two culprits": (("large_response", "runaway_request"), True),
    "alternating": ((), True),
}
TRANSIENT = ("large_response", "runaway", "payload", "spike")
BLAMELESS = ("undersized", "growth")


@dataclass
class Fault:
    """The fault of a deployment; every recurrence has the same one, with other times."""

    pattern: str
    culprits: tuple[int, ...] = ()
    job: int | None = None
    size: float = 1.0  # of one bad request, as a share of the headroom
    seconds: float = 10.0
    amplification: float = 4.0  # memory per received byte
    survived: float = 0.0  # smaller bad requests a pod that did no harm
    multiple: float = 1.0  # of the arrival rate (spike)
    long: bool = False
    trigger: dict[str, str] = field(default_factory=dict)  # {"type": "param" | "id" | "always", ...}
    one_client: bool = False
    leaking_job: bool = False

    @property
    def minutes(self) -> int:
        """How much history to make."""
        if self.long:
            return 240
        slow = self.pattern in ("leak", "growth") or self.leaking_job
        return 42 if slow else 24


def draw_fault(d: Deployment, pattern: str, rng: Rng, long_share: float = 0.0) -> Fault:
    """A culprit and its magnitudes; the culprit is drawn without regard to how heavy it normally is."""
    fault = Fault(pattern, one_client=bool(rng.random() < 0.3))
    everyone = np.arange(d.count)
    if pattern == "leak":
        fault.culprits = (int(rng.choice(everyone[d.lam > 0.015])),)
        fault.long = bool(rng.random() < long_share)
    elif pattern == "payload":
        fault.culprits = (int(rng.choice(everyone[d.upload])),)
        fault.size, fault.seconds, fault.amplification = (
            rng.uniform(0.6, 1.5),
            rng.uniform(0.7, 4),
            rng.uniform(2, 6),
        )
    elif pattern == "spike":
        fault.culprits, fault.multiple = _spike(d, rng)
    elif pattern == "job":
        fault.job = int(rng.integers(len(d.job_rate)))
        fault.leaking_job = bool(rng.random() < 0.5)
        fault.size, fault.seconds = rng.uniform(0.8, 1.4), rng.uniform(10, 60)
    elif pattern == "two culprits":
        fault.culprits = tuple(int(e) for e in rng.choice(everyone, 2, replace=False))
        fault.size, fault.seconds = rng.uniform(0.4, 0.7), rng.uniform(6, 20)
    elif pattern in ("large_response", "runaway"):
        fault.culprits = (int(rng.integers(d.count)),)
        fault.size, fault.seconds = rng.uniform(0.5, 1.4), rng.uniform(4, 30)
    if pattern in ("large_response", "payload"):
        fault.survived = (1.5 if pattern == "large_response" else 0.7) * float(rng.random() < 0.5)
    fault.trigger = _trigger(fault, rng)
    return fault


def _spike(d: Deployment, rng: Rng) -> tuple[tuple[int, ...], float]:
    """An endpoint that, 4 to 80 times as frequent, fills the threads."""
    multiple = rng.uniform(0.7, 1.5) * d.threads / (d.lam * d.mean)
    fit = np.flatnonzero((d.median > 0.2) & (multiple > 4) & (multiple < 80))
    culprit = int(rng.choice(fit)) if fit.size else int(np.argmin(np.abs(np.log(multiple / 20))))
    return (culprit,), float(np.clip(multiple[culprit], 4, 80))


def _trigger(fault: Fault, rng: Rng) -> dict[str, str]:
    if fault.pattern not in ("large_response", "runaway", "two culprits"):
        return {"type": "always"}
    kind = str(rng.choice(["param", "id"]))
    return {
        "type": kind,
        "name": "limit" if kind == "param" else "id",
        "value": "0" if kind == "param" else "90210",
    }


def bad_requests(
    d: Deployment, fault: Fault, onset: float, until: float, headroom: Floats, rng: Rng
) -> Traffic | None:
    """The requests the fault adds to the traffic, from ``onset`` on."""
    if fault.pattern in ("large_response", "two culprits", "payload"):
        return _retried(d, fault, onset, headroom, rng)
    if fault.pattern == "runaway":
        pods = rng.permutation(d.pods)[:1]
        seconds = until - onset
        growth = headroom[pods] / rng.uniform(15, 120)
        return requests(
            d, pods, np.full(1, fault.culprits[0]), np.full(1, onset), np.full(1, seconds), growth * seconds
        )
    if fault.pattern == "spike":
        count = rng.poisson((until - onset) * d.lam[fault.culprits[0]] * fault.multiple * d.pods)
        arrive = rng.uniform(onset, until, count)
        who = np.full(count, fault.culprits[0])
        work = d.median[who] * np.exp(rng.normal(0, 1, count) * d.sigma[who])
        peak = rng.uniform(8, 30) * np.exp(rng.normal(0, 0.4, count))
        return requests(d, rng.integers(0, d.pods, count), who, arrive, work, peak)
    return None


def _retried(d: Deployment, fault: Fault, onset: float, headroom: Floats, rng: Rng) -> Traffic:
    """A handful of bad requests within a minute or two, on any pod; some smaller ones long before."""
    count = 8 * len(fault.culprits)
    gaps = rng.exponential(5 if fault.pattern == "payload" else 10, count) + 1
    arrive = onset + np.concatenate([[0.0], np.cumsum(gaps)[:-1]]) / len(fault.culprits)
    who = np.resize(fault.culprits, count)
    pods = rng.integers(0, d.pods, count)
    size = fault.size * np.exp(rng.normal(0, 0.15, count))
    work = fault.seconds * np.exp(rng.normal(0, 0.3, count))
    before = int(rng.poisson(fault.survived * d.pods))
    arrive = np.concatenate([arrive, rng.uniform(60, onset - 60, before)])
    who, pods = (
        np.concatenate([who, np.resize(fault.culprits, before)]),
        np.concatenate([pods, rng.integers(0, d.pods, before)]),
    )
    size = np.concatenate([size, fault.size * rng.uniform(0.1, 0.4, before)])
    work = np.concatenate([work, fault.seconds * rng.uniform(0.2, 0.6, before)])
    return requests(d, pods, who, arrive, work, size * headroom[pods])


def requests(d: Deployment, pods: object, who: object, arrive: Floats, work: Floats, peak: Floats) -> Traffic:
    """Bad requests as traffic; ``received`` and ``sent`` are filled in once their final size is known."""
    count = len(arrive)
    whole, zero = np.asarray, np.zeros(count)
    return Traffic(
        pod=whole(pods, dtype=np.int64), endpoint=whole(who, dtype=np.int64), arrive=arrive, work=work, peak=peak,
        leak=zero, received=d.received[whole(who)], sent=d.sent[whole(who)], mark=np.ones(count, np.int64),
        start=zero.copy(), end=zero.copy(),
    )  # fmt: skip


def leaks(d: Deployment, fault: Fault, traffic: Traffic, rng: Rng) -> Floats:
    """Relative memory every request keeps for ever (scaled later so that the pod dies in time)."""
    kept = np.exp(rng.normal(-0.125, 0.5, len(traffic.arrive)))
    if fault.pattern == "leak":
        return np.where(traffic.endpoint == fault.culprits[0], kept, 0.0)
    return kept if fault.pattern == "growth" else np.zeros(len(traffic.arrive))
