"""One life of one container as one source tells it: its owner, its scanner, and a digest of its lines."""

from __future__ import annotations

from datetime import tzinfo

from oomscope.logs.interface import Identity
from oomscope.logs.scanner import LineScanner

_MASK = (1 << 64) - 1
_PREFIX_LINES = 64


class Digest:
    """A running digest of lines, and what it was after the first few of them."""

    __slots__ = ("lines", "prefix", "value")

    def __init__(self) -> None:
        self.lines = 0
        self.value = 0
        self.prefix: int | None = None

    def add(self, text: str) -> None:
        """One more line."""
        self.value = (self.value * 1_000_003 + hash(text)) & _MASK
        self.lines += 1
        if self.lines == _PREFIX_LINES:
            self.prefix = self.value

    def same(self, other: Digest) -> bool:
        """Whether both saw the same lines."""
        return self.value == other.value and self.lines == other.lines


class Life:
    """A stream of lines from one source. ``order`` is the place where it was first seen."""

    def __init__(self, identity: Identity, source: str, envelope: str, order: int, tz: tzinfo | None) -> None:
        self.identity = identity
        self.source = source
        self.envelope = envelope
        self.order = order
        self.cut_tail = False
        self.also_in: tuple[str, ...] = ()
        self.bytes = 0
        self.last_at: int | None = None  # of the envelope's clock
        self.digest = Digest()
        self._tz = tz
        # With a container id a second boot is a restart inside the container, without one it is the next container.
        self.scanner = LineScanner(tz, splits=identity.container_id is None)

    def feed(self, text: str, at: int | None, number: int) -> None:
        """One line. Afterwards ``scanner.reborn`` may be set: then go on with ``successor``."""
        self.bytes += len(text) + 1
        self.last_at = at
        self.digest.add(text)
        self.scanner.feed(text, at, number)

    def successor(self) -> Life:
        """The next life, which begins with the lines this one did not take."""
        leftover, self.scanner.leftover = self.scanner.leftover, []
        self.scanner.reborn = False
        self.scanner.finish()
        later = Life(self.identity, self.source, self.envelope, self.order, self._tz)
        for index, (text, at, number) in enumerate(leftover):
            later.feed(text, at, number)
            if later.scanner.reborn:
                later.scanner.leftover.extend(leftover[index + 1 :])
                break
        return later
