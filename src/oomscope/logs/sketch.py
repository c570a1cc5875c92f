"""A small fingerprint of a log's content, to find copies of the same log that came through different sinks."""

from __future__ import annotations

from collections.abc import Iterable

_MOST = 4096


class Sketch:
    """A sample of hashed keys: every key whose hash falls under a threshold that halves when the sample is full.

    Two sketches of the same log hold the same sample, so the share of common keys estimates the share of common lines.
    """

    __slots__ = ("_bits", "_keys", "added")

    def __init__(self) -> None:
        self._bits = 0
        self._keys: set[int] = set()
        self.added = 0

    def add(self, key: str | None, other: str | None = None) -> None:
        """Note one key (a request id with its path, a job id)."""
        self.added += 1
        value = hash((key, other)) & 0xFFFF_FFFF_FFFF
        if value & ((1 << self._bits) - 1) == 0:
            self._keys.add(value)
            while len(self._keys) > _MOST:
                self._bits += 1
                self._keys = {kept for kept in self._keys if kept & ((1 << self._bits) - 1) == 0}

    def add_all(self, keys: Iterable[tuple[str | None, str | None]]) -> None:
        """Note many keys."""
        mask = (1 << self._bits) - 1
        for key in keys:
            self.added += 1
            if hash(key) & mask == 0:
                self.added -= 1
                self.add(*key)
                mask = (1 << self._bits) - 1

    def overlap(self, other: Sketch) -> float:
        """Share of the smaller log's keys that the other holds too, 0 when one of them has none."""
        bits = max(self._bits, other._bits)
        mask = (1 << bits) - 1
        mine = {key for key in self._keys if key & mask == 0}
        theirs = {key for key in other._keys if key & mask == 0}
        smaller = min(len(mine), len(theirs))
        return len(mine & theirs) / smaller if smaller else 0.0
