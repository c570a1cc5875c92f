"""``oomscope investigate``: from a target or saved evidence to a report."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from oomscope.cli import options as opt
from oomscope.errors import EXIT_FAIL_ON, UsageError

if TYPE_CHECKING:
    from oomscope.report import Report


def command(
    target: Annotated[
        str | None, typer.Argument(metavar="POD", help="POD or deployment/NAME.", show_default=False)
    ] = None,
    sources: opt.Sources = None,
    alert: opt.Alert = None,
    namespace: opt.Namespace = None,
    pod: opt.Pod = None,
    container: opt.Container = None,
    at: opt.At = None,
    tz: opt.Zone = None,
    cluster: opt.ClusterName = None,
    config: opt.ConfigFile = None,
    without: opt.Without = None,
    require: opt.Require = None,
    deadline: opt.Deadline = None,
    wait: opt.Wait = "2m",
    max_scan: opt.MaxScan = None,
    fmt: opt.Format = None,
    output: opt.Output = "-",
    full: opt.Full = False,
    color: opt.Color = "auto",
    show_params: opt.ShowParams = False,
    fail_on: opt.FailOn = None,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Say what killed the pod, from live systems or from saved evidence (--from).

    Examples:

      oomscope investigate web-7c9d5b7c6f-x2x9k -n shop

      oomscope investigate --alert alert.json

      oomscope investigate --from ./saved/

      oomscope investigate --from logs.json alb/*.gz pod.json -f json -o report.json
    """
    from oomscope.cli import targets
    from oomscope.cli.live import Wanted, investigate_live
    from oomscope.cli.output import pick_format, write_report
    from oomscope.cli.progress import progress

    if fail_on not in (None, "kills", "strong"):
        raise UsageError(f"unknown --fail-on {fail_on!r}", fix="--fail-on kills or --fail-on strong")
    pick_format(fmt, output)  # a wrong flag is told before any work is done
    zone = targets.parse_zone(tz)
    about = targets.make_target(
        target, namespace=namespace, pod=pod, container=container, at=targets.parse_at(at, zone)
    )
    from oomscope import pipeline

    with progress(quiet=quiet) as tell:
        if sources:
            if alert:
                from oomscope.config import load

                about = targets.narrowed(about, targets.read_alert(alert, load(file=config).config.label_map))
            report = pipeline.investigate_files(
                sources, target=about, tz=zone, show_params=show_params, tell=tell
            )
        else:
            wanted = Wanted(
                about, alert, cluster, config, without, require, deadline, wait, max_scan, show_params
            )
            report = investigate_live(wanted, tell, quiet=quiet)
    write_report(report, fmt=fmt, output=output, full=full, color=color, show_params=show_params, quiet=quiet)
    sys.stdout.flush()
    if failed(report, fail_on):
        raise typer.Exit(EXIT_FAIL_ON)


def failed(report: Report, fail_on: str | None) -> bool:
    """Whether the condition of ``--fail-on`` holds."""
    if fail_on == "kills":
        return report.kill.verdict.startswith("oom_")
    return fail_on == "strong" and report.cause.strength == "strong"
