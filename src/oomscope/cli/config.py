"""``oomscope config``: what is configured, and where each value comes from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from oomscope.errors import UsageError

MAX_PAD = 48
_LAST = re.compile(r'(?:(.+)\.)?([A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*")')  # of a dotted name


def command(
    action: Annotated[str, typer.Argument(metavar="show", help="What to do.")] = "show",
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Use this file only.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what is not set.")] = False,
) -> None:
    """Show each setting with its value and its origin (default, file or environment), as a TOML file.

    Example:

      oomscope config show
    """
    from oomscope.cli.output import emit
    from oomscope.config import load, shown

    if action != "show":
        raise UsageError(f"unknown action {action!r}", fix="oomscope config show")
    rows = shown(load(file=config))
    emit(as_toml([row for row in rows if everything or row[1] is not None]))


def as_toml(rows: Sequence[tuple[str, str | None, str]]) -> str:
    """The settings as a file would have them, the origin as a comment."""
    tables: dict[str, list[tuple[str, str]]] = {"": []}
    for name, value, origin in rows:
        table, key = _LAST.fullmatch(name).groups("")  # type: ignore[union-attr]
        line = f"# {key} is not set" if value is None else f"{key} = {value}"
        tables.setdefault(table, []).append((line, "" if value is None else f"  # {origin}"))
    parts = []
    for table, lines in tables.items():
        width = min(MAX_PAD, max((len(line) for line, _ in lines), default=0))
        shown = [f"{line:<{width}}{origin}".rstrip() for line, origin in lines]
        parts.append("\n".join([*([f"[{table}]"] if table else []), *shown]))
    return "\n\n".join(part for part in parts if part)
