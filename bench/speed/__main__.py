"""``python -m bench.speed [--mb 1000] [--only NAME] [--runs 3] [--keep FOLDER] [--out FILE] [--chart FILE.svg]``.

Makes logs of the given size, runs every reader on them in processes of their own, compares the answers, and prints
throughput in MB per CPU-second, wall time and memory of each, and whether the targets are met.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from bench import alb_gen
from bench.speed.rails_gen import write_cloudwatch, write_lograge, write_rails

_OTHERS = re.compile(
    r", (?!two (?:processes|threads)|all columns|line by line)"
)  # who else reads, in a job's name
_MARKERS = r"\] (?:Started|Processing by|Completed) "


@dataclass(frozen=True)
class Job:
    """One thing to run. ``command``: None is a function of ``bench.speed.work``, else a program's arguments."""

    name: str
    data: str
    work: str
    command: tuple[str, ...] | None = None
    processes: int = 1
    only_up_to_mb: int | None = None  # too slow for more


@dataclass(frozen=True)
class Measured:
    """Medians. ``mb`` is the size of the plain text in units of 10^6 bytes, ``rss_mb`` of the largest process."""

    name: str
    mb: float
    cpu_s: float
    wall_s: float
    rss_mb: float
    answer: str

    @property
    def speed(self) -> float:
        """MB per CPU-second."""
        return self.mb / self.cpu_s


JOBS = (
    Job("open", "rails", "fast_open"),
    Job("open, naive script", "rails", "naive_open"),
    Job("open, DuckDB", "rails", "duckdb_open", only_up_to_mb=200),
    Job("open, numpy counting the markers", "rails", "marker_scan"),
    Job("open, rg -c of the markers", "rails", "", ("rg", "-c", _MARKERS)),
    Job("open, lnav", "rails", "", ("lnav", "-n", "-c", ";select count(*) from all_logs"), only_up_to_mb=200),
    Job("full", "rails", "fast_full"),
    Job("full, two processes", "rails", "fast_full", processes=2),
    Job("full, naive script", "rails", "naive_full"),
    Job("full, request-log-analyzer", "rails", "",
        ("request-log-analyzer", "--format", "rails3", "--no-progress"), only_up_to_mb=50),
    Job("rows of an investigation", "rails", "scan_rows"),
    Job("envelope open", "cloudwatch", "fast_open"),
    Job("envelope open, naive script", "cloudwatch", "naive_open"),
    Job("envelope full", "cloudwatch", "fast_full"),
    Job("envelope full, two processes", "cloudwatch", "fast_full", processes=2),
    Job("envelope full, naive script", "cloudwatch", "naive_full"),
    Job("one line each", "lograge", "one_line_rows"),
    Job("one line each, json script", "lograge", "one_line_json"),
    Job("alb day", "alb", "alb_day"),
    Job("alb day, all columns", "alb", "alb_rows"),
    Job("alb ten minutes", "alb", "alb_window"),
    Job("alb day, csv script", "alb", "alb_day_csv", only_up_to_mb=50),
    Job("alb ten minutes, csv script", "alb", "alb_window_csv", only_up_to_mb=50),
    Job("alb day, DuckDB", "alb", "alb_day_duckdb", only_up_to_mb=200),
    Job("alb day of 50 MB", "alb", "alb_day", only_up_to_mb=50),
    Job("alb ten minutes of 50 MB", "alb", "alb_window", only_up_to_mb=50),
    Job("alb day of 50 MB, line by line", "alb", "alb_day_reference", only_up_to_mb=50),
    Job("alb day, goaccess", "alb", "",
        ("goaccess", "--log-format=AWSALB", "--no-progress", "-o", "json", "--no-global-config"), only_up_to_mb=200),
    Job("alb gz day", "alb_gz", "alb_day"),
    Job("alb gz day, two threads", "alb_gz", "alb_day", processes=2),
    Job("alb gz ten minutes", "alb_gz", "alb_window"),
    Job("alb gz, zcat", "alb_gz", "", ("sh", "-c", 'zcat "$0"/* > /dev/null')),
)  # fmt: skip

