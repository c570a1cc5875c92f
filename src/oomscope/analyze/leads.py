"""Leads: what too few requests to test still show. Named as leads, without a p-value."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import polars as pl

from oomscope.analyze.statements import (
    OUTSIZED,
    Form,
    Trait,
    is_a_value,
    known_rows,
    number_of,
    plainness,
    rows_with,
)
from oomscope.analyze.traits import (
    ABSENT,
    MIN_ORDINARY,
    SURVIVED_FACTOR,
    Columns,
    Feature,
    Value,
    only_running,
    outliving,
    read_traits,
)

LEAD_CHANCE = 0.2  # that ordinary requests would show what the bad ones do, times the features looked at
LONE_REQUESTS = 3  # up to this many suspects, what nobody else asked for is a lead
# Times the usual duration, and of the age of those in flight: bad, but survived.
LONG_FACTOR, LONG_SHARE = 3.0, 0.5
ASKED = ("param", "path_id")


def leads(suspect: pl.DataFrame, ordinary: pl.DataFrame, limit: int) -> list[Trait]:
    """What every request that ran long asked for and no short one did, where chance hardly explains it; a body several
    times larger than any ordinary one; else, for a few requests that outlived all others, what nobody else asked for.
    """
    bad, good = _parted(suspect, ordinary)
    columns = read_traits(bad, good)
    if bad.is_empty():
        return next((found for parts in _slower(suspect, ordinary) if (found := _alike(*parts))), [])[:limit]
    if good.height < MIN_ORDINARY:
        return (_parting(columns) or _shared(columns))[:limit]
    outsized = [trait for feature, values in columns.items() for trait in _outsized(feature, *values)]
    return outsized[:1] or _parting(columns)[:limit] or _own_values(*outliving(suspect, ordinary), limit)


def _parted(suspect: pl.DataFrame, ordinary: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Requests that run, or ran, many times longer than the usual one, and those that ended soon.

    Young ones in flight are in neither: they may yet be bad. Without ages or durations: the tables as they are.
    """
    running, rest = only_running(suspect, ordinary)
    if "age_s" not in running.columns or "duration_ms" not in rest.columns:
        return running, rest
    usual = rest["duration_ms"].quantile(0.25, interpolation="lower")
    if usual is None or running["age_s"].null_count():
        return running, rest
    old = running.filter(pl.col("age_s") * 1e3 >= SURVIVED_FACTOR * usual)
    age = old["age_s"].median()
    if not isinstance(age, float):
        return old, rest
    long = pl.col("duration_ms") >= max(LONG_FACTOR * usual, LONG_SHARE * age * 1e3)
    long = long.fill_null(False)
    return pl.concat([old, rest.filter(long)], how="diagonal_relaxed"), rest.filter(~long)


