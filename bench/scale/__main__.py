"""``python -m bench.scale [--seed 1] [--out FILE]``: a day of kills in a large cluster against one account's quota.

First the product's own reader fetches one pod's window from a stand-in for CloudWatch Logs that throttles as the
service does: how many calls it takes, and whether it stays within the quota. Then a day of kills, evenly spread and in
bursts, queues for that quota. Last, what the ways to the same evidence read and cost, and what the product's own bound
on paid searches says to them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from statistics import quantiles

from tests.fakes.cloudwatch import CloudWatchState, Group, cloudwatch_server

from bench import alb_gen
from oomscope.alb import parse_alb_report
from oomscope.config import Config
from oomscope.facts import Window
from oomscope.sources.aws_common import AwsAccess
from oomscope.sources.bounded import FileInput
from oomscope.sources.cloudwatch_reader import Reader
from oomscope.sources.limiter import Limiter

CLUSTER_MB_PER_MINUTE = 10_000
PODS = 1_000
KILLS_PER_HOUR = 100
BURST = 20  # kills in one minute: a bad release
INSIGHTS_USD_PER_GB = 0.005
SHARE = 0.8  # of the quota that is used
QUOTAS = {"us-east-1": 25, "most regions": 10, "eu-central-1": 5}  # FilterLogEvents a second
WINDOWS_MIN = (5, 10, 40)
ACCESS_GB_PER_HOUR = 2  # packed, of one load balancer
PACKED = 7  # times smaller than plain
ATHENA_USD_PER_GB = 0.005  # packed
FILE_MIN, LATE_MIN = 5, 10  # an access log file's span, and how far behind the window files are looked for
CALLS = {  # of a busy minute: calls a kill, quota a second
    "Insights StartQuery": (1, 10), "Athena StartQueryExecution": (1, 20), "S3 GetObject of one prefix": (0, 5500),
}  # fmt: skip


@dataclass(frozen=True)
class Day:
    """How long investigations of one day waited for their log, from the alert on."""

    region: str
    window_min: int
    calls: int
    share_of_quota: float
    median_s: float
    p95_s: float
    worst_s: float
    insights_usd: float  # per kill, when the stream is not known and all of the cluster's window is searched


def measure(mb: int = 6, tps: int = 25) -> tuple[float, int]:
    """(calls a MB, calls refused) of the product's reader for a window of so many MB."""
    group = Group()
    text = "x" * 974
    for number in range(mb * 1000):
        group.add("pod", 1_767_323_000_000 + number, text)
    state = CloudWatchState(groups={"g": group}, tps={"FilterLogEvents": tps})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ.setdefault(name, "unused")  # the stand-in does not look at them
    with cloudwatch_server(state) as url:
        access = AwsAccess(region="eu-west-1", endpoint_url=url)
        reader = Reader(access.client("logs", attempts=1), Limiter(SHARE * tps))
        events, progress = reader.read(
            "g", 1_767_323_000_000, 1_767_323_000_000 + mb * 1000, logStreamNames=["pod"]
        )
    if len(events) != mb * 1000:
        raise RuntimeError("the reader lost events")
    return progress.calls / mb, state.throttled


def day(region: str, window_min: int, calls_a_mb: float, seed: int) -> Day:
    """A day of kills that come at random, and once an hour as a burst; first come, first served."""
    draw = random.Random(seed)
    calls = round(CLUSTER_MB_PER_MINUTE / PODS * window_min * calls_a_mb)
    rate = QUOTAS[region] * SHARE
    kills = [draw.uniform(0, 86_400) for _ in range((KILLS_PER_HOUR - BURST) * 24)]
    kills += [hour * 3600 + draw.uniform(0, 60) for hour in range(24) for _ in range(BURST)]
    free, waits = 0.0, []
    for at in sorted(kills):
        free = max(free, at) + calls / rate
        waits.append(free - at)
    cuts = quantiles(waits, n=20)
    gigabytes = CLUSTER_MB_PER_MINUTE * window_min / 1000
    return Day(
        region, window_min, calls, KILLS_PER_HOUR * calls / 3600 / rate, cuts[9], cuts[18], max(waits),
        gigabytes * INSIGHTS_USD_PER_GB,
    )  # fmt: skip


