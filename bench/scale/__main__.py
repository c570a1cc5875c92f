"""``python -m bench.scale [--seed 1] [--out FILE]``: a day of kills in a large cluster against one account's quota.

First the product's own reader fetches one pod's window from a stand-in for CloudWatch Logs that throttles as the
service does: how many calls it takes, and whether it stays within the quota. Then a day of kills, evenly spread and in
bursts, queues for that quota.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles

from tests.fakes.cloudwatch import CloudWatchState, Group, cloudwatch_server

from oomscope.sources.aws_common import AwsAccess
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
    if given.out:
        found = {"calls_a_mb": calls_a_mb, "refused": refused, "days": [asdict(one) for one in days]}
        given.out.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(1 if refused else 0)


if __name__ == "__main__":
    main()
