"""Target to bundle to report. Knows both sides, does no reading or judging of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oomscope.errors import NoKillFound, UnreadableError, UsageError
from oomscope.facts import Target

if TYPE_CHECKING:
    from oomscope.evidence import Bundle
    from oomscope.report import Report

Tell = Callable[[str], None]
MAX_REPORT_BYTES = 64 * 1024 * 1024


def quiet(_text: str) -> None:
    """Progress nobody wants to see."""


def gather_files(
    paths: Sequence[Path],
    *,
    target: Target | None = None,
    tz: tzinfo | None = None,
    show_params: bool = False,
    tell: Tell = quiet,
) -> Bundle:
    """Everything the given files and folders hold, as one redacted bundle."""
    from oomscope.sources.files import collect_files

    if not paths:
        raise UsageError(
            "nothing to investigate",
            likely="no --from PATH was given",
            fix="oomscope investigate --from PATH..., or try: oomscope demo",
            slug="target",
        )
    return collect_files(paths, target=target or Target(), tz=tz, show_params=show_params, progress=tell)


def investigate_files(
    paths: Sequence[Path],
    *,
    target: Target | None = None,
    tz: tzinfo | None = None,
    show_params: bool = False,
    tell: Tell = quiet,
) -> Report:
    """Gather from files and analyse. Several saved bundles are analysed together, as kills of one workload."""
    bundles = _bundles_in(paths)
    if len(bundles) > 1:
        return _analyse_together(bundles, show_params=show_params, tell=tell)
    bundle = gather_files(paths, target=target, tz=tz, show_params=show_params, tell=tell)
    tell("analysing")
    return analyse(bundle, show_params=show_params)


def _bundles_in(paths: Sequence[Path]) -> list[Path]:
    """The saved bundles given, or directly below the folders given; none as soon as one path is anything else."""
    from oomscope.evidence import is_bundle

    found: list[Path] = []
    for path in paths:
        below = [path] if is_bundle(path) else sorted(p for p in path.glob("*") if is_bundle(p))
        if not below:
            return []
        found += below
    return list(dict.fromkeys(found))


def _analyse_together(folders: Sequence[Path], *, show_params: bool, tell: Tell) -> Report:
    from oomscope.analyze import analyze_many
    from oomscope.analyze.model import AnalyzeOptions
    from oomscope.evidence import load

    bundles = []
    for folder in folders:
        tell(f"reading {folder.name}")
        bundles.append(load(folder))
    tell("analysing")
    return analyze_many(bundles, AnalyzeOptions(show_params=show_params))


def analyse(bundle: Bundle, *, show_params: bool = False) -> Report:
    """The report of one bundle."""
    from oomscope.analyze import analyze
    from oomscope.analyze.model import AnalyzeOptions

    return analyze(bundle, AnalyzeOptions(show_params=show_params))


def save_bundle(bundle: Bundle, folder: Path, *, force: bool = False) -> None:
    """Write the bundle as a folder."""
    from oomscope.evidence import save

    save(bundle, folder, force=force)


def describe(bundle: Bundle) -> str:
    """What is in a bundle, in one line."""
    parts = [
        f"{len(table):,} {name}"
        for name, table in (
            ("requests", bundle.requests),
            ("jobs", bundle.jobs),
            ("ALB rows", bundle.accesses),
            ("memory samples", bundle.memory),
        )
        if len(table)
    ]
    return ", ".join([*parts, f"{len(bundle.gaps)} gaps"])


def load_report(path: Path, *, show_params: bool = False) -> Report:
    """The report of a bundle folder, a JSON report or an HTML report (recognised by content)."""
    if path.is_dir():
        from oomscope.evidence import load

        return analyse(load(path), show_params=show_params)
    text = _read_text(path)
    from pydantic import ValidationError

    from oomscope.report import from_json

    try:
        if text.lstrip().startswith("<"):
            from oomscope.render.html import extract_report

            return extract_report(text)
        return from_json(text)
    except (ValidationError, ValueError) as error:
        raise UnreadableError(
            f"{path} is not an oomscope report",
            tried="reading it as a JSON or HTML report, format 1",
            likely="another kind of file, or a report of a newer version",
            fix="oomscope investigate --from PATH for raw evidence",
            slug="not-a-report",
        ) from error


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_REPORT_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror or error}",
            fix="give a bundle folder, a JSON report or an HTML report",
            slug="missing-path",
        ) from error
    if len(data) > MAX_REPORT_BYTES:
        raise UsageError(f"{path} is larger than {MAX_REPORT_BYTES >> 20} MiB", slug="not-a-report")
    return data.decode("utf-8", "replace")


def demo_report() -> Report:
    """The report of the incident that ships with the package."""
    from importlib.resources import as_file, files

    with as_file(files("oomscope").joinpath("data/demo")) as folder:
        return investigate_files([folder])


def list_folder(folder: Path, *, tell: Tell = quiet) -> list[dict[str, Any]]:
    """One row a kill for every bundle, report or evidence folder directly below ``folder``, newest kill first."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", fix="oomscope list FOLDER", slug="missing-path")
    rows = [row for path in sorted(folder.iterdir()) if (row := _row(path, tell)) is not None]
    if not rows and not any(folder.iterdir()):
        raise NoKillFound(f"{folder} is empty", fix="oomscope collect ... -o FOLDER/NAME", slug="no-kill")
    return sorted(rows, key=lambda row: row["killed_at"] or "", reverse=True)


def _row(path: Path, tell: Tell) -> dict[str, Any] | None:
    tell(f"reading {path.name}")
    try:
        if (path / "manifest.json").is_file() or (path.is_file() and path.suffix in (".json", ".html")):
            report = load_report(path)
        elif path.is_dir():
            report = investigate_files([path])
        else:
            return None
    except (NoKillFound, UnreadableError) as error:
        return {"id": path.name, "killed_at": None, "problem": error.what}
    return summary_row(path.name, report)


def summary_row(name: str, report: Report) -> dict[str, Any]:
    """The line of one report in a list of kills."""
    document = json.loads(
        report.model_dump_json(by_alias=True, include={"target", "kill", "cause", "hypotheses"})
    )
    leading = next((h for h in document["hypotheses"] if h["id"] == document["cause"]["hypothesis"]), None)
    return {
        "id": name,
        "killed_at": document["kill"]["killed_at"],
        "namespace": document["target"]["namespace"],
        "workload": document["target"]["workload"],
        "pod": document["target"]["pod"],
        "container": document["target"]["container"],
        "verdict": document["kill"]["verdict"],
        "peak_bytes": _peak(report),
        "limit_bytes": document["kill"]["limit_bytes"],
        "open": report.impact.get("requests_in_flight", len(report.in_flight)),
        "strength": document["cause"]["strength"],
        "suspect": (leading or {}).get("suspect", {}).get("endpoint"),
        "pattern": (leading or {}).get("pattern"),
        "problem": None,
    }


def _peak(report: Report) -> int | None:
    """The largest memory sample of the container that died, bytes."""
    samples = [
        value
        for series in report.memory.get("series") or ()
        if series.get("dead")
        for _at, value in series.get("points") or ()
    ]
    return max(samples, default=None)
