"""Which requests and jobs were open in the dead process when it was killed.

A request counts when its controller started, nothing ended it, and it ran in the process that died. What the log
cannot show is said in ``InFlight.unknown``; then the load balancer's rows stand in for it.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from oomscope.analyze.given_up import given_up
from oomscope.analyze.model import AccessJoin, InFlight, KillCase
from oomscope.analyze.names import EndpointNames
from oomscope.facts import JOB_SCHEMA, REQUEST_SCHEMA, LogStream, empty

if TYPE_CHECKING:
    from oomscope.evidence import Bundle

MAX_AGE = timedelta(hours=1)  # older and still open: its end was lost, not late
MAX_AGE_UNFIT = timedelta(minutes=5)  # the same when a few ends are known to be missing
RACK_LEVEL_AGE = timedelta(seconds=60)
UNWRITTEN = timedelta(seconds=5)  # a controller line may be so late where nothing has to be parsed first
FIT_SHARE = 0.98  # of requests that reached a controller, how many must have ended
SENDING = timedelta(
    seconds=10
)  # how long before the kill a finished action may still have been sending its body
BODY_METHODS = ("POST", "PUT", "PATCH")
DEFAULT_THREADS = 5  # Puma's own default, used only to order what the load balancer saw
QUIET_BEFORE = timedelta(seconds=10)


def find_in_flight(bundle: Bundle, kill: KillCase, join: AccessJoin, names: EndpointNames) -> InFlight:
    """What was open at ``kill.killed_at``. Never raises; an empty table with ``unknown`` set means "cannot tell"."""
    if kill.killed_at is None:
        return _nothing("the time of the kill is not known", "give the time with --at")
    stream = dead_stream(bundle, kill)
    if stream is None:
        reason = "no application log of the dead container was read"
        return _from_access(
            kill, join, names, bundle, reason, "add the log of the previous container instance"
        )
    mine = bundle.requests.with_row_index("request_row").filter(pl.col("stream") == stream.stream)
    jobs = _open_jobs(bundle, kill, stream)
    unfit = stream.why or stream.cannot_show if stream.cannot_show else _unfit(mine, kill, bundle, stream)
    if unfit:
        return _from_access(kill, join, names, bundle, unfit, stream.fix, jobs)
    return _from_log(mine, bundle, kill, join, names, stream, jobs)


def dead_stream(bundle: Bundle, kill: KillCase) -> LogStream | None:
    """The log of the instance that died: by stream key, by container id, else by pod and life time."""
    for stream in bundle.streams:
        if stream.stream == kill.stream:
            return stream
    for stream in bundle.streams:
        if kill.container_id and stream.container_id == kill.container_id:
            return stream
    return _latest_before(bundle, kill)


def _latest_before(bundle: Bundle, kill: KillCase) -> LogStream | None:
    def fits(stream: LogStream) -> bool:
        same_pod = stream.pod is not None and stream.pod == kill.pod_name
        same_container = kill.container in (None, stream.container) or stream.container is None
        started = (
            stream.first_at is not None and kill.killed_at is not None and stream.first_at <= kill.killed_at
        )
        known = kill.container_id is None or stream.container_id is None
        return same_pod and same_container and started and known

    fitting = [stream for stream in bundle.streams if fits(stream)]
    return max(fitting, key=lambda s: (s.first_at or datetime.min, s.stream), default=None)


def threads_of(bundle: Bundle, stream: LogStream | None, *, workers: bool = False) -> int | None:
    """Threads a process of that stream can run requests on (times the workers when asked); None if never logged."""
    lives = [life for life in bundle.lives if stream is not None and life.stream == stream.stream]
    threads = max((life.threads_max for life in lives if life.threads_max), default=None)
    count = max((life.workers for life in lives if life.workers), default=1) if workers else 1
    return threads * max(count, 1) if threads else None


# ------------------------------------------------------------------------------------------------ from the log


def _from_log(
    mine: pl.DataFrame,
    bundle: Bundle,
    kill: KillCase,
    join: AccessJoin,
    names: EndpointNames,
    stream: LogStream,
    jobs: pl.DataFrame,
) -> InFlight:
    killed_at = _at(kill)
    fresh = _aged(_same_process(_after_earlier_kills(mine, bundle, kill, stream), kill), killed_at)
    waiting = fresh.filter(
        (pl.col("state") == "rack_level") & (pl.col("age_s") <= RACK_LEVEL_AGE.total_seconds())
    )
    begun = _before_controller(waiting, mine, bundle.requests, names)
    sending = _still_sending(mine, killed_at, join, bundle)
    open_ = pl.concat([fresh.filter(pl.col("state") == "open"), begun, sending])
    max_age = MAX_AGE if _share_closed(mine, stream) > 0.999 else MAX_AGE_UNFIT
    open_ = open_.filter(pl.col("age_s") <= max_age.total_seconds())
    open_, notes = _of_dead_worker(_with_access(open_, join, bundle), bundle, kill)
    open_ = _thread_cap(open_, threads_of(bundle, stream, workers=kill.verdict != "oom_child"))
    waiting = waiting.join(begun.select("request_row"), on="request_row", how="anti")
    return InFlight(
        requests=_named(open_, names).sort("age_s", "request_row", descending=[True, False]),
        rack_level=_unanswered(_with_access(waiting, join, bundle), killed_at),
        jobs=jobs,
        notes=notes,
    )


def _unanswered(rows: pl.DataFrame, killed_at: datetime) -> pl.DataFrame:
    """Without those the load balancer had an answer for before the kill: redirects of the router never get further."""
    over = (pl.col("access_time") < killed_at) & (pl.col("access_status") < 500)
    return rows.filter(~over.fill_null(False)).sort("age_s", "request_row", descending=[True, False])


def _at(kill: KillCase) -> datetime:
    if kill.killed_at is None:
        raise ValueError("a kill without a time has nothing in flight")
    return kill.killed_at


def _aged(rows: pl.DataFrame, killed_at: datetime) -> pl.DataFrame:
    started = rows.filter(pl.col("started_at").is_not_null() & (pl.col("started_at") <= killed_at))
    age = (pl.lit(killed_at) - pl.col("started_at")).dt.total_microseconds() / 1e6
    return started.filter(pl.col("ended_at").is_null()).with_columns(age_s=age)


def _still_sending(rows: pl.DataFrame, killed_at: datetime, join: AccessJoin, bundle: Bundle) -> pl.DataFrame:
    """Rails logs the end before the body is sent: one whose answer the load balancer never got was still in the app."""
    since = killed_at - SENDING
    ended = rows.filter(pl.col("ended_at").is_not_null() & pl.col("ended_at").is_between(since, killed_at))
    age = (pl.lit(killed_at) - pl.col("started_at")).dt.total_microseconds() / 1e6
    seen = _with_access(ended.with_columns(age_s=age), join, bundle)
    cut_off = pl.col("access_status").is_in([502, 504]) & pl.col("unanswered")
    return seen.filter(cut_off & (pl.col("access_time") >= killed_at)).select([*rows.columns, "age_s"])


def _after_earlier_kills(
    rows: pl.DataFrame, bundle: Bundle, kill: KillCase, stream: LogStream
) -> pl.DataFrame:
    """A request that was open when an earlier worker of the same stream was killed may have died with it."""
    if kill.verdict != "oom_child":
        return rows
    earlier = [
        oom.at
        for oom in bundle.oom_kills
        if oom.at is not None
        and oom.container_id is not None
        and oom.container_id in (stream.container_id, kill.container_id)
        and oom.at < _at(kill) - timedelta(seconds=2)
    ]
    return rows.filter(pl.col("started_at") > max(earlier)) if earlier else rows


def _same_process(rows: pl.DataFrame, kill: KillCase) -> pl.DataFrame:
    pid = kill.victim_pid_in_container
    if kill.verdict != "oom_child" or pid is None:
        return rows
    return rows.filter(pl.col("pid").is_null() | (pl.col("pid") == pid))


def _of_dead_worker(
    rows: pl.DataFrame, bundle: Bundle, kill: KillCase
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """In a cluster whose log has no pids the load balancer's answer times tell which worker a request was in."""
    if kill.verdict != "oom_child" or rows.is_empty() or rows["pid"].is_not_null().all():
        return rows, ()
    ended = rows["access_time"]
    died = (ended - _at(kill)).dt.total_microseconds().abs() <= 1_500_000
    failed = rows["access_status"].is_in([502, 504, 460]).fill_null(False)
    if not (died & failed).any():
        return rows, ("the log has no process ids: some of these may have run in a worker that lived on",)
    return rows.filter(died.fill_null(False) & failed), ()


