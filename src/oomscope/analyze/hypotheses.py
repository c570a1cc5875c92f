"""Candidates as the hypotheses of the report: statement, evidence for and against, what would settle it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomscope.analyze import contrast
from oomscope.analyze.judge import status_of
from oomscope.analyze.leak_traits import leaking_runs
from oomscope.analyze.ledger import Ledger
from oomscope.analyze.scores import finished_here
from oomscope.analyze.split import split_requests, with_waiting
from oomscope.analyze.words import points
from oomscope.report import Distinguishing, Hypothesis, Pattern, Point, Status, Strength, Suspect
from oomscope.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from oomscope.analyze.case import Case
    from oomscope.analyze.gate import Candidate
    from oomscope.analyze.recurrence import Pooled

MAX_HYPOTHESES, MIN_HYPOTHESES = 8, 3
SHOWN_FROM = 0.01

SAYS: dict[Pattern, str] = {
    "large_response": "{who} built a response too large for the memory left",
    "large_payload": "{who} received bodies too large for the memory left",
    "memory_leak": "{who} keeps memory after every run until the limit is reached",
    "concurrent_spike": "too many {who} at once: each is affordable, together they are not",
    "runaway_request": "one run of {who} grew until the limit was reached",
    "background_job": "the background job {who} took the memory",
    "undersized_limit": "the ordinary footprint of the app does not fit the limit; no single endpoint stands out",
    "node_pressure": "the node ran out of memory; the container's own limit was not the cause",
    "process_growth": "memory grows with all traffic (allocator, threads, caches); no single endpoint stands out",
    "not_oom": "the container was not killed for memory",
}
FROM_ALB = "(ALB access log)"
SETTLES: dict[Pattern, tuple[str, ...]] = {
    "large_response": (
        "the response sizes of the suspect (ALB access log)",
        "one suspect request replayed against a pod out of rotation, memory watched every second",
    ),
    "large_payload": ("the body sizes of the suspect (ALB access log)", "a body limit in front of the app"),
    "memory_leak": (
        "a second kill of the same image: the rows of the regression add up",
        "a heap dump (ObjectSpace) before and after a few hundred runs of the suspect",
    ),
    "concurrent_spike": ("the arrival rate of the suspect (ALB access log)", "memory with half the threads"),
    "runaway_request": (
        "the same request replayed against a pod out of rotation, memory watched every second",
    ),
    "background_job": ("the job run alone in a process of its own, memory watched every second",),
    "undersized_limit": ("the same traffic with a higher limit: does memory level off below it?",),
    "node_pressure": ("the node's memory and its other pods at that time",),
    "process_growth": ("the same traffic with jemalloc or fewer threads: does the growth stop?",),
    "not_oom": ("the exit reason in the kubelet's and the container runtime's log",),
}


def make_hypotheses(
    case: Case,
    ranked: list[tuple[Candidate, Strength]],
    refutations: dict[int, tuple[Point, ...]],
    ledger: Ledger,
    pooled: Pooled | None = None,
) -> tuple[Hypothesis, ...]:
    """The likeliest few, in order, with ids H1, H2 ..."""
    likely = [item for item in ranked if item[0].probability >= SHOWN_FROM][:MAX_HYPOTHESES]
    shown = likely if len(likely) >= MIN_HYPOTHESES else ranked[:MIN_HYPOTHESES]
    made = []
    for number, (candidate, word) in enumerate(shown, 1):
        extra = refutations.get(candidate.who, ()) if candidate.who is not None else ()
        made.append(
            _hypothesis(
                f"H{number}",
                case,
                candidate,
                word,
                (*extra, *_at_kills(case, candidate, pooled, ledger)),
                ledger,
            )
        )
    return tuple(made)


def _hypothesis(
    name: str, case: Case, candidate: Candidate, word: Strength, extra: tuple[Point, ...], ledger: Ledger
) -> Hypothesis:
    pro, contra = points(case, candidate, ledger)
    made = Hypothesis(
        id=name, pattern=candidate.pattern, status=_status(case, candidate, word), strength=word,
        probability=round(candidate.probability, 4), suspect=suspect_doc(case, candidate),
        statement=statement(case, candidate),
        against=tuple(sorted((*contra, *(p for p in extra if p.weight <= 0)), key=lambda p: (p.weight, p.text))),
        would_settle=_would_settle(case, candidate), distinguishing=distinguishing(case, candidate),
        score=_sum(candidate),
    )  # fmt: skip
    return made.model_copy(update={"for_": (*pro, *(p for p in extra if p.weight > 0))})


def _would_settle(case: Case, candidate: Candidate) -> tuple[str, ...]:
    """What has been read already settles nothing more."""
    read = case.bundle.accesses.height > 0
    return tuple(hint for hint in SETTLES[candidate.pattern] if not (read and FROM_ALB in hint))


def _status(case: Case, candidate: Candidate, word: Strength) -> Status:
    if case.cannot_test(candidate):
        return "untested"
    return status_of(candidate, word)


def _at_kills(case: Case, candidate: Candidate, pooled: Pooled | None, ledger: Ledger) -> tuple[Point, ...]:
    """At how many of the kills the suspect was open, against chance; goes with the term it explains."""
    if pooled is None or candidate.who is None:
        return ()
    name = case.runs.names[candidate.who]
    weight = round(candidate.terms.get("recurrence", 0.0), 2)
    if name not in pooled.hits:
        return _not_open_here(pooled, weight, ledger)
    hits, chance = pooled.hits[name]
    only = "only " if weight < 0 else ""
    text = f"in flight at {only}{hits} of {pooled.kills} kills; {chance:.2g} expected by chance"
    finding = ledger.add(
        text, name="open_at_kills", value=float(hits), unit="kills", baseline=f"{chance:.2g} by chance"
    )
    return (Point(finding=finding.id, text=text, weight=weight),)


def _not_open_here(pooled: Pooled, weight: float, ledger: Ledger) -> tuple[Point, ...]:
    """A suspect that was not in flight at this kill: only what the other kills add or take away is told."""
    if not weight:
        return ()
    text = f"the other {pooled.kills - 1} kills speak {'for' if weight > 0 else 'against'} it too"
    finding = ledger.add(text, name="other_kills", value=float(pooled.kills - 1), unit="kills")
    return (Point(finding=finding.id, text=text, weight=weight),)


def _sum(candidate: Candidate) -> dict[str, float]:
    terms = {name: round(value, 2) for name, value in sorted(candidate.terms.items()) if abs(value) >= 0.005}
    return {**terms, "total": round(candidate.score, 2)} if terms else {}


def suspect_doc(case: Case, candidate: Candidate) -> Suspect:
    """Endpoint with its usual method and path, job class, or nobody."""
    if candidate.who is None:
        return Suspect(kind="none")
    name = case.runs.names[candidate.who]
    also = collinear(case, candidate)
    if case.runs.is_job[candidate.who]:
        return Suspect(kind="job", endpoint=name, also=also)
    method, pattern = case.names.pattern(name)
    return Suspect(kind="endpoint", endpoint=name, method=method, path_pattern=pattern, also=also)


def collinear(case: Case, candidate: Candidate) -> tuple[str, ...]:
    """Endpoints whose activity rose and fell with the suspect's: the growth of a leak cannot tell them apart."""
    if candidate.pattern != "memory_leak" or case.growth is None or candidate.who is None:
        return ()
    return tuple(case.runs.names[i] for i in case.growth.twins.get(candidate.who, ()))


