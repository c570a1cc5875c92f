"""The graded rows as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.measures import Row, brier, calibration_error, grouped, reliability, share
from oomscope.analyze.weights import Weights

Table = tuple[list[str], list[list[str]]]


def by_group(rows: Sequence[Row], key: str, first: str) -> Table:
    """One line a kind, log format or variant, and one for all."""
    header = [first, "n", "verdict", "verdict false", "top-1", "top-3", "job", "pattern", "in flight found",
              "false in flight", "false accusations", "trigger named", "named for nothing", "seconds"]  # fmt: skip
    groups = grouped(rows, key)
    body = [_line(name, group) for name, group in groups.items()]
    if len(groups) > 1 and key != "variant":
        body.append(_line("all", rows))
    return header, body


def _line(name: str, rows: Sequence[Row]) -> list[str]:
    true, found = _total(rows, "in_flight_true"), _total(rows, "in_flight_found")
    return [
        name,
        str(len(rows)),
        share(row["verdict"] for row in rows).text(),
        str(_total(rows, "verdict_false")),
        *(share(row[k] for row in rows).text() for k in ("top1", "top3", "job", "pattern")),
        f"{found}/{true}" if true else "-",
        str(_total(rows, "in_flight_false")) if any(r["in_flight_true"] is not None for r in rows) else "-",
        _count(rows, "false_accusation"),
        _count(rows, "trigger_named"),
        _count(rows, "trigger_false"),
        f"{sum(r['seconds'] for r in rows) / len(rows):.2f}",
    ]


def _total(rows: Sequence[Row], key: str) -> int:
    return sum(int(row[key] or 0) for row in rows)


def _count(rows: Sequence[Row], key: str) -> str:
    known = [row[key] for row in rows if row[key] is not None]
    return f"{sum(known)}/{len(known)}" if known else "-"


def intervals(rows: Sequence[Row]) -> Table:
    """Totals with their bootstrap intervals."""
    body = []
    for name, key in (("verdict", "verdict"), ("top-1", "top1"), ("top-3", "top3"), ("job named", "job"),
                      ("pattern", "pattern"), ("false accusation", "false_accusation"),
                      ("trigger named", "trigger_named")):  # fmt: skip
        found = share(row[key] for row in rows)
        body.append([name, str(found.n), found.text(), found.interval()])
    return ["", "n", "share", "95 % interval"], body


def words(rows: Sequence[Row]) -> Table:
    """How often an accusation of each strength was right."""
    body = []
    for word in ("strong", "moderate", "weak", "inconclusive"):
        said = [row for row in rows if row["strength"] == word]
        right = share(row["accused_right"] for row in said)
        top1 = share(row["top1"] for row in said)
        body.append([word, str(len(said)), str(right.n), right.text(), top1.text()])
    return ["strength", "incidents", "accusations", "right", "top-1 of these"], body


def calibration(rows: Sequence[Row]) -> tuple[str, Table]:
    """ECE and Brier score of the probability given to the first suspect, and the reliability table."""
    known = [row for row in rows if row["probability"] is not None]
    p = [row["probability"] for row in known]
    right = [bool(row["probability_right"]) for row in known]
    ece, score = calibration_error(p, right), brier(p, right)
    line = f"n {len(known)}, ECE {_number(ece)}, Brier {_number(score)}"
    body = [[str(int(b["n"])), f"{b['said']:.2f}", f"{b['was']:.2f}"] for b in reliability(p, right)]
    return line, (["incidents", "probability said", "share right"], body)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def versus(rows: Sequence[Row], original: Sequence[dict[str, Any]]) -> Table:
    """This tool beside the count of incomplete requests."""
    blameless = [row for row in original if "top1" not in row]
    mine = [row for row in rows if row["top1"] is not None]
    theirs = [row for row in original if "top1" in row]
    return ["method", "top-1", "top-3", "accuses where no endpoint is at fault"], [
        ["count of incomplete requests", share(r["top1"] for r in theirs).text(),
         share(r["top3"] for r in theirs).text(), _count_of(blameless, "accused")],
        ["oomscope", share(r["top1"] for r in mine).text(), share(r["top3"] for r in mine).text(),
         _count(rows, "false_accusation")],
    ]  # fmt: skip


def _count_of(rows: Sequence[dict[str, Any]], key: str) -> str:
    return f"{sum(bool(row[key]) for row in rows)}/{len(rows)}"


def weights(numbers: Weights) -> Table:
    """The fitted numbers of the score."""
    terms = [[f"`{name}`", f"{value:g}", f"{numbers.caps[name]:g}" if name in numbers.caps else ""]
             for name, value in numbers.weights.items()]  # fmt: skip
    priors = [
        [f"prior of {name.replace('_', ' ')}", f"{value:g}", ""] for name, value in numbers.prior.items()
    ]
    return ["number", "weight", "cap (nats)"], [*terms, *priors]


def mistakes(rows: Sequence[Row]) -> list[str]:
    """One line an incident that is wrong somewhere, with what was said."""
    lines = []
    for row in rows:
        wrong = [k for k in ("verdict", "top1", "top3", "job", "pattern", "trigger_named") if row[k] is False]
        wrong += [k for k in ("false_accusation", "trigger_false") if row[k]]
        wrong += ["in_flight"] if row["in_flight_missed"] or row["in_flight_extra"] else []
        if wrong or row["error"]:
            said = f"said {row['verdict_said']}, {row['pattern_said']}, {row['suspect_said']} ({row['strength']})"
            lines.append(f"{row['variant']}: {row['id']}: {', '.join(wrong)}; {row['error'] or said}")
    return lines
