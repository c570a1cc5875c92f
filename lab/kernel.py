"""The kernel's own words: reads /dev/kmsg and keeps the out-of-memory reports of our containers."""

from __future__ import annotations

import os
import re
import select
import threading
import time
from dataclasses import dataclass

_RECORD = re.compile(r"^\d+,\d+,(\d+),[^;]*;(.*)$")
_BEGIN = re.compile(r" invoked oom-killer: ")
_KILLED = re.compile(r"Killed process (\d+) \(([^)]*)\)")


@dataclass(frozen=True)
class Line:
    """One line of the ring buffer; ``stamp`` in seconds since boot."""

    stamp: float
    text: str


@dataclass(frozen=True)
class Report:
    """One out-of-memory report from "invoked oom-killer" to "Killed process"."""

    lines: tuple[Line, ...]
    pid: int
    comm: str

    @property
    def stamp(self) -> float:
        """When the process was chosen."""
        return next((x.stamp for x in self.lines if x.text.startswith("oom-kill:")), self.lines[-1].stamp)

    def chose(self, container_id: str) -> bool:
        """Whether the process was one of this container's."""
        return any(x.text.startswith("oom-kill:") and container_id in x.text for x in self.lines)


class Reader(threading.Thread):
    """Follows /dev/kmsg from now on; learns how its clock stands to the wall clock."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.lines: list[Line] = []
        # Until a line tells better: the ring buffer's clock runs beside the monotonic one.
        self.offset = time.time() - time.monotonic()
        self._told = False
        self._stop_asked = threading.Event()

    def run(self) -> None:
        ring = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(ring, 0, os.SEEK_END)
        while not self._stop_asked.is_set():
            if select.select([ring], [], [], 0.2)[0]:
                self._read(ring)
        os.close(ring)

    def _read(self, ring: int) -> None:
        try:
            record = os.read(ring, 8192).decode("utf-8", "replace")
        except BrokenPipeError:  # lines were overwritten before we came: the next read goes on behind the gap
            return
        if found := _RECORD.match(record.split("\n", 1)[0]):
            stamp = int(found[1]) / 1e6
            # The smallest distance ever seen is the one with the least delay in it.
            now = time.time() - stamp
            self.offset = min(self.offset, now) if self._told else now
            self._told = True
            self.lines.append(Line(stamp, found[2]))

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()

    def wall(self, stamp: float) -> float:
        return stamp + self.offset


def reports(lines: list[Line]) -> list[Report]:
    """The complete reports among the lines."""
    found: list[Report] = []
    block: list[Line] = []
    for line in lines:
        if _BEGIN.search(line.text):
            block = []
        block.append(line)
        if killed := _KILLED.search(line.text):
            found.append(Report(tuple(block), int(killed[1]), killed[2]))
            block = []
    return found
