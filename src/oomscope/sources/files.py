"""Saved evidence: any mix of files and folders, each recognised by its content, into one bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from functools import partial
from pathlib import Path
from typing import cast

from oomscope import evidence, kernel, logs
from oomscope.errors import UnreadableError, UsageError, UserError
from oomscope.evidence import Bundle
from oomscope.facts import Gap, GapReason, OomKill, Query, Target, Window
from oomscope.redact import Redactor
from oomscope.sources.bounded import FileInput, Found, Limits, find_files
from oomscope.sources.files_access import read_access_logs, starts
from oomscope.sources.files_identity import identity_of
from oomscope.sources.files_read import (
    Later,
    gap,
    query,
    read_answer_stream,
    read_json,
    read_json_lines,
    read_lines,
    read_memory_csv,
    text_lines,
)
from oomscope.sources.interface import Fragment, merge
from oomscope.sources.recognise import Recognised, recognise

_UNPACK = {
    "gzip": "it is packed twice: gunzip it once",
    "bzip2": "unpack it: bunzip2 FILE",
    "xz": "unpack it: unxz FILE",
    "zstd": "unpack it: unzstd FILE",
    "zip": "unpack it: unzip FILE",
    "7z": "unpack it: 7z x FILE",
    "tar": "unpack it: tar xf FILE",
}
_HALF_A_YEAR = timedelta(days=183)
_AS_JSON = "save it with kubectl ... -o json"


def collect_files(
    paths: Sequence[Path],
    *,
    target: Target = Target(),  # noqa: B008 - frozen
    tz: tzinfo | None = None,
    show_params: bool = False,
    progress: Callable[[str], None] | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    accesses_of: Window | None = None,
) -> Bundle:
    """One redacted bundle of all that the given files and folders hold, the same in whatever order they are given.

    What cannot be read or is not understood becomes a gap that names the file. Nothing outside the paths is read.
    ``tz`` is the zone of times that carry none. ``accesses_of``: only access log rows of that window. Raises UsageError
    for a missing path, UnreadableError when nothing at all could be used.
    """
    _check_exist(paths)
    files, problems = find_files(paths, limits)
    reading = _Reading(limits, tz, progress or (lambda _text: None), target, accesses_of)
    reading.parts += [Fragment(gaps=[_gap_of(problem)]) for problem in problems]
    for found in _without_copies(files, reading):
        reading.read(found)
    reading.read_later()
    bundle = merge(reading.parts, target=target, redactor=Redactor(show_params=show_params))
    if not bundle.sources:
        raise _nothing_found(paths, bundle)
    return bundle


def _check_exist(paths: Sequence[Path]) -> None:
    for path in paths:
        try:
            path.stat()
        except OSError as error:
            raise UsageError(
                f"cannot find {path}" if isinstance(error, FileNotFoundError) else f"cannot read {path}",
                tried=f"looking at {path}: {error.strerror or error}",
                likely="a typing error, a link that leads nowhere, or no permission",
                fix="give a file or folder that exists: --from PATH",
                slug="missing-path",
            ) from error


def _nothing_found(paths: Sequence[Path], bundle: Bundle) -> UnreadableError:
    named = ", ".join(str(path) for path in paths[:3])
    seen = len(bundle.queries) + len(bundle.gaps)
    report = next((q for q in bundle.queries if q.source == "report"), None)
    reasons = "; ".join(gap.detail for gap in bundle.gaps[:3])
    more = f"; and {len(bundle.gaps) - 3} more" if len(bundle.gaps) > 3 else ""
    return UnreadableError(
        f"no evidence found in {named}",
        tried=reasons + more if reasons else f"{seen} files read" if seen else "no files there",
        likely="an empty folder"
        if not seen
        else "a report, not evidence"
        if report
        else "files of other kinds",
        fix="oomscope report FILE shows a report"
        if report
        else "save kubectl get pod -o json, the application log or the kernel log there",
        slug="no-evidence",
    )


def _gap_of(problem: Found) -> Gap:
    detail = f"{problem.label}: {problem.problem}" if problem.label else str(problem.problem)
    return Gap("file", problem.reason, detail)


def _without_copies(files: Sequence[Found], reading: _Reading) -> list[Found]:
    """The same bytes under two names are read once. Only files of equal size are compared."""
    by_size: dict[int, list[Found]] = {}
    for found in files:
        by_size.setdefault(found.size, []).append(found)
    copies = set()
    for size, twins in by_size.items():
        seen: dict[str, Found] = {}
        for found in twins if size > 0 and len(twins) > 1 else ():
            try:
                first = seen.setdefault(FileInput(found.path, found.label).digest(), found)
            except OSError:
                continue
            if first is not found:
                copies.add(found)
                note = Query("copy", f"{found.label}: same bytes as {first.label}", rows=0, bytes_read=size)
                reading.parts.append(Fragment(queries=[note]))
    return [found for found in files if found not in copies]


@dataclass
class _Reading:
    """The state of one collection."""

    limits: Limits
    tz: tzinfo | None
    progress: Callable[[str], None]
    target: Target
    accesses_of: Window | None
    parts: list[Fragment] = field(default_factory=list)
    later: Later = field(default_factory=Later)

    def read(self, found: Found) -> None:
        """One file or saved bundle."""
        self.progress(f"reading {found.label}")
        if found.kind == "bundle":
            self.parts.append(_read_bundle(found))
            return
        file = FileInput(found.path, found.label, self.limits, size=found.size)
        try:
            part = self._read_file(file)
        except OSError as error:
            reason: GapReason = "denied" if isinstance(error, PermissionError) else "unparsable"
            self.parts.append(
                Fragment(gaps=[gap(file, reason, f"cannot be opened: {error.strerror or error}")])
            )
            return
        self.parts.append(part)
        if file.cut and not any(gap.reason == "cut" for gap in part.gaps):
            self.parts.append(Fragment(gaps=[_cut(file)]))

    def _read_file(self, file: FileInput) -> Fragment:
        head = file.head()
        seen = recognise(head)
        match seen.kind:
            case "alb":
                self.later.alb.append(file)
            case "kernel":
                self.later.kernel.append((file, None))
            case "log":
                self.later.logs.append(file)
            case "memory_csv":
                return read_memory_csv(file)
            case "answer" if len(head) == self.limits.head:
                return read_answer_stream(file, self.later)
            case "json" | "answer":
                return read_json(file, self.later)
            case "json_lines":
                return read_json_lines(file, self.later)
            case "text":
                return read_lines(file, head, self.later)
            case _:
                return Fragment(gaps=[_unreadable(file, seen, empty_file=not head)])
        return Fragment()

    def read_later(self) -> None:
        """Logs, kernel logs and ALB files, once everything else is known, and each knowing those before it."""
        if logs := self.later.logs:
            self.progress(f"parsing {len(logs)} application logs")
            self._add(logs, partial(self._read_logs, logs))
        accesses = self.later.alb
        if kernel_logs := self.later.kernel:
            latest = _latest(self.parts, starts(accesses))
            for file, lines in kernel_logs:
                self._add([file], partial(self._read_kernel, file, lines, latest))
        if accesses:
            self.progress(f"parsing {len(accesses)} load balancer logs")
            read = partial(read_access_logs, accesses, self.target, self.parts, self.accesses_of)
            self._add(accesses, read)

    def _add(self, files: list[FileInput], read: Callable[[], Fragment]) -> None:
        """What the files give, and a gap for each that broke off. A file may have gone away since it was recognised."""
        try:
            self.parts.append(read())
        except OSError as error:
            self.parts.append(Fragment(gaps=[_not_opened(file, error) for file in files]))
        self.parts.append(Fragment(gaps=[_cut(file) for file in files if file.cut]))

    def _read_logs(self, files: list[FileInput]) -> Fragment:
        pods = [pod for part in self.parts for pod in part.pods]
        for file in files:
            file.identity = identity_of(file.label, pods)
        scan = logs.scan(files, tz=self.tz)
        lines: dict[str, int] = {}
        for stream in scan.streams:
            lines[stream.source] = lines.get(stream.source, 0) + stream.coverage.lines
        return Fragment(
            requests=scan.requests,
            jobs=scan.jobs,
            streams=scan.streams,
            lives=scan.lives,
            gaps=scan.gaps,
            queries=[query(file, "app_log", lines.get(file.label)) for file in files],
            sources=["app_log"] if scan.streams else [],
        )

    def _read_kernel(self, file: FileInput, lines: list[str] | None, latest: datetime | None) -> Fragment:
        def parse(year: int | None) -> tuple[OomKill, ...]:
            zone = cast("timezone | None", self.tz)  # any tzinfo serves
            if lines is not None:
                return kernel.parse_kernel_log(lines, source=file.label, year=year, tz=zone)
            with file.open() as stream:
                return kernel.parse_kernel_log(text_lines(stream), source=file.label, year=year, tz=zone)

        kills = _in_likely_year(parse, latest)
        return Fragment(
            oom_kills=kills, queries=[query(file, "kernel_log", len(kills))], sources=["kernel_log"]
        )


def _in_likely_year(
    parse: Callable[[int | None], tuple[OomKill, ...]], latest: datetime | None
) -> tuple[OomKill, ...]:
    """Syslog stamps have no year: take the one that puts a kill nearest to the latest time of the other evidence."""
    if latest is None:
        return parse(None)
    kills = parse(latest.year)
    if _distance(kills, latest) < _HALF_A_YEAR:
        return kills
    return min((kills, parse(latest.year - 1), parse(latest.year + 1)), key=lambda k: _distance(k, latest))


def _distance(kills: Sequence[OomKill], latest: datetime) -> timedelta:
    return min((abs(kill.at - latest) for kill in kills if kill.at), default=timedelta(0))


def _latest(parts: Sequence[Fragment], known: Sequence[datetime]) -> datetime | None:
    """The latest time that any evidence with a year names."""
    times = [*known]
    times += [at for part in parts if part.target and (at := part.target.at)]
    times += [event.at for part in parts for event in part.events if event.at]
    ends = (end for part in parts for pod in part.pods for c in pod.containers for end in c.terminations)
    times += [end.finished_at for end in ends if end.finished_at]
    for part in parts:
        for name, column in (("memory", "at"), ("requests", "started_at"), ("accesses", "time")):
            table = getattr(part, name)
            if table is not None and (latest := table.get_column(column).max()) is not None:
                times.append(latest)
    return max(times, default=None)


def _not_opened(file: FileInput, error: OSError) -> Gap:
    reason: GapReason = "denied" if isinstance(error, PermissionError) else "unparsable"
    return gap(file, reason, f"cannot be opened: {error.strerror or error}")


def _cut(file: FileInput) -> Gap:
    return gap(file, "cut", str(file.cut), "copy or download it again, whole")


def _unreadable(file: FileInput, seen: Recognised, *, empty_file: bool) -> Gap:
    match seen.kind:
        case "empty" if file.cut and empty_file:
            return gap(file, "cut", f"nothing readable: {file.cut}", "copy or download it again, whole")
        case "empty":
            return gap(file, "no_data", "empty")
        case "packed":
            return gap(file, "unparsable", f"packed with {seen.hint}, not read", _UNPACK[seen.hint])
        case "utf16":
            return gap(file, "unparsable", "UTF-16 text, not read", "convert it: iconv -f UTF-16 -t UTF-8")
        case "yaml":
            return gap(file, "unparsable", "YAML, not read", _AS_JSON)
        case "describe":
            return gap(file, "unparsable", "output of kubectl describe, not read", _AS_JSON)
        case "html":
            return gap(file, "unparsable", "an HTML page, not read", "give what it was made from")
    return gap(file, "unparsable", f"binary data{f' ({seen.hint})' if seen.hint else ''}, not evidence")


def _read_bundle(found: Found) -> Fragment:
    """A saved bundle, or the gap it leaves when it cannot be loaded."""
    try:
        saved = evidence.load(found.path)
    except UserError as error:
        detail = f"{found.label}: {error.what.replace(str(found.path), 'bundle')}"
        return Fragment(gaps=[Gap("file", "unparsable", f"{detail} ({error.tried})", fix=error.fix)])
    names = ("requests", "jobs", "accesses", "memory", *evidence.FACTS, "sources")
    return Fragment(
        target=saved.target, window=saved.window, **{name: getattr(saved, name) for name in names}
    )
