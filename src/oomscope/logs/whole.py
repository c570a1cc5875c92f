"""The general scan: inputs to lives, copies folded, tables built."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo

import polars as pl

from oomscope.facts import JOB_SCHEMA, REQUEST_SCHEMA, Coverage, Gap, LogStream, ProcessLife, empty
from oomscope.logs.clock import from_us
from oomscope.logs.drain import drain
from oomscope.logs.envelopes import Entry, ReadState, read_entries
from oomscope.logs.fitness import judge
from oomscope.logs.folding import compatible, filled, fold
from oomscope.logs.interface import Identity, LogInput, LogScan
from oomscope.logs.life import Digest, Life
from oomscope.logs.lines import Peeked, Reader
from oomscope.logs.params import to_json
from oomscope.logs.rows import MOST_IN_ALL, stream_table
from oomscope.logs.sniff import HEAD_BYTES, sniff
from oomscope.logs.tracker import NOTE_BEFORE_CONTROLLER, NOTE_MIDDLEWARE
from oomscope.units import iso

_MAX_LIVES = 2000
_BROKEN = (OSError, EOFError, zlib.error)
_LEAST_COPY = 200
_FAR_BACK_US = 6 * 3600 * 1_000_000  # requests that ended earlier say nothing about a kill
_OF_ONE_CONTAINER = ("bare", "cri", "docker", "kubectl_ts")
_RANKS = {
    "filter_log_events": 0,
    "fluentbit": 0,
    "jsonl": 1,
    "kubectl_prefix": 1,
    "cri": 2,
    "docker": 2,
    "kubectl_ts": 2,
}
_ENVELOPE_NAMES = {"kubectl_ts": "kubectl", "kubectl_prefix": "kubectl"}


class Book:
    """All lives met so far, by input and owner."""

    def __init__(
        self,
        tz: tzinfo | None,
        *,
        only_open: bool = False,
        sink: Callable[[pl.DataFrame], None] | None = None,
    ) -> None:
        self.matching = only_open or sink is not None
        self.sink = sink  # takes the lifecycles of whole requests
        self.gaps: list[Gap] = []
        self.finished: list[Life] = []
        self._tz = tz
        self._lives: dict[Identity, Life] = {}  # of the current input
        self._ended: dict[
            tuple[str, str], Life
        ] = {}  # containers by id and envelope, which a later input may go on
        self._met = 0
        self._dropped = 0

    def rank(self, source: LogInput) -> tuple[bool, int]:
        """What knows its owner and its times is read first, so that the others are recognised as its copies."""
        try:
            with source.open() as reader:
                envelope = sniff(_peek(reader)[0]) or "bare"
        except _BROKEN:
            envelope = "bare"
        return source.identity.container_id is None, _RANKS.get(envelope, 3)

    def read(self, source: LogInput) -> None:
        """One input, to its end or to where it breaks."""
        state = ReadState()
        try:
            with source.open() as reader:
                head, whole = _peek(reader)
                if not head.strip():
                    self.gaps.append(_gap(source, "no_data", "is empty"))
                    return
                envelope = sniff(head) or "bare"
                if self._is_copy(source, envelope):
                    return
                drain(whole, envelope, source, state, self)
        except _BROKEN as error:
            self.gaps.append(_gap(source, "cut", f"could not be read to its end ({type(error).__name__})"))
        self._close(source, state)

    def _is_copy(self, source: LogInput, envelope: str) -> bool:
        """Whether a log of one container holds the very lines of a life already read: then nothing is to be parsed.

        Hashing lines costs a tenth of reading them. Logs too short to be told apart by their lines are not looked at.
        """
        lives = (*self.finished, *self._ended.values())
        known = {life.digest.prefix: life for life in lives if not life.scanner.tracker.partial}
        known.pop(None, None)
        if not known or envelope not in _OF_ONE_CONTAINER:
            return False
        state, digest, twin = ReadState(), Digest(), None
        try:
            with source.open() as reader:
                for entry in read_entries(reader, envelope, source.identity, state):
                    digest.add(entry.text)
                    if digest.prefix is not None and twin is None:
                        twin = known.get(digest.prefix)
                        if twin is None or not compatible(twin.identity, source.identity):
                            return False
        except _BROKEN:
            return False
        if twin is None or digest.lines < _LEAST_COPY or not digest.same(twin.digest):
            return False
        twin.also_in = (*twin.also_in, source.label)
        twin.identity = filled(twin.identity, source.identity)
        twin.cut_tail = twin.cut_tail or bool(state.cut)
        return True

    def life(self, owner: Identity, source: str, envelope: str, at: int | None) -> Life | None:
        """The life of this owner in the current input; None when there are too many.

        Pages of one answer come as several inputs: a container that goes on where an earlier one stopped is the same.
        """
        life = self._lives.get(owner)
        if life is not None:
            return life
        name = _ENVELOPE_NAMES.get(envelope, envelope)
        earlier = self._ended.get((owner.container_id, name)) if owner.container_id else None
        last = earlier.last_at if earlier is not None else None
        if earlier is not None and at is not None and last is not None and at >= last:
            earlier.also_in = (*earlier.also_in, source)
            life = self._lives[owner] = earlier
        elif self._met < _MAX_LIVES:
            self._met += 1
            life = self._lives[owner] = Life(owner, source, name, self._met, self._tz)
        else:
            self._dropped += 1
        return life

    def current(self) -> list[Life]:
        """The lives of the current input."""
        return list(self._lives.values())

    def told_whole(self) -> int:
        """Requests of the current input that were told in one line."""
        self._work_off()
        return sum(life.scanner.tracker.whole for life in self.current())

    def _work_off(self) -> None:
        for owner, life in list(self._lives.items()):
            life.scanner.work_off()
            if life.scanner.reborn:
                self.succeed(owner, life)

    def forget(self) -> None:
        """What ended so far in the current input is not wanted as rows, since only some of it is known."""
        if any(life.scanner.tracker.partial for life in self.current()):
            self._work_off()
        scanners = [life.scanner for life in self.current()]
        now = max((scanner.clock.now for scanner in scanners if scanner.clock.now is not None), default=None)
        for scanner in scanners:
            if scanner.tracker.partial:
                scanner.forget(now)

    def settle(self) -> None:
        """The lines that follow are given one by one."""
        for life in self.current():
            if life.bulk is not None:
                life.bulk.dissolve()

    def drain(self, entries: Iterable[Entry], source: str, envelope: str) -> int:
        """Give lines one by one to the lives they belong to; the highest number."""
        owner: Identity | None = None
        life: Life | None = None
        highest = 0
        for entry_owner, at_ns, text, number in entries:
            highest = max(highest, number)
            at = None if at_ns is None else at_ns // 1000
            if life is None or entry_owner is not owner:
                owner, life = entry_owner, self.life(entry_owner, source, envelope, at)
                if life is None:
                    continue
            life.feed(text, at, number)
            if life.scanner.reborn:
                life = self.succeed(entry_owner, life)
        return highest

    def succeed(self, owner: Identity, life: Life) -> Life:
        """The container of this owner was started again inside the same input."""
        while life.scanner.reborn:
            later = life.successor()
            self.finished.append(life)
            self._met += 1
            later.order = self._met
            life = later
        self._lives[owner] = life
        return life

    def _close(self, source: LogInput, state: ReadState) -> None:
        for owner, life in list(self._lives.items()):
            life.cut_tail = owner in (state.cut or ())
            if owner.container_id:
                known = self._ended.get((owner.container_id, life.envelope))
                if known is not None and known is not life:
                    self._finish(known)
                self._ended[owner.container_id, life.envelope] = life
            else:
                self._finish(life)
        self._lives.clear()
        self._shrink()
        if state.dropped:
            self.gaps.append(_gap(source, "unparsable", f"has {state.dropped} events that could not be read"))
        if self._dropped:
            self.gaps.append(_gap(source, "cut", f"has lines of more than {_MAX_LIVES} containers"))
            self._dropped = 0

    def _shrink(self) -> None:
        """Share the room for rows among all streams met so far."""
        tables = [life.scanner.tracker.rows for life in (*self.finished, *self._ended.values())]
        if sum(table.kept for table in tables) > MOST_IN_ALL:
            for table in tables:
                table.shrink(MOST_IN_ALL // len(tables))

    def _finish(self, life: Life) -> None:
        cut, life.cut_tail = life.cut_tail, False
        life.finish()
        while life.scanner.reborn:
            later = life.successor()
            self.finished.append(life)
            self._met += 1
            later.order = self._met
            later.finish()
            life = later
        life.cut_tail = cut
        self.finished.append(life)

    def end(self) -> list[Life]:
        """All lives that have lines, when no more inputs come."""
        for life in self._ended.values():
            self._finish(life)
        self._ended.clear()
        return [life for life in self.finished if life.scanner.tally.lines]


def _peek(reader: Reader) -> tuple[bytes, Peeked]:
    """The first bytes, and a reader that gives them again before the rest."""
    head, error = b"", None
    read: Callable[[int], bytes] = getattr(reader, "read1", reader.read)
    try:
        while len(head) < HEAD_BYTES and (more := read(HEAD_BYTES - len(head))):
            head += more
    except _BROKEN as broken:
        error = broken
    return head, Peeked(head, reader, error)


def _gap(source: LogInput, reason: str, detail: str) -> Gap:
    return Gap("app_log", reason, f"{source.label} {detail}")  # type: ignore[arg-type]


def scan_inputs(
    inputs: Sequence[LogInput],
    *,
    tz: tzinfo | None = None,
    only_open: bool = False,
    sink: Callable[[pl.DataFrame], None] | None = None,
) -> LogScan:
    """See ``oomscope.logs.scan``, ``scan_open`` and ``scan_lifecycles``."""
    book = Book(tz, only_open=only_open, sink=sink)
    for source in sorted(inputs, key=book.rank):
        book.read(source)
    lives = fold(book.end())
    names = _names(lives)
    streams, gaps = [], list(book.gaps)
    processes: list[ProcessLife] = []
    requests, jobs = [], []
    for life, name in zip(lives, names, strict=True):
        streams.append(_stream(life, name))
        processes.extend(life.scanner.lives.facts(name))
        gaps.extend(_undated(life))
        gaps.extend(() if book.matching else _given_up(life))
        requests.append(stream_table(life.scanner.tracker.rows.frame(), REQUEST_SCHEMA, name, life.identity))
        jobs.append(stream_table(life.scanner.jobs.rows.frame(), JOB_SCHEMA, name, life.identity))
    table = _joined(requests, REQUEST_SCHEMA)
    if only_open:
        table = _unended(table)
    return LogScan(
        requests=_readable(table),
        jobs=_joined(jobs, JOB_SCHEMA),
        streams=tuple(streams),
        lives=tuple(processes),
        gaps=tuple(gaps),
    )


def _unended(requests: pl.DataFrame) -> pl.DataFrame:
    """What had not ended. Whether a path ever reaches a controller cannot be said when most lines were not read."""
    said = ~pl.col("note").is_in((NOTE_MIDDLEWARE, NOTE_BEFORE_CONTROLLER))
    unsaid = pl.when(said).then("note").alias("note")
    return requests.filter(~pl.col("state").is_in(("completed", "errored"))).with_columns(unsaid)


def _names(lives: Iterable[Life]) -> list[str]:
    """The key of each stream: container id, pod/container, or source, made unique."""
    seen: dict[str, int] = {}
    names = []
    for life in lives:
        identity = life.identity
        pod = "/".join(part for part in (identity.pod, identity.container) if part)
        name = identity.container_id or pod or life.source
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return names


def _stream(life: Life, name: str) -> LogStream:
    scanner, identity = life.scanner, life.identity
    fitness = judge(scanner)
    tally, tracker = scanner.tally, scanner.tracker
    return LogStream(
        stream=name,
        source=life.source,
        namespace=identity.namespace,
        pod=identity.pod,
        container=identity.container,
        container_id=identity.container_id,
        pod_uid=identity.pod_uid,
        node=identity.node,
        envelope=life.envelope,
        shape=fitness.shape,
        first_at=from_us(tally.first_at),
        last_at=from_us(tally.last_at),
        coverage=Coverage(tally.lines, tally.recognised, life.bytes, tracker.opened, tracker.closed),
        cannot_show=fitness.cannot_show,
        why=fitness.why,
        fix=fitness.fix,
        cut_tail=life.cut_tail,
        stop_seen_at=from_us(scanner.lives.stop_at),
        boot_seen_at=from_us(scanner.lives.boot_at),
        error_seen=scanner.lives.error,
        also_in=life.also_in,
    )


def _undated(life: Life) -> list[Gap]:
    if not life.scanner.tally.undated:
        return []
    detail = f"{life.source} has times without a zone, and nothing in it tells which zone they are in"
    return [Gap("app_log", "unparsable", detail, fix="say it with --tz, for example --tz UTC")]


def _given_up(life: Life) -> list[Gap]:
    count = life.scanner.tracker.rows.given_up
    since, last = life.scanner.whole_from, life.scanner.tally.last_at
    if not count or (since is not None and last is not None and last - since > _FAR_BACK_US):
        return []
    began = from_us(since)
    which = f"{count:,} that ended" + (f" before {iso(began)}" if began is not None else " first")
    detail = f"{life.source} has more requests than are kept: {which} were counted and left out, open ones are kept"
    return [Gap("app_log", "cut", detail)]


def _joined(tables: list[pl.DataFrame], schema: dict[str, str]) -> pl.DataFrame:
    full = [table for table in tables if table.height]
    tables.clear()  # a large table is not held twice
    if not full:
        return empty(schema)
    return pl.concat(full).sort("stream", "started_at", "line", maintain_order=True)


def _readable(requests: pl.DataFrame) -> pl.DataFrame:
    """Parameters as JSON: done last, so that folded copies cost nothing."""
    if not requests.height:
        return requests
    texts = [to_json(text) for text in requests["params"]]
    return requests.with_columns(pl.Series("params", texts, pl.String))
