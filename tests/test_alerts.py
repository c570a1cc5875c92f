"""Alert payloads of every sender into targets; hostile ones into notes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomscope.alerts import AlertIntake, AlertTarget, is_alert, parse_alert

DATA = Path(__file__).parent / "data" / "alerts"
AT = datetime(2026, 11, 23, 7, 3, 20, tzinfo=UTC)
LABELS = {"alertname": "Container Restarts", "namespace": "shop", "pod": "web-7c9d5b7c6f-x2x9k", "container": "rails",
          "cluster": "prod-eu", "uid": "0f8e5c1e-6f0a-4d1c-9a52-4d1f0f2b7a11", "job": "kube-state-metrics"}  # fmt: skip
GRAFANA_URL = "https://grafana.example.com"


def alert(labels: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "status": "firing", "labels": LABELS if labels is None else labels, "annotations": {"summary": "s"},
        "startsAt": "2026-11-23T07:03:20Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "c6eadffa33fcdf37",
        "generatorURL": f"{GRAFANA_URL}/alerting/grafana/cdz8k2m1a/view?orgId=1", "values": None, **fields,
    }  # fmt: skip


def grafana(*alerts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "version": "1",
        "orgId": 1,
        "state": "alerting",
        "status": "firing",
        "alerts": list(alerts),
        **fields,
    }


def only(intake: AlertIntake) -> AlertTarget:
    assert len(intake.targets) == 1, intake
    return intake.targets[0]


def test_a_real_grafana_alert() -> None:
    intake = parse_alert(json.loads((DATA / "undersized.json").read_text()))
    found = only(intake)
    assert (intake.kind, found.status, found.org_id) == ("grafana", "firing", 1)
    assert found.target.pod is not None
    assert found.starts_at == found.target.at == datetime(2026, 11, 23, 9, 24, 59, tzinfo=UTC)


def test_grafana_links_are_kept_as_data() -> None:
    found = only(parse_alert(grafana(alert(
        dashboardURL=f"{GRAFANA_URL}/d/k8s-pods?from=1&to=2", panelURL=f"{GRAFANA_URL}/d/k8s-pods?viewPanel=7",
        ruleUID="rule9"))))  # fmt: skip
    assert (found.dashboard_uid, found.panel_id, found.rule_uid) == ("k8s-pods", 7, "rule9")
    assert (found.fingerprint, found.rule) == ("c6eadffa33fcdf37", "Container Restarts")
    older = only(parse_alert(grafana(alert(panelURL=f"{GRAFANA_URL}/d/x/name?viewPanel=panel-12"))))
    assert (older.rule_uid, older.dashboard_uid, older.panel_id) == ("cdz8k2m1a", "x", 12)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "file:///etc/passwd", "", None, 7, "//x"])
def test_pitfall_6_odd_urls_are_dropped(url: Any) -> None:
    found = only(parse_alert(grafana(alert(generatorURL=url, panelURL=url))))
    assert (found.generator_url, found.panel_id) == (None, None)


def test_alertmanager_and_mimir() -> None:
    body = {"version": "4", "groupKey": "{}", "status": "firing", "truncatedAlerts": 3, "alerts": [alert(LABELS)],
            "commonLabels": {"severity": "page"}}  # fmt: skip
    intake = parse_alert(json.dumps(body).encode())
    assert (intake.kind, intake.truncated, only(intake).target.container) == ("alertmanager", 3, "rails")
    assert any("3 alerts" in n for n in intake.notes)
    listed = parse_alert([{**alert(), "status": {"state": "active"}}])
    assert only(listed).status == "firing"


def test_legacy_grafana() -> None:
    body = {"ruleName": "restarts", "ruleUrl": f"{GRAFANA_URL}/d/x", "state": "alerting", "panelId": 2,
            "evalMatches": [{"value": 1, "metric": "m", "tags": LABELS}, {"tags": None}], "tags": {}}  # fmt: skip
    intake = parse_alert(body, now=AT)
    found = only(intake)
    assert (intake.kind, found.target.pod, found.panel_id, found.target.at) == (
        "grafana_legacy", LABELS["pod"], 2, AT,
    )  # fmt: skip
    assert parse_alert({**body, "state": "no_data"}).targets == ()
    assert only(parse_alert({**body, "state": "ok"})).status == "resolved"


def test_minimal_payload() -> None:
    body = {"namespace": "shop", "pod": "web-1", "container": "rails", "at": "2026-11-23T07:03:20Z"}
    intake = parse_alert(body)
    target = only(intake).target
    assert (intake.kind, target.namespace, target.pod, target.container, target.at) == (
        "minimal", "shop", "web-1", "rails", AT,
    )  # fmt: skip
    assert only(parse_alert({"namespace": "shop", "deployment": "web"}, now=AT)).target.workload == "web"


def test_pitfall_3_the_death_is_before_the_start_of_the_alert() -> None:
    found = only(parse_alert(grafana(alert())))
    assert found.search is not None
    assert found.search.start == AT - timedelta(minutes=15)
    assert found.search.end >= AT


def test_pitfall_3_exported_labels_and_the_exporter_itself() -> None:
    labels = {"namespace": "monitoring", "pod": "ksm-0", "container": "kube-state-metrics",
              "exported_namespace": "shop", "exported_pod": "web-1", "exported_container": "rails"}  # fmt: skip
    target = only(parse_alert(grafana(alert(labels)))).target
    assert (target.namespace, target.pod, target.container) == ("shop", "web-1", "rails")
    bare = parse_alert(grafana(alert({k: v for k, v in labels.items() if not k.startswith("exported")})))
    assert bare.targets == ()
    assert any("honorLabels" in n for n in bare.notes)


def test_labels_can_be_renamed() -> None:
    labels = {"kube_ns": "shop", "k8s.pod.name": "web-1"}
    target = only(parse_alert(grafana(alert(labels)), labels={"namespace": ("kube_ns",)})).target
    assert (target.namespace, target.pod) == ("shop", "web-1")


def test_common_labels_fill_in_what_an_alert_does_not_have() -> None:
    body = grafana(alert({"pod": "web-1"}), commonLabels={"namespace": "shop", "pod": "other"})
    target = only(parse_alert(body)).target
    assert (target.namespace, target.pod) == ("shop", "web-1")


def test_pitfall_2_test_alerts_and_broken_rules_are_no_restarts() -> None:
    test = parse_alert(grafana(alert({"alertname": "TestAlert", "instance": "Grafana"})))
    assert (test.test, test.targets) == (True, ())
    for name in ("DatasourceNoData", "DatasourceError"):
        broken = parse_alert(grafana(alert({**LABELS, "alertname": name, "rulename": "Restarts"})))
        assert broken.targets == ()
        assert any("Restarts" in n for n in broken.notes)


def test_pitfall_2_resolved_alerts_in_a_firing_group() -> None:
    old = alert({**LABELS, "pod": "web-old"}, status="resolved")
    intake = parse_alert(grafana(alert(), old))
    assert only(intake).target.pod == LABELS["pod"]
    assert any("resolved" in n for n in intake.notes)
    assert only(parse_alert(grafana(old, status="resolved"))).status == "resolved"


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00Z", "", None, 5, "yesterday", {"a": 1}])
def test_a_start_that_is_none(start: Any) -> None:
    found = only(parse_alert(grafana(alert(startsAt=start)), now=AT))
    assert (found.starts_at, found.target.at) == (None, AT)
    nowhere = only(parse_alert(grafana(alert(startsAt=start))))
    assert (nowhere.target.at, nowhere.search) == (None, None)


@pytest.mark.parametrize(
    "pod", ['web"} or 1', "web-1\nx", "../../etc", "$(reboot)", "a" * 300, "WEB", "-web", 7, None]
)
def test_pitfall_6_a_label_that_is_no_kubernetes_name_is_not_taken(pod: Any) -> None:
    target = only(parse_alert(grafana(alert({"namespace": "shop", "pod": pod})))).target
    assert target.pod is None


def test_an_alert_on_the_oom_counter_is_a_claim() -> None:
    claim = alert(annotations={"description": "increase(container_oom_events_total[5m]) > 0"})
    (point,) = parse_alert(grafana(claim)).points
    assert (point.metric, point.pod, point.at) == ("oom_events_alert", LABELS["pod"], AT)
    assert parse_alert(grafana(alert())).points == ()
    (reason,) = parse_alert(grafana(alert({**LABELS, "reason": "OOMKilled"}))).points
    assert (reason.metric, reason.reason) == ("last_terminated_reason", "OOMKilled")


# ------------------------------------------------------------------------------------------------------ pasted text

PASTED = """[FIRING:1] Container Restarts kubernetes (rails prod-eu wrong other-pod warning)
**Firing**

