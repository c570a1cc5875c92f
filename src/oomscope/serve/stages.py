"""The steps of one investigation: capture what expires, say at once what is known, look again, look a last time.

``capture`` is quick and goes before everything else. ``analyse`` runs the stages one after another, each as one
leased task, so that a kill is never in two hands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from oomscope.config import Cluster
from oomscope.errors import UnreadableError, UserError
from oomscope.facts import SeriesPoint, Target, Window
from oomscope.report import TargetDoc
from oomscope.serve import intake, notices, queue
from oomscope.serve.bundles import pack, unpack
from oomscope.serve.queue import Request, Task
from oomscope.serve.reporting import Made, StageName, hollow, made, make, opened
from oomscope.serve.runtime import Runtime, cluster_of
from oomscope.serve.schema import alerts, kills, reports, stages
from oomscope.serve.store import Store

if TYPE_CHECKING:
    from oomscope.evidence import Bundle

CAPTURE_S = 45.0  # deadline of the capture
ANALYSE_PRIORITY = 5
_LATER = {"cloudwatch_logs", "alb"}  # not there yet in the first seconds


@dataclass(frozen=True, slots=True)
class Stage:
    """One look at a kill: not before ``after_s`` seconds after it, and without these sources."""

    name: StageName
    gather: bool
    after_s: float
    without: frozenset[str] = frozenset()


def plan_of(runtime: Runtime, cluster: Cluster) -> list[Stage]:
    """The stages that make sense with what is configured; the last is always ``final``."""
    serve = runtime.settings.serve
    seen = Stage("seen", False, 0.0)
    if not (cluster.alb.bucket or cluster.alb.table):
        return [seen, Stage("final", True, serve.preliminary_after_s)]
    early = Stage("preliminary", True, serve.preliminary_after_s, frozenset({"alb"}))
    return [seen, early, Stage("final", True, serve.final_after_s)]


# ---------------------------------------------------------------------------------------------------------- capture


def capture(runtime: Runtime, task: Task) -> None:
    """Save pod status, events, previous logs and metrics before they expire. What cannot be read now is tried later."""
    began = time.monotonic()
    kill = _kill(runtime.store, task.ref)
    if kill is None:
        return _drop(runtime, task)
    name, size, problem = None, 0, None
    try:
        bundle = _gather(runtime, kill, _LATER, CAPTURE_S)
        name, data = f"{kill.id}/0.tar.gz", pack(bundle)
        runtime.bundles.put(name, data)
        size = len(data)
    except UserError as error:
        problem = error.what
        if task.errors < 2:
            queue.put_back(runtime.store, task, after_s=runtime.settings.serve.retry_s, problem=problem)
            return None
    with runtime.store.write() as connection:
        now = runtime.store.now(connection)
        queue.finish(connection, task)
        _note_stage(runtime, connection, kill.id, _Done(0, "captured", began, name, size))
        connection.execute(
            sa.update(kills).where(kills.c.id == kill.id).values(step=1, progress="evidence is saved")
        )
        request = Request(f"analyse:{kill.id}", "analyse", kill.id, now, ANALYSE_PRIORITY)
        queue.enqueue(runtime.store, connection, [request])
    return None


def _drop(runtime: Runtime, task: Task) -> None:
    """The kill was forgotten (retention) while the task waited."""
    with runtime.store.write() as connection:
        queue.finish(connection, task)


# ---------------------------------------------------------------------------------------------------------- analyse


def analyse(runtime: Runtime, task: Task) -> None:
    """Run the next stage of a kill, or put it off until its time has come."""
    kill = _kill(runtime.store, task.ref)
    if kill is None:
        return _drop(runtime, task)
    plan = plan_of(runtime, cluster_of(runtime.settings.config, kill.cluster))
    number = max(1, kill.step)
    if number > len(plan):
        return _drop(runtime, task)
    with runtime.store.read() as connection:
        now = runtime.store.now(connection)
    number = _skip_to(plan, number, kill, now)
    stage = plan[number - 1]
    due = _due(stage, kill)
    if due > now:
        with runtime.store.write() as connection:
            queue.finish(connection, task, again_at=due)
        return None
    return _run_stage(runtime, task, kill, plan, number)


def _due(stage: Stage, kill: Row[Any]) -> datetime:
    start: datetime = kill.killed_at if stage.name == "final" else kill.created_at
    return start + timedelta(seconds=stage.after_s)


def _skip_to(plan: Sequence[Stage], number: int, kill: Row[Any], now: datetime) -> int:
    """For an old kill everything has arrived: after the first word comes the last."""
    return len(plan) if number > 1 and _due(plan[-1], kill) <= now else number


def _run_stage(runtime: Runtime, task: Task, kill: Row[Any], plan: Sequence[Stage], number: int) -> None:
    began, stage = time.monotonic(), plan[number - 1]
    tell = _teller(runtime, kill.id)
    tell(f"{stage.name}: gathering")
    bundle, problem = _evidence(runtime, kill, stage, tell)
    if bundle is None and problem and task.errors + 1 < runtime.settings.serve.max_errors and stage.gather:
        pause = queue.backoff(runtime.settings.serve.retry_s, task.errors)
        queue.put_back(runtime.store, task, after_s=pause, problem=problem)
        return
    name, size = None, 0
    if bundle is not None and stage.gather:
        name, data = f"{kill.id}/{number}.tar.gz", pack(bundle)
        runtime.bundles.put(name, data)
        size = len(data)
    tell(f"{stage.name}: analysing")
    result = make(bundle) if bundle is not None else made(_nothing(kill, problem or "no evidence"))
    done = _Done(number, stage.name, began, name, size, result.gaps)
    _commit(runtime, task, kill, plan, done, result, None if bundle is not None else problem)


def _evidence(
    runtime: Runtime, kill: Row[Any], stage: Stage, tell: Callable[[str], None]
) -> tuple[Bundle | None, str | None]:
    """All evidence so far with what this stage adds; the problem when it could add nothing."""
    from oomscope.serve.combine import combined, with_claims

    saved, problem = _saved(runtime, kill.id)
    claims = _claims(runtime.store, kill.id)
    if stage.gather:
        try:
            fresh = _gather(runtime, kill, stage.without, runtime.settings.config.deadline_s, tell)
        except UnreadableError as error:
            problem = f"{error.what}: {error.tried}"
        else:
            return (combined(saved, fresh, claims) if saved else with_claims(fresh, claims)), None
    return (with_claims(saved, claims) if saved else None), problem or "nothing could be captured"


def _saved(runtime: Runtime, kill_id: str) -> tuple[Bundle | None, str | None]:
    with runtime.store.read() as connection:
        name = connection.execute(
            sa.select(stages.c.bundle)
            .where(stages.c.kill_id == kill_id, stages.c.bundle.is_not(None))
            .order_by(stages.c.step.desc())
            .limit(1)
        ).scalar_one_or_none()
    if name is None:
        return None, None
    try:
        return unpack(runtime.bundles.get(name)), None
    except UserError as error:
        return None, f"{error.what}: {error.tried}"


def _claims(store: Store, kill_id: str) -> tuple[SeriesPoint, ...]:
    """What the alerts of this kill claim themselves."""
    with store.read() as connection:
        rows = connection.execute(
            sa.select(alerts.c.details).where(alerts.c.kill_id == kill_id).order_by(alerts.c.id).limit(50)
        )
        return tuple(point for row in rows for point in intake.load(row.details).points)


def _gather(
    runtime: Runtime,
    kill: Row[Any],
    without: frozenset[str] | set[str],
    deadline_s: float,
    tell: Callable[[str], None] = lambda _text: None,
) -> Bundle:
    from oomscope.pipeline_live import Plan, gather_live

    config = runtime.settings.config
    config = config.model_copy(update={"deadline_s": min(config.deadline_s, deadline_s)})
    cluster = cluster_of(config, kill.cluster)
    search = Window(kill.search_start, kill.search_end) if kill.search_start else None
    with runtime.store.read() as connection:
        now = runtime.store.now(connection)
    return gather_live(
        Plan(
            target=_target(kill),
            cluster=cluster,
            config=config,
            now=now,
            search=search,
            without=frozenset({*cluster.without, *without}),
            tell=tell,
        )
    )


def _target(kill: Row[Any]) -> Target:
    """The kill as a target. A time that is only an alert's is left open, so that the evidence says it."""
    at = None if kill.about and kill.search_start else kill.killed_at
    return Target(kill.namespace, kill.workload, kill.pod, kill.container, at, kill.pod_uid, kill.cluster)


