"""What the course of the memory says for or against a candidate, in sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from oomscope.analyze.ledger import Ledger
from oomscope.analyze.memory import LATE_S
from oomscope.analyze.pointers import memory_refs
from oomscope.analyze.scores import grown_while_open
from oomscope.report import Finding
from oomscope.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from oomscope.analyze.case import Case
    from oomscope.analyze.gate import Candidate
    from oomscope.analyze.growth import Fit

    Speaker = Callable[[Case, Candidate, int, Ledger], Finding | None]


def small(value: float) -> str:
    """A number with two figures below a tenth, one place above."""
    return f"{value:.1f}" if value >= 0.1 else f"{value:.2g}"


def percent(share: float) -> str:
    """A share for people, at most 100 %."""
    return f"{100 * min(share, 1.0):.0f} %"


def _time(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding | None:
    share = grown_while_open(case)[who]
    if np.isnan(share):
        return ledger.add(
            "none of its requests was open at the kill",
            name="grown_while_open",
            value=0.0,
            unit="share",
        )
    return ledger.add(
        f"only {percent(float(share))} of the memory growth came while its open requests were running",
        name="grown_while_open",
        value=float(share),
        unit="share",
        evidence=memory_refs(case),
    )


def _growth(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding | None:
    """For: how much of the growth its activity accounts for. Against: others' activity, or all traffic, fits better."""
    if case.growth is None:
        return ledger.add(
            "no memory samples of the dead container to hold its activity against", name="growth", value=None
        )
    fit, unit, each = _best_fit(case, candidate, who)
    against = candidate.terms.get("growth", 0.0) < 0
    return ledger.add(
        f"memory followed other activity better than its own ({unit})"
        if against
        else f"memory grew while it was active: {format_bytes(fit.beta[who])} {each} accounts for"
        f" {percent(float(fit.share[who]))} of the growth",
        name="growth_fit" if against else "growth_share",
        value=float(fit.ll[who]) if against else float(fit.share[who]),
        unit="nats" if against else "share",
        baseline=f"all traffic together: {percent(fit.total_share)}; log-likelihood gain {fit.ll[who]:.1f} over"
        f" {fit.rows} intervals ({unit})",
        evidence=memory_refs(case),
    )


def _share(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding | None:
    if case.growth is None:
        return None
    fit, unit, each = _best_fit(case, candidate, who)
    share = percent(float(fit.share[who]))
    return ledger.add(
        f"its activity accounts for only {share} of the growth: {format_bytes(fit.beta[who])} {each}",
        name="growth_share",
        value=float(fit.share[who]),
        unit="share",
        baseline=f"all traffic together: {percent(fit.total_share)}; log-likelihood gain {fit.ll[who]:.1f} over"
        f" {fit.rows} intervals ({unit})",
        evidence=memory_refs(case),
    )


def _best_fit(case: Case, candidate: Candidate, who: int) -> tuple[Fit, str, str]:
    growth = case.growth
    assert growth is not None  # noqa: S101 - the caller has looked
    fits = {
        "memory_leak": [(growth.done, "completions", "a completed run")],
        "concurrent_spike": [
            (growth.starts, "starts", "a start"),
            (growth.seconds, "seconds", "a second of running"),
        ],
    }
    fits["large_payload"] = fits["concurrent_spike"]
    held = [(growth.seconds, "seconds", "a second of running")]
    if candidate.pattern == "background_job":
        held = [*held, *fits["memory_leak"]]
    return max(fits.get(candidate.pattern, held), key=lambda item: float(item[0].ll[who]))


def _rise(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding | None:
    ratio, window = case.memory.last_rise, case.memory.rise_window_s
    if ratio is None or window is None:
        return None
    jump = "memory jumped at the end" if ratio > 1 else "memory did not jump at the end"
    return ledger.add(
        f"{jump}: the last {format_seconds(window)} added {small(ratio)} times the largest usual rise in such a time",
        name="last_rise",
        value=float(ratio),
        unit="times",
        evidence=memory_refs(case),
    )


def _sudden(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding | None:
    ratio = case.memory.late_rise
    if ratio is None:
        return None
    much = "little more than" if ratio >= 1 else "no more than"
    return ledger.add(
        f"the last {format_seconds(LATE_S)} rose {much} usual: {small(ratio)} times the largest rise in such a time",
        name="late_rise",
        value=float(ratio),
        unit="times",
        evidence=memory_refs(case),
    )


def _tight(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding | None:
    share = case.memory.early_share
    if share is None:
        return None
    return ledger.add(
        f"memory was at {percent(share)} of the limit early in the life of the container",
        name="early_share",
        value=float(share),
        unit="share",
        evidence=memory_refs(case),
    )


def _one_explains(case: Case, candidate: Candidate, who: int, ledger: Ledger) -> Finding | None:
    if case.growth is None:
        return None
    fit = case.growth.done
    best = float(fit.ll.max(initial=0.0))
    return ledger.add(
        "one endpoint alone explains the growth about as well as all traffic together",
        name="one_explains", value=best, unit="nats", baseline=f"all traffic together: {fit.total_ll:.1f} nats",
    )  # fmt: skip


MEMORY_SPEAKERS: dict[str, Speaker] = {
    "time": _time,
    "growth": _growth,
    "share": _share,
    "rise": _rise,
    "sudden": _sudden,
    "tight": _tight,
    "one_explains": _one_explains,
}
