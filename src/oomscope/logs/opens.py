"""Which requests are open at the end of a large log: all that is read of most lines is what they begin with.

Life cycle lines are matched by request id inside a window of a few blocks. A Started, a Processing and a Completed line
that belong together say nothing of the end of the log and are dropped there; what is left when the window has passed,
and every line that is not of the usual form, goes to the general path in its order. Whole requests, times and jobs are
not looked at: for those see ``bulk``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

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
from oomscope.logs.leads import MOST, leads_in
from oomscope.logs.lines import MAX_LINE

if TYPE_CHECKING:
    import polars as pl

BLOCK = 1 << 21  # the calls for a block cost as much as some hundred kB of it
_WINDOW = 6  # blocks that wait for the rest of their requests, at most; half of them at least
LONGEST = 4000
_LOOKED_AT = 64  # lines of a block that may tell of another place where the application's line begins
_LAST = 256
_PID_END = len("12345678]  INFO -- : ")
_BEFORE_PID = len("I, [2026-11-23T08:23:04.484498 #")
_SIGNS, _ONES, _HIGHS = (np.uint64(0x0101010101010101 * sign) for sign in (ord("#"), 0x01, 0x80))
_REDIRECTED = word(b"Redirect")
Left = tuple[int, bytes]  # number of the line and its bytes


@dataclass
class Counts:
    """What was seen of lines that are not left. ``heads``: the last of each process, by the text of its pid."""

    lines: int = 0
    size: int = 0  # bytes
    whole: int = 0
    heads: dict[bytes, bytes] = field(default_factory=dict)

    def add(self, other: Counts) -> None:
        """Count what came later, too."""
        self.lines += other.lines
        self.size += other.size
        self.whole += other.whole
        self.heads |= other.heads


@dataclass(slots=True)
class _Waiting:
    """Lines of one block that are not done with."""

    first: int
    numbers: Ints  # of the lines with a request id
    keys: Words
    kinds: Kinds
    lines: dict[int, bytes]


class Said(NamedTuple):
    """What stands before the method and between it and the path, in a log of one line a request."""

    method: bytes
    path: bytes


class Form(NamedTuple):
    """How to read a log: where the application's line begins and what follows it, whether lifecycles are wanted, and
    whether the logger's prefix stands before the tags. ``said``: it has one line a request, see ``one_line``.
    """

    envelope: str = "bare"
    leads: tuple[Lead, ...] = (Lead(0, b""),)
    end: bytes = b""
    lifecycles: bool = False
    prefix: bool = True
    said: Said | None = None


class Matcher:
    """Takes blocks of whole lines, gives what is left of them, in order, some blocks later.

    ``counts`` grows with what is not left.
    """

    def __init__(self, form: Form) -> None:
        self.form = form
        self.counts = Counts()
        self.lines = 0
        self._leads = form.leads
        self._waiting: deque[_Waiting] = deque()

    def take(self, buffer: bytearray, size: int) -> Iterator[Left]:
        """One block; ``PAD`` bytes follow its ``size`` bytes."""
        self._waiting.append(self._sort_out(buffer, size))
        if len(self._waiting) >= _WINDOW:
            self._match()
            for _ in range(_WINDOW // 2):
                yield from sorted(self._waiting.popleft().lines.items())

    def rest(self) -> Iterator[Left]:
        """What is left of the last blocks."""
        if self._waiting:
            self._match()
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
        heads = read_heads(view, starts, ends, self._leads, prefix=self.form.prefix)
        heads.kinds[ends - starts > LONGEST] = ODD  # lines of other processes can stand inside it
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
        begins, stops = starts[left], ends[left]
        places = zip(
            left.tolist(), begins.tolist(), np.minimum(stops, begins + MAX_LINE).tolist(), strict=True
        )
        lines = {first + place: bytes(buffer[start:end]) for place, start, end in places}
        self._count(starts.size - left.size, size - int((stops - begins).sum()) - left.size, whole)
        if self.form.prefix:
            self._note_processes(view, heads.tags[keyed[whole[3]]])
        if self.form.envelope != "bare" and len(self._leads) < MOST:
            odd = left[heads.tags[left] < 0][:_LOOKED_AT].tolist()
            self._leads = leads_in((lines[first + place] for place in odd), self.form.envelope, self._leads)
        return _Waiting(first, numbers + first, keys, kinds, lines)

    def _count(self, lines: int, size: int, whole: Ints) -> None:
        counts = self.counts
        counts.lines += lines
        counts.size += size
        counts.whole += whole.shape[1]

    def _note_processes(self, view: View, tags: Ints) -> None:
        """Keep the last line of each process that is among the last of these lines."""
        tags = np.sort(tags)[-_LAST:]
        words = view.words[tags - _PID_END]
        signs = words ^ _SIGNS
        sign = (signs - _ONES) & ~signs & _HIGHS  # set where "#" is
        pids = words & ~(sign | (sign - np.uint64(1)))
        for pid, tag in dict(zip(pids.tolist(), tags.tolist(), strict=True)).items():
            text = pid.to_bytes(8, "little").lstrip(b"\0")
            start = tag - _PID_END + 8 - len(text) - _BEFORE_PID
            self.counts.heads[text] = bytes(view.bytes[start:tag])

    def _match(self) -> None:
        """Drop requests that are whole now, over the border of blocks."""
        window = self._waiting
        keys, kinds = (np.concatenate([getattr(one, name) for one in window]) for name in ("keys", "kinds"))
        whole = _whole(keys, kinds)
        if not whole.size:
            return
        self._whole_across(whole)
        self._count(0, 0, whole)
        matched = np.zeros(keys.size, np.bool_)
        matched[whole[whole >= 0]] = True
        at = 0
        for one in window:
            mine = matched[at : at + one.keys.size]
            at += one.keys.size
            gone = [one.lines.pop(number) for number in one.numbers[mine].tolist()]
            self.counts.lines += len(gone)
            self.counts.size += sum(map(len, gone)) + len(gone)
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

    Parameters may be missing (-1); nothing else may have the same id.
    """
    if keys.size < 3:
        return np.empty((4, 0), np.int64)
    # Numbers of 16 bits are sorted by counting. Two of them of each hash bring what is equal together, in its order.
    low, high = keys.astype(np.uint16), (keys >> np.uint64(48)).astype(np.uint16)
    order = np.argsort(low, kind="stable")
    places = order[np.argsort(high[order], kind="stable")]
    key = keys[places]
    border = np.ones(key.size + 1, np.bool_)
    np.not_equal(key[1:], key[:-1], out=border[1:-1])
    first = np.flatnonzero(border)
    first, size = first[:-1], np.diff(first)
    kind = np.concatenate((kinds[places], np.zeros(3, np.uint8)))
    begins = (kind[first] == STARTED) & (kind[first + 1] == PROCESSING)
    third = kind[first + 2]
    usual = begins & (size == 3) & (third == COMPLETED)
    full = begins & (size == 4) & (third == PARAMETERS) & (kind[first + 3] == COMPLETED)
    good = usual | full
    first, full = first[good], full[good]
    third = places[first + 2]
    return np.stack((places[first], places[first + 1], np.where(full, third, -1), places[first + 2 + full]))
