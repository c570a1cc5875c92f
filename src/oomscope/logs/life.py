"""One life of one container as one source tells it: its owner, its scanner, and a digest of its lines."""

from __future__ import annotations

from datetime import tzinfo

from oomscope.logs.interface import Identity
from oomscope.logs.scanner import LineScanner

_MASK = (1 << 64) - 1
_DIGEST_LINES = 2000


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
        self.digest = 0
        self._tz = tz
        # With a container id a second boot is a restart inside the container, without one it is the next container.
        self.scanner = LineScanner(tz, splits=identity.container_id is None)
        self._digested = 0

    def feed(self, text: str, at: int | None, number: int) -> None:
        """One line. Afterwards ``scanner.reborn`` may be set: then go on with ``successor``."""
        self.bytes += len(text) + 1
        self.last_at = at
        if self._digested < _DIGEST_LINES:
            self._digested += 1
            self.digest = (self.digest * 1_000_003 + hash(text)) & _MASK
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
