"""Real captured lines for the tests of the line parsers, and the speed limit every parser must keep."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data" / "log_lines"
_PREFIX = re.compile(r"(?:[A-Z], \[[^\]]*\] +[A-Z]+ -- : )?((?:\[[^\[\]]*\] )*)(.*)", re.DOTALL)


def captured(name: str) -> list[str]:
    """Lines of one capture, as the program printed them."""
    return (DATA / f"{name}.log").read_text(encoding="utf-8").splitlines()


def stripped(line: str) -> tuple[tuple[str, ...], str]:
    """Tags and message of a Rails line, the way the caller of the parsers strips it."""
    match = _PREFIX.fullmatch(line)
    assert match is not None
    return tuple(re.findall(r"\[([^\[\]]*)\] ", match[1])), match[2]


def seconds(call: Callable[[Any], object], argument: Any) -> float:
    """Best of three runs, so that a busy machine does not fail the test."""
    took = []
    for _ in range(3):
        start = time.perf_counter()
        call(argument)
        took.append(time.perf_counter() - start)
    return min(took)


# heads that reach deep into a parser, each to be continued with 100 kB of trouble
TAILS = (
    "a",
    " ",
    '"',
    '\\"',
    "{",
    "[",
    "[a] ",
    "=",
    "k=",
    " -- ",
    ": ",
    "(",
    "{[",
    '"a"=>',
    "\t:",
    ",",
    "\x1b[",
    "}",
    ":a=>1, ",
)
