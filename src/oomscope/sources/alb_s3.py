"""ALB rows straight from the bucket: lists just the five-minute files that can hold the window, and reads those.

Needs, read-only: s3:ListBucket and s3:GetObject on the log bucket.
"""

from __future__ import annotations

import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oomscope.alb.delivery import DELIVERY, last_file
from oomscope.alb.names import end_by_name, may_hold
from oomscope.alb.read import parse_alb_report
from oomscope.errors import SourceError
from oomscope.facts import Gap, Query, Target, Window
from oomscope.sources.aws_common import AwsAccess, aws_errors, source_error
from oomscope.sources.bounded import FileInput
from oomscope.sources.interface import Fragment
from oomscope.sources.limiter import limiter
from oomscope.sources.live import ask_again, gap_of
from oomscope.units import format_bytes, iso

if TYPE_CHECKING:
    from oomscope.sources.interface import Context

MAX_ROWS = 200_000
_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_COPY = 1 << 20
LOOK_EVERY = timedelta(minutes=1)  # listing is free, and files often come early


@dataclass(frozen=True, slots=True)
class LogFile:
    """One object: its key, the end of its five minutes, its size in bytes (compressed)."""

    key: str
    end: datetime
    size: int


@dataclass(frozen=True)
class AlbS3Source:
    """A bucket with ALB logs. ``load_balancer``: ARN, ``app/name/id`` or name; None reads all of the region's."""

    access: AwsAccess
    bucket: str
    prefix: str = ""
    load_balancer: str | None = None
    max_files: int = 2_000
    max_bytes: int = 2 * 10**9
    max_keys: int = 100_000
    workers: int = 8
    rate: float = 50.0
    now: datetime | None = None
    name: str = "alb_s3"

    def collect(self, target: Target, window: Window, ctx: Context) -> Fragment:
        """All rows of the window. Raises SourceError when the bucket cannot be listed."""
        client = self.access.client("s3", pool=self.workers)
        files = sorted(self._list(client, window, ctx), key=lambda file: (file.end, file.key))
        taken, gaps = self._bounded(files, window)
        late, due = self._missing(files, window, target.at)
        gaps += late
        with tempfile.TemporaryDirectory(prefix="oomscope-alb-") as folder:
            inputs, trouble = self._download(client, taken, Path(folder), window, ctx)
            ctx.progress(f"alb: reading {len(inputs)} files")
            near = [target.at or window.end]
            frame, stats = parse_alb_report(inputs, window=window, limit=MAX_ROWS, near=near)
        gaps += trouble + [
            Gap("alb", "cut", f"{one.label}: {one.cut}", window=window) for one in inputs if one.cut
        ]
        if stats.damaged:
            detail = f"{stats.damaged:,} damaged lines, the first is {stats.first_damaged}"
            gaps.append(Gap("alb", "unparsable", detail, window=window))
        if stats.left_out:
            detail = f"{stats.left_out:,} of {stats.rows:,} rows, the farthest from the kill, were left out"
            gaps.append(Gap("alb", "cut", detail, window=window, fix="a smaller minutes_before"))
        if taken and not frame.height and not gaps:
            gaps.append(Gap("alb", "no_data", f"{len(taken)} files hold no row of the window", window=window))
        query = Query(
            source="alb",
            text=f"s3://{self.bucket}/{self.prefix} {self.load_balancer or 'every load balancer'}: {len(inputs)} files",
            window=window,
            rows=frame.height,
            bytes_read=sum(file.size for file in taken),
        )
        return Fragment(
            window=window,
            accesses=frame,
            gaps=gaps,
            queries=[query],
            sources=("alb",) if frame.height else (),
            due=due,
            look_every=LOOK_EVERY,
        )

    def newest(self, window: Window, ctx: Context) -> LogFile | None:
        """The latest file of the window, proven readable; None when there is none. Raises SourceError."""
        client = self.access.client("s3")
        file = max(self._list(client, window, ctx), key=lambda found: found.end, default=None)
        if file is not None:
            self._call(
                client.head_object, f"read {file.key}", "s3:GetObject", Bucket=self.bucket, Key=file.key
            )
        return file

    # ------------------------------------------------------------------------------------------------ listing

    def _list(self, client: Any, window: Window, ctx: Context) -> Iterator[LogFile]:
        """Files whose end lies in (start, end + 10 min], from the folders of every day they can have been put in."""
        region = self.access.region or client.meta.region_name
        accounts = [self.access.account] if self.access.account else self._accounts(client)
        for account in accounts:
            for day in days(window):
                folder = f"{self._root()}AWSLogs/{account}/elasticloadbalancing/{region}/{day:%Y/%m/%d}/"
                stem = f"{folder}{account}_elasticloadbalancing_{region}_app.{lb_part(self.load_balancer)}"
                yield from self._list_day(client, stem, window, ctx)

    def _list_day(self, client: Any, stem: str, window: Window, ctx: Context) -> Iterator[LogFile]:
        asked: dict[str, Any] = {"Bucket": self.bucket, "Prefix": stem}
        if stem.endswith(
            "_"
        ):  # the id is known, so keys are in order of time and the earlier ones can be skipped
            asked["StartAfter"] = f"{stem}{window.start:%Y%m%dT%H%M}"
        seen = 0
        while True:
            limiter(self.access.account, self.access.region, "s3", self.rate).wait(ctx.cancelled)
            page = self._call(client.list_objects_v2, "list the log files", "s3:ListBucket", **asked)
            for found in page.get("Contents", []):
                file = log_file(found["Key"], int(found.get("Size", 0)))
                if file and may_hold(file.end, [window]):
                    yield file
                elif file and stem.endswith("_") and file.end > window.end + DELIVERY:
                    return
            seen += page.get("KeyCount", 0)
            following = page.get("NextContinuationToken")
            if not following or seen >= self.max_keys or ctx.cancelled() or ctx.seconds_left() == 0:
                return
            asked["ContinuationToken"] = following

    def _accounts(self, client: Any) -> list[str]:
        root = f"{self._root()}AWSLogs/"
        page = self._call(
            client.list_objects_v2,
            "list accounts",
            "s3:ListBucket",
            Bucket=self.bucket,
            Prefix=root,
            Delimiter="/",
        )
        names = [found["Prefix"][len(root) :].strip("/") for found in page.get("CommonPrefixes", [])]
        return [name for name in names if re.fullmatch(r"\d{12}", name)]

    def _root(self) -> str:
        inner = self.prefix.strip("/")
        return f"{inner}/" if inner else ""

    def _bounded(self, files: list[LogFile], window: Window) -> tuple[list[LogFile], list[Gap]]:
        taken, total = list[LogFile](), 0
        for file in files:
            if len(taken) >= self.max_files or total + file.size > self.max_bytes:
                detail = f"{len(files)} files, {format_bytes(sum(f.size for f in files))}: read the first {len(taken)}"
                fix = "a shorter window, one load balancer, or an Athena table"
                return taken, [Gap("alb", "cut", detail, window=window, fix=fix)]
            taken.append(file)
            total += file.size
        return taken, []

    def _missing(
        self, files: list[LogFile], window: Window, killed_at: datetime | None
    ) -> tuple[list[Gap], datetime | None]:
        """Logs come late: within minutes of the incident their absence says nothing. With when they will be there."""
        now = self.now or datetime.now(UTC)
        last = last_file(window, killed_at)
        due = last + DELIVERY
        if max((file.end for file in files), default=window.start) < last and now < due:
            detail = f"the file of the five minutes to {iso(last)} is not delivered yet"
            return [Gap("alb", "not_yet", detail, window=window, fix=ask_again(due, now))], due
        if not files:
            fix = "check bucket, prefix, load balancer, and that its access logs are switched on"
            detail = f"no log file of the window in s3://{self.bucket}/{self._root()}"
            return [Gap("alb", "no_data", detail, window=window, fix=fix)], None
        return [], None

    # ----------------------------------------------------------------------------------------------- download

    def _download(
        self, client: Any, files: list[LogFile], folder: Path, window: Window, ctx: Context
    ) -> tuple[list[FileInput], list[Gap]]:
        """The files that could be fetched, in order, and a gap for what could not."""
        stop = threading.Event()
        try:
            with ThreadPoolExecutor(self.workers) as pool:
                jobs = [
                    pool.submit(self._fetch, client, file, folder / f"{number:05d}", ctx, stop)
                    for number, file in enumerate(files)
                ]
                results = [job.result() for job in _told(jobs, files, ctx)]
        finally:
            stop.set()  # Ctrl-C: the others give up at their next block
        inputs = [one for one in results if isinstance(one, FileInput)]
        errors = [one for one in results if isinstance(one, SourceError)]
        if not errors:
            return inputs, []
        return inputs, [gap_of(errors[0], "alb", what=f"{len(errors)} of {len(files)} files", window=window)]

    def _fetch(
        self, client: Any, file: LogFile, path: Path, ctx: Context, stop: threading.Event
    ) -> FileInput | SourceError:
        limiter(self.access.account, self.access.region, "s3", self.rate).wait(ctx.cancelled)
        try:
            if stop.is_set() or ctx.cancelled() or ctx.seconds_left() == 0:
                raise SourceError("timed_out", "no time left to fetch it")
            found = self._call(
                client.get_object, f"read {file.key}", "s3:GetObject", Bucket=self.bucket, Key=file.key
            )
            self._save(found["Body"], path, file, lambda: stop.is_set() or ctx.cancelled())
        except SourceError as error:
            return error
        return FileInput(path=path, label=file.key.rpartition("/")[2], size=file.size)

    def _save(self, body: Any, path: Path, file: LogFile, unwanted: Callable[[], bool]) -> None:
        left = min(max(file.size, 1), self.max_bytes)
        try:
            with path.open("wb") as out:
                while left > 0 and (block := body.read(min(_COPY, left))):
                    out.write(block)
                    left -= len(block)
                    if unwanted():
                        raise SourceError("timed_out", "no time left to fetch it")
        except aws_errors() as error:
            raise source_error(error, f"read {file.key}") from error

    def _call(self, action: Any, what: str, permission: str, **asked: Any) -> Any:
        try:
            return action(**asked)
        except aws_errors() as error:
            if "PermanentRedirect" in str(error) or "IllegalLocationConstraint" in str(error):
                detail = f"{what}: bucket {self.bucket} is in another region"
                raise SourceError("no_data", detail, fix="set aws.region to the bucket's") from error
            raise source_error(error, what, permission=f"{permission} on bucket {self.bucket}") from error


