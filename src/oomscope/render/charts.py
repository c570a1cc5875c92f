"""The pictures of the report, Vega-Lite drawn by vl-convert without a browser: SVG for the page, PNG for chat.

What they draw is in the report already, thinned by the analysis; every key may be absent, times are ISO 8601 UTC text.

``report.memory``::

    {"limit_bytes": int | None,          # the limit that was hit (container or pod)
     "request_bytes": int | None,
     "metric": "working_set",            # or usage, rss: what the samples measure
     "step_s": 15.0,                     # usual distance of the samples of the dead container
     "series": [                         # the dead container first, then siblings; at most 24 series of 600 points
        {"pod": str, "container": str | None, "container_id": str | None,
         "process": str | None,          # set when the series is one worker process of the dead container
         "dead": bool,
         "points": [[iso, bytes], ...]}],
     "series_total": int,                # how many there were before thinning
     "killed_at": iso | None,
     "last_sample_at": iso | None, "last_bytes": int | None,  # of the dead container; the gap up to the kill is blind
     "before_bytes": int | None,         # level before the last rise
     "rise_bytes": int | None, "rise_from": iso | None,       # the rise up to the last sample, and when it began
     "restarts": [iso, ...],             # earlier starts of this container inside the window
     "title": str,                       # the finding as a sentence; made from the numbers above when absent
     "floor": {                          # leak view: memory floor against completions of the suspect
        "suspect": str, "points": [[completions, bytes], ...],
        "slope_bytes": float | None,     # growth per completion of the fitted line
        "intercept_bytes": float | None,
        "text": str}}

``report.chart``::

    {"from": iso, "to": iso,             # of the picture; both charts share it
     "killed_at": iso | None,
     "bars": [                           # in flight first, longest first; at most 400
        {"start": iso | None,            # None: only the end is known (ALB row without a log line)
         "end": iso | None,              # None: cut by the kill
         "endpoint": str,                # label: "GET /path" or Controller#action or a job class
         "state": "in_flight" | "completed" | "survived",   # survived: an earlier run of the suspect that completed
         "suspect": bool, "age_s": float | None, "process": str | None, "pod": str | None}],
     "drawn": int, "total": int,         # requests drawn and requests in the window: "14 of 6,026 drawn"
     "rate": [[iso, per_s], ...],        # completed requests per second, at most 300 buckets
     "marks": [{"at": iso, "text": str, "kind": "restart" | "deploy" | "config" | "scale" | "alert" | "kill"}],
     "title": str}                       # the finding as a sentence; made from the bars when absent
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo

import vl_convert

from oomscope.render import chart_memory, fields, view
from oomscope.render.chart_frame import NARROW, SMALL, WIDE, Frame, Layout, Spec, configured, frame_of
from oomscope.render.chart_requests import requests_chart
from oomscope.render.style import Style
from oomscope.report import Report

_IDS = re.compile(r'( id="|url\(#)([A-Za-z_]+\d+)')
_NO_NETWORK: list[str] = []  # base addresses the drawing may load from: none


@dataclass(frozen=True, slots=True)
class Picture:
    """One drawing for the page: SVG for wide and for narrow screens."""

    id: str
    title: str
    wide: str
    narrow: str


def pictures(report: Report, tz: tzinfo | None = None) -> list[Picture]:
    """Every chart the report has data for, the main one (memory and requests on one time axis) first."""
    frame = frame_of(report)
    drawings: list[tuple[str, str, Callable[[Layout], Spec | None]]] = [
        ("leak", "Memory floor", lambda layout: chart_memory.leak_chart(report, layout))
    ]
    if frame is not None:
        drawings = [
            (
                "main",
                "Memory against limit, and requests until the kill",
                lambda layout: main_chart(report, frame, layout, tz),
            ),
            (
                "workers",
                "By worker process",
                lambda layout: chart_memory.workers_chart(report, frame, layout),
            ),
            ("pods", "Pods side by side", lambda layout: chart_memory.pods_chart(report, frame, layout)),
            *drawings,
        ]
    found = []
    for name, title, build in drawings:
        wide, narrow = build(WIDE), build(NARROW)
        if wide is not None and narrow is not None:
            found.append(Picture(name, title, to_svg(wide, f"{name}-w-"), to_svg(narrow, f"{name}-n-")))
    return found


def multiples(report: Report, tz: tzinfo | None = None) -> list[tuple[str, str]]:
    """The main chart of up to three other kills that have their own samples, as title and SVG, small."""
    found: list[tuple[str, str]] = []
    for number, row in enumerate(report.other_kills):
        memory, chart, killed = (
            fields.mapping(row, "memory"),
            fields.mapping(row, "chart"),
            fields.when(row, "killed_at"),
        )
        if len(found) == 3 or killed is None or not (memory or chart):
            continue
        kill = report.kill.model_copy(update={"killed_at": killed})
        other = report.model_copy(
            update={"memory": dict(memory), "chart": dict(chart), "impact": {}, "kill": kill}
        )
        frame = frame_of(other)
        drawn = main_chart(other, frame, SMALL, tz) if frame else None
        if drawn is not None:
            title = f"{Style(tz=tz).clock(killed, day=True)} {view.name(fields.text(row, 'pod'))}"
            found.append((title, to_svg(drawn, f"k{number}-")))
    return found


def main_chart(report: Report, frame: Frame, layout: Layout, tz: tzinfo | None = None) -> Spec | None:
    """Charts A and B on one time axis with the kill line through both; None when there is neither."""
    charts = (chart_memory.memory_chart(report, frame, layout, tz), requests_chart(report, frame, layout))
    parts = [chart for chart in charts if chart is not None]
    if not parts:
        return None
    return configured(
        {"vconcat": parts, "spacing": 0, "bounds": "flush", "resolve": {"scale": {"x": "shared"}}}, layout
    )


def to_svg(chart: Spec, prefix: str) -> str:
    """The chart as an SVG element.

    Its ids start with ``prefix``, so that several can share a page, and count from 0: Vega counts on from drawing to
    drawing, but the same report must give the same bytes.
    """
    svg: str = vl_convert.vegalite_to_svg(chart, allowed_base_urls=_NO_NETWORK)
    numbers: dict[str, int] = {}
    return _IDS.sub(lambda found: f"{found[1]}{prefix}{numbers.setdefault(found[2], len(numbers))}", svg)


def chart_png(report: Report, tz: tzinfo | None = None, scale: float = 2.0) -> bytes | None:
    """The main chart as PNG on white, for chat; None when there is nothing to draw."""
    frame = frame_of(report)
    chart = main_chart(report, frame, WIDE, tz) if frame else None
    if chart is None:
        return None
    png: bytes = vl_convert.vegalite_to_png(
        chart | {"background": "#ffffff"}, scale=scale, allowed_base_urls=_NO_NETWORK
    )
    return png
