"""Hand-built Report documents, one for each thing a reader may meet. Nothing here comes from the analysis."""

# ruff: noqa: E501
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from oomscope.report import (
    AccessDoc,
    Action,
    Cause,
    Distinguishing,
    EvidenceRef,
    Finding,
    GapDoc,
    Hypothesis,
    JobDoc,
    Kill,
    Point,
    QueryDoc,
    Report,
    RequestDoc,
    Suspect,
    TargetDoc,
    Victim,
)
from oomscope.units import iso

KILLED = datetime(2025, 11, 23, 3, 12, 41, 204000, tzinfo=UTC)
NOW = KILLED + timedelta(minutes=14, seconds=5)
GIB, MIB = 2**30, 2**20
TOOL = {"name": "oomscope", "version": "0.0.0"}
HOSTILE = (
    '</script><script>alert(1)</script>"><img src=x onerror=alert(2)> \x1b[31mred\x1b[0m\u202egnp.exe\u202c \u2028'
    "`|* [a](javascript:alert(3)) @channel <!channel> <https://evil.example|x> https://evil.example\n# forged"
)


def ago(seconds: float) -> datetime:
    return KILLED - timedelta(seconds=seconds)


def stamp(seconds: float) -> str:
    return iso(ago(seconds)) or ""


def memory(limit: int = 2 * GIB, *, rise: bool = True, siblings: int = 3, blind: float = 9) -> dict[str, Any]:
    """Samples every 15 s for five minutes: flat, then (``rise``) up from 96 s before the kill."""
    steps = [blind + 15 * n for n in range(20)][::-1]
    base = 1.25 * GIB
    dead = [
        [stamp(s), int(base + (s % 7) * 3 * MIB + (560 * MIB * max(0, 96 - s) / 87 if rise else 0))]
        for s in steps
    ]
    series = [
        {"pod": "web-7c9f-x2vq4", "container": "web", "container_id": "ab12", "dead": True, "points": dead}
    ]
    for n in range(siblings):
        points = [[stamp(s), int(base + (n - 1) * 60 * MIB + (s * (n + 3) % 11) * 4 * MIB)] for s in steps]
        series.append({"pod": f"web-7c9f-{n}kd2p", "container": "web", "dead": False, "points": points})
    return {
        "limit_bytes": limit,
        "request_bytes": int(1.5 * GIB),
        "metric": "working_set",
        "step_s": 15.0,
        "blind_s": blind,
        "series": series,
        "series_total": siblings + 1,
        "killed_at": iso(KILLED),
        "last_sample_at": stamp(blind),
        "last_bytes": dead[-1][1],
        "before_bytes": int(base),
        "rise_bytes": 560 * MIB if rise else None,
        "rise_from": stamp(96) if rise else None,
    }


def chart(bars: list[dict[str, Any]] | None = None, total: int = 6026) -> dict[str, Any]:
    drawn = IN_FLIGHT_BARS + COMPLETED_BARS if bars is None else bars
    return {
        "from": stamp(300),
        "to": stamp(-10),
        "killed_at": iso(KILLED),
        "bars": drawn,
        "drawn": len(drawn),
        "total": total,
        "rate": [[stamp(300 - 5 * n), 14 + (n * 7) % 9] for n in range(60)],
        "marks": [{"at": stamp(210), "text": "deploy 4f1c2e", "kind": "deploy"}],
    }


def bar(label: str, age: float, length: float | None = None, *, suspect: bool = False) -> dict[str, Any]:
    state = "in_flight" if length is None else "survived" if suspect else "completed"
    return {
        "start": stamp(age),
        "end": None if length is None else stamp(age - length),
        "endpoint": label,
        "state": state,
        "suspect": suspect,
        "age_s": age if length is None else None,
        "process": "ab12/17",
        "pod": "web-7c9f-x2vq4",
    }


