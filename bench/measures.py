"""Shares with bootstrap intervals, calibration, and the tables both benches print."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 2000


@dataclass(frozen=True)
class Share:
    """A mean of 0/1 (or 0..1) answers over incidents, with its 95 % bootstrap interval. ``n`` 0: nothing to measure."""

    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None

    def text(self) -> str:
        """``0.92 (n 12)``, or ``-`` when nothing was measured."""
        return "-" if self.value is None else f"{self.value:.2f}"

    def interval(self) -> str:
        """``0.79-1.00``."""
        return "-" if self.low is None or self.high is None else f"{self.low:.2f}-{self.high:.2f}"


def share(values: Iterable[float | bool | None], seed: int = 0) -> Share:
    """Mean of the answers that are not None, resampled over incidents."""
    known = np.array([float(v) for v in values if v is not None])
    if not known.size:
        return Share(0)
    picks = np.random.default_rng(seed).integers(0, known.size, (RESAMPLES, known.size))
    means = known[picks].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Share(int(known.size), float(known.mean()), float(low), float(high))


def brier(probability: Sequence[float], right: Sequence[bool]) -> float | None:
    """Mean squared distance between the probability given and what was true."""
    if not probability:
        return None
    return float(np.mean((np.asarray(probability) - np.asarray(right, dtype=float)) ** 2))


def calibration_error(probability: Sequence[float], right: Sequence[bool], bins: int = 10) -> float | None:
    """Expected calibration error over bins of equal mass (10 where there are enough incidents)."""
    rows = reliability(probability, right, bins)
    total = sum(row["n"] for row in rows)
    return sum(row["n"] * abs(row["said"] - row["was"]) for row in rows) / total if total else None


def reliability(
    probability: Sequence[float], right: Sequence[bool], bins: int = 10
) -> list[dict[str, float]]:
    """Per equal-mass bin: how many, the mean probability said, the share that was right."""
    if not probability:
        return []
    p, r = np.asarray(probability, dtype=float), np.asarray(right, dtype=float)
    order = np.argsort(p, kind="stable")
    parts = np.array_split(order, max(1, min(bins, len(p) // 5)))
    return [{"n": len(i), "said": float(p[i].mean()), "was": float(r[i].mean())} for i in parts if len(i)]


Row = dict[str, Any]
Draw = Callable[[Sequence[str], Sequence[Sequence[str]]], str]


def processes(workers: int) -> ProcessPoolExecutor:
    """Workers of one thread each, started fresh: Polars does not survive a fork."""
    for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def grouped(rows: Sequence[Row], key: str) -> dict[str, list[Row]]:
    """Rows by the value of a field, in order of first appearance."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row[key]), []).append(row)
    return groups


def plain(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """An aligned table for the terminal."""
    widths = [max(len(line[i]) for line in (header, *body)) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in (header, *body)
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(line.rstrip() for line in lines)


def markdown(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """The same as a Markdown table."""
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def replace_section(text: str, name: str, body: str) -> str:
    """Put ``body`` between ``<!-- name:begin -->`` and ``<!-- name:end -->``. Raises ValueError without the markers."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"no section {name!r} in the page")
    return f"{head}{begin}\n{body}\n{end}{tail}"
