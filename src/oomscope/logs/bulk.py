"""Takes whole blocks of lines for one life, with the very effect that feeding them line by line would have.

Clean requests (see ``block``) become rows at once and are counted in; what they leave behind that later lines could ask
for is kept until it no longer matters. All other lines go, in their order, to the scanner of the life, whose clock and
counters are first set to where they would stand. A block that may hold anything else (server lines, JSON, lines whose
meaning depends on all requests that run) is refused as a whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oomscope.logs.block import Block, take
from oomscope.logs.block_rows import Ends, Starts, Texts, columns, read_ends, read_starts, read_texts, zones
from oomscope.logs.bytescan import Flags, Ints
from oomscope.logs.clock import zone_seconds
from oomscope.logs.heads import COMPLETED, ENQUEUED, ODD
from oomscope.logs.life import PREFIX_LINES, Life
from oomscope.logs.rails_text import parse_completed, parse_processing, parse_started
from oomscope.logs.request_lines import MAX_PARAMS_KEPT, REPEATS
from oomscope.logs.request_rows import route, start_row
from oomscope.logs.rows import RequestRow, intern
from oomscope.logs.servers import parse_server_line
from oomscope.logs.shape import split_head
from oomscope.logs.tally import LATE_US
from oomscope.logs.tracker import LINGER

NEVER = -(1 << 62)
_HEX = b"0123456789abcdef-"
_LIFECYCLE = ("Started ", "Processing by ", "Completed ")
_OWN_PID = ("[", "*", "S")  # how lines of job runners begin that tell a process themselves


@dataclass(slots=True)
class _Past:
    """A block whose clean requests may still be asked for. ``endings``: the how manieth to end each was."""

    block: Block
    numbers: Ints  # of its lines in the source
    ids: set[str]
    columns: dict[str, Any]
    endings: Ints
    gone: set[int] = field(default_factory=set)  # rows that were handed to the tracker


class Bulk:
    """See above."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._scanner = life.scanner
        self._past: deque[_Past] = deque()

    def take(
        self, block: Block, data: memoryview, numbers: Ints, ats: Sequence[int | None] | None = None
    ) -> bool:
        """Take a block whose lines have these numbers and these times by the envelope's clock, if it has one.

        False: nothing was done, feed it line by line.
        """
        scanner = self._scanner
        if not fit(self._life) or self._refused(block):
            return False
        starts, ends, texts = self._read(block)
        if not self._zones_agree(block, starts) or not self._threads_suffice(block):
            return False
        past = self._keep(block, starts, ends, texts, numbers)
        self._count_lines(block, data, ats)
        _Feeding(scanner, block, past, texts, self._restore, ats).run()
        self._past.append(past)
        self._commit(scanner.tracker.endings - LINGER)
        return True

    # ------------------------------------------------------------------------------------------------ may it be taken

    def _refused(self, block: Block) -> bool:
        """Whether a line could mean something for requests other than the one it names."""
        return any(_unforeseen(block, index) for index in block.left[block.kinds[block.left] == ODD].tolist())

    def _read(self, block: Block) -> tuple[Starts, Ends, Texts]:
        """The fields of the clean requests; those that are not as expected are not clean after all."""
        while True:
            starts, ends = read_starts(block), read_ends(block)
            good = starts.good & ends.good
            if good.all():
                texts = read_texts(block, starts)
                good = self._free(texts)
                if good.all():
                    return starts, ends, texts
            take(block, np.stack(block.clean)[:, good])

    def _free(self, texts: Texts) -> Flags:
        """Which requests have readable texts, and ids that mean nothing to the scanner so far."""
        ids = set(texts.ids)
        busy = self._scanner.tracker.touches(ids) | self._scanner.requests.in_begun_blocks(ids)
        for past in self._past:
            if not ids.isdisjoint(past.ids):
                busy |= ids & past.ids
        strange = "".join(texts.ids).encode().translate(None, _HEX) != b""
        if not busy and not strange and None not in texts.processing and '"' not in "".join(texts.targets):
            return np.ones(len(texts.ids), np.bool_)
        fine = [
            processing is not None
            and '"' not in target
            and one not in busy
            and not one.encode().translate(None, _HEX)
            for one, target, processing in zip(texts.ids, texts.targets, texts.processing, strict=True)
        ]
        return np.array(fine, np.bool_)

    def _zones_agree(self, block: Block, starts: Starts) -> bool:
        return {zone_seconds(zone) for zone in zones(block, starts)} <= {self._scanner.clock.offset_s}

    def _threads_suffice(self, block: Block) -> bool:
        """Whether no process can run more requests at a time in this block than it has threads."""
        threads = self._scanner.tracker.threads
        if threads is None:
            return True
        lines = np.flatnonzero(block.kinds == COMPLETED)
        begun = np.flatnonzero((block.kinds == COMPLETED - 2) & block.tagged)
        for pid in np.unique(block.pids[begun]).tolist():
            plus, minus = begun[block.pids[begun] == pid], block.clean.completed
            minus = minus[block.pids[minus] == pid]
            most = np.arange(1, plus.size + 1) - np.searchsorted(minus, plus)
            if int(most.max()) + self._scanner.tracker.running(pid) > threads:
                return False
        return lines.size >= 0

    # ---------------------------------------------------------------------------------------------------- taking it

    def _keep(self, block: Block, starts: Starts, ends: Ends, texts: Texts, numbers: Ints) -> _Past:
        block.times -= (self._scanner.clock.offset_s or 0) * 1_000_000
        found = columns(block, starts, ends, texts, numbers)
        return _Past(block, numbers, set(texts.ids), found, np.empty(0, np.int64))

    def _count_lines(self, block: Block, data: memoryview, ats: Sequence[int | None] | None) -> None:
        life, tally = self._life, self._scanner.tally
        life.digest.add_block(data, block.starts.size)
        life.bytes += len(data) if block.ascii else len(str(data, "utf-8"))
        life.last_at = ats[-1] if ats else None
        taken = block.starts.size - block.left.size
        tally.lines += taken
        tally.recognised += taken
        tally.dated += taken
        tally.completions += block.clean.completed.size
        if taken:
            times = np.delete(block.times, block.left)
            tally.saw(int(times.min()))
            tally.saw(int(times.max()))
            if ats is not None:
                told = np.delete(np.array([NEVER if at is None else at for at in ats], np.int64), block.left)
                tally.timed += int((told != NEVER).sum())
                tally.late += int((told - times > LATE_US)[told != NEVER].sum())

    def _restore(self, request_id: str) -> None:
        """Give the tracker a clean request that a later line names, if it could still know it."""
        for past in self._past:
            if request_id in past.ids:
                past.ids.discard(request_id)
                place = past.block.ids(past.block.clean.started).index(request_id)
                past.gone.add(place)
                self._scanner.tracker.linger(request_id, _row(past, place), int(past.endings[place]))

    def _commit(self, expired: int) -> None:
        """Rows of blocks that nobody can ask for any more are final."""
        while self._past and (not self._past[0].endings.size or self._past[0].endings[-1] <= expired):
            past = self._past.popleft()
            if past.columns:
                self._scanner.tracker.rows.add_columns(past.columns, past.gone)

    def dissolve(self) -> None:
        """Lines are fed one by one from here on: the tracker has to know what they could ask for."""
        if not self._past:
            return
        for past in self._past:
            for line in _lifecycle(past.block)[-REPEATS:].tolist():
                self._scanner.requests.remember(past.block.line(line))
            alive = past.endings > self._scanner.tracker.endings - LINGER
            ids = past.block.ids(past.block.clean.started)
            for place in np.flatnonzero(alive).tolist():
                if place not in past.gone:
                    past.gone.add(place)
                    self._scanner.tracker.linger(ids[place], _row(past, place), int(past.endings[place]))
        self._commit(self._scanner.tracker.endings)

    def finish(self) -> None:
        """No more lines for this life."""
        self._commit(self._scanner.tracker.endings)


