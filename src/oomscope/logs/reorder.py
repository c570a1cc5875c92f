"""Puts the lines of an event store back in order: sorted answers may hold equal milliseconds in any order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oomscope.logs.envelopes import Entry

_WINDOW = 1024
_MS = 1_000_000


class Reorder:
    """A window of lines a owner, sorted by time before they leave it.

    Where only milliseconds are known, the logger's own microseconds order the lines of one millisecond, and a line
    without them stays behind the one it came after.
    """

    def __init__(self) -> None:
        self._windows: dict[Any, list[tuple[int, str, int, Entry]]] = {}
        self._count = 0
        self._last: dict[Any, tuple[int, str]] = {}

    def push(self, entry: Entry, *, exact: bool | None) -> Sequence[Entry]:
        """Take a line; gives those that can leave. ``exact``: its time has nanoseconds."""
        self._count += 1
        at_ns, own = entry.at_ns, ""
        if not exact or at_ns is None:
            last_ns, last_own = self._last.get(entry.owner, (0, ""))
            at_ns = at_ns if at_ns is not None else last_ns
            if entry.text[1:4] == ", [":
                own = entry.text[4:30]
            elif at_ns // _MS == last_ns // _MS:
                own = last_own
            self._last[entry.owner] = (at_ns, own)
        window = self._windows.setdefault(entry.owner, [])
        window.append((at_ns, own, self._count, entry))
        if len(window) < _WINDOW:
            return ()
        window.sort(key=_order)
        ready = [item[3] for item in window[: _WINDOW // 2]]
        del window[: _WINDOW // 2]
        return ready

    def rest(self) -> Iterator[Entry]:
        """All that is left."""
        for window in self._windows.values():
            window.sort(key=_order)
            for item in window:
                yield item[3]
        self._windows.clear()


def _order(item: tuple[int, str, int, Entry]) -> tuple[int, str, int]:
    return item[:3]
