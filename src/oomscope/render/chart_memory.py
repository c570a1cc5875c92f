"""Chart A: memory against the limit, up to the kill."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import tzinfo
from itertools import pairwise

from oomscope.render import fields, titles, view
from oomscope.render.chart_frame import (
    GRID,
    KILL,
    LINE,
    MARK,
    MUTED,
    SIBLING,
    Frame,
    Layout,
    Record,
    Spec,
    hatch,
    kill_line,
    layer,
    quantity,
    room_right,
    spread,
    stacked,
    texts,
    title_lines,
    x_axis,
)
from oomscope.render.escape import clean, clip
from oomscope.render.style import Style
from oomscope.report import Report
from oomscope.units import format_bytes, format_seconds

COLUMNS = 80  # places along the curve that say their value
DOTS = 150  # more samples than this are a line without dots
MIB, GIB = 2**20, 2**30


class Scale:
    """The vertical scale in one binary unit, starting at zero unless all of it happens near the limit."""

    def __init__(self, values: list[float], limit: float | None, height: int) -> None:
        high = max([*values, limit or 0.0])
        low = min(values, default=0.0)
        self.unit, self.name = (GIB, "GiB") if high >= GIB else (MIB, "MiB")
        self.top = high * 1.08 / self.unit
        self.low = 0.0 if low < 0.45 * high else (low - 0.3 * (high - low) - 0.02 * high) / self.unit
        self.per_y = (self.top - self.low) / height
        step = _nice((self.top - self.low) / 5)
        self.format = f".{0 if step >= 1 and step % 1 == 0 else 1 if round(step * 10, 6) % 1 == 0 else 2}f"
        first = math.ceil(self.low / step)
        self.ticks = [round(step * n, 6) for n in range(first, int(self.top / step) + 1)]

    def y(self, size: float) -> float:
        return size / self.unit


def _nice(step: float) -> float:
    power = 10 ** math.floor(math.log10(step)) if step > 0 else 1.0
    return next((power * factor for factor in (1, 2, 2.5, 5) if power * factor >= step), power * 10)


def memory_chart(
    report: Report,
    frame: Frame,
    layout: Layout,
    tz: tzinfo | None,
    also: Sequence[float] = (),
    *,
    alone: bool,
) -> Spec | None:
    """Chart A; None when the dead container has no sample in the window.

    ``also``: sizes its scale must reach. ``alone``: no chart below it shows the times.
    """
    dead = view.dead_series(report)
    points = inside(dead, frame) if dead else []
    if not points:
        return None
    limit, request = view.limit_bytes(report), fields.number(report.memory, "request_bytes")
    others = _siblings(report, frame)
    shown = [value for _, value in points] + [value for line in others for _, value in line]
    scale = Scale([*shown, *also], limit, layout.tall)
    layers = [
        axes(frame, layout, scale, labels=alone),
        *_lines([*others, *_earlier_lives(report, frame)], scale),
        *_blind(report, points, frame, layout, scale),
        *level_lines(limit, request, frame, scale),
        *_dead_line(points, frame, scale),
        *_marks(report, frame, layout, scale),
        *kill_line(frame),
        *room_right(layout, scale.top),
        *_labels(
            report,
            _clipped(points, frame),
            others,
            layout,
            scale,
            (limit, request),
            Style(tz=tz),
            frame.start,
        ),
    ]
    return stacked(layers, layout.width, layout.tall, title_lines(titles.memory_title(report), layout))


def inside(series: fields.Row, frame: Frame) -> list[tuple[float, float]]:
    """Samples on the time axis, with the one before its start so that the line comes in from the left."""
    points = [(frame.at(at), value) for at, value in fields.points(series, "points")]
    points = [point for point in points if point[0] <= 0.5]
    first = next((n for n, point in enumerate(points) if point[0] >= frame.start), len(points))
    return points[first:] and points[max(0, first - 1) :]


def by_pod(report: Report, frame: Frame) -> list[tuple[str, bool, list[tuple[float, float]]]]:
    """Name, dead or not, and samples: one line a pod, the one with most samples; the dead container first."""
    best: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for one in fields.rows(report.memory, "series"):
        key, points = (fields.text(one, "pod"), one.get("dead") is True), inside(one, frame)
        if len(points) > len(best.get(key, [])):
            best[key] = points
    died = {pod for pod, dead in best if dead}
    kept = [(pod, dead, points) for (pod, dead), points in best.items() if dead or pod not in died]
    return sorted(kept, key=lambda line: not line[1])


def _earlier_lives(report: Report, frame: Frame) -> list[list[tuple[float, float]]]:
    """The same pod before its last restart."""
    dead = view.dead_series(report)
    pod = fields.text(dead, "pod") if dead else ""
    rows = [one for one in fields.rows(report.memory, "series") if one.get("dead") is not True]
    rows = [one for one in rows if pod and fields.text(one, "pod") == pod]
    known = [one for one in rows if fields.text(one, "container_id")] or rows
    best: dict[str, list[tuple[float, float]]] = {}  # several sources may have sampled one life
    for one in known:
        key, points = fields.text(one, "container_id"), inside(one, frame)
        if len(points) > len(best.get(key, [])):
            best[key] = points
    mine = [inside(one, frame) for one in known] if "" in best else list(best.values())
    return [life for points in mine for life in _lives(points) if len(life) > 1][:12]


def _lives(points: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """A line cut where it fell to less than half: a new life began there."""
    cuts = [n for n in range(1, len(points)) if points[n][1] < points[n - 1][1] / 2]
    return [points[a:b] for a, b in pairwise([0, *cuts, len(points)])]


def sizes(report: Report, frame: Frame) -> list[float]:
    """What the scale of this chart has to show."""
    dead = view.dead_series(report)
    limit = view.limit_bytes(report)
    return [value for _, value in inside(dead, frame)] + ([limit] if limit else []) if dead else []


def _siblings(report: Report, frame: Frame) -> list[list[tuple[float, float]]]:
    return [points for _, dead, points in by_pod(report, frame) if not dead and len(points) > 1][:12]


def size_axis(scale: Scale, *, grid: bool) -> Spec:
    """The vertical axis, its unit above it."""
    axis = {
        "values": scale.ticks,
        "grid": grid,
        "domain": False,
        "ticks": False,
        "format": scale.format,
        "labelPadding": 8,
        "title": scale.name,
        "titleAngle": 0,
        "titleAlign": "right",
        "titleX": -8,
        "titleY": -8,
    }
    return quantity("y", [scale.low, scale.top], axis)


def axes(frame: Frame, layout: Layout, scale: Scale, *, labels: bool) -> Spec:
    """An invisible point that carries both axes."""
    across = x_axis(frame, layout, labels=labels)
    return layer(
        "point", [{"x": 0, "y": scale.top}], {"opacity": 0}, x=across, y=size_axis(scale, grid=False)
    )


def _lines(lines: list[list[tuple[float, float]]], scale: Scale) -> list[Spec]:
    records = [{"x": x, "y": scale.y(y), "who": n} for n, line in enumerate(lines) for x, y in line]
    look = {"color": SIBLING, "strokeWidth": 1, "opacity": 0.6, "clip": True}
    return [layer("line", records, look, x="x", y="y", detail="who")] if records else []


def _blind(
    report: Report, points: list[tuple[float, float]], frame: Frame, layout: Layout, scale: Scale
) -> list[Spec]:
    """The hatched time after the last sample, and a dotted line from it up to the limit at the kill."""
    last, value = points[-1]
    if last >= -0.5 or not frame.killed:
        return []
    lines = hatch(
        max(last, frame.start), 0, scale.low, scale.top, per_x=-frame.start / layout.width, per_y=scale.per_y
    )
    layers: list[Spec] = [segments(lines, GRID, 1.5)]
    limit = view.limit_bytes(report)
    if limit and report.kill.verdict in ("oom_limit", "oom_child") and limit > value:
        up = [{"x": last, "y": scale.y(value), "x2": 0, "y2": scale.y(limit)}]
        layers.append(segments(up, LINE, 2, dash=[3, 3]))
    return layers


def segments(records: list[Record], color: str, width: float, dash: list[int] | None = None) -> Spec:
    look = {"color": color, "strokeWidth": width, "clip": True, "strokeDash": dash or []}
    return layer("rule", records, look, x="x", y="y", x2="x2", y2="y2")


def trace(records: list[Record], color: str, width: float = 2) -> Spec:
    return layer("line", records, {"color": color, "strokeWidth": width, "clip": True}, x="x", y="y")


def level_lines(limit: float | None, request: float | None, frame: Frame, scale: Scale) -> list[Spec]:
    layers = []
    for value, color, dash in ((limit, KILL, [6, 4]), (request, MUTED, [1, 4])):
        if value is not None and scale.low <= scale.y(value) <= scale.top:
            record = {"x": frame.start, "x2": 0, "y": scale.y(value), "y2": scale.y(value)}
            layers.append(segments([record], color, 1.5, dash))
    return layers


def _dead_line(points: list[tuple[float, float]], frame: Frame, scale: Scale) -> list[Spec]:
    records = [{"x": x, "y": scale.y(y)} for x, y in points]
    layers = [trace(records, LINE)]
    if len(points) <= DOTS:
        look = {"color": LINE, "size": 28 if len(points) <= DOTS // 3 else 12, "opacity": 1, "clip": True}
        layers.append(layer("circle", records, look, x="x", y="y"))
    return [*layers, _hover(points, frame, scale)]


def _hover(points: list[tuple[float, float]], frame: Frame, scale: Scale) -> Spec:
    """Invisible columns, one a sample, that say its value wherever in the column one points."""
    kept = points[:: len(points) // COLUMNS + 1]
    edges = [frame.start, *((a[0] + b[0]) / 2 for a, b in pairwise(kept)), 0.0]
    records = [
        {"x": left, "x2": right, "y": scale.low, "y2": scale.top,
         "say": f"{format_bytes(y)}, {format_seconds(max(0, -x))} before the end"}
        for (x, y), (left, right) in zip(kept, pairwise(edges), strict=True)
    ]  # fmt: skip
    return layer(
        "rect", records, {"opacity": 0, "clip": True}, x="x", x2="x2", y="y", y2="y2", description="say"
    )


def _marks(report: Report, frame: Frame, layout: Layout, scale: Scale) -> list[Spec]:
    """Dotted lines for restarts, deploys and the like, labelled at the foot in two alternating rows."""
    marks = fields.rows(report.chart, "marks")
    found = [(frame.at(at), fields.text(row, "text") or fields.text(row, "kind")) for row in marks
             if (at := fields.when(row, "at")) and fields.text(row, "kind") != "kill"]  # fmt: skip
    near = -frame.start / 100
    restarts = [
        frame.at(at) for text in fields.texts(report.memory, "restarts") if (at := fields.moment(text))
    ]
    found += [(x, "restart") for x in restarts if all(abs(x - other) > near for other, _ in found)]
    found = sorted(place for place in found if frame.start <= place[0] < 0)[:8]
    if not found:
        return []
    ends = [{"x": x, "x2": x, "y": scale.low, "y2": scale.top} for x, _ in found]
    labels: list[Record] = [
        {"x": x, "y": scale.low + scale.per_y * (8 + 13 * (n % 2)), "text": clip(clean(text), 24)}
        for n, (x, text) in enumerate(found)
    ]
    line = segments(ends, MARK, 1, [2, 3])
    if layout.small:
        return [line]
    room = frame.start * (1 - 140 / layout.width)  # left of it a label has its room only on the right
    right = [label for label in labels if label["x"] > room]
    left = [label for label in labels if label["x"] <= room]
    return [
        line,
        *([texts(left, color=MARK, dx=4)] if left else []),
        *([texts(right, color=MARK, dx=-4, align="right")] if right else []),
    ]


def _labels(
    report: Report,
    points: list[tuple[float, float]],
    others: list[list[tuple[float, float]]],
    layout: Layout,
    scale: Scale,
    levels: tuple[float | None, float | None],
    style: Style,
    start: float,
) -> list[Spec]:
    """What the lines are: right of the kill line, or inside the picture when it is narrow."""
    last, value = points[-1]
    blind = f", {format_seconds(-last)} before" if last < -0.5 else ""
    said = (scale.y(value), format_bytes(value) + blind, LINE)
    if layout.small:
        return []
    if layout.narrow:
        return _labels_inside(points, said, layout, scale, levels, start)
    wanted = [*_right_labels(report, others, levels, scale, style), said]
    places = spread([-y for y, _, _ in wanted], 15 * scale.per_y)
    layers = []
    for place, (_, text, color) in zip(places, wanted, strict=True):
        weight = "bold" if color == KILL else "normal"
        look: Spec = {"color": color, "dx": 10, "fontWeight": weight, "limit": layout.right * 0.85}
        layers.append(texts([{"x": 0, "y": -place, "text": text}], **look))
    return layers


def _labels_inside(
    points: list[tuple[float, float]],
    said: tuple[float, str, str],
    layout: Layout,
    scale: Scale,
    levels: tuple[float | None, float | None],
    start: float,
) -> list[Spec]:
    """Limit and request above their lines; the last sample above its dot, or under the curve when the limit is near."""
    height, text, color = said
    limit, request = levels
    record = {"x": points[-1][0], "y": height, "text": text}
    if limit is not None and abs(scale.y(limit) - height) < 26 * scale.per_y:
        reach = points[-1][0] + _reach(start, text, layout)
        record["y"] = min(scale.y(y) for x, y in points if x >= reach) - 22 * scale.per_y
    layers = [texts([record], color=color, align="right", dx=-8, dy=-8)]
    if limit is not None:
        named = {"x": 0, "y": scale.y(limit), "text": f"limit {format_bytes(limit)}"}
        layers.append(texts([named], color=KILL, align="right", dx=-4, dy=-8))
    if request is not None and _free(points, scale.y(request), layout, scale, start):
        named = {"x": points[0][0], "y": scale.y(request), "text": f"request {format_bytes(request)}"}
        layers.append(texts([named], color=MUTED, dx=4, dy=-8))
    return layers


def _clipped(points: list[tuple[float, float]], frame: Frame) -> list[tuple[float, float]]:
    """The samples with the one that lies left of the picture moved to its edge, for labels to stand inside."""
    return [(max(x, frame.start), y) for x, y in points]


def _reach(start: float, text: str, layout: Layout) -> float:
    """The stretch of time, negative, that a text is wide on an axis that begins at ``start``."""
    return min(start, -1e-9) * (len(text) * layout.size * 0.56 + 16) / layout.width


def _free(points: list[tuple[float, float]], y: float, layout: Layout, scale: Scale, start: float) -> bool:
    """Whether a label at the left end of a line at height ``y`` is clear of the curve."""
    until = points[0][0] - _reach(start, "request 000 MiB", layout)
    near = any(-4 < (scale.y(v) - y) / scale.per_y < 22 for x, v in points if x <= until)
    return scale.low < y < scale.top and not near


def _right_labels(
    report: Report,
    others: list[list[tuple[float, float]]],
    levels: tuple[float | None, float | None],
    scale: Scale,
    style: Style,
) -> list[tuple[float, str, str]]:
    """Height, text and colour of the labels right of the kill line."""
    limit, request = levels
    wanted = []
    if limit:
        wanted.append((scale.y(limit), f"limit {format_bytes(limit)}", KILL))
    if report.kill.killed_at:
        below = scale.y(limit) - 1e-6 if limit else scale.top
        wanted.append(
            (below, f"{view.verdict_word(report.kill)} {style.clock(report.kill.killed_at, day=False)}", KILL)
        )
    if request and scale.low <= scale.y(request) <= scale.top:
        wanted.append((scale.y(request), f"request {format_bytes(request)}", MUTED))
    if others:
        middle = sorted(line[-1][1] for line in others)[len(others) // 2]
        wanted.append((scale.y(middle), view.plural(len(others), "other pod"), MUTED))
    return wanted
