"""The steps of one investigation: capture what expires, say at once what is known, look again, look a last time.

``capture`` is quick and goes before everything else. ``analyse`` runs the stages one after another, each as one
leased task, so that a kill is never in two hands.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row
from sqlalchemy.exc import SQLAlchemyError

from oomscope.config import Cluster
from oomscope.errors import UserError
from oomscope.facts import SeriesPoint, Target, Window
from oomscope.report import TargetDoc
from oomscope.serve import calculation, intake, notices, queue
from oomscope.serve.calculation import Gather, Outcome
from oomscope.serve.calculator import Failed
from oomscope.serve.queue import Request, Task
from oomscope.serve.reporting import Made, StageName, hollow, opened
from oomscope.serve.runtime import Runtime, cluster_of
from oomscope.serve.schema import alerts, kills, reports, stages
from oomscope.serve.store import Store

CAPTURE_S = 45.0  # deadline of the capture
MORE_LOOKS = (12, 48)  # times ``retry_s``: pauses before the looks at sources that did not answer
MOST_CAPTURES = 4  # times it is begun; what is lost then is the early look only
ANALYSE_PRIORITY = 5
_LATER = {"cloudwatch_logs", "alb"}  # not there yet in the first seconds


@dataclass(frozen=True, slots=True)
class Stage:
    """One look at a kill: not before ``after_s`` seconds after it, and without these sources.

    The looks after the first ``final`` one are only taken while a source did not answer or has no data yet.
    """

    name: StageName
    gather: bool
    after_s: float
    without: frozenset[str] = frozenset()
    again: bool = False


def plan_of(runtime: Runtime, cluster: Cluster) -> list[Stage]:
    """The stages that make sense with what is configured; the last are always ``final``."""
    serve = runtime.settings.serve
    stages = [Stage("seen", False, 0.0)]
    if cluster.alb.bucket or cluster.alb.table:
        stages.append(Stage("preliminary", True, serve.preliminary_after_s, frozenset({"alb"})))
        stages.append(Stage("final", True, serve.final_after_s))
    else:
        stages.append(Stage("final", True, serve.preliminary_after_s))
    return stages + [Stage("final", True, serve.retry_s * pauses, again=True) for pauses in MORE_LOOKS]


# ---------------------------------------------------------------------------------------------------------- capture


def capture(runtime: Runtime, task: Task) -> None:
    """Save pod status, events, previous logs and metrics before they expire. What cannot be read now is tried later."""
    began = time.monotonic()
    kill = _kill(runtime.store, task.ref)
    if kill is None:
        return _drop(runtime, task)
    name, size = None, 0
    try:
        if (
            task.leases <= MOST_CAPTURES
        ):  # else it ends its process every time: the kill must still be reported
            data = runtime.calculate(
                calculation.capture, (_gather(runtime, kill, _LATER, CAPTURE_S),), _silent
            )
            name, size = f"{kill.id}/0.tar.gz", len(data)
            runtime.bundles.put(name, data)
    except (UserError, Failed) as error:
        name = None
        if task.errors < 2:
            pause = queue.backoff(runtime.settings.serve.retry_s, task.errors)
            return queue.put_back(runtime.store, task, after_s=pause, problem=str(error))
    with runtime.store.write() as connection:
        now = runtime.store.now(connection)
        queue.finish(connection, task)
        _note_stage(runtime, connection, kill.id, _Done(0, "captured", began, name, size))
        progress = "evidence is saved" if name else "nothing could be captured"
        connection.execute(sa.update(kills).where(kills.c.id == kill.id).values(step=1, progress=progress))
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
    if due > now and not stage.again:  # whoever asked for another look has put it off already
        with runtime.store.write() as connection:
            queue.finish(connection, task, again_at=due)
        return None
    return _run_stage(runtime, task, kill, plan, number)


def _due(stage: Stage, kill: Row[Any]) -> datetime:
    start: datetime = kill.killed_at if stage.name == "final" else kill.created_at
    return start + timedelta(seconds=stage.after_s)


def _skip_to(plan: Sequence[Stage], number: int, kill: Row[Any], now: datetime) -> int:
    """For an old kill everything has arrived: after the first word comes the last."""
    final = next(n for n, stage in enumerate(plan, 1) if stage.name == "final")
    return final if 1 < number < final and _due(plan[final - 1], kill) <= now else number


def _run_stage(runtime: Runtime, task: Task, kill: Row[Any], plan: Sequence[Stage], number: int) -> None:
    began, stage = time.monotonic(), plan[number - 1]
    tell = _teller(runtime, kill.id, stage.name)
    deadline_s = runtime.settings.config.deadline_s
    gather = _gather(runtime, kill, stage.without, deadline_s) if stage.gather else None
    saved, lost = _saved(runtime, kill.id)
    work = (saved, gather, _claims(runtime.store, kill.id))
    outcome: Outcome = runtime.calculate(calculation.investigate, work, tell)
    problem = outcome.problem or lost
    if outcome.made is None and stage.gather and task.errors + 1 < runtime.settings.serve.max_errors:
        pause = queue.backoff(runtime.settings.serve.retry_s, task.errors)
        return queue.put_back(runtime.store, task, after_s=pause, problem=problem)
    name = None
    if outcome.archive is not None:
        name = f"{kill.id}/{number}.tar.gz"
        runtime.bundles.put(name, outcome.archive)
    hollow = (_nothing(kill, problem or "no evidence"),)
    made = outcome.made or runtime.calculate(calculation.rendered, hollow, _silent)
    last = (stage.name == "final" and not (outcome.made and outcome.again)) or number == len(plan)
    title: StageName = stage.name if last or stage.name != "final" else "preliminary"
    done = _Done(number, title, began, name, len(outcome.archive or b""), made.gaps)
    if last:
        return _commit(runtime, task, kill, done, made, problem=None if outcome.made else problem)
    return _commit(runtime, task, kill, done, made, after=plan[number], again=outcome.again)


def _saved(runtime: Runtime, kill_id: str) -> tuple[bytes | None, str | None]:
    """The newest evidence, and why it cannot be read."""
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
        return runtime.bundles.get(name), None
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
    runtime: Runtime, kill: Row[Any], without: frozenset[str] | set[str], deadline_s: float
) -> Gather:
    config = runtime.settings.config
    config = config.model_copy(update={"deadline_s": min(config.deadline_s, deadline_s)})
    cluster = cluster_of(config, kill.cluster)
    search = Window(kill.search_start, kill.search_end) if kill.search_start else None
    with runtime.store.read() as connection:
        now = runtime.store.now(connection)
    return Gather(_target(kill), cluster, config, now, search, frozenset({*cluster.without, *without}))


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


def _silent(_text: str) -> None:
    """Nobody looks."""


def _teller(runtime: Runtime, kill_id: str, stage: str) -> Callable[[str], None]:
    """Writes progress for the page, once a second at most. A database in trouble does not stop the work."""
    last = 0.0

    def tell(text: str) -> None:
        nonlocal last
        if time.monotonic() - last < 1.0:
            return
        last = time.monotonic()
        progress = sa.update(kills).where(kills.c.id == kill_id).values(progress=f"{stage}: {text}"[:200])
        with contextlib.suppress(SQLAlchemyError), runtime.store.write() as connection:
            connection.execute(progress)

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
    report = opened(known) if known else _nothing(kill, problem)
    result: Made = runtime.calculate(calculation.rendered, (report,), _silent)
    done = _Done(max(1, kill.step), "final", time.monotonic())
    _commit(runtime, task, kill, done, result, problem=problem)
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
    done: _Done,
    result: Made,
    *,
    after: Stage | None = None,
    again: Sequence[str] = (),
    problem: str | None = None,
) -> None:
    """Report, state, notifications and the next stage in one transaction: all of it or nothing."""
    with runtime.store.write() as connection:
        now = runtime.store.now(connection)
        queue.finish(connection, task, again_at=_following(after, kill, now))
        _note_stage(runtime, connection, kill.id, done)
        _store_report(runtime.store, connection, kill.id, done.name, now, result)
        connection.execute(
            sa.update(kills)
            .where(kills.c.id == kill.id)
            .values(
                step=done.step + 1,
                state="open" if after else ("failed" if problem else "final"),
                problem=problem,
                progress=f"waiting for {', '.join(again)}"[:200] if after and again else None,
                version=kills.c.version + 1,
                **result.columns,
                **_exact_time(kill, result),
            )
        )
        notices.want(runtime, connection, kill, final=after is None)


def _following(after: Stage | None, kill: Row[Any], now: datetime) -> datetime | None:
    if after is None:
        return None
    return now + timedelta(seconds=after.after_s) if after.again else max(now, _due(after, kill))


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
