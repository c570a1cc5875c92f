"""Tables beside the report: recent kills, kills found in the evidence, and what the tool can reach."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from oomscope.render import fields, phrases
from oomscope.render.escape import clean, clip, pad
from oomscope.render.fields import Row
from oomscope.render.style import Style
from oomscope.render.terminal import DIM, HEAD, RED, Lines, table, to_string, wrap
from oomscope.render.words import SHORT, VERDICTS

Cells = tuple[str, ...]
_BAD = {"denied", "unreachable", "timed_out", "missing", "error"}


def render_list(rows: Sequence[Row], style: Style) -> str:
    """Kills of several incidents, one line each, in the order given.

    A row: ``{"id": str, "killed_at": iso | None, "namespace", "workload", "pod", "container": str | None,
    "verdict": str, "peak_bytes", "limit_bytes": int | None, "open": int | None, "strength": str,
    "suspect": str | None, "pattern": str | None, "problem": str | None}``; ``problem`` stands in for a verdict.
    """
    if not rows:
        return to_string([Text("no kills found")], style)
    heads: Cells = ("ID", f"WHEN ({_zone(rows, style)})", "WORKLOAD", "CTR", "PEAK/LIMIT", "OPEN", "VERDICT")
    cells: list[Cells] = [_list_cells(row, style) for row in rows]
    if _too_wide((heads, *cells), style.width) and _one_namespace_each(rows):
        cells = [(*row[:2], row[2].partition("/")[2] or row[2], *row[3:]) for row in cells]
    same = len({row[3] for row in cells}) == 1  # the same container everywhere says nothing and takes room
    if same or _too_wide((heads, *cells), style.width):
        heads, cells = _without(heads, 3), [_without(row, 3) for row in cells]
    last = len(heads) - 1
    cells = [(*row[:-1], clip(row[-1], _room_for_verdicts(heads, cells, style.width))) for row in cells]
    lines = table(heads, cells, style.width, flex=(2,), right=(last - 2, last - 1))
    return to_string([*lines, Text(), Text(_counted(rows), style=DIM)], style)


def _room_for_verdicts(heads: Cells, cells: Sequence[Cells], width: int) -> int:
    """What is left for the last column once the workloads have shrunk; ids stay whole, they are typed again."""
    widths = [max(map(cell_len, column)) for column in zip(*(heads, *cells), strict=True)]
    workload = min(widths[2], 8)
    return max(16, width - 2 * (len(widths) - 1) - sum(widths[:2]) - workload - sum(widths[3:-1]))


def _too_wide(table_rows: Sequence[Cells], width: int) -> bool:
    columns = list(zip(*table_rows, strict=True))
    return sum(max(map(cell_len, column)) for column in columns) + 2 * (len(columns) - 1) > width


def _one_namespace_each(rows: Sequence[Row]) -> bool:
    """No two workloads of one name stand in different namespaces, so the name alone is enough."""
    known = {(fields.text(row, "workload"), fields.text(row, "namespace")) for row in rows}
    return len({workload for workload, _ in known}) == len(known)


def _without(cells: Cells, column: int) -> Cells:
    return (*cells[:column], *cells[column + 1 :])


def _when(row: Row, style: Style) -> str:
    """``11-23 03:12:41``: a list is read for its newest lines, the year is left out."""
    return style.clock(fields.when(row, "killed_at"), day=True, zone=False).partition("-")[2] or "-"


def _zone(rows: Sequence[Row], style: Style) -> str:
    at = next((at for row in rows if (at := fields.when(row, "killed_at"))), None)
    return "UTC" if at is None or style.tz is None else style.zone(at.astimezone(style.tz))


def _counted(rows: Sequence[Row]) -> str:
    kills = sum(fields.text(row, "verdict").startswith("oom") for row in rows)
    return f"{kills} OOM {'kill' if kills == 1 else 'kills'} in {len(rows)} {'row' if len(rows) == 1 else 'rows'}"


def _list_cells(row: Row, style: Style) -> tuple[str, ...]:
    who = "/".join(clean(part, 200) for key in ("namespace", "workload") if (part := fields.text(row, key)))
    return (
        clip(clean(fields.text(row, "id"), 200), 24, middle=True),
        _when(row, style),
        clip(who or clean(fields.text(row, "pod") or "-", 200), 26, middle=True),
        clip(clean(fields.text(row, "container") or "-", 200), 12),
        phrases.peak_of_limit(row).replace(" ", "").removesuffix("B"),
        phrases.whole(row, "open"),
        clean(_outcome(row), 300),
    )


def _outcome(row: Row) -> str:
    if problem := fields.text(row, "problem"):
        return problem
    verdict = fields.text(row, "verdict")
    if verdict in ("not_oom", "undetermined"):
        return VERDICTS[verdict]
    pattern = fields.text(row, "pattern")
    suspect = fields.text(row, "suspect").rpartition("::")[2].replace("Controller#", "#")
    who = suspect or SHORT.get(pattern, pattern)
    return f"{fields.text(row, 'strength')}: {who}" if who else "no clear cause"


def render_kills(rows: Sequence[Row], style: Style) -> str:
    """Every kill found in the evidence of one incident, in the order given.

    A row: ``{"killed_at": iso | None, "namespace", "pod", "container", "container_id": str | None, "verdict": str,
    "scope": str, "rule": str, "victim": str | None, "rss_bytes", "limit_bytes": int | None, "source": str}``.
    """
    if not rows:
        return to_string([Text("no kill found in what was read")], style)
    heads = (f"WHEN ({_zone(rows, style)})", "POD", "CTR", "WHAT", "VICTIM", "HELD/LIMIT", "RULE")
    cells = []
    for row in rows:
        victim = clean(fields.text(row, "victim") or "-", 100)
        held = {"peak_bytes": row.get("rss_bytes"), "limit_bytes": row.get("limit_bytes")}
        verdict = fields.text(row, "verdict")
        cells.append(
            (
                _when(row, style),
                clean(fields.text(row, "pod") or "-", 200),
                clip(clean(fields.text(row, "container") or "-", 200), 12),
                VERDICTS.get(verdict, clean(verdict, 40)),
                clip(victim, 14),
                phrases.peak_of_limit(held).replace(" ", "").removesuffix("B"),
                clip(clean(fields.text(row, "rule") or "-", 60), 16),
            )
        )
    return to_string(table(heads, cells, style.width, flex=(1,), right=(5,)), style)


def render_doctor(rows: Sequence[Row], style: Style) -> str:
    """What the tool can reach, one source a line with the fix below it.

    A row: ``{"source": str, "status": "ok" | "lagging" | "denied" | "unreachable" | "missing" | "off" | str,
    "detail": str, "fix": str | None}``.
    """
    if not rows:
        return to_string([Text("nothing was checked")], style)
    named = [(clean(fields.text(row, "source"), 60), clean(fields.text(row, "status"), 30)) for row in rows]
    source_width = min(24, max(cell_len(source) for source, _ in named))
    status_width = min(14, max(cell_len(status) for _, status in named))
    lines: Lines = []
    for row, (source, status) in zip(rows, named, strict=True):
        lines += _doctor_lines(row, pad(source, source_width), pad(status, status_width), style)
    bad = sum(status not in ("ok", "off") for _, status in named)
    verdict = "all that is configured can be read" if not bad else f"{bad} of {len(named)} need attention"
    return to_string([*lines, Text(), Text(verdict, style=HEAD)], style)


def _doctor_lines(row: Row, source: str, status: str, style: Style) -> Lines:
    indent = cell_len(source) + cell_len(status) + 4
    detail = clean(fields.text(row, "detail"), 600)
    wrapped = wrap(detail, style.width - indent) or [""]
    look = RED if status.strip() in _BAD else ""
    lines = [Text.assemble(source, "  ", (status, look or HEAD), "  ", wrapped[0])]
    fix = fields.text(row, "fix")
    rest = [*wrapped[1:], *(wrap("fix: " + clean(fix, 600), style.width - indent) if fix else [])]
    return [*lines, *(Text(" " * indent + text) for text in rest)]
