"""The method people use today, as the yardstick: count requests that started and never completed.

Started lines without a Completed line of the same request id in the last five minutes of the pod's log, monitoring
paths left out, most frequent path first. It accuses whenever the count is not empty.
"""

from __future__ import annotations

import re
from collections import Counter

from bench.accuracy.corpus import Incident, victim_lines

LAST_SECONDS = 300
MONITORING = ("/health_check", "/metrics")
_STARTED = re.compile(r'\[([0-9a-f-]{36})\].{0,80}?Started (\w+) "([^"?]*)')
_COMPLETED = re.compile(r"\[([0-9a-f-]{36})\].{0,80}?Completed ")


def ranked_paths(incident: Incident) -> list[tuple[str, str]]:
    """(method, path) of the incomplete requests, most frequent first."""
    lines = victim_lines(incident)
    last = max((at for at, _ in lines), default=0.0)
    started: dict[str, tuple[str, str]] = {}
    for at, text in lines:
        if at < last - LAST_SECONDS:
            continue
        if match := _STARTED.search(text):
            started[match[1]] = (match[2], match[3])
        elif match := _COMPLETED.search(text):
            started.pop(match[1], None)
    counts = Counter(key for key in started.values() if not key[1].startswith(MONITORING))
    return [key for key, _ in counts.most_common()]


def grade_original(incident: Incident) -> dict[str, object]:
    """The same fields as ``grade.grade`` where the method has an answer."""
    ranked = ranked_paths(incident)
    culprit = incident.truth.get("culprit")
    row: dict[str, object] = {"id": incident.id, "kind": incident.kind, "accused": bool(ranked)}
    if culprit:
        hits = [same_path(method, path, culprit) for method, path in ranked]
        row |= {"top1": any(hits[:1]), "top3": any(hits[:3])}
    return row


def same_path(method: str | None, path: str | None, culprit: dict[str, str]) -> bool:
    """Does a concrete path (or a template with ``:names``) belong to the culprit's route?"""
    pattern = re.escape(culprit["path_pattern"])
    pattern = re.sub(r":\w+", "[^/]+", pattern)
    return method == culprit["method"] and bool(re.fullmatch(pattern + r"(\.\w+)?/?", path or ""))
