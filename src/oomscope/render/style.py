"""How a report is to be shown. The caller decides; no renderer looks at the terminal, the clock or the environment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from oomscope.units import format_seconds


@dataclass(frozen=True, slots=True)
class Style:
    """``width`` in terminal cells; ``now`` gives ages (none are shown without it); ``tz`` the zone of shown times."""

    width: int = 80
    full: bool = False
    color: bool = False
    ascii_only: bool = False
    now: datetime | None = None
    tz: tzinfo | None = None
    show_params: bool = False

    def clock(self, at: datetime | None, *, day: bool | None = None, zone: bool = True) -> str:
        """``03:12:41 UTC``, with the date in front unless it is today's; ``-`` when unknown."""
        if at is None:
            return "-"
        local = at.astimezone(self.tz or UTC)
        with_day = (
            day
            if day is not None
            else self.now is None or self.now.astimezone(local.tzinfo).date() != local.date()
        )
        date = "" if not with_day else local.strftime("%Y-%m-%d ")
        return date + local.strftime("%H:%M:%S") + (f" {self.zone(local)}" if zone else "")

    def zone(self, local: datetime) -> str:
        """Name of the zone of shown times."""
        name = local.tzname() or ""
        return "UTC" if name in ("UTC", "") else name

    def age(self, at: datetime | None) -> str:
        """``14 min ago``; empty when the time or ``now`` is unknown, or lies ahead."""
        if at is None or self.now is None or self.now < at:
            return ""
        return f"{format_seconds((self.now - at).total_seconds())} ago"
