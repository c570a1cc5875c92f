"""``python -m bench.accuracy --corpus DIR [--variants all] [--out FILE.json] [--markdown PAGE.md]``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import ablation, measures
from bench.accuracy import tables
from bench.accuracy.corpus import VARIANTS, Incident, load_corpus
from bench.accuracy.original import grade_original
from bench.accuracy.run import ablate, run_all
from bench.measures import Row
from oomscope.analyze.weights import load_weights


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, write. Exit code 2 when the folder holds no incidents."""
    args = _arguments(argv)
    incidents = [i for i in load_corpus(args.corpus) if not args.only or any(w in i.id for w in args.only)]
    if not incidents:
        sys.stderr.write(f"no incidents (<id>/truth/truth.json) in {args.corpus}\n")
        return 2
    variants = list(VARIANTS) if args.variants == ["all"] else args.variants
    rows = []
    for row in run_all(incidents, variants, workers=args.workers, subprocesses=args.subprocess):
        rows.append(row)
        sys.stderr.write(f"\r{len(rows)}/{len(variants) * len(incidents)} {row['variant']}: {row['id']:40}")
    sys.stderr.write("\r" + " " * 78 + "\r")
    ablated = [row for incident in incidents for row in ablate(incident)] if args.ablate else []
    sys.stdout.write(page(incidents, rows, measures.plain, ablated) + "\n")
    for line in tables.mistakes(rows):
        sys.stdout.write(f"wrong: {line}\n")
    if args.out:
        args.out.write_text(
            json.dumps({"rows": rows, "original": [grade_original(i) for i in incidents]}, indent=1)
        )
    if args.markdown:
        text = page(incidents, rows, measures.markdown, ablated)
        document = measures.replace_section(args.markdown.read_text(), "accuracy", text)
        weights = measures.markdown(*tables.weights(load_weights()))
        args.markdown.write_text(measures.replace_section(document, "weights", weights))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy", description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="folder of <incident>/{input,truth}")
    parser.add_argument("--only", nargs="*", help="incidents whose id contains one of these words")
    parser.add_argument("--variants", nargs="*", default=["full"], metavar="NAME",
                        help=f"all, or some of: {', '.join(VARIANTS)}")  # fmt: skip
    parser.add_argument("--out", type=Path, help="every graded row as JSON")
    parser.add_argument("--markdown", type=Path, help="page whose accuracy section is replaced")
    parser.add_argument("--ablate", action="store_true", help="also without each term of the score")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--subprocess", action="store_true", help="a fresh process a run: honest seconds")
    args = parser.parse_args(argv)
    unknown = set(args.variants) - set(VARIANTS) - {"all"}
    if unknown:
        parser.error(f"unknown variant {', '.join(sorted(unknown))}")
    return args


def page(
    incidents: Sequence[Incident], rows: Sequence[Row], draw: measures.Draw, ablated: Sequence[Row] = ()
) -> str:
    """All tables as text."""
    full = [row for row in rows if row["variant"] == "full"] or list(rows)
    line, reliable = tables.calibration(full)
    original = [grade_original(incident) for incident in incidents]
    parts = [
        ("By what happened", tables.by_group(full, "kind", "kind")),
        ("By log format", tables.by_group(full, "log_format", "log")),
        ("Totals", tables.intervals(full)),
        ("Against counting incomplete requests", tables.versus(full, original)),
        ("By strength word", tables.words(full)),
        (f"Probabilities: {line}", reliable),
    ]
    if len({row["variant"] for row in rows}) > 1:
        parts.append(("With evidence taken away", tables.by_group(rows, "variant", "variant")))
        line, reliable = tables.calibration(rows)
        parts.append(("By strength word, all variants", tables.words(rows)))
        parts.append((f"Probabilities, all variants: {line}", reliable))
        lograge = [row for row in rows if row["log_format"] == "lograge"]
        if lograge:
            parts.append(
                ("The same, one-line (lograge) logs", tables.by_group(lograge, "variant", "variant"))
            )
    if ablated:
        parts.append(("Score terms taken away (jobs count too)", ablation.table(list(ablated))))
    return "\n\n".join(f"{_title(name, draw)}\n\n{draw(*table)}" for name, table in parts)


def _title(name: str, draw: measures.Draw) -> str:
    return f"### {name}" if draw is measures.markdown else f"{name}:"


if __name__ == "__main__":
    sys.exit(main())
