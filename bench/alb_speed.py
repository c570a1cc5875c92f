"""Speed of the ALB reader: ``python bench/alb_speed.py FILE_OR_FOLDER`` (see ``bench/alb_gen.py`` for data).

Prints plain megabytes per CPU second and the peak memory for traffic per endpoint, for ten minutes of the log, and for
all columns.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from bench.alb_gen import START
from oomscope.alb import AlbStats, parse_alb_report, payload_per_endpoint, scan_alb
from oomscope.facts import ACCESS_SCHEMA, Window


@dataclass(frozen=True)
class LogFile:
    """A plain or gz file."""

    path: Path

    @property
    def label(self) -> str:
        """Its name."""
        return self.path.name

    def open(self) -> BinaryIO:
        """Plain bytes."""
        if self.path.suffix != ".gz":
            return self.path.open("rb", buffering=0)
        from isal import igzip

        stream: BinaryIO = igzip.open(self.path)
        return stream


def measure(name: str, action: Callable[[], AlbStats]) -> None:
    """Run once to warm up, then three times; the best counts, as others use the machine too."""
    action()
    best = float("inf")
    for _ in range(3):
        begun = time.process_time()
        stats = action()
        best = min(best, time.process_time() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:24s} {stats.bytes / 1e6 / best:6.0f} MB/CPU-s  {best:6.2f} CPU-s  {peak:5.0f} MiB  {stats.rows:,} rows"
    )


def main() -> None:
    """Measure what is asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    path: Path = parser.parse_args().path
    files = [LogFile(one) for one in (sorted(path.iterdir()) if path.is_dir() else [path])]
    middle = START + timedelta(hours=12)
    window = Window(middle, middle + timedelta(minutes=10))
    measure("traffic per endpoint", lambda: payload_per_endpoint(files)[1])
    measure("ten minutes, all columns", lambda: parse_alb_report(files, window=window)[1])
    measure(
        "all columns, in pieces",
        lambda: sum((s for _, s in scan_alb(files, columns=ACCESS_SCHEMA)), AlbStats()),
    )


if __name__ == "__main__":
    main()