IN_FLIGHT_BARS = [
    bar("GET /admin/orders.csv", 96.2, suspect=True),
    bar("GET /products", 11.4),
    bar("GET /search", 9.1),
    bar("POST /checkout", 4.2),
    bar("GET /cart", 2.3),
    bar("POST /checkout", 0.9),
    bar("GET /products/:id", 0.2),
]
COMPLETED_BARS = [
    bar("GET /admin/orders.csv", 260, 34, suspect=True),
    bar("POST /imports", 280, 2),
    bar("GET /search", 210, 1.4),
    bar("GET /search", 208, 3.1),
    bar("GET /products", 95, 1.6),
    bar("GET /reports/daily", 73, 6.0),
    bar("GET /search", 17, 3.5),
]


def request(method: str, path: str, endpoint: str, age: float, number: int = 0) -> RequestDoc:
    return RequestDoc(
        request_id=f"5c1f{number:04d}-77aa-4d0e-9b1c-0f6e6cbd{number:04d}",
        method=method,
        path=path,
        endpoint=endpoint,
        client="203.0.113.x",
        started_at=ago(age),
        age_s=age,
        process="ab12/17",
        seen_in="both",
        access=AccessDoc(
            time=ago(-0.2),
            created_at=ago(age),
            elb_status=502,
            received_bytes=412,
            sent_bytes=277,
            joined_by="trace_id",
        ),
        posterior=0.9 if age > 90 else 0.01,
        raw=f'[5c1f{number:04d}] Started {method} "{path}" for 203.0.113.x at 2025-11-23 03:11:05 +0000',
        source=f"rails.0.log:{8000 + number}",
    )


IN_FLIGHT = tuple(
    request(method, path, endpoint, age, number)
    for number, (method, path, endpoint, age) in enumerate(
        [
            ("GET", "/admin/orders.csv", "Admin::ExportsController#orders", 96.2),
            ("GET", "/products", "ProductsController#index", 11.4),
            ("GET", "/search", "SearchController#show", 9.1),
            ("POST", "/checkout", "CheckoutsController#create", 4.2),
            ("GET", "/cart", "CartsController#show", 2.3),
            ("POST", "/checkout", "CheckoutsController#create", 0.9),
            ("GET", "/products/88", "ProductsController#show", 0.2),
        ]
    )
)

FINDINGS = (
    Finding(
        id="F1",
        text="in flight at 3 of 3 kills",
        name="open_at_kills",
        value=3,
        unit="kills",
        baseline="0.1 expected by chance",
        evidence=(
            EvidenceRef(
                source="rails.0.log",
                ref="line 8000",
                raw='[5c1f0000] Started GET "/admin/orders.csv" for 203.0.113.x at 2025-11-23 03:11:05 +0000',
            ),
            EvidenceRef(
                source="alb",
                ref="502 at 03:12:41.4",
                raw='h2 2025-11-23T03:12:41.4Z app/prod 502 - "GET ..."',
            ),
        ),
    ),
    Finding(
        id="F2",
        text="memory rose 560 MiB while it ran",
        name="rise_while_open",
        value=560.0 * MIB,
        unit="bytes",
        baseline="8 MiB median in the same span without it",
        evidence=(EvidenceRef(source="prometheus", ref="working set, 15 s"),),
    ),
    Finding(
        id="F3",
        text="one earlier run of 34 s completed, memory rose 90 MiB",
        name="survived",
        value=1,
        unit="runs",
        baseline="1 of 4 runs",
    ),
    Finding(
        id="F4",
        text="flat at 1.25 GiB for 6 h before",
        name="slope",
        value=0.2,
        unit="MiB/h",
        baseline="limit 2 GiB",
    ),
)

