"""One life of one container as one source tells it: its owner, its scanner, and a digest of its lines."""

from __future__ import annotations

from datetime import tzinfo
from typing import TYPE_CHECKING

from isal.isal_zlib import adler32, crc32

from oomscope.logs.interface import Identity
from oomscope.logs.scanner import LineScanner

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from oomscope.logs.bulk import Bulk

PREFIX_LINES = 64


class Digest:
    """A running checksum of lines, and what it was after the first few of them."""

    __slots__ = ("lines", "prefix", "value")

    def __init__(self) -> None:
        self.lines = 0
        self.value = 0
        self.prefix: int | None = None

    def add(self, text: str) -> None:
        """One more line."""
        self.add_block(text.encode("utf-8", "surrogatepass") + b"\n", 1)
        if self.lines == PREFIX_LINES:
            self.prefix = self.value

    def add_block(self, data: Buffer, lines: int) -> None:
        """Many lines, as UTF-8, each with its line end. Not among the first lines."""
        self.value = crc32(data, self.value & 0xFFFF_FFFF) | adler32(data, self.value >> 32) << 32
        self.lines += lines

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
        self.bulk: Bulk | None = None  # set when whole blocks of lines are taken
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
        self.finish()
        later = Life(self.identity, self.source, self.envelope, self.order, self._tz)
        for index, (text, at, number) in enumerate(leftover):
            later.feed(text, at, number)
            if later.scanner.reborn:
                later.scanner.leftover.extend(leftover[index + 1 :])
                break
        return later

    def finish(self) -> None:
        """No more lines. May set ``scanner.reborn``, like ``feed``."""
        if self.bulk is not None:
            self.bulk.finish()
        self.scanner.finish()
