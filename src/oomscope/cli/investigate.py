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
        str | None, typer.Argument(metavar="[POD]", help="POD or deployment/NAME.", show_default=False)
    ] = None,
    sources: opt.Sources = None,
    namespace: opt.Namespace = None,
    pod: opt.Pod = None,
    container: opt.Container = None,
    at: opt.At = None,
    tz: opt.Zone = None,
    fmt: opt.Format = None,
    output: opt.Output = "-",
    full: opt.Full = False,
    color: opt.Color = "auto",
    show_params: opt.ShowParams = False,
    fail_on: opt.FailOn = None,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Say what killed the pod, from saved evidence.

    Examples:

      oomscope investigate --from ./saved/

      oomscope investigate --from logs.json alb/*.gz pod.json --pod web-7c9d5b7c6f-x2x9k

      oomscope investigate --from ./saved/ -f json -o report.json
    """
    from oomscope.cli import targets
    from oomscope.cli.output import pick_format, write_report
    from oomscope.cli.progress import progress

    if fail_on not in (None, "kills", "strong"):
        raise UsageError(f"unknown --fail-on {fail_on!r}", fix="--fail-on kills or --fail-on strong")
    pick_format(fmt, output)  # a wrong flag is told before any work is done
    zone = targets.parse_zone(tz)
    wanted = targets.make_target(
        target, namespace=namespace, pod=pod, container=container, at=targets.parse_at(at, zone)
    )
    from oomscope import pipeline

    with progress(quiet=quiet) as tell:
        report = pipeline.investigate_files(
            sources or [], target=wanted, tz=zone, show_params=show_params, tell=tell
        )
    write_report(report, fmt=fmt, output=output, full=full, color=color, show_params=show_params, quiet=quiet)
    sys.stdout.flush()
    if failed(report, fail_on):
        raise typer.Exit(EXIT_FAIL_ON)


def failed(report: Report, fail_on: str | None) -> bool:
    """Whether the condition of ``--fail-on`` holds."""
    if fail_on == "kills":
        return report.kill.verdict.startswith("oom_")
    return fail_on == "strong" and report.cause.strength == "strong"
