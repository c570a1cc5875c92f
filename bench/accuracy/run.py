"""Runs the command line over incidents, whole or with evidence taken away, and grades what it wrote."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.ablation import Named, rankings
from bench.accuracy.corpus import VARIANTS, Incident, make_variant
from bench.accuracy.grade import grade, is_culprit
from bench.measures import processes

TIMEOUT_S = 120


def run_all(
    incidents: Sequence[Incident], variants: Sequence[str], *, workers: int = 1, subprocesses: bool = False
) -> Iterator[dict[str, Any]]:
    """One graded row an incident and variant; a run that failed is a row with ``error`` and every answer wrong."""
    work = [(incident, variant, subprocesses) for variant in variants for incident in incidents]
    if workers == 1:
        yield from map(_one, work)
        return
    with processes(workers) as pool:
        yield from pool.map(_one, work)


def _one(task: tuple[Incident, str, bool]) -> dict[str, Any]:
    incident, variant, subprocesses = task
    with tempfile.TemporaryDirectory(prefix="oomscope-bench-") as scratch:
        folder = incident.input
        if variant != "full":
            folder = make_variant(incident, VARIANTS[variant], Path(scratch) / "input")
            folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        report, error = investigate(folder, Path(scratch) / "report.json", subprocesses=subprocesses)
        seconds = time.perf_counter() - started
    row = grade(incident, report or _nothing())
    return row | {"variant": variant, "seconds": round(seconds, 3), "error": error}


def ablate(incident: Incident) -> list[dict[str, Any]]:
    """Graded rows of one incident with each term of the score taken away in turn."""
    from oomscope.sources.files import collect_files

    rows = []
    for term, named in rankings(collect_files([incident.input])):
        hits = [is_culprit(_suspect(one), incident.truth) for one in named if one.pattern != "not_oom"]
        blamed = bool(incident.truth.get("culprit") or incident.truth.get("culprit_job"))
        rows.append({
            "id": incident.id, "term": term, "shape": bool(named) and named[0].pattern in incident.patterns,
            "top1": any(hits[:1]) if blamed else None, "top3": any(hits[:3]) if blamed else None,
        })  # fmt: skip
    return rows


def _suspect(one: Named) -> dict[str, Any]:
    kind = "none" if one.who is None else "job" if one.pattern == "background_job" else "endpoint"
    known = one.who if kind == "job" or "#" in (one.who or "") else None
    return {
        "suspect": {"kind": kind, "endpoint": known, "method": one.method, "path_pattern": one.path_pattern}
    }


def investigate(
    folder: Path, output: Path, *, subprocesses: bool = False
) -> tuple[dict[str, Any] | None, str | None]:
    """``oomscope investigate --from FOLDER -f json -o OUTPUT``: the report, or what went wrong."""
    args = ["investigate", "--from", str(folder), "-f", "json", "-o", str(output), "--quiet"]
    code, said = _subprocess(args) if subprocesses else _in_process(args)
    if output.is_file():
        return json.loads(output.read_text()), None
    return None, f"exit {code}: {' '.join(said.split())[-300:]}"


def _subprocess(args: list[str]) -> tuple[int, str]:
    command = [sys.executable, "-c", "from oomscope.cli import main; main()", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    return done.returncode, done.stderr


def _in_process(args: list[str]) -> tuple[int, str]:
    from oomscope.cli import run

    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = run(args)
    return code, said.getvalue()


def _nothing() -> dict[str, Any]:
    """What no report at all says."""
    return {
        "kill": {"verdict": "none"},
        "cause": {"hypothesis": None, "strength": "inconclusive"},
        "hypotheses": [],
        "in_flight": [],
    }
