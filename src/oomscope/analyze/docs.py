"""Facts in the shape of the report: requests, jobs, target, kill, gaps, queries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from oomscope.analyze.ledger import shorten, tidy
from oomscope.facts import Gap, Query
from oomscope.report import AccessDoc, GapDoc, JobDoc, Kill, QueryDoc, RequestDoc, TargetDoc, Victim

if TYPE_CHECKING:
    from oomscope.analyze.case import Case
    from oomscope.analyze.model import KillCase
    from oomscope.evidence import Bundle


def target_doc(kill: KillCase) -> TargetDoc:
    """Whose death this is."""
    return TargetDoc(
        namespace=kill.namespace,
        workload=kill.workload,
        pod=kill.pod_name,
        container=kill.container,
        container_id=kill.container_id,
        node=kill.node,
        image=kill.image,
    )


def kill_doc(kill: KillCase) -> Kill:
    """The verdict as the report says it."""
    oom = kill.kernel
    victim = Victim(comm=oom.comm, pid=oom.pid, anon_rss_bytes=oom.anon_rss_bytes) if oom else None
    return Kill(
        verdict=kill.verdict,
        killed_at=kill.killed_at,
        scope=kill.scope,
        exit_code=kill.exit_code,
        reason=kill.reason,
        victim=victim,
        limit_bytes=kill.limit_bytes,
        rule=kill.rule,
        confidence=tidy(kill.confidence),
        statement=kill.statement,
        instead=kill.instead,
        conflicts=kill.conflicts,
        evidence=kill.evidence,
    )


# Each kind of evidence: what is not known without it, and how to add it when none of it was given.
_KINDS = {
    "app_log": ("what ran in it", "add its log (kubectl logs --previous, or the log store)"),
    "kubernetes": ("exit code, reason, limit", "add kubectl get pod -o json"),
    "kernel_log": ("whose limit was hit", "add the node's kernel log (journalctl -k, or the host log group)"),
    "alb": ("sizes, requests never logged", "add the ALB access logs of those minutes"),
    "memory": ("how memory moved", "add the memory series of the pod (Prometheus, CloudWatch)"),
}


def absent(bundle: Bundle) -> tuple[Gap, ...]:
    """A gap for each kind of evidence of which nothing was given and nothing was said."""
    told = {gap.source for gap in bundle.gaps}
    return tuple(
        Gap(kind, "off", f"not seen: {without}", fix=fix)
        for kind, (without, fix) in _KINDS.items()
        if kind not in bundle.sources and kind not in told
    )


def gap_docs(gaps: Iterable[Gap]) -> tuple[GapDoc, ...]:
    """Gaps, each once."""
    docs = [
        GapDoc(
            source=gap.source,
            reason=gap.reason,
            detail=gap.detail,
            query=gap.query,
            fix=gap.fix,
            start=gap.window.start if gap.window else None,
            end=gap.window.end if gap.window else None,
        )
        for gap in gaps
    ]
    return tuple({doc.model_dump_json(): doc for doc in docs}.values())


def query_docs(queries: Iterable[Query]) -> tuple[QueryDoc, ...]:
    """What was asked of the sources. Times taken are left out: the same evidence must give the same bytes."""
    return tuple(
        QueryDoc(
            source=query.source,
            text=query.text,
            rows=query.rows,
            bytes_read=query.bytes_read,
            cost_usd=query.cost_usd,
            start=query.window.start if query.window else None,
            end=query.window.end if query.window else None,
        )
        for query in queries
    )


def request_docs(case: Case, *, limit: int) -> tuple[RequestDoc, ...]:
    """Requests in flight, likeliest culprit first where that can be told, then oldest."""
    posterior = request_posterior(case)
    rows = list(case.flight.requests.iter_rows(named=True))
    how = _joined_by(case.join.pairs, rows)
    order = sorted(range(len(rows)), key=lambda i: (-(rows[i]["age_s"] or 0.0), i))
    accesses = _access_rows(case.bundle, [row["access_row"] for row in rows])
    return tuple(_request(rows[i], accesses, how, posterior.get(_key(rows[i]))) for i in order[:limit])


def rack_docs(case: Case, *, limit: int) -> tuple[RequestDoc, ...]:
    """Requests that reached the app but no controller."""
    rows = list(case.flight.rack_level.iter_rows(named=True))
    accesses = _access_rows(case.bundle, [row.get("access_row") for row in rows])
    how = _joined_by(case.join.pairs, rows)
    return tuple(_request(row, accesses, how, None) for row in rows[:limit])


def _key(row: dict[str, Any]) -> tuple[str, int]:
    if row.get("request_row") is not None:
        return ("log", int(row["request_row"]))
    return ("alb", int(row["access_row"]))


def request_posterior(case: Case) -> dict[tuple[str, int], float]:
    """P(this open request is the bad one), from the likelihood ratio of its age and rate; sums to 1."""
    runs = case.runs
    index = np.flatnonzero(runs.open & ~np.isnan(case.transient.request_llr))
    if not index.size:
        return {}
    llr = case.transient.request_llr[index] / 2.0
    share = np.exp(llr - llr.max())
    share /= share.sum()
    found = {}
    for i, p in zip(index, share, strict=True):
        row, access = int(runs.request_row[i]), int(runs.access_row[i])
        if row >= 0 or access >= 0:
            found["log" if row >= 0 else "alb", row if row >= 0 else access] = round(float(p), 4)
    return found


def _access_rows(bundle: Bundle, rows: list[int | None]) -> dict[int, dict[str, Any]]:
    wanted = sorted({row for row in rows if row is not None})
    if not wanted:
        return {}
    picked = bundle.accesses[wanted]
    return dict(zip(wanted, picked.iter_rows(named=True), strict=True))


def _request(
    row: dict[str, Any],
    accesses: dict[int, dict[str, Any]],
    joined_by: dict[int, str],
    posterior: float | None,
) -> RequestDoc:
    access = accesses.get(row["access_row"]) if row.get("access_row") is not None else None
    how = joined_by.get(row.get("request_row", -1))
    raw, line = row.get("raw"), row.get("line")
    source = row.get("stream") or (access or {}).get("source")
    return RequestDoc(
        request_id=row["request_id"],
        method=row["method"],
        path=row["path"],
        endpoint=row["endpoint"],
        client=row["client"],
        started_at=row["started_at"],
        age_s=round(row["age_s"], 3),
        process=_process(row),
        access=_access(access, how),
        seen_in=row.get("seen_in") or "app_log",
        params=row["params"],
        posterior=posterior,
        raw=shorten(raw),
        source=f"{source}:{line}" if source and line is not None else source,
    )


_HOW = {"trace_id": "trace_id", "path_time": "method+path+client+time"}


def _joined_by(pairs: pl.DataFrame, rows: list[dict[str, Any]]) -> dict[int, str]:
    """How the load balancer's row of each of these requests was found, by request row."""
    wanted = [row["request_row"] for row in rows if row.get("request_row") is not None]
    ours = pairs.filter(pl.col("request_row").is_in(wanted)).unique(
        "request_row", keep="first", maintain_order=True
    )
    return {row: _HOW[how] for row, how in ours.select("request_row", "how").iter_rows() if how in _HOW}


def _process(row: dict[str, Any]) -> str | None:
    parts = [str(row["container_id"])[:12] if row.get("container_id") else None]
    parts.append(f"pid {row['pid']}" if row.get("pid") is not None else None)
    return " ".join(part for part in parts if part) or None


def _access(access: dict[str, Any] | None, how: str | None) -> AccessDoc | None:
    if access is None:
        return None
    names = (
        "time",
        "created_at",
        "elb_status",
        "target_status",
        "received_bytes",
        "sent_bytes",
        "target_processing_s",
        "client",
        "user_agent",
    )
    return AccessDoc(**{name: access[name] for name in names}, joined_by=how)


def job_docs(case: Case) -> tuple[JobDoc, ...]:
    """Jobs open in the dead process, oldest first."""
    return tuple(
        JobDoc(
            job_class=row["job_class"] or "?",
            job_id=row["job_id"],
            adapter=row["adapter"],
            queue=row["queue"],
            started_at=row["started_at"],
            age_s=round(row["age_s"], 3),
            process=_process(row),
            args=row["args"],
            raw=shorten(row["raw"]),
            source=f"{row['stream']}:{row['line']}" if row["line"] is not None else row["stream"],
        )
        for row in case.flight.jobs.iter_rows(named=True)
    )