SUSPECT = Suspect(
    kind="endpoint",
    endpoint="Admin::ExportsController#orders",
    method="GET",
    path_pattern="/admin/orders.csv",
)
HYPOTHESES = (
    Hypothesis(
        id="H1",
        pattern="runaway_request",
        status="supported",
        strength="strong",
        probability=0.91,
        suspect=SUSPECT,
        statement="One export grew until the limit: 96 s in flight at this kill, memory rose 560 MiB while it ran. "
        "It is 0.4 % of traffic.",
        **{
            "for": (
                Point(finding="F1", text="in flight at 3 of 3 kills; 0.1 expected by chance", weight=4.1),
                Point(finding="F2", text="memory rose 560 MiB while it ran; 8 MiB is usual", weight=2.2),
            )
        },
        against=(Point(finding="F3", text="one earlier run of 34 s survived", weight=-0.8),),
        would_settle=("memory per request (log tag) at the next kill",),
        distinguishing=(
            Distinguishing(
                kind="param", name="range", value="all", hits=3, of=3, base_share=0.02, p_value=8e-6,
                text="range=all in 3 of 3 fatal runs, 2 % of the others",
            ),
        ),
        score={"prior": -2.3, "open at kills": 4.1, "rise while open": 2.2, "survived runs": -0.8},
    ),
    Hypothesis(
        id="H2", pattern="concurrent_spike", status="weak", strength="weak", probability=0.04,
        suspect=Suspect(
            kind="endpoint", endpoint="CheckoutsController#create", method="POST", path_pattern="/checkout"
        ),
        statement="Checkouts were open at the kills, about as many as traffic explains.",
        **{"for": (Point(finding="F1", text="open at 2 of 3 kills, 1.6 expected", weight=0.3),)},
    ),
    Hypothesis(
        id="H3", pattern="background_job", status="untested", strength="inconclusive", probability=0.02,
        suspect=Suspect(kind="job", endpoint="ReportRollupJob"),
        statement="A job in the same process: no worker logs were given.",
        would_settle=("logs of the worker pods",),
    ),
    Hypothesis(
        id="H4", pattern="memory_leak", status="ruled_out", strength="inconclusive", probability=0.0,
        suspect=Suspect(kind="none"),
        statement="A slow leak since boot.",
        against=(Point(finding="F4", text="flat at 1.25 GiB for 6 h", weight=-5.0),),
    ),
)  # fmt: skip

ACTIONS = (
    Action(when="now", text="Stop the export: disable the button or block the path at the load balancer."),
    Action(
        when="now",
        text="If kills continue, buy time:",
        command="kubectl -n shop set resources deploy/web -c web --limits=memory=3Gi",
    ),
    Action(when="investigate", text="Look for rows loaded whole (to_a, pluck of everything) in the export."),
    Action(when="investigate", text="Ask who exports all orders: range=all in 3 of 3 fatal runs."),
    Action(when="later", text="Stream the CSV row by row, or move the export to a job with its own limit."),
    Action(when="later", text="Log the process RSS with each request, so that the next report is certain."),
)

GAPS = (
    GapDoc(source="prometheus", reason="no_data", detail="no samples in the last 9 s", start=ago(9), end=KILLED),
    GapDoc(
        source="app_log", reason="denied", detail="logs of pod web-7c9f-8kd2p could not be read",
        query="GET /api/v1/namespaces/shop/pods/web-7c9f-8kd2p/log", fix="oomscope doctor --policy",
    ),
)  # fmt: skip

QUERIES = (
    QueryDoc(source="kubernetes", text="GET /api/v1/namespaces/shop/pods", rows=10, bytes_read=81234, seconds=0.4),
    QueryDoc(
        source="prometheus", text='container_memory_working_set_bytes{namespace="shop",container="web"}',
        start=ago(3600), end=ago(-60), rows=2440, bytes_read=91000, seconds=1.1,
    ),
    QueryDoc(
        source="alb", text="SELECT * FROM alb_logs WHERE day = '2025/11/23'", start=ago(600), end=ago(-60), rows=6026,
        bytes_read=3_400_000, seconds=12.3, cost_usd=0.0005,
    ),
)  # fmt: skip

