"""Prints the figures of the service: ``python -m bench.serve [storm] [crash] [replicas] [disk] [fuzz]``.

The full size (the default) takes about an hour on two cores that have nothing else to do. ``--small`` takes
minutes and only shows that everything runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.real.serve_postgres import binaries

from bench.serve import crash, disk, fuzz, storm

PARTS = ("storm", "crash", "replicas", "disk", "fuzz")
MB = 1024 * 1024


def main() -> int:
    """Run the parts that were asked for; 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--small", action="store_true", help="minutes instead of an hour")
    parser.add_argument("--crashes", type=int, default=None)
    parser.add_argument("--seed", type=int, default=1)
    flags = parser.parse_args()
    good = True
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for part in flags.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix=f"oomscope-{part}-") as folder:
            good &= {"storm": _storm, "crash": _crash, "replicas": _replicas, "disk": _disk, "fuzz": _fuzz}[
                part
            ](Path(folder), flags)
    return 0 if good else 1


def _line(name: str, value: object, good: bool | None = None) -> None:
    mark = {None: " ", True: "+", False: "!"}[good]
    print(f"{mark} {name:<52} {value}")


def _storm(folder: Path, flags: argparse.Namespace) -> bool:
    small = flags.small
    alerts, kills, seconds = (500, 20, 5.0) if small else (10_000, 400, 60.0)
    r = storm.run(folder, alerts=alerts, kills=kills, seconds=seconds, settle_s=120 if small else 1800)
    p99 = storm.quantile(r.accept_s, 0.99)
    checks = [
        r.accepted == alerts,
        r.stored == alerts,
        r.kills_found == r.reports == r.stage_rows == kills,
        p99 < 0.1,
        r.peak_bytes < 500 * MB,
        r.heads == r.threads,
    ]
    print(f"storm: {alerts:,} alerts in {seconds:.0f} s for {kills} kills (load {os.getloadavg()[0]:.1f})")
    _line("accepted (202), refused", f"{r.accepted:,}, {r.refused:,} in {r.span_s:.1f} s", checks[0])
    _line("stored and joined to their kill", f"{r.stored:,}", checks[1])
    _line(
        "kills found, reported, last stages run", f"{r.kills_found}, {r.reports}, {r.stage_rows}", checks[2]
    )
    _line("accept p50 / p99 / max", _times(r.accept_s), checks[3])
    _line("  /healthz of the same process meanwhile", _times(r.probe_s))
    _line("  a server that does nothing (the machine)", _times(r.control_s))
    _line("peak memory, all processes / answering one",
          f"{r.peak_bytes / MB:.0f} / {r.peak_api_bytes / MB:.0f} MiB", checks[4])  # fmt: skip
    _line("threads, Slack messages that head one", f"{r.threads}, {r.heads}", checks[5])
    _line("until all were reported and told", f"{r.settled_s:.0f} s after the last alert")
    return all(checks)


def _times(seconds: list[float]) -> str:
    return " / ".join(f"{storm.quantile(seconds, share) * 1e3:.0f}" for share in (0.5, 0.99, 1.0)) + " ms"


def _crash(folder: Path, flags: argparse.Namespace) -> bool:
    return _survived("SQLite", crash.run(folder, crashes=_crashes(flags), seed=flags.seed), flags.seed)


def _replicas(folder: Path, flags: argparse.Namespace) -> bool:
    if binaries() is None:
        print("! replicas: NOT RUN, PostgreSQL is not installed")
        return False
    result = crash.run_replicas(folder, crashes=_crashes(flags), seed=flags.seed)
    return _survived("two replicas on PostgreSQL", result, flags.seed)


def _disk(folder: Path, flags: argparse.Namespace) -> bool:
    if os.geteuid() != 0:
        print("! disk: NOT RUN, needs root for a file system of its own")
        return False
    r = disk.run(folder)
    print("a disk in trouble")
    for name, answer in r.answers.items():
        _line(name, answer, r.states[name])
    _line("ready again afterwards", r.states["after"], r.states["after"])
    _line("alerts accepted, kills reported", f"{r.accepted}, {r.kills}")
    _line("lost", r.lost or "nothing", not r.lost)
    _line("told or reported twice", r.doubled or "nothing", not r.doubled)
    return all(r.states.values()) and not (r.lost or r.doubled)


def _crashes(flags: argparse.Namespace) -> int:
    return int(flags.crashes or (5 if flags.small else 200))


def _survived(where: str, r: crash.CrashResult, seed: int) -> bool:
    print(
        f"kill -9, {where}: {r.crashes} times, database restarted {r.restarts} times, seed {seed} ({r.seconds:.0f} s)"
    )
    _line("alerts accepted, kills reported", f"{r.accepted}, {r.kills}")
    _line("lost", r.lost or "nothing", not r.lost)
    _line("told or reported twice", r.doubled or "nothing", not r.doubled)
    for moment, times in r.moments.most_common(8):
        _line(f"in work when killed: {moment}", times)
    return not (r.lost or r.doubled)


def _fuzz(folder: Path, flags: argparse.Namespace) -> bool:
    r = fuzz.run(folder, cases=50 if flags.small else 1800, seed=flags.seed)
    print(f"generated requests: {r.cases:,}")
    _line("answers by status", dict(sorted(r.codes.items())))
    _line("5xx", r.failures or "none", not r.failures)
    return not r.failures


if __name__ == "__main__":
    sys.exit(main())
