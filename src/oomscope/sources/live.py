"""What live sources share: turning a failure into a gap, logs held in memory, and the order of looking."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, TypeVar

from oomscope.errors import SourceError
from oomscope.facts import Gap, Window
from oomscope.logs.interface import Identity
from oomscope.units import iso

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BytesLog:
    """A ``LogInput`` whose bytes were fetched whole (bounded by the caller)."""

    label: str
    identity: Identity
    data: bytes = field(repr=False)

    def open(self) -> BinaryIO:
        """A fresh reader from the first byte."""
        return io.BytesIO(self.data)


@dataclass
class Attempts:
    """Collects the gaps of a source that does several independent things."""

    source: str
    window: Window | None = None
    gaps: list[Gap] = field(default_factory=list)

    def run(
        self, what: str, action: Callable[[], T], *, source: str | None = None, query: str | None = None
    ) -> T | None:
        """The result, or None and one more gap."""
        try:
            return action()
        except SourceError as error:
            self.note(error, what, source=source, query=query)
            return None

    def note(
        self, error: SourceError, what: str, *, source: str | None = None, query: str | None = None
    ) -> None:
        """Remember a failure as a gap."""
        self.gaps.append(gap_of(error, source or self.source, what=what, query=query, window=self.window))


def gap_of(
    error: SourceError, source: str, *, what: str = "", query: str | None = None, window: Window | None = None
) -> Gap:
    """The gap a ``SourceError`` stands for."""
    detail = f"{what}: {error.detail}" if what else error.detail
    return Gap(source, error.reason, detail, query=error.query or query, window=window, fix=error.fix)  # type: ignore[arg-type]


def ask_again(due: datetime, now: datetime) -> str:
    """What to do about evidence that will have arrived at ``due``."""
    minutes = max(1, -(-int((due - now).total_seconds()) // 60))
    return f"run again after {iso(due)}, or let oomscope wait for it: --wait {minutes}m"