ENDPOINTS: tuple[dict[str, Any], ...] = (
    {
        "endpoint": "GET /admin/orders.csv", "open": 3, "expected": 0.1, "lift": 30.0, "share": 0.004, "p50_s": 31.0,
        "p99_s": 96.2, "longest_open_s": 96.2, "memory_bytes": 560 * MIB, "memory_n": 3, "sent_p99_bytes": 41_000_000,
        "sent_min_bytes": 277, "sent_max_bytes": 41_000_000, "received_min_bytes": 380, "received_max_bytes": 412,
        "received_p99_bytes": 412, "first_at": stamp(260), "last_at": stamp(96.2), "survived": 1, "count": 4,
        "verdict": "suspect",
    },
    {
        "endpoint": "POST /checkout", "open": 2, "expected": 1.6, "lift": 1.25, "share": 0.11, "p50_s": 0.8,
        "p99_s": 4.4, "longest_open_s": 4.2, "memory_bytes": 3 * MIB, "memory_n": 90, "sent_p99_bytes": 18_000,
        "received_p99_bytes": 9_000, "survived": 660, "count": 662, "verdict": "",
    },
    {
        "endpoint": "GET /search", "open": 1, "expected": 1.1, "lift": 0.9, "share": 0.22, "p50_s": 0.4, "p99_s": 3.1,
        "longest_open_s": 9.1, "memory_bytes": None, "memory_n": 0, "sent_p99_bytes": 61_000, "survived": 1320,
        "count": 1321, "verdict": "",
    },
)  # fmt: skip

IMPACT: dict[str, Any] = {
    "requests_in_flight": 7,
    "by_method": {"GET": 5, "POST": 2},
    "by_endpoint": [{"endpoint": "POST /checkout", "count": 2}],
    "alb_502": 7,
    "down_s": 41.0,
    "kill_index": 1,
    "kills_total": 3,
    "kills_window_s": 3600.0,
    "last_kill_at": stamp(-725),
    "ready": 9,
    "wanted": 10,
}

OTHER_KILLS: tuple[dict[str, Any], ...] = (
    {
        "killed_at": stamp(1294), "pod": "web-7c9f-8kd2p", "container": "web", "verdict": "oom_limit",
        "peak_bytes": int(1.94 * GIB), "limit_bytes": 2 * GIB, "open": 9, "suspect_open": True, "suspect_age_s": 71.0,
    },
    {
        "killed_at": stamp(-725), "pod": "web-7c9f-q77aa", "container": "web", "verdict": "oom_limit",
        "peak_bytes": int(1.99 * GIB), "limit_bytes": 2 * GIB, "open": 4, "suspect_open": True, "suspect_age_s": 88.0,
    },
)  # fmt: skip

TIMELINE: tuple[dict[str, Any], ...] = (
    {"at": stamp(1961), "what": "deploy 4f1c2e rolled out", "source": "kubernetes", "kind": "deploy"},
    {"at": stamp(96.2), "what": "GET /admin/orders.csv began", "source": "app_log", "kind": "request"},
    {"at": stamp(0), "what": "container web OOM-killed, exit 137", "source": "kubernetes", "kind": "kill"},
    {"at": stamp(-0.2), "what": "first 502 of the load balancer", "source": "alb", "kind": "alert"},
    {"at": stamp(-41), "what": "container web started again", "source": "kubernetes", "kind": "restart"},
)

PATTERNS: tuple[dict[str, Any], ...] = (
    {
        "pattern": "large_response", "status": "supported", "statement": "Responses up to 39.1 MiB, 95,000 times the request.",
        "for": ["99th percentile of sent bytes 39.1 MiB"], "against": ["one at a time, not many"],
    },
    {"pattern": "memory_leak", "status": "ruled_out", "statement": "", "for": [], "against": ["flat at 1.25 GiB for 6 h"]},
    {"pattern": "large_payload", "status": "ruled_out", "for": [], "against": ["largest request body 8.8 KiB"]},
    {"pattern": "concurrent_spike", "status": "weak", "for": [], "against": ["18 req/s, 17 usual"]},
)  # fmt: skip


