"""Refit ``data/weights.json``: ``python -m bench.fit_weights --n 40 [--corpus DIR ...] [--write]``.

Incidents of the simulation's world "fit" (never of the worlds reported) and of labelled corpora are measured, whole
and with evidence taken away; then the log-probability of the true cause is maximised over the weights, held near the
present ones by a quadratic penalty on their logarithms. Cross-validation leaves out whole incidents, then whole kinds
of log, then whole corpora; the temperature is what makes the probabilities of left-out and simulated incidents honest.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

import oomscope
from bench.accuracy.corpus import VARIANTS, Incident, load_corpus, make_variant
from bench.measures import calibration_error, processes
from bench.simulate.faults import PATTERNS
from bench.simulate.observe import simulate
from oomscope.analyze.case import Case
from oomscope.analyze.investigate import prepare
from oomscope.analyze.scores import ENDPOINT_PATTERNS, JOB_FORMS, NOBODY_PATTERNS, WHO, raw_terms
from oomscope.analyze.verdict import choose_kill, find_kills
from oomscope.analyze.weights import Weights, load_weights
from oomscope.evidence import Bundle

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
FILE = Path(oomscope.__file__).parent / "data" / "weights.json"
HELD_WEIGHT, HELD_PRIOR = 2.0, 8.0  # how strongly weights and pattern shares are held near the present ones
PATTERN_SHARE = 0.35  # of the objective: the right pattern; the rest: the right suspect
CORPUS_WEIGHT = 4.0  # a real incident counts as so many simulated ones
FOLDS = 8
TELLING = [list(load_weights().weights).index(name) for name in WHO]
SKIPPED = ("alternating", "two culprits")
LABELLED = {"full": 0.4, "no ALB": 0.2, "no memory": 0.1, "memory every 15 s": 0.1, "no app log": 0.1, "ALB only": 0.05,
            "app log only": 0.05}  # fmt: skip
SIMULATED = {"full": 0.6, "no ALB": 0.2, "no memory": 0.2}


@dataclass(frozen=True)
class Example:
    """Every cause of one incident as a row of raw terms, its pattern, and whether it is true."""

    name: str
    terms: Floats
    pattern: NDArray[np.int64]
    forms: Floats  # in how many rows each suspect of the pattern stands
    suspect: NDArray[np.int64]  # which rows are one suspect
    right: Flags
    right_pattern: Flags
    weight: float = 1.0
    groups: tuple[str, ...] = ()  # incident, kind of log, corpus


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, fit, cross-validate, print, and with ``--write`` replace the file."""
    args = _arguments(argv)
    start = load_weights()
    examples = _measure(args)
    fitted = fit(examples, start)
    labelled = [e for e in examples if e.groups]
    if labelled:
        fitted = replace(fitted, temperature=_cross_validate(examples, labelled, fitted))
    sys.stdout.write(json.dumps(_document(fitted), indent=1) + "\n")
    if args.write:
        _write(fitted, sum(1 for e in examples if not e.groups), labelled)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.fit_weights", description=__doc__)
    parser.add_argument("--n", type=int, default=40, help="simulated incidents a pattern")
    parser.add_argument("--corpus", type=Path, nargs="*", default=[], help="folders of labelled incidents")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="replace data/weights.json")
    return parser.parse_args(argv)


# -------------------------------------------------------------------------------------------------- measuring


def _measure(args: argparse.Namespace) -> list[Example]:
    simulated = [(p, seed) for p in PATTERNS if p not in SKIPPED for seed in range(args.n)]
    real = [(i, corpus.name) for corpus in args.corpus for i in load_corpus(corpus)]
    with processes(args.workers) as pool:
        parts = [*pool.map(_of_simulation, simulated, chunksize=4), *pool.map(_of_corpus, real)]
    return [example for part in parts for example in part]


def _of_simulation(task: tuple[str, int]) -> list[Example]:
    pattern, seed = task
    (incident,) = simulate(pattern, "fit", seed)
    truth = incident.truth
    names = set(truth["culprits"]) or ({truth["job"]} if truth["job"] else set())
    # The simulation lets one long request count as either; the weights should tell them apart.
    accepted = ("runaway_request",) if pattern == "runaway" else truth["patterns"]
    found = []
    for variant, weight in SIMULATED.items():
        # A simulated leak is as large as it takes whoever it is: only memory can tell whose.
        if variant == "no memory" and pattern == "leak":
            continue
        example = _example(_without(incident.bundle, variant), truth["id"], names, accepted)
        if example is not None:
            found.append(replace(example, weight=weight))
    return found


