"""Generate, analyse, grade; in two processes, without keeping bundles."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bench.ablation import rankings
from bench.measures import processes
from bench.simulate.baselines import ranked
from bench.simulate.observe import Simulated, simulate

STRENGTHS = ("strong", "moderate")
NEEDED = {"kill", "cause", "hypotheses"}
Task = tuple[str, str, int, int]  # pattern, world, seed, k


Work = Callable[[Task], list[dict[str, Any]]]


def run_all(
    tasks: Sequence[Task], workers: int = 2, work: Work | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Per task one row an incident, and with ``k`` above 1 a last row for all of them together (``pooled``)."""
    if workers == 1:
        yield from map(work or grade_group, tasks)
        return
    with processes(workers) as pool:
        yield from pool.map(work or grade_group, tasks, chunksize=4)


def grade_group(task: Task) -> list[dict[str, Any]]:
    """The graded rows of one deployment."""
    pattern, world, seed, k = task
    began = time.perf_counter()
    incidents = simulate(pattern, world, seed, k)
    made = (time.perf_counter() - began) / k
    rows = [_alone(incident, pattern, world, made) for incident in incidents]
    if k > 1:
        rows.append(_pooled(incidents, pattern, world))
    return rows


def ablate_group(task: Task) -> list[dict[str, Any]]:
    """Graded rows of one incident with each term of the score taken away in turn."""
    pattern, world, seed, _ = task
    one = simulate(pattern, world, seed)[0]
    right = set(one.truth["culprits"]) or {one.truth["job"]} - {None}
    rows = []
    for term, named in rankings(one.bundle):
        hits = [candidate.who in right for candidate in named]
        rows.append({
            "pattern": pattern, "term": term, "shape": named[0].pattern in one.truth["patterns"],
            "top1": any(hits[:1]) if right else None, "top3": any(hits[:3]) if right else None,
        })  # fmt: skip
    return rows


def _alone(incident: Simulated, pattern: str, world: str, made: float) -> dict[str, Any]:
    from oomscope.analyze import analyze

    began = time.perf_counter()
    report = analyze(incident.bundle).model_dump(include=NEEDED, by_alias=True)
    seconds = time.perf_counter() - began
    row = grade(report, incident.truth)
    for method, names in ranked(incident.bundle).items():
        row |= _hits(method, names, incident.truth)
    return row | {"pattern": pattern, "world": world, "k": 1, "seconds": seconds, "made_s": made}


def _pooled(incidents: Sequence[Simulated], pattern: str, world: str) -> dict[str, Any]:
    """All incidents of the deployment analysed together; every culprit among them counts as right."""
    from oomscope.analyze import analyze_many

    truth = dict(incidents[0].truth)
    truth["culprits"] = sorted({name for one in incidents for name in one.truth["culprits"]})
    truth["patterns"] = tuple({name for one in incidents for name in one.truth["patterns"]})
    began = time.perf_counter()
    report = analyze_many([one.bundle for one in incidents]).model_dump(include=NEEDED, by_alias=True)
    seconds = time.perf_counter() - began
    row = grade(report, truth) | {"trigger": None}  # several culprits, several triggers
    return row | {"pattern": pattern, "world": world, "k": len(incidents), "seconds": seconds, "made_s": 0.0}


def grade(report: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """Answers per question; None where the question does not apply."""
    ranking = [h for h in report["hypotheses"] if h["status"] not in ("ruled_out", "untested")]
    names = list(dict.fromkeys(_name(h) for h in ranking))
    right = set(truth["culprits"]) or {truth["job"]}
    at_fault = bool(truth["culprits"] or truth["job"])
    first = next((h for h in ranking if h["suspect"]["kind"] != "none"), None)
    accused = _accused(report)
    blameless = not truth["culprits"]
    triggers = [
        d for d in (first or {}).get("distinguishing", ()) if d["kind"] in ("param", "path_id", "client")
    ]
    named_right = first is not None and _name(first) in right
    return {
        "id": truth["id"],
        "verdict": report["kill"]["verdict"] == "oom_limit",
        "top1": bool(names[:1] and names[0] in right) if at_fault else None,
        "top3": bool(right & set(names[:3])) if at_fault else None,
        "both": right <= set(names[:3]) if len(right) > 1 else None,
        "shape": bool(ranking) and ranking[0]["pattern"] in truth["patterns"],
        "shape_said": ranking[0]["pattern"] if ranking else None,
        "said": names[:3],
        "strength": report["cause"]["strength"],
        "false_accusation": any(h["suspect"]["kind"] == "endpoint" for h in accused) if blameless else None,
        "accused_right": all(_name(h) in right for h in accused) if accused else None,
        "probability": first["probability"] if first else None,
        "probability_right": named_right if first else None,
        "trigger": _trigger(triggers, truth["trigger"]) if named_right else None,
    }  # fmt: skip


def _name(hypothesis: dict[str, Any]) -> str | None:
    return hypothesis["suspect"]["endpoint"] if hypothesis["suspect"]["kind"] != "none" else None


def _accused(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        h
        for h in report["hypotheses"]
        if h["suspect"]["kind"] != "none" and h["strength"] in STRENGTHS and h["status"] == "supported"
    ]


def _trigger(said: list[dict[str, Any]], trigger: dict[str, str]) -> bool:
    """Named when there is one; silent (but for the client, which may be true) when there is none."""
    if trigger["type"] == "always":
        return not any(d["kind"] != "client" for d in said)
    return any(d["value"] == trigger["value"] for d in said)


def _hits(method: str, names: Sequence[str], truth: dict[str, Any]) -> dict[str, Any]:
    if not truth["culprits"]:
        return {f"{method} top1": None, f"{method} top3": None}
    right = set(truth["culprits"])
    return {f"{method} top1": bool(right & set(names[:1])), f"{method} top3": bool(right & set(names[:3]))}