def target(**more: Any) -> TargetDoc:
    known = {"namespace": "shop", "workload": "deployment/web", "pod": "web-7c9f-x2vq4", "container": "web"}
    return TargetDoc(**{**known, "node": "ip-10-0-3-17", "image": "shop/web:4f1c2e", **more})


def kill(**more: Any) -> Kill:
    known: dict[str, Any] = {
        "verdict": "oom_limit", "killed_at": KILLED, "scope": "container", "exit_code": 137, "reason": "OOMKilled",
        "victim": Victim(comm="ruby", pid=48213, anon_rss_bytes=int(1.93 * GIB)), "limit_bytes": 2 * GIB,
        "rule": "K1", "confidence": 0.99,
        "statement": "The kernel killed ruby in container web because the container reached its limit of 2.00 GiB.",
        "evidence": (
            EvidenceRef(source="pod.json", ref="lastState", raw='"reason": "OOMKilled", "exitCode": 137'),
            EvidenceRef(
                source="kernel", ref="line 31",
                raw="Memory cgroup out of memory: Killed process 48213 (ruby) anon-rss:2023424kB",
            ),
        ),
    }  # fmt: skip
    return Kill(**{**known, **more})


def strong(**more: Any) -> Report:
    """One export is the clear cause; three kills; everything known."""
    known: dict[str, Any] = {
        "target": target(), "kill": kill(), "cause": Cause(hypothesis="H1", strength="strong"),
        "hypotheses": HYPOTHESES, "in_flight": IN_FLIGHT,
        "rack_level": (RequestDoc(method="GET", path="/healthz", started_at=ago(0.1), age_s=0.1),),
        "impact": IMPACT, "actions": ACTIONS, "findings": FINDINGS, "gaps": GAPS,
        "coverage": {
            "lines": 31844, "recognised": 31790, "opened": 6026, "closed": 6019, "share_closed": 0.9988,
            "streams": [{"stream": "rails.0.log", "shape": "rails_tagged", "lines": 31844, "recognised": 31790}],
        },
        "queries": QUERIES, "other_kills": OTHER_KILLS, "timeline": TIMELINE, "endpoints": ENDPOINTS,
        "memory": memory(), "chart": chart(), "patterns": PATTERNS, "tool": TOOL,
    }  # fmt: skip
    return Report(**{**known, **more})


def job() -> Report:
    """A background job inside the web process is the cause."""
    suspect = Suspect(kind="job", endpoint="CatalogExportJob")
    lead = HYPOTHESES[0].model_copy(
        update={
            "pattern": "background_job", "suspect": suspect, "strength": "moderate", "distinguishing": (),
            "statement": "The job held memory while it ran: 610 MiB more than the 40 runs before it.",
        }
    )  # fmt: skip
    running = JobDoc(
        job_class="CatalogExportJob", job_id="9f8e", adapter="active_job", queue="default", started_at=ago(188),
        age_s=188.0, process="ab12/17", raw="[ActiveJob] [CatalogExportJob] [9f8e] Performing", source="rails.0.log:7012",
    )  # fmt: skip
    bars = [bar("CatalogExportJob", 188, suspect=True), *IN_FLIGHT_BARS[1:]]
    return strong(
        cause=Cause(hypothesis="H1", strength="moderate"),
        hypotheses=(lead, *HYPOTHESES[1:]),
        jobs_in_flight=(running,),
        in_flight=IN_FLIGHT[1:],
        chart=chart(bars),
        impact={**IMPACT, "requests_in_flight": 6, "jobs_in_flight": 1},
        endpoints=ENDPOINTS[1:],
        other_kills=(),
    )