def _without(bundle: Bundle, variant: str) -> Bundle:
    if variant == "no ALB":
        return replace(bundle, accesses=bundle.accesses.clear())
    return replace(bundle, memory=bundle.memory.clear()) if variant == "no memory" else bundle


def _of_corpus(task: tuple[Incident, str]) -> list[Example]:
    from oomscope.pipeline import gather_files

    incident, corpus = task
    groups = (f"{corpus}/{incident.id}", str(incident.truth.get("log_format")), corpus)
    found = []
    for variant, share in LABELLED.items():
        with tempfile.TemporaryDirectory(prefix="oomscope-fit-") as scratch:
            place = make_variant(incident, VARIANTS[variant], Path(scratch))
            bundle = gather_files([place])
        name = f"{groups[0]}, {variant}"
        example = _example(bundle, name, _culprits(incident), incident.patterns)
        if example is not None:
            found.append(replace(example, weight=CORPUS_WEIGHT * share, groups=groups))
    return found


def _culprits(incident: Incident) -> set[str]:
    culprit, job = incident.truth.get("culprit"), incident.truth.get("culprit_job")
    if not incident.truth["is_oom"]:
        return set()
    names = {f"{culprit['method']} {culprit['path_pattern']}", str(culprit["action"])} if culprit else set()
    return names | ({str(job)} if job else set())


def _example(bundle: Bundle, name: str, right: set[str], patterns: Sequence[str]) -> Example | None:
    kill = choose_kill(find_kills(bundle), bundle.target)
    if kill is None or kill.verdict == "not_oom" or "not_oom" in patterns:
        return None
    return tabulate(prepare(bundle, kill), name, right, patterns, load_weights())


def tabulate(case: Case, name: str, right: set[str], patterns: Sequence[str], weights: Weights) -> Example:
    """All causes of a case as rows of raw terms."""
    raw, columns, shares = raw_terms(case, weights), list(weights.weights), list(weights.prior)
    jobs = case.runs.is_job
    guilty = np.array([_is_one_of(n, right) for n in case.runs.names], dtype=bool)
    rows: list[Floats] = []
    facts: list[tuple[int, float, int, bool, bool]] = []

    def add(values: dict[str, Any], who: int | None, pattern: str, true: bool) -> None:
        row = np.zeros(len(columns))
        for term, value in values.items():
            row[columns.index(term)] = value if who is None else value[who]
        forms = len(JOB_FORMS) if who is not None and jobs[who] else 1
        rows.append(row)
        suspect = -1 - shares.index(pattern) if who is None else who
        facts.append((shares.index(pattern), float(forms), suspect, true, true and pattern in patterns))

    for form in ENDPOINT_PATTERNS:
        for who in np.flatnonzero(~jobs):
            add(raw.terms[form], int(who), form, bool(guilty[who]))
    for form in JOB_FORMS:
        for who in np.flatnonzero(jobs):
            add(raw.terms[form], int(who), "background_job", bool(guilty[who]))
    for nobody in NOBODY_PATTERNS:
        add(raw.none[nobody], None, nobody, not right)
    pattern, forms, suspect, true, true_pattern = (np.array(column) for column in zip(*facts, strict=True))
    return Example(name, np.array(rows), pattern, forms.astype(float), suspect, true, true_pattern)


def _is_one_of(name: str, right: set[str]) -> bool:
    """Names learnt from paths alone may call the parameters otherwise: ``:id`` for ``:order_id``."""

    def plain(text: str) -> str:
        return " ".join(":" if part.startswith(":") else part for part in text.replace("/", " / ").split())

    return name in right or plain(name) in {plain(text) for text in right}


# ---------------------------------------------------------------------------------------------------- fitting


