"""The policy documents: valid, only reading, and about nothing but what is configured."""

from __future__ import annotations

import json

import pytest
import yaml

from oomscope.config import Cluster
from oomscope.errors import UsageError
from oomscope.policy import SOURCES, iam_policy, policy_text, rbac_manifest, unsaid

FULL = Cluster.model_validate(
    {
        "kubernetes": {"namespace": "shop"},
        "aws": {"account": "123456789012", "region": "eu-west-1"},
        "logs": {"eks_cluster": "prod"},
        "alb": {
            "database": "logs", "table": "alb", "workgroup": "oncall", "output_location": "s3://results/athena/",
            "bucket": "alb-logs", "prefix": "prod",
        },
        "prometheus": {"url": "https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/ws-1", "kind": "amp"},
    }
)  # fmt: skip


def test_the_whole_is_a_stream_of_documents() -> None:
    policy, *manifests = yaml.safe_load_all(policy_text(FULL))
    assert policy["Version"] == "2012-10-17"
    assert [m["kind"] for m in manifests] == [
        "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding",
    ]  # fmt: skip


def test_only_reading_but_for_the_results_of_athena() -> None:
    for statement in iam_policy(FULL)["Statement"]:
        for action in statement["Action"]:
            verb = action.split(":")[1]
            if action == "s3:PutObject":
                assert statement["Resource"] == ["arn:aws:s3:::results/athena/*"]
            elif verb in ("StartQuery", "StopQuery", "StartQueryExecution", "StopQueryExecution"):
                assert statement["Resource"] != ["*"] or verb == "StopQuery"
            else:
                assert verb.startswith(("Get", "List", "Describe", "Filter", "Query")), action


def test_arns_come_from_the_configuration() -> None:
    text = json.dumps(iam_policy(FULL))
    for arn in (
        "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/containerinsights/prod/application:*",
        "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/otel/containerinsights/prod/host",
        "arn:aws:athena:eu-west-1:123456789012:workgroup/oncall",
        "arn:aws:glue:eu-west-1:123456789012:table/logs/alb",
        "arn:aws:s3:::alb-logs/prod/AWSLogs/*",
        "arn:aws:aps:eu-west-1:123456789012:workspace/ws-1",
    ):
        assert f'"{arn}"' in text


def test_a_configured_group_replaces_the_usual_one() -> None:
    cluster = Cluster.model_validate({"logs": {"eks_cluster": "prod", "application_group": "/my/app"}})
    text = json.dumps(iam_policy(cluster))
    assert "/my/app" in text
    assert "containerinsights/prod/application" not in text
    assert "containerinsights/prod/host" in text


@pytest.mark.parametrize(
    ("region", "partition"), [("us-east-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_partitions(region: str, partition: str) -> None:
    cluster = Cluster.model_validate({"aws": {"region": region}, "alb": {"bucket": "b"}})
    statements = iam_policy(cluster)["Statement"]
    assert statements[0]["Resource"] == [f"arn:{partition}:s3:::b"]
    assert statements[0]["Condition"] == {"StringLike": {"s3:prefix": ["AWSLogs/*"]}}


@pytest.mark.parametrize("source", SOURCES)
def test_one_source_alone(source: str) -> None:
    text = policy_text(FULL, source)
    assert list(yaml.safe_load_all(text))
    assert ("arn:aws" in text) == (source != "kubernetes")
    assert ("rbac.authorization" in text) == (source == "kubernetes")


def test_rbac_asks_for_no_secret_and_no_change() -> None:
    for namespace in (None, "shop"):
        rules = [rule for m in yaml.safe_load_all(rbac_manifest(namespace)) for rule in m.get("rules", ())]
        assert {verb for rule in rules for verb in rule["verbs"]} <= {"get", "list"}
        assert {resource for rule in rules for resource in rule["resources"]} == {
            "pods", "pods/log", "events", "nodes", "replicasets", "jobs",
        }  # fmt: skip


def test_what_the_configuration_leaves_open_is_said() -> None:
    assert unsaid(FULL) == ()
    notes = unsaid(Cluster.model_validate({"alb": {"table": "t"}}))
    assert [next(key for key in ("alb.bucket", "alb.output_location", "aws.account") if key in n) for n in notes] == [
        "alb.bucket", "alb.output_location", "aws.account",
    ]  # fmt: skip


def test_a_plain_prometheus_needs_no_policy() -> None:
    cluster = Cluster.model_validate({"prometheus": {"url": "http://prometheus:9090"}})
    assert iam_policy(cluster)["Statement"] == []
    with pytest.raises(UsageError, match="nothing is configured"):
        policy_text(cluster, "prometheus")
    with pytest.raises(UsageError, match="unknown source"):
        policy_text(cluster, "secrets")


@pytest.mark.parametrize(
    "settings",
    [
        {"kubernetes": {"namespace": "a\nrules: [{resources: ['*']}]"}},
        {"logs": {"application_group": 'x", "Resource": "*'}},
        {"logs": {"application_group": "x*"}},
        {"alb": {"table": "t*"}},
        {"alb": {"table": "t", "workgroup": "*"}},
        {"alb": {"bucket": "b?"}},
        {"alb": {"table": "t", "output_location": "s3://b/${aws:username}"}},
    ],
)
def test_configured_names_cannot_widen_the_policy(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        policy_text(Cluster.model_validate(settings))