Value: A=1, C=1
Labels:
 - alertname = Container Restarts
 • container = “rails”
 - namespace = <http://shop|shop>
 - pod = web-7c9d5b7c6f-x2x9k
Annotations:
 - summary = Container – rails
 - pod = not-a-label
Source: <https://grafana.example.com/alerting/grafana/cdz8k2m1a/view?orgId=1|Source>
Panel: https://grafana.example.com/d/k8s-pods?viewPanel=7
Grafana v13.2.0
"""


def test_text_pasted_from_a_chat() -> None:
    intake = parse_alert(PASTED, now=AT)
    found = only(intake)
    assert (intake.kind, found.target.namespace, found.target.pod, found.target.container, found.target.at) == (
        "text", "shop", "web-7c9d5b7c6f-x2x9k", "rails", AT,
    )  # fmt: skip
    assert (found.rule, found.rule_uid, found.panel_id, found.dashboard_uid) == (
        "Container Restarts", "cdz8k2m1a", 7, "k8s-pods",
    )  # fmt: skip


def test_text_with_several_alerts_and_resolved_ones() -> None:
    second = PASTED.replace("x2x9k", "other").split("**Firing**")[1]
    text = PASTED + second + "**Resolved**" + PASTED.replace("x2x9k", "gone").split("**Firing**")[1]
    assert [t.target.pod for t in parse_alert(text).targets] == [
        "web-7c9d5b7c6f-x2x9k",
        "web-7c9d5b7c6f-other",
    ]


def test_loose_words() -> None:
    target = only(parse_alert("pls look: namespace=shop pod: `web-1`, container = rails.")).target
    assert (target.namespace, target.pod, target.container) == ("shop", "web-1", "rails")


def test_the_title_alone_says_nothing() -> None:
    intake = parse_alert(PASTED.splitlines()[0])
    assert intake.targets == ()
    assert any("--namespace" in n for n in intake.notes)


# ---------------------------------------------------------------------------------------------------- bounds, junk


def test_bounds() -> None:
    assert len(parse_alert(grafana(*[alert()] * 2000)).targets) == 500
    assert parse_alert('{"a":' * 200_000).targets == ()
    assert parse_alert("- pod = x\n" * 100_000).targets != ()
    wide = {f"k{i}": "v" * 5000 for i in range(5000)}
    parse_alert(grafana(alert(wide)))


@pytest.mark.parametrize(
    ("value", "known"),
    [
        (grafana(), True), ({"alerts": []}, True), ([alert()], True), (alert(), True), ({"evalMatches": []}, True),
        ({"namespace": "x", "pod": "y"}, False), ({"kind": "Pod", "metadata": {}}, False), ([], False), (None, False),
        ({"data": {"result": []}}, False),
    ],
)  # fmt: skip
def test_recognition(value: Any, known: bool) -> None:
    assert is_alert(value) is known


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["alerts", "labels", "status", "version", "evalMatches", "tags", "pod", "startsAt", "at",
                         "annotations", "commonLabels", "truncatedAlerts", "panelURL"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None)
@given(JSON)
def test_junk_never_raises(value: Any) -> None:
    assert isinstance(parse_alert(value, now=AT), AlertIntake)


@settings(deadline=None)
@given(st.text(max_size=300))
def test_junk_text_never_raises(text: str) -> None:
    assert isinstance(parse_alert(text), AlertIntake)


@pytest.mark.parametrize("alerts", [None, {}, "x", 3, [None], [[]]])
def test_alerts_that_are_no_list_of_objects(alerts: object) -> None:
    assert parse_alert({"startsAt": None, "alerts": alerts, "labels": {}}).targets == ()
