"""The findings of the pictures as sentences: what a chart shows stands above it."""

from __future__ import annotations

from oomscope.render import fields, phrases, view
from oomscope.render.escape import clean, clip
from oomscope.report import Report
from oomscope.units import format_bytes, format_seconds

FULL = 0.85  # of the limit, early on: there never was room
CLIMB = 0.1  # of the limit: less is no climb
NAME = 60
BLIND = 2.0  # seconds without a sample that are worth a word


def memory_title(report: Report) -> str:
    """The finding of the memory chart."""
    given = fields.text(report.memory, "title")
    if given:
        return clean(given, 160)
    limit = view.limit_bytes(report)
    if report.kill.verdict in ("not_oom", "undetermined", "oom_node"):
        return _level(report, limit)
    return _way_to(report, limit) or _level(report, limit)


def _way_to(report: Report, limit: float | None) -> str:
    """How memory came to the limit: a late rise, full from the start, or a climb over the whole life."""
    rise, base = fields.number(report.memory, "rise_bytes"), fields.number(report.memory, "base_bytes")
    end = f" limit of {format_bytes(limit)}" if limit else " kill"
    least = CLIMB * limit if limit else 1.0
    if rise and rise >= least:
        return f"Memory rose {format_bytes(rise)}{_since(report, 'rise_from')}, then hit the{end}"
    if limit and base and base >= FULL * limit:
        return (
            f"Memory stood at {base / limit:.0%} of the {format_bytes(limit)} limit from the start".replace(
                "%", " %"
            )
        )
    last = fields.number(report.memory, "last_bytes")
    if base and last and last - base >= least:
        return f"Memory climbed {format_bytes(last - base)}{_life(report)}, up to the{end}"
    return ""


def _level(report: Report, limit: float | None) -> str:
    """Where memory stood at the last sample."""
    dead = view.dead_series(report)
    last = fields.points(dead, "points")[-1][1] if dead else None
    if last is None:
        return "No memory samples of the container"
    killed = report.kill.verdict in ("oom_limit", "oom_child")
    blind = fields.number(report.memory, "blind_s") or 0.0
    if limit and killed and blind > BLIND and last < limit:
        ago = format_seconds(blind)
        return f"Memory was last seen at {format_bytes(last)}, {ago} before it hit the limit of {format_bytes(limit)}"
    end = "at the end" if report.kill.verdict == "not_oom" else "at the last sample"
    if not limit:
        return f"Memory was {format_bytes(last)} {end}; its limit is unknown"
    return (
        f"Memory was {format_bytes(last)} {end}, {_share(last, limit)} of the limit of {format_bytes(limit)}"
    )


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %"


def _life(report: Report) -> str:
    """`` in 6 h``: from the first sample of the dead container to its kill."""
    dead, killed = view.dead_series(report), view.memory_kill(report)
    first = fields.points(dead, "points")[0][0] if dead else None
    return (
        f" in {format_seconds((killed - first).total_seconds())}"
        if first and killed and first < killed
        else ""
    )


def _since(report: Report, key: str) -> str:
    began, killed = fields.when(report.memory, key), view.memory_kill(report)
    if not began or not killed or began >= killed:
        return ""
    return f" in the last {format_seconds((killed - began).total_seconds())}"


def requests_title(report: Report) -> str:
    """The finding of the request chart: how many died, and which of them the suspect is."""
    given = fields.text(report.chart, "title")
    if given:
        return clean(given, 160)
    opened = [row for row in fields.rows(report.chart, "bars") if row.get("state") == "in_flight"]
    ages = [age for row in opened if (age := fields.number(row, "age_s")) is not None]
    count = view.in_flight_count(report)
    if count is None:
        return f"What was open at the {_end(report)} cannot be told; requests that completed"
    if not count and not opened:
        return f"No request was open at the {_end(report)}"
    if not count:  # jobs only
        return f"No request was open at the {_end(report)}; {_longest(report, opened, ages)}"
    said = f"{view.plural(count, 'request')} {_died(report)}"
    suspects = [row for row in opened if row.get("suspect") is True]
    if suspects:
        return said + "; " + _of_suspect(report, suspects, count)
    if not ages:
        return said
    return (
        said + f"; {'it' if count == 1 else 'the longest'} had been running for {format_seconds(max(ages))}"
    )


def _longest(report: Report, opened: list[fields.Row], ages: list[float]) -> str:
    who = endpoint_label(report, fields.text(opened[0], "endpoint"))
    return f"{who} had been running" + (f" for {format_seconds(max(ages))}" if ages else "")


def _of_suspect(report: Report, suspects: list[fields.Row], count: int) -> str:
    longest = max((fields.number(row, "age_s") or 0.0 for row in suspects), default=0.0)
    who, ran = endpoint_label(report, fields.text(suspects[0], "endpoint")), format_seconds(longest)
    if any(job.job_class == fields.text(suspects[0], "endpoint") for job in report.jobs_in_flight):
        return f"{view.plural(len(suspects), 'run')} of job {who} too, the longest for {ran}"
    if len(suspects) == 1:
        return f"{who} had been running for {ran}"
    part = "all" if len(suspects) == count else f"{len(suspects):,}"
    return f"{part} were {who}, the longest for {ran}"


def _died(report: Report) -> str:
    if report.kill.verdict == "oom_child":
        return "died with the worker"
    return "died with the container" if report.kill.verdict.startswith("oom") else "open at the end"


def _end(report: Report) -> str:
    return "kill" if report.kill.verdict.startswith("oom") else "end"


def endpoint_label(report: Report, endpoint: str) -> str:
    """An endpoint under the name people know: method and path, where the endpoint table has them."""
    for row in report.endpoints:
        if fields.text(row, "endpoint") == endpoint:
            return clip(clean(phrases.endpoint_name(row), 200), NAME, middle=True)
    return clip(clean(endpoint or "?", 200), NAME, middle=True)


def pods_title(last: list[tuple[bool, float]]) -> str:
    """Where the other pods stood (dead or not, last size) when this one died."""
    rest = sorted(size for dead, size in last if not dead)
    mine = next(size for dead, size in last if dead)
    if not rest:
        return "Earlier and other lives of the container"
    others = (
        format_bytes(rest[0]) if len(rest) == 1 else f"{format_bytes(rest[0])} to {format_bytes(rest[-1])}"
    )
    beside = view.plural(len(rest), "other")
    return f"This pod stood at {format_bytes(mine)} at its last sample, the {beside} at {others}"


def leak_title(report: Report) -> str:
    """The finding of the leak view."""
    floor = fields.mapping(report.memory, "floor")
    who = endpoint_label(report, fields.text(floor, "suspect"))
    slope = fields.number(floor, "slope_bytes")
    if not slope or slope < 0:
        return f"The floor of memory against completed runs of {who}"
    return f"The floor of memory rises about {format_bytes(slope)} with each completed run of {who}"


def processes_title(report: Report) -> str:
    """The finding of the chart by process."""
    table = fields.mapping(report.memory, "processes")
    rows, total = fields.rows(table, "rows"), fields.count(table, "total") or 0
    killed = [row for row in rows if row.get("killed") is True]
    if len(killed) != 1:
        return (
            f"What the {view.plural(max(total, len(rows)), 'process').replace('processs', 'processes')} held"
        )
    held, whole = fields.number(killed[0], "rss_bytes"), fields.number(table, "total_bytes")
    of = f" of the {format_bytes(whole)} in {total} processes" if whole else ""
    return f"The killed process, {clip(view.name(fields.text(killed[0], 'name')), 40)}, held {format_bytes(held)}{of}"
