"""One list of kills out of several kernel logs of the same time: twins joined, clock times spread. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from oomscope.facts import OomKill
from oomscope.units import from_epoch


def merge(kills: Iterable[OomKill]) -> tuple[OomKill, ...]:
    """The same kill seen in several logs becomes one; wall time spreads by the offset between clock and boot.

    A kill that only says seconds since boot gets its wall time from its twin in another log, else from the offset of
    its host (or the only offset there is). Several boots of a host, or several hosts, give no offset: better no time
    than a wrong one.
    """
    by_pid: dict[int, list[OomKill]] = {}
    for kill in kills:
        group = by_pid.setdefault(kill.pid, [])
        for index, known in enumerate(group):
            if _same(known, kill):
                group[index] = _joined(known, kill)
                break
        else:
            group.append(kill)
    merged = [kill for group in by_pid.values() for kill in group]
    offsets = _offsets(merged)
    merged = [_with_offset(kill, offsets) for kill in merged]
    return tuple(
        sorted(merged, key=lambda k: (k.at is None, k.at and k.at.timestamp(), k.uptime_s or 0.0, k.pid))
    )


def _same(a: OomKill, b: OomKill) -> bool:
    pairs = (
        (a.task_memcg, b.task_memcg),
        (a.anon_rss_bytes, b.anon_rss_bytes),
        (a.comm or None, b.comm or None),
        (_short(a.host), _short(b.host)),
    )
    if any(x is not None and y is not None and x != y for x, y in pairs):
        return False
    if a.at and b.at and abs(a.at - b.at) > timedelta(seconds=5):
        return False
    if a.uptime_s is not None and b.uptime_s is not None and abs(a.uptime_s - b.uptime_s) > 1:
        return False
    return a.anon_rss_bytes is not None or a.task_memcg is not None


def _short(host: str | None) -> str | None:
    return host.split(".")[0] if host else None


def _joined(a: OomKill, b: OomKill) -> OomKill:
    """All that either log knows; the one with wall time leads."""
    first, second = (b, a) if a.at is None and b.at is not None else (a, b)
    names = set(OomKill.__dataclass_fields__) - {"raw", "source"}
    filled = {
        name: getattr(second, name)
        for name in names
        if getattr(first, name) in (None, (), False, "unknown", "") and getattr(second, name) is not None
    }
    source = (
        first.source
        if first.source == second.source
        else ", ".join(filter(None, (first.source, second.source)))
    )
    return replace(first, **filled, raw=max(first.raw, second.raw, key=len), source=source)


def _offsets(kills: list[OomKill]) -> dict[str | None, float | None]:
    """Seconds from boot to epoch of each host; None where kills of one host disagree (it was rebooted)."""
    found: dict[str | None, float | None] = {}
    for kill in kills:
        if kill.at is None or kill.uptime_s is None:
            continue
        offset = kill.at.timestamp() - kill.uptime_s
        for host in (_short(kill.host), "*"):
            known = found.setdefault(host, offset)
            if known is not None and abs(known - offset) > 5:
                found[host] = None
    return found


def _with_offset(kill: OomKill, offsets: dict[str | None, float | None]) -> OomKill:
    if kill.at is not None or kill.uptime_s is None:
        return kill
    host = _short(kill.host)
    offset = offsets.get(host) if host in offsets else offsets.get("*") if host is None else None
    if offset is None:
        return kill
    return replace(kill, at=from_epoch(offset + kill.uptime_s))
