"""The command line: ``oomscope``. One file a command; each is a thin skin over ``pipeline``."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Sequence

from oomscope.errors import EXIT_BUG, EXIT_INTERRUPTED, UserError

GRACE_S = 3.0  # for threads whose work is no longer wanted


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; always ends the process with one of the documented exit codes (docs/exit-codes.md)."""
    args = list(sys.argv[1:] if argv is None else argv)
    code = run(args)
    if _somebody_hangs():
        with contextlib.suppress(OSError, ValueError):  # the reader left
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # everything is said; a server that does not answer is not waited for
    sys.exit(code)


def _somebody_hangs() -> bool:
    """Whether a thread is still busy after a moment in which it could stop what it had started, such as a query."""
    until = time.monotonic() + GRACE_S
    others = [t for t in threading.enumerate() if t is not threading.current_thread() and not t.daemon]
    for thread in others:
        thread.join(max(0.0, until - time.monotonic()))
    return any(thread.is_alive() for thread in others)


def run(args: list[str]) -> int:
    """Run one command line and return its exit code. Errors of the user's get one message, bugs look like bugs."""
    debug = "--debug" in args
    try:
        return _dispatch(args)
    except UserError as error:
        from oomscope.cli.errors import show_user_error

        show_user_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # the reader left: no complaint at exit
        return 0
    except Exception:  # noqa: BLE001 - the last boundary: a bug must look like one, with its own exit code
        from oomscope.cli.errors import show_bug

        show_bug(debug=debug)
        return EXIT_BUG


def _dispatch(args: list[str]) -> int:
    if args in (["--version"], ["-V"]):  # answered without building the whole command tree
        from oomscope import __version__

        print(f"oomscope {__version__}")
        return 0
    from oomscope.cli.app import invoke

    return invoke(args)
