"""What the pages show, read from the database. Never waits for a writer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from sqlalchemy import Select

from oomscope.serve.common import Recurrence, recurrences
from oomscope.serve.schema import alerts, kills, messages, reports, stages, threads
from oomscope.serve.store import Store

PAGE = 50
MOST_OF_WORKLOAD = 500
VERDICTS = ("oom_limit", "oom_node", "oom_child", "not_oom", "undetermined")
STATES = ("open", "final", "failed")
_LISTED = (
    kills.c.id, kills.c.namespace, kills.c.workload, kills.c.pod, kills.c.container, kills.c.killed_at, kills.c.about,
    kills.c.verdict, kills.c.strength, kills.c.suspect, kills.c.pattern, kills.c.state, kills.c.progress,
    kills.c.found_by,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filter:
    """What the list is narrowed to, as the address says it."""

    search: str = ""
    namespace: str = ""
    workload: str = ""
    verdict: str = ""
    state: str = ""
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filter:
        """Anything that makes no sense is left out."""
        number = query.get("page", "1")
        return cls(
            search=_text(query.get("q", "")),
            namespace=_text(query.get("namespace", "")),
            workload=_text(query.get("workload", "")),
            verdict=query.get("verdict", "") if query.get("verdict") in VERDICTS else "",
            state=query.get("state", "") if query.get("state") in STATES else "",
            page=int(number) if number.isascii() and number.isdecimal() and 0 < len(number) < 6 else 1,
        )

    def link(self, page: int) -> str:
        """The address of another page of the same list."""
        pairs = {
            "q": self.search, "namespace": self.namespace, "workload": self.workload, "verdict": self.verdict,
            "state": self.state, "page": str(page),
        }  # fmt: skip
        return "/?" + urlencode({name: value for name, value in pairs.items() if value})


def _text(text: str) -> str:
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:200]


def list_kills(store: Store, wanted: Filter) -> dict[str, Any]:
    """One page of kills, newest first, and how many there are."""
    with store.read() as connection:
        total = connection.execute(
            _narrowed(sa.select(sa.func.count()).select_from(kills), wanted)
        ).scalar_one()
        rows = connection.execute(
            _narrowed(sa.select(*_LISTED), wanted)
            .order_by(kills.c.killed_at.desc(), kills.c.id)
            .limit(PAGE)
            .offset((wanted.page - 1) * PAGE)
        ).all()
        namespaces = connection.execute(
            sa.select(kills.c.namespace).where(kills.c.namespace.is_not(None)).distinct().order_by(kills.c.namespace)
            .limit(200)
        ).scalars().all()  # fmt: skip
        looking = connection.execute(
            sa.select(sa.func.count()).select_from(alerts).where(alerts.c.kill_id.is_(None))
        ).scalar_one()
    return {
        "rows": rows,
        "total": total,
        "pages": max(1, -(-total // PAGE)),
        "namespaces": namespaces,
        "looking": looking,
        "verdicts": VERDICTS,
        "states": STATES,
    }


def _narrowed(query: Select[Any], wanted: Filter) -> Select[Any]:
    for column, value in (
        (kills.c.namespace, wanted.namespace),
        (kills.c.workload, wanted.workload),
        (kills.c.verdict, wanted.verdict),
        (kills.c.state, wanted.state),
    ):
        if value:
            query = query.where(column == value)
    if wanted.search:
        columns = (
            kills.c.id,
            kills.c.namespace,
            kills.c.workload,
            kills.c.pod,
            kills.c.suspect,
            kills.c.node,
        )
        query = query.where(
            sa.or_(
                *(
                    sa.func.lower(column).contains(wanted.search.lower(), autoescape=True)
                    for column in columns
                )
            )
        )
    return query


def one_kill(store: Store, kill_id: str) -> dict[str, Any] | None:
    """A kill, its stages, alerts and messages, and its page if there is one."""
    with store.read() as connection:
        kill = connection.execute(sa.select(kills).where(kills.c.id == kill_id)).one_or_none()
        if kill is None:
            return None
        report = connection.execute(
            sa.select(reports.c.page, reports.c.stage).where(reports.c.kill_id == kill_id)
        ).one_or_none()
        done = connection.execute(
            sa.select(stages).where(stages.c.kill_id == kill_id).order_by(stages.c.step)
        ).all()
        told = connection.execute(
            sa.select(sa.func.count()).select_from(alerts).where(alerts.c.kill_id == kill_id)
        ).scalar_one()
        behind = connection.execute(
            sa.select(messages.c.destination, messages.c.problem).where(
                messages.c.thread_id == kill.thread_id, messages.c.problem.is_not(None)
            )
        ).all()
    return {
        "kill": kill,
        "page": report.page if report else None,
        "stage": report.stage if report else None,
        "stages": done,
        "alerts": told,
        "troubles": behind,
    }


def document(store: Store, kill_id: str) -> bytes | None:
    """The compressed Report document."""
    with store.read() as connection:
        found: bytes | None = connection.execute(
            sa.select(reports.c.document).where(reports.c.kill_id == kill_id)
        ).scalar_one_or_none()
    return found


def state_of(store: Store, kill_id: str) -> dict[str, Any] | None:
    """What a reader who waits wants to know."""
    with store.read() as connection:
        row = connection.execute(
            sa.select(kills.c.state, kills.c.version, kills.c.progress).where(kills.c.id == kill_id)
        ).one_or_none()
    return {"state": row.state, "version": row.version, "progress": row.progress or ""} if row else None


def workload(store: Store, namespace: str, name: str) -> dict[str, Any] | None:
    """The kills of a workload and the endpoints that were open at them, against what chance would give."""
    with store.read() as connection:
        mine = sa.and_(kills.c.namespace == namespace, kills.c.workload == name)
        newest = kills.c.killed_at.desc()
        rows = connection.execute(
            sa.select(*_LISTED).where(mine).order_by(newest).limit(MOST_OF_WORKLOAD)
        ).all()
        told = (
            connection.execute(
                sa.select(kills.c.endpoints)
                .where(mine, kills.c.endpoints.is_not(None), kills.c.verdict != "not_oom")
                .order_by(newest)
                .limit(MOST_OF_WORKLOAD)
            )
            .scalars()
            .all()
        )
    if not rows:
        return None
    common: list[Recurrence] = recurrences(told)
    return {"rows": rows, "common": common[:40], "judged": len(told)}


def thread(store: Store, thread_id: int) -> dict[str, Any] | None:
    """The kills of a thread."""
    with store.read() as connection:
        found = connection.execute(sa.select(threads).where(threads.c.id == thread_id)).one_or_none()
        if found is None:
            return None
        rows = connection.execute(
            sa.select(*_LISTED)
            .where(kills.c.thread_id == thread_id)
            .order_by(kills.c.killed_at.desc())
            .limit(MOST_OF_WORKLOAD)
        ).all()
    return {"thread": found, "rows": rows}
