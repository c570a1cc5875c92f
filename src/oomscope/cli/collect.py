"""``oomscope collect``: gather the evidence into a bundle, redacted, without judging it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from oomscope.cli import options as opt


def command(
    target: Annotated[
        str | None, typer.Argument(metavar="POD", help="POD or deployment/NAME.", show_default=False)
    ] = None,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="The bundle to write.")],
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
    show_params: opt.ShowParams = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing bundle.")] = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Save all evidence of an incident as one folder that can be mailed and analysed anywhere.

    Examples:

      oomscope collect web-7c9d5b7c6f-x2x9k -n shop -o bundle/

      oomscope collect --from ./saved/ -o bundle/

      oomscope report bundle/
    """
    from oomscope import pipeline
    from oomscope.cli import targets
    from oomscope.cli.live import Wanted, gather
    from oomscope.cli.progress import progress

    zone = targets.parse_zone(tz)
    about = targets.make_target(
        target, namespace=namespace, pod=pod, container=container, at=targets.parse_at(at, zone)
    )
    with progress(quiet=quiet) as tell:
        if sources:
            bundle = pipeline.gather_files(sources, target=about, tz=zone, show_params=show_params, tell=tell)
        else:
            wanted = Wanted(
                about, alert, cluster, config, without, require, deadline, wait, max_scan, show_params
            )
            bundle = gather(wanted, tell, quiet=quiet)
        pipeline.save_bundle(bundle, output, force=force)
    if not quiet:
        print(f"wrote {output} ({pipeline.describe(bundle)})", file=sys.stderr)