def fit(life: Life) -> bool:
    """Whether a life's log has the shape that blocks can be read in: logger prefix, request id as a tag."""
    scanner = life.scanner
    if not scanner.settled or scanner.reborn or life.digest.lines <= PREFIX_LINES:
        return False
    shape = scanner.shape
    return shape is not None and shape.prefix and shape.matchable and scanner.clock.offset_s is not None


def _unforeseen(block: Block, index: int) -> bool:
    text = block.line(index)
    if block.tagged[index]:
        return False
    if text[:1] == "{" or parse_server_line(text) is not None:
        return True
    head = split_head(text) if text[1:4] == ", [" else None
    return head is not None and not head.tags and text.startswith(_LIFECYCLE, head.start)


def _lifecycle(block: Block) -> Ints:
    clean = block.clean
    return np.sort(np.concatenate((clean.started, clean.processing, clean.completed)))


def _row(past: _Past, place: int) -> RequestRow:
    """A clean request as the tracker keeps it: parsed again, which is seldom needed."""
    block, clean = past.block, past.block.clean
    started, processing, completed = (
        int(lines[place]) for lines in (clean.started, clean.processing, clean.completed)
    )
    found = parse_started(_message(block, started))
    done = parse_completed(_message(block, completed))
    action = parse_processing(_message(block, processing))
    if found is None or done is None or action is None:
        raise ValueError("a clean request reads otherwise than before")
    row = start_row(int(block.pids[started]), int(block.times[started]), int(past.numbers[started]), found)
    row.request_id, row.state = block.request_id(started), "completed"
    row.endpoint, row.format = intern(action[0]), intern(action[1])
    row.processing_at, row.ended_at = int(block.times[processing]), int(block.times[completed])
    row.status, row.duration_ms, row.view_ms, row.db_ms, row.gc_ms, row.allocations = done
    if clean.parameters[place] >= 0:
        line = int(clean.parameters[place])
        text = _message(block, line)[len("  Parameters: ") :]
        row.params = text[:MAX_PARAMS_KEPT]
        row.params_bytes = int(block.ends[line] - block.messages[line]) - len("  Parameters: ")
    return row


