"""The parts of ``docs/commands/*.md`` that are made from the command tree, so that they never lie."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import typer

from oomscope.cli.app import COMMANDS, build

FOLDER = Path(__file__).parent.parent / "docs" / "commands"
NAMES = [name for name, *_ in COMMANDS]
_PART = re.compile(r"(<!-- help:(\w+) -->\n)(.*?)(<!-- /help -->)", re.DOTALL)


def tree() -> Any:
    """The real command tree."""
    return typer.main.get_command(build())


def examples(command: Any) -> list[str]:
    """The command lines under "Examples:" in the help of a command."""
    return re.findall(r"^\s*(oomscope .+)$", command.callback.__doc__ or "", re.MULTILINE)


def filled(page: str, command: Any) -> str:
    """The page with its made parts made anew."""
    made = {"intro": _intro(command), "options": _options(command)}
    return _PART.sub(lambda m: f"{m[1]}{made[m[2]]}{m[4]}", page)


def parts(page: str) -> list[str]:
    """Names of the made parts of a page, in order."""
    return [match[2] for match in _PART.finditer(page)]


def skeleton(name: str) -> str:
    """A new page for a command."""
    made = "\n\n".join(f"<!-- help:{part} -->\n<!-- /help -->" for part in ("intro", "options"))
    return f"# oomscope {name}\n\n{made}\n"


def _intro(command: Any) -> str:
    said = inspect.cleandoc(command.callback.__doc__ or "")
    text = re.split(r"^Examples?:$", said, maxsplit=1, flags=re.MULTILINE)[0].strip()
    return f"{text}\n\n```sh\n" + "\n".join(examples(command)) + "\n```\n"


def _options(command: Any) -> str:
    lines = ["## Arguments and options", ""]
    for param in command.params:
        if param.name == "help" or getattr(param, "hidden", False):
            continue
        lines.append(f"- `{_spelled(param)}`" + (f": {' '.join(_meaning(param))}" if _meaning(param) else ""))
    return "\n".join(lines) + "\n"


def _spelled(param: Any) -> str:
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper()).strip("[]")
    value = "" if getattr(param, "is_flag", False) else f" {param.metavar or 'VALUE'}"
    return ", ".join(sorted(param.opts, key=len)) + value


def _meaning(param: Any) -> list[str]:
    said = [param.help] if getattr(param, "help", None) else []
    if param.required:
        said.append("Required.")
    elif (
        param.show_default is not False
        and isinstance(param.default, (str, int, float, Path))
        and not isinstance(param.default, bool)
    ):
        said.append(f"Default: `{param.default}`.")
    return said