def _thread_cap(rows: pl.DataFrame, cap: int | None) -> pl.DataFrame:
    """A thread runs one request: when more are open than threads, the oldest lost their end line."""
    if cap is None or rows.height <= cap:
        return rows
    return rows.sort("age_s", "request_row").head(cap)


def _before_controller(
    waiting: pl.DataFrame, mine: pl.DataFrame, every: pl.DataFrame, names: EndpointNames
) -> pl.DataFrame:
    """Started, not yet with a controller, and in the app all the same if its path normally gets to one.

    A body is parsed before that line is written, and a process that stands still writes none for a while. "Normally"
    is what others of that path did, here and in other lives; those that wait at the kill do not count.
    """
    body = pl.col("method").is_in(BODY_METHODS)
    likely = waiting.filter(body | (pl.col("age_s") <= UNWRITTEN.total_seconds()))
    if likely.is_empty():
        return likely
    alike = pl.col("method").is_in(likely["method"].unique().to_list()) & (pl.col("state") != "websocket")
    got_there = every.filter(alike & pl.col("processing_at").is_not_null())
    never = mine.filter(alike & pl.col("processing_at").is_null()).join(
        likely.select("request_id"), on="request_id", how="anti"
    )
    yes, no = (Counter(_templates(rows, names)) for rows in (got_there, never))
    keep = [yes[key] >= max(1, no[key]) for key in _templates(likely, names)]
    return likely.filter(pl.Series(keep, dtype=pl.Boolean))