def _slower(suspect: pl.DataFrame, ordinary: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Where nothing in flight was much older than usual, the bad ones may be what is usual here, or the usual be slow:
    all in flight with those that ended after much longer than usual, then with those that took half as long as these.
    """
    running, rest = only_running(suspect, ordinary)
    if "age_s" not in running.columns or "duration_ms" not in rest.columns:
        return
    usual, age = rest["duration_ms"].quantile(0.25, interpolation="lower"), running["age_s"].median()
    if usual is None or not isinstance(age, float):
        return
    half = LONG_SHARE * age * 1e3
    for least in (max(LONG_FACTOR * usual, half), half):
        long = (pl.col("duration_ms") >= least).fill_null(False)
        yield pl.concat([running, rest.filter(long)], how="diagonal_relaxed"), rest.filter(~long)


def _alike(bad: pl.DataFrame, good: pl.DataFrame) -> list[Trait]:
    """The same statements, where drawing the line anywhere else would hardly part them as well."""
    columns = read_traits(bad, good)
    asked = sum(feature.kind in ASKED for feature in columns)
    chance = asked / math.comb(bad.height + good.height, bad.height)
    return _parting(columns) if good.height and chance <= LEAD_CHANCE else []


def _shared(columns: Columns) -> list[Trait]:
    """Hardly anything to compare with: what all bad requests asked for and no other did, the plainest first."""
    found = [
        _lead(feature, "value", bad[0], bad, good)
        for feature, (bad, good) in columns.items()
        if feature.kind in ASKED and len(set(bad)) == 1 and is_a_value(bad[0]) and bad[0] not in good
    ]
    return sorted(found, key=plainness)


def _parting(columns: Columns) -> list[Trait]:
    """Statements true of all bad requests and of no other, least likely by chance first."""
    asked = {feature: values for feature, values in columns.items() if feature.kind in ASKED}
    found = [
        (chance * len(asked), trait)
        for feature, (bad, good) in asked.items()
        for chance, trait in _unseen(feature, bad, good)
    ]
    found.sort(key=lambda one: (one[0], plainness(one[1])))
    return [trait for chance, trait in found if chance <= LEAD_CHANCE]


def _unseen(feature: Feature, bad: Sequence[Value], good: Sequence[Value]) -> Iterator[tuple[float, Trait]]:
    """One value that all bad requests have (or a few that each comes again), or that they have any, and no other
    request: with the chance that as many ordinary ones bring the same new values (how often one brings a new value,
    by Good and Turing, and repeats it)."""
    theirs, known = Counter(v for v in good if v is not None), Counter(v for v in bad if v is not None)
    if not theirs or not known or ABSENT in known:
        return
    n = theirs.total() + 1
    again = known.total() - len(known)
    if _none_of(known, theirs) and (len(known) == 1 or min(known.values()) > 1):
        chance = novelty_of(theirs) ** len(known) * (len(known) / n) ** again
        for value in sorted(known, key=lambda v: (-known[v], v)):
            yield chance, _lead(feature, "value", value, bad, good)
    elif set(theirs) == {ABSENT}:
        yield 1 / n ** known.total(), _lead(feature, "present", None, bad, good)


def _none_of(known: Counter[str], theirs: Counter[str]) -> bool:
    return all(is_a_value(value) and value not in theirs for value in known)


def novelty_of(seen: Counter[str]) -> float:
    """How often a further request brings a value that none had (Good and Turing, with one more seen once)."""
    return (sum(count == 1 for count in seen.values()) + 1) / (seen.total() + 1)


def _lead(
    feature: Feature, form: Form, value: str | None, bad: Sequence[Value], good: Sequence[Value]
) -> Trait:
    known = known_rows(bad)
    hits = known if value is None else rows_with(bad, {value})
    return Trait(feature, form, value, hits, known, frozenset(), known_rows(good), 1, math.nan)


def _own_values(suspect: pl.DataFrame, ordinary: pl.DataFrame, limit: int) -> list[Trait]:
    """What one to three requests that outlived all others asked for and nobody else did, while later requests of the
    same endpoint finished (so it is not the endpoint as such): first what ordinary requests would hardly bring anew."""
    if not 1 <= suspect.height <= LONE_REQUESTS or not _others_went_on(suspect, ordinary):
        return []
    found = [
        (novelty_of(Counter(v for v in good if v is not None)), _lead(feature, "value", value, bad, good))
        for feature, (bad, good) in read_traits(suspect, ordinary).items()
        if feature.kind in ASKED and sum(v is not None for v in good) >= MIN_ORDINARY
        for value in sorted({v for v in bad if v is not None and is_a_value(v) and v not in good})
        if not value.startswith("<")
    ]
    found.sort(key=lambda one: (one[0], plainness(one[1])))
    return [trait for _, trait in found[:limit]]


def _outsized(feature: Feature, bad: Sequence[Value], good: Sequence[Value]) -> list[Trait]:
    """A body several times larger than any ordinary one."""
    ours, theirs = [[n for v in values if (n := number_of(v)) is not None] for values in (bad, good)]
    known = frozenset(range(len(bad)))
    if feature.kind != "body_size" or len(ours) < len(bad) or len(theirs) < MIN_ORDINARY:
        return []
    if min(ours) < OUTSIZED * max(theirs):
        return []
    base = known_rows(good)
    return [Trait(feature, "at_least", str(int(min(ours))), known, known, frozenset(), base, 1, math.nan)]


def _others_went_on(suspect: pl.DataFrame, ordinary: pl.DataFrame) -> bool:
    """Did the endpoint answer anyone since its first suspect request began?"""
    if not {"started_at", "ended_at"} <= set(ordinary.columns) or "started_at" not in suspect.columns:
        return False
    first = suspect["started_at"].drop_nulls().min()
    if first is None:
        return False
    return bool(((ordinary["started_at"] > first) & ordinary["ended_at"].is_not_null()).any())
