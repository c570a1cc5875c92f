"""What sets the suspect's bad requests apart from its ordinary ones: "7 of 7 had `limit=0`; 2 % of others do".

Every trait (a parameter and its value, an id in the path, a client, a body size ...) is tested one-sided with the
hypergeometric law against the endpoint's ordinary requests, corrected (Sidak) for every value the trait could have
taken and for every trait looked at. A trait that says nothing once a better one is known is dropped. Values come
already redacted, equal tokens compare equal; nothing here undoes that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import polars as pl

from oomscope.analyze.tails import log_hypergeometric_tail, poisson_tail
from oomscope.analyze.traits import (
    ABSENT,
    MIN_ORDINARY,
    Columns,
    Feature,
    Value,
    looks,
    outliving,
    read_traits,
)
from oomscope.report import Distinguishing
from oomscope.units import format_bytes

ALPHA = 0.01 / 4  # after correction, for each of four looks: one false trait in a hundred incidents
LEAD_ALPHA = 0.1  # after correction, for a trait that parts the two groups without exception: named as a lead
MIN_SPREAD = 20  # ordinary requests needed to know how often two of them share a value
RARE_PAIR = 0.1  # with few values in all, sharing one means nothing
MIN_SHARE = 0.5  # a trait must cover at least half of the suspect requests ...
MIN_GAP = 0.4  # ... and be this much commoner among them than among the others
MAX_ORDINARY = 2000  # rows looked at; more add nothing but time
MAX_SUSPECT = 300
LONE_REQUESTS = 3  # up to this many suspects, repetition cannot be tested (see ``_lone``)
OUTSIZED = 3.0  # times the largest ordinary body
NOVEL = 0.05  # a new value says something where fewer ordinary requests than this bring one

Form = Literal["value", "present", "absent", "at_least"]
_FORM_RANK: dict[Form, int] = {"value": 0, "present": 1, "at_least": 2, "absent": 3}
# An outsized body explains most; that some hidden value was there explains least of what a request says.
_KIND_RANK = {"body_size": 0, "param": 1, "path_id": 2, "format": 4, "user_agent": 5, "client": 6}
_HIDDEN = 3


@dataclass(frozen=True, slots=True)
class _Trait:
    """One testable statement about a request, with the suspect and ordinary rows it holds for and is known for."""

    feature: Feature
    form: Form
    value: str | None
    hits: frozenset[int]
    known: frozenset[int]
    base_hits: frozenset[int]
    base_known: frozenset[int]
    tried: int = 1  # how many statements of this feature were looked at
    log_p: float = field(default=0.0)

    @property
    def base_share(self) -> float:
        return len(self.base_hits) / len(self.base_known)


def distinguish(
    suspect: pl.DataFrame, ordinary: pl.DataFrame, *, limit: int = 3
) -> tuple[Distinguishing, ...]:
    """The few traits that tell the suspect endpoint's bad requests from its ordinary ones, most telling first.

    Both tables have the columns of ``REQUEST_SCHEMA`` (a missing one is "not known") and may carry ``received_bytes``
    and ``user_agent`` from the ALB and ``age_s`` of requests in flight. Empty when nothing stands out, or when there
    are too few ordinary requests to say what is ordinary.
    """
    ordinary = _thin(ordinary, MAX_ORDINARY)
    suspect = suspect.head(MAX_SUSPECT)
    if suspect.is_empty() or ordinary.height < MIN_ORDINARY or limit < 1:
        return ()
    columns = read_traits(suspect, ordinary)
    for look in looks(columns, suspect, ordinary):
        chosen = _smallest_description(_significant(look), limit) or _repeated_ids(look, limit)
        if chosen:
            return tuple(_describe(trait) for trait in chosen)
    leads = _separating(columns) or _lone(*outliving(suspect, ordinary), limit)
    return tuple(_describe(trait) for trait in leads)


def _thin(table: pl.DataFrame, most: int) -> pl.DataFrame:
    """Evenly spaced rows, so that the sample spans the whole baseline and is the same every time."""
    return table if table.height <= most else table.gather_every(math.ceil(table.height / most))


def _significant(columns: Columns) -> list[_Trait]:
    tested = [trait for feature, (bad, good) in columns.items() for trait in _candidates(feature, bad, good)]
    features = len({trait.feature for trait in tested})
    corrected = [replace(trait, log_p=_log_p(trait, trait.tried * features)) for trait in tested]
    return [trait for trait in corrected if trait.log_p <= math.log(ALPHA) and _tells(trait)]


def _separating(columns: Columns) -> list[_Trait]:
    """A parameter or id that all suspects have and no ordinary request has, where there are too few of them for the
    strict test: the plainest one, as a lead."""
    asked = {f: values for f, values in columns.items() if f.kind in ("param", "path_id")}
    tested = [trait for feature, (bad, good) in asked.items() for trait in _candidates(feature, bad, good)]
    apart = [
        trait
        for trait in tested
        if trait.form in ("value", "present")
        and len(trait.known) >= LONE_REQUESTS
        and trait.hits == trait.known
        and not trait.base_hits
        and _log_p(trait, trait.tried * len(asked)) <= math.log(LEAD_ALPHA)
    ]
    return [replace(trait, log_p=math.nan) for trait in sorted(apart, key=_plainness)[:1]]


def _tells(trait: _Trait) -> bool:
    share = len(trait.hits) / len(trait.known)
    return share >= MIN_SHARE and share - trait.base_share >= MIN_GAP


def _log_p(trait: _Trait, tests: float) -> float:
    """Log of the Sidak-corrected chance of at least so many hits if suspects were drawn like ordinary requests."""
    n, pool = len(trait.known), len(trait.known) + len(trait.base_known)
    carriers = len(trait.hits) + len(trait.base_hits)
    log_p = log_hypergeometric_tail(len(trait.hits), pool, carriers, n)
    return min(0.0, log_p + math.log(tests)) if log_p < -12 else math.log(-math.expm1(tests * _log1m(log_p)))


def _log1m(log_p: float) -> float:
    return math.log1p(-min(math.exp(log_p), 1 - 1e-12))


def _candidates(feature: Feature, bad: Sequence[Value], good: Sequence[Value]) -> Iterable[_Trait]:
    known = frozenset(i for i, value in enumerate(bad) if value is not None)
    base_known = frozenset(i for i, value in enumerate(good) if value is not None)
    if not known or len(base_known) < MIN_ORDINARY:
        return
    if feature.kind != "body_size":
        yield from _value_traits(feature, bad, good, known, base_known)
    if feature.kind in ("param", "body_size"):
        yield from _threshold_traits(feature, bad, good, known, base_known)


def _value_traits(
    feature: Feature, bad: Sequence[Value], good: Sequence[Value], known: frozenset[int], base: frozenset[int]
) -> Iterable[_Trait]:
    tried = _testable(Counter(v for v in (*bad, *good) if v is not None), len(known), len(base))
    for value, count in Counter(v for v in bad if v is not None and v != ABSENT).items():
        if count / len(known) >= MIN_SHARE:
            hits, base_hits = _rows(bad, {value}), _rows(good, {value})
            yield _Trait(feature, "value", value, hits, known, base_hits, base, tried)
    absent, base_absent = _rows(bad, {ABSENT}), _rows(good, {ABSENT})
    if feature.kind == "param" and (absent or base_absent):
        yield _Trait(feature, "present", None, known - absent, known, base - base_absent, base, tried)
        yield _Trait(feature, "absent", None, absent, known, base_absent, base, tried)


def _testable(pooled: Counter[str], n: int, others: int) -> int:
    """Values common enough that they could be significant at all; the others need no correction (Tarone)."""
    could = 0
    for count, values in Counter(pooled.values()).items():
        best = log_hypergeometric_tail(min(count, n), n + others, count, n)
        could += values if best <= math.log(ALPHA) else 0
    return max(1, could)


def _rows(values: Sequence[Value], wanted: set[str]) -> frozenset[int]:
    return frozenset(i for i, value in enumerate(values) if value in wanted)


def _threshold_traits(
    feature: Feature, bad: Sequence[Value], good: Sequence[Value], known: frozenset[int], base: frozenset[int]
) -> Iterable[_Trait]:
    """``limit >= 5000``: the cut is the smallest, or the lower-quartile, suspect value."""
    numbers = sorted(n for value in bad if (n := _number(value)) is not None)
    if len(numbers) < max(2, MIN_SHARE * len(known)):
        return
    largest = max((n for value in good if (n := _number(value)) is not None), default=0.0)
    for cut in sorted({numbers[0], numbers[len(numbers) // 4]}):
        if feature.kind == "body_size" and cut < OUTSIZED * largest:
            continue  # a few bytes more are no explanation
        hits = _at_least(bad, cut)
        yield _Trait(feature, "at_least", f"{cut:g}" if cut < 1e6 else str(int(cut)), hits, known,
                     _at_least(good, cut), base, 2)  # fmt: skip


def _at_least(values: Sequence[Value], cut: float) -> frozenset[int]:
    return frozenset(i for i, value in enumerate(values) if (n := _number(value)) is not None and n >= cut)


def _number(value: Value) -> float | None:
    if not value or len(value) > 18:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _smallest_description(traits: Sequence[_Trait], limit: int) -> list[_Trait]:
    """The best trait first; a further one only if it still tells something once the earlier ones are known."""
    chosen: list[_Trait] = []
    for trait in sorted(traits, key=_preference):
        if len(chosen) == limit:
            break
        if all(_adds(trait, earlier) for earlier in chosen):
            chosen.append(trait)
    return chosen


def _preference(trait: _Trait) -> tuple[object, ...]:
    """Nearly equal evidence (within a factor of a thousand) goes to the plainer statement."""
    return (math.floor(trait.log_p / 7.0), *_plainness(trait))


def _plainness(trait: _Trait) -> tuple[object, ...]:
    name, kind = trait.feature.name, _KIND_RANK[trait.feature.kind]
    if trait.feature.kind == "param" and (trait.value or "")[:1] in ("<", "["):
        kind = _HIDDEN
    return (kind, _FORM_RANK[trait.form], name.count("."), len(name), name, trait.value or "")


def _adds(trait: _Trait, earlier: _Trait) -> bool:
    """Is it still significant among the requests with the earlier trait, or among those without it?"""
    if trait.feature == earlier.feature and trait.form != "value":
        return False
    inside = _within(trait, earlier.hits, earlier.base_hits)
    outside = _within(trait, trait.known - earlier.hits, trait.base_known - earlier.base_hits)
    return any(
        part.known and part.base_known and _log_p(part, trait.tried * 2) <= math.log(ALPHA) and _tells(part)
        for part in (inside, outside)
    )


def _within(trait: _Trait, rows: frozenset[int], base_rows: frozenset[int]) -> _Trait:
    return replace(
        trait,
        hits=trait.hits & rows,
        known=trait.known & rows,
        base_hits=trait.base_hits & base_rows,
        base_known=trait.base_known & base_rows,
    )


def _repeated_ids(columns: Columns, limit: int) -> list[_Trait]:
    """A handful of values between them: suspects share values far more often than two ordinary requests do."""
    best: list[_Trait] = []
    best_p = ALPHA / max(1, len(columns))
    for feature, (bad, good) in columns.items():
        if feature.kind not in ("param", "path_id", "client"):
            continue
        p, traits = _collisions(feature, bad, good)
        if p < best_p:
            best, best_p = traits[:limit], p
    return best


def _collisions(feature: Feature, bad: Sequence[Value], good: Sequence[Value]) -> tuple[float, list[_Trait]]:
    ours, theirs = Counter(filter(None, bad)), Counter(filter(None, good))
    pool = ours + theirs
    n, size = ours.total(), pool.total()
    repeated = {
        v: c for v, c in ours.items() if c > 1 and v != ABSENT and theirs[v] / max(1, theirs.total()) < 0.02
    }
    if n < LONE_REQUESTS or theirs.total() < MIN_SPREAD or sum(repeated.values()) < MIN_SHARE * n:
        return 1.0, []
    same = sum(c * (c - 1) for c in pool.values()) / (size * (size - 1))
    if same > RARE_PAIR:
        return 1.0, []
    pairs = sum(c * (c - 1) // 2 for c in ours.values())
    p = poisson_tail(pairs, same * n * (n - 1) / 2)
    known = frozenset(i for i, v in enumerate(bad) if v is not None)
    base = frozenset(i for i, v in enumerate(good) if v is not None)
    order = sorted(repeated, key=lambda v: (-repeated[v], v))
    log_p = math.log(max(p, 1e-300))
    return p, [
        _Trait(feature, "value", v, _rows(bad, {v}), known, _rows(good, {v}), base, 1, log_p) for v in order
    ]


def _lone(suspect: pl.DataFrame, ordinary: pl.DataFrame, limit: int) -> list[_Trait]:
    """One to three requests cannot repeat a value often enough to test it.

    When they have run far longer than the ordinary ones, while later requests of the same endpoint finished (so it is
    not the endpoint as such), a value that is new where new values are rare is named as a lead, else the id nobody
    else asked for. It carries no p-value.
    """
    if not 1 <= suspect.height <= LONE_REQUESTS or not _others_went_on(suspect, ordinary):
        return []
    columns = read_traits(suspect, ordinary)
    outsized = [trait for feature, values in columns.items() for trait in _outsized(feature, *values)]
    if outsized:  # then the size explains them, not the id they happened to have
        return outsized[:1]
    found = [
        (novelty, trait)
        for feature, (bad, good) in columns.items()
        if feature.kind in ("path_id", "param")
        for novelty, trait in _unseen(feature, bad, good)
    ]
    telling = [
        trait
        for novelty, trait in sorted(found, key=lambda one: (one[0], _plainness(one[1])))
        if novelty <= NOVEL
    ]
    return (telling or [trait for _, trait in found if trait.feature.kind == "path_id"])[:limit]


def _outsized(feature: Feature, bad: Sequence[Value], good: Sequence[Value]) -> list[_Trait]:
    """A body several times larger than any ordinary one."""
    ours, theirs = [[n for v in values if (n := _number(v)) is not None] for values in (bad, good)]
    known = frozenset(range(len(bad)))
    if feature.kind != "body_size" or len(ours) < len(bad) or len(theirs) < MIN_ORDINARY:
        return []
    if min(ours) < OUTSIZED * max(theirs):
        return []
    base = frozenset(i for i, v in enumerate(good) if v is not None)
    return [_Trait(feature, "at_least", str(int(min(ours))), known, known, frozenset(), base, 1, math.nan)]


def _unseen(feature: Feature, bad: Sequence[Value], good: Sequence[Value]) -> list[tuple[float, _Trait]]:
    """Values no ordinary request had, with how often an ordinary one brings a new value (Good and Turing)."""
    theirs = Counter(v for v in good if v is not None)
    base = frozenset(i for i, v in enumerate(good) if v is not None)
    known = frozenset(i for i, v in enumerate(bad) if v is not None)
    fresh = {v for v in bad if v is not None and v != ABSENT and v not in theirs and not v.startswith("<")}
    if len(base) < MIN_ORDINARY or len(_rows(bad, fresh)) < max(1.0, MIN_SHARE * len(known)):
        return []
    novelty = (sum(count == 1 for count in theirs.values()) + 1) / (len(base) + 1)
    return [
        (novelty, _Trait(feature, "value", v, _rows(bad, {v}), known, frozenset(), base, 1, math.nan))
        for v in sorted(fresh)
    ]


def _others_went_on(suspect: pl.DataFrame, ordinary: pl.DataFrame) -> bool:
    """Did the endpoint answer anyone since its first suspect request began?"""
    if not {"started_at", "ended_at"} <= set(ordinary.columns) or "started_at" not in suspect.columns:
        return False
    first = suspect["started_at"].drop_nulls().min()
    if first is None:
        return False
    return bool(((ordinary["started_at"] > first) & ordinary["ended_at"].is_not_null()).any())


def _describe(trait: _Trait) -> Distinguishing:
    share = trait.base_share
    lone = math.isnan(trait.log_p)
    hits, of = len(trait.hits), len(trait.known)
    others = (
        f"none of {len(trait.base_known)} others does"
        if not trait.base_hits
        else f"{_percent(share)} of others do"
    )
    tail = "; too few to test: a lead, not proof" if lone else ""
    return Distinguishing(
        kind=trait.feature.kind,
        name=trait.feature.name,
        value=_shown(trait),
        hits=hits,
        of=of,
        base_share=round(share, 6),
        p_value=None if lone else float(f"{math.exp(max(trait.log_p, -690)):.3g}"),
        text=f"{hits} of {of} had {_statement(trait)}; {others}{tail}",
    )


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share >= 0.095 else f"{share * 100:.2g} %"


def _shown(trait: _Trait) -> str | None:
    if trait.form == "at_least":
        return f">={trait.value}"
    return trait.value if trait.form == "value" else None


def _statement(trait: _Trait) -> str:
    name = trait.feature.name
    if trait.feature.kind == "body_size":
        return f"a body of at least {format_bytes(float(trait.value or 0))}"
    if trait.form == "absent":
        return f"no `{name}`"
    if trait.form == "present":
        return f"`{name}`"
    sign = ">=" if trait.form == "at_least" else "="
    return f"`{name}{sign}{trait.value}`"
