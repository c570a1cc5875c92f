"""Refit ``data/weights.json``: ``python -m bench.fit_weights --n 40 [--corpus DIR] [--write]``.

Incidents of the simulation's world "fit" (never of the worlds reported) and, when given, of a labelled corpus are
measured once; then the log-probability of the true cause is maximised over the weights, held near the present ones by a
quadratic penalty on their logarithms. With ``--corpus`` every incident is also judged by weights fitted without it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

import oomscope
from bench.accuracy.corpus import Incident, load_corpus
from bench.simulate.faults import PATTERNS
from bench.simulate.observe import simulate
from oomscope.analyze.case import Case
from oomscope.analyze.investigate import prepare
from oomscope.analyze.scores import ENDPOINT_PATTERNS, JOB_FORMS, NOBODY_PATTERNS, raw_terms
from oomscope.analyze.verdict import choose_kill, find_kills
from oomscope.analyze.weights import Weights, load_weights
from oomscope.evidence import Bundle

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
FILE = Path(oomscope.__file__).parent / "data" / "weights.json"
HELD_WEIGHT, HELD_PRIOR = 2.0, 30.0  # how strongly weights and pattern shares are held near the present ones
PATTERN_SHARE = 0.35  # of the objective: the right pattern; the rest: the right suspect
CORPUS_WEIGHT = 3.0
SKIPPED = ("alternating", "two culprits")


@dataclass(frozen=True)
class Example:
    """Every cause of one incident as a row of raw terms, its pattern, and whether it is true."""

    name: str
    terms: Floats
    pattern: NDArray[np.int64]
    crowd: Floats  # -ln of how many suspects share the pattern's prior
    right: Flags
    right_pattern: Flags
    weight: float = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, fit, print, and with ``--write`` replace the file."""
    args = _arguments(argv)
    start = load_weights()
    tasks = [(p, seed) for p in PATTERNS if p not in SKIPPED for seed in range(args.n)]
    with ProcessPoolExecutor(args.workers) as pool:
        examples = [e for e in pool.map(_simulated, tasks, chunksize=4) if e is not None]
    labelled = list(_labelled(args.corpus, start)) if args.corpus else []
    fitted = fit([*examples, *labelled], start)
    sys.stdout.write(json.dumps(_document(fitted), indent=1) + "\n")
    for example in labelled:
        alone = fit([*examples, *(e for e in labelled if e is not example)], start)
        said = probability_of_truth(example, alone)
        sys.stdout.write(f"left out: {example.name}: probability of the true suspect {said:.3f}\n")
    if args.write:
        _write(fitted, len(examples), len(labelled))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.fit_weights", description=__doc__)
    parser.add_argument("--n", type=int, default=40, help="simulated incidents a pattern")
    parser.add_argument("--corpus", type=Path, help="folder of labelled incidents")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="replace data/weights.json")
    return parser.parse_args(argv)


def _simulated(task: tuple[str, int]) -> Example | None:
    pattern, seed = task
    (incident,) = simulate(pattern, "fit", seed)
    truth = incident.truth
    names = set(truth["culprits"]) or ({truth["job"]} if truth["job"] else set())
    # The simulation lets one long request count as either; the weights should tell them apart.
    accepted = ("runaway_request",) if pattern == "runaway" else truth["patterns"]
    return _example(incident.bundle, truth["id"], names, accepted, load_weights())


def _labelled(folder: Path, weights: Weights) -> Iterator[Example]:
    from oomscope.pipeline import gather_files

    for incident in load_corpus(folder):
        bundle = gather_files([incident.input])
        example = _example(bundle, incident.id, _culprits(incident), incident.patterns, weights)
        if example is not None:
            yield replace(example, weight=CORPUS_WEIGHT)


def _culprits(incident: Incident) -> set[str]:
    culprit, job = incident.truth.get("culprit"), incident.truth.get("culprit_job")
    return {str(culprit["action"])} if culprit else {str(job)} if job else set()


def _example(
    bundle: Bundle, name: str, right: set[str], patterns: Sequence[str], weights: Weights
) -> Example | None:
    kill = choose_kill(find_kills(bundle), bundle.target)
    if kill is None or kill.verdict == "not_oom":
        return None
    return tabulate(prepare(bundle, kill), name, right, patterns, weights)


