"""``oomscope list``: the kills in a folder of bundles or saved evidence, one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oomscope.cli import options as opt


def command(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Holds bundles, reports or folders of saved evidence.")
    ] = Path(),
    color: opt.Color = "auto",
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """List the kills found in a folder of bundles, one line each, newest first.

    Example:

      oomscope list ./incidents/
    """
    from oomscope import pipeline
    from oomscope.cli import output
    from oomscope.cli.progress import progress
    from oomscope.render import render_list

    with progress(quiet=quiet) as tell:
        rows = pipeline.list_folder(folder, tell=tell)
    output.emit(
        render_list(
            rows,
            width=output.terminal_width(),
            color=output.wants_color(color),
            ascii_only=output.only_ascii(),
        )
    )
