"""Alert payloads into targets: Grafana, Alertmanager (also Mimir), old Grafana, a minimal custom body, pasted text.

Pure: nothing in an alert is followed, fetched or believed further than a name that could be a Kubernetes name. An
alert's start is when its rule fired, not when the container died: ``AlertTarget.search`` is where the death must be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from oomscope.alerts_text import text_alerts
from oomscope.facts import SeriesPoint, Target, Window
from oomscope.units import from_epoch, parse_time

AlertKind = Literal["grafana", "alertmanager", "grafana_legacy", "minimal", "text", "unknown"]

MAX_ALERTS = 500
MAX_BODY = 4 * 1024 * 1024
_MAX_LABELS = 128
_MAX_VALUE = 2048
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")
_WORKLOAD_KINDS = ("deployment", "statefulset", "daemonset", "rollout", "job")

# First name that has a value wins. ``exported_*`` hold the truth where the scrape put its own labels on top.
LABELS: Mapping[str, tuple[str, ...]] = {
    "namespace": ("exported_namespace", "namespace", "k8s.namespace.name", "k8s_namespace_name", "kube_namespace",
                  "container_label_io_kubernetes_pod_namespace"),
    "pod": ("exported_pod", "pod", "pod_name", "k8s.pod.name", "k8s_pod_name",
            "container_label_io_kubernetes_pod_name"),
    "container": ("exported_container", "container", "container_name", "k8s.container.name", "k8s_container_name",
                  "kube_container_name", "container_label_io_kubernetes_container_name"),
    "workload": ("workload", *_WORKLOAD_KINDS, "k8s.deployment.name", "k8s_deployment_name", "owner_name"),
    "pod_uid": ("uid", "pod_uid", "k8s.pod.uid", "k8s_pod_uid"),
    "cluster": ("cluster", "k8s.cluster.name", "k8s_cluster_name", "cluster_name"),
}  # fmt: skip

# A rule looks back over its range, waits for its pending time, is evaluated and scraped now and then.
_RULE_DELAY = timedelta(minutes=15)
_CLOCKS = timedelta(seconds=90)


@dataclass(frozen=True, slots=True)
class AlertTarget:
    """What one alert is about. URLs are data for the report; nothing may follow them."""

    target: Target
    status: Literal["firing", "resolved"] = "firing"
    starts_at: datetime | None = None
    search: Window | None = None  # the death is in here
    fingerprint: str | None = None
    rule: str | None = None
    rule_uid: str | None = None
    dashboard_uid: str | None = None
    panel_id: int | None = None
    generator_url: str | None = None
    org_id: int | None = None


@dataclass(frozen=True, slots=True)
class AlertIntake:
    """Targets of a payload, or why there are none. ``notes`` are sentences for the sender.

    ``points`` is what the alerts themselves claim of OOM kills (``oom_events_alert``), for the verdict.
    """

    kind: AlertKind
    targets: tuple[AlertTarget, ...] = ()
    notes: tuple[str, ...] = ()
    test: bool = False  # a contact point was tested
    truncated: int = 0  # alerts the sender left out
    points: tuple[SeriesPoint, ...] = ()


@dataclass(slots=True)
class _Reading:
    kind: AlertKind
    labels: Mapping[str, tuple[str, ...]]
    now: datetime | None
    targets: list[AlertTarget] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    points: list[SeriesPoint] = field(default_factory=list)
    test: bool = False

    def note(self, text: str) -> None:
        if len(self.notes) < 50:
            self.notes[text] = None


def label_names(label_map: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The configured labels in front of the usual ones, field by field."""
    names: dict[str, tuple[str, ...]] = {}
    for label, part in label_map.items():
        names[part] = (*names.get(part, ()), label)
    return {part: (*mine, *LABELS.get(part, ())) for part, mine in names.items() if part in LABELS}


def parse_alert(
    payload: Any, *, now: datetime | None = None, labels: Mapping[str, tuple[str, ...]] | None = None
) -> AlertIntake:
    """Targets of an alert payload: a decoded JSON body, its text, or text pasted from a chat. Never raises.

    ``now`` is used where an alert has no start. ``labels`` overrides the names in ``LABELS`` field by field.
    Alerts that are resolved are left out unless all are.
    """
    names = {**LABELS, **(labels or {})}
    if isinstance(payload, bytes):
        payload = payload[:MAX_BODY].decode("utf-8", "replace")
    if isinstance(payload, str):
        decoded = _decoded(payload)
        if decoded is None:
            return _finished(_from_text(payload[:MAX_BODY], _Reading("text", names, now)), 0)
        payload = decoded
    reading = _Reading(_kind(payload), names, now)
    if reading.kind == "unknown":
        reading.note(
            "No alert was recognised: expected Grafana, Alertmanager, or {namespace, pod, container}."
        )
        return _finished(reading, 0)
    for alert in _alerts(payload, reading.kind):
        _add(reading, alert)
    truncated = payload.get("truncatedAlerts") if isinstance(payload, dict) else 0
    return _finished(reading, truncated if isinstance(truncated, int) and truncated > 0 else 0)


