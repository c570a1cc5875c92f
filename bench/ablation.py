"""What every term of the score is worth: the same evidence judged again with one weight set to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.measures import Row, grouped, share

if TYPE_CHECKING:
    from oomscope.evidence import Bundle

ALL = "nothing"


@dataclass(frozen=True)
class Named:
    """One candidate of a ranking; ``who`` is None for a cause without anyone to blame."""

    pattern: str
    who: str | None
    method: str | None = None
    path_pattern: str | None = None


def rankings(bundle: Bundle) -> Iterator[tuple[str, list[Named]]]:
    """(term taken away, candidates likeliest first), beginning with nothing taken away. Empty without a kill."""
    from oomscope.analyze.gate import fuse
    from oomscope.analyze.investigate import prepare
    from oomscope.analyze.scores import score
    from oomscope.analyze.verdict import choose_kill, find_kills
    from oomscope.analyze.weights import load_weights

    kills = find_kills(bundle)
    kill = choose_kill(kills, bundle.target) if kills else None
    if kill is None:
        return
    case = prepare(bundle, kill)
    weights = load_weights()
    for term in (ALL, *weights.weights):
        kept = weights.weights if term == ALL else {**weights.weights, term: 0.0}
        changed = replace(weights, weights=kept)
        named = []
        for candidate in fuse(score(case, changed), case, changed):
            who = None if candidate.who is None else case.runs.names[candidate.who]
            method, path = case.names.pattern(who) if who else (None, None)
            named.append(Named(candidate.pattern, who, method, path))
        yield term, named


def table(rows: list[Row]) -> tuple[list[str], list[list[str]]]:
    """Rows with ``term``, ``top1``, ``top3``, ``shape``: one line a term, and what its loss costs in top-1."""
    groups = grouped(rows, "term")
    whole = share(row["top1"] for row in groups[ALL]).value or 0.0
    body = []
    for term, group in groups.items():
        top1 = share(row["top1"] for row in group)
        change = "" if term == ALL or top1.value is None else f"{top1.value - whole:+.3f}"
        body.append(
            [
                term,
                str(top1.n),
                top1.text(),
                change,
                *(share(r[k] for r in group).text() for k in ("top3", "shape")),
            ]
        )
    return ["taken away", "n", "top-1", "change", "top-3", "pattern"], body
