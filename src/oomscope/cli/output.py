"""Where a report goes and how it may look there: the only place that looks at the terminal."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from oomscope.errors import UsageError

if TYPE_CHECKING:
    from oomscope.report import Report

Format = Literal["text", "markdown", "html", "json", "slack"]
_BY_SUFFIX: dict[str, Format] = {
    ".txt": "text",
    ".md": "markdown",
    ".html": "html",
    ".htm": "html",
    ".json": "json",
}


def pick_format(wanted: str | None, output: str) -> Format:
    """The format asked for, or the one the file name implies, or text."""
    if wanted is None:
        return _BY_SUFFIX.get(Path(output).suffix.lower(), "text") if output != "-" else "text"
    for known in get_args(Format):
        if wanted == known:
            return cast("Format", known)
    raise UsageError(f"unknown format {wanted!r}", fix=f"-f {'|'.join(get_args(Format))}", slug="format")


def wants_color(choice: str) -> bool:
    """Colour on a terminal only, never with NO_COLOR or TERM=dumb, unless asked for."""
    if choice not in ("auto", "always", "never"):
        raise UsageError(f"unknown --color {choice!r}", fix="--color auto|always|never")
    if choice != "auto":
        return choice == "always"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_width() -> int:
    """Columns to fill: the terminal's, or 80 when there is none."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80


def only_ascii() -> bool:
    """Whether stdout cannot take block characters, or is told not to: with ``LC_ALL=C`` Python still writes UTF-8."""
    if os.environ.get("LC_ALL") in ("C", "POSIX"):
        return True
    return "utf" not in (getattr(sys.stdout, "encoding", None) or "").lower()


def write_report(
    report: Report,
    *,
    fmt: str | None,
    output: str,
    full: bool = False,
    color: str = "auto",
    show_params: bool = False,
    quiet: bool = False,
) -> None:
    """Render once and write to the file or stdout; a terminal that is too small gets a pager for ``--full``."""
    from oomscope.render import render

    kind = pick_format(fmt, output)
    text = render(
        report,
        kind,
        width=terminal_width(),
        full=full,
        color=output == "-" and wants_color(color),
        ascii_only=output == "-" and only_ascii(),
        now=datetime.now(UTC),
        show_params=show_params,
    )
    if output == "-":
        emit(text, page=full and kind == "text")
        return
    write_file(Path(output), text)
    if not quiet:
        print(f"wrote {output}", file=sys.stderr)


def emit(text: str, *, page: bool = False) -> None:
    """Print text; through a pager when asked, on a terminal, and it does not fit."""
    if page and sys.stdout.isatty() and text.count("\n") >= shutil.get_terminal_size((80, 24)).lines:
        import pydoc

        os.environ.setdefault("LESS", "-RFX")
        pydoc.pager(text)
        return
    data = text if text.endswith("\n") else text + "\n"
    sys.stdout.buffer.write(data.encode(sys.stdout.encoding or "utf-8", "replace"))
    sys.stdout.flush()


def write_file(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}",
            tried=f"writing the report to {path}",
            fix="choose another place with -o FILE, or -o - for stdout",
            slug="cannot-write",
        ) from error
