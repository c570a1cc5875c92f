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
import numpy.typing as npt

from oomscope.logs.block import (
    COMPLETED,
    ODD,
    PARAMETERS,
    PROCESSING,
    QUIET,
    STARTED,
    find_tags,
    hashes,
    id_words,
    whole_ids,
)
from oomscope.logs.bytescan import Ints, View, Words, word

if TYPE_CHECKING:
    import polars as pl

BLOCK = 1 << 20
_WINDOW = 8  # blocks that wait for the rest of their requests
_NUMBER = np.uint64(0xFFFF)
_SHORTEST, _LONGEST = 100, 4000
_MESSAGE = 39  # behind "[", the id, "] "
_STARTED, _PROCESSING = word(b"Started "), word(b"Processi")
_PARAMETERS, _COMPLETED = word(b"  Parame"), word(b"Complete")
_REDIRECTED = word(b"Redirect")
_OLD_PROCESSING, _ENQUEUED = word(b"  Proces"), word(b"[ActiveJ")
Left = tuple[int, bytes]  # number of the line and its bytes


@dataclass(slots=True)
class _Waiting:
    """Lines of one block that are not done with."""

    first: int
    numbers: Ints  # of the lines with a request id
    keys: Words
    kinds: npt.NDArray[np.uint8]
    lines: dict[int, bytes]


class Matcher:
    """Takes blocks of whole lines, gives what is left of them, in order, some blocks later.

    ``offset`` is where the application's own line begins in every line (behind what an envelope puts in front).
    """

    def __init__(self, offset: int = 0, lead: bytes = b"") -> None:
        self.window = 0  # lines that wait for their requests at most
        self._offset = offset
        self._lead = lead[-8:]
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
        tags = self._tags(view, starts, ends)
        kinds = _kinds(view, tags)
        kinds[ends - starts > _LONGEST] = ODD  # lines of other processes can stand inside it
        self._quieten(kinds, view, buffer, tags, ends)
        left = np.flatnonzero(kinds != QUIET)
        keyed = left[tags[left] >= 0]
        words = id_words(view, tags[keyed] + 1)
        fine = whole_ids(words)
        if not fine.all():
            keyed, words = keyed[fine], [part[fine] for part in words]
        keys, kind = hashes(words), kinds[keyed]
        whole = _whole(keys, kind)
        self._whole_here(view, ends, tags, np.where(whole >= 0, keyed[whole], -1))
        matched = np.zeros(keyed.size, np.bool_)
        matched[whole[whole >= 0]] = True
        numbers, keys, kind = keyed[~matched], keys[~matched], kind[~matched]
        done = np.zeros(starts.size, np.bool_)
        done[keyed[matched]] = True
        left = left[~done[left]]
        first, self.lines = self.lines, self.lines + starts.size
        self.window = max(self.window, _WINDOW * starts.size)
        places = zip(left.tolist(), starts[left].tolist(), ends[left].tolist(), strict=True)
        lines = {first + place: bytes(buffer[start:end]) for place, start, end in places}
        return _Waiting(first, numbers + first, keys, kind, lines)

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

    def _quieten(
        self, kinds: npt.NDArray[np.uint8], view: View, buffer: bytearray, tags: Ints, ends: Ints
    ) -> None:
        """Notices of redirects say nothing, unless the address holds what a request log of one line a request holds."""
        for index in np.flatnonzero(view.words[np.maximum(tags, 0) + _MESSAGE] == _REDIRECTED).tolist():
            if tags[index] >= 0 and buffer.find(b"method", int(tags[index]), int(ends[index])) < 0:
                kinds[index] = QUIET

    def _tags(self, view: View, starts: Ints, ends: Ints) -> Ints:
        """Where the request id of each line begins, -1 where there is none in its usual place."""
        at = starts + self._offset
        usual = ends - at > _SHORTEST
        at = np.where(usual, at, starts[0])
        if self._lead:
            usual &= view.says(at - len(self._lead), self._lead)
        return np.where(usual, find_tags(view, at), -1)


def _kinds(view: View, tags: Ints) -> npt.NDArray[np.uint8]:
    """What the lines with these tags are, for the question at hand: jobs are as quiet as the rest."""
    said = view.words[np.maximum(tags, 0) + _MESSAGE]
    third = (said >> np.uint64(16)) & np.uint64(0xFF)
    quiet = ((said & np.uint64(0xFFFF)) == 0x2020) & (third > 0x20) & (third < 0x7F) & (third != 0x5C)
    quiet &= said != _OLD_PROCESSING
    quiet |= said == _ENQUEUED
    kinds = np.where(quiet, QUIET, ODD).astype(np.uint8)
    kinds[said == _STARTED] = STARTED
    kinds[said == _PROCESSING] = PROCESSING
    kinds[said == _PARAMETERS] = PARAMETERS
    kinds[said == _COMPLETED] = COMPLETED
    kinds[tags < 0] = ODD
    return kinds


def _whole(keys: Words, kinds: npt.NDArray[np.uint8]) -> Ints:
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
