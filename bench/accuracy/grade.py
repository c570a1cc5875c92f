"""One report against the truth of its incident."""

from __future__ import annotations

from typing import Any

from bench.accuracy.corpus import Incident
from bench.accuracy.original import same_path

STRENGTHS = ("strong", "moderate")
TRIGGER_KINDS = ("param", "path_id", "client", "user_agent", "format", "job_arg")


def grade(incident: Incident, report: dict[str, Any]) -> dict[str, Any]:
    """Answers per question; None where the question does not apply to this incident."""
    ranked = [h for h in report.get("hypotheses", []) if h["status"] not in ("ruled_out", "untested")]
    named = _distinct(ranked)
    truth = incident.truth
    has_endpoint, has_job = bool(truth.get("culprit")), bool(truth.get("culprit_job"))
    cause = _cause(report)
    accused = cause is not None and cause["suspect"]["kind"] != "none" and _strength(report) in STRENGTHS
    row: dict[str, Any] = {
        "id": incident.id,
        "kind": incident.kind,
        "log_format": truth.get("log_format"),
        "verdict": report["kill"]["verdict"] == incident.verdict,
        "verdict_false": report["kill"]["verdict"] not in (incident.verdict, "undetermined", "none"),
        "verdict_said": report["kill"]["verdict"],
        "top1": any(is_culprit(h, truth) for h in named[:1]) if has_endpoint else None,
        "top3": any(is_culprit(h, truth) for h in named[:3]) if has_endpoint else None,
        "job": any(is_culprit(h, truth) for h in named[:1]) if has_job else None,
        "pattern": bool(ranked) and ranked[0]["pattern"] in incident.patterns,
        "pattern_said": ranked[0]["pattern"] if ranked else None,
        "suspect_said": _name(named[0]) if named else None,
        "strength": _strength(report),
        "false_accusation": _endpoint_accused(report) if not has_endpoint else None,
        "accused": accused,
        "accused_right": is_culprit(cause, truth) if accused and cause is not None else None,
    }
    return row | _in_flight(incident, report) | _trigger(truth, named) | _probability(named, truth)


def _distinct(ranked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One hypothesis a suspect; "no one" under different patterns is one suspect too."""
    seen: dict[tuple[Any, ...], dict[str, Any]] = {}
    for hypothesis in ranked:
        suspect = hypothesis["suspect"]
        key = (suspect["kind"], suspect.get("endpoint"), suspect.get("method"), suspect.get("path_pattern"))
        seen.setdefault(key if suspect["kind"] != "none" else ("none",), hypothesis)
    return list(seen.values())


def is_culprit(hypothesis: dict[str, Any], truth: dict[str, Any]) -> bool:
    """Does the hypothesis accuse who is at fault?"""
    suspect = hypothesis["suspect"]
    name = suspect.get("endpoint")
    if name and suspect["kind"] == "job":
        job = str(truth.get("culprit_job") or "")
        return bool(job) and str(name).rsplit("::", 1)[-1] == job.rsplit("::", 1)[-1]
    culprit = truth.get("culprit")
    if suspect["kind"] != "endpoint" or not culprit:
        return False
    if name and "#" in name:
        return bool(name == culprit["action"])
    return same_path(suspect.get("method"), suspect.get("path_pattern"), culprit)


def _cause(report: dict[str, Any]) -> dict[str, Any] | None:
    wanted = report["cause"]["hypothesis"]
    return next((h for h in report["hypotheses"] if h["id"] == wanted), None) if wanted else None


def _strength(report: dict[str, Any]) -> str:
    return str(report["cause"]["strength"])


def _endpoint_accused(report: dict[str, Any]) -> bool:
    """Is any endpoint accused, as the cause or merely as a hypothesis said to be moderate or better?"""
    return any(
        h["suspect"]["kind"] == "endpoint" and h["strength"] in STRENGTHS and h["status"] == "supported"
        for h in report["hypotheses"]
    )


def _name(hypothesis: dict[str, Any]) -> str:
    suspect = hypothesis["suspect"]
    return str(
        suspect.get("endpoint") or f"{suspect.get('method') or ''} {suspect.get('path_pattern') or 'none'}"
    )


def _in_flight(incident: Incident, report: dict[str, Any]) -> dict[str, Any]:
    """Recall and false ones by request id, or by method, path and client where the row has none (ALB only)."""
    true = incident.truth["in_flight"]
    ids = {r["request_id"] for r in true}
    loose = {(r["method"], r["path"].split("?")[0]) for r in true}
    said = report["in_flight"]
    said_ids = {r.get("request_id") for r in said if r.get("request_id")}
    said_loose = {
        (r.get("method"), (r.get("path") or "").split("?")[0]) for r in said if not r.get("request_id")
    }
    found = [
        r for r in true if r["request_id"] in said_ids or (r["method"], r["path"].split("?")[0]) in said_loose
    ]
    false = [
        r for r in said if (r.get("request_id") not in ids if r.get("request_id") else _loose(r) not in loose)
    ]
    counted = not incident.lograge and bool(incident.truth["died"])
    return {
        "in_flight_true": len(true) if counted else None,
        "in_flight_found": len(found) if counted else None,
        "in_flight_false": len(false) if counted else None,
        "in_flight_missed": [r["request_id"] for r in true if r not in found] if counted else [],
        "in_flight_extra": [f"{r.get('method')} {r.get('path')} {r.get('request_id')}" for r in false][:20]
        if counted
        else [],
        "lograge_recall": len(found) / len(true) if incident.lograge and true else None,
    }


def _loose(request: dict[str, Any]) -> tuple[Any, str]:
    return request.get("method"), (request.get("path") or "").split("?")[0]


def _trigger(truth: dict[str, Any], named: list[dict[str, Any]]) -> dict[str, Any]:
    """Was the parameter or id that made the requests bad named? For "always" nothing may be named."""
    trigger = (truth.get("culprit") or {}).get("trigger")
    suspect = next((h for h in named if is_culprit(h, truth)), None)
    if not trigger or suspect is None:
        return {
            "trigger_named": None if not trigger or trigger["type"] == "always" else False,
            "trigger_false": None,
        }
    said = [d for d in suspect.get("distinguishing", ()) if d["kind"] in TRIGGER_KINDS]
    if trigger["type"] == "always":
        return {"trigger_named": None, "trigger_false": bool(said)}
    return {"trigger_named": any(_same_trigger(trigger, d) for d in said), "trigger_false": None}


def _same_trigger(trigger: dict[str, Any], said: dict[str, Any]) -> bool:
    if trigger["type"] == "id":
        return said.get("value") in trigger.get("ids", ())
    same_name = said["name"].rsplit(".", 1)[-1] == trigger.get("name")
    value = trigger.get("value")
    return bool(
        same_name and (value is None or said.get("value") in (None, str(value)) or "<" in str(said["value"]))
    )


def _probability(named: list[dict[str, Any]], truth: dict[str, Any]) -> dict[str, Any]:
    """The probability given to the first named endpoint or job, and whether it is the culprit."""
    first = next((h for h in named if h["suspect"]["kind"] != "none"), None)
    if first is None:
        return {"probability": None, "probability_right": None}
    return {"probability": first["probability"], "probability_right": is_culprit(first, truth)}