def _message(block: Block, index: int) -> str:
    return block.piece(int(block.messages[index]), int(block.ends[index]))


class _Feeding:
    """The lines of one block that are left, fed in order, with everything else counted in where it stands."""

    def __init__(
        self,
        scanner: Any,
        block: Block,
        past: _Past,
        texts: Texts,
        restore: Any,
        ats: Sequence[int | None] | None,
    ) -> None:
        self._scanner, self._block, self._past, self._restore = scanner, block, past, restore
        self._texts, self._ats = texts, ats
        clean = block.clean
        self._recent = _lifecycle(block)
        self._spoken = np.sort(np.concatenate((self._recent, clean.parameters[clean.parameters >= 0])))
        self._started = np.sort(clean.started)
        self._left = block.left
        taken = np.ones(block.starts.size, np.bool_)
        taken[self._left] = False
        self._taken = np.flatnonzero(taken)
        self._done_recent = self._done_started = self._done_ended = self._done_seen = 0
        self._fed_by: dict[int, int] = {}  # the last line fed of each process
        self._fed_endings: list[int] = []  # the lines left that ended a request, once for each

    def run(self) -> None:
        """Feed all of them."""
        scanner, block, left = self._scanner, self._block, self._left
        self._learn_routes()
        clean = block.clean
        recent = np.searchsorted(self._recent, left).tolist()
        spoken = np.diff(np.searchsorted(self._spoken, left), prepend=0).tolist()
        started = np.searchsorted(self._started, left).tolist()
        ended = np.searchsorted(clean.completed, left).tolist()
        seen = np.searchsorted(self._taken, left).tolist()
        before = block.times[left - 1].tolist()
        last = -1
        for place, index in enumerate(left.tolist()):
            if index - 1 > last:
                scanner.clock.now, scanner.clock.dated = before[place], True
            if spoken[place]:
                scanner.requests.in_block = False
            self._count(started[place], ended[place])
            text = block.line(index)
            self._prepare(index, text, recent[place], seen[place])
            endings = scanner.tracker.endings
            scanner.feed(text, self._ats[index] if self._ats else None, int(self._past.numbers[index]))
            self._fed_endings += [index] * (scanner.tracker.endings - endings)
            last = index
        self._finish(last)

    def _finish(self, last: int) -> None:
        block, scanner, clean = self._block, self._scanner, self._block.clean
        count = block.starts.size
        if count - 1 > last:
            scanner.clock.now, scanner.clock.dated = int(block.times[count - 1]), True
        if self._spoken.size and self._spoken[-1] > last:
            scanner.requests.in_block = False
        scanner.requests.talked()
        self._count(self._started.size, clean.completed.size)
        self._remember(self._recent.size)
        self._see(self._taken.size)
        tracker, tracker_rows = scanner.tracker, clean.started.size
        tracker.opened += tracker_rows
        tracker.closed += tracker_rows
        base = tracker.endings - clean.completed.size - len(self._fed_endings)
        between = np.searchsorted(np.array(self._fed_endings, np.int64), clean.completed)
        self._past.endings = base + 1 + np.arange(clean.completed.size) + between

    def _learn_routes(self) -> None:
        texts, tracker = self._texts, self._scanner.tracker
        paths = [target.partition("?")[0] for target in texts.targets]
        tracker.sketch.add_all(zip(texts.ids, paths, strict=True))
        for method, path in dict.fromkeys(zip(texts.methods, paths, strict=True)):
            tracker.learn_route(method, route(path))

    def _count(self, started: int, ended: int) -> None:
        if started > self._done_started or ended > self._done_ended:
            self._scanner.tracker.skip(started - self._done_started, ended - self._done_ended)
            self._done_started, self._done_ended = started, ended

    def _prepare(self, index: int, text: str, recent: int, seen: int) -> None:
        """Have the scanner know what this line could ask for."""
        block = self._block
        if block.kinds[index] == ENQUEUED:
            return
        if block.kinds[index] != ODD or any(word in text for word in _LIFECYCLE):
            self._remember(recent)
        if block.tagged[index]:
            self._restore(block.request_id(index))
        if block.kinds[index] == ODD:
            for place in block.mentions(index):
                self._restore(block.text[place : place + 36])
        if block.prefixed[index]:
            pid = int(block.pids[index])
            if not self._scanner.lives.knows(pid):
                self._see(seen)
            self._fed_by[pid] = index
        elif text[1:4] == ", [" or text[:1] in _OWN_PID or "pid=" in text[:120] or "TID-" in text[:120]:
            self._see(seen)

    def _remember(self, until: int) -> None:
        for line in self._recent[max(self._done_recent, until - REPEATS) : until].tolist():
            self._scanner.requests.remember(self._block.line(line))
        self._done_recent = until

    def _see(self, until: int) -> None:
        """Which processes wrote the lines taken since."""
        lines = self._taken[self._done_seen : until]
        self._done_seen = until
        if not lines.size:
            return
        pids = self._block.pids[lines]
        places = {int(pid): int(line) for pid, line in zip(*_last_of(pids, lines), strict=True)}
        first = {int(pid): int(line) for pid, line in zip(*_last_of(pids[::-1], lines[::-1]), strict=True)}
        for pid in sorted(places, key=first.__getitem__):
            if places[pid] > self._fed_by.get(pid, -1):
                self._scanner.lives.seen(pid, int(self._block.times[places[pid]]))


def _last_of(pids: Ints, lines: Ints) -> tuple[Ints, Ints]:
    """Each process once, with its last line."""
    found, places = np.unique(pids[::-1], return_index=True)
    return found, lines[::-1][places]
