"""``oomscope doctor``: what can be read right now, and the permissions it takes."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from oomscope.cli import options as opt
from oomscope.errors import EXIT_UNREADABLE, UsageError

if TYPE_CHECKING:
    from oomscope.config import Cluster
    from oomscope.doctor import Row


def command(
    source: Annotated[
        str | None,
        typer.Argument(metavar="SOURCE", help="With --policy: only this source.", show_default=False),
    ] = None,
    config: opt.ConfigFile = None,
    cluster: opt.ClusterName = None,
    policy: Annotated[
        bool, typer.Option("--policy", help="Print the least IAM policy and RBAC manifest instead.")
    ] = False,
    fmt: Annotated[str, typer.Option("-f", "--format", help="text or json.")] = "text",
    color: opt.Color = "auto",
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Check each configured source: reachable, permitted, fresh, covering; and the clocks. Changes nothing.

    Exits 4 when a configured source cannot be read.

    Examples:

      oomscope doctor

      oomscope doctor --policy

      oomscope doctor --policy alb
    """
    from oomscope.cli.targets import pick_cluster
    from oomscope.config import load

    if fmt not in ("text", "json"):
        raise UsageError(f"unknown format {fmt!r}", fix="-f text or -f json", slug="format")
    settings = load(file=config).config
    chosen = pick_cluster(settings, cluster)
    if policy:
        _print_policy(chosen, source, quiet=quiet)
        return
    if source is not None:
        raise UsageError(f"what is {source!r}?", fix=f"oomscope doctor --policy {source}", slug="usage")
    from oomscope import doctor
    from oomscope.cli.progress import progress
    from oomscope.sources.interface import Context

    with progress(quiet=quiet) as tell:
        ctx = Context(deadline=time.monotonic() + settings.deadline_s, progress=tell)
        rows = doctor.examine(chosen, datetime.now(UTC), ctx)
    _show(rows, fmt, color)
    if any(row.status in doctor.UNREADABLE for row in rows):
        raise typer.Exit(EXIT_UNREADABLE)


def _print_policy(cluster: Cluster, source: str | None, *, quiet: bool) -> None:
    from oomscope.cli.output import emit
    from oomscope.policy import policy_text, unsaid

    emit(policy_text(cluster, source))
    if not quiet and source != "kubernetes":
        for note in unsaid(cluster):
            print(f"note: {note}", file=sys.stderr)


def _show(rows: list[Row], fmt: str, color: str) -> None:
    from oomscope.cli import output

    dicts = [row.as_dict() for row in rows]
    if fmt == "json":
        print(json.dumps(dicts, indent=1))
        return
    from oomscope.render import render_doctor

    output.emit(
        render_doctor(
            dicts,
            width=output.terminal_width(),
            color=output.wants_color(color),
            ascii_only=output.only_ascii(),
        )
    )