def not_oom() -> Report:
    """A liveness kill: exit 137 without OOM."""
    return Report(
        target=target(),
        kill=kill(
            verdict="not_oom", reason="Error", instead="the liveness probe failed 3 times and the kubelet killed it",
            statement="Exit 137, but no OOM kill: the kubelet killed the container after its liveness probe failed.",
            victim=None, rule="K9", confidence=0.95, scope="unknown",
            conflicts=("exit code 137 alone looks like an OOM kill",),
        ),
        cause=Cause(why="it was not an OOM kill"),
        hypotheses=(
            Hypothesis(
                id="H1", pattern="not_oom", status="supported", strength="strong", probability=0.95,
                suspect=Suspect(kind="none"), statement="Liveness probe failed 3 times; memory stood at 61 % of the limit.",
            ),
        ),
        impact={"requests_in_flight": 3, "by_method": {"GET": 3}, "alb_502": 3, "down_s": 22.0},
        actions=(Action(when="now", text="Look at what blocked the threads, not at memory.",
                        command="kubectl -n shop describe pod web-7c9f-x2vq4"),),
        in_flight=IN_FLIGHT[1:4],
        memory={**memory(rise=False), "title": "Memory stayed at 61 % of the limit"},
        chart=chart(IN_FLIGHT_BARS[1:4], 512),
        tool=TOOL,
    )  # fmt: skip


def undersized() -> Report:
    """The ordinary footprint does not fit: nobody is accused."""
    lead = Hypothesis(
        id="H1", pattern="undersized_limit", status="supported", strength="moderate", probability=0.8,
        suspect=Suspect(kind="none"),
        statement="The limit is too small for ordinary work: every pod stands at 88-96 % of it, with or without load.",
        **{"for": (Point(finding="F1", text="4 of 4 pods above 88 % of the limit at all times", weight=3.0),)},
        against=(Point(finding="F2", text="memory after boot not measured", weight=-0.2),),
    )  # fmt: skip
    return strong(
        cause=Cause(hypothesis="H1", strength="moderate"),
        hypotheses=(lead, HYPOTHESES[3]),
        memory=memory(limit=int(1.4 * GIB), rise=False),
        chart=chart(IN_FLIGHT_BARS[1:], 6026),
        kill=kill(limit_bytes=int(1.4 * GIB)),
        endpoints=ENDPOINTS[1:],
        in_flight=IN_FLIGHT[1:],
        actions=ACTIONS[1:2],
        impact={**IMPACT, "requests_in_flight": 6, "by_method": {"GET": 4, "POST": 2}},
    )


def abstention() -> Report:
    """Two requests could each explain it; the tool says so."""
    weak = tuple(
        lead.model_copy(update={"id": f"H{n}", "status": "weak", "strength": "weak", "distinguishing": ()})
        for n, lead in enumerate(HYPOTHESES[:2], 1)
    )
    return strong(
        cause=Cause(
            hypothesis=None, strength="inconclusive",
            why="Two could each explain it: GET /admin/orders.csv (open 96 s) and POST /imports (open 41 s). Both were "
            "open while memory rose; one kill cannot tell them apart.",
            missing="a second kill, or memory per request",
        ),
        hypotheses=weak,
        other_kills=(),
        impact={**IMPACT, "kill_index": None, "kills_total": 1, "last_kill_at": None},
        chart=chart([{**one, "suspect": False} for one in IN_FLIGHT_BARS]),
    )  # fmt: skip


def unknown_in_flight() -> Report:
    """Lograge: the log cannot show what was open."""
    return strong(
        cause=Cause(
            why="The log has only finished requests (lograge), so nobody can say what was open at the kill.",
            missing="Started lines in the log, or the load balancer's access log",
        ),
        hypotheses=(HYPOTHESES[3],),
        in_flight=(),
        rack_level=(),
        impact={
            "requests_in_flight": None, "unknown": "lograge logs only finished requests", "alb_502": None, "down_s": 12.0
        },
        gaps=(
            GapDoc(
                source="app_log", reason="no_data", detail="lograge: a request is logged when it ends, not when it starts",
                fix="config.lograge.keep_original_rails_log = true",
            ),
            GapDoc(source="alb", reason="off", detail="no load balancer log was given", fix="--from s3://bucket/AWSLogs"),
        ),
        chart=chart(COMPLETED_BARS[1:], 900),
        endpoints=(),
        other_kills=(),
        actions=(Action(when="now", text="Nothing is certain enough to act on; raise the limit only to buy time."),),
    )  # fmt: skip