# name, what is measured, the least (or, for shares and memory, the most) that will do
TARGETS = (
    ("in flight: MB per CPU-second", lambda m: m["open"].speed, ">=", 500),
    ("in flight: times the naive script", lambda m: m["open"].speed / m["open, naive script"].speed, ">=", 10),
    ("in flight: share of rg", lambda m: m["open"].speed / m["open, rg -c of the markers"].speed, ">=", 0.55),
    ("full: MB per CPU-second", lambda m: m["full"].speed, ">=", 200),
    ("full: times the naive script", lambda m: m["full"].speed / m["full, naive script"].speed, ">=", 5),
    ("full: times request-log-analyzer", lambda m: m["full"].speed / m["full, request-log-analyzer"].speed, ">=", 50),
    ("full: wall of two processes, share of one",
     lambda m: m["full, two processes"].wall_s / m["full"].wall_s, "<=", 0.8),
    ("envelope in flight: MB per CPU-second", lambda m: m["envelope open"].speed, ">=", 600),
    ("envelope full: MB per CPU-second", lambda m: m["envelope full"].speed, ">=", 200),
    ("ALB day: MB per CPU-second", lambda m: m["alb day"].speed, ">=", 270),
    ("ALB day from gz: MB per CPU-second", lambda m: m["alb gz day"].speed, ">=", 200),
    ("ALB day from gz: times zcat", lambda m: m["alb gz day"].speed / m["alb gz, zcat"].speed, ">=", 1),
    ("ALB ten minutes: times the day", lambda m: m["alb ten minutes"].speed / m["alb day"].speed, ">=", 2),
    ("ALB ten minutes from gz: times zcat",
     lambda m: m["alb gz ten minutes"].speed / m["alb gz, zcat"].speed, ">=", 1),
    ("ALB day from gz: wall of two threads, share of zcat",
     lambda m: m["alb gz day, two threads"].wall_s / m["alb gz, zcat"].wall_s, "<=", 1),
    ("ALB: memory of the largest, MB",
     lambda m: max(m[n].rss_mb for n in ("alb day", "alb gz day", "alb ten minutes", "alb gz ten minutes")),
     "<=", 200),
    ("memory of the largest process, MB",
     lambda m: max(m[n].rss_mb for n in ("open", "full", "envelope open", "envelope full")), "<=", 200),
)  # fmt: skip


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--only", default="", help="jobs whose name begins so")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder for the made logs, used again when they are there")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--chart", type=Path)
    given = parser.parse_args()
    jobs = [job for job in JOBS if job.name.startswith(given.only)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        measured = {job.name: found for job in jobs if (found := _measure(job, folder, given.mb, given.runs))}
    differ = _compare(measured)
    results = _judge(measured)
    if given.out:
        found = {"mb": given.mb, "runs": given.runs, "results": results}
        found["measured"] = [
            asdict(one) | {"answer": one.answer[:12], "mb_per_cpu_s": one.speed} for one in measured.values()
        ]
        given.out.write_text(json.dumps(found, indent=1) + "\n")
    if given.chart:
        _chart(list(measured.values()), given.chart)
    sys.exit(1 if differ else 0)


def _measure(job: Job, folder: Path, mb: int, runs: int) -> Measured | None:
    if job.command and shutil.which(job.command[0]) is None:
        print(f"SKIPPED {job.name}: {job.command[0]} is not installed here", flush=True)
        return None
    path = _data(job.data, folder, min(mb, job.only_up_to_mb or mb))
    try:
        found = [_run(job, path) for _ in range(runs)]
    except subprocess.CalledProcessError as error:
        print(f"SKIPPED {job.name}: {error}", flush=True)
        return None
    plain = path.parent / path.name.replace("alb_gz", "alb")
    size = plain.stat().st_size / 1e6
    cpu, wall, rss = (median(one[place] for one in found) for place in range(3))
    one = Measured(job.name, size, cpu, wall, rss, found[0][3])
    print(f"{job.name:32} {one.speed:8.0f} MB/CPU-s {wall:8.2f} s {rss:6.0f} MB", flush=True)
    return one


def _data(kind: str, folder: Path, mb: int) -> Path:
    suffix = ".jsonl" if kind == "cloudwatch" else ""
    path = folder / f"{kind}-{mb}{suffix}"
    if path.exists():
        return path
    print(f"making {path.name}", flush=True)
    if kind == "rails":
        write_rails(path, mb * 1_000_000)
    elif kind == "cloudwatch":
        write_cloudwatch(path, mb * 1_000_000)
    elif kind == "lograge":
        write_lograge(path, mb * 1_000_000)
    elif kind == "alb":
        alb_gen.write(path, mb * 1500)
    else:
        _data("alb", folder, mb)
        alb_gen.write(path, mb * 1500, parts=576)
    return path


def _run(job: Job, path: Path) -> tuple[float, float, float, str]:
    """CPU-seconds, wall, memory of the largest process in MB, answer."""
    command = (
        [*job.command, str(path)]
        if job.command
        else [sys.executable, "-m", "bench.speed.work", job.work, str(path)]
    )
    environment = {
        **os.environ,
        "OOMSCOPE_PROCESSES": str(job.processes),
        "POLARS_MAX_THREADS": str(job.processes),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    begun = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        answer = child.stdout.read() if child.stdout else ""
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begun
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command[:3])
    return used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024 * 1.048576, answer


def _compare(measured: dict[str, Measured]) -> bool:
    """Whether any answer differs from that of the naive script, which looks at every line with regexes."""
    pairs = (
        ("open", "open, naive script"), ("full", "full, naive script"), ("full", "full, two processes"),
        ("envelope open", "envelope open, naive script"), ("envelope full", "envelope full, naive script"),
        ("envelope full", "envelope full, two processes"), ("one line each", "one line each, json script"),
        ("alb day", "alb gz day"),
        ("alb day of 50 MB", "alb day, csv script"), ("alb gz day", "alb gz day, two threads"),
        ("alb ten minutes", "alb gz ten minutes"), ("alb ten minutes of 50 MB", "alb ten minutes, csv script"),
        ("alb day of 50 MB", "alb day of 50 MB, line by line"),
    )  # fmt: skip
    differ = False
    for one, other in pairs:
        if one in measured and other in measured:
            same = measured[one].answer == measured[other].answer
            differ |= not same
            print(f"{'same' if same else 'DIFFERENT'} answers: {one} / {other}")
    return differ


def _judge(measured: dict[str, Measured]) -> list[dict[str, object]]:
    results: list[dict[str, object]] = []
    for name, figure, sense, bound in TARGETS:
        try:
            value = figure(measured)
        except KeyError as missing:
            print(f"  --   {name}: not measured ({missing})")
            continue
        good = value >= bound if sense == ">=" else value <= bound
        print(f"{'pass' if good else 'MISS':6} {name}: {value:.2f} (target {sense} {bound})")
        results.append({"target": name, "value": round(value, 3), "bound": f"{sense} {bound}", "met": good})
    return results


def _chart(measured: list[Measured], path: Path) -> None:
    import altair as alt
    import polars as pl

    rows = pl.DataFrame({
        "reader": [one.name for one in measured],
        "MB per CPU-second": [round(one.speed, 1) for one in measured],
        "whose": ["others" if _OTHERS.search(one.name) else "oomscope" for one in measured],
    })  # fmt: skip
    bars = alt.Chart(rows).mark_bar().encode(
        x=alt.X("MB per CPU-second:Q"),
        y=alt.Y("reader:N", sort=None, title=None),
        color="whose:N",
    )  # fmt: skip
    labels = bars.mark_text(align="left", dx=3).encode(text="MB per CPU-second:Q", color=alt.value("#333"))
    (bars + labels).properties(width=480).save(path)


if __name__ == "__main__":
    main()