def _templates(rows: pl.DataFrame, names: EndpointNames) -> list[tuple[str | None, str]]:
    """Method and path template of every row."""
    return [(method, names.template(path)) for method, path in rows.select("method", "path").iter_rows()]


def _share_closed(mine: pl.DataFrame, stream: LogStream) -> float:
    reached = mine.filter(pl.col("processing_at").is_not_null() | pl.col("ended_at").is_not_null())
    return 1.0 if reached.is_empty() else 1 - reached["ended_at"].null_count() / _seen(reached, stream)


def _seen(reached: pl.DataFrame, stream: LogStream) -> int:
    """How many requests reached a controller: of a large log there are rows of the last ones and of open ones only."""
    return max(reached.height, stream.coverage.opened)


def _unfit(mine: pl.DataFrame, kill: KillCase, bundle: Bundle, stream: LogStream) -> str | None:
    """Too many requests without an end, beyond what threads can hold: the log is not complete enough to judge."""
    reached = mine.filter(pl.col("state").is_in(["completed", "errored", "open", "superseded"]))
    if reached.is_empty():
        return "the log of the dead container shows no request that reached a controller"
    missing = reached.filter(pl.col("ended_at").is_null()).height
    cap = threads_of(bundle, stream, workers=True) or DEFAULT_THREADS * 4
    lost = max(0, missing - cap)
    seen = _seen(reached, stream)
    if lost <= (1 - FIT_SHARE) * seen:
        return None
    return f"{lost} of {seen} requests have no end in the log; too many to be in flight"


# ---------------------------------------------------------------------------------------- from the load balancer


def _from_access(
    kill: KillCase,
    join: AccessJoin,
    names: EndpointNames,
    bundle: Bundle,
    why: str,
    fix: str | None,
    jobs: pl.DataFrame | None = None,
) -> InFlight:
    """ALB rows open at the kill on the dead target and those given up on that the app was still at.

    Oldest first, no more than there are threads: the rest waited.
    """
    stream = dead_stream(bundle, kill)
    left = given_up(bundle, join, stream, _at(kill) - MAX_AGE, _at(kill))
    rows = access_as_requests(pl.concat([join.lost, left.select(join.lost.columns)]), _at(kill), names)
    cap = threads_of(bundle, stream) or _threads_guess(bundle, join, kill)
    ordered = rows.sort("age_s", "access_row", descending=[True, False])
    note = (
        () if rows.height <= cap else (f"{rows.height - cap} more had reached the load balancer and waited",)
    )
    return InFlight(
        requests=ordered.head(cap),
        rack_level=_empty_requests(),
        jobs=_empty_jobs() if jobs is None else jobs,
        unknown=why,
        fix=fix,
        notes=note,
    )


