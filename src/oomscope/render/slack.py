"""The report as Slack Block Kit: one message that is edited as evidence arrives (seen, preliminary, final)."""

from __future__ import annotations

import json
from datetime import datetime, tzinfo
from typing import Any, Literal

from oomscope.render import titles, view
from oomscope.render.escape import clean, clip
from oomscope.render.escape import slack as mrkdwn
from oomscope.render.escape import slack_code as code
from oomscope.render.style import Style
from oomscope.report import Hypothesis, Report
from oomscope.units import format_seconds

Stage = Literal["seen", "preliminary", "final"]
Block = dict[str, Any]
MAX_BLOCKS, MAX_SECTION, MAX_HEADER = 50, 3000, 150
NOTES = {
    "seen": ":hourglass_flowing_sand: reading the evidence",
    "preliminary": ":hourglass_flowing_sand: *preliminary*, not everything has arrived yet",
    "final": "",
}


def render_slack(report: Report, style: Style) -> str:
    """The final message as the JSON body of ``chat.postMessage`` or an incoming webhook."""
    blocks = slack_blocks(report, now=style.now, tz=style.tz)
    return (
        json.dumps({"text": slack_text(report, style), "blocks": blocks}, ensure_ascii=True, indent=1) + "\n"
    )


def slack_text(report: Report, style: Style) -> str:
    """The fallback text of the message, for notifications."""
    said = view.answer(report)
    what = f"{said.heading.lower()}: {said.suspect}" if said.suspect else said.heading.lower()
    return mrkdwn(
        f"{view.verdict_word(report.kill)} {view.where(report)} {style.clock(report.kill.killed_at)}, {what}",
        600,
    )


def slack_blocks(
    report: Report,
    *,
    stage: Stage = "final",
    now: datetime | None = None,
    tz: tzinfo | None = None,
    report_url: str | None = None,
    dashboard_url: str | None = None,
    image_url: str | None = None,
) -> list[Block]:
    """The blocks of the message at that stage. URLs are the service's own and must be http(s), others are left out.

    At most 50 blocks, no section over 3,000 characters; names from logs cannot mention, link or format.
    """
    style = Style(now=now, tz=tz)
    blocks = [_header(report), _section(_first_lines(report, style, stage))]
    if stage != "seen":
        blocks += [
            _section(_cause(report)),
            _section(f"*Lost*  {mrkdwn(view.lost(report), 600)}"),
            *_do_now(report),
        ]
        if image_url and _is_web(image_url):
            blocks.append(
                {"type": "image", "image_url": image_url, "alt_text": clip(titles.memory_title(report), 200)}
            )
        blocks.append(_context(_unseen(report, style)))
    if buttons := _buttons(report_url, dashboard_url):
        blocks.append({"type": "actions", "elements": buttons})
    return blocks[:MAX_BLOCKS]


def slack_details(report: Report, *, now: datetime | None = None, tz: tzinfo | None = None) -> list[Block]:
    """Blocks for the thread: requests in flight, hypotheses for and against, every gap with its fix."""
    style = Style(now=now, tz=tz)
    blocks = [_section("*In flight at the kill*\n" + _in_flight(report))]
    blocks += [_section(_hypothesis(one)) for one in report.hypotheses[:10]]
    for gap in report.gaps[:10]:
        fix = f"\nfix: {code(gap.fix, 300)}" if gap.fix else ""
        blocks.append(_context(mrkdwn(view.gap_line(gap, style), 600) + fix))
    return blocks[:MAX_BLOCKS]


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": clip_markup(text, MAX_SECTION)}}


def _context(text: str) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": clip_markup(text, 2000)}]}


def clip_markup(text: str, most: int) -> str:
    """At most ``most`` characters; an entity or code span is not cut in half."""
    if len(text) <= most:
        return text
    text = text[: most - 2]
    amp = text.rfind("&")
    if amp > len(text) - 6 and ";" not in text[amp:]:
        text = text[:amp]
    return text + ("`…" if text.count("`") % 2 else "…")


