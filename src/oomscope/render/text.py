"""The terminal report: five answers in fixed zones that fit 80 x 24, or two columns when there is room."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from oomscope.render import fields, view
from oomscope.render.escape import clean, clip, pad
from oomscope.render.style import Style
from oomscope.render.terminal import (
    DIM,
    HEAD,
    RED,
    SUSPECT,
    Lines,
    beside,
    labelled,
    paragraph,
    sparkline,
    table,
    to_string,
    wrap,
)
from oomscope.report import Action, Report
from oomscope.units import format_bytes, format_seconds

SCREEN = 23  # lines: 24 less the prompt
WIDE = 110


@dataclass(frozen=True, slots=True)
class Room:
    """How many lines each elastic zone may take."""

    head: int  # of the sentence about the kill
    why: int
    do: int
    also: int
    unseen: int


# From roomy to tight; the first that fits the screen is taken.
ROOMS = (
    Room(2, 4, 6, 3, 2),
    Room(2, 4, 6, 2, 1),
    Room(0, 4, 6, 2, 1),
    Room(0, 3, 6, 2, 1),
    Room(0, 3, 6, 1, 1),
    Room(0, 3, 5, 1, 1),
    Room(0, 2, 5, 1, 1),
    Room(0, 2, 3, 1, 1),
    Room(0, 1, 1, 1, 1),
)


def render_text(report: Report, style: Style) -> str:
    """The terminal report. ``style.full`` gives the long form, which repeats the verdict last."""
    if style.full:
        from oomscope.render.full import full_lines

        return to_string(full_lines(report, style), style)
    build = _wide if style.width >= WIDE else _narrow
    lines: Lines = []
    for room in ROOMS:
        lines = build(report, style, room)
        if len(lines) <= SCREEN:
            break
    for line in lines:
        line.truncate(
            style.width, overflow="ellipsis"
        )  # on a very narrow screen labels alone can be too long
    return to_string(lines, style)


def _narrow(report: Report, style: Style, room: Room) -> Lines:
    width = style.width
    zones = [
        header(report, style, width, room.head),
        cause(report, width, room.why),
        [*memory(report, width), *lost(report, width)],
        do_now(report, width, room.do),
        also(report, width, room.also) + unseen(report, style, width, room.unseen),
        [_footer(report, width)],
    ]
    return _stack(zones)


def _wide(report: Report, style: Style, room: Room) -> Lines:
    left_width = int(style.width * 0.58)
    right_width = style.width - left_width - 3
    left = _stack(
        [
            cause(report, left_width, room.why),
            [*memory(report, left_width), *lost(report, left_width)],
            do_now(report, left_width, room.do),
        ]
    )
    right = _stack([in_flight(report, right_width, 8), also(report, right_width, 4)])
    body = beside(left, right, left_width, right_width)
    below = unseen(report, style, style.width, room.unseen)
    return _stack(
        [header(report, style, style.width, room.head), body, below, [_footer(report, style.width)]]
    )


def _stack(zones: list[Lines]) -> Lines:
    """Zones under each other with one empty line between; a zone with nothing to say is dropped."""
    out: Lines = []
    for zone in zones:
        if zone:
            out += [Text(), *zone] if out else zone
    return out


def header(report: Report, style: Style, width: int, most: int = 2) -> Lines:
    """What died, when, is it still happening; with ``most`` lines about how the kill is known."""
    word, place = view.verdict_word(report.kill), view.where(report)
    container = f"container {view.name(report.target.container)}" if report.target.container else ""
    killed = report.kill.killed_at
    age = style.age(killed)
    time = (style.clock(killed) + (f", {age}" if age else "")) if killed else "time unknown"
    note = f" ({container})" if container else ""
    if cell_len(word + place + note + time) + 4 > width:
        note = ""
    beside_it = (
        f"  {time}" if cell_len(word + place + note + time) + 4 <= width else ""
    )  # else below: a name is copied
    room = max(12, width - cell_len(word + note + beside_it) - 2)
    look = SUSPECT if report.kill.verdict.startswith("oom") else HEAD
    lines = [Text.assemble((word, look), "  ", (clip(place, room, middle=True), HEAD), note, beside_it)]
    again, statement = view.recurrence(report, style), clean(report.kill.statement, 400)
    if view.answer(report).form not in ("cause", "abstain"):
        statement = ""  # it is the answer itself
    named = note or (most and not again and report.target.container and report.target.container in statement)
    below = "" if beside_it else time
    parts = [below, again, "" if named else clip(container, 40)]
    second = " · ".join(part for part in parts if part)
    if again and cell_len(second) > width:
        second = " · ".join(part for part in parts[:2] if part)
    lines += [Text(line) for line in wrap(second, width, 2) if line]
    if statement and most and not again:
        lines += [Text(line) for line in wrap(statement, width, most)]
    return lines


def cause(report: Report, width: int, most: int) -> Lines:
    """What most likely did it and why to believe that; or that it cannot be told, and what would settle it."""
    said = view.answer(report)
    strength = f"  {said.strength} evidence" if said.strength else ""
    tag = f"[{clip(said.hypothesis, 8)}]" if said.hypothesis else ""
    head = Text.assemble((said.heading, HEAD), strength)
    if tag:
        head.append(" " * max(1, width - cell_len(head.plain + tag)) + tag, style=DIM)
    lines = [head]
    if said.suspect:
        lines.append(_suspect_line(said, width))
    sentences = " ".join(said.sentences) or "The report gives no reason."
    lines += paragraph(sentences, width, most=most)
    if said.form == "cause":
        lines += _best_points(report, width, most - len(lines) + 2)
    elif said.settle:
        lines += labelled("TO SETTLE IT", said.settle, width, indent=14, most=2)
    return lines


def _suspect_line(said: view.Answer, width: int) -> Text:
    if said.form != "cause":
        return Text("  " + clip(said.suspect, width - 2), style=HEAD)
    detail = f"  ({said.detail})" if said.detail and said.detail != said.suspect else ""
    if cell_len(said.suspect + detail) > width - 2:
        detail = "  (" + clip(said.detail, max(0, width - cell_len(said.suspect) - 6), middle=True) + ")" if (
            width - cell_len(said.suspect) > 24 and detail
        ) else ""  # fmt: skip
    look = SUSPECT if said.accused else HEAD
    return Text.assemble("  ", (clip(said.suspect, width - 2 - cell_len(detail), middle=True), look), detail)


def _best_points(report: Report, width: int, most: int) -> Lines:
    """What sets the bad requests apart, then the weightiest findings that the statement leaves out."""
    one = view.lead(report)
    if one is None or most <= 0:
        return []
    apart = ["* " + _fitting(clean(t.text, 300), width, most) for t in one.distinguishing if t.text][:1]
    ranked = sorted(one.for_, key=lambda point: -abs(point.weight))
    fresh = [
        "+ " + view.brief(clean(point.text, 300), one) for point in ranked if point.text not in one.statement
    ]
    lines: Lines = []
    for text in [*apart, *fresh]:
        wrapped = paragraph(text, width)
        if len(lines) + len(wrapped) <= most:  # a comparison that is cut in half convinces nobody
            lines += wrapped
    return lines or [Text("  " + clip(text, width - 2)) for text in [*apart, *fresh][:1]]


def _fitting(text: str, width: int, most: int) -> str:
    """The input to stop must be on the first screen: its last remark gives way, its comparison only when it must."""
    parts = text.split("; ")
    shorter = ["; ".join(parts[:count]) for count in (2, 1) if count < len(parts)]
    return next((one for one in (text, *shorter) if len(paragraph("* " + one, width)) <= most), text)


def memory(report: Report, width: int) -> Lines:
    """The limit, and the last stretch of memory up to the kill; ``?`` where there were no samples."""
    limit = view.limit_bytes(report)
    head = Text.assemble(
        ("MEMORY", HEAD), "  limit ", (format_bytes(limit) if limit else "unknown", RED if limit else "")
    )
    victim = report.kill.victim
    if victim and victim.anon_rss_bytes:
        head.append(
            f", killed {clip(clean(victim.comm or 'process', 40), 20)} held {format_bytes(victim.anon_rss_bytes)}"
        )
    series = view.dead_series(report)
    if series is None:
        head.append(", no samples")
        return [head]
    samples = fields.points(series, "points")
    note = view.last_sample(report)
    span = (samples[-1][0] - samples[0][0]).total_seconds()
    note = f"{format_seconds(span)}; {note}" if note and span > 0 else note
    last, first = format_bytes(samples[-1][1]), format_bytes(min(value for _, value in samples))
    cells = min(32, width - cell_len(f"  {first}  {last}   {note}") - 2)
    if cells < 8:
        note, cells = "", min(40, width - cell_len(f"  {first}  {last}") - 2)
    top = limit or max(value for _, value in samples)
    line = sparkline(samples, view.memory_kill(report), top, cells)
    return [head, Text(f"  {first} {line} {last}   {note}")]


def lost(report: Report, width: int) -> Lines:
    """Who was hurt; without the methods when they would cost a second line."""
    whole = view.lost(report)
    return labelled(
        "LOST", whole if cell_len(whole) <= width - 8 else view.lost(report, methods=False), width, most=2
    )


def do_now(report: Report, width: int, most: int) -> Lines:
    """What is safe to do now, at most two things, copyable."""
    now = [action for action in report.actions if action.when == "now"][:2]
    if not now:
        return []
    lines: Lines = []
    share = max(1, most // len(now))
    for number, action in enumerate(now, 1):
        spare = most - len(lines) if number == len(now) else share
        said = view.capital(view.brief(clean(action.text, 600), view.lead(report)))
        lines += _action(action, said, number, width, max(1, spare))
    return lines


def _action(action: Action, said: str, number: int, width: int, most: int) -> Lines:
    label = pad("DO NOW", 8) if number == 1 else " " * 8
    command = command_lines(action.command or "", width - 11)
    if command and len(command) + 1 > most:
        command = []
        hint = " (command: --full)"
    else:
        hint = ""
    text = wrap(said + hint, width - 11, max(1, most - len(command)))
    first = Text.assemble((label, HEAD), f"{number}. {text[0]}")
    return [first, *(Text(" " * 11 + line) for line in [*text[1:], *command])]


def command_lines(command: str, width: int) -> list[str]:
    """A shell command broken so that it can still be copied: every line but the last ends in a backslash."""
    if not command:
        return []
    lines = wrap(clean(command, 2000), width - 2)
    return [line + " \\" for line in lines[:-1]] + [lines[-1]]


def also(report: Report, width: int, most: int) -> Lines:
    """The other hypotheses, one line each: name, how sure, the best reason."""
    others = view.others(report)
    rows = []
    for one in others[:most]:
        reason = view.brief(view.reason_for(one), one)
        rows.append(
            (f"[{clip(view.name(one.id), 6)}]", view.short_name(one), view.hypothesis_word(one), reason)
        )
    lines = []
    who_width = min(30, width // 3, max([cell_len(row[1]) for row in rows], default=0))
    for number, (tag, who, word, reason) in enumerate(rows):
        label = "ALSO" if number == 0 else ""
        start = f"{tag} {pad(clip(who, who_width, middle=True), who_width)}  {pad(word, 12)} "
        rest = width - 8 - cell_len(start)
        left_out = f" +{len(others) - most} more" if number == len(rows) - 1 and len(others) > most else ""
        reason = clip(reason, max(0, rest - len(left_out))) if rest > 10 else ""
        lines.append(Text.assemble((pad(label, 8), HEAD), start, reason, left_out))
    return lines


def unseen(report: Report, style: Style, width: int, most: int) -> Lines:
    """What the tool could not see; always there."""
    if not report.gaps:
        return labelled("UNSEEN", "nothing missing", width)
    shown: list[str] = []
    room = (width - 8) * most - 12
    for gap in report.gaps:
        line = view.gap_line(gap, style)
        if shown and cell_len(" · ".join([*shown, line])) > room:
            break
        shown.append(clip(line, room))
    left = len(report.gaps) - len(shown)
    return labelled("UNSEEN", " · ".join(shown) + (f" · +{left} more" if left else ""), width, most=most)


def in_flight(report: Report, width: int, most: int) -> Lines:
    """The requests open at the kill, longest first: age and name."""
    open_ones = sorted(report.in_flight, key=lambda one: -(one.age_s or 0))
    if not open_ones:
        return []
    rows = [
        (
            format_seconds(one.age_s),
            view.name(" ".join(part for part in (one.method, one.path) if part) or one.endpoint),
        )
        for one in open_ones[:most]
    ]
    lines = table(("AGE", "IN FLIGHT AT THE KILL"), rows, width, flex=(1,), right=(0,))
    if len(open_ones) > most:
        lines.append(Text(f"  {most} of {len(open_ones):,} shown", style=DIM))
    return lines


def _footer(report: Report, width: int) -> Text:
    led = view.answer(report).hypothesis
    parts = ["nothing was changed", "all: --full", "page: -f html"]
    if led:
        parts.append(f"why: oomscope explain {clip(led, 8)}")
    return Text(clip(" · ".join(parts), width), style=DIM)
