"""``oomscope alb``: incomplete requests in the ALB's access log, and the table to ask."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oomscope.cli import options as opt
from oomscope.errors import UnreadableError, UsageError

if TYPE_CHECKING:
    from oomscope.config import Cluster
    from oomscope.workflow.lookup import Rows


def command(
    action: Annotated[str, typer.Argument(metavar="query|ddl", help="What to do.")],
    incomplete: Annotated[
        Path | None,
        typer.Option("--incomplete-requests", metavar="FILE", help="Written by `oomscope requests`."),
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", help="Athena database (default: default).")
    ] = None,
    table: Annotated[str | None, typer.Option("--table", help="Athena table of the access logs.")] = None,
    output_location: Annotated[
        str | None, typer.Option("--output-location", metavar="S3URL", help="Where Athena puts results.")
    ] = None,
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE|-")] = "alb_analysis.json",
    sources: opt.Sources = None,
    bucket: Annotated[
        str | None, typer.Option("--bucket", help="The log bucket (ddl; query without a table).")
    ] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Prefix before AWSLogs/.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Account id of the load balancer.")] = None,
    region: Annotated[str | None, typer.Option("--region", help="Its region.")] = None,
    config: opt.ConfigFile = None,
    cluster: opt.ClusterName = None,
    deadline: opt.Deadline = None,
    max_scan: opt.MaxScan = None,
    show_params: opt.ShowParams = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Look up incomplete requests in the ALB's log (Athena, bucket or local files), or print the table's definition.

    Examples:

      oomscope alb query --incomplete-requests incomplete.json --table alb_logs --output-location s3://bucket/results/

      oomscope alb query --incomplete-requests incomplete.json --from ./alb/

      oomscope alb ddl --bucket logs --account 123456789012 --region eu-west-1 --table alb_logs
    """
    from oomscope.cli import targets

    flags = {
        "deadline_s": targets.parse_duration(deadline, "--deadline"),
        "max_scan_bytes": targets.parse_size(max_scan, "--max-scan"),
    }
    from oomscope.cli.targets import pick_cluster
    from oomscope.config import load

    settings = load(file=config, flags=flags).config
    chosen = _narrowed(
        pick_cluster(settings, cluster), {"database": database, "table": table, "output_location": output_location,
                                   "bucket": bucket, "prefix": prefix}, {"account": account, "region": region},
    )  # fmt: skip
    if action == "ddl":
        _print_ddl(chosen)
    elif action == "query":
        if incomplete is None:
            raise UsageError(
                "--incomplete-requests FILE is missing", fix="oomscope requests --input logs.json"
            )
        from oomscope.workflow.lookup import Lookup

        until = time.monotonic() + settings.deadline_s
        lookup = Lookup(chosen, sources or [], until, settings.max_scan_bytes, show_params)
        _query(incomplete, lookup, output, quiet=quiet)
    else:
        raise UsageError(f"unknown action {action!r}", fix="oomscope alb query, or oomscope alb ddl")


def _narrowed(cluster: Cluster, alb: dict[str, str | None], aws: dict[str, str | None]) -> Cluster:
    """The cluster's settings with those that were given as flags."""
    given = {name: value for name, value in alb.items() if value is not None}
    where = {name: value for name, value in aws.items() if value is not None}
    return cluster.model_copy(
        update={"alb": cluster.alb.model_copy(update=given), "aws": cluster.aws.model_copy(update=where)}
    )


def _print_ddl(cluster: Cluster) -> None:
    from oomscope.alb.ddl import ddl
    from oomscope.cli.output import emit

    alb, aws = cluster.alb, cluster.aws
    missing = [
        flag for flag, value in (("--bucket", alb.bucket), ("--account", aws.account), ("--region", aws.region))
        if not value
    ]  # fmt: skip
    if missing:
        raise UsageError(f"{', '.join(missing)} must be given", fix="as flags, or in the configuration")
    emit(
        ddl(
            alb.bucket or "", alb.prefix, aws.account or "", aws.region or "",
            alb.database or "default", alb.table or "alb_logs",
        )
    )  # fmt: skip


def _query(incomplete: Path, lookup: Any, output: str, *, quiet: bool) -> None:
    from oomscope.cli.output import emit, write_file
    from oomscope.cli.progress import progress
    from oomscope.workflow.access import analyse, read_incomplete
    from oomscope.workflow.files import read_json

    asked = read_incomplete(read_json(incomplete, "--incomplete-requests"))
    with progress(quiet=quiet) as tell:
        rows: Rows = lookup.rows(asked.window, tell)
    document = analyse(asked, rows.accesses, rows.gaps, rows.queries)
    text = json.dumps(document, indent=1) + "\n"
    if output == "-":
        emit(text)
    else:
        write_file(Path(output), text)
    if not quiet:
        _summary(document, output)
    if not document["rows"]:
        gap = rows.gaps[0] if rows.gaps else None
        raise UnreadableError(
            "no ALB row of these minutes could be read",
            likely=gap.detail if gap else "",
            fix=(gap.fix or "oomscope doctor") if gap else "oomscope doctor",
            slug="alb",
        )


def _summary(document: dict[str, Any], output: str) -> None:
    from oomscope.redact import printable
    from oomscope.units import format_bytes

    def say(text: str) -> None:
        print(printable(text, 500), file=sys.stderr)

    for gap in document["gaps"]:
        say(f"note: {gap['reason']}: {gap['detail']}" + (f" (fix: {gap['fix']})" if gap["fix"] else ""))
    read = sum(query["bytes_read"] or 0 for query in document["queries"])
    paid = sum(query["cost_usd"] or 0.0 for query in document["queries"])
    if read:
        say(f"read {format_bytes(read)}" + (f", for ${paid:.5f}" if paid else ""))
    matched = sum(request["access"] is not None for request in document["requests"])
    say(
        f"{matched} of {len(document['requests'])} incomplete requests found among {document['rows']:,} ALB rows"
    )
    for entry in document["endpoints"][:10]:
        largest = format_bytes(entry["received_bytes"]["max"])
        usual, most = (format_bytes(entry["sent_bytes"][key]) for key in ("median", "max"))
        say(f"  {entry['endpoint']}: request up to {largest}; answers {usual} usually, {most} at most")
    if output != "-":
        print(f"wrote {output}", file=sys.stderr)
