"""Lines for a terminal: wrapping, tables, sparkline, colour. Rich does the styling, the layout is fixed here."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from oomscope.render.escape import ELLIPSIS, clip, pad, to_ascii
from oomscope.render.style import Style

HEAD, DIM, RED, SUSPECT = (
    "bold",
    "dim",
    "red",
    "bold red",
)  # red: only the kill, the limit, the leading suspect
BLOCKS = "▁▂▃▄▅▆▇█"
BLIND = "?"
Lines = list[Text]


@cache
def _console(color: bool) -> Console:
    """A console that writes nowhere and asks nobody: no terminal, no environment."""
    return Console(
        file=io.StringIO(),
        width=80,
        color_system="standard" if color else None,
        force_terminal=color,
        legacy_windows=False,
        highlight=False,
        _environ={},
    )


def to_string(lines: Iterable[Text], style: Style) -> str:
    """The lines as text, with ANSI colour only when asked for."""
    for line in (lines := list(lines)):
        line.rstrip()
    if style.color:
        console = _console(True)
        with console.capture() as captured:
            for line in lines:
                console.print(line, soft_wrap=True)
        text = captured.get().rstrip("\n") + "\n"
    else:
        text = "\n".join(line.plain for line in lines).rstrip("\n") + "\n"
    return to_ascii(text) if style.ascii_only else text


def wrap(text: str, width: int, most: int | None = None) -> list[str]:
    """``text`` broken at spaces into lines of ``width`` cells; with more than ``most`` the last shows the cut."""
    lines = [line.plain.rstrip() for line in Text(text).wrap(_console(False), max(width, 8))]
    if most is not None and len(lines) > most:
        lines = lines[:most]
        lines[-1] = clip(lines[-1], width - 1).rstrip(ELLIPSIS) + ELLIPSIS
    return lines


def paragraph(text: str, width: int, indent: int = 2, most: int | None = None, look: str = "") -> Lines:
    """An indented block of wrapped text."""
    return [Text(" " * indent + line, style=look) for line in wrap(text, width - indent, most)]


def labelled(label: str, text: str, width: int, indent: int = 8, most: int | None = None) -> Lines:
    """A label in a fixed column and the text wrapped beside it."""
    lines = wrap(text, width - indent, most) or [""]
    first = Text.assemble((pad(label, indent), HEAD), lines[0])
    return [first, *(Text(" " * indent + line) for line in lines[1:])]


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    *,
    flex: Sequence[int] = (0,),
    right: Sequence[int] = (),
) -> Lines:
    """Columns as wide as their content; the ``flex`` columns give way (cut in the middle) until all fits ``width``."""
    widths = [max([cell_len(head), *(cell_len(row[n]) for row in rows)]) for n, head in enumerate(headers)]
    _shrink(widths, flex, width - 2 * (len(widths) - 1))
    return [
        Text(
            "  ".join(_cell(cell, widths[n], n in right) for n, cell in enumerate(row)),
            style=HEAD if not at else "",
        )
        for at, row in enumerate([headers, *rows])
    ]


def _shrink(widths: list[int], flex: Sequence[int], room: int) -> None:
    """Take cells from the widest column that may give way, and from the others only when those are at their least."""
    for columns, least in ((flex, 8), (range(len(widths)), 3)):
        while sum(widths) > room:
            widest = max(columns, key=lambda n: widths[n])
            if widths[widest] <= least:
                break
            widths[widest] -= 1


def _cell(text: str, width: int, right: bool) -> str:
    return pad(clip(text, width, middle=True), width, right=right)


def sparkline(points: Sequence[tuple[datetime, float]], end: datetime | None, top: float, cells: int) -> str:
    """Highest sample of each slice of time up to ``end``; a slice without samples is ``?``, never a level.

    The scale runs from the lowest sample to ``top`` (the limit).
    """
    if not points:
        return ""
    begin, last = points[0][0], max(points[-1][0], end or points[-1][0])
    span = (last - begin).total_seconds() or 1.0
    cells = max(1, min(cells, len(points)))
    peaks: list[float | None] = [None] * cells
    for at, value in points:
        place = min(cells - 1, int((at - begin).total_seconds() / span * cells))
        peaks[place] = max(value, peaks[place] or value)
    low = min(value for _, value in points)
    line = "".join(BLIND if peak is None else _block(peak, low, max(top, low + 1)) for peak in peaks)
    blind = end is not None and points[-1][0] < end
    return line + BLIND if blind and not line.endswith(BLIND) else line


def _block(value: float, low: float, top: float) -> str:
    share = (value - low) / (top - low)
    return BLOCKS[max(0, min(len(BLOCKS) - 1, int(share * len(BLOCKS))))]


def beside(left: Lines, right: Lines, left_width: int, right_width: int) -> Lines:
    """Two blocks side by side with a rule between them."""
    out = []
    for n in range(max(len(left), len(right))):
        one = left[n].copy() if n < len(left) else Text()
        one.truncate(left_width, overflow="ellipsis", pad=True)
        two = right[n].copy() if n < len(right) else Text()
        two.truncate(right_width, overflow="ellipsis")
        out.append(Text.assemble(one, (" │ ", DIM), two))
    return out
