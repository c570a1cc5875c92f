"""Copies of one log that came through different sinks: found by what is in them, folded into the best copy.

Two lives of a container never share request ids, so they are never folded; logs without any id are folded only when
every line is the same and, where both have times, the times agree.
"""

from __future__ import annotations

from collections.abc import Sequence

from oomscope.logs.interface import Identity
from oomscope.logs.life import Life
from oomscope.logs.sketch import Sketch

_SAME = 0.8
_FULL = 0.95
_TOLERANCE_US = 2_000_000
_LEAST_KEYS = 3


def fold(lives: Sequence[Life]) -> list[Life]:
    """The lives without their copies; each kept one knows its copies (``also_in``) and has the best identity of all."""
    groups: list[list[Life]] = []
    # Well identified copies first, so that anonymous ones find the life they belong to.
    for life in sorted(
        lives, key=lambda one: (not one.identity.container_id, one.scanner.tally.first_at is None)
    ):
        home = next((group for group in groups if _belongs(life, group)), None)
        if home is None:
            groups.append([life])
        else:
            home.append(life)
    kept = [_best(group) for group in groups]
    return sorted(kept, key=lambda life: life.order)


def _belongs(life: Life, group: list[Life]) -> bool:
    """A copy of a group is a copy of one of it, and no input gives the same life twice."""
    if any(life.source == other.source for other in group):
        return False
    return any(same_log(life, other) for other in group)


def same_log(one: Life, other: Life) -> bool:
    """Whether two streams hold the same lines of the same process."""
    if not compatible(one.identity, other.identity):
        return False
    first, second = one.scanner, other.scanner
    for left, right in (
        (first.tracker.sketch, second.tracker.sketch),
        (first.jobs.sketch, second.jobs.sketch),
    ):
        if min(left.added, right.added) >= _LEAST_KEYS:
            return left.overlap(right) >= _SAME and _together(one, other)
    if left_ids := _few_keys(first.tracker.sketch, second.tracker.sketch):
        return left_ids == 1.0 and _together(one, other)
    return one.digest.same(other.digest) and _same_start(one, other)


def _few_keys(left: Sketch, right: Sketch) -> float:
    """Short logs with an id or two: the share of common ids, 0 when one of them has none."""
    return left.overlap(right) if left.added and right.added else 0.0


def _together(one: Life, other: Life) -> bool:
    """Whether their time spans touch; unknown times cannot contradict."""
    a, b = one.scanner.tally, other.scanner.tally
    if a.first_at is None or b.first_at is None or a.last_at is None or b.last_at is None:
        return True
    return a.first_at <= b.last_at + _TOLERANCE_US and b.first_at <= a.last_at + _TOLERANCE_US


def _same_start(one: Life, other: Life) -> bool:
    """Logs of boot lines only look alike in every life: only their times tell them apart, where both have times."""
    a, b = one.scanner.tally.first_at, other.scanner.tally.first_at
    return a is None or b is None or abs(a - b) <= _TOLERANCE_US


def _best(group: list[Life]) -> Life:
    """The copy with (nearly) all lines, known owner and exact times, in this order."""
    most = max(life.scanner.tally.lines for life in group)
    full = [life for life in group if life.scanner.tally.lines >= _FULL * most]
    best = max(full, key=_quality)
    others = sorted((life for life in group if life is not best), key=lambda life: life.order)
    best.also_in = (*best.also_in, *(source for life in others for source in (life.source, *life.also_in)))
    for life in others:
        best.identity = filled(best.identity, life.identity)
        best.cut_tail = best.cut_tail or life.cut_tail
    return best


def _quality(life: Life) -> tuple[int, bool, bool, int]:
    tally = life.scanner.tally
    known = sum(getattr(life.identity, name) is not None for name in Identity.__dataclass_fields__)
    return (life.identity.container_id is not None, tally.dated * 2 > tally.lines, known > 0, -life.order)


def compatible(one: Identity, other: Identity) -> bool:
    """Whether two identities can be the same container."""
    for name in ("container_id", "pod", "container"):
        left, right = getattr(one, name), getattr(other, name)
        if left and right and left != right:
            return False
    return True


def filled(identity: Identity, other: Identity) -> Identity:
    """The identity with what only the other knows."""
    names = Identity.__dataclass_fields__
    return Identity(**{name: getattr(identity, name) or getattr(other, name) for name in names})
