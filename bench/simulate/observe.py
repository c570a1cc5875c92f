"""What of a run would have been seen: request log, load balancer log, memory samples, kill record, as a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from bench.simulate.faults import PATTERNS
from bench.simulate.incident import Run, make_runs
from bench.simulate.physics import GRID, Traffic
from bench.simulate.world import JOB_WORDS, WORDS, WORLDS, Floats, Rng, World
from oomscope.evidence import Bundle
from oomscope.facts import (
    ACCESS_SCHEMA,
    JOB_SCHEMA,
    MEMORY_SCHEMA,
    REQUEST_SCHEMA,
    ContainerFacts,
    Coverage,
    LogStream,
    OomKill,
    PodFacts,
    ProcessLife,
    Target,
    Termination,
    Window,
    polars_schema,
)

MB = 1_000_000
EPOCH = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
AFTER_S = 15.0  # what siblings and the load balancer still tell after the kill


@dataclass(frozen=True)
class Simulated:
    """A bundle and the truth about it."""

    bundle: Bundle
    truth: dict[str, Any]


def simulate(pattern: str, world: World | str, seed: int, k: int = 1) -> list[Simulated]:
    """``k`` incidents of one deployment; the same arguments give the same bundles. Patterns: ``faults.PATTERNS``."""
    where = WORLDS[world] if isinstance(world, str) else world
    rng = np.random.default_rng([where.seed, 7, list(PATTERNS).index(pattern), seed])
    begin = EPOCH + timedelta(days=int(rng.integers(200)), seconds=float(rng.uniform(0, 36_000)))
    runs = make_runs(pattern, where, seed, k)
    return [
        _observe(run, where, begin + timedelta(hours=9 * i), rng, f"{seed}-{i}") for i, run in enumerate(runs)
    ]


def _observe(run: Run, world: World, begin: datetime, rng: Rng, name: str) -> Simulated:
    """``begin`` is when the pods of the deployment started."""
    seen = [_Seen(run, world, begin, rng, "web")]
    if run.earlier is not None:
        seen.append(_Seen(run.earlier, world, begin - timedelta(seconds=run.previous), rng, "old"))
    main, killed_at = seen[0], seen[0].at(run.died_at)
    bundle = Bundle(
        target=Target("shop", "web", main.pod(run.victim), "app", killed_at, main.uid(run.victim)),
        window=Window(seen[-1].begin, killed_at + timedelta(seconds=AFTER_S)),
        requests=pl.concat([s.requests() for s in reversed(seen)]),
        jobs=pl.concat([s.jobs() for s in reversed(seen)]),
        accesses=pl.concat([s.accesses() for s in reversed(seen)]).sort("time"),
        memory=pl.concat([s.memory() for s in reversed(seen)]),
        pods=tuple(pod for s in seen for pod in s.pods()),
        oom_kills=(main.oom_kill(),),
        streams=tuple(stream for s in seen for stream in s.streams()),
        lives=tuple(life for s in seen for life in s.lives()),
        sources=("alb", "app_log", "kernel_log", "kubernetes", "memory"),
    )
    return Simulated(bundle, _truth(run, name))


def _truth(run: Run, name: str) -> dict[str, Any]:
    fault, d = run.fault, run.deployment
    return {
        "id": f"{fault.pattern}-{name}",
        "kind": fault.pattern,
        "patterns": PATTERNS[fault.pattern][0],
        "culprits": [d.endpoint(e) for e in fault.culprits],
        "job": None if fault.job is None else f"{JOB_WORDS[fault.job]}Job",
        "trigger": fault.trigger,
        "limit_bytes": int(run.limit * MB),
        "memory_every": d.memory_every,
        "pods": d.pods,
    }


class _Seen:
    """One run as its sources tell it; draws the losses once, so that all tables agree."""

    def __init__(self, run: Run, world: World, begin: datetime, rng: Rng, prefix: str) -> None:
        self.run, self.world, self.begin, self.rng, self.prefix = run, world, begin, rng, prefix
        self.origin = int(begin.timestamp() * 1e6)
        self.skew_alb, self.skew_memory = rng.uniform(-world.skew, world.skew, 2)
        self.tag = int(rng.integers(1 << 40))
        self.rows = self._kept_rows()
        self.cut = run.died_at - rng.uniform(*world.log_loss)

    def _kept_rows(self) -> Traffic:
        keep = np.flatnonzero(self.run.traffic.arrive < self.run.died_at + AFTER_S)
        dead = (self.run.traffic.pod == self.run.victim) & (self.run.traffic.arrive >= self.run.died_at)
        keep = keep[~dead[keep]]
        self.objects = self.run.objects[keep]
        self.number = keep
        traffic = self.run.traffic.take(keep)
        self.ids = self.rng.integers(1, 600, len(keep))
        return traffic

    # ------------------------------------------------------------------------------------------------- names

    def at(self, seconds: float) -> datetime:
        return self.begin + timedelta(seconds=float(seconds))

    def pod(self, index: int) -> str:
        return f"{self.prefix}-{self.tag & 0xFFFFFF:06x}-{index:03d}"

    def uid(self, index: int) -> str:
        return f"{self.tag & 0xFFFFFFFF:08x}-0000-4000-8000-{index:012x}"

    def container_id(self, index: int) -> str:
        return f"{self.tag:012x}{index:04x}".ljust(64, "0")

    def ip(self, index: int) -> str:
        return f"10.{self.tag & 0x7F}.{index // 200}.{index % 200 + 10}"

    def _pod_count(self) -> int:
        return self.run.deployment.pods

    def _per_pod(self, name: Any) -> np.ndarray:
        return np.array([name(i) for i in range(self._pod_count())], dtype=object)

    def _times(self, seconds: Floats) -> pl.Series:
        known = np.isfinite(seconds)
        micros = np.where(known, np.nan_to_num(seconds) * 1e6, 0).astype(np.int64) + self.origin
        series = pl.Series(micros).cast(pl.Datetime("us", "UTC"))
        return pl.select(pl.when(pl.Series(known)).then(series)).to_series()

    # ---------------------------------------------------------------------------------------------- requests

    def _wire(self) -> dict[str, Any]:
        """Columns a request has in both logs."""
        r, d = self.rows, self.run.deployment
        words = np.array(WORDS[: d.count], dtype=object)[r.endpoint]
        bad = r.mark == 1
        trigger = self.run.fault.trigger
        ids = self.ids.astype(object)
        if trigger.get("type") == "id":
            ids[bad] = int(trigger["value"])
        with_id = (r.endpoint % 2 == 0) | np.isin(r.endpoint, self.run.fault.culprits)
        path = np.where(with_id, "/" + words + "/" + ids.astype(str).astype(object), "/" + words)
        limit = np.where(self.ids % 3 == 0, "limit=20", "")
        if trigger.get("type") == "param":
            limit = np.where(bad, f"limit={trigger['value']}", limit)
        clients = 1 + self.ids * 7 % 250
        if self.run.fault.one_client:
            clients = np.where(bad, 251, clients)
        trace = pl.format(
            "Root=1-{}-{}",
            pl.lit(f"{self.origin // 1_000_000 & 0xFFFFFFFF:08x}"),
            pl.Series(self.number).cast(pl.String).str.zfill(24),
        )
        return {
            "method": pl.Series(np.where(d.upload, "POST", "GET")[r.endpoint].tolist(), dtype=pl.String),
            "path": pl.Series(path.tolist(), dtype=pl.String),
            "query": pl.Series([q or None for q in limit.tolist()], dtype=pl.String),
            "client": pl.format("198.51.100.{}", pl.Series(clients)),
            "trace_id": trace,
        }

    def requests(self) -> pl.DataFrame:
        r, run = self.rows, self.run
        mine = r.pod == run.victim
        cut = np.where(mine, self.cut, run.died_at + AFTER_S)
        logged = r.start < cut
        end = np.where(r.end < cut, r.end, np.nan)
        open_ = ~np.isfinite(end)
        wire = self._wire()
        length = (end - r.start) * 1e3
        names = np.array([run.deployment.endpoint(e) for e in range(run.deployment.count)], dtype=object)
        columns = {
            **wire,
            "stream": pl.Series(self._per_pod(self.pod)[r.pod].tolist()),
            "pod": pl.Series(self._per_pod(self.pod)[r.pod].tolist()),
            "container_id": pl.Series(self._per_pod(self.container_id)[r.pod].tolist()),
            "pid": pl.lit(1),
            "request_id": pl.format("{}-{}", pl.lit(f"{self.tag:x}"), pl.Series(self.number)),
            "endpoint": pl.Series(names[r.endpoint].tolist(), dtype=pl.String),
            "format": pl.lit("json"),
            "started_at": self._times(r.start),
            "processing_at": self._times(r.start + 0.001),
            "ended_at": self._times(end),
            "state": pl.Series(np.where(open_, "open", "completed").tolist()),
            "status": pl.Series(np.where(open_, 0, 200)).replace(0, None),
            "duration_ms": pl.Series(length).fill_nan(None),
        }  # fmt: skip
        if not run.deployment.has_trace_ids:
            columns["trace_id"] = pl.lit(None, dtype=pl.String)
        if run.deployment.has_allocations:
            columns["allocations"] = pl.Series(np.where(open_, -1, self.objects).astype(np.int64)).replace(
                -1, None
            )
        return _table(columns, REQUEST_SCHEMA, len(r.arrive)).filter(pl.Series(logged)).sort("started_at")

    def jobs(self) -> pl.DataFrame:
        run, j = self.run, self.run.jobs
        keep = j.start < np.where(j.pod == run.victim, self.cut, run.died_at + AFTER_S)
        j = j.take(np.flatnonzero(keep))
        end = np.where(j.end < np.where(j.pod == run.victim, self.cut, run.died_at + AFTER_S), j.end, np.nan)
        open_ = ~np.isfinite(end)
        columns = {
            "stream": pl.Series(self._per_pod(self.pod)[j.pod].tolist(), dtype=pl.String),
            "pod": pl.Series(self._per_pod(self.pod)[j.pod].tolist(), dtype=pl.String),
            "container_id": pl.Series(self._per_pod(self.container_id)[j.pod].tolist(), dtype=pl.String),
            "pid": pl.lit(1),
            "adapter": pl.lit("active_job"),
            "job_class": pl.Series([f"{JOB_WORDS[e]}Job" for e in j.endpoint], dtype=pl.String),
            "job_id": pl.format("{}-{}", pl.lit(f"{self.tag:x}"), pl.int_range(pl.len())),
            "queue": pl.lit("default"),
            "started_at": self._times(j.start),
            "ended_at": self._times(end),
            "state": pl.Series(np.where(open_, "open", "completed").tolist(), dtype=pl.String),
            "duration_ms": pl.Series((end - j.start) * 1e3).fill_nan(None),
        }
        return _table(columns, JOB_SCHEMA, len(j.start))

    def accesses(self) -> pl.DataFrame:
        """Also what waited for a thread when the pod died: the load balancer answers those with 502 itself."""
        r, run = self.rows, self.run
        killed = (r.pod == run.victim) & (r.end > run.died_at)
        done = np.where(killed, run.died_at + self.rng.uniform(0, 0.05, len(r.arrive)), r.end)
        written = (done < run.died_at + AFTER_S) & (self.rng.random(len(r.arrive)) >= self.world.alb_loss)
        shift = self.skew_alb
        columns = {
            **self._wire(),
            "time": self._times(done + shift),
            "created_at": self._times(r.arrive + shift),
            "type": pl.lit("https"),
            "elb": pl.lit("app/web/1"),
            "target_ip": pl.Series(self._per_pod(self.ip)[r.pod].tolist()),
            "target_port": pl.lit(3000),
            "request_processing_s": pl.Series(np.where(killed, -1.0, 0.0)).replace(-1.0, None),
            "target_processing_s": pl.Series(np.where(killed, -1.0, done - r.arrive)).replace(-1.0, None),
            "elb_status": pl.Series(np.where(killed, 502, 200)),
            "target_status": pl.Series(np.where(killed, -1, 200)).replace(-1, None),
            "received_bytes": pl.Series(r.received.astype(np.int64)),
            "sent_bytes": pl.Series(np.where(killed, 272, r.sent).astype(np.int64)),
            "host": pl.lit("app.example.com"),
            "user_agent": pl.lit("okhttp/4.9.3"),
        }  # fmt: skip
        return _table(columns, ACCESS_SCHEMA, len(r.arrive)).filter(pl.Series(written))

    def memory(self) -> pl.DataFrame:
        """Samples at the scrape interval, of values up to ten seconds old, as cAdvisor hands them out."""
        run, rng = self.run, self.rng
        parts = []
        for pod, curve in enumerate(run.memory):
            until = run.died_at if pod == run.victim else min(run.died_at + AFTER_S, len(curve) * GRID)
            every = run.deployment.memory_every
            at = np.arange(rng.uniform(0, every), until - 0.05, every)
            taken = np.maximum(at - rng.uniform(0, min(10.0, every), len(at)), 0.0)
            level = curve[np.minimum((taken / GRID).astype(np.int64), len(curve) - 1)] * MB
            columns = {
                "at": self._times(at + self.skew_memory),
                "namespace": pl.lit("shop"),
                "pod": pl.lit(self.pod(pod)),
                "container": pl.lit("app"),
                "container_id": pl.lit(self.container_id(pod)),
                "working_set_bytes": pl.Series(level.astype(np.int64)),
                "rss_bytes": pl.Series((level * 0.98).astype(np.int64)),
                "limit_bytes": pl.lit(int(run.limit * MB)),
                "source": pl.lit("prometheus"),
            }
            parts.append(_table(columns, MEMORY_SCHEMA, len(at)))
        return pl.concat(parts)

    # -------------------------------------------------------------------------------------------- small facts

    def pods(self) -> list[PodFacts]:
        return [self._pod_facts(index) for index in range(self._pod_count())]

    def _pod_facts(self, index: int) -> PodFacts:
        run = self.run
        died = index == run.victim
        finished = self.at(run.died_at).replace(microsecond=0)
        ends = (
            Termination("pod.lastState", 137, "OOMKilled", None, self.begin.replace(microsecond=0), finished,
                        self.container_id(index)),
        )  # fmt: skip
        app = ContainerFacts(
            name="app",
            image=run.deployment.image,
            container_id=None if died else self.container_id(index),
            running_since=finished + timedelta(seconds=2) if died else self.begin.replace(microsecond=0),
            restart_count=int(died),
            limit_bytes=int(run.limit * MB),
            terminations=ends if died else (),
        )
        gone = self.at(run.died_at) if run.victim < 0 else None
        return PodFacts(
            namespace="shop", name=self.pod(index), uid=self.uid(index), workload_kind="Deployment", workload="web",
            node=f"node-{index % 3}", pod_ips=(self.ip(index),), phase="Running", created_at=self.begin,
            deletion_at=gone, containers=(app,),
        )  # fmt: skip

    def oom_kill(self) -> OomKill:
        run = self.run
        return OomKill(
            pid=4242, comm="ruby", at=self.at(run.died_at), scope="container", constraint="CONSTRAINT_MEMCG",
            pod_uid=self.uid(run.victim), container_id=self.container_id(run.victim),
            anon_rss_bytes=int(run.limit * MB * 0.97), limit_bytes=int(run.limit * MB), group_kill=True,
            source="kernel log",
        )  # fmt: skip

    def streams(self) -> list[LogStream]:
        return [
            LogStream(
                stream=self.pod(i), source=f"{self.pod(i)}.log", namespace="shop", pod=self.pod(i), container="app",
                container_id=self.container_id(i), pod_uid=self.uid(i), envelope="cri", shape="rails_tagged",
                first_at=self.begin, last_at=self._last_line(i), coverage=Coverage(1000, 1000, 100_000, 1000, 1000),
                boot_seen_at=self.begin,
            )
            for i in range(self._pod_count())
        ]  # fmt: skip

    def _last_line(self, index: int) -> datetime:
        return self.at(self.cut if index == self.run.victim else self.run.died_at + AFTER_S)

    def lives(self) -> list[ProcessLife]:
        return [
            ProcessLife(
                stream=self.pod(i), pid=1, role="single", server="puma 6.4.2", booted_at=self.begin,
                last_line_at=self._last_line(i), end="unknown" if i == self.run.victim else "running",
                threads_max=self.run.deployment.threads,
            )
            for i in range(self._pod_count())
        ]  # fmt: skip


def _table(columns: dict[str, Any], schema: dict[str, str], height: int) -> pl.DataFrame:
    """The columns given, null for the others, in the order and with the types of the schema."""
    types = polars_schema(schema)
    frame = pl.select(pl.int_range(height).alias("_"))
    given = [(v if isinstance(v, pl.Expr) else pl.lit(v)).cast(types[k]).alias(k) for k, v in columns.items()]
    missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in types.items() if name not in columns]
    return frame.with_columns(*given, *missing).select(list(types))