def _threads_guess(bundle: Bundle, join: AccessJoin, kill: KillCase) -> int:
    """Most requests the dead target ever had open at once while it was not yet in trouble (at least Puma's default)."""
    address = (join.dead_target or "").rpartition(":")[0]
    until = _at(kill) - QUIET_BEFORE
    rows = bundle.accesses.filter((pl.col("target_ip") == address) & (pl.col("time") < until))
    if rows.is_empty():
        return DEFAULT_THREADS
    steps = pl.concat(
        [
            rows.select(at="created_at", step=pl.lit(1, dtype=pl.Int64)),
            rows.select(at="time", step=pl.lit(-1, dtype=pl.Int64)),
        ]
    ).sort("at", "step")
    return max(DEFAULT_THREADS, *(int(open_) for open_ in steps["step"].cum_sum()))


def access_as_requests(lost: pl.DataFrame, killed_at: datetime, names: EndpointNames) -> pl.DataFrame:
    """ALB rows in the shape of requests: start is the ALB's creation time, the endpoint is learnt from the path."""
    if lost.is_empty():
        return _empty_requests()
    age = (pl.lit(killed_at) - pl.col("created_at")).dt.total_microseconds() / 1e6
    rows = lost.with_columns(
        endpoint=pl.Series(names.names(lost["method"], lost["path"]), dtype=pl.String),
        started_at=pl.col("created_at"),
        age_s=age,
        access_row=pl.col("row").cast(pl.Int64),
        access_time=pl.col("time"),
        access_status=pl.col("elb_status"),
        seen_in=pl.lit("alb"),
        state=pl.lit("open"),
    )
    columns = [
        c for c in ("method", "path", "query", "client", "trace_id", "source", "line") if c in rows.columns
    ]
    picked = rows.select(
        *columns,
        "endpoint",
        "started_at",
        "age_s",
        "access_row",
        "access_time",
        "access_status",
        "seen_in",
        "state",
    )
    return pl.concat([_empty_requests(), picked.drop("source")], how="diagonal_relaxed")


def _with_access(rows: pl.DataFrame, join: AccessJoin, bundle: Bundle) -> pl.DataFrame:
    """Adds ``access_row``, ``access_time``, ``access_status``, ``unanswered`` and ``seen_in`` of the joined ALB row."""
    pairs = join.pairs.select(
        pl.col("request_row").cast(pl.UInt32), pl.col("access_row").cast(pl.Int64)
    ).unique("request_row", keep="first", maintain_order=True)
    access = bundle.accesses.with_row_index("access_row").select(
        pl.col("access_row").cast(pl.Int64),
        access_time="time",
        access_status="elb_status",
        unanswered=pl.col("target_status").is_null(),
    )
    joined = rows.join(pairs, on="request_row", how="left").join(access, on="access_row", how="left")
    seen = pl.when(pl.col("access_row").is_null()).then(pl.lit("app_log")).otherwise(pl.lit("both"))
    return joined.with_columns(seen_in=seen)


def _named(rows: pl.DataFrame, names: EndpointNames) -> pl.DataFrame:
    return rows.with_columns(endpoint=names.of_rows(rows))


def _open_jobs(bundle: Bundle, kill: KillCase, stream: LogStream) -> pl.DataFrame:
    jobs = bundle.jobs.filter((pl.col("stream") == stream.stream) & (pl.col("state") == "open"))
    return _aged(_same_process(jobs, kill), _at(kill)).sort("age_s", "job_class", descending=[True, False])


def _nothing(why: str, fix: str | None) -> InFlight:
    return InFlight(_empty_requests(), _empty_requests(), _empty_jobs(), unknown=why, fix=fix)


def _empty_requests() -> pl.DataFrame:
    extra: dict[str, pl.DataType | type[pl.DataType]] = {
        "request_row": pl.UInt32, "age_s": pl.Float64, "access_row": pl.Int64,
        "access_time": pl.Datetime("us", "UTC"), "access_status": pl.Int64, "seen_in": pl.String,
    }  # fmt: skip
    return empty(REQUEST_SCHEMA).with_columns(
        pl.lit(None, dtype=kind).alias(name) for name, kind in extra.items()
    )


def _empty_jobs() -> pl.DataFrame:
    return empty(JOB_SCHEMA).with_columns(age_s=pl.lit(None, dtype=pl.Float64))
