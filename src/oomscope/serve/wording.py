"""What a message says: composed when it is sent, from the newest state, so that nothing stale goes out."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from oomscope.render import view
from oomscope.render.escape import slack as mrkdwn
from oomscope.render.slack import Block, slack_blocks, slack_details, slack_text
from oomscope.render.style import Style
from oomscope.report import Report
from oomscope.serve.reporting import opened
from oomscope.serve.schema import kills, reports, threads
from oomscope.serve.settings import Settings
from oomscope.units import iso


def compose(settings: Settings, connection: Connection, message: Row[Any]) -> dict[str, Any] | None:
    """The body for that destination; None when the kill it is about is not known any more."""
    kill = _kill_of(connection, message)
    if kill is None:
        return None
    report = opened(kill.document)
    if message.destination == "grafana":
        return _annotation(settings, kill, report)
    if message.destination == "webhook":
        return _event(settings, kill, report)
    if message.kill_id is None:
        return _head(settings, connection, message.thread_id, kill, report)
    blocks = slack_details(report) if message.destination == "slack" else _blocks(settings, kill, report)
    if message.destination == "slack":
        blocks = [*_title(settings, kill, report), *blocks][:50]
    return {"text": slack_text(report, Style()), "blocks": blocks}


def _kill_of(connection: Connection, message: Row[Any]) -> Row[Any] | None:
    """The kill a message is about; for the head of a thread its newest one."""
    query = (
        sa.select(kills, reports.c.document, reports.c.stage)
        .join(reports, reports.c.kill_id == kills.c.id)
        .order_by(kills.c.killed_at.desc(), kills.c.id)
        .limit(1)
    )
    if message.kill_id is None:
        query = query.where(kills.c.thread_id == message.thread_id)
    else:
        query = query.where(kills.c.id == message.kill_id)
    return connection.execute(query).one_or_none()


def _blocks(settings: Settings, kill: Row[Any], report: Report) -> list[Block]:
    return slack_blocks(
        report,
        stage=kill.stage,
        report_url=settings.url(f"/kills/{kill.id}"),
        dashboard_url=_dashboard(settings, kill),
    )


def _dashboard(settings: Settings, kill: Row[Any]) -> str | None:
    """The dashboard the alert named, on the Grafana of the configuration; never the alert's own address."""
    base = settings.serve.grafana.url or settings.config.grafana_url
    links = json.loads(kill.links) if kill.links else {}
    if not base or not links.get("dashboard"):
        return None
    at = int(kill.killed_at.timestamp() * 1000)
    panel = f"&viewPanel={int(links['panel'])}" if links.get("panel") else ""
    org = f"orgId={int(links['org'])}&" if links.get("org") else ""
    return f"{base.rstrip('/')}/d/{links['dashboard']}?{org}from={at - 1_800_000}&to={at + 600_000}{panel}"


def _head(
    settings: Settings, connection: Connection, thread_id: int, kill: Row[Any], report: Report
) -> dict[str, Any]:
    thread = connection.execute(sa.select(threads).where(threads.c.id == thread_id)).one()
    blocks = _blocks(settings, kill, report)
    if thread.kills > 1:
        blocks = [*blocks[:1], _count(settings, thread, kill), *blocks[1:]]
    text = slack_text(report, Style())
    return {"text": text if thread.kills < 2 else f"{text} ({thread.kills:,} kills)", "blocks": blocks[:50]}


def _count(settings: Settings, thread: Row[Any], kill: Row[Any]) -> Block:
    since: datetime = thread.opened_at
    text = f"*{thread.kills:,} kills* since {Style().clock(since)}, this is the newest: {mrkdwn(thread.label, 200)}"
    if url := settings.url(f"/threads/{thread.id}"):
        text += f"  <{url}|all of them>"
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _title(settings: Settings, kill: Row[Any], report: Report) -> list[Block]:
    where = mrkdwn(f"{view.verdict_word(report.kill)} {view.where(report)}", 300)
    text = f"*{where}*  {Style().clock(report.kill.killed_at or kill.killed_at)}"
    if url := settings.url(f"/kills/{kill.id}"):
        text += f"  <{url}|report>"
    return [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]


def _annotation(settings: Settings, kill: Row[Any], report: Report) -> dict[str, Any]:
    import html

    links = json.loads(kill.links) if kill.links else {}
    said = view.answer(report)
    text = f"{view.verdict_word(report.kill)} {view.where(report)}: {said.heading.lower()}"
    text = html.escape(f"{text}: {said.suspect}" if said.suspect else text)
    if url := settings.url(f"/kills/{kill.id}"):
        text += f' <a href="{html.escape(url, quote=True)}">report</a>'
    tags = ["oomscope", *(name for name in (kill.namespace, kill.workload) if name)]
    body: dict[str, Any] = {"time": int(kill.killed_at.timestamp() * 1000), "tags": tags, "text": text}
    if links.get("dashboard"):
        body |= {"dashboardUID": links["dashboard"]}
        body |= {"panelId": links["panel"]} if links.get("panel") else {}
    return body | ({"org": links["org"]} if links.get("org") else {})


def _event(settings: Settings, kill: Row[Any], report: Report) -> dict[str, Any]:
    return {
        "event": "oomscope.kill",
        "format": 1,
        "id": kill.id,
        "stage": kill.stage,
        "state": kill.state,
        "url": settings.url(f"/kills/{kill.id}"),
        "killed_at": iso(kill.killed_at),
        "report": json.loads(
            report.model_dump_json(by_alias=True, include={"target", "kill", "cause", "hypotheses"})
        ),
    }