def label(case: Case, who: int) -> str:
    """``GET /path (Controller#action)`` as people know it."""
    name = case.runs.names[who]
    if case.runs.is_job[who]:
        return name
    method, pattern = case.names.pattern(name)
    return f"{method} {pattern} ({name})" if method and pattern and "#" in name else name


def statement(case: Case, candidate: Candidate) -> str:
    """One sentence, with the two numbers that matter most."""
    if candidate.pattern == "not_oom" and case.kill.instead:
        return f"{SAYS['not_oom']}: {case.kill.instead}"
    if candidate.who is None:
        return SAYS[candidate.pattern] + _footprint(case, candidate)
    who, t = candidate.who, case.transient
    said = SAYS[candidate.pattern].format(who=label(case, who))
    if candidate.pattern == "memory_leak" and case.growth is not None:
        each = format_bytes(float(case.growth.done.beta[who]))
        return f"{said}: about {each} a run over {case.growth.done.activity[who]:.0f} runs"
    if candidate.pattern == "memory_leak":
        return f"{said}: it ran {finished_here(case)[0][who]:.0f} times in this life of the container"
    if t.open[who] > 0:
        return (
            f"{said}: {t.open[who]:.0f} in flight at the kill, the oldest for {format_seconds(t.oldest[who])}"
        )
    return said


def _footprint(case: Case, candidate: Candidate) -> str:
    base, limit = case.memory.base_bytes, case.memory.limit_bytes
    if candidate.pattern != "undersized_limit" or base is None or not limit:
        return ""
    return f": {format_bytes(base)} of {format_bytes(limit)} was in use once booted"


def distinguishing(case: Case, candidate: Candidate) -> tuple[Distinguishing, ...]:
    """What sets the suspect's open (and long survived) requests apart from its ordinary ones; for a leak, the runs that
    memory grew with from the others: those that happen to be open are no worse.
    """
    if candidate.who is None or case.runs.is_job[candidate.who] or candidate.probability < 0.05:
        return ()
    if candidate.pattern == "memory_leak":
        return leaking_runs(case, candidate.who)
    bad, ordinary = split_requests(case, candidate.who)
    if bad.is_empty():
        return ()
    found = contrast.distinguish(bad, ordinary)
    open_ = int(case.transient.open[candidate.who])
    told = tuple(_counted(trait, open_, "as slow") for trait in found)
    if any(trait.p_value is not None for trait in found):
        return told
    more = with_waiting(case, candidate.who, bad)
    tested = contrast.distinguish(more, ordinary) if more.height > bad.height else ()
    return tuple(_counted(trait, open_, "waiting") for trait in tested if trait.p_value is not None) or told


def _counted(trait: Distinguishing, open_: int, rest: str) -> Distinguishing:
    """Says which requests those are that are more than were in flight."""
    if trait.of <= open_:
        return trait
    which = f"in flight or {rest}" if open_ else "slow ones" if rest == "as slow" else rest
    start = f"{trait.hits} of {trait.of} "
    return trait.model_copy(update={"text": trait.text.replace(start, f"{start}{which} ", 1)})
