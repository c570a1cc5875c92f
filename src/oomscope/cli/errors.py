"""What an error looks like on stderr."""

from __future__ import annotations

import sys
import traceback

from oomscope.cli.notes import say
from oomscope.errors import UserError
from oomscope.redact import printable


def show_user_error(error: UserError) -> None:
    """Print the message in its parts: what, tried, likely, fix, more. Text from outside is made harmless first."""
    say(f"error: {error.what}", hanging="       ")
    for label, text in (("tried", error.tried), ("likely", error.likely), ("fix", error.fix)):
        if text:
            say(f"  {label:<7} {text}", hanging=" " * 10)
    print(f"  {'more':<7} docs/errors.md#{error.slug}", file=sys.stderr)


def show_bug(*, debug: bool) -> None:
    """Print that this is our fault, and the traceback (whole with ``--debug``, its last lines without)."""
    lines = traceback.format_exc().strip().splitlines()
    print("internal error: this is a bug in oomscope, not your fault.", file=sys.stderr)
    for line in lines if debug else lines[-3:]:
        print(f"  {printable(line, 500)}", file=sys.stderr)
    if not debug:
        print("  Please report it with the output of the same command plus --debug.", file=sys.stderr)
