"""What sets the suspect's bad requests apart from its ordinary ones: "7 of 7 had `limit=0`; 2 % of others do".

Every trait (a parameter and its value, an id in the path, a client, a body size ...) is tested one-sided with the
hypergeometric law against the endpoint's ordinary requests, corrected (Sidak) for every value the trait could have
taken and for every trait looked at. A trait that says nothing once a better one is known is dropped. Values come
already redacted, equal tokens compare equal; nothing here undoes that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from oomscope.analyze.leads import leads
from oomscope.analyze.statements import (
    ALPHA,
    MIN_SHARE,
    Trait,
    candidates,
    describe,
    known_rows,
    log_chance,
    plainness,
    rows_with,
)
from oomscope.analyze.tails import poisson_tail
from oomscope.analyze.traits import (
    ABSENT,
    MIN_ORDINARY,
    Columns,
    Feature,
    Value,
    looks,
    read_traits,
)
from oomscope.report import Distinguishing

MIN_SHARING = 3  # suspects
MIN_SPREAD = 20  # ordinary requests needed to know how often two of them share a value
RARE_PAIR = 0.1  # with few values in all, sharing one means nothing
MIN_GAP = 0.4  # a trait must be this much commoner among the suspects than among the others
MAX_ORDINARY = 2000  # rows looked at; more add nothing but time
MAX_SUSPECT = 300


def distinguish(
    suspect: pl.DataFrame, ordinary: pl.DataFrame, *, limit: int = 3
) -> tuple[Distinguishing, ...]:
    """The few traits that tell the suspect endpoint's bad requests from its ordinary ones, most telling first.

    Both tables have the columns of ``REQUEST_SCHEMA`` (a missing one is "not known") and may carry ``received_bytes``
    and ``user_agent`` from the ALB and ``age_s`` of requests in flight. Empty when nothing stands out. With too few
    ordinary requests for a test, what parts the two without exception may be named as a lead.
    """
    ordinary = _thin(ordinary, MAX_ORDINARY)
    suspect = suspect.head(MAX_SUSPECT)
    if suspect.is_empty() or limit < 1:
        return ()
    found = _tested(suspect, ordinary, limit) if ordinary.height >= MIN_ORDINARY else []
    return tuple(describe(trait) for trait in found or leads(suspect, ordinary, limit))


def _tested(suspect: pl.DataFrame, ordinary: pl.DataFrame, limit: int) -> list[Trait]:
    columns = read_traits(suspect, ordinary)
    for look in looks(columns, suspect, ordinary):
        chosen = _smallest_description(_significant(look), limit) or _repeated_ids(look, limit)
        if chosen:
            return chosen
    return []


def _thin(table: pl.DataFrame, most: int) -> pl.DataFrame:
    """Evenly spaced rows, so that the sample spans the whole baseline and is the same every time."""
    return table if table.height <= most else table.gather_every(math.ceil(table.height / most))


def _significant(columns: Columns) -> list[Trait]:
    tested = [trait for feature, (bad, good) in columns.items() for trait in candidates(feature, bad, good)]
    features = len({trait.feature for trait in tested})
    corrected = [replace(trait, log_p=log_chance(trait, trait.tried * features)) for trait in tested]
    return [trait for trait in corrected if trait.log_p <= math.log(ALPHA) and _tells(trait)]


def _tells(trait: Trait) -> bool:
    share = len(trait.hits) / len(trait.known)
    return share >= MIN_SHARE and share - trait.base_share >= MIN_GAP


def _smallest_description(traits: Sequence[Trait], limit: int) -> list[Trait]:
    """The best trait first; a further one only if it still tells something once the earlier ones are known."""
    chosen: list[Trait] = []
    for trait in sorted(traits, key=_preference):
        if len(chosen) == limit:
            break
        if all(_adds(trait, earlier) for earlier in chosen):
            chosen.append(trait)
    return chosen


def _preference(trait: Trait) -> tuple[object, ...]:
    """Nearly equal evidence (within a factor of a thousand) goes to the plainer statement."""
    return (math.floor(trait.log_p / 7.0), *plainness(trait))


def _adds(trait: Trait, earlier: Trait) -> bool:
    """Is it still significant among the requests with the earlier trait, or among those without it?"""
    if trait.feature == earlier.feature and trait.form != "value":
        return False
    inside = _within(trait, earlier.hits, earlier.base_hits)
    outside = _within(trait, trait.known - earlier.hits, trait.base_known - earlier.base_hits)
    return any(
        part.known
        and part.base_known
        and log_chance(part, trait.tried * 2) <= math.log(ALPHA)
        and _tells(part)
        for part in (inside, outside)
    )


def _within(trait: Trait, rows: frozenset[int], base_rows: frozenset[int]) -> Trait:
    return replace(
        trait,
        hits=trait.hits & rows,
        known=trait.known & rows,
        base_hits=trait.base_hits & base_rows,
        base_known=trait.base_known & base_rows,
    )


def _repeated_ids(columns: Columns, limit: int) -> list[Trait]:
    """A handful of values between them: suspects share values far more often than two ordinary requests do."""
    best: list[Trait] = []
    best_p = ALPHA / max(1, len(columns))
    for feature, (bad, good) in columns.items():
        if feature.kind not in ("param", "path_id", "client"):
            continue
        p, traits = _collisions(feature, bad, good)
        if p < best_p:
            best, best_p = traits[:limit], p
    return best


def _collisions(feature: Feature, bad: Sequence[Value], good: Sequence[Value]) -> tuple[float, list[Trait]]:
    ours, theirs = Counter(filter(None, bad)), Counter(filter(None, good))
    pool = ours + theirs
    n, size = ours.total(), pool.total()
    repeated = {
        v: c for v, c in ours.items() if c > 1 and v != ABSENT and theirs[v] / max(1, theirs.total()) < 0.02
    }
    if n < MIN_SHARING or theirs.total() < MIN_SPREAD or sum(repeated.values()) < MIN_SHARE * n:
        return 1.0, []
    same = sum(c * (c - 1) for c in pool.values()) / (size * (size - 1))
    if same > RARE_PAIR:
        return 1.0, []
    pairs = sum(c * (c - 1) // 2 for c in ours.values())
    p = poisson_tail(pairs, same * n * (n - 1) / 2)
    known, base = known_rows(bad), known_rows(good)
    order = sorted(repeated, key=lambda v: (-repeated[v], v))
    log_p = math.log(max(p, 1e-300))
    return p, [
        Trait(feature, "value", v, rows_with(bad, {v}), known, rows_with(good, {v}), base, 1, log_p)
        for v in order
    ]
