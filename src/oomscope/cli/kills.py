"""``oomscope kills``: the OOM kills a cluster still remembers."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oomscope.cli import options as opt
from oomscope.errors import UsageError

if TYPE_CHECKING:
    from oomscope.kills import Found, Remembered

MAX_SINCE = timedelta(days=90)
WHAT = {
    "oom": "OOM killed",
    "child": "a process inside was OOM killed",
    "unclear": "SIGKILL without a reason, perhaps OOM",
}


def command(
    since: Annotated[
        str, typer.Option("--since", metavar="SPAN", help="How far back: 30m, 24h, 7d.")
    ] = "24h",
    namespace: opt.Namespace = None,
    config: opt.ConfigFile = None,
    cluster: opt.ClusterName = None,
    fmt: Annotated[str, typer.Option("-f", "--format", help="text or json.")] = "text",
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """List the OOM kills that the cluster, Prometheus and CloudWatch remember, newest first, each ready to paste.

    Examples:

      oomscope kills

      oomscope kills --since 2h -n shop
    """
    from oomscope import kills
    from oomscope.cli.progress import progress
    from oomscope.cli.targets import parse_duration
    from oomscope.config import load
    from oomscope.facts import Window
    from oomscope.sources.interface import Context

    if fmt not in ("text", "json"):
        raise UsageError(f"unknown format {fmt!r}", fix="-f text or -f json", slug="format")
    settings = load(file=config).config
    now, span = datetime.now(UTC), timedelta(seconds=parse_duration(since, "--since") or 0)
    if span > MAX_SINCE:
        raise UsageError(f"--since {since} is too far back", fix=f"at most {MAX_SINCE.days}d")
    window = Window(now - span, now)
    with progress(quiet=quiet) as tell:
        ctx = Context(deadline=time.monotonic() + settings.deadline_s, progress=tell)
        tell("asking the cluster")
        found = kills.remembered(settings.chosen(cluster), window, ctx, namespace=namespace)
    flags = [*(("--cluster", cluster) if cluster else ()), *(("--config", str(config)) if config else ())]
    _show(found, flags, fmt)
    if not quiet:
        _show_gaps(found)
    if not found.kills:
        raise kills.none_found(found, span)


def _show(found: Found, flags: list[str], fmt: str) -> None:
    if fmt == "json":
        print(json.dumps([row(kill, flags) for kill in found.kills], indent=1))
        return
    from oomscope.redact import printable

    for kill in found.kills:
        print(printable(line(kill), 400))
        print(f"    {printable(kill.command(*flags), 1000)}")


def row(kill: Remembered, flags: list[str]) -> dict[str, Any]:
    """One kill for machines."""
    from oomscope.units import iso

    return {
        "killed_at": iso(kill.at),
        "about": kill.about,
        "namespace": kill.namespace,
        "pod": kill.pod,
        "container": kill.container,
        "kind": kill.kind,
        "exit_code": kill.exit_code,
        "limit_bytes": kill.limit_bytes,
        "source": kill.source,
        "command": kill.command(*flags),
    }


def line(kill: Remembered) -> str:
    """One kill for people: when, who, what, limit, and who remembers it."""
    from oomscope.units import format_bytes

    who = "/".join(part for part in (kill.namespace, kill.pod, kill.container) if part)
    code = f" (exit {kill.exit_code})" if kill.exit_code is not None else ""
    limit = f", limit {format_bytes(kill.limit_bytes)}" if kill.limit_bytes else ""
    when = f"{'~' if kill.about else ''}{kill.at:%m-%d %H:%M:%S}Z"
    return f"{when}  {who}  {WHAT[kill.kind]}{code}{limit}  [{kill.source}]"


def _show_gaps(found: Found) -> None:
    from oomscope.redact import printable

    for gap in found.gaps:
        fix = f" (fix: {printable(gap.fix, 300)})" if gap.fix else ""
        print(f"not asked: {gap.source}: {gap.reason}: {printable(gap.detail, 300)}{fix}", file=sys.stderr)
