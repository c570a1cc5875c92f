"""Refutation before accusation: what should not be so if the suspect were guilty. Shown under "against"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from oomscope.analyze.judge import IN_FLIGHT, MODERATE_KIND
from oomscope.analyze.ledger import Ledger
from oomscope.analyze.stability import RESAMPLES, LeakRows, stability
from oomscope.report import Point, Strength
from oomscope.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from oomscope.analyze.case import Case
    from oomscope.analyze.gate import Candidate


STABLE, MOST = 0.9, 0.6


def refutations(case: Case, candidate: Candidate, ledger: Ledger) -> tuple[Point, ...]:
    """Every test that speaks against this suspect; the weight is what the score already paid for it (0: shown only)."""
    if candidate.who is None:
        return ()
    tests = (_answered, _harmless_elsewhere, _common_burst, _stalled)
    found = [test(case, candidate, candidate.who, ledger) for test in tests]
    return tuple(point for point in found if point is not None)


def _point(ledger: Ledger, text: str, name: str, value: float | None = None, unit: str = "") -> Point:
    finding = ledger.add(text, name=name, value=value, unit=unit)
    return Point(finding=finding.id, text=text, weight=0.0)


def _answered(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Point | None:
    """The ALB answered some with 2xx before the kill: their log lines are lost, they were not open."""
    flight = case.flight.requests.filter(pl.col("endpoint") == case.runs.names[who])
    if flight.is_empty() or case.kill.killed_at is None:
        return None
    done = flight.filter(
        pl.col("access_status").is_between(200, 399) & (pl.col("access_time") < case.kill.killed_at)
    ).height
    if not done:
        return None
    return _point(
        ledger, f"{done} of its {flight.height} open requests were answered at the load balancer before the kill",
        "answered_before_kill", float(done), "requests",
    )  # fmt: skip


def _harmless_elsewhere(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Point | None:
    """Runs as long as the oldest open one finished without a kill, here before or on other pods.

    Nothing against a spike, where no single run is at fault, nor against a leak, which all runs feed."""
    oldest = case.transient.oldest[who]
    if oldest <= 0 or candidate.pattern in ("concurrent_spike", "memory_leak"):
        return None
    runs = case.runs
    survived = int(((runs.who == who) & ~runs.open & (runs.duration >= oldest)).sum())
    if not survived:
        return None
    total = int(((runs.who == who) & ~np.isnan(runs.end)).sum())
    return _point(
        ledger, f"{survived} of its {total} finished runs took {format_seconds(oldest)} or longer and killed nothing",
        "survived_as_long", float(survived), "requests",
    )  # fmt: skip


def _common_burst(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Point | None:
    """All endpoints got busier together: a burst of traffic, not of this endpoint."""
    if candidate.pattern != "concurrent_spike":
        return None
    t = case.transient
    others = np.arange(case.runs.n) != who
    ratio = float(t.traffic.recent[others].sum() / max(float(t.traffic.expected[others].sum()), 1e-9))
    if ratio < 2.0:
        return None
    return _point(
        ledger,
        f"all other endpoints were {ratio:.1f} times as frequent as before too",
        "common_burst",
        ratio,
        "times",
    )


def _stalled(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Point | None:
    """Everything was slow just before death: age says less then."""
    stall = float(case.base.stall_e[who])
    if stall < 2.0 or "age" not in candidate.terms:
        return None
    return _point(
        ledger, f"everything that finished in the last seconds took {stall:.1f} times as long as usual", "stall", stall,
        "times",
    )  # fmt: skip


def doubt_unstable(
    leak: LeakRows | None, ranked: list[tuple[Candidate, Strength]], ledger: Ledger
) -> list[tuple[Candidate, Strength]]:
    """A leak is not accused (at most ``weak``) when resampling the memory rows often names another endpoint, or when
    its completions account for less than three fifths of the growth."""
    lead, word = ranked[0]
    if lead.pattern != "memory_leak" or lead.who is None or leak is None or word in ("weak", "inconclusive"):
        return ranked
    share = float(stability(leak)[lead.who])
    ledger.add(
        f"{round(share * RESAMPLES)} of {RESAMPLES} resamples of the memory samples name it too", name="stability",
        value=share, unit="share", baseline=f"accused from {STABLE:.0%}",
    )  # fmt: skip
    sure = share >= STABLE and leak.fit.share[lead.who] >= MOST
    return ranked if sure else [(lead, "weak"), *ranked[1:]]


def doubt_beside_a_body(
    case: Case, ranked: list[tuple[Candidate, Strength]], ledger: Ledger
) -> list[tuple[Candidate, Strength]]:
    """A word less for an endpoint while another one has, or just had, a body far beyond its usual: that is one of the
    few direct measurements of what fills a memory."""
    lead, word = ranked[0]
    if lead.pattern not in IN_FLIGHT or lead.who is None or word not in ("strong", "moderate"):
        return ranked
    for rival, _ in ranked[1:]:
        if (
            rival.who is not None
            and rival.who != lead.who
            and rival.terms.get("received", 0.0) >= MODERATE_KIND
        ):
            ledger.add(
                f"{case.runs.names[rival.who]} had a body far larger than usual: another endpoint is less sure",
                name="rival_body", value=float(case.transient.received_open[rival.who]), unit="bytes",
            )  # fmt: skip
            return [(lead, "moderate" if word == "strong" else "weak"), *ranked[1:]]
    return ranked


def mass_balance(case: Case, candidate: Candidate | None, ledger: Ledger) -> None:
    """What must have come since the last sample, and what that is per open request of the suspect. Always noted."""
    m = case.memory
    if m.dead is None or m.missing_bytes is None or m.blind_s is None:
        return
    text = f"{format_bytes(m.missing_bytes)} were still free {format_seconds(m.blind_s)} before the kill"
    if candidate is not None and candidate.who is not None and case.transient.open[candidate.who] > 0:
        open_ = float(case.transient.open[candidate.who])
        text += (
            f": {format_bytes(m.missing_bytes / open_)} for each of the suspect's {open_:.0f} open requests"
        )
    ledger.add(text, name="mass_balance", value=float(m.missing_bytes), unit="bytes")
