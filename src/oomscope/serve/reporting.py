"""From a bundle to the stored report, and the report of a kill nothing could be read about."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from oomscope.report import Cause, GapDoc, Kill, Report, TargetDoc, from_json, to_json

if TYPE_CHECKING:
    from oomscope.evidence import Bundle

StageName = Literal["seen", "preliminary", "final"]
MOST_ENDPOINTS = 200


@dataclass(frozen=True, slots=True)
class Made:
    """A report ready to be stored: its document and page (both compressed), and columns of the table ``kills``."""

    document: bytes
    page: bytes
    columns: dict[str, Any]
    gaps: int
    killed_at: datetime | None = None


def make(bundle: Bundle) -> Made:
    """Analyse and render. Slow (seconds) and heavy: only for a worker."""
    from oomscope.pipeline import analyse

    return made(analyse(bundle))


def made(report: Report) -> Made:
    """Render a report that is there already."""
    from oomscope.render import render

    page = render(report, "html")
    return Made(
        zlib.compress(to_json(report).encode(), 6),
        zlib.compress(page.encode(), 6),
        columns(report),
        len(report.gaps),
        report.kill.killed_at,
    )


def columns(report: Report) -> dict[str, Any]:
    """What the list of kills and the workload page show of a report."""
    leading = next((one for one in report.hypotheses if one.id == report.cause.hypothesis), None)
    found: dict[str, Any] = {
        "verdict": report.kill.verdict,
        "strength": report.cause.strength,
        "suspect": leading.suspect.endpoint if leading else None,
        "pattern": leading.pattern if leading else None,
        "endpoints": _endpoints(report),
    }
    target = report.target
    names = {"namespace": target.namespace, "workload": target.workload, "node": target.node}
    return found | {name: value for name, value in names.items() if value}


def _endpoints(report: Report) -> str:
    """Each endpoint with requests open at the kill and how many were to be expected, as compact JSON."""
    rows = []
    for row in report.endpoints[:MOST_ENDPOINTS]:
        name, was_open, expected = row.get("endpoint"), row.get("open"), row.get("expected")
        if isinstance(name, str) and isinstance(was_open, int | float):
            rows.append([name[:300], was_open, expected if isinstance(expected, int | float) else None])
    return json.dumps(rows)


def opened(document: bytes) -> Report:
    """The stored document."""
    return from_json(zlib.decompress(document))


def hollow(target: TargetDoc, killed_at: datetime | None, problem: str) -> Report:
    """The report of a kill nothing could be read about: it says so, and why."""
    return Report(
        target=target,
        kill=Kill(
            verdict="undetermined",
            killed_at=killed_at,
            rule="no evidence",
            statement="No source could be read, so nothing is known of this kill but the alert.",
        ),
        cause=Cause(why="no evidence could be read"),
        gaps=(
            GapDoc(source="kubernetes", reason="unreachable", detail=problem[:2000], fix="oomscope doctor"),
        ),
    )
