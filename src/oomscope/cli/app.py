"""The command tree. A command is one module with a function ``command``; adding one is one line in ``COMMANDS``."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from oomscope.errors import EXIT_USAGE, UsageError

# name, module, panel in --help, one line for the list of commands (whole at 80 columns)
COMMANDS: tuple[tuple[str, str, str, str], ...] = (
    (
        "investigate",
        "oomscope.cli.investigate",
        "Investigate",
        "Say what killed a pod and which request or job it was.",
    ),
    (
        "explain",
        "oomscope.cli.explain",
        "Investigate",
        "Evidence for and against one hypothesis, with raw lines.",
    ),
    ("list", "oomscope.cli.list_kills", "Investigate", "Kills in a folder of bundles, one line each."),
    ("demo", "oomscope.cli.demo", "Investigate", "A real incident that ships with the package; no cluster."),
    ("kills", "oomscope.cli.kills", "Investigate", "OOM kills that the live sources know of."),
    ("collect", "oomscope.cli.collect", "Save and replay", "Save all evidence of an incident as one folder."),
    (
        "report",
        "oomscope.cli.report",
        "Save and replay",
        "A report from a bundle, or an earlier report in another form.",
    ),
    ("schema", "oomscope.cli.schema", "Save and replay", "The JSON Schema of the report."),
    ("logs", "oomscope.cli.logs", "Step by step", "The log of a pod from CloudWatch Logs."),
    ("requests", "oomscope.cli.requests", "Step by step", "Requests that started and never completed."),
    ("alb", "oomscope.cli.alb", "Step by step", "Those requests in the load balancer's log."),
    ("doctor", "oomscope.cli.doctor", "Set up", "Which sources are reachable, permitted, fresh, complete."),
    ("config", "oomscope.cli.config", "Set up", "Each setting with its value and where it comes from."),
    ("serve", "oomscope.cli.serve", "Serve", "Take alerts, investigate, post reports."),
    ("mcp", "oomscope.cli.mcp", "Serve", "Five read-only tools for an agent (MCP on stdio)."),
)

HELP = """Tells you which request killed your Rails pod.

Without a command, `oomscope POD` means `oomscope investigate POD`. It only reads; it changes nothing.

Examples:

  oomscope demo

  oomscope web-7c9d5b7c6f-x2x9k -n shop

  oomscope investigate --from ./saved/ -o report.html

  oomscope explain H1 report.html
"""


class DefaultGroup(TyperGroup):
    """A group whose missing command means ``investigate``, as in ``oomscope web-7c9d5b7c6f-x2x9k``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``investigate`` in front of anything that is neither a command nor an option of the group."""
        if args and args[0] not in self.commands and args[0] not in _GROUP_OPTIONS:
            args = ["investigate", *args]
        return super().parse_args(ctx, expand_from(args))


WRONG_USAGE = cast(
    "type[Exception]", typer.BadParameter.__mro__[1]
)  # of typer's parser, under whatever name this version has it
_GROUP_OPTIONS = ("--help", "-h", "--install-completion", "--show-completion", "--version", "-V")


def expand_from(args: list[str]) -> list[str]:
    """``--from a b c`` as ``--from a --from b --from c``: shells expand globs into several words."""
    out: list[str] = []
    collecting = False
    for arg in args:
        if arg == "--from":
            collecting = True
            continue
        if collecting and not (arg.startswith("-") and arg != "-"):
            out += ["--from", arg]
            continue
        if collecting and (not out or out[-2:-1] != ["--from"]):
            out.append("--from")  # no value: let the parser complain in its own words
        collecting = False
        out.append(arg)
    if collecting and out[-2:-1] != ["--from"]:
        out.append("--from")
    return out


def build() -> typer.Typer:
    """The Typer application with every command of ``COMMANDS``."""
    app = typer.Typer(
        cls=DefaultGroup,
        help=HELP,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    for name, module, panel, short in COMMANDS:
        command = importlib.import_module(module).command
        app.command(name, short_help=short, rich_help_panel=panel, no_args_is_help=False)(command)
    return app


def _tell_version(wanted: bool) -> None:
    if wanted:
        from oomscope import __version__

        print(f"oomscope {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_tell_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


_root.__doc__ = HELP


def invoke(args: list[str]) -> int:
    """Run the tree on ``args``; the exit code of the command, 2 for wrong usage, 130 when interrupted."""
    try:
        code = typer.main.get_command(build()).main(args=args, prog_name="oomscope", standalone_mode=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except WRONG_USAGE as error:
        if not args:
            print(error.format_message(), file=sys.stderr)  # type: ignore[attr-defined]  # the help
            return EXIT_USAGE
        raise _as_ours(error, args) from error
    return code if isinstance(code, int) else 0


def _as_ours(error: Any, args: list[str]) -> UsageError:
    """What the parser of the flags has to say, in the form of every other error."""
    named = args[0] if args[0] in [name for name, *_ in COMMANDS] else "investigate"
    said = error.format_message().strip().rstrip(".").replace("\n", " ")
    return UsageError(
        said[:1].lower() + said[1:], fix=f"oomscope {named} --help  shows its flags and examples"
    )