def child_kill() -> Report:
    """A Puma worker died, the container lived on; memory is known per process."""
    base = memory()
    base["processes"] = {
        "at": stamp(0), "scope": "container", "total": 3, "total_bytes": 1880 * MIB,
        "rows": [
            {"name": f"worker {n} (pid 2{n})", "comm": "ruby", "pid": 20 + n, "host_pid": 48213 + n, "role": "worker",
             "rss_bytes": (960 - 80 * n) * MIB, "killed": n == 0}
            for n in range(2)
        ] + [{"name": "master", "comm": "ruby", "pid": 1, "host_pid": 48200, "role": "master", "rss_bytes": 40 * MIB,
              "killed": False}],
    }  # fmt: skip
    base["floor"] = {
        "suspect": "GET /admin/orders.csv",
        "points": [[n, int(900 * MIB + n * 1.3 * MIB + (n % 5) * 2 * MIB)] for n in range(0, 400, 8)],
        "slope_bytes": 1.3 * MIB,
        "intercept_bytes": 900.0 * MIB,
    }
    return strong(
        kill=kill(
            verdict="oom_child", exit_code=None, reason=None, rule="K5", confidence=0.9,
            statement="The kernel killed one Puma worker (ruby, pid 48213); the container and its other workers lived on.",
        ),
        memory=base,
    )  # fmt: skip


def hostile() -> Report:
    """Every text a stranger can choose is an attack, and long."""
    long_path = "/" + "a" * 4000 + HOSTILE
    point = Point(finding=HOSTILE, text=HOSTILE, weight=1.0)
    suspect = Suspect(
        kind="endpoint", endpoint=HOSTILE, method=HOSTILE, path_pattern=long_path, also=(HOSTILE,)
    )
    lead = Hypothesis(
        id="H1", pattern="runaway_request", status="supported", strength="strong", probability=0.9, suspect=suspect,
        statement=HOSTILE * 3, **{"for": (point,)}, against=(point,), would_settle=(HOSTILE,),
        distinguishing=(Distinguishing(kind="param", name=HOSTILE, value=HOSTILE, hits=1, of=1, text=HOSTILE),),
        score={HOSTILE: 1.0},
    )  # fmt: skip
    bad = RequestDoc(
        request_id="x" * 10_000, method=HOSTILE, path=long_path, endpoint=HOSTILE, client=HOSTILE, started_at=ago(5),
        age_s=5.0, process=HOSTILE, raw=HOSTILE * 50, source=HOSTILE, params=HOSTILE,
        access=AccessDoc(user_agent=HOSTILE, client=HOSTILE),
    )  # fmt: skip
    wide = RequestDoc(
        method="GET", path="/検索/" + "あ" * 300, endpoint="e\u0301" + "\u0301" * 500, age_s=1.0
    )
    worst_bar = {**bar(long_path, 5, suspect=True), "process": HOSTILE}
    return Report(
        target=TargetDoc(
            **dict.fromkeys(("namespace", "workload", "pod", "container", "container_id", "node", "image"), HOSTILE)
        ),
        kill=kill(
            reason=HOSTILE, statement=HOSTILE, rule=HOSTILE, conflicts=(HOSTILE,), victim=Victim(comm=HOSTILE),
            evidence=(EvidenceRef(source=HOSTILE, ref=HOSTILE, raw=HOSTILE),), instead=HOSTILE,
        ),
        cause=Cause(hypothesis="H1", strength="strong", why=HOSTILE, missing=HOSTILE),
        hypotheses=(lead,),
        in_flight=(bad, wide),
        rack_level=(bad,),
        jobs_in_flight=(JobDoc(job_class=HOSTILE, job_id=HOSTILE, queue=HOSTILE, args=HOSTILE, raw=HOSTILE),),
        impact={"requests_in_flight": 2, "by_method": {HOSTILE: 2}, "unknown": HOSTILE, "down_s": "soon", "alb_502": []},
        actions=(Action(when="now", text=HOSTILE, command=HOSTILE),),
        findings=(Finding(id=HOSTILE, text=HOSTILE, name=HOSTILE, value=HOSTILE, unit=HOSTILE, baseline=HOSTILE,
                          evidence=(EvidenceRef(source=HOSTILE, ref=HOSTILE, raw=HOSTILE),)),),
        gaps=(GapDoc(source=HOSTILE, reason=HOSTILE, detail=HOSTILE, query=HOSTILE, fix=HOSTILE),),
        coverage={"lines": HOSTILE, "streams": [{"stream": HOSTILE, "shape": HOSTILE, "why": HOSTILE}, 7]},
        queries=(QueryDoc(source=HOSTILE, text=HOSTILE),),
        other_kills=(
            {"killed_at": HOSTILE, "pod": HOSTILE, "verdict": HOSTILE, "open": HOSTILE},
            {"killed_at": stamp(90), "pod": HOSTILE, "verdict": HOSTILE, "memory": memory(), "chart": chart([worst_bar])},
        ),
        timeline=({"at": stamp(1), "what": HOSTILE, "source": HOSTILE}, {"at": HOSTILE, "what": None}),
        endpoints=({"endpoint": HOSTILE, "open": HOSTILE, "verdict": HOSTILE}, {"endpoint": long_path, "open": 1}),
        memory={**memory(), "title": HOSTILE,
                "processes": {"rows": [{"name": HOSTILE, "rss_bytes": 9 * MIB, "killed": True}, {"name": long_path, "rss_bytes": 7}]},
                "floor": {"suspect": long_path, "points": [[1, MIB], [2, 2 * MIB], [3, 3 * MIB]]}, "series": [*memory()["series"], {"pod": HOSTILE, "points": [[1, 2], HOSTILE]}]},
        chart={**chart([worst_bar, {"start": HOSTILE, "endpoint": 7}]), "marks": [{"at": stamp(60), "text": HOSTILE}]},
        patterns=({"pattern": HOSTILE, "statement": HOSTILE, "for": [HOSTILE], "against": [HOSTILE]},),
        tool={"name": HOSTILE, "version": HOSTILE},
    )  # fmt: skip


