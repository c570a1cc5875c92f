"""Errors a user can mend. Anything else that is raised is a bug and looks like one (exit 70)."""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAIL_ON = 1
EXIT_USAGE = 2
EXIT_NO_KILL = 3
EXIT_UNREADABLE = 4
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """One clear message in four parts: what, tried, likely cause, fix; ``slug`` names its page in docs/errors.md."""

    exit_code = EXIT_USAGE

    def __init__(
        self, what: str, *, tried: str = "", likely: str = "", fix: str = "", slug: str = "usage"
    ) -> None:
        super().__init__(what)
        self.what, self.tried, self.likely, self.fix, self.slug = what, tried, likely, fix, slug


class UsageError(UserError):
    """Wrong flags, wrong configuration (exit 2)."""


class NoKillFound(UserError):
    """Nothing was terminated for this target in this window (exit 3)."""

    exit_code = EXIT_NO_KILL


class UnreadableError(UserError):
    """Evidence needed for any report could not be read, or a required source failed (exit 4)."""

    exit_code = EXIT_UNREADABLE


class SourceError(Exception):
    """A source cannot give its evidence; becomes a Gap. ``reason`` is one of facts.GapReason."""

    def __init__(self, reason: str, detail: str, *, query: str | None = None, fix: str | None = None) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.query, self.fix = reason, detail, query, fix
