"""Where the ALB rows of a window come from: local files, an Athena table, or the bucket; the first that is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from oomscope import evidence
from oomscope.errors import SourceError, UsageError
from oomscope.evidence import Bundle
from oomscope.facts import ACCESS_SCHEMA, Gap, Query, Target, Window, empty
from oomscope.redact import Redactor
from oomscope.sources.interface import Context, Fragment
from oomscope.sources.live import gap_of

if TYPE_CHECKING:
    from oomscope.config import Cluster


@dataclass(frozen=True)
class Rows:
    """ALB rows (ACCESS_SCHEMA, redacted), what was missing, and what was asked."""

    accesses: pl.DataFrame
    gaps: Sequence[Gap]
    queries: Sequence[Query]


@dataclass(frozen=True)
class Lookup:
    """``deadline`` in ``time.monotonic`` seconds."""

    cluster: Cluster
    paths: Sequence[Path]
    deadline: float
    max_scan_bytes: int
    show_params: bool = False

    def rows(self, window: Window, tell: Callable[[str], None]) -> Rows:
        """The rows of the window. A source that fails is a gap. Raises ``UsageError`` when none is given."""
        if self.paths:
            return self._from_files(window, tell)
        ctx = Context(deadline=self.deadline, progress=tell)
        try:
            found = self._from_aws(window, ctx)
        except SourceError as error:
            return Rows(empty(ACCESS_SCHEMA), [gap_of(error, "alb", window=window)], [])
        raw = found.accesses if found.accesses is not None else empty(ACCESS_SCHEMA)
        bundle = evidence.redacted(Bundle(accesses=raw), Redactor(self.show_params))
        return Rows(bundle.accesses, found.gaps, found.queries)

    def _from_files(self, window: Window, tell: Callable[[str], None]) -> Rows:
        from oomscope.sources.files import collect_files

        bundle = collect_files(self.paths, show_params=self.show_params, progress=tell, accesses_of=window)
        inside = pl.col("time").is_between(window.start, window.end, closed="left")
        gaps = [gap for gap in bundle.gaps if gap.source in ("alb", "file")]
        return Rows(bundle.accesses.filter(inside), gaps, bundle.queries)

    def _from_aws(self, window: Window, ctx: Context) -> Fragment:
        from oomscope.sources.aws_common import AwsAccess

        alb, aws = self.cluster.alb, self.cluster.aws
        access = AwsAccess(aws.region, aws.profile, aws.account, aws.endpoint_url)
        if alb.table:
            from oomscope.sources.athena import AthenaSource

            source = AthenaSource(
                access, alb.database or "default", alb.table, alb.catalog, alb.workgroup, alb.output_location,
                max_scan_bytes=self.max_scan_bytes,
            )  # fmt: skip
            return source.collect(Target(), window, ctx)
        if alb.bucket:
            from oomscope.sources.alb_s3 import AlbS3Source

            return AlbS3Source(access, alb.bucket, alb.prefix, alb.load_balancer).collect(
                Target(), window, ctx
            )
        raise UsageError(
            "no ALB log is given", fix="--table NAME, --bucket NAME or --from PATH", slug="config"
        )
