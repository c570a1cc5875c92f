"""What one incident shall be: everything drawn from its kind and seed before anything runs."""

from __future__ import annotations

import json
import random
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

APP = Path(__file__).parent / "app"
CATALOGUE: dict[str, Any] = json.loads((APP / "catalogue.json").read_text())
ENDPOINTS: dict[str, dict[str, Any]] = {spec["key"]: spec for spec in CATALOGUE["endpoints"]}
BASE_MB = 66  # the application without ballast, warm
KINDS = (
    "large_response", "handler_leak", "leak_slow", "huge_payload", "concurrency_spike", "runaway",
    "background_job", "undersized", "process_growth", "not_oom", "worker_oom",
)  # fmt: skip
LOG_STYLES = (
    "formatter", "tagged", "one_line_json", "tagged_trace", "tagged_pid", "one_line_kv", "dyno", "stamped",
    "formatter_ip",
)  # fmt: skip
WORKER_KINDS = ("large_response", "handler_leak", "runaway", "huge_payload")
NOT_OOM_KINDS = ("liveness_hang", "crash_exit", "crash_abort", "deploy")


@dataclass
class Plan:
    """One incident to be; times in seconds after the load starts."""

    kind: str
    seed: int
    subkind: str | None
    fault: dict[str, Any]
    jobs: list[dict[str, Any]]
    limit_mb: int
    ballast_mb: int
    threads: int
    workers: int
    n_pods: int
    log_style: str
    rps: float
    weights: dict[str, float]
    onset_s: float
    fault_rps: float
    max_s: float
    after_s: float
    bursts: list[tuple[str, float, float, float]]
    growth_kb: float = 0.0
    growth_cap_mb: float = 0.0
    style: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.kind}-{self.seed}"

    @property
    def shape(self) -> str:
        """The kind of its fault: of a killed worker or a restart the one below."""
        return self.subkind or self.kind

    @property
    def headroom_mb(self) -> float:
        """What is left for requests; every process of a cluster has its own base."""
        return (
            self.limit_mb - max(self.workers, 1) * (BASE_MB + self.ballast_mb) - (40 if self.workers else 0)
        )


def draw(kind: str, seed: int, log_style: str | None = None) -> Plan:
    """The incident that this kind and seed stand for, always the same."""
    rng = random.Random(zlib.crc32(f"{kind}/{seed}".encode()))
    subkind = {"worker_oom": WORKER_KINDS, "not_oom": NOT_OOM_KINDS}.get(kind)
    chosen = subkind[seed % len(subkind)] if subkind else None
    plan = _setting(rng, kind, seed, chosen, log_style or LOG_STYLES[rng.randrange(len(LOG_STYLES))])
    _FAULTS[plan.shape](plan, rng)
    if plan.shape in ("concurrency_spike", "crash_exit", "crash_abort"):
        # The restarted container would die of the same flood before it is looked at.
        plan.style["gives_up"] = True
    plan.bursts = _bursts(plan, rng)
    return plan


