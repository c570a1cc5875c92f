"""What all charts share: Vega-Lite layers, colours, the time axis in seconds before the kill, text marks, hatching.

The charts are Vega-Lite specifications, written as plain dicts: building them through a wrapper library took ten times
as long as drawing them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from oomscope.render import fields, view
from oomscope.render.terminal import wrap
from oomscope.report import Report

# Okabe-Ito based. The page maps each of these to a variable by attribute selector, so that both themes have contrast.
INK, MUTED, GRID = "#1f2933", "#52606d", "#e4e7eb"
LINE, SIBLING = "#0072b2", "#9aa5b1"
KILL, SURVIVED = "#b3261e", "#f4b6b0"
OPEN, DONE, RATE = "#3e4c59", "#b8c4d0", "#cbd2d9"
MARK = "#8a5a00"
FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"  # the same widths everywhere, as measured when drawn
Record = dict[str, Any]
Spec = dict[str, Any]  # a Vega-Lite specification, or one layer of it
_UNIT = re.compile(r"(?<=\d) (?=(?:[KMGT]iB|B|ms|s|min|h|d|%)(?!\w))")
_KINDS = {"text": "nominal", "description": "nominal", "detail": "nominal"}


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes in pixels. ``narrow`` puts labels above what they name instead of beside it."""

    width: int
    right: int  # room for labels right of the kill line
    size: int  # of text
    lanes: int
    narrow: bool = False
    tall: int = 210  # the memory chart
    small: bool = False  # one of several beside each other: only the labels it cannot do without


WIDE = Layout(width=800, right=270, size=12, lanes=20)
SMALL = Layout(width=300, right=0, size=11, lanes=3, narrow=True, tall=120, small=True)
NARROW = Layout(width=300, right=0, size=11, lanes=10, narrow=True)


@dataclass(frozen=True, slots=True)
class Frame:
    """The shared time axis: seconds relative to the kill (or the end of what was seen), from ``start`` up to 0."""

    zero: datetime
    start: float
    killed: bool
    end: str = "kill"  # what its right end is called

    def at(self, moment: datetime) -> float:
        """Seconds relative to the kill, negative before it."""
        return (moment - self.zero).total_seconds()


def frame_of(report: Report) -> Frame | None:
    """The time axis of the report's pictures; None when there is nothing with a time to draw."""
    begin = fields.when(report.chart, "from")
    killed = view.memory_kill(report) or fields.when(report.chart, "killed_at")
    samples = fields.points(view.dead_series(report) or {}, "points")
    end = killed or fields.when(report.chart, "to") or (samples[-1][0] if samples else None)
    begin = begin or (samples[0][0] if samples else None)
    if end is None or begin is None or begin >= end:
        return None
    word = "kill" if killed and report.kill.verdict.startswith("oom") else "end"
    return Frame(end, (begin - end).total_seconds(), killed is not None, word)