def is_alert(payload: Any) -> bool:
    """True when a JSON document is an alert payload, for telling files apart by content."""
    return _kind(payload) not in ("unknown", "minimal")


def _decoded(text: str) -> Any:
    if text.lstrip()[:1] not in ("{", "[") or len(text) > MAX_BODY:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _kind(payload: Any) -> AlertKind:
    if isinstance(payload, list):
        return "alertmanager" if payload and _is_one(payload[0]) else "unknown"
    if not isinstance(payload, dict):
        return "unknown"
    if isinstance(payload.get("evalMatches"), list) or "ruleUrl" in payload:
        return "grafana_legacy"
    if isinstance(payload.get("alerts"), list):
        mine = payload.get("version") != "4" and any(k in payload for k in ("orgId", "state", "title"))
        return "grafana" if mine else "alertmanager"
    if _is_one(payload):
        return "alertmanager"
    names = ("pod", "workload", "deployment", "namespace")
    plain = "kind" not in payload and any(isinstance(payload.get(n), str) for n in names)
    return "minimal" if plain else "unknown"


def _is_one(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("labels"), dict) and (
        "startsAt" in value or "annotations" in value or "fingerprint" in value
    )  # fmt: skip


def _alerts(payload: Any, kind: AlertKind) -> Iterator[dict[str, Any]]:
    """Each alert as one flat dict with labels, annotations, startsAt, status and links."""
    if kind == "minimal":
        yield {"labels": payload, "startsAt": payload.get("at"), "minimal": True}
    elif kind == "grafana_legacy":
        yield from _legacy(payload)
    elif isinstance(payload, list):
        yield from (a for a in payload[:MAX_ALERTS] if isinstance(a, dict))
    elif isinstance(alerts := payload.get("alerts"), list):
        common = _strings(payload.get("commonLabels"))
        for alert in alerts[:MAX_ALERTS]:
            if isinstance(alert, dict):
                yield {
                    **alert,
                    "labels": {**common, **_strings(alert.get("labels"))},
                    "org": payload.get("orgId"),
                }
    else:
        yield payload


