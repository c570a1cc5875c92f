"""Which live sources there are and how each is made from the configuration. Adding one is one function and one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from oomscope.facts import Gap, PodFacts
from oomscope.sources.interface import Source

if TYPE_CHECKING:
    from oomscope.config import Aws
    from oomscope.pipeline_live import Plan
    from oomscope.sources.aws_common import AwsAccess


def _access(aws: Aws) -> AwsAccess:
    from oomscope.sources.aws_common import AwsAccess

    return AwsAccess(aws.region, aws.profile, aws.account, aws.endpoint_url)


def cloudwatch_logs(plan: Plan, pods: Sequence[PodFacts]) -> Source | Gap:
    """CloudWatch Logs of Container Insights."""
    logs = plan.cluster.logs
    if not (logs.eks_cluster or logs.application_group):
        return Gap("app_log", "off", "CloudWatch Logs is not configured", fix="set logs.eks_cluster")
    from oomscope.sources.cloudwatch_logs import CloudWatchLogsSource

    return CloudWatchLogsSource(
        _access(plan.cluster.aws),
        eks_cluster=logs.eks_cluster,
        application_group=logs.application_group,
        host_group=logs.host_group,
        performance_group=logs.performance_group,
        pods=pods,
        rate=logs.requests_per_second,
        max_scan_bytes=plan.config.max_scan_bytes,
        now=plan.now,
    )


def alb(plan: Plan, _pods: Sequence[PodFacts]) -> Source | Gap:
    """ALB access logs: the Athena table when one is configured, else the bucket."""
    settings = plan.cluster.alb
    if settings.table:
        from oomscope.sources.athena import AthenaSource

        return AthenaSource(
            _access(plan.cluster.aws),
            settings.database or "default",
            settings.table,
            settings.catalog,
            settings.workgroup,
            settings.output_location,
            max_scan_bytes=plan.config.max_scan_bytes,
            now=plan.now,
            name="alb",
        )
    if settings.bucket:
        from oomscope.sources.alb_s3 import AlbS3Source

        return AlbS3Source(
            _access(plan.cluster.aws),
            settings.bucket,
            settings.prefix,
            settings.load_balancer,
            rate=settings.requests_per_second or 50.0,
            now=plan.now,
            name="alb",
        )
    return Gap("alb", "off", "no ALB logs are configured", fix="set alb.table or alb.bucket")


def prometheus(plan: Plan, _pods: Sequence[PodFacts]) -> Source | Gap:
    """Memory and restart series."""
    settings = plan.cluster.prometheus
    if not settings.url:
        return Gap("memory", "off", "no Prometheus is configured", fix="set prometheus.url")
    from oomscope.sources.prometheus import PrometheusSource

    return PrometheusSource(
        settings.url,
        settings.kind,
        region=plan.cluster.aws.region,
        profile=plan.cluster.aws.profile,
        token_env=settings.token_env,
        user_env=settings.user_env,
        password_env=settings.password_env,
        labels=settings.labels,
    )


BUILDERS: tuple[tuple[str, Callable[[Plan, Sequence[PodFacts]], Source | Gap]], ...] = (
    ("cloudwatch_logs", cloudwatch_logs),
    ("alb", alb),
    ("prometheus", prometheus),
)