def _told(jobs: list[Future[Any]], files: list[LogFile], ctx: Context) -> Iterator[Future[Any]]:
    """The jobs in their order, with what has come so far."""
    began, size = time.monotonic(), 0
    for number, (job, file) in enumerate(zip(jobs, files, strict=True), 1):
        job.exception()
        size += file.size
        rate = format_bytes(round(size / max(0.001, time.monotonic() - began)))
        ctx.progress(f"alb: {number} of {len(files)} files, {format_bytes(size)}, {rate}/s")
        yield job


def days(window: Window) -> list[date]:
    """Folders to look in: a file goes into that of the day it is delivered, so one from 23:55 lies in the next."""
    last = (window.end + DELIVERY + DELIVERY).date()
    return [window.start.date() + timedelta(days=n) for n in range((last - window.start.date()).days + 1)]


def lb_part(load_balancer: str | None) -> str:
    """``name.id_`` in keys for an ARN or ``app/name/id``; ``name.`` for a name alone; nothing for None."""
    if not load_balancer:
        return ""
    parts = load_balancer.rpartition("loadbalancer/")[2].split("/")
    parts = parts[1:] if parts[0] == "app" and len(parts) > 1 else parts
    if len(parts) > 2 or not all(_NAME.fullmatch(part) for part in parts):
        raise SourceError(
            "no_data", f"not a load balancer: {load_balancer!r}", fix="give app/NAME/ID or its ARN"
        )
    return f"{parts[0]}.{parts[1]}_" if len(parts) == 2 else f"{parts[0]}."


def log_file(key: str, size: int) -> LogFile | None:
    """The file an object is, by its name; None for what is no ALB log (NLB logs, test files)."""
    end = end_by_name(key)
    return LogFile(key, end, size) if end else None