class Table:
    """Examples laid end to end, so that one pass of numpy judges them all."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.terms = np.vstack([e.terms for e in examples])
        self.pattern = np.concatenate([e.pattern for e in examples])
        self.forms = np.concatenate([e.forms for e in examples])
        self.sizes = np.array([len(e.pattern) for e in examples])
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        example = np.repeat(np.arange(len(examples)), self.sizes)
        new = (np.diff(example, prepend=-1) != 0) | (np.diff(self.pattern, prepend=-1) != 0)
        self.groups = np.flatnonzero(new)  # rows of one pattern of one example lie together
        self.group_sizes = np.diff(np.append(self.groups, new.size))
        self.weight = np.array([e.weight for e in examples])
        self.right = np.concatenate([e.right for e in examples])
        self.right_pattern = np.concatenate([e.right_pattern for e in examples])

    def sums(self, values: Floats) -> Floats:
        """Sum of the rows of every example."""
        return np.asarray(np.add.reduceat(values, self.starts))

    def each(self, values: Floats) -> Floats:
        """A number an example, repeated for its rows."""
        return np.repeat(values, self.sizes)

    def shared_out(self, weight: Floats) -> tuple[Floats, Floats]:
        """ln of the part of its pattern's prior that each row has, without its own terms; that part with them."""
        told = self.terms[:, TELLING] @ weight[TELLING]
        top = np.repeat(np.maximum.reduceat(told, self.groups), self.group_sizes)
        each = np.exp(told - top)
        total = np.repeat(np.add.reduceat(each, self.groups), self.group_sizes)
        return np.log(self.forms / total) - top, each / total

    def odds(self, weight: Floats, prior: Floats) -> Floats:
        """Likelihood times prior of every row, the best of each example 1."""
        logit = self.terms @ weight + prior[self.pattern] + self.shared_out(weight)[0]
        return np.asarray(np.exp(logit - self.each(np.maximum.reduceat(logit, self.starts))))