def _setting(rng: random.Random, kind: str, seed: int, subkind: str | None, log_style: str) -> Plan:
    workers = 2 if kind == "worker_oom" else 0
    ballast = rng.randrange(30, 90) if workers else rng.randrange(40, 300)
    headroom = rng.randrange(110, 260)
    limit = max(workers, 1) * (BASE_MB + ballast) + (40 if workers else 0) + headroom
    weights = {key: spec["weight"] * rng.lognormvariate(0, 0.5) for key, spec in ENDPOINTS.items()}
    return Plan(
        kind=kind, seed=seed, subkind=subkind, fault={}, jobs=_jobs(rng), limit_mb=-(-limit // 8) * 8,
        ballast_mb=ballast, threads=rng.choice((3, 5, 5, 6, 8, 10, 16)), workers=workers,
        n_pods=rng.choice((1, 1, 2, 2, 3)), log_style=log_style, rps=rng.uniform(9, 20), weights=weights,
        onset_s=rng.uniform(12, 22), fault_rps=0.0, max_s=75.0, after_s=rng.uniform(6, 10), bursts=[],
        style={
            "cgroup": rng.choice(("cgroupfs", "systemd")), "alb_502": rng.choice(("minus1", "elapsed")),
            "kernel_noise": rng.random() < 0.3, "arena_max": rng.random() < 0.4, "pod_limit": rng.random() < 0.3,
            "comm": rng.choice(("puma", "ruby")), "gives_up": rng.random() < 0.5,
        },
    )  # fmt: skip


def _jobs(rng: random.Random) -> list[dict[str, Any]]:
    """Background jobs that do no harm."""
    names = rng.sample(CATALOGUE["jobs"], rng.choice((0, 1, 2, 3)))
    return [
        {"name": name, "ms": rng.uniform(80, 1500), "kb": 0, "share": rng.uniform(0.01, 0.05)}
        for name in names
    ]


def _bursts(plan: Plan, rng: random.Random) -> list[tuple[str, float, float, float]]:
    """(endpoint, from, to, times its rate): innocent endpoints that come in a rush, before or while it goes wrong."""
    quick = [key for key, spec in ENDPOINTS.items() if spec["db"] < 100 and key != plan.fault.get("endpoint")]
    begins = (rng.uniform(3, plan.onset_s), plan.onset_s + rng.uniform(0, 12))
    return [
        (key, start, start + rng.uniform(3, 8), rng.uniform(3, 9))
        for key, start in zip(rng.sample(quick, 2), begins, strict=True)
    ]


def _accuse(plan: Plan, rng: random.Random, keys: list[str], always: float) -> dict[str, Any]:
    """The endpoint at fault, and whether all its requests are bad, one parameter value's, or one id's."""
    if plan.log_style.startswith("one_line"):
        # Such a log has no parameters, and no other source has those of a body.
        keys = [key for key in keys if ENDPOINTS[key]["method"] == "GET"] or keys
    key = rng.choice(keys)
    spec = ENDPOINTS[key]
    triggers = spec.get("triggers", ())
    if not triggers or rng.random() < always:
        return {"endpoint": key, "trigger": {"type": "always"}}
    name, value = rng.choice(triggers).split("=")
    if value not in ("#", "*"):
        return {"endpoint": key, "trigger": {"type": "param", "name": name, "value": value}}
    kind = "id" if value == "#" else "param"
    if kind == "param":
        return {"endpoint": key, "trigger": {"type": "param", "name": name, "value": "e"}}
    ids = [made_id(rng, spec, name) for _ in range(rng.choice((1, 1, 1, 2)))]
    return {"endpoint": key, "trigger": {"type": "id", "name": name, "ids": ids}}


def made_id(rng: random.Random, spec: dict[str, Any], name: str, ordinary: bool = False) -> str:
    """A value for a path segment; ordinary ones and those of faults never meet."""
    if name in spec.get("uuid", ()):
        text = f"{rng.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
    if name == "slug":
        place = rng.choice(
            ("north", "river", "saint-anne", "harbour", "old-mill", "lake", "castle", "station")
        )
        return f"{place}-{rng.choice(('eyes', 'heart', 'skin', 'kids', 'bones'))}" + (
            "" if ordinary else "-center"
        )
    if name == "code":
        return f"W{rng.randrange(1, 30)}-{rng.choice('ABC' if ordinary else 'XYZ')}"
    if name == "token":
        return "".join(rng.choices("abcdefghkmnpqrstuvwxyz23456789", k=10))
    ranges = {"year": (2026, 2027), "week": (1, 53), "number": (1, 120)}
    return str(rng.randrange(*ranges.get(name, (100, 6000) if ordinary else (20000, 99000))))


def _endpoints(kinds: tuple[str, ...], methods: tuple[str, ...] = ("GET", "POST")) -> list[str]:
    return [k for k, s in ENDPOINTS.items() if s["kind"] in kinds and s["method"] in methods and s.get("kb")]


def _large_response(plan: Plan, rng: random.Random) -> None:
    keys = [
        k
        for k in _endpoints(("json", "html", "csv"))
        if ENDPOINTS[k].get("triggers") or ENDPOINTS[k]["kb"] > 8
    ]
    plan.threads = max(plan.threads, 5)
    plan.fault = _accuse(plan, rng, keys, 0.25)
    together = rng.randint(3, max(3, min(plan.threads - 1, 7)))
    megabytes = plan.headroom_mb * rng.uniform(1.2, 1.8) / together / 2.0
    seconds = rng.uniform(2.0, 4.5)
    plan.fault |= {
        "type": "large_response", "mb_lo": megabytes * 0.75, "mb_hi": megabytes * 1.3,
        "chunk_ms": seconds * 1000 / (megabytes * 2),
    }  # fmt: skip
    plan.fault_rps = together / seconds * rng.uniform(0.8, 1.3)
    if plan.fault["trigger"]["type"] == "always":
        # Before the onset they come one at a time, or there is no before.
        most = 0.12 * plan.n_pods / plan.rps * sum(plan.weights.values())
        plan.weights[plan.fault["endpoint"]] = min(plan.weights[plan.fault["endpoint"]], most)


def _leak(plan: Plan, rng: random.Random, seconds: tuple[float, float]) -> None:
    keys = [k for k, s in ENDPOINTS.items() if 0.7 <= s["weight"] <= 14 and s["db"] < 200]
    plan.fault = _accuse(plan, rng, keys, 0.8)
    plan.n_pods, plan.rps = min(plan.n_pods, 2), max(plan.rps, 13.0)
    always = plan.fault["trigger"]["type"] == "always"
    if always:
        # A leak by drops, not by buckets: at least about one request a second and pod.
        least = (
            rng.uniform(0.8, 2.0) * plan.n_pods * max(plan.workers, 1) / plan.rps * sum(plan.weights.values())
        )
        plan.weights[plan.fault["endpoint"]] = max(plan.weights[plan.fault["endpoint"]], least)
    share = plan.weights[plan.fault["endpoint"]] / sum(plan.weights.values())
    plan.fault_rps = 0.0 if always else rng.uniform(1.0, 3.0)
    rate = (share * plan.rps if always else plan.fault_rps) / plan.n_pods
    wanted = rng.uniform(*seconds)
    plan.fault |= {
        "type": "leak", "shape": rng.choice(("strings", "objects")),
        "kb": plan.headroom_mb * 1024 / (rate * wanted) / max(plan.workers, 1),
    }  # fmt: skip
    plan.onset_s = 0.0 if always else rng.uniform(4, 10)


def _handler_leak(plan: Plan, rng: random.Random) -> None:
    _leak(plan, rng, (22, 38))
    plan.max_s = 90


def _leak_slow(plan: Plan, rng: random.Random) -> None:
    _leak(plan, rng, (50, 65))
    plan.max_s = 120


def _huge_payload(plan: Plan, rng: random.Random) -> None:
    keys = [
        k
        for k, s in ENDPOINTS.items()
        if s.get("body") in ("upload", "bundle", "results", "resource", "operation")
    ]
    plan.threads = max(plan.threads, 5)
    key = rng.choice(keys)
    upload = ENDPOINTS[key]["body"] == "upload"
    megabytes = rng.uniform(3, 9)
    plan.fault = {
        "endpoint": key, "trigger": {"type": "always"}, "type": "huge_payload", "hold_ms": rng.uniform(1200, 3500),
        "mb_lo": megabytes * 0.7, "mb_hi": megabytes * 1.4, "upload": upload,
    }  # fmt: skip
    plan.fault_rps = plan.n_pods * rng.uniform(0.9, 1.4) * plan.headroom_mb / 150 * 6 / megabytes


def _concurrency_spike(plan: Plan, rng: random.Random) -> None:
    keys = [
        k
        for k in _endpoints(("json", "html"))
        if 0.8 <= ENDPOINTS[k]["weight"] <= 10 and ENDPOINTS[k]["db"] < 200
    ]
    plan.threads = rng.choice((10, 12, 16, 20))
    plan.fault = {"endpoint": rng.choice(keys), "trigger": {"type": "always"}, "type": "hold"}
    hold = rng.uniform(1100, 2200)
    plan.fault |= {"mb": plan.headroom_mb * rng.uniform(1.25, 1.7) / plan.threads * 1.3, "hold_ms": hold}
    key = plan.fault["endpoint"]
    calm = plan.threads * 0.06 / (hold / 1000) * plan.n_pods
    plan.weights[key] = 0.0
    plan.weights[key] = calm / plan.rps * sum(plan.weights.values())
    plan.fault_rps = calm * 20


def _runaway(plan: Plan, rng: random.Random) -> None:
    keys = [k for k in _endpoints(("json", "html", "csv", "file")) if ENDPOINTS[k].get("triggers")]
    plan.fault = _accuse(plan, rng, keys, 0.0) | {"type": "runaway"}
    plan.fault["mb_per_s"] = plan.headroom_mb / rng.uniform(8, 25)
    plan.fault_rps = rng.uniform(0.01, 0.04) * plan.n_pods


def _background_job(plan: Plan, rng: random.Random) -> None:
    names = [job["name"] for job in plan.jobs] or rng.sample(CATALOGUE["jobs"], 1)
    plan.jobs = plan.jobs or [{"name": names[0], "ms": 300.0, "kb": 0, "share": 0.03}]
    share, wanted = rng.uniform(0.02, 0.06), rng.uniform(25, 50)
    runs = plan.rps / plan.n_pods * share * wanted
    plan.jobs[0] |= {"kb": plan.headroom_mb * 1024 / runs / 1.3, "share": share, "ms": rng.uniform(200, 1800)}
    plan.onset_s, plan.max_s = 10.0, 100


def _growth(plan: Plan, rng: random.Random, cap: float) -> None:
    """Every request leaves a little; ``cap`` is where it ends, as a multiple of what there is room for."""
    wanted = rng.uniform(25, 45)
    plan.growth_kb = plan.headroom_mb * 1024 / (plan.rps / plan.n_pods * wanted)
    plan.growth_cap_mb = plan.headroom_mb * cap
    plan.onset_s, plan.max_s = rng.uniform(5, 15), 100


def _undersized(plan: Plan, rng: random.Random) -> None:
    plan.limit_mb -= int(plan.headroom_mb) - rng.randrange(30, 60)
    _growth(plan, rng, rng.uniform(1.5, 1.9))


def _process_growth(plan: Plan, rng: random.Random) -> None:
    _growth(plan, rng, 50)


def _hang(plan: Plan, rng: random.Random) -> None:
    keys = [k for k in _endpoints(("json", "html")) if ENDPOINTS[k].get("triggers")]
    plan.fault = _accuse(plan, rng, keys, 0.0) | {"type": "hang", "hang_ms": 60000}
    plan.fault_rps = plan.threads * plan.n_pods / rng.uniform(3, 7)
    plan.style["kernel_noise"] = rng.random() < 0.6


def _crash(plan: Plan, rng: random.Random) -> None:
    keys = [k for k in _endpoints(("json", "html", "file")) if ENDPOINTS[k].get("triggers")]
    how = "exit" if plan.subkind == "crash_exit" else rng.choice(("ABRT", "SEGV"))
    plan.fault = _accuse(plan, rng, keys, 0.0) | {"type": "crash", "how": how, "code": rng.choice((1, 3, 42))}
    plan.fault_rps = 0.3


def _deploy(plan: Plan, rng: random.Random) -> None:
    plan.onset_s = rng.uniform(20, 30)
    plan.style["kernel_noise"] = rng.random() < 0.6


_FAULTS = {
    "large_response": _large_response, "handler_leak": _handler_leak, "leak_slow": _leak_slow,
    "huge_payload": _huge_payload, "concurrency_spike": _concurrency_spike, "runaway": _runaway,
    "background_job": _background_job, "undersized": _undersized, "process_growth": _process_growth,
    "liveness_hang": _hang, "crash_exit": _crash, "crash_abort": _crash, "deploy": _deploy,
}  # fmt: skip
