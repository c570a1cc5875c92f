"""Container envelopes: whose line it is, when it was written, and the line itself.

Every reader here gives ``Entry`` values in the order of the log. Pieces that the container runtime split (16 KiB, ``P``
marks) are joined again. What an envelope cannot show: bare lines have neither owner nor time; ``kubectl logs`` hides
which stream a line came from; stdout and stderr have no order between each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson

from oomscope.logs.clock import rfc3339_ns
from oomscope.logs.interface import Identity
from oomscope.logs.lines import MAX_LINE, LineReader, ObjectReader, Peeked, Reader
from oomscope.logs.records import Owners, Record, record_of
from oomscope.logs.reorder import Reorder

_POD_PREFIX = re.compile(r"\[pod/([^/\]\s]{1,253})/([^\]\s]{1,253})\] ")
_EVENT_DEPTH = {"[": 1, "{": 2}


class Entry(NamedTuple):
    """One line. ``at_ns``: nanoseconds since 1970 by the envelope's clock, None when it has none."""

    owner: Identity
    at_ns: int | None
    text: str
    number: int


@dataclass(slots=True)
class ReadState:
    """What reading an input found out besides its lines."""

    unfinished: bool = False  # its last line has no end
    dropped: int = 0  # events too large or not readable
    cut: set[Identity] | None = None  # owners whose last line is unfinished

    def mark_cut(self, owner: Identity) -> None:
        """The last line of this owner has no end."""
        self.cut = {*(self.cut or ()), owner}


Numbered = Iterable[tuple[int, str]]  # lines with their numbers


def read_entries(reader: Reader, envelope: str, owner: Identity, state: ReadState) -> Iterator[Entry]:
    """The lines of one input in the given envelope (see ``sniff_log``); ``owner`` is what is known from outside."""
    if envelope == "filter_log_events":
        return _events(reader, owner, state)
    return entries_of(_numbered(reader, state), envelope, owner, state)


def entries_of(lines: Numbered, envelope: str, owner: Identity, state: ReadState) -> Iterator[Entry]:
    """The same of single lines; an answer of FilterLogEvents must have one event a line."""
    return _DECODERS.get(envelope, _bare)(lines, owner, state)


def _numbered(reader: Reader, state: ReadState) -> Iterator[tuple[int, str]]:
    lines = LineReader(reader)
    yield from enumerate(lines, 1)
    state.unfinished = lines.cut_tail


def _bare(lines: Numbered, owner: Identity, state: ReadState) -> Iterator[Entry]:
    for number, text in lines:
        yield Entry(owner, None, text, number)
    if state.unfinished:
        state.mark_cut(owner)


def _cri(lines: Numbered, owner: Identity, state: ReadState) -> Iterator[Entry]:
    joiner = Joiner()
    number = 0
    for number, text in lines:
        at, _, rest = text.partition(" ")
        stream, _, rest = rest.partition(" ")
        mark, _, content = rest.partition(" ")
        at_ns = rfc3339_ns(at)
        if at_ns is None or mark[:1] not in ("F", "P"):
            yield Entry(owner, None, text, number)
            continue
        whole = joiner.join((stream,), content, mark[0] == "P", at_ns)
        if whole is not None:
            yield Entry(owner, whole[1], whole[0], number)
    for content, at_ns in joiner.rest():
        state.mark_cut(owner)
        yield Entry(owner, at_ns, content, number)


def _kubectl(lines: Numbered, owner: Identity, _state: ReadState) -> Iterator[Entry]:
    """``kubectl logs`` with ``--timestamps``, ``--prefix`` or both. The prefix stands before the time."""
    owners: dict[str, Identity] = {}
    for number, text in lines:
        mine = owner
        prefix = _POD_PREFIX.match(text) if text[:5] == "[pod/" else None
        if prefix:
            mine = owners.get(prefix[0]) or replace(owner, pod=prefix[1], container=prefix[2])
            if len(owners) < 10_000:
                owners[prefix[0]] = mine
        line = text[prefix.end() :] if prefix else text
        at, _, rest = line.partition(" ")
        at_ns = rfc3339_ns(at) if line[4:5] == "-" and len(at) > 19 else None
        yield Entry(mine, at_ns, rest if at_ns is not None else line, number)


def _docker(lines: Numbered, owner: Identity, state: ReadState) -> Iterator[Entry]:
    """docker's json-file."""
    return _objects(lines, Owners(owner, docker=True), owner, state)


