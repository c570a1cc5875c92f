"""``oomscope collect``: gather the evidence into a bundle, redacted, without judging it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from oomscope.cli import options as opt


def command(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="The bundle to write.")],
    sources: opt.Sources = None,
    namespace: opt.Namespace = None,
    pod: opt.Pod = None,
    container: opt.Container = None,
    at: opt.At = None,
    tz: opt.Zone = None,
    show_params: opt.ShowParams = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing bundle.")] = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Save all evidence of an incident as one folder that can be mailed and analysed anywhere.

    Examples:

      oomscope collect --from ./saved/ -o bundle/

      oomscope report bundle/
    """
    from oomscope import pipeline
    from oomscope.cli import targets
    from oomscope.cli.progress import progress

    zone = targets.parse_zone(tz)
    wanted = targets.make_target(
        None, namespace=namespace, pod=pod, container=container, at=targets.parse_at(at, zone)
    )
    with progress(quiet=quiet) as tell:
        bundle = pipeline.gather_files(
            sources or [], target=wanted, tz=zone, show_params=show_params, tell=tell
        )
        pipeline.save_bundle(bundle, output, force=force)
    if not quiet:
        print(f"wrote {output} ({pipeline.describe(bundle)})", file=sys.stderr)
