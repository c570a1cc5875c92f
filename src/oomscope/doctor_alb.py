"""Doctor: can the ALB's access log be read, and how late is it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from oomscope.doctor import Row, of_error
from oomscope.doctor_logs import access_of
from oomscope.errors import SourceError
from oomscope.facts import Window
from oomscope.units import format_seconds

if TYPE_CHECKING:
    from oomscope.config import Cluster
    from oomscope.sources.interface import Context

LOOK = timedelta(hours=1)
LATE = timedelta(minutes=15)  # five minutes a file, and some minutes until it is delivered


def check_alb(cluster: Cluster, now: datetime, ctx: Context) -> list[Row]:
    """One row for the table and one for the bucket, as far as configured."""
    alb = cluster.alb
    if not (alb.table or alb.bucket):
        return [Row("alb", "off", "no table or bucket is configured", "set alb.table or alb.bucket")]
    rows = []
    for wanted, check in ((alb.table, _table_row), (alb.bucket, _bucket_row)):
        if wanted:
            try:
                rows.append(check(cluster, now, ctx))
            except SourceError as error:
                rows.append(of_error("alb", error))
    return rows


def _table_row(cluster: Cluster, now: datetime, ctx: Context) -> Row:
    from oomscope.sources.athena import AthenaSource

    alb = cluster.alb
    source = AthenaSource(
        access_of(cluster), alb.database or "default", alb.table or "", alb.catalog,
        alb.workgroup, alb.output_location,
    )  # fmt: skip
    table = source.probe(ctx)
    detail = f"table {table.database}.{table.table} may be queried (nothing was scanned)"
    if table.notes:
        return Row("alb", "lagging", f"{detail}; {table.notes[0]}", "make a new one: oomscope alb ddl")
    return Row("alb", "ok", detail)


def _bucket_row(cluster: Cluster, now: datetime, ctx: Context) -> Row:
    from oomscope.sources.alb_s3 import AlbS3Source

    alb = cluster.alb
    source = AlbS3Source(access_of(cluster), alb.bucket or "", alb.prefix, alb.load_balancer)
    newest = source.newest(Window(now - LOOK, now), ctx)
    if newest is None:
        fix = "check prefix, region and load balancer, and that access logs are switched on"
        return Row("alb", "missing", f"no log file of the last hour in s3://{alb.bucket}", fix)
    age = now - newest.end
    detail = f"newest file ends {format_seconds(max(0.0, age.total_seconds()))} ago (one every 5 min)"
    return Row("alb", "ok" if age <= LATE else "lagging", detail)
