"""The chart with real helm, and what it renders with real kubeconform against Kubernetes' own schemas."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
CHART = DEPLOY / "helm" / "oomscope"
TOOLS = Path(os.environ.get("OOMSCOPE_TEST_TOOLS", Path.home() / ".cache" / "oomscope-tests"))
HELM = shutil.which("helm") or shutil.which("helm", path=str(TOOLS / "bin"))
KUBECONFORM = shutil.which("kubeconform", path=str(TOOLS / "bin"))
SCHEMAS = TOOLS / "schemas"
pytestmark = [
    pytest.mark.realserver,
    pytest.mark.skipif(HELM is None, reason="helm is not installed (tests/real/install.sh)"),
]
conforms = pytest.mark.skipif(
    KUBECONFORM is None or not SCHEMAS.is_dir(), reason="kubeconform is not installed (tests/real/install.sh)"
)

GOOD = {
    "defaults": ["existingSecret=s"],
    "some namespaces": ["existingSecret=s", "rbac.clusterWide=false", "rbac.namespaces={a,b}"],
    "no rbac": ["existingSecret=s", "rbac.create=false", "serviceAccount.create=false"],
    "replicas": [
        "existingSecret=s", "replicaCount=2", "persistence.enabled=false", "config.serve.bundles_s3=s3://bucket/x",
        "podDisruptionBudget.enabled=true",
    ],
    "aws": [
        "existingSecret=s", "image.digest=sha256:" + "a" * 64,
        r"serviceAccount.annotations.eks\.amazonaws\.com/role-arn=arn:aws:iam::123456789012:role/oomscope",
    ],
    "seen from outside": [
        "existingSecret=s", "serviceMonitor.enabled=true", "serviceMonitor.bearerTokenSecret.name=s",
        "serviceMonitor.bearerTokenSecret.key=OOMSCOPE_PAGES_TOKEN", "serviceMonitor.labels.release=prometheus",
        "ingress.enabled=true", "ingress.className=nginx", "ingress.tls[0].secretName=t", "ingress.tls[0].hosts={h}",
    ],
    "narrow network": [
        "existingSecret=s", "networkPolicy.ingressFrom[0].podSelector.matchLabels.app=grafana",
        "networkPolicy.egressTo[0].ipBlock.cidr=10.0.0.0/8", "networkPolicy.egressPorts={443}",
    ],
    "everything else": [
        "existingSecret=s", "extraEnv[0].name=A", "extraEnv[0].value=b", "extraVolumes[0].name=v",
        "extraVolumes[0].emptyDir.medium=Memory", "extraVolumeMounts[0].name=v", "extraVolumeMounts[0].mountPath=/v",
        "nodeSelector.a=b", "tolerations[0].operator=Exists", "priorityClassName=p", "imagePullSecrets[0].name=i",
        "podLabels.x=y", "podAnnotations.x=y", "persistence.existingClaim=c", "fullnameOverride=o",
        "topologySpreadConstraints[0].maxSkew=1", "topologySpreadConstraints[0].topologyKey=zone",
        "topologySpreadConstraints[0].whenUnsatisfiable=ScheduleAnyway",
    ],
}  # fmt: skip
BAD = {
    "no secret": ([], "existingSecret"),
    "no namespaces": (["existingSecret=s", "rbac.clusterWide=false"], "rbac.namespaces"),
    "replicas without a bucket": (["existingSecret=s", "replicaCount=2"], "bundles_s3"),
    "replicas on one volume": (
        ["existingSecret=s", "replicaCount=2", "config.serve.bundles_s3=s3://b/x"], "persistence.enabled=false",
    ),
    "a value that does not exist": (["existingSecret=s", "replicas=2"], "replicas"),
    "a value of a wrong kind": (["existingSecret=s", "service.port=http"], "port"),
}  # fmt: skip


def helm(command: str, *flags: str) -> subprocess.CompletedProcess[str]:
    sets = [part for flag in flags for part in ("--set", flag)]
    release = ["r"] if command == "template" else []
    line = [str(HELM), command, *release, str(CHART), "--kube-version", "1.31", *sets]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)


def rendered(*flags: str) -> list[dict[str, Any]]:
    done = helm("template", *flags)
    assert done.returncode == 0, done.stderr
    return [doc for doc in yaml.safe_load_all(done.stdout) if doc]


@pytest.mark.parametrize("flags", GOOD.values(), ids=GOOD)
def test_the_chart_is_linted(flags: list[str]) -> None:
    done = helm("lint", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@conforms
@pytest.mark.parametrize("flags", GOOD.values(), ids=GOOD)
def test_what_it_renders_is_what_kubernetes_takes(flags: list[str]) -> None:
    done = helm("template", *flags)
    assert done.returncode == 0, done.stderr
    said = conform(done.stdout)
    assert said.returncode == 0, said.stdout + said.stderr


def conform(manifests: str) -> subprocess.CompletedProcess[str]:
    place = f"{SCHEMAS}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    line = [str(KUBECONFORM), "-strict", "-schema-location", place, "-skip", "ServiceMonitor", "-"]
    return subprocess.run(line, input=manifests, capture_output=True, text=True, check=False, timeout=120)


@conforms
def test_the_plain_manifests_are_the_chart_with_its_defaults() -> None:
    text = (DEPLOY / "kubernetes" / "oomscope.yaml").read_text()
    assert conform(text).returncode == 0
    assert conform(text.replace("replicas: 1", "replicaz: 1")).returncode != 0  # the check can fail
    kinds = sorted(doc["kind"] for doc in yaml.safe_load_all(text) if doc)
    assert kinds == sorted(doc["kind"] for doc in rendered("existingSecret=s") if not is_test(doc))


def is_test(doc: dict[str, Any]) -> bool:
    return "helm.sh/hook" in doc["metadata"].get("annotations", {})


@pytest.mark.parametrize(("flags", "word"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_refused_with_the_reason(flags: list[str], word: str) -> None:
    done = helm("template", *flags)
    assert done.returncode != 0
    assert word in done.stderr


def test_values_reach_the_place_they_are_for() -> None:
    docs = rendered(*GOOD["seen from outside"])
    monitor = next(doc for doc in docs if doc["kind"] == "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == {"name": "s", "key": "OOMSCOPE_PAGES_TOKEN"}
    service = next(doc for doc in docs if doc["kind"] == "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    (account,) = [doc for doc in rendered(*GOOD["aws"]) if doc["kind"] == "ServiceAccount"]
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].endswith(":role/oomscope")
    pod = next(d for d in rendered(*GOOD["aws"]) if d["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"].endswith("@sha256:" + "a" * 64)


def test_rights_are_given_in_the_named_namespaces_only() -> None:
    docs = rendered(*GOOD["some namespaces"])
    pods = [d for d in docs if "rules" in d and any("pods" in rule["resources"] for rule in d["rules"])]
    assert [(d["kind"], d["metadata"]["namespace"]) for d in pods] == [("Role", "a"), ("Role", "b")]
    assert not [d for d in rendered(*GOOD["no rbac"]) if "rules" in d or d["kind"].endswith("Binding")]
