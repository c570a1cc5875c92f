"""The ordered steps: kills -> join -> in flight -> baseline -> scores -> probabilities -> refutation -> report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from oomscope import __version__
from oomscope.analyze.access_join import join
from oomscope.analyze.advice import make_actions
from oomscope.analyze.case import Case, measure
from oomscope.analyze.docs import (
    absent,
    gap_docs,
    job_docs,
    kill_doc,
    query_docs,
    rack_docs,
    request_docs,
    target_doc,
)
from oomscope.analyze.drawing import chart_doc, memory_doc
from oomscope.analyze.gate import Candidate, fuse
from oomscope.analyze.hypotheses import make_hypotheses
from oomscope.analyze.impact import make_impact, other_kills
from oomscope.analyze.in_flight import dead_stream
from oomscope.analyze.judge import WEAK_P
from oomscope.analyze.ledger import Ledger
from oomscope.analyze.missing import most_wanted
from oomscope.analyze.model import AnalyzeOptions, KillCase
from oomscope.analyze.patterns import four_patterns
from oomscope.analyze.recurrence import others_alone, pool, recurrence_doc
from oomscope.analyze.refute import doubt_beside_a_body, doubt_unstable, mass_balance, refutations
from oomscope.analyze.scores import score
from oomscope.analyze.stability import leak_rows
from oomscope.analyze.tables import coverage, endpoint_rows, timeline
from oomscope.analyze.verdict import choose_kill, find_kills
from oomscope.analyze.weights import load_weights
from oomscope.errors import NoKillFound
from oomscope.report import Cause, Report, Strength

if TYPE_CHECKING:
    from oomscope.evidence import Bundle
    from oomscope.facts import LogStream

MAX_RACK = 500
MAX_POOLED = 6  # kills looked at together
MAX_TOLD = 3  # of other kills, when they do not look like one cause
OOM = ("oom_limit", "oom_child")
TOOL = {"name": "oomscope", "version": __version__}


def investigate(bundle: Bundle, options: AnalyzeOptions | None = None) -> Report:
    """The report of the kill the bundle's target points at; other kills in the same bundle are evidence too."""
    kills, kill = _kills_of(bundle)
    cases = [prepare(bundle, kill)]
    others = _companions(kills, cases[0].kill)
    cases += [prepare(bundle, other) for other in others]
    return report_of(cases, _measured(kills, [kill, *others], cases), options or AnalyzeOptions())


def investigate_many(bundles: Sequence[Bundle], options: AnalyzeOptions | None = None) -> Report:
    """One report, about the newest kill, over the kills of all bundles. Bundles without a kill are left out.

    Raises ``errors.NoKillFound`` when no bundle holds one.
    """
    found: list[tuple[Bundle, list[KillCase], KillCase]] = []
    for bundle in bundles:
        try:
            found.append((bundle, *_kills_of(bundle)))
        except NoKillFound as error:
            missing = error
    if not found:
        raise missing if bundles else NoKillFound("no bundle given", slug="no-kill")
    found.sort(
        key=lambda item: (item[2].killed_at is not None, item[2].killed_at, item[2].pod_name), reverse=True
    )
    chosen = [kill for _, _, kill in found[:MAX_POOLED]]
    cases = [prepare(bundle, kill) for bundle, _, kill in found[:MAX_POOLED]]
    kills = [kill for _, those, _ in found for kill in those]
    return report_of(cases, _measured(kills, chosen, cases), options or AnalyzeOptions())


def _measured(kills: list[KillCase], chosen: Sequence[KillCase], cases: Sequence[Case]) -> list[KillCase]:
    """The kills, with the chosen ones as measuring left them (a sharper time, the stream that was found)."""
    sharper = {id(kill): case.kill for kill, case in zip(chosen, cases, strict=True)}
    return [sharper.get(id(kill), kill) for kill in kills]


def _kills_of(bundle: Bundle) -> tuple[list[KillCase], KillCase]:
    kills = list(find_kills(bundle))
    kill = choose_kill(kills, bundle.target)
    if kill is None:
        raise _no_kill(bundle, kills)
    if kill.killed_at is not None:
        return kills, kill
    if bundle.target.at is None:
        raise _no_time(kill)
    timed = replace(kill, killed_at=bundle.target.at)
    return [timed if one is kill else one for one in kills], timed


def _no_time(kill: KillCase) -> NoKillFound:
    return NoKillFound(
        "a kill was found, but nothing tells when it was",
        tried=kill.statement,
        likely="a kernel log that counts seconds since boot (dmesg without -T), and nothing beside it that has times",
        fix="save it with dmesg -T or journalctl -k, add the Pod JSON or the events, or give the time with --at",
        slug="kill-time",
    )


def _no_kill(bundle: Bundle, kills: Sequence[KillCase]) -> NoKillFound:
    others = ", ".join(sorted({f"{k.namespace or '?'}/{k.pod_name or '?'}" for k in kills})[:5])
    return NoKillFound(
        "no kill found for this target" if kills else "no kill found in the evidence",
        tried=f"the evidence tells of other pods: {others}" if kills else ", ".join(bundle.sources),
        likely="the termination is outside the window, or its objects were not given",
        fix="leave out --pod, or name one of those"
        if kills
        else "add the Pod JSON, the events or the kernel log",
        slug="no-kill",
    )


