"""The least an operator has to grant for what is configured: an IAM policy and an RBAC manifest. Pure text.

Everything is reading, with one exception that is Athena's own: it writes each query's result to a bucket.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from oomscope.config import Alb, Aws, Cluster, Logs
from oomscope.errors import UsageError

Statement = dict[str, Any]
_K8S_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_GROUP = re.compile(r"[A-Za-z0-9_./#-]{1,512}")
_S3 = re.compile(r"[A-Za-z0-9!_.'()/=-]{0,1000}")
_WORD = re.compile(r"[A-Za-z0-9_-]{1,255}")


def policy_text(cluster: Cluster, source: str | None = None) -> str:
    """The documents for all that is configured, or for one source: JSON for AWS, YAML for Kubernetes.

    Raises ``UsageError`` for an unknown source, or one that needs no permission of the kind.
    """
    if source is not None and source not in SOURCES:
        raise UsageError(f"unknown source {source!r}", fix=f"one of: {', '.join(SOURCES)}", slug="source")
    parts = []
    document = iam_policy(cluster, source)
    if document["Statement"]:
        parts.append(json.dumps(document, indent=2))
    if source in (None, "kubernetes"):
        parts.append(rbac_manifest(cluster.kubernetes.namespace))
    if not parts:
        raise UsageError(
            f"nothing is configured for {source}" if source else "nothing is configured",
            fix="name the log group, table, bucket or URL in the configuration: docs/configuration.md",
            slug="config",
        )
    return "\n---\n".join(part.rstrip("\n") for part in parts) + "\n"


def iam_policy(cluster: Cluster, source: str | None = None) -> dict[str, Any]:
    """An IAM policy document; ``Statement`` is empty when no AWS source is configured."""
    found = [
        statement
        for name, statements in _STATEMENTS.items()
        if source in (None, name)
        for statement in statements(cluster)
    ]
    return {"Version": "2012-10-17", "Statement": found}


def unsaid(cluster: Cluster) -> tuple[str, ...]:
    """What the documents cannot name because the configuration does not: one sentence each."""
    notes = []
    if cluster.alb.table and not cluster.alb.bucket:
        notes.append(
            "Athena reads the log bucket with your rights: set alb.bucket to have s3:GetObject on it included"
        )
    if cluster.alb.table and not cluster.alb.output_location:
        notes.append(
            "the workgroup's place for results is not known: set alb.output_location to have it included"
        )
    if iam_policy(cluster)["Statement"] and not (cluster.aws.account and cluster.aws.region):
        notes.append(
            "set aws.account and aws.region: without them the resources are of any account or region"
        )
    return tuple(notes)


def _allow(sid: str, actions: list[str], resources: list[str]) -> Statement:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


def _arn(service: str, aws: Aws, rest: str, *, regional: bool = True) -> str:
    region = aws.region or "*"
    partition = {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(
        region.rpartition("-")[0].rpartition("-")[0], "aws"
    )
    return f"arn:{partition}:{service}:{region if regional else ''}:{(aws.account or '*') if regional else ''}:{rest}"


def _checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise UsageError(f"{what} cannot be {text!r}", slug="config")
    return text


def log_groups(logs: Logs) -> list[str]:
    """The log groups that are configured, or that Container Insights uses for the cluster, both layouts."""
    named = [logs.application_group, logs.host_group, logs.performance_group]
    if logs.eks_cluster:
        otel, classic = (
            f"/aws/otel/containerinsights/{logs.eks_cluster}",
            f"/aws/containerinsights/{logs.eks_cluster}",
        )
        usual = [f"{otel}/application", f"{otel}/host", f"{classic}/application", f"{classic}/host"]
        named += [
            *(usual[0::2] if not logs.application_group else []),
            *usual[1::2],
            f"{classic}/performance",
        ]
    return list(dict.fromkeys(_checked(_GROUP, name, "a log group") for name in named if name))


def _logs(cluster: Cluster) -> Iterator[Statement]:
    groups = log_groups(cluster.logs)
    if not groups:
        return
    arns = [_arn("logs", cluster.aws, f"log-group:{name}") for name in groups]
    reading = ["logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:StartQuery"]
    yield _allow("OomscopeReadLogs", reading, [arn + tail for arn in arns for tail in ("", ":*")])
    # These three name no log group that a policy could be narrowed to.
    yield _allow(
        "OomscopeFindLogs", ["logs:DescribeLogGroups", "logs:GetQueryResults", "logs:StopQuery"], ["*"]
    )


def _alb(cluster: Cluster) -> Iterator[Statement]:
    alb = cluster.alb
    if alb.table:
        yield from _athena(alb, cluster.aws)
    if alb.bucket:
        yield from _bucket(alb, cluster.aws)


def _athena(alb: Alb, aws: Aws) -> Iterator[Statement]:
    database = _checked(_WORD, alb.database or "default", "alb.database")
    table = _checked(_WORD, alb.table or "", "alb.table")
    workgroup = _checked(_WORD, alb.workgroup or "primary", "alb.workgroup")
    yield _allow(
        "OomscopeQueryAlb",
        ["athena:StartQueryExecution", "athena:GetQueryExecution", "athena:GetQueryResults",
         "athena:StopQueryExecution", "athena:GetWorkGroup"],
        [_arn("athena", aws, f"workgroup/{workgroup}")],
    )  # fmt: skip
    yield _allow(
        "OomscopeTableAlb",
        ["athena:GetTableMetadata"],
        [_arn("athena", aws, f"datacatalog/{_checked(_WORD, alb.catalog, 'alb.catalog')}")],
    )
    yield _allow(
        "OomscopeGlueAlb",
        ["glue:GetDatabase", "glue:GetTable", "glue:GetPartition", "glue:GetPartitions"],
        [
            _arn("glue", aws, rest)
            for rest in ("catalog", f"database/{database}", f"table/{database}/{table}")
        ],
    )
    if alb.output_location:
        yield from _results(alb.output_location, aws)


def _results(location: str, aws: Aws) -> Iterator[Statement]:
    """Athena runs with the caller's rights: it writes the result as the caller, who then reads it."""
    where = urlsplit(location)
    bucket = _arn("s3", aws, _checked(_S3, where.netloc, "alb.output_location"), regional=False)
    prefix = _checked(_S3, where.path.strip("/"), "alb.output_location")
    yield _allow("OomscopeResultBucket", ["s3:GetBucketLocation"], [bucket])
    yield _allow(
        "OomscopeAthenaResults",
        ["s3:GetObject", "s3:PutObject"],
        [f"{bucket}/{prefix}/*" if prefix else f"{bucket}/*"],
    )


