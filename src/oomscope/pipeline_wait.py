"""Waiting for evidence that is still on its way: log lines of the last minute, ALB files of the last ten."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from oomscope.sources.interface import Fragment


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Waiting:
    """Waits for what will be there within ``seconds``; what takes longer is not begun to be waited for.

    ``again`` asks the sources of these numbers once more and renews their answers.
    """

    seconds: float
    tell: Callable[[str], None]
    note: Callable[[str], None]
    again: Callable[[Sequence[int], datetime], None]
    now: Callable[[], datetime] = field(default=_now)
    sleep: Callable[[float], None] = field(default=time.sleep)

    def run(self, answers: Mapping[int, Fragment]) -> None:
        """Return when nothing that can be waited for is missing. Ctrl-C ends the waiting, not the investigation."""
        if not self.seconds:
            return
        until = self.now() + timedelta(seconds=self.seconds)
        told: set[datetime] = set()
        try:
            while late := {n: a for n, a in answers.items() if a.due and a.due <= until}:
                last = max(a.due for a in late.values() if a.due)
                if last not in told:
                    told.add(last)
                    self.note(f"waiting until {last:%H:%M:%S} UTC for {_names(late)}; Ctrl-C reports now")
                self._wait_and_ask(late, last)
        except KeyboardInterrupt:
            self.note("not waiting any longer")

    def _wait_and_ask(self, late: Mapping[int, Fragment], last: datetime) -> None:
        at = {number: self._next_look(answer) for number, answer in late.items()}
        self._sleep_until(min(at.values()), last, _names(late))
        now = self.now()
        self.again([number for number, look in at.items() if look <= now], now)

    def _next_look(self, answer: Fragment) -> datetime:
        due = answer.due or self.now()
        return min(due, self.now() + answer.look_every) if answer.look_every else due

    def _sleep_until(self, at: datetime, last: datetime, what: str) -> None:
        while (left := (at - self.now()).total_seconds()) > 0:
            seconds = int((last - self.now()).total_seconds())
            self.tell(f"waiting {seconds // 60}:{seconds % 60:02d} for {what}")
            self.sleep(min(1.0, left))


NAMES = {"app_log": "the application log", "alb": "the load balancer's log"}


def _names(late: Mapping[int, Fragment]) -> str:
    kinds = {gap.source for answer in late.values() for gap in answer.gaps if gap.reason == "not_yet"}
    return " and ".join(NAMES.get(kind, kind) for kind in sorted(kinds)) or "late evidence"
