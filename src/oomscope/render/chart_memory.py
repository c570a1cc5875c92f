"""Chart A, memory against the limit, and its relatives: per worker process, pods side by side, the leak view."""

from __future__ import annotations

import math
from datetime import tzinfo
from typing import Any

import altair as alt

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
    Drawn,
    Frame,
    Layout,
    Record,
    configured,
    hatch,
    kill_line,
    room_right,
    rows_of,
    spread,
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


def memory_chart(report: Report, frame: Frame, layout: Layout, tz: tzinfo | None) -> Drawn | None:
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
        *room_right(frame, layout, scale.top),
        *_labels(report, points, others, layout, scale, (limit, request), Style(tz=tz)),
    ]
    title = alt.TitleParams(title_lines(view.memory_title(report), layout))
    return alt.layer(*layers).properties(width=layout.width, height=HEIGHT, title=title)


def _inside(series: fields.Row, frame: Frame) -> list[tuple[float, float]]:
    """Samples on the time axis, with the one before its start so that the line comes in from the left."""
    points = [(frame.at(at), value) for at, value in fields.points(series, "points")]
    points = [point for point in points if point[0] <= 0.5]
    first = next((n for n, point in enumerate(points) if point[0] >= frame.start), len(points))
    return points[first:] and points[max(0, first - 1) :]


def _siblings(report: Report, frame: Frame) -> list[list[tuple[float, float]]]:
    lines = [_inside(one, frame) for one in fields.rows(report.memory, "series")
             if one.get("dead") is not True and not fields.text(one, "process")]  # fmt: skip
    return [line for line in lines if line][:12]


def _size_axis(scale: Scale, *, grid: bool) -> alt.Axis:
    return alt.Axis(
        values=scale.ticks,
        grid=grid,
        domain=False,
        ticks=False,
        format=scale.format,
        labelPadding=8,
        title=scale.name,
        titleAngle=0,
        titleAlign="right",
        titleX=-8,
        titleY=-8,
    )


def _axes(frame: Frame, layout: Layout, scale: Scale) -> Drawn:
    y_scale = alt.Scale(domain=[scale.low, scale.top], nice=False, zero=False)
    y = alt.Y("y:Q", scale=y_scale, axis=_size_axis(scale, grid=False))
    chart = alt.Chart(rows_of([{"x": 0, "y": scale.top}])).mark_point(opacity=0, aria=False)
    return chart.encode(x=x_axis(frame, layout, labels=False), y=y)


def _lines(lines: list[list[tuple[float, float]]], scale: Scale) -> list[Drawn]:
    records = [{"x": x, "y": scale.y(y), "who": n} for n, line in enumerate(lines) for x, y in line]
    if not records:
        return []
    chart = alt.Chart(rows_of(records)).mark_line(
        color=SIBLING, strokeWidth=1, opacity=0.6, clip=True, aria=False
    )
    return [chart.encode(x="x:Q", y="y:Q", detail="who:N")]


def _blind(
    report: Report, points: list[tuple[float, float]], frame: Frame, layout: Layout, scale: Scale
) -> list[Drawn]:
    """The hatched time after the last sample, and a dotted line from it up to the limit at the kill."""
    last, value = points[-1]
    if last >= -0.5 or not frame.killed:
        return []
    lines = hatch(
        max(last, frame.start), 0, scale.low, scale.top, per_x=-frame.start / layout.width, per_y=scale.per_y
    )
    layers: list[Drawn] = [_segments(lines, GRID, 1.5)]
    limit = view.limit_bytes(report)
    if limit and report.kill.verdict in ("oom_limit", "oom_child") and limit > value:
        up = [{"x": last, "y": scale.y(value), "x2": 0, "y2": scale.y(limit)}]
        layers.append(_segments(up, LINE, 2, dash=[3, 3]))
    return layers


def _segments(records: list[Record], color: str, width: float, dash: list[int] | None = None) -> Drawn:
    more: dict[str, Any] = {"strokeDash": dash} if dash else {}
    chart = alt.Chart(rows_of(records)).mark_rule(
        color=color, strokeWidth=width, clip=True, aria=False, **more
    )
    return chart.encode(x="x:Q", y="y:Q", x2="x2:Q", y2="y2:Q")


def _levels(limit: float | None, request: float | None, frame: Frame, scale: Scale) -> list[Drawn]:
    layers = []
    for value, color, dash in ((limit, KILL, [6, 4]), (request, MUTED, [1, 4])):
        if value is not None and scale.low <= scale.y(value) <= scale.top:
            record = {"x": frame.start, "x2": 0, "y": scale.y(value), "y2": scale.y(value)}
            layers.append(_segments([record], color, 1.5, dash))
    return layers


def _dead_line(points: list[tuple[float, float]], frame: Frame, scale: Scale, style: Style) -> list[Drawn]:
    records = [
        {"x": x, "y": scale.y(y), "say": f"{format_bytes(y)}, {format_seconds(max(0, -x))} before the end"}
        for x, y in points
    ]
    base = alt.Chart(rows_of(records)).encode(x="x:Q", y="y:Q")
    layers: list[Drawn] = [base.mark_line(color=LINE, strokeWidth=2, clip=True, aria=False)]
    if len(points) <= DOTS:
        layers.append(base.mark_circle(color=LINE, size=28, opacity=1, clip=True).encode(description="say:N"))
    return layers


