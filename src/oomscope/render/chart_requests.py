"""Chart B, requests until death: a lane for each one open at the kill, completed ones below, requests per second."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from oomscope.render import fields, phrases, titles, view
from oomscope.render.chart_frame import (
    DONE,
    GRID,
    INK,
    KILL,
    MUTED,
    OPEN,
    RATE,
    SURVIVED,
    Frame,
    Layout,
    Record,
    Spec,
    kill_line,
    layer,
    quantity,
    room_right,
    stacked,
    texts,
    ticks,
    title_lines,
    x_axis,
)
from oomscope.render.escape import clean, clip
from oomscope.render.fields import Row
from oomscope.report import Report
from oomscope.units import format_seconds

ROW, THICK = 22, 13  # a lane and its bar, pixels
THIN = 11
PACKED = 6  # lanes of completed requests
STRIP = 26
UNKNOWN_START = 14  # pixels drawn for a request whose start is not known


@dataclass
class Drawing:
    """Everything of chart B, in pixels from the top; built up section by section."""

    y: float = 0.0
    bars: dict[str, list[Record]] = field(default_factory=dict)  # by colour
    open_start: list[Record] = field(default_factory=list)
    left: list[Record] = field(default_factory=list)  # names of the rows, in the left margin
    captions: list[Record] = field(default_factory=list)  # the same in a narrow picture, above the row
    ages: dict[str, list[Record]] = field(default_factory=dict)
    names: dict[str, list[Record]] = field(default_factory=dict)
    drawn: int = 0  # requests with a bar of their own
    notes: list[str] = field(default_factory=list)  # what was left out


def requests_chart(report: Report, frame: Frame, layout: Layout) -> Spec | None:
    """Chart B; None when there is no request to draw."""
    bars = _labelled(fields.rows(report.chart, "bars"), report)
    head = 30.0 + (layout.size + 4) * len(title_lines(titles.requests_title(report), layout))
    drawing = Drawing(y=head)
    opened = [bar for bar in bars if fields.text(bar, "state") == "in_flight"]
    completed = [bar for bar in bars if fields.text(bar, "state") in ("completed", "survived")]
    _in_flight(drawing, opened, max(view.in_flight_count(report) or 0, len(opened)), frame, layout)
    _completed(drawing, completed, frame, layout)
    _rate(drawing, report, frame, layout)
    return _draw(drawing, report, frame, layout, head) if drawing.y > head else None


def _labelled(bars: list[Row], report: Report) -> list[Row]:
    """The bars under the names people know: method and path, where the endpoint table has them."""
    names = {fields.text(row, "endpoint"): phrases.endpoint_name(row) for row in report.endpoints}
    known = [(bar, fields.text(bar, "endpoint")) for bar in bars]
    return [{**bar, "endpoint": names.get(endpoint, endpoint)} for bar, endpoint in known]


def _label(bar: Row) -> str:
    return clip(clean(fields.text(bar, "endpoint") or "?", 200), 60, middle=True)


def _in_flight(drawing: Drawing, bars: list[Row], total: int, frame: Frame, layout: Layout) -> None:
    """Longest first, the suspect kept whatever its length; what has no lane is counted."""
    ranked = sorted(bars, key=lambda bar: -(fields.number(bar, "age_s") or 0))
    chosen = sorted(ranked, key=lambda bar: bar.get("suspect") is not True)[: layout.lanes]
    chosen = [bar for bar in ranked if any(bar is one for one in chosen)]
    if not chosen:
        return
    said = ["in flight", f"at the {frame.end}"]
    drawing.left.append({"x": frame.start, "y": drawing.y + ROW / 2, "text": said})
    top = drawing.y
    for bar in chosen:
        _lane(drawing, bar, frame, layout)
    drawing.drawn += len(chosen)
    if total > len(chosen):
        drawing.notes.append(f"{len(chosen)} of {total:,} in flight, longest first")
    drawing.y = max(drawing.y, top + 32) + 8


def _lane(drawing: Drawing, bar: Row, frame: Frame, layout: Layout) -> None:
    color = KILL if bar.get("suspect") is True else OPEN
    pixel = -frame.start / layout.width
    started, age = fields.when(bar, "start"), fields.number(bar, "age_s")
    start = min(max(frame.at(started), frame.start), -2 * pixel) if started else -UNKNOWN_START * pixel
    left = (start - frame.start) / pixel  # pixels left of the bar
    if layout.narrow and left < 190:
        _name(drawing, bar, color, frame.start, drawing.y + 6)
        drawing.y += 13
    top = drawing.y + (ROW - THICK) / 2
    record = {
        "x": start,
        "x2": 0,
        "y": top,
        "y2": top + THICK,
        "say": _said(bar, age, known=started is not None),
    }
    (drawing.bars.setdefault(color, []) if started else drawing.open_start).append(record)
    shown = format_seconds(age) if age is not None else "?"
    kind = "inside" if left < 48 else color
    drawing.ages.setdefault(kind, []).append({"x": start, "y": top + THICK / 2, "text": shown})
    if not layout.narrow:
        _name(drawing, bar, color, 0, top + THICK / 2)
    elif left >= 190:
        _name(drawing, bar, color, frame.start, top + THICK / 2, most=int((left - 48) / 6.2))
    drawing.y += ROW


def _name(drawing: Drawing, bar: Row, color: str, x: float, y: float, most: int = 46) -> None:
    drawing.names.setdefault(color, []).append({"x": x, "y": y, "text": clip(_label(bar), most, middle=True)})


def _said(bar: Row, age: float | None, *, known: bool) -> str:
    """What hovering over a lane says."""
    process = clean(fields.text(bar, "process"), 60)
    parts = (f"{_label(bar)}, open for {format_seconds(age)}", process, "" if known else "start unknown")
    return ", ".join(part for part in parts if part)


def _completed(drawing: Drawing, bars: list[Row], frame: Frame, layout: Layout) -> None:
    """Completed requests packed into a few lanes, earlier runs of the suspect first so that they are never left out."""
    spans = []
    for bar in sorted(bars, key=lambda bar: fields.text(bar, "state") != "survived"):
        began, ended = fields.when(bar, "start"), fields.when(bar, "end")
        if began and ended and frame.at(ended) > frame.start and frame.at(began) < 0:
            spans.append((max(frame.at(began), frame.start), min(frame.at(ended), 0.0), bar))
    if not spans:
        return
    _caption(drawing, "completed: over 1 s, and runs of the suspect", frame, layout)
    lanes: list[list[tuple[float, float]]] = []
    least, placed, top = -3 * frame.start / layout.width, 0, drawing.y
    for start, stop, bar in spans:
        end = max(stop, start + least)
        lane = next(
            (n for n, lane in enumerate(lanes) if all(end < a or start > b for a, b in lane)), len(lanes)
        )
        if lane >= PACKED:
            continue
        lanes[lane:] = lanes[lane:] or [[]]
        lanes[lane].append((start, end))
        placed += 1
        suspect = fields.text(bar, "state") == "survived"
        y = top + lane * (THIN + 3)
        say = f"{_label(bar)}, completed after {format_seconds(stop - start)}"
        record = {"x": start, "x2": end, "y": y, "y2": y + THIN, "say": say}
        drawing.bars.setdefault(SURVIVED if suspect else DONE, []).append(record)
    drawing.left.append({"x": frame.start, "y": top + THIN / 2, "text": ["completed,", "over 1 s"]})
    drawing.y = top + max(2 if not layout.narrow else 1, len(lanes)) * (THIN + 3) + 10
    drawing.drawn += placed
    if placed < len(bars):
        drawing.notes.append(f"{placed} of {len(bars):,} completed ones")


def _caption(drawing: Drawing, text: str, frame: Frame, layout: Layout) -> None:
    """In a narrow picture the name of a row of bars stands above it."""
    if layout.narrow:
        drawing.captions.append({"x": frame.start, "y": drawing.y + 5, "text": text})
        drawing.y += 14


def _rate(drawing: Drawing, report: Report, frame: Frame, layout: Layout) -> None:
    points = [(frame.at(at), value) for at, value in fields.points(report.chart, "rate")]
    points = [point for point in points if frame.start <= point[0] < 0 and point[1] >= 0]
    most = max((value for _, value in points), default=0.0)
    if not most:
        return
    step = min(
        (b[0] - a[0] for a, b in pairwise(points) if b[0] > a[0]),
        default=-frame.start / 60,
    )
    _caption(drawing, f"requests per second, at most {most:.3g}", frame, layout)
    low = drawing.y + STRIP
    drawing.bars[RATE] = [
        {
            "x": x,
            "x2": min(x + step * 0.92, 0),
            "y": low - STRIP * value / most,
            "y2": low,
            "say": f"{value:.3g} requests/s",
        }
        for x, value in points
    ]
    drawing.left.append({"x": frame.start, "y": low - STRIP / 2, "text": [f"req/s (max {most:.3g})"]})
    drawing.y = low + 6


def _draw(drawing: Drawing, report: Report, frame: Frame, layout: Layout, head: float) -> Spec:
    height = drawing.y
    across, down = x_axis(frame, layout, labels=True, grid=False), quantity("y", [height, 0], None)
    layers = [
        layer("point", [{"x": 0, "y": 0}], {"opacity": 0}, x=across, y=down),
        _grid(frame, layout, head, height),
    ]
    layers += [_rects(records, _bar_look(color)) for color, records in drawing.bars.items()]
    if drawing.open_start:
        layers.append(_rects(drawing.open_start, {"fillOpacity": 0, "stroke": OPEN, "strokeDash": [2, 2]}))
    for kind, records in drawing.ages.items():
        inside = kind == "inside"
        look: dict[str, Any] = (
            {"color": "#ffffff", "align": "left", "dx": 5}
            if inside
            else {"color": kind, "align": "right", "dx": -5}
        )
        layers.append(texts(records, **look))
    for color, records in drawing.names.items():
        weight = "bold" if color == KILL else "normal"
        limit = layout.width if layout.narrow else layout.right * 0.85
        layers.append(
            texts(records, color=color, dx=0 if layout.narrow else 10, fontWeight=weight, limit=limit)
        )
    if layout.narrow:
        layers += [texts(drawing.captions, fontSize=layout.size - 1)] if drawing.captions else []
    else:
        layers.append(texts(drawing.left, align="right", dx=-10, lineHeight=14))
    layers += [
        *_headline(report, drawing, frame, layout, head),
        *kill_line(frame),
        *room_right(layout, 0),
    ]
    return stacked(layers, layout.width, height)


def _bar_look(color: str) -> Spec:
    outline: Spec = {"stroke": KILL, "strokeWidth": 0.8} if color == SURVIVED else {}
    return {"color": color, "opacity": 1, "cornerRadius": 0 if color == RATE else 2, "clip": True, **outline}


def _rects(records: list[Record], look: Spec) -> Spec:
    return layer("rect", records, look, x="x", x2="x2", y="y", y2="y2", description="say")


def _headline(report: Report, drawing: Drawing, frame: Frame, layout: Layout, head: float) -> list[Spec]:
    lines = title_lines(titles.requests_title(report), layout)
    step = layout.size + 4
    title = [{"x": frame.start, "y": 18 + step * n, "text": line} for n, line in enumerate(lines)]
    total = fields.count(report.chart, "total")
    drawn = f"{drawing.drawn:,} of {total:,} drawn" if total is not None else ""
    note = " · ".join(part for part in (drawn, *drawing.notes) if part)
    layers = [texts(title, color=INK, fontWeight="bold", fontSize=layout.size + 2)]
    if note:
        below = [{"x": frame.start, "y": head - 9, "text": clip(note, 52 if layout.narrow else 120)}]
        layers.append(texts(below, color=MUTED, fontSize=layout.size - 1))
    return layers


def _grid(frame: Frame, layout: Layout, head: float, height: float) -> Spec:
    """Vertical lines at the ticks, below the headline only."""
    places, _ = ticks(-frame.start, 4 if layout.narrow else 8)
    records = [{"x": x, "y": head, "y2": height} for x in places]
    return layer("rule", records, {"color": GRID}, x="x", y="y", y2="y2")
