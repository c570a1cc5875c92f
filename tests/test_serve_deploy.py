"""What is shipped around the service fits the service."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from oomscope.config import Config
from oomscope.serve.metrics import Figures
from oomscope.serve.settings import resolve
from tests.serve_help import runtime_of, settings_of

DEPLOY = Path(__file__).parent.parent / "deploy"
CHART = DEPLOY / "helm" / "oomscope"


def manifests() -> list[dict[str, Any]]:
    return [doc for doc in yaml.safe_load_all((DEPLOY / "kubernetes" / "oomscope.yaml").read_text()) if doc]


def of_kind(kind: str) -> dict[str, Any]:
    return next(doc for doc in manifests() if doc["kind"] == kind)


def test_values_fit_their_schema_and_the_configuration() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    with pytest.raises(jsonschema.ValidationError):  # the Secret must be named
        jsonschema.validate(values, schema)
    jsonschema.validate({**values, "existingSecret": "s"}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**values, "existingSecret": "s", "typo": 1}, schema)
    secrets = {"OOMSCOPE_HMAC": "h" * 32, "OOMSCOPE_PAGES_TOKEN": "p" * 32}
    resolve(Config.model_validate(values["config"]), secrets)


def test_the_manifests_only_read_and_run_without_privileges() -> None:
    for doc in manifests():
        for rule in doc.get("rules", ()):
            assert set(rule["verbs"]) <= {"get", "list"}
            assert not {"secrets", "configmaps", "pods/exec", "nodes/proxy", "*"} & set(rule["resources"])
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
    assert of_kind("Deployment")["spec"]["strategy"]["type"] == "Recreate"  # SQLite has one writer
    assert not [doc for doc in manifests() if doc["kind"] == "Secret"]


def test_the_image_runs_as_nobody_from_the_wheel() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert "--no-index" in text
    assert not re.search(r"^(ADD|COPY) \. ", text, re.MULTILINE)


def test_grafana_signs_as_the_service_expects() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())["config"]["serve"]["alerts"]
    point = yaml.safe_load((DEPLOY / "grafana" / "contact-point.yaml").read_text())
    (receiver,) = point["contactPoints"][0]["receivers"]
    same = json.loads((DEPLOY / "grafana" / "contact-point.json").read_text())
    for settings in (receiver["settings"], same["settings"]):
        assert settings["url"].endswith("/api/v1/alerts")
        assert settings["hmacConfig"]["timestampHeader"] == values["hmac_timestamp_header"]
        assert settings["hmacConfig"]["header"] == "X-Grafana-Alerting-Signature"


def test_the_dashboard_asks_for_figures_that_exist(tmp_path: Path) -> None:
    runtime = runtime_of(settings_of(tmp_path))
    figures = Figures(runtime.store)
    names = {family.name for family in figures.registry.collect()}
    board = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    asked = set(re.findall(r"oomscope_\w+", json.dumps([panel["targets"] for panel in board["panels"]])))
    assert asked
    assert {re.sub(r"_(total|bucket)$", "", name) for name in asked} <= names
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
