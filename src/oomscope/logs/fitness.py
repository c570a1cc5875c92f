"""What kind of log a stream is, and whether requests in flight can be told from it; if not, why and what would help."""

from __future__ import annotations

from typing import NamedTuple

from oomscope.facts import CannotShow
from oomscope.logs.scanner import LineScanner

_MOST_LATE = 0.3
_LEAST_TIMED = 50
_LEAST_OPENED = 50
_LEAST_CLOSED = 0.98
_DEFAULT_CAPACITY = 32


class Fitness(NamedTuple):
    """``cannot_show`` is None when requests in flight can be told."""

    shape: str
    cannot_show: CannotShow | None = None
    why: str | None = None
    fix: str | None = None


def judge(scanner: LineScanner) -> Fitness:
    """The kind of a finished stream and its fitness."""
    tracker = scanner.tracker
    shape = shape_name(scanner)
    if tracker.starts + tracker.opened == 0:
        return _without_starts(scanner, shape)
    if scanner.kinds.get("started"):
        return Fitness(
            shape,
            "unsynced",
            "this logger writes from a background queue, which is lost at a kill",
            "SemanticLogger.sync! (or config.semantic_logger.sync!) in the initializer",
        )
    return _untagged(scanner, shape) or _unsynced(scanner, shape) or _unfit(scanner, shape) or Fitness(shape)


def shape_name(scanner: LineScanner) -> str:
    """One word for the kind of log."""
    tracker, kinds = scanner.tracker, scanner.kinds
    if kinds.get("started"):
        return "semantic"
    if tracker.starts + tracker.opened:
        if kinds.get("processing") and scanner.shape is None:
            return "events"
        return "rails_tagged" if scanner.shape is not None and scanner.shape.tagged else "rails_untagged"
    if scanner.tally.semantic:
        return "semantic"
    if tracker.whole:
        return "lograge"
    if scanner.jobs.rows.count:
        return "jobs"
    return "rails_tagged" if scanner.tally.exceptions else "server" if scanner.lives.booted else "unknown"


def _without_starts(scanner: LineScanner, shape: str) -> Fitness:
    if shape == "semantic":
        return Fitness(
            shape,
            "lograge",
            "only Completed lines are logged: what was running at the kill is not in this log",
            "config.rails_semantic_logger.started = true",
        )
    if scanner.tracker.whole:
        return Fitness(
            shape,
            "lograge",
            "each request is one line, written when it ends: what was running at the kill is not in this log",
            "config.lograge.keep_original_rails_log = true",
        )
    if scanner.tally.exceptions:
        return Fitness(
            shape,
            "info_less",
            "only errors are logged: Started and Completed lines are at level info",
            "config.log_level = :info",
        )
    if scanner.jobs.rows.count:
        return Fitness(shape)
    return Fitness(
        shape,
        "no_rails_lines",
        "there is no request line in this log",
        "config.logger = ActiveSupport::TaggedLogging.logger($stdout) with config.log_tags = [:request_id]",
    )


def _untagged(scanner: LineScanner, shape: str) -> Fitness | None:
    if shape != "rails_untagged" or scanner.lives.threads == 1 or not scanner.tracker.ambiguous:
        return None
    return Fitness(
        shape,
        "untagged_threads",
        f"lines of several threads carry no request id; {scanner.tracker.ambiguous} could belong to more than one",
        "config.log_tags = [:request_id]",
    )


def _unsynced(scanner: LineScanner, shape: str) -> Fitness | None:
    tally = scanner.tally
    if tally.timed < _LEAST_TIMED or tally.late <= _MOST_LATE * tally.timed:
        return None
    return Fitness(
        shape,
        "unsynced",
        f"{tally.late} of {tally.timed} lines reached the container runtime more than 1.5 s late: "
        "the output is buffered, and what was in the buffer at the kill is lost",
        "$stdout.sync = true in config/boot.rb",
    )


def _unfit(scanner: LineScanner, shape: str) -> Fitness | None:
    tracker, lives = scanner.tracker, scanner.lives
    capacity = lives.threads * max(lives.workers or 1, 1) if lives.threads else _DEFAULT_CAPACITY
    unclosed = tracker.opened - tracker.closed - capacity * (1 + tracker.replacements)
    if tracker.opened < _LEAST_OPENED or unclosed <= (1 - _LEAST_CLOSED) * tracker.opened:
        return None
    share = tracker.closed / tracker.opened
    return Fitness(
        shape,
        "unfit",
        f"only {share:.1%} of the requests that reached a controller have a Completed line: lines are missing",
        "check sampling, rate limits and the log level in the logging pipeline",
    )
