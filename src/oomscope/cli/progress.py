"""Progress on stderr, for work that takes more than a second, on a terminal only: one line a source."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

Tell = Callable[[str], None]
SILENT_S = 1.0
SOURCES = ("kubernetes", "aws", "cloudwatch", "alb", "prometheus")


class Board:
    """The newest word of each source, and of the work as a whole. ``source: word`` is a source's."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}

    def tell(self, text: str) -> None:
        """Put a line in place of the older one of the same source."""
        source, mark, rest = text.partition(": ")
        known = bool(mark) and source in SOURCES
        self.lines[source if known else ""] = rest if known else text

    def __rich__(self) -> Text:
        from rich.text import Text

        from oomscope.redact import printable

        said = [f"{name:<11} {self.lines[name]}" for name in SOURCES if name in self.lines]
        general = [self.lines[""]] if "" in self.lines else []
        return Text("\n".join(printable(line, 78) for line in [*said, *general]), no_wrap=True)


@contextmanager
def progress(*, quiet: bool) -> Iterator[Tell]:
    """Give a function that shows what is being done; nothing is seen of work that ends within a second."""
    if quiet or not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console
    from rich.live import Live

    board, over = Board(), threading.Event()
    live = Live(
        board, console=Console(stderr=True), transient=True, refresh_per_second=5, redirect_stdout=False
    )
    guard = threading.Lock()

    def show() -> None:
        with guard:
            if not over.is_set():
                live.start()

    timer = threading.Timer(SILENT_S, show)
    timer.daemon = True
    timer.start()
    try:
        yield board.tell
    finally:
        timer.cancel()
        with guard:
            over.set()
            live.stop()
