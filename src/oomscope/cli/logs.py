"""``oomscope logs``: the log of one pod before its death, from CloudWatch into a file."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oomscope.cli import options as opt
from oomscope.errors import UnreadableError, UsageError

if TYPE_CHECKING:
    from oomscope.config import Cluster
    from oomscope.facts import PodFacts, Target
    from oomscope.sources.cloudwatch_logs import CloudWatchLogsSource
    from oomscope.sources.interface import Fragment

AFTER = timedelta(minutes=1)  # the time of death is told by another clock than the lines'


def command(
    pod_name: Annotated[str, typer.Option("--pod-name", help="The pod that died.")],
    oom_time: Annotated[
        str, typer.Option("--oom-time", metavar="TIME", help="When; UTC unless it or --tz says.")
    ],
    namespace: Annotated[str | None, typer.Option("-n", "--namespace", help="Its namespace.")] = None,
    log_group: Annotated[
        str | None, typer.Option("--log-group", help="The application log group (or from the configuration).")
    ] = None,
    minutes_before: Annotated[float, typer.Option("--minutes-before", min=0.1, max=1440)] = 10.0,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE")] = Path("logs.json"),
    container: opt.Container = None,
    tz: opt.Zone = None,
    config: opt.ConfigFile = None,
    cluster: opt.ClusterName = None,
    max_scan: opt.MaxScan = None,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Fetch the log of a pod from CloudWatch Logs as a FilterLogEvents answer. Lines are not redacted.

    Example:

      oomscope logs --pod-name web-7c9d5b7c6f-x2x9k --namespace shop --oom-time 2026-11-23T03:12:41 --output logs.json
    """
    from oomscope.cli import targets
    from oomscope.cli.output import write_file
    from oomscope.cli.progress import progress
    from oomscope.facts import Target, Window
    from oomscope.sources.interface import Context

    at = oom_moment(oom_time, targets.parse_zone(tz), quiet=quiet)
    target = Target(namespace=namespace, pod=pod_name, container=container, at=at)
    source, deadline = _source(config, cluster, log_group, targets.parse_size(max_scan, "--max-scan"), target)
    window = Window(at - timedelta(minutes=minutes_before), at + AFTER)
    with progress(quiet=quiet) as tell:
        ctx = Context(deadline=time.monotonic() + deadline, progress=tell)
        found = source.collect(target, window, ctx)
    text = _answer(found, pod_name)
    write_file(output, text)
    if not quiet:
        print(f"wrote {output} ({text.count(chr(10)) - 2:,} lines of log)", file=sys.stderr)


def oom_moment(text: str, zone: tzinfo | None, *, quiet: bool) -> datetime:
    """The time of death. Without a zone it is taken as UTC, and that is said: local time would be other minutes."""
    from oomscope.units import parse_time

    at = parse_time(text) or parse_time(text, tz=zone or UTC)
    if at is None:
        raise UsageError(
            f"cannot read --oom-time {text!r}", fix="--oom-time 2026-11-23T03:12:41Z", slug="time-zone"
        )
    if parse_time(text) is None and zone is None and not quiet:
        print(f"note: {text} has no zone and is taken as UTC; say --tz ZONE if it is not", file=sys.stderr)
    return at


def _source(
    config: Path | None, cluster: str | None, log_group: str | None, max_scan: int | None, target: Target
) -> tuple[CloudWatchLogsSource, float]:
    from oomscope.cli.targets import pick_cluster
    from oomscope.config import load
    from oomscope.sources.aws_common import AwsAccess
    from oomscope.sources.cloudwatch_logs import CloudWatchLogsSource

    settings = load(file=config).config
    chosen = pick_cluster(settings, cluster)
    aws, logs = chosen.aws, chosen.logs
    if not (log_group or logs.application_group or logs.eks_cluster):
        raise UsageError(
            "no log group given", fix="--log-group GROUP, or set logs.eks_cluster", slug="config"
        )
    source = CloudWatchLogsSource(
        AwsAccess(aws.region, aws.profile, aws.account, aws.endpoint_url),
        eks_cluster=None if log_group else logs.eks_cluster,
        application_group=log_group or logs.application_group,
        pods=known_pods(chosen, target),
        rate=logs.requests_per_second,
        max_scan_bytes=max_scan or settings.max_scan_bytes,
        now=datetime.now(UTC),
        lines_only=True,
    )
    return source, settings.deadline_s


def known_pods(cluster: Cluster, target: Target) -> tuple[PodFacts, ...]:
    """The pod as Kubernetes knows it, if that is configured: its node names the stream, and no scan has to be paid."""
    from oomscope import kube
    from oomscope.errors import SourceError
    from oomscope.sources.kube_client import connect

    settings = cluster.kubernetes
    if not (settings.context or settings.kubeconfig) or not target.namespace or not target.pod:
        return ()
    try:
        found = connect(settings.context, settings.kubeconfig).get_pod(target.namespace, target.pod)
    except (SourceError, UsageError):
        return ()  # gone or not readable: the log group itself is asked for the stream
    fact = kube.pod_facts(found)
    return (fact,) if fact else ()


def _answer(found: Fragment, pod: str) -> str:
    """One answer of all layouts. A log that could not be had is an error, never an empty file."""
    import json

    from oomscope.facts import Gap
    from oomscope.redact import printable
    from oomscope.workflow.files import filter_log_answer

    events = [event for log in found.logs for event in json.loads(log.open().read())["events"]]
    for gap in found.gaps:
        print(f"note: {gap.reason}: {printable(gap.detail, 400)}", file=sys.stderr)
    if not events:
        gap = next(iter(found.gaps), Gap("app_log", "no_data", "no event in these minutes"))
        raise UnreadableError(
            f"no log of {pod} could be read",
            tried=gap.query or "",
            likely=gap.detail,
            fix=gap.fix or "oomscope doctor",
            slug="no-log",
        )
    return filter_log_answer(sorted(events, key=lambda event: int(event["timestamp"]))).decode()
