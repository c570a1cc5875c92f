"""Clean requests of a block as columns: their lines are read together, field by field."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from oomscope.logs.block import Block
from oomscope.logs.bytescan import Cursors, Flags, Ints, View
from oomscope.logs.rails_text import parse_processing

Floats = npt.NDArray[np.float64]

_METHOD, _PHRASE, _CLIENT, _REMARK = 20, 40, 60, 60  # the longest that are read here
_STAMP = len(" at 2026-11-23 08:23:04 +0000")


class Starts(NamedTuple):
    """Where the parts of Started lines are, and which lines are as expected."""

    method_end: Ints
    path: Ints
    path_end: Ints
    client: Ints
    client_end: Ints
    good: Flags


class Ends(NamedTuple):
    """What Completed lines say; NaN and -1 where they say nothing."""

    status: Ints
    duration: Ints
    view: Floats
    db: Floats
    gc: Floats
    allocations: Ints
    good: Flags


def read_starts(block: Block) -> Starts:
    """The Started lines of the clean requests."""
    view, lines = block.view, block.clean.started
    ends = block.ends[lines]
    cursors = Cursors(view, block.messages[lines] + len("Started "), ends)
    cursors.until(b' "', _METHOD)
    method_end = cursors.at.copy()
    cursors.skip(b' "')
    stamp = ends - _STAMP
    good = cursors.good & (stamp > cursors.at + 6) & view.says(stamp, b" at ")
    # The client is the last word before the time. A quote inside the path is seen when the path is taken out.
    client = _word_before(block, stamp, good)
    good &= (client < stamp) & (client - 6 >= cursors.at) & view.says(client - 6, b'" for ')
    return Starts(method_end, cursors.at, client - 6, client, stamp, good)


def _word_before(block: Block, ends: Ints, where: Flags) -> Ints:
    """Where the word that ends at each position begins."""
    found = ends.copy()
    looking = np.flatnonzero(where)
    at = ends[looking]
    for _ in range(_CLIENT):
        on = block.view.bytes[at - 1] != 0x20
        found[looking[~on]] = at[~on]
        looking, at = looking[on], at[on] - 1
        if not looking.size:
            break
    return found


def zones(block: Block, starts: Starts) -> set[str]:
    """The time zones that Started lines name (``+0000``)."""
    ends = block.ends[block.clean.started][starts.good]
    values = np.unique(block.view.words[ends - 8] >> np.uint64(24))
    return {value.to_bytes(8, "little")[:5].decode("latin-1") for value in values.tolist()}


def read_ends(block: Block) -> Ends:
    """The Completed lines of the clean requests."""
    lines = block.clean.completed
    return read_completed(block.view, block.messages[lines], block.ends[lines])


def read_completed(view: View, messages: Ints, stops: Ints) -> Ends:
    """The Completed lines whose messages stand at these positions."""
    cursors = Cursors(view, messages + len("Completed "), stops)
    status = cursors.number()
    cursors.good &= cursors.at == messages + len("Completed 200")
    _phrase(cursors)
    duration = cursors.number()
    cursors.skip(b"ms")
    told = cursors.at < cursors.ends
    cursors.need(b" (", told)
    viewed = _time(cursors, b"Views: ")
    db = _time(cursors, b"ActiveRecord: ")
    counting = cursors.maybe(b"Allocations: ")
    allocations = np.where(counting, cursors.number(counting), -1)
    gc = _time(cursors, b"GC: ")
    cursors.need(b")", told)
    cursors.at_end()
    return Ends(status, duration, viewed, db, gc, allocations, cursors.good)


def _time(cursors: Cursors, name: bytes) -> Floats:
    """``Views: 1.2ms | `` where it stands here, with a remark in parentheses or without."""
    there = cursors.maybe(name)
    value = cursors.tenths(there)
    cursors.need(b"ms", there)
    remarked = cursors.maybe(b" (") & there
    cursors.until(b")", _REMARK, remarked)
    cursors.need(b")", remarked)
    cursors.maybe(b" | ")
    return value


def _phrase(cursors: Cursors) -> None:
    """The reason phrase up to `` in ``; of letters and blanks only, so that nothing else can hide there."""
    begun = cursors.at.copy()
    cursors.skip(b" ")
    cursors.until(b" in ", _PHRASE)
    cursors.good &= cursors.at > begun + 1
    cursors.skip(b" in ")


class Texts(NamedTuple):
    """The texts of the clean requests, one list each."""

    ids: list[str]
    methods: list[str]
    targets: list[str]
    processing: list[tuple[str, str | None] | None]


def read_texts(block: Block, starts: Starts) -> Texts:
    """What is needed of every clean request, whether it becomes a row or not."""
    clean, messages = block.clean, block.messages
    return Texts(
        block.ids(clean.started),
        block.pieces(messages[clean.started] + len("Started "), starts.method_end),
        block.pieces(starts.path, starts.path_end),
        [
            _processing(text)
            for text in block.pieces(messages[clean.processing], block.ends[clean.processing])
        ],
    )


_processing = lru_cache(maxsize=4096)(parse_processing)


def columns(block: Block, starts: Starts, ends: Ends, texts: Texts, numbers: Ints) -> dict[str, Any]:
    """The clean requests as columns of the request table; ``numbers`` are those of the block's lines."""
    clean = block.clean
    parted = [target.partition("?") for target in texts.targets]
    params, sizes = _parameters(block)
    return {
        "pid": block.pids[clean.started],
        "request_id": texts.ids,
        "method": texts.methods,
        "path": [path for path, _, _ in parted],
        "query": [query if mark else None for _, mark, query in parted],
        "endpoint": [found[0] if found else None for found in texts.processing],
        "format": [found[1] if found else None for found in texts.processing],
        "client": block.pieces(starts.client, starts.client_end),
        "params": params,
        "params_bytes": sizes,
        "started_at": block.times[clean.started],
        "processing_at": block.times[clean.processing],
        "ended_at": block.times[clean.completed],
        "status": ends.status,
        "duration_ms": ends.duration.astype(np.float64),
        "view_ms": ends.view,
        "db_ms": ends.db,
        "gc_ms": ends.gc,
        "allocations": ends.allocations,
        "line": numbers[clean.started],
    }


def _parameters(block: Block) -> tuple[list[str | None], Ints]:
    """The Parameters texts and their sizes in bytes; None and -1 where there are none."""
    lines = block.clean.parameters
    there = lines >= 0
    start = np.where(there, block.messages[lines] + len("  Parameters: "), 0)
    sizes = np.where(there, block.ends[lines] - start, -1)
    texts = block.pieces(start, start + np.maximum(sizes, 0))
    return [text if size >= 0 else None for text, size in zip(texts, sizes.tolist(), strict=True)], sizes
