"""Options that several commands share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Sources = Annotated[
    list[Path] | None,
    typer.Option(
        "--from",
        metavar="PATH...",
        help="Files or folders of saved evidence, any mix; each is recognised by its content.",
        show_default=False,
    ),
]
Format = Annotated[
    str | None,
    typer.Option("-f", "--format", help="text, markdown, html, json or slack (or guessed from -o)."),
]
Output = Annotated[str, typer.Option("-o", "--output", metavar="FILE|-", help="Where the report goes.")]
Namespace = Annotated[str | None, typer.Option("-n", "--namespace", help="Kubernetes namespace.")]
Pod = Annotated[str | None, typer.Option("--pod", help="Pod name (or give it as the argument).")]
Container = Annotated[str | None, typer.Option("-c", "--container", help="Container name.")]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help="Look around this time, e.g. 2026-11-23T03:12:41Z."),
]
Zone = Annotated[
    str | None,
    typer.Option("--tz", metavar="ZONE", help="Zone of times without one, e.g. UTC or Asia/Seoul."),
]
Full = Annotated[bool, typer.Option("--full", help="The long form: everything that is in the report.")]
Color = Annotated[str, typer.Option("--color", help="auto, always or never (NO_COLOR is honoured).")]
ShowParams = Annotated[
    bool,
    typer.Option("--show-params", help="Do not redact query strings and parameters (secrets still are)."),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no notes on stderr.")]
Debug = Annotated[bool, typer.Option("--debug", help="A traceback when something breaks.")]
FailOn = Annotated[
    str | None,
    typer.Option("--fail-on", help="Exit 1 when: kills (an OOM kill was found) or strong (a strong cause)."),
]
Alert = Annotated[
    str | None,
    typer.Option(
        "--alert", metavar="FILE|-", help="A Grafana or Alertmanager payload, or text pasted from Slack."
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Use this configuration file only.")
]
ClusterName = Annotated[str | None, typer.Option("--cluster", help="A cluster named in the configuration.")]
Deadline = Annotated[
    str | None, typer.Option("--deadline", metavar="60s", help="Stop waiting for sources after this time.")
]
Wait = Annotated[
    str,
    typer.Option(
        "--wait",
        metavar="2m",
        help="Wait at most so long for logs still on their way, and read again; 0 does not.",
    ),
]
MaxScan = Annotated[
    str | None,
    typer.Option("--max-scan", metavar="5GB", help="Refuse a scan that would read more (Athena, Insights)."),
]
Without = Annotated[
    list[str] | None, typer.Option("--without", metavar="SOURCE", help="Leave a source out; may be repeated.")
]
Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require", metavar="SOURCE", help="Fail (exit 4) when this source fails; may be repeated."
    ),
]
