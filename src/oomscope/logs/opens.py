"""Which requests are open at the end of a large log: all that is read of most lines is what they begin with.

Life cycle lines are matched by request id inside a window of a few blocks. A Started, a Processing and a Completed line
that belong together say nothing of the end of the log and are dropped there; what is left when the window has passed,
and every line that is not of the usual form, goes to the general path in its order. Whole requests, times and jobs are
not looked at: for those see ``bulk``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from oomscope.logs.bytescan import Ints, View, Words, word
from oomscope.logs.heads import (
    COMPLETED,
    ODD,
    PARAMETERS,
    PROCESSING,
    QUIET,
    STARTED,
    Heads,
    Kinds,
    Lead,
    read_heads,
)

if TYPE_CHECKING:
    import polars as pl

BLOCK = 1 << 20
_WINDOW = 8  # blocks that wait for the rest of their requests
_NUMBER = np.uint64(0xFFFF)
_LONGEST = 4000
_REDIRECTED = word(b"Redirect")
Left = tuple[int, bytes]  # number of the line and its bytes


@dataclass(slots=True)
class _Waiting:
    """Lines of one block that are not done with."""

    first: int
    numbers: Ints  # of the lines with a request id
    keys: Words
    kinds: Kinds
    lines: dict[int, bytes]


class Matcher:
    """Takes blocks of whole lines, gives what is left of them, in order, some blocks later.

    ``offset`` is where the application's own line begins in every line (behind what an envelope puts in front).
    """

    def __init__(self, offset: int = 0, lead: bytes = b"") -> None:
        self._offset = offset
        self._leads = (Lead(offset, lead[-8:]),)
        self._waiting: deque[_Waiting] = deque()
        self.lines = 0

    def take(self, buffer: bytearray, size: int) -> Iterator[Left]:
        """One block; ``PAD`` bytes follow its ``size`` bytes."""
        self._waiting.append(self._sort_out(buffer, size))
        self._match()
        if len(self._waiting) > _WINDOW:
            yield from sorted(self._waiting.popleft().lines.items())

    def rest(self) -> Iterator[Left]:
        """What is left of the last blocks."""
        for waiting in self._waiting:
            yield from sorted(waiting.lines.items())
        self._waiting.clear()

    def frame(self, *, least: int) -> pl.DataFrame | None:
        """What was read of whole requests since the last call, if that is at least so many; here nothing is."""
        return None

    def _sort_out(self, buffer: bytearray, size: int) -> _Waiting:
        view = View(buffer, size)
        ends = view.newlines()
        starts = np.empty_like(ends)
        starts[0], starts[1:] = 0, ends[:-1] + 1
        heads = read_heads(view, starts, ends, self._leads)
        heads.kinds[ends - starts > _LONGEST] = ODD  # lines of other processes can stand inside it
        self._quieten(heads, buffer, ends)
        left = np.flatnonzero(heads.kinds != QUIET)
        keyed = left[heads.tags[left] >= 0]
        keys, kinds = heads.keys[keyed], heads.kinds[keyed]
        whole = _whole(keys, kinds)
        self._whole_here(view, ends, heads.tags, np.where(whole >= 0, keyed[whole], -1))
        matched = np.zeros(keyed.size, np.bool_)
        matched[whole[whole >= 0]] = True
        heads.kinds[keyed[matched]] = QUIET
        left = left[heads.kinds[left] != QUIET]
        numbers, keys, kinds = keyed[~matched], keys[~matched], kinds[~matched]
        first, self.lines = self.lines, self.lines + starts.size
        places = zip(left.tolist(), starts[left].tolist(), ends[left].tolist(), strict=True)
        lines = {first + place: bytes(buffer[start:end]) for place, start, end in places}
        return _Waiting(first, numbers + first, keys, kinds, lines)

    def _match(self) -> None:
        """Drop requests that are whole now, over the border of blocks."""
        window = self._waiting
        keys, kinds = (np.concatenate([getattr(one, name) for one in window]) for name in ("keys", "kinds"))
        whole = _whole(keys, kinds)
        if not whole.size:
            return
        self._whole_across(whole)
        matched = np.zeros(keys.size, np.bool_)
        matched[whole[whole >= 0]] = True
        at = 0
        for one in window:
            mine = matched[at : at + one.keys.size]
            at += one.keys.size
            for number in one.numbers[mine].tolist():
                del one.lines[number]
            one.numbers, one.keys, one.kinds = one.numbers[~mine], one.keys[~mine], one.kinds[~mine]

    def _whole_here(self, view: View, ends: Ints, tags: Ints, whole: Ints) -> None:
        """Requests that began and ended in one block: lines of it, see ``_whole``."""

    def _whole_across(self, whole: Ints) -> None:
        """Requests that began and ended in the window: places among its lines with a request id."""

    def _quieten(self, heads: Heads, buffer: bytearray, ends: Ints) -> None:
        """Notices of redirects say nothing, unless the address holds what a request log of one line a request holds."""
        for index in np.flatnonzero(heads.said == _REDIRECTED).tolist():
            if buffer.find(b"method", int(heads.tags[index]), int(ends[index])) < 0:
                heads.kinds[index] = QUIET


def _whole(keys: Words, kinds: Kinds) -> Ints:
    """Requests that are whole: places of their Started, Processing, Parameters and Completed lines, one row each.

    Processing and Parameters may be missing (-1); nothing else may have the same id.
    """
    if not 2 <= keys.size <= _NUMBER:
        return np.empty((4, 0), np.int64)
    order = np.sort((keys & ~_NUMBER) | np.arange(keys.size, dtype=np.uint64))
    places = (order & _NUMBER).view(np.int64)
    key = order >> np.uint64(16)
    first = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    size = np.diff(first, append=key.size)
    kind = np.concatenate((kinds[places], np.zeros(3, np.uint8)))
    begins = kind[first] == STARTED
    short = begins & (size == 2) & (kind[first + 1] == COMPLETED)
    begins &= kind[first + 1] == PROCESSING
    usual = begins & (size == 3) & (kind[first + 2] == COMPLETED)
    full = begins & (size == 4) & (kind[first + 2] == PARAMETERS) & (kind[first + 3] == COMPLETED)
    good = short | usual | full
    first, usual, full = first[good], usual[good], full[good]
    last = first + 1 + usual + 2 * full
    rows = np.stack((
        places[first], np.where(usual | full, places[first + 1], -1),
        np.where(full, places[np.minimum(first + 2, places.size - 1)], -1), places[last],
    ))  # fmt: skip
    same = np.ones(first.size, np.bool_)  # the sort saw most of the hash only
    for row in rows[1:]:
        same &= (row < 0) | (keys[row] == keys[rows[0]])
    return rows[:, same]