def tabulate(case: Case, name: str, right: set[str], patterns: Sequence[str], weights: Weights) -> Example:
    """All causes of a case as rows of raw terms."""
    raw, columns, shares = raw_terms(case, weights), list(weights.weights), list(weights.prior)
    jobs = case.runs.is_job
    crowd = {True: max(int(jobs.sum()), 1), False: max(int((~jobs).sum()), 1)}
    guilty = np.array([n in right for n in case.runs.names], dtype=bool)
    rows: list[Floats] = []
    facts: list[tuple[int, float, bool, bool]] = []

    def add(values: dict[str, Any], who: int | None, pattern: str, true: bool) -> None:
        row = np.zeros(len(columns))
        for term, value in values.items():
            row[columns.index(term)] = value if who is None else value[who]
        share = 0.0 if who is None else -float(np.log(crowd[bool(jobs[who])]))
        rows.append(row)
        facts.append((shares.index(pattern), share, true, true and pattern in patterns))

    for form in ENDPOINT_PATTERNS:
        for who in np.flatnonzero(~jobs):
            add(raw.terms[form], int(who), form, bool(guilty[who]))
    for form in JOB_FORMS:
        for who in np.flatnonzero(jobs):
            add(raw.terms[form], int(who), "background_job", bool(guilty[who]))
    for nobody in NOBODY_PATTERNS:
        add(raw.none[nobody], None, nobody, not right)
    pattern, crowds, true, true_pattern = (np.array(column) for column in zip(*facts, strict=True))
    return Example(name, np.array(rows), pattern, crowds.astype(float), true, true_pattern)


def fit(examples: Sequence[Example], start: Weights) -> Weights:
    """Weights and shares that make the true causes likeliest."""
    n = len(start.weights)
    shares = np.log(np.array(list(start.prior.values())))
    first = np.concatenate([np.log(np.maximum(list(start.weights.values()), 1e-3)), shares])
    held = np.concatenate([np.full(n, HELD_WEIGHT), np.full(shares.size, HELD_PRIOR)])

    def loss(x: Floats) -> tuple[float, Floats]:
        total, slope = 0.5 * float(held @ (x - first) ** 2), held * (x - first)
        for example in examples:
            value, gradient = _loss(example, x, n)
            total, slope = total + value, slope + gradient
        return total, slope

    best = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    prior = np.exp(best[n:] - np.logaddexp.reduce(best[n:]))
    return Weights(
        caps=start.caps,
        weights={k: round(float(v), 3) for k, v in zip(start.weights, np.exp(best[:n]), strict=True)},
        prior={k: round(float(v), 4) for k, v in zip(start.prior, prior, strict=True)},
        temperature=start.temperature,
    )


def _loss(example: Example, x: Floats, n: int) -> tuple[float, Floats]:
    """Minus the log-probability of the truth (suspect and pattern), and its slope."""
    weight, prior = np.exp(x[:n]), x[n:] - np.logaddexp.reduce(x[n:])
    logit = example.terms @ weight + prior[example.pattern] + example.crowd
    odds = np.exp(logit - logit.max())
    total, slope = 0.0, np.zeros_like(x)
    for true, part in ((example.right, 1 - PATTERN_SHARE), (example.right_pattern, PATTERN_SHARE)):
        if not true.any():
            continue
        inside = np.where(true, odds, 0.0)
        total -= part * float(np.log(inside.sum() / odds.sum() + 1e-12))
        change = odds / odds.sum() - inside / max(inside.sum(), 1e-12)
        slope[:n] += part * (change @ example.terms) * weight
        shift = np.bincount(example.pattern, weights=change, minlength=x.size - n)
        slope[n:] += part * (shift - shift.sum() * np.exp(prior))
    return example.weight * total, example.weight * slope


def probability_of_truth(example: Example, weights: Weights) -> float:
    """What these weights give to the true suspect."""
    shares = np.array([weights.log_prior(p) for p in weights.prior])
    logit = example.terms @ np.array(list(weights.weights.values())) + shares[example.pattern] + example.crowd
    odds = np.exp(logit - logit.max())
    return float(odds[example.right].sum() / odds.sum())


def _document(weights: Weights) -> dict[str, Any]:
    present = json.loads(FILE.read_text("utf-8"))
    return {**present, "weights": weights.weights, "prior": weights.prior}


def _write(weights: Weights, simulated: int, labelled: int) -> None:
    document = _document(weights)
    document["provenance"] = (
        f"python -m bench.fit_weights: {simulated} simulated incidents of world 'fit', {labelled} lab incidents"
    )
    FILE.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