@dataclass(frozen=True)
class Way:
    """One way to some evidence of one kill. ``refused``: by the default bound of a paid search."""

    name: str
    gigabytes: float
    usd: float
    refused: bool


def ways(window_min: int) -> list[Way]:
    """What each way reads and costs for a window."""
    bound = Config().max_scan_bytes / 1e9
    logs = CLUSTER_MB_PER_MINUTE * window_min / 1000
    spans = -(-(window_min + LATE_MIN) // FILE_MIN)
    return [
        Way("container log, stream known", logs / PODS, 0.0, refused=False),
        Way(
            "container log, stream unknown: Insights", logs, logs * INSIGHTS_USD_PER_GB, refused=logs > bound
        ),
        Way("access log, bucket", spans * ACCESS_GB_PER_HOUR / 12, 0.0, refused=False),
        *(
            Way(
                f"access log, Athena, a partition {name}",
                size,
                size * ATHENA_USD_PER_GB,
                refused=size > bound,
            )
            for name, size in (("an hour", ACCESS_GB_PER_HOUR), ("a day", 24 * ACCESS_GB_PER_HOUR))
        ),
    ]


def access_speed(rows: int = 60_000) -> float:
    """Plain MB of packed access log that one core looks through in a second for ten minutes of it."""
    with tempfile.TemporaryDirectory() as folder:
        alb_gen.write(Path(folder), rows, parts=8)
        files = [FileInput(path, path.name) for path in sorted(Path(folder).iterdir())]
        noon = alb_gen.START + timedelta(hours=12)
        begun = time.process_time()
        _, stats = parse_alb_report(files, window=Window(noon, noon + timedelta(minutes=10)))
        return stats.bytes / 1e6 / (time.process_time() - begun)


def main() -> None:
    """Measure, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    calls_a_mb, refused = measure()
    print(f"reader: {calls_a_mb:.2f} calls a MB, {refused} refused")
    days = [day(region, minutes, calls_a_mb, given.seed) for region in QUOTAS for minutes in WINDOWS_MIN]
    for one in days:
        print(
            f"{one.region:14} {one.window_min:3} min: {one.calls:4} calls, {one.share_of_quota:6.0%} of the quota, "
            f"log after {one.median_s:7.0f} s (median) {one.p95_s:8.0f} s (95 %), "
            f"Insights instead {one.insights_usd:.2f} USD"
        )
    paths = {minutes: ways(minutes) for minutes in WINDOWS_MIN}
    for minutes, found in paths.items():
        for way in found:
            note = ", refused unless --max-scan is raised" if way.refused else ""
            print(f"{minutes:3} min, {way.name}: {way.gigabytes:.2f} GB, {way.usd:.2f} USD{note}")
    speed = access_speed()
    print(f"packed access log: {speed:.0f} MB (plain) a CPU-second, for ten minutes out of it")
    for name, (calls, quota) in CALLS.items():
        files = calls or round(ways(10)[2].gigabytes * 12 / ACCESS_GB_PER_HOUR)
        print(f"{name}: {BURST * files / 60 / quota:.1%} of the quota in a minute of {BURST} kills")
    if given.out:
        found_all = {
            "calls_a_mb": calls_a_mb, "refused": refused, "days": [asdict(one) for one in days],
            "ways": {minutes: [asdict(way) for way in found] for minutes, found in paths.items()},
            "access_mb_per_cpu_s": speed,
        }  # fmt: skip
        given.out.write_text(json.dumps(found_all, indent=1) + "\n")
    sys.exit(1 if refused else 0)


if __name__ == "__main__":
    main()