def ticks(span: float, most: int) -> tuple[list[float], str]:
    """Tick places for an axis of ``span`` seconds up to 0, and the Vega expression that labels them."""
    steps = ((1, 1, "s"), (5, 1, "s"), (10, 1, "s"), (15, 1, "s"), (30, 1, "s"), (60, 60, "min"), (120, 60, "min"),
             (300, 60, "min"), (600, 60, "min"), (1800, 60, "min"), (3600, 3600, "h"), (7200, 3600, "h"),
             (21600, 3600, "h"), (86400, 86400, "d"), (604800, 86400, "d"))  # fmt: skip
    step, unit, name = next((one for one in steps if span / one[0] <= most), (span, 86400, "d"))
    places = [-float(step) * n for n in range(int(span // step) + 1)]
    return places, f"'-' + format(-datum.value / {unit}, '~g') + ' {name}'"


def x_axis(frame: Frame, layout: Layout, *, labels: bool, grid: bool = True) -> Spec:
    """The time axis; only the lowest chart of a stack shows its labels."""
    places, label = ticks(-frame.start, 4 if layout.narrow else 8)
    axis = {
        "values": places,
        "labelExpr": f"datum.value == 0 ? '{frame.end}' : {label}",
        "labels": labels,
        "ticks": False,
        "domain": False,
        "grid": grid,
        "title": None,
        "labelPadding": 6,
    }
    return quantity("x", [frame.start, 0], axis)


def quantity(field: str, domain: list[float], axis: Spec | None) -> Spec:
    """A positional channel with its own scale and axis (None: no axis)."""
    scale = {"domain": domain, "nice": False, "zero": False}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis}


def layer(mark: str, records: Iterable[Record], look: Spec | None = None, **channels: str | Spec) -> Spec:
    """One layer: a mark with its look, its rows, and which field (or channel definition) goes where."""
    encoding = {name: {"field": to, "type": _KINDS.get(name, "quantitative")} if isinstance(to, str) else to
                for name, to in channels.items()}  # fmt: skip
    for second in ("x2", "y2"):
        if second in encoding:
            encoding[second] = {"field": channels[second]}
    return {
        "data": {"values": list(records)},
        "mark": {"type": mark, "aria": "description" in channels, **(look or {})},
        "encoding": encoding,
    }


def title_lines(text: str, layout: Layout) -> list[str]:
    """A title in at most three lines that fit the picture."""
    held = _UNIT.sub("\0", text)  # a number stays with its unit
    return [line.replace("\0", " ") for line in wrap(held, 40 if layout.narrow else 110, 3)]


def room_right(layout: Layout, y: float) -> list[Spec]:
    """An invisible point at the far right, so that labels have their room whatever font draws them."""
    look = {"opacity": 0, "size": 1, "xOffset": layout.right}
    return [layer("point", [{"x": 0, "y": y}], look, x="x", y="y")] if layout.right else []


def texts(records: Sequence[Record], *, color: str = MUTED, align: str = "left", **more: Any) -> Spec:
    """Text marks: each record has ``x``, ``y``, ``text``. ``more`` is the look: ``dx``, ``dy``, ``limit`` ..."""
    look = {"align": align, "baseline": "middle", "color": color, **more}
    return layer("text", records, look, x="x", y="y", text="text")


def kill_line(frame: Frame) -> list[Spec]:
    """The red line at the kill over the whole height of a chart."""
    return [layer("rule", [{"x": 0}], {"color": KILL, "strokeWidth": 2}, x="x")] if frame.killed else []


def spread(places: Sequence[float], least: float) -> list[float]:
    """The places moved apart until neighbours are ``least`` away, order kept."""
    order = sorted(range(len(places)), key=lambda n: places[n])
    out = list(places)
    for before, after in pairwise(order):
        out[after] = max(out[after], out[before] + least)
    return out


def hatch(
    left: float, right: float, low: float, high: float, *, per_x: float, per_y: float, gap: float = 7
) -> list[Record]:
    """Diagonal lines that fill a rectangle; ``per_x`` and ``per_y`` are data units a pixel."""
    wide, tall = (right - left) / per_x, (high - low) / per_y
    lines: list[Record] = []
    offset = gap / 2
    while offset < wide + tall and len(lines) < 400:
        # the line u + v = offset, in pixels from the lower left corner
        u0, u1 = max(0.0, offset - tall), min(offset, wide)
        lines.append({"x": left + u0 * per_x, "y": low + (offset - u0) * per_y,
                      "x2": left + u1 * per_x, "y2": low + (offset - u1) * per_y})  # fmt: skip
        offset += gap
    return lines


def stacked(
    layers: Sequence[Spec], width: float, height: float, title: str | list[str] | Spec | None = None
) -> Spec:
    """Layers in one plot."""
    plot: Spec = {"layer": list(layers), "width": width, "height": height}
    return plot | {"title": title} if title else plot


def configured(chart: Spec, layout: Layout) -> Spec:
    """Fonts, colours and no frame; transparent, the page or the PNG gives the background."""
    size = layout.size
    axis = {"labelColor": MUTED, "titleColor": MUTED, "gridColor": GRID, "labelFontSize": size, "titleFontSize": size,
            "titleFontWeight": "normal"}  # fmt: skip
    title = {"color": INK, "fontSize": size + 2, "anchor": "start", "frame": "group", "fontWeight": "bold",
             "offset": 10, "limit": layout.width + layout.right, "subtitleColor": MUTED,
             "subtitleFontSize": size - 1, "subtitlePadding": 4}  # fmt: skip
    config = {
        "font": FONT,
        "view": {"stroke": None},
        "axis": axis,
        "text": {"fontSize": size},
        "title": title,
    }
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": "transparent",
        "padding": {"left": 4, "top": 4, "right": 8, "bottom": 4},
        "config": config,
        **chart,
    }