def _nothing(kill: Row[Any], problem: str) -> Any:
    target = TargetDoc(
        namespace=kill.namespace,
        workload=kill.workload,
        pod=kill.pod,
        container=kill.container,
        node=kill.node,
    )
    return hollow(target, kill.killed_at, problem)


def _kill(store: Store, kill_id: str) -> Row[Any] | None:
    with store.read() as connection:
        return connection.execute(sa.select(kills).where(kills.c.id == kill_id)).one_or_none()


def _teller(runtime: Runtime, kill_id: str) -> Callable[[str], None]:
    """Writes progress for the page, once a second at most. A database that is busy does not stop the work."""
    last = 0.0

    def tell(text: str) -> None:
        nonlocal last
        if time.monotonic() - last < 1.0:
            return
        last = time.monotonic()
        with runtime.store.write() as connection:
            connection.execute(sa.update(kills).where(kills.c.id == kill_id).values(progress=text[:200]))

    return tell


def give_up(runtime: Runtime, task: Task, problem: str) -> None:
    """End a kill that cannot be investigated: with a report that says so, and why."""
    kill = _kill(runtime.store, task.ref)
    if kill is None:
        return _drop(runtime, task)
    with runtime.store.read() as connection:
        known = connection.execute(
            sa.select(reports.c.document).where(reports.c.kill_id == kill.id)
        ).scalar_one_or_none()
    # What was found out before stays the report; only its state says that there will be no more.
    result = made(opened(known) if known else _nothing(kill, problem))
    last = Stage("final", False, 0.0)
    done = _Done(max(1, kill.step), "final", time.monotonic())
    _commit(runtime, task, kill, [last] * done.step, done, result, problem)
    return None


