"""The ordered steps: kills -> join -> in flight -> baseline -> scores -> probabilities -> refutation -> report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from oomscope import __version__
from oomscope.analyze.access_join import join
from oomscope.analyze.advice import make_actions
from oomscope.analyze.case import Case, measure
from oomscope.analyze.docs import (
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
from oomscope.analyze.judge import strength_of
from oomscope.analyze.ledger import Ledger
from oomscope.analyze.missing import most_wanted
from oomscope.analyze.model import AnalyzeOptions, KillCase
from oomscope.analyze.patterns import four_patterns
from oomscope.analyze.refute import mass_balance, refutations
from oomscope.analyze.scores import score
from oomscope.analyze.tables import coverage, endpoint_rows, timeline
from oomscope.analyze.verdict import choose_kill, find_kills
from oomscope.analyze.weights import load_weights
from oomscope.errors import NoKillFound
from oomscope.report import Cause, Report, Strength

if TYPE_CHECKING:
    from oomscope.evidence import Bundle

MAX_RACK = 500
TOOL = {"name": "oomscope", "version": __version__}


def investigate(bundle: Bundle, options: AnalyzeOptions | None = None) -> Report:
    """The report of the kill the bundle's target points at (the newest OOM kill when it points at none).

    Raises ``errors.NoKillFound`` when nothing in the evidence was terminated.
    """
    options = options or AnalyzeOptions()
    kills = find_kills(bundle)
    kill = choose_kill(kills, bundle.target)
    if kill is None:
        raise _no_kill(bundle, kills)
    return report_of(prepare(bundle, kill), list(kills), options)


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


def prepare(bundle: Bundle, kill: KillCase) -> Case:
    """Measure one kill of a bundle."""
    stream = dead_stream(bundle, kill)
    if stream is not None and kill.stream != stream.stream:
        kill = replace(kill, stream=stream.stream)
    return measure(bundle, kill, join(bundle.requests, bundle.accesses, kill=kill, pods=bundle.pods))


def report_of(case: Case, kills: list[KillCase], options: AnalyzeOptions) -> Report:
    """Judge the measurements and write them down."""
    ledger = Ledger()
    weights = load_weights()
    scores = score(case, weights)
    candidates = fuse(scores, case, weights)
    ranked = [(c, strength_of(c, case.kill.verdict)) for c in candidates]
    lead, word = ranked[0]
    against = {c.who: refutations(case, c, ledger) for c, _ in ranked[:8] if c.who is not None}
    hypotheses = make_hypotheses(case, ranked, against, ledger)
    mass_balance(case, lead, ledger)
    suspect = case.runs.names[lead.who] if lead.who is not None else None
    return Report(
        target=target_doc(case.kill), kill=kill_doc(case.kill), cause=_cause(case, ranked),
        hypotheses=hypotheses,
        in_flight=request_docs(case, show_params=options.show_params, limit=options.max_in_flight_shown),
        rack_level=rack_docs(case, limit=MAX_RACK), jobs_in_flight=job_docs(case), impact=make_impact(case, kills),
        actions=make_actions(case, lead, word), patterns=four_patterns(case, scores, candidates, ledger),
        endpoints=endpoint_rows(case, ranked), gaps=gap_docs(case.bundle.gaps), queries=query_docs(case.bundle.queries),
        coverage=coverage(case), other_kills=other_kills(case, kills, suspect), timeline=timeline(case, kills),
        memory=memory_doc(case, lead), chart=chart_doc(case, lead), findings=ledger.findings, tool=TOOL,
    )  # fmt: skip


def _cause(case: Case, ranked: list[tuple[Candidate, Strength]]) -> Cause:
    lead, word = ranked[0]
    missing = None if word == "strong" else most_wanted(case, lead)
    if word == "inconclusive":
        return Cause(hypothesis=None, strength=word, why=_why_not(case, ranked), missing=missing)
    return Cause(hypothesis="H1", strength=word, missing=missing)


def _why_not(case: Case, ranked: list[tuple[Candidate, Strength]]) -> str:
    names = [
        case.runs.names[c.who] if c.who is not None else c.pattern.replace("_", " ") for c, _ in ranked[:2]
    ]
    if len(names) == 2:
        return f"the evidence does not tell {names[0]} from {names[1]}, nor from several others"
    return "too little evidence to prefer any cause"


def investigate_many(bundles: Sequence[Bundle], options: AnalyzeOptions | None = None) -> Report:
    """One report over several kills of one workload."""
    from oomscope.analyze.recurrence import pooled_report

    return pooled_report(bundles, options or AnalyzeOptions())
