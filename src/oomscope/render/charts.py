"""The pictures of the report, drawn by Altair and vl-convert without a browser: SVG for the page, PNG for chat.

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