def _header(report: Report) -> Block:
    title = f"{view.verdict_word(report.kill)} {view.where(report)}"
    return {
        "type": "header",
        "text": {"type": "plain_text", "text": clip(title, MAX_HEADER, middle=True), "emoji": False},
    }


def _first_lines(report: Report, style: Style, stage: Stage) -> str:
    container = f"container {code(report.target.container, 100)}  " if report.target.container else ""
    age = style.age(report.kill.killed_at)
    lines = [container + style.clock(report.kill.killed_at) + (f", {age}" if age else "")]
    if again := view.recurrence(report, style):
        lines.append(mrkdwn(again, 400))
    if stage != "final":
        lines.append(NOTES[stage])
    return "\n".join(lines)


def _cause(report: Report) -> str:
    said = view.answer(report)
    head = f"*{view.heading(said)}*" + (f"  ({said.strength} evidence)" if said.strength else "")
    lines = [head]
    if said.suspect:
        lines.append(code(said.suspect, 400) + (f"  {code(said.detail, 200)}" if said.detail else ""))
    if said.sentences:
        lines.append(mrkdwn(" ".join(said.sentences), 1200))
    one = view.lead(report)
    if one is not None:
        lines += [f"• {mrkdwn(trait.text, 300)}" for trait in one.distinguishing if trait.text][:1]
        lines += [
            f"• {mrkdwn(point.text, 300)}" for point in sorted(one.for_, key=lambda p: -abs(p.weight))[:2]
        ]
    elif said.settle:
        lines.append(f"_To settle it:_ {mrkdwn(said.settle, 400)}")
    return "\n".join(lines)


def _do_now(report: Report) -> list[Block]:
    now = [action for action in report.actions if action.when == "now"][:2]
    if not now:
        return []
    lines = ["*Do now*  (nothing has been changed)"]
    for number, action in enumerate(now, 1):
        lines.append(f"{number}. {mrkdwn(view.capital(action.text), 500)}")
        if action.command:
            lines.append(code(action.command, 800))
    return [_section("\n".join(lines))]


def _unseen(report: Report, style: Style) -> str:
    if not report.gaps:
        return "Unseen: nothing missing"
    shown = " · ".join(mrkdwn(view.gap_line(gap, style), 250) for gap in report.gaps[:4])
    left = len(report.gaps) - 4
    return f"Unseen: {shown}" + (f" · +{left} more" if left > 0 else "")


def _buttons(report_url: str | None, dashboard_url: str | None) -> list[Block]:
    wanted = (("Report", report_url), ("Dashboard", dashboard_url))
    return [
        {
            "type": "button",
            "text": {"type": "plain_text", "text": label},
            "url": url,
            "action_id": label.lower(),
        }
        for label, url in wanted
        if url and _is_web(url)
    ]


def _is_web(url: str) -> bool:
    return (
        url.startswith(("https://", "http://")) and len(url) <= 3000 and url.isprintable() and " " not in url
    )


def _in_flight(report: Report) -> str:
    ranked = sorted(report.in_flight, key=lambda one: -(one.age_s or 0))
    if not ranked:
        return mrkdwn(view.lost(report), 600)
    lines = []
    for one in ranked[:12]:
        path = " ".join(part for part in (one.method, one.path) if part)
        lines.append(f"{format_seconds(one.age_s)}  {code(clean(path or one.endpoint or '?', 120), 140)}")
    left = len(ranked) - 12
    return "\n".join(lines) + (f"\n12 of {len(ranked):,} shown" if left > 0 else "")


def _hypothesis(one: Hypothesis) -> str:
    who = view.suspect_name(one.suspect, one.pattern)
    lines = [
        f"*{mrkdwn(one.id, 20)}* {code(who, 300)}  {view.hypothesis_word(one)}",
        mrkdwn(one.statement, 600),
    ]
    for sign, points in (("+", one.for_), ("−", one.against)):
        lines += [f"{sign} {mrkdwn(point.text, 200)}" for point in points[:4]]
    return "\n".join(lines)