def _marks(report: Report, frame: Frame, layout: Layout, scale: Scale) -> list[Drawn]:
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
) -> list[Drawn]:
    last, value = points[-1]
    blind = f", {format_seconds(-last)} before" if last < -0.5 else ""
    at_last = [{"x": last, "y": scale.y(value), "text": format_bytes(value) + blind}]
    layers: list[Drawn] = [texts(at_last, color=LINE, align="right", dx=-8, dy=-8)]
    wanted = _right_labels(report, others, levels, scale, style)
    if layout.narrow:
        limit = [one for one in wanted if one[2] == KILL and one[1].startswith("limit")]
        layers += [
            texts([{"x": -1e-9, "y": y, "text": text}], color=color, align="right", dx=-4, dy=-8)
            for y, text, color in limit
        ]
        return layers
    places = spread([-y for y, _, _ in wanted], 15 * scale.per_y)
    for place, (_, text, color) in zip(places, wanted, strict=True):
        weight = "bold" if color == KILL else "normal"
        layers.append(
            texts(
                [{"x": 0, "y": -place, "text": text}],
                color=color,
                dx=10,
                fontWeight=weight,
                limit=layout.right * 0.85,
            )
        )
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


def workers_chart(report: Report, frame: Frame, layout: Layout) -> Drawn | None:
    """Memory of each worker process of the dead container, where it is known."""
    series = [one for one in fields.rows(report.memory, "series") if fields.text(one, "process")][
        : len(WORKERS)
    ]
    lines = [(clip(clean(fields.text(one, "process")), 28), _inside(one, frame)) for one in series]
    lines = [(name, points) for name, points in lines if points]
    if not lines:
        return None
    scale = Scale([value for _, points in lines for _, value in points], None, 150)
    layers: list[Drawn] = [_axes(frame, layout, scale)]
    ends = spread([-scale.y(points[-1][1]) for _, points in lines], 14 * scale.per_y)
    for (name, points), end, color in zip(lines, ends, WORKERS, strict=False):
        records = [{"x": x, "y": scale.y(y)} for x, y in points]
        layers.append(
            alt.Chart(rows_of(records))
            .mark_line(color=color, strokeWidth=2, clip=True, aria=False)
            .encode(x="x:Q", y="y:Q")
        )
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
    layers += [*kill_line(frame), *room_right(frame, layout, scale.top)]
    title = f"Memory of the worker processes ({len(lines)})"
    return configured(alt.layer(*layers).properties(width=layout.width, height=150, title=title), layout)


def pods_chart(report: Report, frame: Frame, layout: Layout) -> Drawn | None:
    """One small chart a pod on the same scales; None with fewer than two pods."""
    series = [one for one in fields.rows(report.memory, "series") if not fields.text(one, "process")]
    lines = [
        (
            clip(clean(fields.text(one, "pod") or "?"), 26, middle=True),
            one.get("dead") is True,
            _inside(one, frame),
        )
        for one in series
    ]
    lines = [line for line in lines if line[2]][:8]
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
        line = alt.Chart(rows_of(records)).mark_line(
            color=LINE if dead else SIBLING, strokeWidth=1.5, clip=True, aria=False
        )
        layers = [
            _axes(frame, small, scale),
            line.encode(x="x:Q", y="y:Q"),
            *_levels(limit, None, frame, scale),
        ]
        title = alt.TitleParams(
            name + (" (died)" if dead else ""),
            fontSize=layout.size,
            fontWeight="bold" if dead else "normal",
            offset=4,
        )
        charts.append(alt.layer(*layers).properties(width=small.width, height=90, title=title))
    return configured(alt.concat(*charts, columns=columns, spacing=14), layout)


def leak_chart(report: Report, layout: Layout) -> Drawn | None:
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
    x_scale = alt.Scale(domain=[least, most or 1], nice=False)
    along = alt.Axis(grid=False, tickCount=5, domainColor=GRID, ticks=False, labelPadding=6)
    x = alt.X("x:Q", title=f"completed requests to {who}", scale=x_scale, axis=along)
    y_scale = alt.Scale(domain=[scale.low, scale.top], nice=False, zero=False)
    y = alt.Y("y:Q", scale=y_scale, axis=_size_axis(scale, grid=True))
    dots = (
        alt.Chart(rows_of(records)).mark_circle(color=LINE, size=24, opacity=0.8, aria=False).encode(x=x, y=y)
    )
    layers: list[Drawn] = [dots]
    slope, start = fields.number(floor, "slope_bytes"), fields.number(floor, "intercept_bytes")
    if slope is not None and start is not None:
        ends = [
            {"x": least, "y": scale.y(start + slope * least), "x2": most, "y2": scale.y(start + slope * most)}
        ]
        layers.append(_segments(ends, KILL, 2))
    said = clean(fields.text(floor, "text")) or f"Memory floor against requests to {who}"
    title = alt.TitleParams(title_lines(said, layout))
    return configured(alt.layer(*layers).properties(width=layout.width, height=170, title=title), layout)
