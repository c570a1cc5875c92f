"""Doctor: whose AWS account this is, and whether the log groups of Container Insights are there, readable and fresh."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from oomscope.doctor import Row, of_error
from oomscope.errors import SourceError
from oomscope.units import format_seconds

if TYPE_CHECKING:
    from oomscope.config import Cluster
    from oomscope.sources.aws_common import AwsAccess
    from oomscope.sources.cloudwatch_streams import Layout
    from oomscope.sources.interface import Context

LOOKS = (timedelta(minutes=2), timedelta(minutes=15), timedelta(hours=2))
FRESH = timedelta(minutes=15)
MAX_PAGES = 5


def access_of(cluster: Cluster) -> AwsAccess:
    """The way into the configured account."""
    from oomscope.sources.aws_common import AwsAccess

    aws = cluster.aws
    return AwsAccess(aws.region, aws.profile, aws.account, aws.endpoint_url)


def call(action: Callable[..., Any], what: str, permission: str, **asked: Any) -> Any:
    """One AWS call. Raises SourceError that names the missing permission."""
    from oomscope.sources.aws_common import aws_errors, source_error

    try:
        return action(**asked)
    except aws_errors() as error:
        raise source_error(error, what, permission=permission) from error


def uses_aws(cluster: Cluster) -> bool:
    """Whether anything in that account is configured."""
    logs, alb = cluster.logs, cluster.alb
    named = (logs.eks_cluster, logs.application_group, alb.table, alb.bucket)
    return any(named) or (cluster.prometheus.kind != "prometheus" and bool(cluster.prometheus.url))


def check_identity(cluster: Cluster, _now: datetime, _ctx: Context) -> list[Row]:
    """Who we are there, and whether it is the account the configuration names."""
    if not uses_aws(cluster) or cluster.aws.endpoint_url:
        return []
    found = call(access_of(cluster).client("sts").get_caller_identity, "who am I", "sts:GetCallerIdentity")
    account, who = str(found.get("Account")), str(found.get("Arn", "")).rpartition("/")[0].rpartition(":")[2]
    if cluster.aws.account not in (None, account):
        detail = f"signed in to account {account}, but aws.account is {cluster.aws.account}"
        return [Row("aws", "error", detail, "set AWS_PROFILE or aws.profile")]
    return [Row("aws", "ok", f"account {account} as {who}, region {cluster.aws.region or '(default)'}")]


def check_logs(cluster: Cluster, now: datetime, _ctx: Context) -> list[Row]:
    """One row a log group, and one for Insights."""
    logs = cluster.logs
    if not (logs.eks_cluster or logs.application_group):
        return [Row("cloudwatch", "off", "no log group is configured", "set logs.eks_cluster")]
    from oomscope.sources.cloudwatch_streams import find_layouts

    client = access_of(cluster).client("logs", attempts=2)
    layouts = find_layouts(
        client,
        logs.eks_cluster,
        application=logs.application_group,
        host=logs.host_group,
        performance=logs.performance_group,
    )
    if not layouts:
        named = logs.application_group or f"of cluster {logs.eks_cluster}"
        fix = "install Container Insights, or set logs.application_group and the region"
        return [Row("cloudwatch", "missing", f"no log group {named}", fix)]
    rows = [row for layout in layouts for row in _layout_rows(client, layout, now)]
    return [*rows, _insights_row(client, layouts[0], now)]


def _layout_rows(client: Any, layout: Layout, now: datetime) -> list[Row]:
    rows = [_group_row(client, "app log", layout.application, layout.log_class, now)]
    for name, group, gone in (
        ("kernel log", layout.host, "kernel lines prove whose limit it was; see docs/sources/cloudwatch.md"),
        ("performance log", layout.performance, "only Prometheus will tell memory and restarts"),
    ):
        rows.append(
            _group_row(client, name, group, "STANDARD", now)
            if group
            else Row(name, "missing", "no such log group", gone)
        )
    return rows


def _group_row(client: Any, name: str, group: str, log_class: str, now: datetime) -> Row:
    try:
        call(
            client.describe_log_streams, f"list streams of {group}", "logs:DescribeLogStreams",
            logGroupName=group, limit=1,
        )  # fmt: skip
        if log_class != "STANDARD":
            return Row(name, "ok", f"{group} ({log_class}: read by Insights, which costs by the byte)")
        age = _newest_age(client, group, now)
    except SourceError as error:
        return of_error(name, error, group)
    if age is None:
        fix = "is the agent running on the nodes?"
        return Row(name, "lagging", f"{group}: no event in {format_seconds(LOOKS[-1].total_seconds())}", fix)
    status = "ok" if age <= FRESH else "lagging"
    return Row(name, status, f"{group}: newest event less than {format_seconds(age.total_seconds())} old")


def _newest_age(client: Any, group: str, now: datetime) -> timedelta | None:
    """The shortest look back that finds an event. Stream times are not used: they lag by up to an hour."""
    for look in LOOKS:
        start = int((now - look).timestamp() * 1000)
        token: dict[str, str] = {}
        for _page in range(MAX_PAGES):  # an empty page with a token is normal
            answer = call(
                client.filter_log_events, "read log events", "logs:FilterLogEvents",
                logGroupName=group, startTime=start, limit=1, **token,
            )  # fmt: skip
            if answer.get("events"):
                return look
            if not answer.get("nextToken"):
                break
            token = {"nextToken": answer["nextToken"]}
    return None


def _insights_row(client: Any, layout: Layout, now: datetime) -> Row:
    """A query over one second, which costs nothing to speak of."""
    second = int(now.timestamp()) - 60
    try:
        started = call(
            client.start_query, "start a query", "logs:StartQuery", logGroupName=layout.application,
            startTime=second, endTime=second, queryString="fields @timestamp | limit 1",
        )  # fmt: skip
        call(client.get_query_results, "read its result", "logs:GetQueryResults", queryId=started["queryId"])
    except SourceError as error:
        return of_error("insights", error)
    return Row("insights", "ok", "may be used when the node of a pod is not known")
