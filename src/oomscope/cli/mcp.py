"""``oomscope mcp``: the tools for agents, on stdin and stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oomscope.cli import options as opt
from oomscope.errors import UsageError


def command(
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            metavar="DIR",
            help="The one folder that may be read: bundles, reports, saved evidence.",
            show_default=False,
        ),
    ] = None,
    config: opt.ConfigFile = None,
    debug: opt.Debug = False,
) -> None:
    """Serve five read-only tools to an agent over MCP (stdio).

    Live systems are asked when a configuration names a cluster, or when no --root is given.

    Examples:

      oomscope mcp --root ./incidents/

      oomscope mcp --config oomscope.toml
    """
    from oomscope.config import load

    settings = load(file=config).config
    try:
        from oomscope.mcp.server import build
    except ImportError as error:
        raise UsageError(
            f"the MCP server is not installed: {error.name} is missing",
            fix="pip install 'oomscope[mcp]'",
            slug="missing-extra",
        ) from error
    build(root, settings if settings.clusters or root is None else None).run("stdio")