def fit(examples: Sequence[Example], start: Weights, first: Weights | None = None) -> Weights:
    """Weights and shares that make the true causes likeliest; held near ``start``, searched for from ``first``."""
    table, n = Table(examples), len(start.weights)
    centre, begin = _vector(start), _vector(first or start)
    held = np.concatenate([np.full(n, HELD_WEIGHT), np.full(centre.size - n, HELD_PRIOR)])

    def loss(x: Floats) -> tuple[float, Floats]:
        total, slope = _loss(table, x, n)
        return total + 0.5 * float(held @ (x - centre) ** 2), slope + held * (x - centre)

    best = minimize(loss, begin, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    prior = np.exp(best[n:] - np.logaddexp.reduce(best[n:]))
    return replace(
        start,
        weights={k: round(float(v), 3) for k, v in zip(start.weights, np.exp(best[:n]), strict=True)},
        prior={k: round(float(v), 4) for k, v in zip(start.prior, prior, strict=True)},
    )


def _vector(weights: Weights) -> Floats:
    named = np.maximum(list(weights.weights.values()), 1e-3)
    return np.log(np.concatenate([named, list(weights.prior.values())]))


def _loss(table: Table, x: Floats, n: int) -> tuple[float, Floats]:
    """Minus the log-probability of the truth (suspect and pattern), and its slope."""
    weight, prior = np.exp(x[:n]), x[n:] - np.logaddexp.reduce(x[n:])
    odds = table.odds(weight, prior)
    share = odds / table.each(table.sums(odds))
    total, slope = 0.0, np.zeros_like(x)
    for true, part in ((table.right, 1 - PATTERN_SHARE), (table.right_pattern, PATTERN_SHARE)):
        inside = np.where(true, share, 0.0)
        held = table.sums(inside)
        counts = part * table.weight * (held > 0)
        total -= float(counts @ np.log(held + 1e-12))
        change = table.each(counts) * (share - inside / table.each(np.maximum(held, 1e-300)))
        slope[:n] += (change @ table.terms) * weight
        shared = table.shared_out(weight)[1][:, None] * table.terms[:, TELLING]
        whole = np.add.reduceat(change, table.groups) @ np.add.reduceat(shared, table.groups)
        slope[TELLING] -= whole * weight[TELLING]
        shift = np.bincount(table.pattern, weights=change, minlength=x.size - n)
        slope[n:] += shift - shift.sum() * np.exp(prior)
    return total, slope


# ------------------------------------------------------------------------------------------- cross-validation


def _cross_validate(examples: list[Example], labelled: list[Example], fitted: Weights) -> float:
    """Prints how left-out incidents fare; the temperature that suits them, and the simulated ones, best."""
    judged: list[tuple[Example, Weights]] = []
    for title, fold_of in _splits(labelled).items():
        found = []
        for fold in sorted({fold_of(e) for e in labelled}):
            out = [e for e in labelled if fold_of(e) == fold]
            kept = [e for e in examples if not any(e is o for o in out)]
            without = fit(kept, load_weights(), fitted)
            found += [(e, without) for e in out]
        _say(title, found)
        judged = judged or found
    judged += [(e, fitted) for e in examples if not e.groups]
    best = minimize_scalar(lambda t: _surprise(judged, t), bounds=(0.4, 2.5), method="bounded").x
    sys.stdout.write(f"temperature of the left-out and simulated incidents: {best:.3f}\n")
    return round(float(best), 3)


def _splits(labelled: list[Example]) -> dict[str, Callable[[Example], str]]:
    incidents = sorted({e.groups[0] for e in labelled})
    fold = {name: str(i % FOLDS) for i, name in enumerate(incidents)}
    splits: dict[str, Callable[[Example], str]] = {
        "whole incidents": lambda e: fold[e.groups[0]],
        "whole kinds of log": lambda e: e.groups[1],
    }
    if len({e.groups[2] for e in labelled}) > 1:
        splits["whole corpora"] = lambda e: e.groups[2]
    return splits


def shares(example: Example, weights: Weights, temperature: float | None = None) -> dict[int, float]:
    """Probability of every suspect of an example."""
    table = Table([example])
    prior = np.array([weights.log_prior(p) for p in weights.prior])
    odds = table.odds(np.array(list(weights.weights.values())), prior) ** (
        1 / (temperature or weights.temperature)
    )
    found: dict[int, float] = {}
    for suspect, share in zip(example.suspect, odds / odds.sum(), strict=True):
        found[int(suspect)] = found.get(int(suspect), 0.0) + float(share)
    return found


def _surprise(judged: Sequence[tuple[Example, Weights]], temperature: float) -> float:
    total = 0.0
    for example, weights in judged:
        said = shares(example, weights, temperature)
        true = sum(said[int(s)] for s in set(example.suspect[example.right].tolist()))
        total -= example.weight * float(np.log(0.99 * true + 1e-3))
    return total


def _say(title: str, judged: Sequence[tuple[Example, Weights]]) -> None:
    for variant in LABELLED:
        rows = list(_judge([item for item in judged if item[0].name.endswith(f", {variant}")]))
        if rows:
            hits, said = [hit for hit, _ in rows], [p for _, p in rows]
            ece = calibration_error(said, hits) or 0.0
            sys.stdout.write(
                f"left out {title:18} {variant:18} n {len(rows):3} top-1 {np.mean(hits):.2f}"
                f" probability {np.mean(said):.2f} ECE {ece:.3f}\n"
            )
    full = [item for item in judged if item[0].name.endswith(", full")]
    for (example, _), (hit, p) in zip(full, _judge(full), strict=True):
        if not hit:
            sys.stdout.write(f"  wrong without it: {example.name} (said with {p:.2f})\n")


def _judge(judged: Sequence[tuple[Example, Weights]]) -> Iterator[tuple[bool, float]]:
    """(right, probability) of the likeliest suspect of each."""
    for example, weights in judged:
        said = shares(example, weights, weights.temperature)
        best = max(said, key=lambda s: (said[s], -s))
        yield best in set(example.suspect[example.right].tolist()), said[best]


# ---------------------------------------------------------------------------------------------------- writing


def _document(weights: Weights) -> dict[str, Any]:
    present = json.loads(FILE.read_text("utf-8"))
    return {**present, "weights": weights.weights, "prior": weights.prior, "temperature": weights.temperature}


def _write(weights: Weights, simulated: int, labelled: Sequence[Example]) -> None:
    document = _document(weights)
    document["provenance"] = (
        f"python -m bench.fit_weights: {simulated} examples of simulated incidents of world 'fit' and {len(labelled)}"
        f" examples of {len({e.groups[0] for e in labelled})} real incidents, whole and with evidence taken away;"
        " temperature from left-out and simulated incidents"
    )
    FILE.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
