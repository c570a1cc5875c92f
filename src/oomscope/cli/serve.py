"""``oomscope serve``: alerts in, reports out, for as long as it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oomscope.cli import options as opt
from oomscope.errors import UsageError

ROLES = ("all", "api", "worker")


def command(
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on.")] = None,
    role: Annotated[
        str, typer.Option("--role", metavar="ROLE", help="all, api (no worker) or worker (probes only).")
    ] = "all",
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Use this file only.")
    ] = None,
    debug: opt.Debug = False,
) -> None:
    """Take alerts over HTTP, investigate each kill in stages, and tell Slack, Grafana or a webhook.

    Example:

      oomscope serve --config serve.toml
    """
    from oomscope.config import load

    if role not in ROLES:
        raise UsageError(f"unknown role {role!r}", fix=f"one of: {', '.join(ROLES)}")
    loaded = load(file=config, flags={"serve.host": host, "serve.port": port})
    try:
        from oomscope.serve.process import serve
    except ImportError as error:
        raise UsageError(
            f"the service is not installed: {error.name} is missing", fix="pip install 'oomscope[serve]'"
        ) from error
    serve(loaded.config, role)
