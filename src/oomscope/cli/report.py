"""``oomscope report``: analyse a bundle, or render a report again in another form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oomscope.cli import options as opt


def command(
    path: Annotated[
        Path, typer.Argument(metavar="BUNDLE|REPORT", help="A bundle folder, or a JSON or HTML report.")
    ],
    fmt: opt.Format = None,
    output: opt.Output = "-",
    full: opt.Full = False,
    color: opt.Color = "auto",
    show_params: opt.ShowParams = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Make a report from a saved bundle, or show an earlier report in another form. Needs no network.

    Examples:

      oomscope report bundle/

      oomscope report bundle/ -o report.html

      oomscope report report.json -f markdown
    """
    from oomscope import pipeline
    from oomscope.cli.output import pick_format, write_report

    pick_format(fmt, output)
    report = pipeline.load_report(path, show_params=show_params)
    write_report(report, fmt=fmt, output=output, full=full, color=color, show_params=show_params, quiet=quiet)