def _legacy(payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
    matches = payload.get("evalMatches")
    tags = (
        [m.get("tags") for m in matches[:MAX_ALERTS] if isinstance(m, dict)]
        if isinstance(matches, list)
        else []
    )
    state = payload.get("state")
    for labels in tags or [payload.get("tags")]:
        yield {
            "labels": {
                "alertname": payload.get("ruleName"),
                **_strings(payload.get("tags")),
                **_strings(labels),
            },
            "status": "resolved" if state == "ok" else "firing",
            "generatorURL": payload.get("ruleUrl"),
            "panel": payload.get("panelId"),
            "org": payload.get("orgId"),
            "no_data": state == "no_data",
        }


def _from_text(text: str, reading: _Reading) -> _Reading:
    for alert in text_alerts(text):
        _add(reading, alert)
    if not reading.targets:
        reading.note("The text names no namespace, pod or workload: give them with --namespace and --pod.")
    return reading


def _finished(reading: _Reading, truncated: int) -> AlertIntake:
    if truncated:
        reading.note(f"The sender left out {truncated} alerts of this group.")
    firing = tuple(t for t in reading.targets if t.status == "firing")
    if firing and len(firing) < len(reading.targets):
        reading.note(f"{len(reading.targets) - len(firing)} resolved alerts of the group were left out.")
    targets = firing or tuple(reading.targets)
    return AlertIntake(
        reading.kind, targets, tuple(reading.notes), reading.test, truncated, tuple(reading.points)
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------------- one alert


def _add(reading: _Reading, alert: dict[str, Any]) -> None:
    labels = _strings(alert.get("labels"))
    name = labels.get("alertname")
    if name == "TestAlert" and not labels.get("pod"):
        reading.test = True
        reading.note("This is the contact point's test alert: it works.")
        return
    if name in ("DatasourceNoData", "DatasourceError") or alert.get("no_data"):
        rule = labels.get("rulename") or name
        reading.note(f"Rule {rule!r} had no data or an error: that is no restart.")
        return
    target = _target(reading, labels)
    if target is None:
        reading.note(f"Alert {name or '(no name)'!r} names neither pod nor workload nor namespace.")
        return
    starts_at = _start(alert.get("startsAt"))
    at = starts_at or reading.now
    found = _with_links(AlertTarget(replace(target, at=at), starts_at=starts_at, rule=name), alert)
    status = alert.get("status")
    state = status.get("state") if isinstance(status, dict) else status
    search = Window(at - _RULE_DELAY, at + _CLOCKS) if at else None
    found = replace(found, search=search, status="resolved" if state == "resolved" else "firing")
    reading.targets.append(found)
    reading.points += _claims(found, alert)


def _target(reading: _Reading, labels: dict[str, str]) -> Target | None:
    values = {key: _first_name(labels, names) for key, names in reading.labels.items()}
    if values.get("container") == "kube-state-metrics":
        reading.note(
            "The labels are those of kube-state-metrics itself (scrape it with honorLabels: true): pod and container "
            "were not taken."
        )
        values["pod"] = values["container"] = values["namespace"] = values["pod_uid"] = None
    if not (values.get("pod") or values.get("workload") or values.get("namespace")):
        return None
    uid = values.get("pod_uid")
    return Target(
        namespace=values.get("namespace"),
        workload=values.get("workload"),
        pod=values.get("pod"),
        container=values.get("container"),
        pod_uid=uid if uid and len(uid) == 36 else None,
        cluster=next((labels[n][:253] for n in reading.labels.get("cluster", ()) if labels.get(n)), None),
    )


def _first_name(labels: dict[str, str], names: tuple[str, ...]) -> str | None:
    """The first label value that could be a Kubernetes name; anything else is text somebody made up."""
    return next((v for n in names if (v := labels.get(n, "").strip()) and _NAME.fullmatch(v)), None)


def _strings(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    items = list(value.items())[:_MAX_LABELS]
    return {str(k)[:256]: v[:_MAX_VALUE] for k, v in items if isinstance(v, str)}


def _start(value: Any) -> datetime | None:
    """RFC 3339 or epoch (seconds, milliseconds); the zero time of Go is no time."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        at = from_epoch(value / 1000 if value > 10**11 else value)
    else:
        at = parse_time(value[:64]) if isinstance(value, str) else None
    return at if at is not None and at.year > 1970 else None


def _with_links(found: AlertTarget, alert: dict[str, Any]) -> AlertTarget:
    generator = _url(alert.get("generatorURL"))
    dashboard, panel = _url(alert.get("dashboardURL")), _url(alert.get("panelURL"))
    fingerprint, org = alert.get("fingerprint"), alert.get("orgId", alert.get("org"))
    uid = alert.get("ruleUID")
    in_path = re.search(r"/alerting/grafana/([\w-]{1,64})/", generator or "")
    number = alert.get("panel")
    return replace(
        found,
        fingerprint=fingerprint[:64] if isinstance(fingerprint, str) and fingerprint else None,
        rule_uid=uid[:64] if isinstance(uid, str) and uid else in_path[1] if in_path else None,
        dashboard_uid=_dashboard(dashboard or panel),
        panel_id=number if isinstance(number, int) else _panel(panel or dashboard),
        generator_url=generator,
        org_id=org if isinstance(org, int) and not isinstance(org, bool) else None,
    )


def _url(value: Any) -> str | None:
    return value[:_MAX_VALUE] if isinstance(value, str) and re.match(r"https?://\S", value) else None


def _dashboard(url: str | None) -> str | None:
    match = re.search(r"/d/([\w-]{1,64})(?:[/?#]|$)", url or "")
    return match[1] if match else None


def _panel(url: str | None) -> int | None:
    """``viewPanel=7`` or, with newer dashboards, ``viewPanel=panel-7``."""
    try:
        value = parse_qs(urlsplit(url or "").query, max_num_fields=64).get("viewPanel", [""])[0]
    except ValueError:
        return None
    match = re.fullmatch(r"(?:panel-)?(\d{1,9})", value)
    return int(match[1]) if match else None


def _claims(found: AlertTarget, alert: dict[str, Any]) -> Iterator[SeriesPoint]:
    """What the alert itself says of an OOM kill: its rule counts OOM events, or its series has the reason label.

    Only the metric's own name and label count; what people write into a summary does not.
    """
    if found.target.pod and found.target.at and _strings(alert.get("labels")).get("reason") == "OOMKilled":
        t, at = found.target, found.target.at
        yield SeriesPoint(
            "last_terminated_reason", at, 1.0, t.namespace, t.pod, t.container, "OOMKilled", t.pod_uid
        )
    words = " ".join((*_strings(alert.get("annotations")).values(), found.generator_url or ""))
    if "container_oom_events_total" in words and found.target.pod and found.target.at:
        t = found.target
        yield SeriesPoint(
            "oom_events_alert", found.target.at, 1.0, t.namespace, t.pod, t.container, None, t.pod_uid
        )
