"""One incident with a million requests in its window and thousands in flight: analysed, drawn, weighed.

python -m bench.big --requests 1000000 --in-flight 5000
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from oomscope.evidence import Bundle, save
from oomscope.facts import (
    MEMORY_SCHEMA,
    REQUEST_SCHEMA,
    ContainerFacts,
    Coverage,
    LogStream,
    PodFacts,
    Target,
    Termination,
    Window,
    polars_schema,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

KILLED = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
WINDOW_S, ENDPOINTS, FLOODING, PODS = 7200.0, 400, 60, 4
LIMIT = 8 * 2**30


def big_bundle(requests: int = 1_000_000, in_flight: int = 5_000, seed: int = 1) -> Bundle:
    """Four pods, 400 endpoints, two hours; one endpoint floods the pod that dies. Equal arguments, equal bundles."""
    rng = np.random.default_rng(seed)
    boot = KILLED - timedelta(seconds=WINDOW_S)
    names = [f"web-7c9d5b7c6f-{'abcdefgh'[n] * 5}" for n in range(PODS)]
    ids = [f"{n + 1:02x}" * 32 for n in range(PODS)]
    coverage = Coverage(requests * 3, requests * 3, 0, requests, requests - in_flight)
    pods = [_pod(name, cid, boot, dead=n == 0) for n, (name, cid) in enumerate(zip(names, ids, strict=True))]
    streams = [
        LogStream(name, f"{name}.log", "shop", name, "app", cid, shape="rails_tagged", first_at=boot,
                  last_at=KILLED, boot_seen_at=boot, coverage=coverage)
        for name, cid in zip(names, ids, strict=True)
    ]  # fmt: skip
    return Bundle(
        target=Target("shop", "web", names[0], "app", KILLED), window=Window(boot, KILLED),
        requests=_requests(rng, requests, in_flight, names, ids), memory=_memory(rng, names, ids),
        pods=tuple(pods), streams=tuple(streams), sources=("app_log", "kubernetes", "memory"),
    )  # fmt: skip


def _requests(
    rng: np.random.Generator, count: int, in_flight: int, names: list[str], ids: list[str]
) -> pl.DataFrame:
    done, flood = count - in_flight, in_flight * 4 // 5
    usual = 1 / np.arange(1, ENDPOINTS + 1)
    others = rng.choice(ENDPOINTS, count - flood, p=usual / usual.sum())
    who = np.concatenate([others, np.full(flood, FLOODING)])
    pod = np.concatenate([rng.integers(0, PODS, done), np.zeros(in_flight, dtype=np.int64)])
    length = rng.lognormal(-2.5, 1.0, count - flood)
    age = np.concatenate([length[done:], rng.gamma(2.0, 8.0, flood)]) + 0.01
    start = np.concatenate([rng.uniform(-WINDOW_S, -1, done), -age])
    end = np.concatenate(
        [start[:done] + np.minimum(length[:done], -start[:done]), np.full(in_flight, np.nan)]
    )
    order = np.argsort(start, kind="stable")
    return _table(who[order], pod[order], start[order], end[order], names, ids)


def _table(
    who: NDArray[np.int64], pod: NDArray[np.int64], start: NDArray[np.float64], end: NDArray[np.float64],
    names: list[str], ids: list[str],
) -> pl.DataFrame:  # fmt: skip
    zero, number = np.datetime64(KILLED.replace(tzinfo=None), "us"), np.arange(who.size)
    began = pl.Series("started_at", zero + (start * 1e6).astype("timedelta64[us]")).dt.replace_time_zone(
        "UTC"
    )
    done = ~np.isnan(end)
    ended = pl.Series(zero + (np.nan_to_num(end) * 1e6).astype("timedelta64[us]")).dt.replace_time_zone("UTC")
    frame = pl.DataFrame({"who": who, "pod_number": pod, "number": number, "done": done}).with_columns(
        began, ended.alias("ended")
    )
    streams = pl.col("pod_number").replace_strict(dict(enumerate(names)), return_dtype=pl.String)
    known = frame.with_columns(
        stream=streams, pod=streams,
        container_id=pl.col("pod_number").replace_strict(dict(enumerate(ids)), return_dtype=pl.String),
        request_id=pl.format("{}-0000-4000-8000-000000000000", pl.col("number").cast(pl.String).str.pad_start(8, "0")),
        method=pl.lit("GET"), path=pl.format("/area{}/items/{}", "who", pl.col("number") % 9973),
        endpoint=pl.format("Area{}Controller#show", "who"),
        client=pl.format("10.0.{}.{}", pl.col("number") % 200, pl.col("number") % 250),
        processing_at="started_at", ended_at=pl.when("done").then("ended"),
        state=pl.when("done").then(pl.lit("completed")).otherwise(pl.lit("open")), status=pl.when("done").then(200),
        line="number", raw=pl.when(~pl.col("done")).then(pl.format('Started GET "/area{}/items"', "who")),
    )  # fmt: skip
    kinds = polars_schema(REQUEST_SCHEMA)
    columns = [
        (pl.col(name) if name in known.columns else pl.lit(None).alias(name)).cast(kind)
        for name, kind in kinds.items()
    ]
    return known.select(columns)


def _memory(rng: np.random.Generator, names: list[str], ids: list[str]) -> pl.DataFrame:
    rows = []
    times = np.arange(-WINDOW_S, -3, 15.0)
    for n, (name, cid) in enumerate(zip(names, ids, strict=True)):
        rise = np.clip((times + 60) / 57, 0, 1) * 0.45 * LIMIT if n == 0 else 0.0
        level = 0.5 * LIMIT + rise + rng.normal(0, 0.005 * LIMIT, times.size)
        rows += [
            {"at": KILLED + timedelta(seconds=float(t)), "namespace": "shop", "pod": name, "container": "app",
             "container_id": cid, "working_set_bytes": int(y), "limit_bytes": LIMIT, "source": "prometheus"}
            for t, y in zip(times, level, strict=True)
        ]  # fmt: skip
    kinds = polars_schema(MEMORY_SCHEMA)
    return pl.DataFrame([{name: row.get(name) for name in kinds} for row in rows], schema=kinds)


def _pod(name: str, cid: str, boot: datetime, *, dead: bool) -> PodFacts:
    end = Termination("pod.lastState", 137, "OOMKilled", None, boot, KILLED, cid)
    container = ContainerFacts(
        "app", container_id=None if dead else cid, running_since=None if dead else boot, restart_count=int(dead),
        limit_bytes=LIMIT, request_bytes=LIMIT // 2, terminations=(end,) if dead else (),
    )  # fmt: skip
    return PodFacts("shop", name, workload_kind="Deployment", workload="web", containers=(container,))


def main() -> None:
    """Time the command that makes the page out of a saved bundle, in a process of its own."""
    from oomscope.render.html import extract_report

    parser = argparse.ArgumentParser(
        prog="python -m bench.big", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--in-flight", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="write bundle/ and report.html here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        save(big_bundle(given.requests, given.in_flight), folder / "bundle", force=True)
        for _ in range(given.runs):
            elapsed, processor = _measured(folder / "bundle", folder / "report.html")
            print(f"bundle to page: {elapsed:.2f} s, {processor:.2f} s of processor time")
        page = (folder / "report.html").read_text(encoding="utf-8")
    report = extract_report(page)
    print(f"page {len(page.encode()) / 1e3:.0f} kB; {report.impact['requests_in_flight']:,} in flight;"
          f" cause {report.cause.hypothesis} {report.cause.strength}")  # fmt: skip


def _measured(bundle: Path, page: Path) -> tuple[float, float]:
    """Elapsed and processor seconds of ``oomscope report``, from start to exit."""
    command = [
        sys.executable,
        "-c",
        "from oomscope.cli import main; main()",
        "report",
        str(bundle),
        "-o",
        str(page),
        "-q",
    ]
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, check=True)
    elapsed, after = time.perf_counter() - began, os.times()
    spent = after.children_user - before.children_user + after.children_system - before.children_system
    return elapsed, spent


if __name__ == "__main__":
    main()
