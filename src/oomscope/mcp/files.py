"""Saved evidence below one folder; nothing outside of it is ever opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from oomscope import pipeline
from oomscope.errors import UnreadableError, UsageError
from oomscope.evidence import is_bundle
from oomscope.facts import Target

if TYPE_CHECKING:
    from oomscope.report import Report

MAX_ENTRIES = 2000  # of one folder
_REPORTS = (".json", ".html")


class Root:
    """The folder that ``--root`` names. Paths are relative to it; links are resolved before they are judged."""

    def __init__(self, folder: Path) -> None:
        self.path = folder.resolve()
        if not self.path.is_dir():
            raise UsageError(
                f"--root {folder} is not a folder", fix="oomscope mcp --root FOLDER", slug="missing-path"
            )

    def inside(self, text: str) -> Path:
        """The real path of ``text``. Raises ``UsageError``; whether something exists outside is not told."""
        try:
            path = (self.path / text).resolve()
            found = path.exists()
        except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links, a null byte
            raise _missing(text) from error
        if PurePosixPath(text).is_absolute() or not path.is_relative_to(self.path):
            raise UsageError(
                f"{text} is outside of the folder this server may read",
                fix="a path relative to the root, as list_kills names them",
                slug="missing-path",
            )
        if not found:
            raise _missing(text)
        return path

    def entries(self, folder: str) -> list[str]:
        """What may be a bundle, a report or a folder of evidence in ``folder``, last changed first."""
        base = self.inside(folder)
        if not base.is_dir():
            raise UsageError(
                f"{folder} is not a folder", fix="investigate reads a single file", slug="missing-path"
            )
        try:
            with os.scandir(base) as entries:
                found = [_dated(entry) for entry in islice(filter(_may_hold_a_kill, entries), MAX_ENTRIES)]
        except OSError as error:
            raise UsageError(
                f"cannot read {folder}: {error.strerror or error}", slug="missing-path"
            ) from error
        return [(Path(folder) / name).as_posix() for _, name in sorted(found)]

    def hide(self, text: str) -> str:
        """The text without the folder's own place on this machine."""
        return text.replace(f"{self.path}{os.sep}", "").replace(str(self.path), ".")

    def report(self, paths: Sequence[str], target: Target) -> Report:
        """The report of saved evidence, bundles or one saved report. Raises ``UserError``."""
        real = [self.inside(path) for path in paths]
        if len(real) == 1 and target == Target() and (saved := _saved(real[0])):
            return saved
        return pipeline.investigate_files(real, target=target)


def _may_hold_a_kill(entry: os.DirEntry[str]) -> bool:
    """A folder, a report, or a link to who knows what (judged when it is opened); hidden names are passed over."""
    if entry.name.startswith("."):
        return False
    return entry.is_symlink() or entry.is_dir() or entry.name.endswith(_REPORTS)


def _dated(entry: os.DirEntry[str]) -> tuple[float, str]:
    return -entry.stat(follow_symlinks=False).st_mtime, entry.name


def _saved(path: Path) -> Report | None:
    """The report of a bundle or a report file; None for other evidence."""
    if is_bundle(path):
        return pipeline.load_report(path)
    if not path.is_file() or path.suffix not in _REPORTS or path.stat().st_size > pipeline.MAX_REPORT_BYTES:
        return None
    try:
        return pipeline.load_report(path)
    except UnreadableError:  # JSON of another kind, such as saved pods
        return None


def _missing(text: str) -> UsageError:
    return UsageError(f"cannot find {text}", fix="list_kills names what is there", slug="missing-path")
