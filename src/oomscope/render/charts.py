"""The pictures of the report, Vega-Lite drawn by vl-convert without a browser: SVG for the page, PNG for chat.

What they draw is in the report already, thinned by the analysis; every key may be absent, times are ISO 8601 UTC text.

``report.memory``::

    {"limit_bytes": int | None,          # the limit that was hit (container or pod)
     "request_bytes": int | None,
     "metric": "working_set",            # or usage, rss: what the samples measure
     "step_s": 15.0,                     # usual distance of the samples of the dead container
     "series": [                         # the dead container first, then siblings; at most 24 series of 600 points
        {"pod": str, "container": str | None, "container_id": str | None,
         "dead": bool,
         "points": [[iso, bytes], ...]}],
     "series_total": int,                # how many there were before thinning
     "killed_at": iso | None,
     "last_sample_at": iso | None, "last_bytes": int | None,  # of the dead container; the gap up to the kill is blind
     "before_bytes": int | None,         # level before the last rise
     "rise_bytes": int | None, "rise_from": iso | None,       # the rise up to the last sample, and when it began
     "restarts": [iso, ...],             # earlier starts of this container inside the window
     "title": str,                       # the finding as a sentence; made from the numbers above when absent
     "processes": {                      # the kernel's own table at the kill, largest first
        "at": iso, "scope": str, "total": int, "total_bytes": int,
        "rows": [{"name": str, "comm": str, "pid": int | None, "host_pid": int, "role": str | None,
                  "rss_bytes": int, "killed": bool}]},
     "floor": {                          # leak view: lowest memory of a stretch of time against runs of the suspect
        "suspect": str, "points": [[completions, bytes], ...],
        "slope_bytes": float | None,     # growth per completion
        "intercept_bytes": float | None, "completions": int}}

``report.chart``::

    {"from": iso, "to": iso,             # of the picture; both charts share it
     "killed_at": iso | None,
     "bars": [                           # in flight first, longest first; at most 400
        {"start": iso | None,            # None: only the end is known (ALB row without a log line)
         "end": iso | None,              # None: cut by the kill
         "endpoint": str,                # label: "GET /path" or Controller#action or a job class
         "state": "in_flight" | "completed" | "survived",   # survived: an earlier run of the suspect that completed
         "suspect": bool, "age_s": float | None, "pod": str | None}],
     "drawn": int, "total": int,         # requests drawn and requests in the window: "14 of 6,026 drawn"
     "rate": [[iso, per_s], ...],        # completed requests per second, at most 300 buckets
     "marks": [{"at": iso, "text": str, "kind": "restart" | "deploy" | "config" | "scale" | "alert" | "kill"}],
     "title": str}                       # the finding as a sentence; made from the bars when absent
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

import vl_convert

from oomscope.render import chart_memory, chart_more, fields, view
from oomscope.render.chart_frame import NARROW, SMALL, WIDE, Frame, Layout, Spec, configured, frame_of
from oomscope.render.chart_requests import requests_chart
from oomscope.render.style import Style
from oomscope.render.words import VERDICTS
from oomscope.report import Report

OTHERS = 3  # small pictures beside the one of this kill
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
        ("processes", "Memory by process", lambda layout: chart_more.processes_chart(report, layout)),
        ("leak", "Memory floor", lambda layout: chart_more.leak_chart(report, layout)),
    ]
    if frame is not None:
        main = "Memory against limit, and requests until the kill"
        drawings.insert(0, ("main", main, lambda layout: main_chart(report, frame, layout, tz)))
        drawings.append(
            ("pods", "Pods side by side", lambda layout: chart_more.pods_chart(report, frame, layout))
        )
    found = []
    for name, title, build in drawings:
        wide, narrow = build(WIDE), build(NARROW)
        if wide is not None and narrow is not None:
            found.append(Picture(name, title, to_svg(wide, f"{name}-w-"), to_svg(narrow, f"{name}-n-")))
    return found


def multiples(report: Report, tz: tzinfo | None = None) -> list[tuple[str, str]]:
    """This kill and up to three others that have their own samples, as title and small SVG, all on the same scales."""
    others = [_other(report, row) for row in report.other_kills if fields.mapping(row, "memory")]
    kills = [(one, frame) for one in [report, *others] if one is not None and (frame := frame_of(one))]
    if len(kills) < 2 or kills[0][0] is not report:
        return []
    kills = kills[: 1 + OTHERS]
    start = min(frame.start for _, frame in kills)
    sizes = [size for one, frame in kills for size in chart_memory.sizes(one, frame)]
    pods = {one.target.pod for one, _ in kills}
    found = []
    for number, (one, frame) in enumerate(kills):
        drawn = main_chart(one, replace(frame, start=start), SMALL, tz, sizes)
        if drawn is not None:
            pod = view.name(one.target.pod or "") if len(pods) > 1 else ""
            words = [Style(tz=tz).clock(one.kill.killed_at, day=True), pod, "" if number else "(this kill)"]
            found.append((" ".join(filter(None, words)), to_svg(drawn, f"k{number}-")))
    return found


def _other(report: Report, row: fields.Row) -> Report | None:
    """Another kill as a report of its own, as far as the charts read one."""
    killed, verdict = fields.when(row, "killed_at"), fields.text(row, "verdict")
    if killed is None:
        return None
    told = {"verdict": verdict} if verdict in VERDICTS else {}
    limit = fields.number(row, "limit_bytes")
    kill = report.kill.model_copy(update={"killed_at": killed, "limit_bytes": limit and int(limit), **told})
    target = report.target.model_copy(update={"pod": fields.text(row, "pod") or None})
    impact = {"requests_in_flight": fields.count(row, "open")}
    update = {"memory": dict(fields.mapping(row, "memory")), "chart": dict(fields.mapping(row, "chart")), "kill": kill,
              "impact": impact, "target": target, "in_flight": ()}  # fmt: skip
    return report.model_copy(update=update)


def main_chart(
    report: Report, frame: Frame, layout: Layout, tz: tzinfo | None = None, also: Sequence[float] = ()
) -> Spec | None:
    """Charts A and B on one time axis with the kill line through both; None when there is neither."""
    below = requests_chart(report, frame, layout)
    above = chart_memory.memory_chart(report, frame, layout, tz, also, alone=below is None)
    parts = [chart for chart in (above, below) if chart is not None]
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