# ----------------------------------------------------------------------------------------------------------- commit


@dataclass(frozen=True, slots=True)
class _Done:
    step: int
    name: str
    began: float
    bundle: str | None = None
    size: int = 0
    gaps: int = 0


def _note_stage(runtime: Runtime, connection: Connection, kill_id: str, done: _Done) -> None:
    seconds = time.monotonic() - done.began
    values = {
        "name": done.name,
        "began_at": runtime.store.now(connection) - timedelta(seconds=seconds),
        "seconds": round(seconds, 3),
        "replica": runtime.replica,
        "bundle": done.bundle,
        "bundle_bytes": done.size,
        "gaps": done.gaps,
    }
    insert = runtime.store.insert(stages).values(kill_id=kill_id, step=done.step, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=["kill_id", "step"], set_=values))


def _commit(
    runtime: Runtime,
    task: Task,
    kill: Row[Any],
    plan: Sequence[Stage],
    done: _Done,
    result: Made,
    problem: str | None,
) -> None:
    """Report, state, notifications and the next stage in one transaction: all of it or nothing."""
    last = done.step == len(plan)
    state = "open" if not last else ("failed" if problem else "final")
    with runtime.store.write() as connection:
        now = runtime.store.now(connection)
        following = None if last else max(now, _due(plan[done.step], kill))
        queue.finish(connection, task, again_at=following)
        _note_stage(runtime, connection, kill.id, done)
        _store_report(runtime.store, connection, kill.id, done.name, now, result)
        connection.execute(
            sa.update(kills)
            .where(kills.c.id == kill.id)
            .values(
                step=done.step + 1,
                state=state,
                problem=problem,
                progress=None,
                version=kills.c.version + 1,
                **result.columns,
                **_exact_time(kill, result),
            )
        )
        notices.want(runtime, connection, kill, final=last)


def _exact_time(kill: Row[Any], result: Made) -> dict[str, Any]:
    """The evidence knows better than the alert when it was. ``about`` stays: the id was made without knowing."""
    if not kill.about or result.killed_at is None:
        return {}
    return {"killed_at": result.killed_at, "search_start": None, "search_end": None}


def _store_report(
    store: Store, connection: Connection, kill_id: str, stage: str, now: datetime, result: Made
) -> None:
    values = {"stage": stage, "made_at": now, "document": result.document, "page": result.page}
    insert = store.insert(reports).values(kill_id=kill_id, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=["kill_id"], set_=values))
