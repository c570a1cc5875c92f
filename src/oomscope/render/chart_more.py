"""The pictures beside the main one: memory by process, pods side by side, the leak view."""

from __future__ import annotations

from oomscope.render import fields, titles, view
from oomscope.render.chart_frame import (
    GRID,
    KILL,
    LINE,
    OPEN,
    SIBLING,
    Frame,
    Layout,
    Spec,
    configured,
    layer,
    quantity,
    stacked,
    texts,
    title_lines,
)
from oomscope.render.chart_memory import Scale, axes, by_pod, level_lines, segments, size_axis, trace
from oomscope.render.escape import clean, clip
from oomscope.render.terminal import wrap
from oomscope.report import Report
from oomscope.units import format_bytes

ROW, THICK = 26, 16  # a process and its bar, pixels
PROCESSES, PODS = 12, 8


def processes_chart(report: Report, layout: Layout) -> Spec | None:
    """A bar a process, as the kernel counted them at the kill; the killed one red."""
    rows = [
        (clip(clean(fields.text(row, "name") or "?"), 28, middle=True), held, row.get("killed") is True)
        for row in fields.rows(fields.mapping(report.memory, "processes"), "rows")
        if (held := fields.number(row, "rss_bytes")) is not None and held >= 0
    ][:PROCESSES]
    most = max((held for _, held, _ in rows), default=0.0)
    if not most:
        return None
    beside = 0 if layout.narrow else 170  # names stand left of their bars, or above them
    step = ROW + (14 if layout.narrow else 0)
    scale = (layout.width - beside - 90) / most
    bars, names, sizes = [], [], []
    for n, (name, held, killed) in enumerate(rows):
        y = n * step + (step - ROW) + ROW / 2
        color = KILL if killed else OPEN
        said = name + (", killed" if killed else "")
        bars.append({"x": beside, "x2": beside + held * scale, "y": y - THICK / 2, "y2": y + THICK / 2, "color": color,
                     "say": f"{said}: {format_bytes(held)}"})  # fmt: skip
        at = {"x": 0, "y": y - ROW / 2 - 5} if layout.narrow else {"x": beside - 10, "y": y}
        names.append({**at, "text": said, "color": color})
        sizes.append({"x": beside + held * scale + 8, "y": y, "text": format_bytes(held), "color": color})
    height = len(rows) * step
    plain = [layer("point", [{"x": 0, "y": 0}], {"opacity": 0}, x=quantity("x", [0, layout.width], None),
                   y=quantity("y", [height, 0], None))]  # fmt: skip
    for color in (KILL, OPEN):
        mine = [bar for bar in bars if bar["color"] == color]
        look: Spec = {"color": color, "opacity": 1, "cornerRadius": 2}
        plain += (
            [layer("rect", mine, look, x="x", x2="x2", y="y", y2="y2", description="say")] if mine else []
        )
        for labels, align in ((names, "left" if layout.narrow else "right"), (sizes, "left")):
            ours = [label for label in labels if label["color"] == color]
            bold = "bold" if color == KILL else "normal"
            plain += [texts(ours, color=color, align=align, fontWeight=bold)] if ours else []
    title = title_lines(titles.processes_title(report), layout)
    return configured(stacked(plain, layout.width, height, title), layout)


def pods_chart(report: Report, frame: Frame, layout: Layout) -> Spec | None:
    """One small chart a pod on the same scales; None with fewer than two pods."""
    lines = [line for line in by_pod(report, frame) if len(line[2]) > 1][:PODS]
    if len(lines) < 2 or not any(dead for _, dead, _ in lines):
        return None
    limit = view.limit_bytes(report)
    scale = Scale([value for _, _, points in lines for _, value in points], limit, 90)
    columns = min(2 if layout.narrow else 4, len(lines))
    room = (layout.width + layout.right) // (2 if layout.narrow else 4)
    small = Layout(width=room - 50, right=0, size=layout.size, lanes=0, narrow=True)
    charts = []
    for pod, dead, points in lines:
        name = clip(clean(pod or "?"), small.width // 7 - (7 if dead else 0), middle=True)
        records = [{"x": x, "y": scale.y(y)} for x, y in points]
        color, weight = (LINE, "bold") if dead else (SIBLING, "normal")
        layers = [
            axes(frame, small, scale, labels=True),
            trace(records, color, 1.5),
            *level_lines(limit, None, frame, scale),
        ]
        title = {
            "text": name + (" (died)" if dead else ""),
            "fontSize": layout.size,
            "fontWeight": weight,
            "offset": 4,
        }
        charts.append(stacked(layers, small.width, 90, title))
    title = {
        "text": title_lines(titles.pods_title([(dead, points[-1][1]) for _, dead, points in lines]), layout)
    }
    return configured({"title": title, "concat": charts, "columns": columns, "spacing": 14}, layout)


def leak_chart(report: Report, layout: Layout) -> Spec | None:
    """The leak view: lowest memory between requests against completed runs of the suspect, with the fitted line."""
    floor = fields.mapping(report.memory, "floor")
    points = fields.pairs(floor, "points")[:600]
    if len(points) < 3:
        return None
    scale = Scale([value for _, value in points], None, 170)
    least, most = min(x for x, _ in points), max(x for x, _ in points)
    records = [
        {"x": x, "y": scale.y(y), "say": f"{format_bytes(y)} after {view.plural(int(x), 'run')}"}
        for x, y in points
    ]
    who = titles.endpoint_label(report, fields.text(floor, "suspect"))
    axis = {"grid": False, "tickCount": 5, "tickMinStep": 1, "domainColor": GRID, "ticks": False, "labelPadding": 6,
            "title": clip(f"completed runs of {who}", 48 if layout.narrow else 110, middle=True)}  # fmt: skip
    x = quantity("x", [least, most if most > least else least + 1], axis)
    look = {"color": LINE, "size": 24, "opacity": 0.8}
    layers = [layer("circle", records, look, x=x, y=size_axis(scale, grid=True), description="say")]
    slope, start = fields.number(floor, "slope_bytes"), fields.number(floor, "intercept_bytes")
    if slope is not None and start is not None:
        ends = [
            {"x": least, "y": scale.y(start + slope * least), "x2": most, "y2": scale.y(start + slope * most)}
        ]
        layers.append(segments(ends, KILL, 2))
    said = "Dots: lowest memory of a stretch of time. Line: the part of the growth that follows these runs."
    title = {
        "text": title_lines(titles.leak_title(report), layout),
        "subtitle": wrap(said, 56 if layout.narrow else 110),
    }
    return configured(stacked(layers, layout.width, 170, title), layout)