def _bucket(alb: Alb, aws: Aws) -> Iterator[Statement]:
    bucket = _arn("s3", aws, _checked(_S3, alb.bucket or "", "alb.bucket"), regional=False)
    prefix = _checked(_S3, alb.prefix.strip("/"), "alb.prefix")
    below = f"{prefix}/AWSLogs/*" if prefix else "AWSLogs/*"
    yield {
        **_allow("OomscopeListAlb", ["s3:ListBucket"], [bucket]),
        "Condition": {"StringLike": {"s3:prefix": [below]}},
    }
    yield _allow("OomscopeReadAlb", ["s3:GetObject"], [f"{bucket}/{below}"])


def _prometheus(cluster: Cluster) -> Iterator[Statement]:
    settings = cluster.prometheus
    if settings.kind == "cloudwatch" and settings.url:
        # CloudWatch metrics have no ARN.
        yield _allow("OomscopeMetrics", ["cloudwatch:GetMetricData", "cloudwatch:ListMetrics"], ["*"])
    if settings.kind == "amp" and settings.url:
        found = re.search(r"/workspaces/([A-Za-z0-9_-]{1,100})", settings.url)
        workspace = found[1] if found else "*"
        actions = ["aps:QueryMetrics", "aps:GetMetricMetadata"]
        yield _allow("OomscopeMetrics", actions, [_arn("aps", cluster.aws, f"workspace/{workspace}")])


_STATEMENTS: dict[str, Callable[[Cluster], Iterator[Statement]]] = {
    "cloudwatch_logs": _logs,
    "alb": _alb,
    "prometheus": _prometheus,
}
SOURCES = ("kubernetes", *_STATEMENTS)

_POD_RULES = """\
rules:
- {apiGroups: [""], resources: ["pods"], verbs: ["get", "list"]}
- {apiGroups: [""], resources: ["pods/log"], verbs: ["get"]}
- {apiGroups: [""], resources: ["events"], verbs: ["list"]}
- {apiGroups: ["apps"], resources: ["replicasets"], verbs: ["get"]}
- {apiGroups: ["batch"], resources: ["jobs"], verbs: ["get"]}
"""
_SUBJECT = """\
subjects:
- {kind: ServiceAccount, name: oomscope, namespace: oomscope}
"""


def rbac_manifest(namespace: str | None = None) -> str:
    """YAML: reading pods, their logs and events in one namespace (or all), nodes, and the nodes' events."""
    if namespace is not None:
        _checked(_K8S_NAME, namespace, "kubernetes.namespace")
    kind = "Role" if namespace else "ClusterRole"
    where = f"  namespace: {namespace}\n" if namespace else ""
    parts = [
        _role(kind, "oomscope", where) + _POD_RULES,
        _binding(f"{kind}Binding", "oomscope", where, kind, "oomscope"),
        _role("ClusterRole", "oomscope-nodes", "")
        + 'rules:\n- {apiGroups: [""], resources: ["nodes"], verbs: ["get"]}\n',
        _binding("ClusterRoleBinding", "oomscope-nodes", "", "ClusterRole", "oomscope-nodes"),
    ]
    if namespace:  # the events of nodes stand in namespace default
        default = "  namespace: default\n"
        events = 'rules:\n- {apiGroups: [""], resources: ["events"], verbs: ["list"]}\n'
        parts += [
            _role("Role", "oomscope-node-events", default) + events,
            _binding("RoleBinding", "oomscope-node-events", default, "Role", "oomscope-node-events"),
        ]
    return "---\n".join(parts)


def _role(kind: str, name: str, where: str) -> str:
    return f"apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: {name}\n{where}"


def _binding(kind: str, name: str, where: str, role_kind: str, role: str) -> str:
    reference = f"roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {role_kind}, name: {role}}}\n"
    return _role(kind, name, where) + reference + _SUBJECT
