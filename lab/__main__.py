"""``python -m lab --out FOLDER``: makes labelled incidents, one after another."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from lab import kernel
from lab.experiment import NoIncident, run
from lab.plan import KINDS, LOG_STYLES, draw
from lab.write import write


def main() -> int:
    options = _options()
    # Told to stop in either way, the running incident is put away before the end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    kinds = options.kind or list(KINDS)
    noise: kernel.Report | None = None
    began, made = time.monotonic(), 0
    for number in count():
        if made >= options.count or time.monotonic() - began > options.minutes * 60:
            break
        kind, seed = kinds[number % len(kinds)], options.seed + number // len(kinds)
        style = options.log_style or LOG_STYLES[(number + number // len(kinds)) % len(LOG_STYLES)]
        plan = draw(kind, seed, style)
        folder = options.out / plan.id
        if (folder / "truth" / "truth.json").is_file():
            continue
        try:
            with tempfile.TemporaryDirectory(prefix="lab-") as work:
                done = asyncio.run(run(plan, noise, Path(work)))
                write(done, folder)
        except (NoIncident, TimeoutError) as problem:
            print(f"{plan.id}: no incident: {problem}", flush=True)
            continue
        noise = done.kills[0][0] if done.kills else noise
        made += 1
        print(
            f"{plan.id} {style}: died {done.death_at - done.load_at:.0f} s after the load began", flush=True
        )
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the incidents")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind; may be given again")
    parser.add_argument(
        "--log-style", choices=LOG_STYLES, help="only this style of log; without it all in turn"
    )
    parser.add_argument("--count", type=int, default=len(KINDS), help="how many incidents")
    parser.add_argument("--seed", type=int, default=1, help="first seed")
    parser.add_argument(
        "--minutes", type=float, default=600.0, help="begin no incident after so many minutes"
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
