"""Several files read at a time by threads: inflating and numpy mostly work without the interpreter's lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Full, Queue
from threading import Event
from typing import TypeVar

Item = TypeVar("Item")
Piece = TypeVar("Piece")

_PIECES = 4  # of one file that may wait to be fetched: what a slow reader of the pieces costs in memory
_MOST = 4


def read_ahead(items: Sequence[Item], read: Callable[[Item], Iterable[Piece]]) -> Iterator[Piece]:
    """The pieces that ``read`` gives of every item, in order, while the next items are read already.

    ``OOMSCOPE_PROCESSES=1`` turns the threads off.
    """
    cores = 1 if os.environ.get("OOMSCOPE_PROCESSES") == "1" else os.cpu_count() or 1
    threads = min(cores, len(items), _MOST)
    if threads < 2:
        for item in items:
            yield from read(item)
        return
    stop = Event()
    with ThreadPoolExecutor(threads, thread_name_prefix="alb") as pool:

        def begin(item: Item) -> tuple[Queue[Piece | None], Future[None]]:
            lane: Queue[Piece | None] = Queue(_PIECES)
            return lane, pool.submit(_fill, lane, item, read, stop)

        waiting = iter(items)
        lanes = deque(begin(next(waiting)) for _ in range(threads))
        try:
            while lanes:
                lane, done = lanes.popleft()
                while (piece := lane.get()) is not None:
                    yield piece
                done.result()  # raises what went wrong
                lanes.extend(begin(item) for item in (next(waiting, None),) if item is not None)
        finally:
            stop.set()


def _fill(
    lane: Queue[Piece | None], item: Item, read: Callable[[Item], Iterable[Piece]], stop: Event
) -> None:
    try:
        for piece in read(item):
            if not _put(lane, piece, stop):
                return
    finally:
        _put(lane, None, stop)


def _put(lane: Queue[Piece | None], piece: Piece | None, stop: Event) -> bool:
    """Whether the piece could be handed over before the reader gave up."""
    while not stop.is_set():
        try:
            lane.put(piece, timeout=0.1)
        except Full:
            continue
        return True
    return False
