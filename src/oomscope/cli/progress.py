"""Progress on stderr, for work that takes more than a second, on a terminal only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tell = Callable[[str], None]


@contextmanager
def progress(*, quiet: bool) -> Iterator[Tell]:
    """Give a function that shows one line of what is being done; it stays silent for the first second."""
    if quiet or not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console

    began = time.monotonic()
    with Console(stderr=True).status("") as status:
        status.stop()

        def tell(text: str) -> None:
            if time.monotonic() - began > 1.0:
                from oomscope.redact import printable

                status.update(printable(text, 70))
                status.start()

        yield tell
