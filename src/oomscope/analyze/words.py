"""The evidence of a candidate in sentences: every term of its score with the numbers and what they compare with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from oomscope.analyze.gate import netted
from oomscope.analyze.ledger import Ledger
from oomscope.analyze.pointers import memory_refs, open_refs
from oomscope.analyze.scores import finished_here
from oomscope.analyze.transient import LATE_END_S
from oomscope.analyze.words_memory import MEMORY_SPEAKERS, percent, small
from oomscope.report import Finding, Point
from oomscope.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from oomscope.analyze.case import Case
    from oomscope.analyze.gate import Candidate

    Speaker = Callable[[Case, Candidate, int, Ledger], Finding | None]

SILENT = ("prior",)
SHOWN_FROM = 0.05  # nats
SEEN_OFTEN = 3  # runs from which there is a usual duration
ALIKE = 1.5  # largest to median: less is no difference


def points(case: Case, candidate: Candidate, ledger: Ledger) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    """(for, against): every term that moved the score, heaviest first, each tied to a finding."""
    pro: list[Point] = []
    contra: list[Point] = []
    for name, weight in sorted(netted(candidate.terms).items(), key=lambda item: (-abs(item[1]), item[0])):
        speak = SPEAKERS.get(name)
        if name in SILENT or speak is None or abs(weight) < SHOWN_FROM:
            continue
        finding = (
            _no_one(case, candidate, name, ledger)
            if candidate.who is None
            else speak(case, candidate, candidate.who, ledger)
        )
        if finding is not None:
            point = Point(finding=finding.id, text=finding.text, weight=round(weight, 2))
            (pro if weight > 0 else contra).append(point)
    return tuple(pro), tuple(contra)


def _no_one(case: Case, candidate: Candidate, name: str, ledger: Ledger) -> Finding | None:
    if name in ("rise", "tight", "one_explains"):
        return SPEAKERS[name](case, candidate, -1, ledger)
    if name != "growth" or case.growth is None:
        return None
    if candidate.pattern == "undersized_limit":
        return ledger.add(
            "some endpoint's activity explains the growth better than warm-up alone", name="growth_fit"
        )
    fit = case.growth.done
    return ledger.add(
        f"memory grew with all traffic together: it accounts for {percent(fit.total_share)} of the growth",
        name="growth_with_traffic",
        value=fit.total_share,
        unit="share",
        evidence=memory_refs(case),
    )


def _count(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding:
    t = case.transient
    return ledger.add(
        f"{t.open[who]:.0f} in flight at the kill; {small(t.expected[who])} expected at a random moment",
        name="open_at_kill",
        value=float(t.open[who]),
        unit="requests",
        baseline=f"{small(t.expected[who])} by its rate and duration before ({case.base.count[who]:.0f} starts seen)",
        evidence=open_refs(case, who),
    )


def _age(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding | None:
    oldest = case.transient.oldest[who]
    if oldest <= 0:
        return None
    return ledger.add(
        f"the oldest had been running {format_seconds(oldest)}; {_usual(case, who)}",
        name="oldest_age",
        value=float(oldest),
        unit="s",
        baseline=_usual(case, who),
        evidence=open_refs(case, who),
    )


def _usual(case: Case, who: int) -> str:
    """How long a run takes; of one hardly seen before, what is expected of anything here."""
    seen = case.base.n[who] >= SEEN_OFTEN
    takes = format_seconds(float(np.exp(case.base.mu[who])))
    return f"it usually takes {takes}" if seen else f"{takes} would be usual here, it had hardly run before"


def _alone(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding | None:
    count, oldest = case.transient.open[who], case.transient.oldest[who]
    if oldest <= 0:
        return None
    return ledger.add(
        f"only {count:.0f} of its requests {'was' if count == 1 else 'were'} open: one long run, no pile",
        name="open_alone",
        value=float(count),
        unit="requests",
        evidence=open_refs(case, who),
    )


def _together(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding:
    count = float(case.transient.open[who] + case.queued[who])
    return ledger.add(
        f"{count:.0f} of its requests open or waiting at the kill: no crowd",
        name="open_together",
        value=count,
        unit="requests",
        evidence=open_refs(case, who),
    )


def _not_long(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding | None:
    oldest = case.transient.oldest[who]
    if oldest <= 0:
        return None
    return ledger.add(
        f"none had run long enough to fill the memory alone: the oldest for {format_seconds(oldest)}",
        name="not_long",
        value=float(oldest),
        unit="s",
        evidence=open_refs(case, who),
    )


def _arrivals(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding:
    t = case.transient
    return ledger.add(
        f"{t.arrivals.recent[who]:.0f} started in the last {format_seconds(float(t.arrivals.window[who]))};"
        f" {small(t.arrivals.expected[who])} expected by its rate before",
        name="arrivals",
        value=float(t.arrivals.recent[who]),
        unit="requests",
        baseline=f"{small(t.arrivals.expected[who])} in that time",
    )


def _no_burst(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding:
    arrivals = case.transient.arrivals
    more = float(arrivals.recent[who] - arrivals.expected[who])
    window = format_seconds(float(arrivals.window[who]))
    return ledger.add(
        f"no large burst: {small(more)} more than by its rate started in the last {window}"
        if more > 0
        else f"no burst: no more than by its rate started in the last {window}",
        name="no_burst",
        value=more,
        unit="requests",
        baseline=f"{small(arrivals.expected[who])} in that time",
    )


def _sent(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding:
    sizes = case.runs.sent[(case.runs.who == who) & ~np.isnan(case.runs.sent)]
    largest, usual = float(case.transient.sent_max[who]), float(np.median(sizes))
    median = f"its median is {format_bytes(usual)}"
    if largest < ALIKE * usual:  # all of them are large: others are what to compare with
        every = case.runs.sent[~np.isnan(case.runs.sent)]
        median = f"the median of all endpoints is {format_bytes(float(np.median(every)))}"
    return ledger.add(
        f"its largest finished response was {format_bytes(largest)}; {median}",
        name="largest_response",
        value=largest,
        unit="bytes",
        baseline=f"median {format_bytes(usual)} of {sizes.size}",
    )


def _received(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding | None:
    largest = case.transient.received_open[who]
    if np.isnan(largest):
        return ledger.add("no body size of its open requests is known", name="body_size", value=None)
    mine = (case.runs.who == who) & ~case.runs.open & ~np.isnan(case.runs.received)
    usual = float(np.median(case.runs.received[mine])) if mine.any() else float("nan")
    compare = f"; the median of finished ones is {format_bytes(usual)}" if mine.any() else ""
    return ledger.add(
        f"the largest request body in flight was {format_bytes(float(largest))}{compare}",
        name="body_size",
        value=float(largest),
        unit="bytes",
        evidence=open_refs(case, who),
        baseline=f"median {format_bytes(usual)} of {int(mine.sum())}" if mine.any() else None,
    )


def _allocs(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding:
    mine = case.runs.allocs[(case.runs.who == who) & ~np.isnan(case.runs.allocs)]
    return ledger.add(
        f"one of its finished requests allocated {mine.max():,.0f} objects; the median is {np.median(mine):,.0f}"
        " (a counter of the whole process)",
        name="allocations",
        value=float(mine.max()),
        unit="objects",
        baseline=f"median {np.median(mine):,.0f}",
    )


def _few(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding:
    return ledger.add(
        f"{case.transient.open[who]:.0f} of them were open together, not one alone",
        name="open_together",
        value=float(case.transient.open[who]),
        unit="requests",
        evidence=open_refs(case, who),
    )


def _same(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding:
    return ledger.add(
        f"its {case.transient.open[who]:.0f} open requests ask for the same thing, which is rare for it otherwise",
        name="same_input",
        value=float(case.transient.open[who]),
        unit="requests",
        evidence=open_refs(case, who),
    )


def _busy(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding:
    counts, _ = finished_here(case)
    runs, usual = float(counts[who]), float(np.median(counts))
    return ledger.add(
        f"it ran {runs:.0f} times in this life of the container; the median endpoint {usual:.0f} times",
        name="runs_before",
        value=runs,
        unit="requests",
        baseline=f"median {usual:.0f}",
    )


def _work(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding:
    _, took = finished_here(case)
    mine, usual = format_seconds(float(took[who])), format_seconds(float(np.median(took)))
    return ledger.add(
        f"its runs in this life of the container took {mine} together; the median endpoint's {usual}",
        name="time_taken",
        value=float(took[who]),
        unit="s",
        baseline=f"median {usual}",
    )


def _slow(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding | None:
    runs = case.runs
    late = (runs.who == who) & runs.dead & ~runs.open & (runs.end > -LATE_END_S)
    if not late.any():
        return None
    longest = float(runs.duration[late].max())
    return ledger.add(
        f"a run that ended just before took {format_seconds(longest)}; {_usual(case, who)}",
        name="slow_before", value=longest, unit="s", baseline=_usual(case, who),
    )  # fmt: skip


SPEAKERS: dict[str, Speaker] = {
    **MEMORY_SPEAKERS,
    "count": _count,
    "age": _age,
    "arrivals": _arrivals,
    "sent": _sent,
    "busy": _busy,
    "work": _work,
    "caught": _count,
    "same_input": _same,
    "alone": _alone,
    "no_burst": _no_burst,
    "no_body": _received,
    "not_long": _not_long,
    "received": _received,
    "allocs": _allocs,
    "few": _few,
    "slow": _slow,
    "together": _together,
}
