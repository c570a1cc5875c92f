"""Words shared by every form of the report. Says what the Report says; concludes nothing.

Parts of the Report that are plain dicts, as read here (every key may be absent; times are ISO 8601 UTC text)::

    impact       {"requests_in_flight": int | None, "by_method": {"GET": 5}, "by_endpoint": [{"endpoint": str, "count": int}],
                  "jobs_in_flight": int | None, "alb_502": int | None, "down_s": float | None, "clients": int | None,
                  "unknown": str,                          # why the number in flight cannot be told
                  "kill_index": int, "kills_total": int, "kills_window_s": float,   # "kill 1 of 3 in 60 min"
                  "last_kill_at": iso,                     # of the workload: is it still happening?
                  "ready": int, "wanted": int}             # pods up
    timeline     {"at": iso, "what": str, "source": str, "kind": str}
    other_kills  {"killed_at": iso, "pod": str, "container": str, "container_id": str, "verdict": str, "peak_bytes": int,
                  "limit_bytes": int, "open": int | None, "suspect_open": bool | None, "suspect_age_s": float,
                  "memory": {as report.memory}, "chart": {as report.chart}}
    endpoints    {"endpoint": str, "open": int, "expected": float, "lift": float, "share": float, "p50_s": float,
                  "p99_s": float, "longest_open_s": float, "memory_bytes": int, "memory_n": int, "sent_p99_bytes": int,
                  "received_p99_bytes": int, "sent_min_bytes"/"sent_max_bytes"/"received_min_bytes"/"received_max_bytes": int,
                  "first_at"/"last_at": iso, "survived": int, "count": int, "verdict": str}
    patterns     {"pattern": str, "title": str, "status": str, "statement": str, "for": [str], "against": [str]}
    coverage     {"lines": int, "recognised": int, "opened": int, "closed": int, "share_closed": float,
                  "streams": [{"stream": str, "shape": str, "lines": int, "recognised": int, "why": str}]}
"""

from __future__ import annotations
