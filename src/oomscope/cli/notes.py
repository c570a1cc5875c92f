"""Lines for a person on stderr: made harmless, and broken at words where they go to a terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap

from oomscope.redact import printable


def say(text: str, *, hanging: str = "  ", limit: int = 2000) -> None:
    """Print a line; what does not fit goes below it, indented by ``hanging``. In a file or a pipe it stays one line."""
    line = printable(text, limit)
    if sys.stderr.isatty():
        width = max(40, shutil.get_terminal_size((80, 24)).columns)
        wrapper = textwrap.TextWrapper(
            width, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
        )
        line = wrapper.fill(line)
    print(line, file=sys.stderr, flush=True)
