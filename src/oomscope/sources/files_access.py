"""Saved access logs: small ones are read as a whole, of large ones the minutes that an investigation looks at.

Those are the minutes that a live source would be asked for. A day of access log holds millions of rows, and all but
those around the deaths would cost memory and tell nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from oomscope import alb
from oomscope.alb.delivery import DELIVERY, FILE_SPAN
from oomscope.alb.names import end_by_name, first_time, may_hold
from oomscope.facts import Gap, Target, Window
from oomscope.sources.bounded import MIB, FileInput
from oomscope.sources.files_read import query
from oomscope.sources.interface import Fragment
from oomscope.units import iso

BEFORE = timedelta(minutes=30)
AFTER = timedelta(minutes=10)
LARGE = 128 * MIB  # plain text
MAX_ROWS = 200_000  # the nearest to the deaths; about 1 KiB of memory each
_DEFLATED = 8  # times smaller is an access log when packed, about


def read_access_logs(
    files: Sequence[FileInput], target: Target, parts: Sequence[Fragment], asked: Window | None = None
) -> Fragment:
    """The rows of the window asked for; else of the minutes around the deaths that ``parts`` tell of, or all."""
    moments = deaths(target, parts) or ([asked.end] if asked else [])
    windows = [asked] if asked else _around(moments) if plain_size(files) > LARGE else []
    inside = [file for file in files if not windows or _can_hold(file, windows)]
    rows, stats = alb.parse_alb_report(inside, window=windows or None, limit=MAX_ROWS, near=moments)
    counts: dict[str, int] = dict(rows["source"].value_counts().iter_rows())
    hull = Window(windows[0].start, max(window.end for window in windows)) if windows else None
    return Fragment(
        accesses=rows,
        gaps=_gaps(stats, hull),
        queries=[replace(query(file, "alb", counts.get(file.label, 0)), window=hull) for file in files],
        sources=["alb"] if stats.rows + stats.outside or len(inside) < len(files) else [],
    )


def deaths(target: Target, parts: Sequence[Fragment]) -> list[datetime]:
    """The times to look around: the one given, else those of the kills, else the ends of the application logs."""
    if target.at:
        return [target.at]
    found = [kill.at for part in parts for kill in part.oom_kills]
    pods = (pod for part in parts for pod in part.pods)
    found += [end.finished_at for pod in pods for c in pod.containers for end in c.terminations]
    found = found if any(found) else [stream.last_at for part in parts for stream in part.streams]
    return sorted({at for at in found if at})


def starts(files: Sequence[FileInput]) -> list[datetime]:
    """When each file begins, as its first line tells."""
    return [at for file in files if (at := _first_time(file))]


def plain_size(files: Sequence[FileInput]) -> int:
    """About how many bytes the files are when inflated."""
    return sum(file.size * (1 if file.plain_path() else _DEFLATED) for file in files)


def _around(moments: Sequence[datetime]) -> list[Window]:
    return [Window(at - BEFORE, at + AFTER) for at in moments]


def _can_hold(file: FileInput, windows: Sequence[Window]) -> bool:
    """A file is passed over only when its name and its first line agree that it is of other minutes."""
    end = end_by_name(file.label)
    if end is None or may_hold(end, windows):
        return True
    first = _first_time(file)
    return first is None or not end - FILE_SPAN - DELIVERY <= first <= end


def _first_time(file: FileInput) -> datetime | None:
    try:
        return first_time(file.head())
    except OSError:  # gone since it was recognised; the reading will say so
        return None


def _gaps(stats: alb.AlbStats, hull: Window | None) -> list[Gap]:
    gaps = []
    if stats.damaged:
        share = f"{stats.damaged} of {stats.lines} access log lines"
        gaps.append(Gap("alb", "unparsable", f"{share} are damaged, the first is {stats.first_damaged}"))
    if stats.left_out:
        detail = f"{stats.left_out:,} of {stats.rows:,} rows, the farthest from the deaths, were left out"
        gaps.append(Gap("alb", "cut", detail, window=hull, fix="give the time of one kill: --at TIME"))
    if hull and not stats.rows:
        detail = f"no row of {iso(hull.start)} to {iso(hull.end)} in the files"
        gaps.append(Gap("alb", "no_data", detail, window=hull, fix="give the files of those minutes"))
    return gaps
