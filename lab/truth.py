"""What really happened: from the plan, from the kernel, and from the trace that the application wrote itself."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.kube import iso
from lab.plan import ENDPOINTS, Plan

if TYPE_CHECKING:
    from lab.balancer import Row
    from lab.write import Run

LOG_FORMATS = {"one_line_json": "lograge", "one_line_kv": "lograge"}


def culprit_of(plan: Plan) -> dict[str, Any] | None:
    """Who is to be named; nobody where no endpoint is at fault."""
    key = plan.fault.get("endpoint")
    if not key or plan.kind == "not_oom":
        return None
    spec = ENDPOINTS[key]
    return {
        "action": key, "method": spec["method"], "path_pattern": spec["path"], "trigger": plan.fault["trigger"],
        "catalogue_rate_rps": round(plan.rps * plan.weights[key] / sum(plan.weights.values()), 3),
    }  # fmt: skip


def leaking_job(plan: Plan) -> str | None:
    return next((job["name"] for job in plan.jobs if job["kb"]), None)


def open_requests(trace: Path, until: float, pid: int | None) -> dict[str, dict[str, Any]]:
    """Requests that had entered the application and not left it, by id; of one process if it is given."""
    found: dict[str, dict[str, Any]] = {}
    for line in trace.read_text().splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # the last line of a killed process
            continue
        if event["t"] > until or (pid is not None and event["pid"] != pid):
            continue
        if event["ev"] == "b":
            found[event["rid"]] = event
        elif event["ev"] == "e":
            found.pop(event["rid"], None)
    return found


def truth_of(run: Run) -> dict[str, Any]:
    plan = run.plan
    report = run.killed[0] if run.killed else None
    inner = run.life.inner_pids.get(report.pid) if report else None
    worker_only = bool(report) and plan.workers > 0 and inner != 1
    open_now = open_requests(run.life.trace, run.death_at, inner if worker_only else None)
    seen, unseen = _split(open_now, run)
    return {
        # Growth without a culprit is one kind to be judged, whatever made it.
        "id": plan.id, "kind": "undersized" if plan.kind == "process_growth" else plan.kind,
        "subkind": plan.kind if plan.kind == "process_growth" else plan.subkind, "seed": plan.seed,
        "is_oom": bool(run.kills), "died": True, "culprit": culprit_of(plan), "culprit_job": leaking_job(plan),
        "crash_endpoint": plan.fault.get("endpoint") if plan.subkind in ("crash_exit", "crash_abort") else None,
        "hang_endpoint": plan.fault.get("endpoint") if plan.subkind == "liveness_hang" else None,
        "victim": {
            "pod": run.victim.name, "uid": run.victim.uid, "pod_ip": run.victim.ip,
            "container_id": run.life.container_id, "container_index": run.life.number,
            "started_at": iso(run.life.started_at, 6), "cgroup": run.life.cgroup,
        },
        "death": {
            "at": iso(run.death_at, 6), "kernel_ts": report.stamp if report else None,
            "killed_pid": report.pid if report else None, "killed_comm": report.comm if report else None,
            "exit_observed_at": iso(run.life.ended_at, 6) if run.life.ended_at else None,
            "exit_code": run.life.exit_code, "only_worker_killed": worker_only,
        },
        "all_deaths": [
            {
                "at": iso(kill.stamp + run.offset, 6), "pod": pod.name, "container_id": life.container_id,
                "pid": kill.pid, "comm": kill.comm,
            }
            for kill, pod, life in run.kills
        ],
        "fault_onset": iso(run.onset_at, 3), "load_start": iso(run.load_at, 3), "run_start": iso(run.started_at, 3),
        "run_end": iso(run.ended_at, 3), "duration_s": round(run.ended_at - run.started_at, 1),
        "time_to_death_s": round(run.death_at - run.load_at, 1), "limit_mb": plan.limit_mb,
        "ballast_mb": plan.ballast_mb, "threads": plan.threads, "workers": plan.workers, "n_pods": plan.n_pods,
        "pods": [pod.name for pod in run.pods], "log_format": LOG_FORMATS.get(plan.log_style, plan.log_style),
        "log_style": plan.log_style, "style": plan.style, "innocent_bursts": [burst[0] for burst in plan.bursts],
        "jobs": [job["name"] for job in plan.jobs], "fault": plan.fault, "rps": round(plan.rps, 1),
        "growth_kb": plan.growth_kb, "killed_container_pid": inner,
        "in_flight": [_in_flight(event, run) for event in seen],
        "borderline": [_in_flight(event, run) for event in unseen],
        "queued_at_death": _queued(run, set(open_now)), "requests": len(run.rows),
    }  # fmt: skip


def _split(found: dict[str, dict[str, Any]], run: Run) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Those that a log shows to be open, and those killed before their first line or after their last."""
    if run.plan.log_style.startswith("one_line"):
        return list(found.values()), []
    log = [text for _, _, text in run.life.lines]
    started = {x for x in found if any(x.encode() in text for text in log)}
    over = {x for x in found if any(x.encode() in text and b"Completed" in text for text in log)}
    seen = started - over
    return [found[x] for x in found if x in seen], [found[x] for x in found if x not in seen]


def _in_flight(event: dict[str, Any], run: Run) -> dict[str, Any]:
    row: Row | None = next((row for row in run.rows if row.request_id == event["rid"]), None)
    query = f"?{event['query']}" if event.get("query") else ""
    return {
        "endpoint": row.ask.key if row else "probe", "method": event["method"], "path": event["path"] + query,
        "request_id": event["rid"], "trace_id": row.trace_id if row else None,
        "app_began_at": iso(event["t"], 6), "age_s": round(run.death_at - event["t"], 3),
        "status_seen": str(row.elb_status) if row else None, "client": row.ask.client.ip if row else None,
        "is_fault_request": bool(row and row.ask.fault),
    }  # fmt: skip


def _queued(run: Run, in_app: set[str]) -> dict[str, Any]:
    """Sent to the victim, not answered, and not yet in the application."""
    waiting = [
        row
        for row in run.rows
        if row.pod is run.victim and row.life == run.life.number and row.created_at <= run.death_at
        and (row.ended_at is None or row.ended_at > run.death_at) and row.request_id not in in_app
    ]  # fmt: skip
    return {"count": len(waiting), "by_endpoint": dict(Counter(row.ask.key for row in waiting))}