def _companions(kills: list[KillCase], kill: KillCase) -> list[KillCase]:
    """Other OOM kills of the same workload whose log is in the bundle, nearest in time first."""
    if kill.verdict not in OOM or kill.killed_at is None:
        return []
    at, near = kill.killed_at, []
    for other in kills:
        known = other.killed_at is not None and other.stream is not None and other.stream != kill.stream
        if (
            known
            and other.verdict in OOM
            and (other.workload, other.container) == (kill.workload, kill.container)
        ):
            near.append(other)
    near.sort(key=lambda o: (abs((o.killed_at or at) - at), o.pod_name or ""))
    return near[: MAX_POOLED - 1]


def _sharpened(kill: KillCase, stream: LogStream | None) -> KillCase:
    """Kubernetes gives whole seconds, cut off: a last log line within that second is nearer to the end."""
    at, last = kill.killed_at, stream.last_at if stream else None
    if at is None or last is None or kill.kernel or at.microsecond or kill.verdict == "oom_child":
        return kill
    return replace(kill, killed_at=last) if at < last < at + timedelta(seconds=1) else kill


def prepare(bundle: Bundle, kill: KillCase) -> Case:
    """Measure one kill of a bundle."""
    stream = dead_stream(bundle, kill)
    if stream is not None and kill.stream != stream.stream:
        kill = replace(kill, stream=stream.stream)
    kill = _sharpened(kill, stream)
    return measure(bundle, kill, join(bundle.requests, bundle.accesses, kill=kill, pods=bundle.pods))


def report_of(cases: list[Case], kills: list[KillCase], options: AnalyzeOptions) -> Report:
    """Judge the measurements (of the first case, the others as further evidence) and write them down."""
    case, ledger = cases[0], Ledger()
    weights = options.weights or load_weights()
    pooled = pool(cases, weights) if len(cases) > 1 else None
    apart = others_alone(pooled, cases, weights) if pooled is not None else []
    one_cause = pooled is not None and not pooled.alternating
    scores = pooled.scores if pooled is not None and one_cause else score(case, weights)
    candidates = fuse(scores, case, weights)
    ranked = [(c, case.strength(c)) for c in candidates]
    leak = pooled.leak if pooled is not None and one_cause else leak_rows(case.growth)
    ranked = doubt_beside_a_body(case, doubt_unstable(leak, ranked, ledger), ledger)
    ranked.sort(key=lambda item: case.cannot_test(item[0]))
    lead, word = ranked[0]
    against = {c.who: refutations(case, c, ledger) for c, _ in ranked[:8] if c.who is not None}
    hypotheses = make_hypotheses(case, ranked, against, ledger, pooled)
    mass_balance(case, lead, ledger)
    cause = _cause(case, ranked, apart if pooled and pooled.alternating else [])
    accused = lead if cause.hypothesis is not None else None  # no picture accuses where the report does not
    who = accused.who if accused is not None else None
    suspect = case.runs.names[who] if who is not None else None
    impact = make_impact(case, kills)
    if pooled is not None:
        impact["recurrence"] = recurrence_doc(pooled) | {"alone": apart}
    return Report(
        target=target_doc(case.kill), kill=kill_doc(case.kill), cause=cause,
        hypotheses=hypotheses,
        in_flight=request_docs(case, limit=options.max_in_flight_shown),
        rack_level=rack_docs(case, limit=MAX_RACK), jobs_in_flight=job_docs(case), impact=impact,
        actions=make_actions(case, lead, word), patterns=four_patterns(case, scores, candidates, ledger),
        endpoints=endpoint_rows(case, ranked), gaps=gap_docs((*case.bundle.gaps, *absent(case.bundle))),
        queries=query_docs(case.bundle.queries),
        coverage=coverage(case), timeline=timeline(case, kills),
        other_kills=other_kills(case, kills, suspect, cases[1:]),
        memory=memory_doc(case, accused), chart=chart_doc(case, who), findings=ledger.findings, tool=TOOL,
    )  # fmt: skip


def _cause(case: Case, ranked: list[tuple[Candidate, Strength]], apart: list[dict[str, Any]]) -> Cause:
    """The first of the ranked causes, if it may be named. ``apart``: what the other kills say, where they disagree."""
    lead, word = ranked[0]
    missing = None if word == "strong" else most_wanted(case, lead)
    why = _of_this_kill_alone(apart) if apart else None
    if word == "inconclusive" or case.cannot_test(lead):
        return Cause(
            hypothesis=None, strength="inconclusive", why=why or _why_not(case, ranked), missing=missing
        )
    return Cause(hypothesis="H1", strength=word, why=why, missing=missing)


def _of_this_kill_alone(apart: list[dict[str, Any]]) -> str:
    others = (
        f"{one['killed_at']}: {' of '.join(filter(None, (one['pattern'].replace('_', ' '), one['suspect'])))} "
        f"({one['strength']})"
        for one in apart[:MAX_TOLD]
    )
    return (
        f"the {len(apart) + 1} kills do not look like one cause; this is the answer for this kill alone. "
        f"On their own, the others: {'; '.join(others)}"
    )


def _why_not(case: Case, ranked: list[tuple[Candidate, Strength]]) -> str:
    names = [
        case.runs.names[c.who] if c.who is not None else c.pattern.replace("_", " ") for c, _ in ranked[:2]
    ]
    if ranked[0][0].probability >= WEAK_P:
        return f"{names[0]} is the likeliest, but hardly anything that was measured speaks for it"
    if len(names) == 2:
        return f"the evidence does not tell {names[0]} from {names[1]}, nor from several others"
    return "too little evidence to prefer any cause"
