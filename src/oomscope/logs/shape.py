"""What the lines of one stream look like: logger prefix or not, tags or not, and which tag is the request id.

A line that lacks the usual prefix or tags of its stream is the continuation of the line before it, never a life cycle
line of its own: that is what defeats log lines forged inside exception messages and file names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_TAG_TEXT = r"(?:\[[^\]\n]{1,400}\]{1,4} )+"
_TAGS = re.compile(_TAG_TEXT)
_PREFIXED = re.compile(
    r"[DIWEFAU], \[(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{6}) #(\d{1,10})\] {1,2}[A-Z]{3,7} -- [^:\n]{0,80}:(?: |$)"
    rf"({_TAG_TEXT})?"
)
# Formatters of the house: a time and a level in either order, brackets and dashes at will, then the tags. A level may
# stand alone, where what wrote the envelope has taken the time off.
_LEVEL = r"\[?(?:DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL|UNKNOWN)\]?"
_TIME = (
    r"\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,](\d{1,6})\d{0,3})?"
    r"(?:Z| ?UTC| ?[+-]\d\d:?\d\d)?(?: ?#(\d{1,10}))?\]?"
)
_BETWEEN = r"[ :|-]{1,8}"
_STAMPED = re.compile(
    rf"(?:{_TIME}{_BETWEEN}{_LEVEL}|{_LEVEL}{_BETWEEN}{_TIME}|{_LEVEL}){_BETWEEN}({_TAG_TEXT})?"
)
_STAMP_STARTS = frozenset("2[DIWEFU")
_ANSI = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")
_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE
)
_TRACE = re.compile(r"Root=?1-([0-9a-fA-F]{8})-([0-9a-fA-F]{24})(?![0-9a-fA-F])")
_LIFECYCLE = ("Started ", "Processing by ", "Completed ")


class Head(NamedTuple):
    """The start of a line: ``second`` and ``micros`` of the logger prefix (its own zone), pid, tags, message start."""

    second: str | None
    micros: int
    pid: int | None
    tags: str
    start: int


def split_head(text: str) -> Head:
    """Take the logger prefix and the tags off a line. The tags stay one text, see ``tag_list``."""
    if text[1:4] == ", [":
        found = _PREFIXED.match(text)
        if found:
            second, micros, pid, prefixed = found.groups()
            return Head(second, int(micros), int(pid), prefixed or "", found.end())
    if text[:1] in _STAMP_STARTS:
        stamped = _STAMPED.match(text)
        if stamped:
            return _stamped_head(stamped)
    if text[:1] == "[":
        tags = _TAGS.match(text)
        if tags:
            return Head(None, 0, None, tags[0], tags.end())
    return Head(None, 0, None, "", 0)


def _stamped_head(found: re.Match[str]) -> Head:
    first, last = found.group(1, 2, 3), found.group(4, 5, 6)
    second, fraction, pid = first if first[0] else last
    return Head(
        second.replace(" ", "T") if second else None,
        int((fraction or "0").ljust(6, "0")),
        int(pid) if pid else None,
        found[7] or "",
        found.end(),
    )


def tag_list(tags: str) -> list[str]:
    """``"[a] [b] "`` as ``["a", "b"]``."""
    return tags[1:-2].split("] [") if tags else []


def strip_ansi(text: str) -> str:
    """The text without terminal colour codes."""
    return _ANSI.sub("", text) if "\x1b" in text else text


def looks_like_id(tag: str) -> bool:
    """Whether a tag has the form Rails generates for request ids (UUID, or 32 hex)."""
    return len(tag) in (32, 36) and _UUID.fullmatch(tag) is not None


def trace_id(text: str) -> str | None:
    """The X-Amzn-Trace-Id in a tag as ``Root=1-8hex-24hex``; Rails drops ``=`` and ``;`` when it is the request id."""
    found = _TRACE.search(text) if "Root" in text else None
    return f"Root=1-{found[1]}-{found[2]}" if found else None


def is_lifecycle(text: str, start: int) -> bool:
    """Whether the message at ``start`` reads like a life cycle line of a request."""
    return text.startswith(_LIFECYCLE, start)


@dataclass(frozen=True, slots=True)
class Shape:
    """The usual form of a stream's request lines. ``id_index``: which tag is the request id (None: no tag is).

    ``generated``: most ids are UUIDs, so that a UUID elsewhere wins when a blank tag was dropped. ``doubled``: every
    line is written twice (two sinks), so that repeats are dropped. ``stamped``: the prefix is not Ruby's own but that
    of a formatter of the house.
    """

    prefix: bool
    tagged: bool
    id_index: int | None
    generated: bool
    doubled: bool = False
    stamped: bool = False

    @property
    def matchable(self) -> bool:
        """Whether lines can be told apart by their first bytes: Ruby's own prefix or none, the request id first."""
        return self.tagged and not self.doubled and not self.stamped and self.id_index == 0

    def request_id(self, tags: Sequence[str]) -> str | None:
        """The tag that ties the lines of one request together."""
        if self.id_index is None or not tags:
            return None
        tag = tags[self.id_index] if self.id_index < len(tags) else tags[-1]
        if self.generated and len(tags) > 1 and not looks_like_id(tag):
            return next((other for other in tags if looks_like_id(other)), tag)
        return tag


def learn(lines: Iterable[str]) -> Shape | None:
    """The shape most life cycle lines agree on; None when there is no such line."""
    votes: list[tuple[Head, str]] = []
    for line in lines:
        head = split_head(line)
        if is_lifecycle(line, head.start):
            votes.append((head, line))
    if not votes:
        return None
    prefixed = sum(head.second is not None for head, _ in votes) * 2 > len(votes)
    usual = [(head, line) for head, line in votes if (head.second is not None) == prefixed]
    tagged = sum(bool(head.tags) for head, _ in usual) * 2 > len(usual)
    stamped = not any(_plain(head, line) for head, line in usual)
    if not tagged:
        return Shape(prefixed, False, None, False, _doubled(usual), stamped)
    index, generated = _id_index([tag_list(head.tags) for head, _ in usual if head.tags])
    return Shape(prefixed, index is not None, index, generated, _doubled(usual), stamped)


def _plain(head: Head, line: str) -> bool:
    """Whether a line begins with Ruby's own prefix, or with nothing before its tags and message."""
    return line[1:4] == ", [" or head.start == len(head.tags)


def _id_index(rows: list[list[str]]) -> tuple[int | None, bool]:
    """Which tag position tells requests apart; UUIDs first, then the most varied one, then the leftmost."""
    best: tuple[float, float, int] | None = None
    for index in range(min(max(map(len, rows)), 8)):
        column = [row[index] for row in rows if index < len(row)]
        ids = sum(map(looks_like_id, column)) / len(column)
        varied = len(set(column)) / len(column)
        trace = any(trace_id(tag) for tag in column[:20])
        if len(column) >= 24 and varied < 0.1:
            continue  # a constant or an enumeration, not an id
        score = (1.0 if ids >= 0.5 else 0.0, 0.0 if trace else varied, -index)
        best = score if best is None else max(best, score)
    return (None, False) if best is None else (-best[2], best[0] > 0)


def _doubled(votes: list[tuple[Head, str]]) -> bool:
    starts = [line for head, line in votes if line.startswith("Started ", head.start)]
    return len(starts) >= 4 and len(set(starts)) * 2 == len(starts)
