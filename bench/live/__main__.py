"""Reading CloudWatch Logs under a quota: how near the optimum, how many calls, nothing lost or doubled.

python -m bench.live --mb 150 --tps 10 --latency 0.2
"""

from __future__ import annotations

import argparse
import json
import os
import time

from tests.fakes.cloudwatch import CloudWatchState, Group, cloudwatch_server

from oomscope.sources.aws_common import AwsAccess
from oomscope.sources.cloudwatch_reader import Reader
from oomscope.sources.limiter import Limiter


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--mb", type=int, default=150)
    options.add_argument("--tps", type=float, default=10.0)
    options.add_argument("--latency", type=float, default=0.2)
    args = options.parse_args()
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "test")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "test")
    group, events = Group(), args.mb * 1000
    for i in range(events):  # the load doubles towards the kill, as it does in life
        group.add("s", int(600_000 * (1 - (1 - i / events) ** 1.5)), "x" * 974)
    state = CloudWatchState(
        groups={"g": group}, tps={"FilterLogEvents": args.tps + 1}, latency_s=args.latency
    )
    with cloudwatch_server(state) as url:
        client = AwsAccess(region="us-east-1", endpoint_url=url).client("logs", attempts=1, timeout_s=60)
        began = time.monotonic()
        found, progress = Reader(client, Limiter(args.tps)).read("g", 0, 600_000)
        took = time.monotonic() - began
    pages = -(-args.mb * 10**6 // (1 << 20))
    optimum = pages / args.tps + args.latency
    print(
        json.dumps(
            {
                "events": len(found),
                "lost": events - len({event["eventId"] for event in found}),
                "doubled": len(found) - len({event["eventId"] for event in found}),
                "pages_needed": pages,
                "calls": progress.calls,
                "throttled": state.throttled,
                "seconds": round(took, 2),
                "optimum_seconds": round(optimum, 2),
                "ratio": round(took / optimum, 3),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