def crowd(count: int = 5000) -> Report:
    """A million requests in the window, thousands in flight."""
    many = tuple(
        request("GET", f"/items/{n}", f"Items{n % 40}Controller#show", 30 - n * 0.005, n % 9999)
        for n in range(count)
    )
    bars = [bar(f"GET /items/{n}", 30 - n * 0.07) for n in range(400)]
    endpoints = tuple({**ENDPOINTS[2], "endpoint": f"GET /items{n}/:id", "open": 125} for n in range(2000))
    return strong(
        in_flight=(IN_FLIGHT[0], *many),
        endpoints=(ENDPOINTS[0], *endpoints),
        chart=chart([IN_FLIGHT_BARS[0], *bars], 1_000_000),
        impact={**IMPACT, "requests_in_flight": count + 1, "by_method": {"GET": count + 1}},
    )


def bare_pod() -> Report:
    """Nothing but a pod name is known."""
    return Report(
        target=TargetDoc(pod="web-7c9f-x2vq4"),
        kill=Kill(verdict="undetermined", rule="none", statement="Nothing that was read says whether this pod was killed."),
        cause=Cause(why="there is no log, no memory and no Pod status to go by"),
        gaps=tuple(
            GapDoc(source=source, reason="off", detail="not given", fix=f"--from a saved {source}")
            for source in ("kubernetes", "kernel_log", "app_log", "alb", "memory")
        ),
        tool=TOOL,
    )  # fmt: skip


SAMPLES = {
    "strong": strong,
    "job": job,
    "not_oom": not_oom,
    "undersized": undersized,
    "abstention": abstention,
    "unknown_in_flight": unknown_in_flight,
    "child_kill": child_kill,
    "hostile": hostile,
    "bare_pod": bare_pod,
}
