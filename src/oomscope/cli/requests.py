"""``oomscope requests``: which requests of a log had begun and not ended."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from oomscope.cli import options as opt
from oomscope.errors import EXIT_UNREADABLE


def command(
    source: Annotated[list[Path], typer.Option("--input", metavar="FILE", help="A log; may be repeated.")],
    last: Annotated[
        float,
        typer.Option(
            "--last-n-minutes",
            min=0.1,
            max=10_080,
            help="Logs that ended earlier before the newest line are left out.",
        ),
    ] = 5.0,
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE|-")] = "incomplete.json",
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATH", help="One more path that only monitors; may be repeated."),
    ] = None,
    tz: opt.Zone = None,
    show_params: opt.ShowParams = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Find requests that started and never completed. However early one started, it counts if it was open at the end.

    Exits 4 when the log cannot show such requests, which is not the same as there being none.

    Example:

      oomscope requests --input logs.json --last-n-minutes 5 --output incomplete.json
    """
    from oomscope.cli.output import emit, write_file
    from oomscope.cli.targets import parse_zone
    from oomscope.workflow.files import log_input
    from oomscope.workflow.incomplete import Options, find_incomplete

    options = Options(timedelta(minutes=last), tuple(exclude or ()), parse_zone(tz), show_params)
    document = find_incomplete([log_input(path) for path in source], options)
    text = json.dumps(document, indent=1) + "\n"
    if output == "-":
        emit(text)
    else:
        write_file(Path(output), text)
    if not quiet:
        _summary(document, output)
    if not document["conclusive"]:
        raise typer.Exit(EXIT_UNREADABLE)


def _summary(document: dict[str, Any], output: str) -> None:
    from oomscope.redact import printable

    def say(text: str) -> None:
        print(printable(text, 500), file=sys.stderr)

    for blind in document["cannot_show"]:
        say(f"unknown: {blind['stream']} cannot show incomplete requests: {blind['why']}")
        if blind["fix"]:
            say(f"  fix: {blind['fix']}")
    if not document["streams"]:
        say("unknown: no log line was understood")
    say(f"{document['incomplete_count']} incomplete requests")
    for entry in document["by_endpoint"][:10]:
        beat = f", every {entry['repeats_every_s']:g} s" if entry["repeats_every_s"] else ""
        say(f"  {entry['incomplete']:>4} of {entry['total']:<6} {entry['endpoint']}{beat}")
    elsewhere = len(document["running_elsewhere"])
    if elsewhere:
        say(f"  {elsewhere} more were running in containers that lived on")
    hidden = document["excluded"]["monitoring_incomplete"]
    if hidden:
        say(f"  {hidden} more of monitoring endpoints are left out")
    if output != "-":
        print(f"wrote {output}", file=sys.stderr)
