"""Counters of one stream, and its clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, tzinfo

from oomscope.logs.clock import second_epoch, zone_seconds
from oomscope.logs.rails_text import parse_started
from oomscope.logs.shape import Head, is_lifecycle, split_head

LATE_US = 1_500_000  # a line that reached the runtime this long after it was written was buffered
_ZONE_STEP_S = 900


@dataclass(slots=True)
class Tally:
    """What was read and understood. Times in microseconds since 1970."""

    lines: int = 0
    recognised: int = 0
    bytes: int = 0
    exceptions: int = 0
    completions: int = 0
    swallowed: int = 0
    semantic: int = 0
    dated: int = 0  # lines that have a time of their own
    timed: int = 0  # lines with both the logger's and the runtime's time
    late: int = 0
    undated: int = 0  # logger times that could not be used because their zone is unknown
    first_at: int | None = None
    last_at: int | None = None

    def saw(self, at: int | None) -> None:
        """Something happened at this time."""
        if at is None:
            return
        if self.first_at is None or at < self.first_at:
            self.first_at = at
        if self.last_at is None or at > self.last_at:
            self.last_at = at


class LineClock:
    """The time of each line: the logger's own, the envelope's, or the last one known."""

    def __init__(self, tally: Tally, tz: tzinfo | None) -> None:
        self.offset_s: int | None = None  # of the logger's own times, seconds east of UTC
        self.now: int | None = None
        self.dated = True  # the last line had a time of its own
        self._tally = tally
        self._tz = tz

    def learn_zone(self, lines: Iterable[tuple[str, int | None, int]]) -> None:
        """The zone of the logger's times: a Started line tells it, else the envelope's clock, else the user."""
        if self.offset_s is not None:
            return
        for text, at, _ in lines:
            head = split_head(text)
            found = parse_started(text[head.start :]) if is_lifecycle(text, head.start) else None
            if found:
                self.offset_s = zone_seconds(found.zone)
                return
            if head.second is not None:
                self._guess(head.second, at)
                if at is not None:
                    return

    def _guess(self, second: str, at: int | None) -> None:
        seconds = second_epoch(second)
        if seconds is None:
            return
        if at is not None:
            self.offset_s = round((seconds - at / 1e6) / _ZONE_STEP_S) * _ZONE_STEP_S
        elif self._tz is not None:
            offset = self._tz.utcoffset(datetime.fromisoformat(second))
            self.offset_s = int(offset.total_seconds()) if offset is not None else None

    def own(self, head: Head) -> int | None:
        """The time in the prefix of a line."""
        seconds = second_epoch(head.second) if head.second is not None else None
        if seconds is None or self.offset_s is None:
            return None
        return (seconds - self.offset_s) * 1_000_000 + head.micros

    def when(self, head: Head, at: int | None) -> int | None:
        """The best time known for a line with this head and this envelope time."""
        if head.second is not None:
            own = self.own(head)
            if own is not None:
                if at is not None:
                    self._tally.timed += 1
                    self._tally.late += at - own > LATE_US
                self.now, self.dated = own, True
                self._tally.dated += 1
                self._tally.saw(own)
                return own
            self._tally.undated += at is None
        if at is None:
            self.dated = False
            return self.now
        self.now, self.dated = at, True
        self._tally.dated += 1
        self._tally.saw(at)
        return at

    def start(self, second: str, zone: str, when: int | None) -> int | None:
        """The time of a Started line, whose text has a second and a zone: better than nothing, and it sets the zone."""
        offset, seconds = zone_seconds(zone), second_epoch(second)
        if offset is None or seconds is None:
            return when
        self.offset_s = offset
        if self.dated:
            return when
        self.now = max(self.now or 0, (seconds - offset) * 1_000_000)
        self._tally.saw(self.now)
        return (seconds - offset) * 1_000_000
