"""From flags and an alert to the target and the cluster that are meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oomscope.cli.live import Wanted, make_plan
from oomscope.cli.targets import make_target
from oomscope.errors import UsageError
from oomscope.facts import Target

FILE = """
label_map = { kube_ns = "namespace", mein_pod = "pod" }
[clusters.eu.kubernetes]
context = "eu"
[clusters.us.kubernetes]
context = "us"
"""


def alert(**labels: str) -> dict[str, Any]:
    told = {"alertname": "ContainerRestart", "namespace": "shop", **labels}
    return {"labels": told, "startsAt": "2026-11-23T03:12:41Z", "status": "firing"}


def plan(folder: Path, *alerts: dict[str, Any], text: str = FILE, **wanted: Any) -> tuple[Any, list[str]]:
    (folder / "c.toml").write_text(text)
    (folder / "alert.json").write_text(json.dumps({"version": "4", "alerts": alerts, "truncatedAlerts": 3}))
    notes: list[str] = []
    given = {"target": Target(), "cluster": None, **wanted}
    made = make_plan(
        Wanted(alert=str(folder / "alert.json"), config=folder / "c.toml", **given),
        lambda _text: None,
        notes.append,
    )
    return made, notes


def test_the_alerts_cluster_is_asked_when_it_is_configured(tmp_path: Path) -> None:
    made, _ = plan(tmp_path, alert(pod="web-1", cluster="us"))
    assert made.cluster.kubernetes.context == "us"
    made, _ = plan(tmp_path, alert(pod="web-1", cluster="us"), cluster="eu")
    assert made.cluster.kubernetes.context == "eu"


def test_a_cluster_that_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="which cluster") as error:
        plan(tmp_path, alert(pod="web-1", cluster="elsewhere"))
    assert "elsewhere" in error.value.likely
    made, _ = plan(tmp_path, alert(pod="web-1", cluster="elsewhere"), text='cluster = "eu"\n' + FILE)
    assert made.cluster.kubernetes.context == "eu"


def test_labels_have_the_names_that_are_configured(tmp_path: Path) -> None:
    made, _ = plan(tmp_path, alert(kube_ns="mine", mein_pod="web-7"), cluster="eu")
    assert (made.target.namespace, made.target.pod) == ("mine", "web-7")


def test_flags_choose_among_the_alerts_of_a_group_and_the_others_are_named(tmp_path: Path) -> None:
    group = [alert(pod=f"web-{n}") for n in range(3)]
    made, notes = plan(tmp_path, *group, cluster="eu")
    assert made.target.pod == "web-0"
    assert "the alert also names shop/web-1, shop/web-2: choose one with --pod and --namespace" in notes
    assert "The sender left out 3 alerts of this group." in notes
    made, notes = plan(tmp_path, *group, cluster="eu", target=Target(pod="web-2"))
    assert made.target.pod == "web-2"
    assert "shop/web-0, shop/web-1" in notes[-1]


def test_a_resolved_alert_in_a_firing_group_is_left_out_and_said(tmp_path: Path) -> None:
    resolved = {**alert(pod="web-0"), "status": "resolved"}
    made, notes = plan(tmp_path, resolved, alert(pod="web-1"), cluster="eu")
    assert made.target.pod == "web-1"
    assert any("resolved" in note for note in notes)


@pytest.mark.parametrize(
    "name", ["x'; DROP TABLE y;--", 'a" or 1=1', "$(reboot)", "UPPER", "a b", "-x", "", "x" * 300]
)
@pytest.mark.parametrize("flag", ["pod", "namespace", "container"])
def test_what_cannot_be_a_name_is_refused_before_anything_is_asked(name: str, flag: str) -> None:
    given = {"namespace": None, "pod": None, "container": None, flag: name}
    with pytest.raises(UsageError, match=f"not the name of a {flag}"):
        make_target(None, at=None, **given)
