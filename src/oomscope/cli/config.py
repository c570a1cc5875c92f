"""``oomscope config``: what is configured, and where each value comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oomscope.errors import UsageError


def command(
    action: Annotated[str, typer.Argument(metavar="show", help="What to do.")] = "show",
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Use this file only.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what is not set.")] = False,
) -> None:
    """Show each setting with its value and its origin: default, file, environment or flag.

    Example:

      oomscope config show
    """
    from oomscope.config import load, shown

    if action != "show":
        raise UsageError(f"unknown action {action!r}", fix="oomscope config show")
    rows = shown(load(file=config))
    rows = [row for row in rows if everything or row[2] != "default" or row[1] != "-"]
    width = max(len(name) for name, _, _ in rows)
    for name, value, origin in rows:
        print(f"{name:<{width}}  {value}  ({origin})")
