"""OOM kills out of a kernel log: who was killed, whose limit it was, what every process held at that instant. Pure.

The report of one kill is several lines that may be cut, rate-limited to the last one, or mixed with another host's.
They are tied together by host and by the victim's pid, which the summary and the ``Killed`` line both carry.
Host pids are never the pids an application logs.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timezone
from typing import Literal

from oomscope.facts import OomKill, TaskRow
from oomscope.kernel_lines import KernelLine, lines_of_answer, unwrap, with_year
from oomscope.kernel_merge import merge
from oomscope.units_cgroup import cgroup_identity

__all__ = ["lines_of_answer", "merge", "parse_kernel_log", "sniff_kernel_log"]

MAX_KILLS = 20_000
MAX_TASKS = 4096
_MAX_OPEN_REPORTS = 8
_PAGE_SIZES = (4096, 16384, 65536)

Scope = Literal["container", "pod", "allocatable", "node", "unknown"]

_INVOKED = re.compile(r"(.{1,64}?) invoked oom-killer: ")
_USAGE = re.compile(r"memory: usage (\d{1,18})kB, limit (\d{1,18})kB")
_STATS_OF = re.compile(r"Memory cgroup stats for (\S{1,1024}?):(?:\s|$)")
_LEGACY = re.compile(r"Task in (\S{1,1024}) killed as a result of limit of (\S{1,1024})")
_SUMMARY = re.compile(
    r"oom-kill:constraint=(?P<constraint>CONSTRAINT_\w{1,32}),.{0,2048}?"
    r",(?:(?P<node>global_oom)|oom_memcg=(?P<oom_memcg>.{0,1024}?)),task_memcg=(?P<task_memcg>.{0,1024}?),"
    r"task=(?P<comm>.{0,64}),pid=(?P<pid>\d{1,10}),uid=\d{1,10}"
)
_KILLED = re.compile(
    r"Killed process (?P<pid>\d{1,10}) \((?P<comm>.{1,64}?)\),? (?:UID \d{1,10}, )?"
    r"total-vm:(?P<total_vm>\d{1,18})kB, anon-rss:(?P<anon>\d{1,18})kB, file-rss:(?P<file>\d{1,18})kB"
    r"(?:, shmem-rss:(?P<shmem>\d{1,18})kB)?(?:, UID:\d{1,10})?(?: pgtables:\d{1,18}kB)?"
    r"(?: oom_score_adj:(?P<adj>-?\d{1,6}))?"
)
_CHOSEN = re.compile(r"(?:Kill process|Killed process) (\d{1,10}) ")
_EXITING = re.compile(r"OOM victim (\d{1,10}) ")
_GROUP = re.compile(r"Tasks in (\S{1,1024}) are going to be killed due to memory\.oom\.group set")
_TASK = re.compile(r"\[\s{0,12}(\d{1,10})\]\s{1,32}(\d.{4,512})")
_HEADER = re.compile(r"\[\s{1,8}pid\s{1,8}\]\s{1,32}(uid .{4,256})")
_KUBEPODS = re.compile(
    r"(?:^|/)(?:kubelet-)?kubepods(?:-(?:burstable|besteffort))?(?:\.slice)?(?:/(?:burstable|besteffort))?/?$"
)
# Cheap test before any regex: a line without one of these says nothing about an OOM kill.
_MARKS = ("oom", "Kill", "OOM", "memory: usage", "Memory cgroup", "Task in ", "[")

_SNIFF = re.compile(
    rb"invoked oom-killer: |oom-kill:constraint=|Memory cgroup out of memory|Killed process \d{1,10} \("
    rb'|"_TRANSPORT" ?: ?"kernel"|memory\.oom\.group set'
)
_SNIFF_LINE = re.compile(
    rb"(?m)^(?:<\d>)?(?:kern\s{0,8}:\w{3,7}\s{0,4}: )?\[\s{0,12}\d{1,10}\.\d{6}\](?:\[\s{0,8}[TC]\d{1,9}\])? \S"
    rb"|^[^\n{]{10,80} kernel(?:\[\d{1,9}\])?: "
)


@dataclass(slots=True)
class _Report:
    """What the lines before the verdict of one OOM report said."""

    line: KernelLine
    invoked_by: str | None = None
    usages: list[tuple[int, int, str | None]] = field(default_factory=list)  # usage, limit, cgroup
    legacy: tuple[str, str] | None = None  # task cgroup, limited cgroup (before 5.0)
    columns: tuple[str, ...] = ()
    rows: list[tuple[int, tuple[int, ...], str]] = field(default_factory=list)


@dataclass(slots=True)
class _Host:
    """The reading state of one host. Logs of several hosts may be mixed line by line."""

    reports: deque[_Report] = field(default_factory=lambda: deque(maxlen=_MAX_OPEN_REPORTS))
    awaiting: dict[int, int] = field(
        default_factory=dict
    )  # victim pid -> index of its kill, Killed line to come
    chosen: dict[int, Scope] = field(default_factory=dict)  # "Kill process N" seen, before 5.x
    last: int | None = None  # index of the last kill
    group: int | None = None  # index of the kill whose cgroup is being killed as a group


@dataclass(slots=True)
class _Reader:
    source: str
    kills: list[OomKill] = field(default_factory=list)
    stamps: list[tuple[KernelLine, int]] = field(default_factory=list)  # line of each kill, year segment
    hosts: dict[str | None, _Host] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)


def parse_kernel_log(
    lines: Iterable[str], *, source: str = "", year: int | None = None, tz: timezone | None = None
) -> tuple[OomKill, ...]:
    """Every OOM victim in a kernel log, in the order of the log.

    ``year`` is the year of the log's last line, for syslog stamps, which have none (earlier lines of a log that runs
    over New Year get the year before); without it those kills have no wall time. ``tz`` is the zone of stamps that
    name none; UTC without it. Sizes are bytes. Lines that are not understood are skipped; nothing is raised.
    """
    reader = _Reader(source)
    segment, month = 0, 0
    for raw in lines:
        if not any(mark in raw for mark in _MARKS):
            continue
        line = unwrap(raw, tz=tz)
        if line is None:
            continue
        if line.yearless is not None:
            segment += month - line.yearless.month > 6
            month = line.yearless.month
        _read(reader, line, segment)
    return _with_wall_time(reader, segment, year, tz)


def _with_wall_time(
    reader: _Reader, last_segment: int, year: int | None, tz: timezone | None
) -> tuple[OomKill, ...]:
    kills = []
    for index, kill in enumerate(reader.kills):
        line, segment = reader.stamps[index]
        if index in reader.dropped:
            continue
        if kill.at is None and line.yearless is not None and year is not None:
            kill = replace(kill, at=with_year(line.yearless, year - last_segment + segment, tz))
        kills.append(kill)
    return tuple(kills)


def _read(reader: _Reader, line: KernelLine, segment: int) -> None:
    text = line.text
    host = reader.hosts.setdefault(line.host, _Host())
    if match := _INVOKED.match(text):
        host.reports.append(_Report(line, invoked_by=match[1]))
        host.group = None
    elif match := _SUMMARY.search(text):
        _on_summary(reader, host, line, match, segment)
    elif match := _KILLED.search(text):
        _on_killed(reader, host, line, match, segment)
    elif match := _GROUP.search(text):
        _on_group(reader, host, match[1])
    elif (match := _EXITING.search(text)) and "already exiting" in text:
        index = host.awaiting.pop(int(match[1]), None)
        if index is not None:
            reader.dropped.add(index)
    elif match := _CHOSEN.search(text):
        host.chosen[int(match[1])] = "node" if "Out of memory" in text else "unknown"
    else:
        _on_detail(host, line)


def _on_detail(host: _Host, line: KernelLine) -> None:
    """Usage, cgroup, legacy and task table lines: they belong to the newest open report."""
    text = line.text
    if not host.reports:
        host.reports.append(_Report(line))
    report = host.reports[-1]
    if match := _TASK.match(text):
        _add_row(report, int(match[1]), match[2])
    elif match := _HEADER.match(text):
        report.columns = tuple(match[1].split())
    elif match := _USAGE.match(text):
        report.usages.append((int(match[1]) * 1024, int(match[2]) * 1024, None))
    elif (match := _STATS_OF.match(text)) and report.usages and report.usages[-1][2] is None:
        report.usages[-1] = (*report.usages[-1][:2], match[1])
    elif match := _LEGACY.search(text):
        report.legacy = (match[1], match[2])


def _add_row(report: _Report, pid: int, rest: str) -> None:
    """One row of the task table: integers in the order of the header, then the name, which may hold blanks."""
    wanted = len(report.columns) - 1 if report.columns else 10
    parts = rest.split(None, wanted)
    numbers: list[int] = []
    for part in parts[:wanted]:
        if not part.lstrip("-").isdecimal() or len(part) > 18:
            break
        numbers.append(int(part))
    if len(numbers) < 4 or (report.columns and len(numbers) != wanted) or len(report.rows) >= MAX_TASKS:
        return
    name = rest.split(None, len(numbers))[len(numbers) :]
    if name:
        report.rows.append((pid, tuple(numbers), name[0].strip()))


def _take_report(host: _Host, pid: int, cgroup: str | None) -> _Report | None:
    """The open report that lists this victim or its cgroup, else the newest; it is closed by that."""
    listed = [r for r in host.reports if any(row[0] == pid for row in r.rows)]
    named = [r for r in host.reports if cgroup and any(u[2] == cgroup for u in r.usages)]
    candidates = [r for r in listed if r in named] or listed or named or list(host.reports)[-1:]
    if not candidates:
        return None
    host.reports.remove(candidates[-1])
    return candidates[-1]


def _on_summary(reader: _Reader, host: _Host, line: KernelLine, match: re.Match[str], segment: int) -> None:
    pid, oom_memcg, task_memcg = int(match["pid"]), match["oom_memcg"], match["task_memcg"]
    report = _take_report(host, pid, oom_memcg)
    scope: Scope = "node" if match["node"] else _scope_of(oom_memcg)
    kill = _with_report(
        OomKill(
            pid=pid,
            comm=match["comm"],
            at=line.at,
            uptime_s=line.uptime_s,
            scope=scope,
            constraint=match["constraint"],
            oom_memcg=oom_memcg,
            host=line.host,
            raw=(line.text,),
            source=reader.source,
        ),
        report,
        task_memcg,
    )
    index = _add(reader, host, kill, line, segment)
    if index is not None:
        host.awaiting[pid] = index
        host.group = None


def _on_killed(reader: _Reader, host: _Host, line: KernelLine, match: re.Match[str], segment: int) -> None:
    pid = int(match["pid"])
    index = host.awaiting.pop(pid, None)
    if index is None and host.group is not None:
        _add_member(reader, host.group, pid)
        return
    if index is None:
        index = _add(reader, host, _bare_kill(reader, host, line, match), line, segment)
    if index is None:
        return
    kill = reader.kills[index]
    reader.kills[index] = replace(
        kill,
        total_vm_bytes=int(match["total_vm"]) * 1024,
        anon_rss_bytes=int(match["anon"]) * 1024,
        file_rss_bytes=int(match["file"]) * 1024,
        shmem_rss_bytes=int(match["shmem"]) * 1024 if match["shmem"] else None,
        oom_score_adj=int(match["adj"]) if match["adj"] else kill.oom_score_adj,
        tasks=_scaled(kill.tasks, pid, int(match["total_vm"]) * 1024),
        raw=(*kill.raw, line.text),
    )


def _bare_kill(reader: _Reader, host: _Host, line: KernelLine, match: re.Match[str]) -> OomKill:
    """A victim without a summary line: a kernel before 5.0, or a report the rate limit cut to its last line."""
    pid = int(match["pid"])
    earlier = host.chosen.pop(pid, "unknown")
    scope: Scope = "node" if "Out of memory" in line.text[: match.start()] else earlier
    kill = OomKill(
        pid=pid, comm=match["comm"], at=line.at, uptime_s=line.uptime_s, scope=scope, host=line.host,
        source=reader.source,
    )  # fmt: skip
    known = any(r.legacy or any(row[0] == pid for row in r.rows) for r in host.reports)
    report = _take_report(host, pid, None) if known else None
    if report is None or report.legacy is None:
        return _with_report(kill, report, None)
    task_memcg, oom_memcg = report.legacy
    return _with_report(replace(kill, oom_memcg=oom_memcg, scope=_scope_of(oom_memcg)), report, task_memcg)


def _with_report(kill: OomKill, report: _Report | None, task_memcg: str | None) -> OomKill:
    pod_uid, container_id = cgroup_identity(task_memcg or "")
    kill = replace(kill, task_memcg=task_memcg, pod_uid=pod_uid, container_id=container_id)
    if report is None:
        return kill
    usages = [u for u in report.usages if _related(u[2], kill.oom_memcg)]
    usage, limit, _ = usages[-1] if len(usages) == 1 else (None, None, None)
    return replace(
        kill, usage_bytes=usage, limit_bytes=limit, invoked_by=report.invoked_by, tasks=_task_rows(report)
    )


def _related(path: str | None, limited: str | None) -> bool:
    """The usage line can be that of the limited cgroup: same path, one inside the other, or one of them unknown."""
    return path is None or limited is None or path.startswith(limited) or limited.startswith(path)


def _on_group(reader: _Reader, host: _Host, cgroup: str) -> None:
    """``memory.oom.group``: the kill just reported takes its whole cgroup with it; the members follow."""
    if host.last is None:
        return
    kill = reader.kills[host.last]
    host.group = host.last
    pod_uid, container_id = cgroup_identity(cgroup)
    reader.kills[host.last] = replace(
        kill,
        group_kill=True,
        group_pids=kill.group_pids or (kill.pid,),
        task_memcg=kill.task_memcg or cgroup,
        pod_uid=kill.pod_uid or pod_uid,
        container_id=kill.container_id or container_id,
    )


def _add_member(reader: _Reader, index: int, pid: int) -> None:
    kill = reader.kills[index]
    if pid not in kill.group_pids and len(kill.group_pids) < MAX_TASKS:
        reader.kills[index] = replace(kill, group_pids=(*kill.group_pids, pid))


def _add(reader: _Reader, host: _Host, kill: OomKill, line: KernelLine, segment: int) -> int | None:
    if len(reader.kills) >= MAX_KILLS:
        return None
    reader.kills.append(kill)
    reader.stamps.append((line, segment))
    host.last = len(reader.kills) - 1
    return host.last


def _task_rows(report: _Report) -> tuple[TaskRow, ...]:
    """The table in bytes. Without a header the columns are known by their count (7, 8 or 10 numbers)."""
    rows = []
    for pid, numbers, name in report.rows:
        columns = report.columns[:-1] or _columns_by_count(len(numbers))
        value = dict(zip(columns, numbers, strict=False))
        anon = value.get("rss_anon")
        rows.append(
            TaskRow(
                pid=pid,
                tgid=value.get("tgid"),
                comm=name,
                rss_bytes=value.get("rss", 0) * 4096,
                total_vm_bytes=value.get("total_vm", 0) * 4096,
                anon_rss_bytes=None if anon is None else anon * 4096,
                oom_score_adj=value.get("oom_score_adj"),
            )
        )
    return tuple(rows)


def _columns_by_count(count: int) -> tuple[str, ...]:
    middle = ("rss_anon", "rss_file", "rss_shmem") if count == 10 else ()
    tail = ("nr_ptes", "nr_pmds", "swapents") if count == 8 else ("pgtables_bytes", "swapents")
    return ("uid", "tgid", "total_vm", "rss", *middle, *tail, "oom_score_adj")


def _scaled(tasks: tuple[TaskRow, ...], pid: int, total_vm_bytes: int) -> tuple[TaskRow, ...]:
    """Rows in true bytes where pages are not 4 KiB: the victim's total-vm is given in pages and in kB."""
    victim = next((t for t in tasks if t.pid == pid and t.total_vm_bytes), None)
    if victim is None or not victim.total_vm_bytes:
        return tasks
    page = round(total_vm_bytes / (victim.total_vm_bytes / 4096))
    if page == 4096 or page not in _PAGE_SIZES:
        return tasks
    times = page // 4096

    def grow(value: int | None) -> int | None:
        return None if value is None else value * times

    return tuple(
        replace(
            t, rss_bytes=t.rss_bytes * times, total_vm_bytes=grow(t.total_vm_bytes),
            anon_rss_bytes=grow(t.anon_rss_bytes),
        )
        for t in tasks
    )  # fmt: skip


def _scope_of(oom_memcg: str | None) -> Scope:
    if oom_memcg is None:
        return "unknown"
    pod_uid, container_id = cgroup_identity(oom_memcg)
    if container_id:
        return "container"
    if pod_uid:
        return "pod"
    return "allocatable" if _KUBEPODS.search(oom_memcg) else "unknown"


def sniff_kernel_log(head: bytes) -> bool:
    """True when the first bytes of a file look like a kernel log (text, journal JSON, saved log query answer)."""
    if b'"involvedObject"' in head or b'"regarding"' in head:
        return False  # events quote kernel lines
    if _SNIFF.search(head):
        return True
    return len(_SNIFF_LINE.findall(head, 0, 65536)) >= 2
