"""Waiting for late evidence: how long, for what, and that the second look counts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from oomscope.facts import Gap
from oomscope.pipeline_live import State
from oomscope.pipeline_wait import Waiting
from oomscope.sources.interface import Fragment

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def late(seconds: float, source: str = "app_log", every: float | None = None) -> Fragment:
    gap = Gap(source, "not_yet", "on its way")
    look = timedelta(seconds=every) if every else None
    return Fragment(gaps=[gap], due=NOON + timedelta(seconds=seconds), look_every=look)


class Clock:
    """Time passes only while somebody sleeps."""

    def __init__(self, interrupt_after: float | None = None) -> None:
        self.at, self.interrupt_after = NOON, interrupt_after
        self.told: list[str] = []
        self.notes: list[str] = []
        self.asked: list[tuple[float, list[int]]] = []
        self.state = State()
        self.renewed: dict[int, list[Fragment]] = {}

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        if self.interrupt_after is not None and self.passed >= self.interrupt_after:
            raise KeyboardInterrupt

    @property
    def passed(self) -> float:
        return (self.at - NOON).total_seconds()

    def again(self, numbers: Sequence[int], now: datetime) -> None:
        assert now == self.at
        self.asked.append((self.passed, list(numbers)))
        for number in numbers:
            answers = self.renewed.get(number)
            self.state.answers[number] = answers.pop(0) if answers else Fragment()

    def wait(self, seconds: float, *answers: Fragment) -> None:
        self.state.answers = dict(enumerate(answers))
        Waiting(seconds, self.told.append, self.notes.append, self.again, lambda: self.at, self.sleep).run(
            self.state.answers
        )


def test_only_what_is_late_is_asked_again_when_it_is_due() -> None:
    clock = Clock()
    clock.wait(120, Fragment(), late(70), late(100, "alb"))
    assert clock.asked == [(70, [1]), (100, [2])]
    assert clock.notes == [
        "waiting until 12:01:40 UTC for the load balancer's log and the application log; Ctrl-C reports now"
    ]
    assert clock.told[0] == "waiting 1:40 for the load balancer's log and the application log"


@pytest.mark.parametrize("seconds", [0, 60])
def test_what_takes_longer_than_allowed_is_not_waited_for(seconds: float) -> None:
    clock = Clock()
    clock.wait(seconds, late(70))
    assert (clock.asked, clock.notes, clock.passed) == ([], [], 0)


def test_what_may_come_early_is_looked_for_in_between() -> None:
    clock = Clock()
    clock.renewed = {0: [late(600, "alb", every=60)]}
    clock.wait(900, late(600, "alb", every=60))
    assert clock.asked == [(60, [0]), (120, [0])]


def test_a_source_that_puts_it_off_again_is_waited_for_only_as_long_as_allowed() -> None:
    clock = Clock()
    clock.renewed = {0: [late(90), late(500)]}
    clock.wait(120, late(60))
    assert [passed for passed, _ in clock.asked] == [60, 90]


def test_ctrl_c_ends_the_waiting_only() -> None:
    clock = Clock(interrupt_after=10)
    clock.wait(120, late(60))
    assert clock.asked == []
    assert clock.notes[-1] == "not waiting any longer"


def test_a_second_look_that_fails_does_not_take_away_what_was_there() -> None:
    state = State()
    first = Fragment(sources=["app_log"], gaps=[Gap("app_log", "not_yet", "x")], due=NOON)
    state.keep(0, first)
    state.keep(0, Fragment(gaps=[Gap("app_log", "timed_out", "y")]))
    assert state.answers[0].sources == ["app_log"]
    assert state.answers[0].due is None
    better = Fragment(sources=["app_log", "kernel_log"])
    state.keep(0, better)
    assert state.answers[0] is better