def _json_lines(lines: Numbered, owner: Identity, state: ReadState) -> Iterator[Entry]:
    """One JSON object a line: Fluent Bit, Fluentd, OTLP, single CloudWatch events; other lines as they are."""
    return _objects(lines, Owners(owner), owner, state)


def _objects(lines: Numbered, owners: Owners, owner: Identity, state: ReadState) -> Iterator[Entry]:
    joiner, order = Joiner(), Reorder()
    number = 0
    last = owner
    for number, text in lines:
        record = record_of(as_object(text), owners)
        if record is None:
            record = Record(last, None, None, text, False, None)
        last = record.owner
        yield from _in_order(order, joiner, record, number)
    yield from _rest(order, joiner, state, number)


def _events(reader: Reader, owner: Identity, state: ReadState) -> Iterator[Entry]:
    """Answers of FilterLogEvents or GetLogEvents, one event at a time."""
    first = _first_byte(reader)
    objects = ObjectReader(Peeked(first, reader), _EVENT_DEPTH.get(first.decode("latin-1"), 2))
    yield from _records(enumerate(objects, 1), Owners(owner), state)
    state.dropped += objects.dropped


def _event_lines(lines: Numbered, owner: Identity, state: ReadState) -> Iterator[Entry]:
    """The same where every line is one event."""
    objects = ((number, as_object(text.strip().rstrip(","))) for number, text in lines)
    return _records(((number, found) for number, found in objects if found), Owners(owner), state)


def _records(
    objects: Iterable[tuple[int, dict[str, Any]]], owners: Owners, state: ReadState
) -> Iterator[Entry]:
    joiner, order = Joiner(), Reorder()
    number = 0
    for number, found in objects:
        record = record_of(found, owners)
        if record is None:
            state.dropped += "message" in found
            continue
        yield from _in_order(order, joiner, record, number)
    yield from _rest(order, joiner, state, number)


def _in_order(order: Reorder, joiner: Joiner, record: Record, number: int) -> Sequence[Entry]:
    owner, at_ns, stream, text, partial, exact = record
    if partial or joiner.waiting:
        whole = joiner.join((owner, stream), text, partial, at_ns)
        if whole is None:
            return ()
        text, at_ns = whole
    if "\n" not in text:
        return order.push(Entry(owner, at_ns, text, number), exact=exact)
    ready: list[Entry] = []
    for part in text.rstrip("\n").split("\n"):
        ready.extend(order.push(Entry(owner, at_ns, part, number), exact=exact))
    return ready


def _rest(order: Reorder, joiner: Joiner, state: ReadState, number: int) -> Iterator[Entry]:
    for key in list(joiner.waiting):
        state.mark_cut(key[0])
        for content, at_ns in joiner.take(key):
            yield from order.push(Entry(key[0], at_ns, content, number), exact=True)
    yield from order.rest()


def as_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a line is, None if it is none."""
    if text[:1] not in ("{", " "):
        return None
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _first_byte(reader: Reader) -> bytes:
    while (byte := reader.read(1)) and byte in b"\xef\xbb\xbf \t\r\n":
        pass
    return byte


class Joiner:
    """Joins the pieces of lines the container runtime split, at most ``MAX_LINE`` characters of each."""

    def __init__(self) -> None:
        self.waiting: dict[Any, tuple[list[str], int, int | None]] = {}

    def join(self, key: Any, content: str, partial: bool, at_ns: int | None) -> tuple[str, int | None] | None:
        """One piece; gives the whole line with the time of its first piece when it is complete."""
        begun = self.waiting.pop(key, None)
        if begun is None:
            if partial:
                self.waiting[key] = ([content], len(content), at_ns)
                return None
            return content, at_ns
        pieces, size, first_ns = begun
        if size < MAX_LINE:
            pieces.append(content)
        if partial:
            self.waiting[key] = (pieces, size + len(content), first_ns)
            return None
        return "".join(pieces), first_ns

    def take(self, key: Any) -> Iterator[tuple[str, int | None]]:
        """The unfinished line of one key."""
        pieces, _, at_ns = self.waiting.pop(key)
        yield "".join(pieces), at_ns

    def rest(self) -> Iterator[tuple[str, int | None]]:
        """All unfinished lines."""
        for key in list(self.waiting):
            yield from self.take(key)


_DECODERS: dict[str, Callable[[Numbered, Identity, ReadState], Iterator[Entry]]] = {
    "cri": _cri,
    "kubectl_ts": _kubectl,
    "kubectl_prefix": _kubectl,
    "docker": _docker,
    "fluentbit": _json_lines,
    "jsonl": _json_lines,
    "filter_log_events": _event_lines,
}
