"""``python -m bench.simulate --n 300 --world standard hard [--k 3] [--out FILE.json] [--markdown PAGE.md]``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import ablation, measures
from bench.measures import Row, brier, calibration_error, grouped, reliability, share
from bench.simulate.baselines import BASELINES
from bench.simulate.faults import PATTERNS
from bench.simulate.run import Task, ablate_group, run_all
from bench.simulate.world import WORLDS

Table = tuple[list[str], list[list[str]]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, write."""
    args = _arguments(argv)
    tasks = [] if args.load else _tasks(args)
    if args.ablate:
        ablated = [row for rows in run_all(tasks, args.workers, ablate_group) for row in rows]
        sys.stdout.write(measures.plain(*ablation.table(ablated)) + "\n")
        return 0
    rows: list[Row] = [row for path in args.load for row in json.loads(path.read_text())["rows"]]
    for done, group in enumerate(run_all(tasks, args.workers), 1):
        rows += group
        sys.stderr.write(f"\r{done}/{len(tasks)} ")
    sys.stderr.write("\r" + " " * 20 + "\r")
    sys.stdout.write(page(rows, measures.plain, "{}:") + "\n")
    if args.out:
        args.out.write_text(json.dumps({"n": args.n, "k": args.k, "rows": rows}))
    if args.markdown:
        text = page(rows, measures.markdown, "### {}")
        args.markdown.write_text(measures.replace_section(args.markdown.read_text(), args.section, text))
    return 0


def _tasks(args: argparse.Namespace) -> list[Task]:
    seeds = range(args.first, args.first + args.n)
    return [
        (pattern, world, seed, args.k) for world in args.world for pattern in args.pattern for seed in seeds
    ]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    parser.add_argument("--n", type=int, default=300, help="deployments a pattern and world")
    parser.add_argument(
        "--k", type=int, default=1, help="incidents a deployment; above 1 they are also pooled"
    )
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--world", nargs="+", default=["standard"], choices=list(WORLDS), metavar="WORLD",
                        help=", ".join(WORLDS))  # fmt: skip
    parser.add_argument("--pattern", nargs="+", default=[p for p in PATTERNS if p != "alternating"],
                        choices=list(PATTERNS), metavar="PATTERN", help=", ".join(PATTERNS))  # fmt: skip
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--ablate", action="store_true", help="instead, what each term of the score is worth")
    parser.add_argument("--out", type=Path, help="every graded row as JSON")
    parser.add_argument(
        "--load", type=Path, nargs="*", default=[], help="tables of earlier --out files, no new run"
    )
    parser.add_argument("--markdown", type=Path, help="page whose section is replaced")
    parser.add_argument("--section", default="simulation", help="name of that section")
    return parser.parse_args(argv)


def page(rows: Sequence[Row], draw: measures.Draw, title: str) -> str:
    """All tables as text."""
    parts = []
    for world, those in grouped(rows, "world").items():
        for k, group in grouped(those, "k").items():
            name = f"{world} world, " + (
                "one incident" if k == "1" else f"{k} incidents of one image together"
            )
            parts.append((name, by_pattern(group)))
        single = [row for row in those if row["k"] == 1]
        parts.append((f"{world} world, simple methods (top-1 / top-3)", simple_methods(single)))
        line, table = calibration(single)
        parts += [(f"{world} world, probabilities: {line}", table), (f"{world} world, words", words(single))]
    return "\n\n".join(f"{title.format(name)}\n\n{draw(*table)}" for name, table in parts)


def by_pattern(rows: Sequence[Row]) -> Table:
    """One line a pattern."""
    header = ["pattern", "n", "top-1", "95 %", "top-3", "all in top-3", "pattern right",
              "false accusation", "trigger right", "verdict", "seconds"]  # fmt: skip
    return header, [_line(name, group) for name, group in grouped(rows, "pattern").items()]


def _line(name: str, rows: Sequence[Row]) -> list[str]:
    top1 = share(row["top1"] for row in rows)
    rest = [
        share(row[key] for row in rows).text()
        for key in ("top3", "both", "shape", "false_accusation", "trigger", "verdict")
    ]
    seconds = sum(row["seconds"] for row in rows) / len(rows)
    return [name, str(len(rows)), top1.text(), top1.interval(), *rest, f"{seconds:.2f}"]


def simple_methods(rows: Sequence[Row]) -> Table:
    """What counting, ratios, the oldest request and a spectrum score name."""
    body = []
    for pattern, group in grouped([row for row in rows if row["count top1"] is not None], "pattern").items():
        cells = [
            [share(r[f"{m} {top}"] for r in group).text() for top in ("top1", "top3")] for m in BASELINES
        ]
        mine = [share(r[top] for r in group).text() for top in ("top1", "top3")]
        body.append([pattern, *(" / ".join(pair) for pair in (*cells, mine))])
    return ["pattern", *BASELINES, "oomscope"], body


def calibration(rows: Sequence[Row]) -> tuple[str, Table]:
    """Of the probability given to the first suspect; on an incident without a culprit any suspect is wrong."""
    known = [row for row in rows if row["probability"] is not None]
    p, right = [row["probability"] for row in known], [bool(row["probability_right"]) for row in known]
    ece, score = calibration_error(p, right), brier(p, right)
    line = (
        "nothing named" if ece is None or score is None else f"n {len(p)}, ECE {ece:.3f}, Brier {score:.3f}"
    )
    body = [[str(int(b["n"])), f"{b['said']:.2f}", f"{b['was']:.2f}"] for b in reliability(p, right)]
    return line, (["incidents", "probability said", "share right"], body)


def words(rows: Sequence[Row]) -> Table:
    """How often an accusation of each strength was right."""
    body = []
    for word in ("strong", "moderate", "weak", "inconclusive"):
        said = [row for row in rows if row["strength"] == word]
        right = share(row["accused_right"] for row in said)
        body.append([word, str(len(said)), str(right.n), right.text()])
    return ["strength", "incidents", "accusations", "right"], body


if __name__ == "__main__":
    sys.exit(main())
