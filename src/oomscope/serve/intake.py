"""From the raw body of a request to rows and an answer. Pure: what is stored and said depends on the bytes alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from oomscope.alerts import AlertIntake, AlertTarget, parse_alert
from oomscope.facts import SeriesPoint, Target, Window
from oomscope.redact import printable

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MAX_DEPTH = 32
_NOT_ROWS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class Unusable(Exception):
    """The body cannot be used; ``str`` says why, for the sender."""


@dataclass(frozen=True, slots=True)
class AlertDetails:
    """What the search for the kill needs to know of an alert."""

    target: Target
    search: Window | None = None
    rule_uid: str | None = None
    dashboard_uid: str | None = None
    panel_id: int | None = None
    org_id: int | None = None
    points: tuple[SeriesPoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Understood:
    """Rows of the table ``alerts`` to be stored, and the answer to the sender."""

    rows: tuple[dict[str, Any], ...]
    places: tuple[str, ...]
    answer: dict[str, Any] = field(default_factory=dict)


def understand(body: bytes, now: datetime, labels: Mapping[str, tuple[str, ...]] | None = None) -> Understood:
    """Read a body of any known kind. Raises ``Unusable`` with a sentence for the sender."""
    intake = parse_alert(_decoded(body), now=now, labels=labels)
    firing = [one for one in intake.targets if one.status == "firing"]
    if not firing and not intake.test and not intake.targets and not _harmless(intake):
        raise Unusable(_why(intake))
    rows = [_row(one, intake, now) for one in firing]
    answer = {
        "understood": intake.kind,
        "test": intake.test,
        "accepted": [_shown(one) for one in firing[:50]],
        "resolved": sum(one.status == "resolved" for one in intake.targets),
        "notes": list(intake.notes),
    }
    if intake.targets and not firing:
        answer["notes"] = [
            *intake.notes,
            "All alerts of this group are resolved: nothing is left to investigate.",
        ]
    return Understood(tuple(rows), tuple(sorted({row["place"] for row in rows})), answer)


def _decoded(body: bytes) -> Any:
    """JSON decoded within bounds, anything else as the text it is (a message copied out of a chat)."""
    import orjson

    if not body.strip():
        raise Unusable("The body is empty.")
    if body.lstrip()[:1] not in (b"{", b"["):
        return body.decode("utf-8", "replace")
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unusable(
            f"The body starts like JSON but is not: {printable(str(error).partition(':')[0], 200)}."
        ) from error
    if _depth(payload) > MAX_DEPTH:
        raise Unusable(f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    return payload


def _depth(payload: Any) -> int:
    """How deep a document is nested, without recursion; stops counting just over the bound."""
    level, depth = [payload], 0
    while level and depth <= MAX_DEPTH:
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ] if depth or isinstance(payload, dict | list) else []  # fmt: skip
        depth += 1
    return depth


def _harmless(intake: AlertIntake) -> bool:
    """A group that was understood and holds nothing for us: a rule without data."""
    return intake.kind in ("grafana", "grafana_legacy", "alertmanager") and any(
        "no data or an error" in note for note in intake.notes
    )


def _why(intake: AlertIntake) -> str:
    notes = " ".join(printable(note, 250) for note in intake.notes[:3])
    return (
        f"Nothing to investigate was found in this {intake.kind} body. {notes} "
        'The least that is needed: {"namespace": "shop", "pod": "web-7c9d5b7c6f-x2x9k"}; '
        "alerts need the labels namespace and pod (or exported_namespace and exported_pod)."
    )


def _row(one: AlertTarget, intake: AlertIntake, now: datetime) -> dict[str, Any]:
    points = tuple(point for point in intake.points if point.pod == one.target.pod)[:20]
    details = AlertDetails(
        one.target, one.search, one.rule_uid, one.dashboard_uid, one.panel_id, one.org_id, points
    )
    return {
        "dedup": _dedup(one, now),
        "received_at": now,
        "kind": intake.kind,
        "status": one.status,
        "rule": _text(one.rule, 512),
        "place": place_of(one.target),
        "details": dump(details),
    }


def _dedup(one: AlertTarget, now: datetime) -> str:
    """Fingerprint and start. Without a start five minutes count as one alert, so that tomorrow's is another."""
    t = one.target
    who = one.fingerprint or "|".join(
        map(str, (t.cluster, t.namespace, t.workload, t.pod, t.container, one.rule))
    )
    when = one.starts_at.isoformat() if one.starts_at else f"~{int(now.timestamp()) // 300}"
    return _hash(who, when, str(one.org_id))


def place_of(target: Target) -> str:
    """What has to be looked at in the cluster to find the kill; alerts of one place are looked up together."""
    t = target
    return _hash(*map(str, (t.cluster, t.namespace, t.workload, t.pod, t.container, t.pod_uid)))


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "replace")).hexdigest()


def _text(text: str | None, limit: int) -> str | None:
    """Text a database can hold: no NUL, no half of a surrogate pair."""
    return None if text is None else _NOT_ROWS.sub("\ufffd", text)[:limit]


def _shown(one: AlertTarget) -> dict[str, Any]:
    t = one.target
    names = {
        "cluster": t.cluster, "namespace": t.namespace, "workload": t.workload, "pod": t.pod, "container": t.container,
    }  # fmt: skip
    return {name: printable(value, 253) for name, value in names.items() if value}


# ------------------------------------------------------------------------------------------------ details as JSON


def dump(details: AlertDetails) -> str:
    """The details as JSON text."""
    import orjson

    return _NOT_ROWS.sub("\ufffd", orjson.dumps(details).decode())


def load(text: str) -> AlertDetails:
    """What ``dump`` wrote."""
    return _adapter().validate_json(text)


@cache
def _adapter() -> TypeAdapter[AlertDetails]:
    from pydantic import TypeAdapter

    return TypeAdapter(AlertDetails)
