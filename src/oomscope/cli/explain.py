"""``oomscope explain``: why a hypothesis stands where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oomscope.cli import options as opt


def command(
    hypothesis: Annotated[
        str, typer.Argument(metavar="H1", help="Id of the hypothesis, as the report names it.")
    ],
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="REPORT", help="A bundle folder, or a JSON or HTML report.", show_default=False
        ),
    ] = None,
    sources: opt.Sources = None,
    color: opt.Color = "auto",
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Show the evidence for and against one hypothesis, with raw lines, queries and how the score adds up.

    Examples:

      oomscope explain H1 report.html

      oomscope explain H2 --from ./saved/
    """
    from oomscope import pipeline
    from oomscope.cli import output
    from oomscope.cli.progress import progress
    from oomscope.errors import UsageError
    from oomscope.render import render_explain

    if path is None and not sources:
        raise UsageError(
            "no report given", fix="oomscope explain H1 report.html, or --from PATH", slug="target"
        )
    if path is not None:
        report = pipeline.load_report(path)
    else:
        with progress(quiet=quiet) as tell:
            report = pipeline.investigate_files(sources or [], tell=tell)
    known = [h.id for h in report.hypotheses]
    if hypothesis not in known:
        raise UsageError(
            f"no hypothesis {hypothesis!r} in this report",
            fix=f"one of {', '.join(known) or '(the report has none)'}",
            slug="hypothesis",
        )
    text = render_explain(
        report,
        hypothesis,
        width=output.terminal_width(),
        color=output.wants_color(color),
        ascii_only=output.only_ascii(),
    )
    output.emit(text, page=True)
