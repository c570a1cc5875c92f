"""Chart A, memory against the limit, and its relatives: per worker process, pods side by side, the leak view."""

from __future__ import annotations

import math
from datetime import tzinfo

from oomscope.render import fields, view
from oomscope.render.chart_frame import (
    GRID,
    INK,
    KILL,
    LINE,
    MARK,
    MUTED,
    SIBLING,
    WORKERS,
    Frame,
    Layout,
    Record,
    Spec,
    configured,
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

HEIGHT = 210
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


def memory_chart(report: Report, frame: Frame, layout: Layout, tz: tzinfo | None) -> Spec | None:
    """Chart A; None when the dead container has no sample in the window."""
    dead = view.dead_series(report)
    points = _inside(dead, frame) if dead else []
    if not points:
        return None
    limit, request = view.limit_bytes(report), fields.number(report.memory, "request_bytes")
    others = _siblings(report, frame)
    shown = [value for _, value in points] + [value for line in others for _, value in line]
    scale = Scale(shown, limit, HEIGHT)
    layers = [
        _axes(frame, layout, scale),
        *_lines(others, scale),
        *_blind(report, points, frame, layout, scale),
        *_levels(limit, request, frame, scale),
        *_dead_line(points, frame, scale, Style(tz=tz)),
        *_marks(report, frame, layout, scale),
        *kill_line(frame),
        *room_right(layout, scale.top),
        *_labels(report, points, others, layout, scale, (limit, request), Style(tz=tz)),
    ]
    return stacked(layers, layout.width, HEIGHT, title_lines(view.memory_title(report), layout))


def _inside(series: fields.Row, frame: Frame) -> list[tuple[float, float]]:
    """Samples on the time axis, with the one before its start so that the line comes in from the left."""
    points = [(frame.at(at), value) for at, value in fields.points(series, "points")]
    points = [point for point in points if point[0] <= 0.5]
    first = next((n for n, point in enumerate(points) if point[0] >= frame.start), len(points))
    return points[first:] and points[max(0, first - 1) :]


def _by_pod(report: Report, frame: Frame) -> list[tuple[str, bool, list[tuple[float, float]]]]:
    """Name, dead or not, and samples: one line a pod, the one with most samples; the dead container first."""
    best: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for one in fields.rows(report.memory, "series"):
        key, points = (fields.text(one, "pod"), one.get("dead") is True), _inside(one, frame)
        if not fields.text(one, "process") and len(points) > len(best.get(key, [])):
            best[key] = points
    died = {pod for pod, dead in best if dead}
    kept = [(pod, dead, points) for (pod, dead), points in best.items() if dead or pod not in died]
    return sorted(kept, key=lambda line: not line[1])


def _siblings(report: Report, frame: Frame) -> list[list[tuple[float, float]]]:
    return [points for _, dead, points in _by_pod(report, frame) if not dead][:12]


def _size_axis(scale: Scale, *, grid: bool) -> Spec:
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


def _axes(frame: Frame, layout: Layout, scale: Scale) -> Spec:
    """An invisible point that carries both axes."""
    across = x_axis(frame, layout, labels=False)
    return layer(
        "point", [{"x": 0, "y": scale.top}], {"opacity": 0}, x=across, y=_size_axis(scale, grid=False)
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
    layers: list[Spec] = [_segments(lines, GRID, 1.5)]
    limit = view.limit_bytes(report)
    if limit and report.kill.verdict in ("oom_limit", "oom_child") and limit > value:
        up = [{"x": last, "y": scale.y(value), "x2": 0, "y2": scale.y(limit)}]
        layers.append(_segments(up, LINE, 2, dash=[3, 3]))
    return layers


def _segments(records: list[Record], color: str, width: float, dash: list[int] | None = None) -> Spec:
    look = {"color": color, "strokeWidth": width, "clip": True, "strokeDash": dash or []}
    return layer("rule", records, look, x="x", y="y", x2="x2", y2="y2")


def _trace(records: list[Record], color: str, width: float = 2) -> Spec:
    return layer("line", records, {"color": color, "strokeWidth": width, "clip": True}, x="x", y="y")


def _levels(limit: float | None, request: float | None, frame: Frame, scale: Scale) -> list[Spec]:
    layers = []
    for value, color, dash in ((limit, KILL, [6, 4]), (request, MUTED, [1, 4])):
        if value is not None and scale.low <= scale.y(value) <= scale.top:
            record = {"x": frame.start, "x2": 0, "y": scale.y(value), "y2": scale.y(value)}
            layers.append(_segments([record], color, 1.5, dash))
    return layers


def _dead_line(points: list[tuple[float, float]], frame: Frame, scale: Scale, style: Style) -> list[Spec]:
    records = [
        {"x": x, "y": scale.y(y), "say": f"{format_bytes(y)}, {format_seconds(max(0, -x))} before the end"}
        for x, y in points
    ]
    layers = [_trace(records, LINE)]
    if len(points) <= DOTS:
        look = {"color": LINE, "size": 28 if len(points) <= DOTS // 3 else 12, "opacity": 1, "clip": True}
        layers.append(layer("circle", records, look, x="x", y="y", description="say"))
    return layers


def _marks(report: Report, frame: Frame, layout: Layout, scale: Scale) -> list[Spec]:
    """Dotted lines for restarts, deploys and the like, labelled at the foot in two alternating rows."""
    marks = fields.rows(report.chart, "marks")
    found = [(frame.at(at), fields.text(row, "text") or fields.text(row, "kind")) for row in marks
             if (at := fields.when(row, "at")) and fields.text(row, "kind") != "kill"]  # fmt: skip
    restarts = fields.texts(report.memory, "restarts")
    found += [(frame.at(at), "restart") for text in restarts if (at := fields.moment(text))]
    found = sorted(place for place in found if frame.start <= place[0] < 0)[:8]
    if not found:
        return []
    ends = [{"x": x, "x2": x, "y": scale.low, "y2": scale.top} for x, _ in found]
    labels: list[Record] = [
        {"x": x, "y": scale.low + scale.per_y * (8 + 13 * (n % 2)), "text": clip(clean(text), 24)}
        for n, (x, text) in enumerate(found)
    ]
    right = [label for label in labels if label["x"] > frame.start * 0.3]
    left = [label for label in labels if label["x"] <= frame.start * 0.3]
    return [
        _segments(ends, MARK, 1, [2, 3]),
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
) -> list[Spec]:
    """What the lines are: right of the kill line, or inside the picture when it is narrow."""
    last, value = points[-1]
    blind = f", {format_seconds(-last)} before" if last < -0.5 else ""
    said = (scale.y(value), format_bytes(value) + blind, LINE)
    if layout.narrow:
        return _labels_inside(points, said, layout, scale, levels[0])
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
    limit: float | None,
) -> list[Spec]:
    """The limit above its line; the last sample above its dot, or under the curve when the limit is too near."""
    height, text, color = said
    record = {"x": points[-1][0], "y": height, "text": text}
    if limit is not None and abs(scale.y(limit) - height) < 26 * scale.per_y:
        under = points[0][0] * 150 / layout.width  # the stretch of time that the label is wide
        record["y"] = min(scale.y(y) for x, y in points if x >= points[-1][0] + under) - 14 * scale.per_y
    layers = [texts([record], color=color, align="right", dx=-8, dy=-8)]
    if limit is not None:
        named = {"x": 0, "y": scale.y(limit), "text": f"limit {format_bytes(limit)}"}
        layers.append(texts([named], color=KILL, align="right", dx=-4, dy=-8))
    return layers


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


def workers_chart(report: Report, frame: Frame, layout: Layout) -> Spec | None:
    """Memory of each worker process of the dead container, where it is known."""
    series = [one for one in fields.rows(report.memory, "series") if fields.text(one, "process")][
        : len(WORKERS)
    ]
    lines = [(clip(clean(fields.text(one, "process")), 28), _inside(one, frame)) for one in series]
    lines = [(name, points) for name, points in lines if points]
    if not lines:
        return None
    scale = Scale([value for _, points in lines for _, value in points], None, 150)
    layers: list[Spec] = [_axes(frame, layout, scale)]
    ends = spread([-scale.y(points[-1][1]) for _, points in lines], 14 * scale.per_y)
    for (name, points), end, color in zip(lines, ends, WORKERS, strict=False):
        records = [{"x": x, "y": scale.y(y)} for x, y in points]
        layers.append(_trace(records, color))
        if layout.narrow:
            layers.append(
                texts(
                    [{"x": records[-1]["x"], "y": records[-1]["y"], "text": name}],
                    color=INK,
                    align="right",
                    dy=-8,
                )
            )
        else:
            layers.append(
                texts(
                    [{"x": 0, "y": -end, "text": f"{name}  {format_bytes(points[-1][1])}"}], color=INK, dx=10
                )
            )
    layers += [*kill_line(frame), *room_right(layout, scale.top)]
    title = f"Memory of the worker processes ({len(lines)})"
    return configured(stacked(layers, layout.width, 150, title), layout)


def pods_chart(report: Report, frame: Frame, layout: Layout) -> Spec | None:
    """One small chart a pod on the same scales; None with fewer than two pods."""
    lines = [
        (clip(clean(pod or "?"), 26, middle=True), dead, points)
        for pod, dead, points in _by_pod(report, frame)
    ][:8]
    if len(lines) < 2:
        return None
    limit = view.limit_bytes(report)
    scale = Scale([value for _, _, points in lines for _, value in points], limit, 90)
    columns = 2 if layout.narrow else 4
    small = Layout(
        width=(layout.width + layout.right) // columns - 50, right=0, size=layout.size, lanes=0, narrow=True
    )
    charts = []
    for name, dead, points in lines:
        records = [{"x": x, "y": scale.y(y)} for x, y in points]
        color, weight = (LINE, "bold") if dead else (SIBLING, "normal")
        layers = [
            _axes(frame, small, scale),
            _trace(records, color, 1.5),
            *_levels(limit, None, frame, scale),
        ]
        title = {
            "text": name + (" (died)" if dead else ""),
            "fontSize": layout.size,
            "fontWeight": weight,
            "offset": 4,
        }
        charts.append(stacked(layers, small.width, 90, title))
    return configured({"concat": charts, "columns": columns, "spacing": 14}, layout)


def leak_chart(report: Report, layout: Layout) -> Spec | None:
    """The leak view: lowest memory between requests against completed requests of the suspect, with the fitted line."""
    floor = fields.mapping(report.memory, "floor")
    points = fields.pairs(floor, "points")[:600]
    if len(points) < 3:
        return None
    scale = Scale([value for _, value in points], None, 170)
    most = max(x for x, _ in points)
    least = min(x for x, _ in points)
    records = [{"x": x, "y": scale.y(y)} for x, y in points]
    who = clip(clean(fields.text(floor, "suspect") or "the suspect"), 40, middle=True)
    axis = {"grid": False, "tickCount": 5, "domainColor": GRID, "ticks": False, "labelPadding": 6,
            "title": f"completed requests to {who}"}  # fmt: skip
    x = quantity("x", [least, most or 1], axis)
    look = {"color": LINE, "size": 24, "opacity": 0.8}
    layers = [layer("circle", records, look, x=x, y=_size_axis(scale, grid=True))]
    slope, start = fields.number(floor, "slope_bytes"), fields.number(floor, "intercept_bytes")
    if slope is not None and start is not None:
        ends = [
            {"x": least, "y": scale.y(start + slope * least), "x2": most, "y2": scale.y(start + slope * most)}
        ]
        layers.append(_segments(ends, KILL, 2))
    said = clean(fields.text(floor, "text")) or f"Memory floor against requests to {who}"
    return configured(stacked(layers, layout.width, 170, title_lines(said, layout)), layout)
