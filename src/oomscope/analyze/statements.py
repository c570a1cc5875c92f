"""Statements about requests that can be tested: ``limit=0``, ``q`` present, a body of at least so much. Pure."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from oomscope.analyze.tails import log_hypergeometric_tail
from oomscope.analyze.traits import ABSENT, MIN_ORDINARY, Feature, Value
from oomscope.report import Distinguishing
from oomscope.units import format_bytes

ALPHA = 0.01 / 4  # after correction, for each of four looks: one false trait in a hundred incidents
MIN_SHARE = 0.5  # a trait must cover at least half of the suspect requests
OUTSIZED = 3.0  # times the largest ordinary body

Form = Literal["value", "present", "absent", "at_least"]
_FORM_RANK: dict[Form, int] = {"value": 0, "present": 1, "at_least": 2, "absent": 3}
# An outsized body explains most; that some hidden value was there explains least of what a request says.
_KIND_RANK = {"body_size": 0, "param": 1, "path_id": 2, "format": 4, "user_agent": 5, "client": 6}
_HIDDEN = 3
_KIND_ONLY = re.compile(r"<[a-z]+>|\[(?:FILTERED|REDACTED)\]|\*{3,}")


@dataclass(frozen=True, slots=True)
class Trait:
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
        """Of the ordinary requests for which it is known; NaN when there is none."""
        return len(self.base_hits) / len(self.base_known) if self.base_known else math.nan


def candidates(feature: Feature, bad: Sequence[Value], good: Sequence[Value]) -> Iterable[Trait]:
    """Every statement of one feature that may tell the suspects (``bad``) from the ordinary requests (``good``)."""
    known, base_known = known_rows(bad), known_rows(good)
    if not known or len(base_known) < MIN_ORDINARY:
        return
    if feature.kind != "body_size":
        yield from _value_traits(feature, bad, good, known, base_known)
    if feature.kind in ("param", "body_size"):
        yield from _threshold_traits(feature, bad, good, known, base_known)


def _value_traits(
    feature: Feature, bad: Sequence[Value], good: Sequence[Value], known: frozenset[int], base: frozenset[int]
) -> Iterable[Trait]:
    tried = _testable(Counter(v for v in (*bad, *good) if v is not None), len(known), len(base))
    for value, count in Counter(v for v in bad if v is not None and is_a_value(v)).items():
        if count / len(known) >= MIN_SHARE:
            hits, base_hits = rows_with(bad, {value}), rows_with(good, {value})
            yield Trait(feature, "value", value, hits, known, base_hits, base, tried)
    absent, base_absent = rows_with(bad, {ABSENT}), rows_with(good, {ABSENT})
    if feature.kind == "param" and (absent or base_absent):
        yield Trait(feature, "present", None, known - absent, known, base - base_absent, base, tried)
        yield Trait(feature, "absent", None, absent, known, base_absent, base, tried)


def _testable(pooled: Counter[str], n: int, others: int) -> int:
    """Values common enough that they could be significant at all; the others need no correction (Tarone)."""
    could = 0
    for count, values in Counter(pooled.values()).items():
        best = log_hypergeometric_tail(min(count, n), n + others, count, n)
        could += values if best <= math.log(ALPHA) else 0
    return max(1, could)


def is_a_value(value: Value) -> bool:
    """Whether equal texts mean that the same was asked for: not what is absent, or tells a kind only (``<email>``)."""
    return value not in (None, ABSENT) and _KIND_ONLY.fullmatch(str(value)) is None


def known_rows(values: Sequence[Value]) -> frozenset[int]:
    """Rows of which the value is known, be it that there is none."""
    return frozenset(i for i, value in enumerate(values) if value is not None)


def rows_with(values: Sequence[Value], wanted: set[str]) -> frozenset[int]:
    """Rows that have one of the values."""
    return frozenset(i for i, value in enumerate(values) if value in wanted)


def _threshold_traits(
    feature: Feature, bad: Sequence[Value], good: Sequence[Value], known: frozenset[int], base: frozenset[int]
) -> Iterable[Trait]:
    """``limit >= 5000``: the cut is the smallest, or the lower-quartile, suspect value."""
    numbers = sorted(n for value in bad if (n := number_of(value)) is not None)
    if len(numbers) < max(2, MIN_SHARE * len(known)):
        return
    largest = max((n for value in good if (n := number_of(value)) is not None), default=0.0)
    for cut in sorted({numbers[0], numbers[len(numbers) // 4]}):
        if feature.kind == "body_size" and cut < OUTSIZED * largest:
            continue  # a few bytes more are no explanation
        hits = _at_least(bad, cut)
        yield Trait(feature, "at_least", f"{cut:g}" if cut < 1e6 else str(int(cut)), hits, known,
                     _at_least(good, cut), base, 2)  # fmt: skip


def _at_least(values: Sequence[Value], cut: float) -> frozenset[int]:
    return frozenset(i for i, value in enumerate(values) if (n := number_of(value)) is not None and n >= cut)


def number_of(value: Value) -> float | None:
    """The finite number a value spells, None for anything else or longer than 18 characters."""
    if not value or len(value) > 18:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def log_chance(trait: Trait, tests: float) -> float:
    """Log of the Sidak-corrected chance of at least so many hits if suspects were drawn like ordinary requests."""
    n, pool = len(trait.known), len(trait.known) + len(trait.base_known)
    carriers = len(trait.hits) + len(trait.base_hits)
    log_p = log_hypergeometric_tail(len(trait.hits), pool, carriers, n)
    return min(0.0, log_p + math.log(tests)) if log_p < -12 else math.log(-math.expm1(tests * _log1m(log_p)))


def _log1m(log_p: float) -> float:
    return math.log1p(-min(math.exp(log_p), 1 - 1e-12))


def plainness(trait: Trait) -> tuple[object, ...]:
    """Sorts the statement that explains most, in the plainest words, first."""
    name, kind = trait.feature.name, _KIND_RANK[trait.feature.kind]
    if trait.feature.kind == "param" and (trait.value or "")[:1] in ("<", "["):
        kind = _HIDDEN
    return (kind, _FORM_RANK[trait.form], name.count("."), len(name), name, trait.value or "")


def describe(trait: Trait) -> Distinguishing:
    """The statement as the report has it. Without a chance (NaN) it is a lead."""
    lone = math.isnan(trait.log_p)
    hits, of = len(trait.hits), len(trait.known)
    tail = "; too few to test: a lead, not proof" if lone else ""
    return Distinguishing(
        kind=trait.feature.kind,
        name=trait.feature.name,
        value=_shown(trait),
        hits=hits,
        of=of,
        base_share=round(trait.base_share, 6) if trait.base_known else None,
        p_value=None if lone else float(f"{math.exp(max(trait.log_p, -690)):.3g}"),
        text=f"{hits} of {of} had {statement(trait.feature, trait.form, trait.value)}; {_others(trait)}{tail}",
    )


def _others(trait: Trait) -> str:
    if not trait.base_known:
        return "no ordinary request to compare with"
    if not trait.base_hits:
        others = len(trait.base_known)
        return "the one other does not" if others == 1 else f"none of {others} others does"
    return f"{_percent(trait.base_share)} of others do"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share >= 0.095 else f"{share * 100:.2g} %"


def _shown(trait: Trait) -> str | None:
    if trait.form == "at_least":
        return f">={trait.value}"
    return trait.value if trait.form == "value" else None


def statement(feature: Feature, form: Form, value: str | None) -> str:
    """In words, to go behind "had"."""
    name = feature.name
    if feature.kind == "body_size":
        return f"a body of at least {format_bytes(float(value or 0))}"
    if form == "absent":
        return f"no `{name}`"
    if form == "present":
        return f"`{name}`"
    sign = ">=" if form == "at_least" else "="
    return f"`{name}{sign}{value}`"
