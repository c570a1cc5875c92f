"""``oomscope kills``: the OOM kills a cluster still remembers."""

from __future__ import annotations

import json
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

TELLER = {
    "kubernetes": "the pod's status",
    "prometheus": "Prometheus",
    "performance-log": "the performance log",
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
    from oomscope.cli.targets import parse_duration, pick_cluster
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
        found = kills.remembered(pick_cluster(settings, cluster), window, ctx, namespace=namespace)
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
    from oomscope.cli.output import emit
    from oomscope.redact import printable

    for kill in found.kills:
        lines = (who(kill), f"  {what(kill)}", f"  {kill.command(*flags)}")
        emit("\n".join(printable(line, 1000) for line in lines))


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


def who(kill: Remembered) -> str:
    """When, and which container. A time that is only known to a minute or so has a ``~``."""
    name = "/".join(part for part in (kill.namespace, kill.pod, kill.container) if part)
    return f"{'~' if kill.about else ''}{kill.at:%Y-%m-%d %H:%M:%S} UTC  {name}"


def what(kill: Remembered) -> str:
    """What happened, and who remembers it."""
    from oomscope.units import format_bytes

    code = f", exit {kill.exit_code}" if kill.exit_code is not None else ""
    limit = f", limit {format_bytes(kill.limit_bytes)}" if kill.limit_bytes else ""
    return f"{WHAT[kill.kind]}{code}{limit} (told by {TELLER.get(kill.source, kill.source)})"


def _show_gaps(found: Found) -> None:
    from oomscope.cli.notes import say
    from oomscope.render.words import REASONS

    for gap in found.gaps:
        reason = REASONS.get(gap.reason, gap.reason)
        say(f"not asked: {TELLER.get(gap.source, gap.source)} ({reason}): {gap.detail}")
        if gap.fix:
            say(f"  fix: {gap.fix}", hanging="       ")
