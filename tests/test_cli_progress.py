"""Progress: one line a source, silent for short work and for pipes, gone when the work is over."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from oomscope.cli.progress import Board, progress

WORK = """
import time
from oomscope.cli.progress import progress
with progress(quiet=False) as tell:
    tell("alb: early word")
    time.sleep({seconds})
    print("the report")
"""


def on_a_terminal(seconds: float) -> str:
    """What a terminal gets of work that tells something at once and then takes so long."""
    mine, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", WORK.format(seconds=seconds)],
        stderr=theirs, stdout=subprocess.PIPE, env=environment, check=True,
    )  # fmt: skip
    os.close(theirs)
    os.set_blocking(mine, False)
    try:
        shown = os.read(mine, 65_536).decode()
    except OSError:  # nothing was ever written
        shown = ""
    assert done.stdout.decode() == "the report\n"
    return shown


def test_work_of_more_than_a_second_is_seen_even_if_it_spoke_only_at_first() -> None:
    assert "early word" in on_a_terminal(3.0)


def test_short_work_shows_nothing() -> None:
    assert "early word" not in on_a_terminal(0.0)


def test_each_source_has_its_line_and_outside_text_is_made_harmless() -> None:
    board = Board()
    for text in ("alb: 1 of 9 files", "kubernetes: pods", "alb: 2 of 9 files", "reading a\x1b[31m.log: x"):
        board.tell(text)
    lines = board.__rich__().plain.split("\n")
    assert lines[:2] == ["kubernetes  pods", "alb         2 of 9 files"]
    assert "\x1b" not in lines[2]
    assert lines[2].startswith("reading a")


def test_nothing_is_shown_in_a_pipe() -> None:
    with progress(quiet=False) as tell:
        tell("x")
