"""The server lines that are known, as a table: how a line begins, what it means, which parts of it are fields.

Patterns are anchored at the start of the text (own ``[pid] `` and logger prefix stripped) and looked up by its first
three characters, so that a line which is none of them costs one dictionary look-up.
"""
# ruff: noqa: E501 - one line a rule, so that the table reads as a table

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from oomscope.logs.interface import EventKind


@dataclass(frozen=True, slots=True)
class Rule:
    """One known line. Named groups of ``pattern`` become fields, ``fields`` are added to them."""

    head: str
    pattern: re.Pattern[str]
    kind: EventKind
    fields: dict[str, Any]
    sidekiq_only: bool = False


def _rule(head: str, pattern: str, kind: EventKind, *, sidekiq_only: bool = False, **fields: Any) -> Rule:
    return Rule(head, re.compile(pattern), kind, fields, sidekiq_only)


_N = r"\d{1,10}"
_PUMA = (
    _rule("Pum", r"Puma starting in single mode", "boot", role="single", server="puma"),
    _rule("Pum", r"Puma starting in cluster mode", "boot", role="master", server="puma"),
    _rule("=> ", r"=> Booting (?P<server>[Pp]uma|[Uu]nicorn|WEBrick|[Tt]hin|[Ff]alcon)", "config"),
    _rule("=> ", r"=> Rails (?P<rails>\S{1,40}) application starting", "config"),
    _rule("* V", r"\* Version (?P<version>\S{1,40}) \((?P<ruby>ruby [^)]{1,100})\)", "config", server="puma"),
    _rule("* P", r"\* Puma version: (?P<version>\S{1,40})(?: \((?P<ruby>ruby [^)]{1,100})\))?", "config", server="puma"),
    _rule("* R", r"\* Ruby version: (?P<ruby>.{1,150})", "config"),
    _rule("* M", rf"\* Min threads: (?P<threads_min>{_N}), max threads: (?P<threads_max>{_N})", "config"),
    _rule("*  ", rf"\* {{2,12}}Min threads: (?P<threads_min>{_N})", "config"),
    _rule("*  ", rf"\* {{2,12}}Max threads: (?P<threads_max>{_N})", "config"),
    _rule("*  ", r"\* {2,12}Environment: (?P<environment>\S{1,60})", "config"),
    _rule("* E", r"\* Environment: (?P<environment>\S{1,60})", "config"),
    _rule("*  ", rf"\* {{2,16}}Master PID: (?P<pid>{_N})", "config", role="master"),
    _rule("*  ", rf"\* {{2,16}}PID: (?P<pid>{_N})", "config", role="single"),
    _rule("*  ", rf"\* {{2,16}}Workers: (?P<workers>{_N})", "config", role="master"),
    _rule("* P", rf"\* Process workers: (?P<workers>{_N})", "config", role="master"),
    _rule("* P", r"\* (?P<note>Preloading application)", "config"),
    _rule("* P", r"\* (?P<note>Phased restart available)", "config"),
    _rule("* L", r"\* Listening on (?P<listen>\S{1,200})", "ready"),
    _rule("Use", r"Use Ctrl-C to stop", "ready"),
    _rule("- W", rf"- Worker (?P<index>{_N}) \((?:pid|PID): (?P<pid>{_N})\) booted(?: in [\d.]{{1,12}}s)?, phase: (?P<phase>{_N})", "worker_boot", role="worker"),
    _rule("- W", rf"- Worker (?P<index>{_N}) \(PID: (?P<pid>{_N})\) terminating", "worker_end", end="culled"),
    _rule("- S", rf"- Stopping (?P<pid>{_N}) for phased upgrade", "worker_end", end="replaced"),
    _rule("- T", rf"- TERM sent to (?P<pid>{_N})", "worker_end", end="replaced"),
    _rule("- S", rf"- Starting phased worker restart, phase: (?P<phase>{_N})", "config", note="phased restart"),
    _rule("* R", r"\* Restarting\.\.\.", "stop", note="restart"),
    _rule("! T", rf"! Terminating timed out worker(?: \((?:Worker (?P<index>{_N}) failed to (?:check in|boot) within|worker failed to check in within)[^)]{{0,60}}\))?: (?P<pid>{_N})", "worker_timeout", end="timeout_killed"),
    _rule("! r", rf"! reaped unknown child process pid=(?P<pid>{_N}) status=pid {_N} SIGKILL", "reaped", end="reaped_sigkill", signal=9, role="other"),
    _rule("! r", rf"! reaped unknown child process pid=(?P<pid>{_N})", "reaped", end="unknown", role="other"),
    _rule("! D", r"! (?P<note>Detected parent died, dying)", "worker_end", end="unknown"),
    _rule("Ear", r"(?P<note>Early termination of worker)", "worker_end", end="unknown"),
    _rule("! U", r"! (?P<message>Unable to (?:load|start) .{0,400})", "fatal"),
    _rule("Mas", r"(?P<note>Master seems to have exited, exiting)", "worker_end", end="unknown"),
    _rule("- G", r"- (?P<note>Gracefully (?:stopping|shutting down workers)|Goodbye!)", "stop"),
    _rule("===", r"=== puma (?P<note>shutdown): (?P<stopped>[^=]{1,60}) ===", "stop"),
    _rule("Det", r"(?P<note>Detected force shutdown of a thread)", "stop"),
    _rule("Exi", r"(?P<note>Exiting)$", "stop"),
    _rule("Pum", rf"PumaWorkerKiller: (?P<note>.{{0,300}}Sending TERM to pid (?P<pid>{_N})[^\n]{{0,100}})", "worker_end", end="culled"),
    _rule("Pum", r"PumaWorkerKiller: (?P<note>(?:Rolling Restart|Consuming)[^\n]{0,300})", "config"),
)  # fmt: skip

_UNICORN = (
    _rule("mas", r"master process ready", "ready", role="master", server="unicorn"),
    _rule("wor", rf"worker=(?P<index>{_N}) ready", "ready", role="worker", server="unicorn"),
    _rule("wor", rf"worker=(?P<index>{_N}) spawned pid=(?P<pid>{_N})", "worker_boot", role="worker", server="unicorn"),
    _rule("wor", rf"worker=(?P<index>{_N}) PID:(?P<pid>{_N}) timeout \((?P<note>[^)]{{1,60}})\), killing", "worker_timeout", end="timeout_killed"),
    _rule("rea", rf"reaped #<Process::Status: pid (?P<pid>{_N}) SIGKILL \(signal 9\)> worker=(?P<index>{_N})", "reaped", end="reaped_sigkill", signal=9, role="worker"),
    _rule("rea", rf"reaped #<Process::Status: pid (?P<pid>{_N}) (?P<note>[^>]{{1,80}})> worker=(?P<index>{_N})", "worker_end", end="unknown", role="worker"),
)  # fmt: skip

# Only with Sidekiq's own prefix: bare, these words mean nothing.
_SIDEKIQ_LINES: tuple[tuple[str, str, EventKind, dict[str, str]], ...] = (
    ("Run", r"Running in (?P<ruby>(?:j?ruby|truffleruby) .{1,150})", "boot", {"server": "sidekiq"}),
    ("Boo", r"Booting Sidekiq (?P<version>\S{1,40})", "config", {"server": "sidekiq"}),
    ("Sid", rf'Sidekiq (?P<version>\S{{1,40}}) connecting to Redis with options \{{:?size(?:=>|: )(?P<threads_max>{_N}), :?pool_name(?:=>|: )"default"', "config", {"server": "sidekiq"}),
    ("Sid", r"Sidekiq (?P<version>\S{1,40}) connecting to Redis", "config", {"server": "sidekiq"}),
    ("Sta", r"Starting processing, hit Ctrl-C to stop", "ready", {}),
    ("Shu", r"(?P<note>Shutting down)$", "stop", {}),
    ("Ter", rf"(?P<note>Terminating (?P<busy>{_N}) busy)", "stop", {}),
    ("Ter", r"(?P<note>Terminating quiet)", "stop", {}),
    ("Pau", r"(?P<note>Pausing (?:up to .{1,40} )?to allow)", "stop", {}),
    ("Pus", rf"(?P<note>Pushed {_N} jobs back to Redis)", "stop", {}),
    ("Bye", r"(?P<note>Bye!)", "stop", {}),
)  # fmt: skip
_SIDEKIQ = tuple(
    _rule(head, pattern, kind, sidekiq_only=True, role="sidekiq", **fields)
    for head, pattern, kind, fields in _SIDEKIQ_LINES
)

_QUEUES = (
    _rule("Sol", rf"SolidQueue-\S{{1,30}} Replaced terminated Worker \([\d.]{{1,12}}ms\)  ?pid: (?P<pid>{_N}),.{{0,200}}\btermsig: 9\b", "reaped", end="reaped_sigkill", signal=9, role="other", server="solid_queue"),
    _rule("Sol", rf"SolidQueue-\S{{1,30}} Replaced terminated \w{{1,20}} \([\d.]{{1,12}}ms\)  ?pid: (?P<pid>{_N})", "worker_end", end="replaced", role="other", server="solid_queue"),
    _rule("Sol", rf"SolidQueue-(?P<version>\S{{1,30}}) Started (?:Supervisor|Worker|Dispatcher|Scheduler)\S{{0,20}} \([\d.]{{1,12}}ms\)  ?pid: (?P<pid>{_N})", "boot", role="other", server="solid_queue"),
    _rule("Sol", r"SolidQueue-\S{1,30} (?P<note>(?:Supervisor (?:terminated gracefully|wasn't terminated gracefully)|Shut down|Shutdown)[^\n]{0,200})", "stop", role="other", server="solid_queue"),
    _rule("Goo", rf"GoodJob (?P<version>\S{{1,30}}) started scheduler with .{{0,200}}?max_threads=(?P<threads_max>{_N})", "boot", role="other", server="good_job"),
    _rule("Goo", r"GoodJob (?P<note>shutting down scheduler|scheduler has been killed)", "stop", role="other", server="good_job"),
    _rule("[Wo", rf"\[Worker\((?:[^)]{{0,150}} )?pid:(?P<pid>{_N})\)\] Starting job worker", "boot", role="other", server="delayed_job"),
    _rule("[Wo", rf"\[Worker\((?:[^)]{{0,150}} )?pid:(?P<pid>{_N})\)\] (?P<note>Exiting)", "stop", role="other", server="delayed_job"),
    _rule("***", rf"\*\*\* Starting worker \S{{1,100}}?:(?P<pid>{_N}):", "boot", role="other", server="resque"),
    _rule("***", r"\*\*\* (?P<note>Exiting|Shutting down)", "stop", role="other", server="resque"),
)  # fmt: skip


def _by_head(rules: Iterable[Rule]) -> dict[str, tuple[Rule, ...]]:
    found: dict[str, tuple[Rule, ...]] = {}
    for rule in rules:
        found[rule.head] = (*found.get(rule.head, ()), rule)
    return found


RULES = _by_head((*_PUMA, *_UNICORN, *_SIDEKIQ, *_QUEUES))

# ``app.rb:3:in 'load': message (Class)``, the way Ruby prints an exception nobody caught
_AT_END = {
    name: re.compile(rf"(?:\S{{1,300}}:\d{{1,7}}:in .{{1,2000}}|(?:failed to|Cannot) allocate memory.{{0,300}})\({name}\)\s*$", re.MULTILINE)
    for name in ("NoMemoryError", "Errno::ENOMEM", "LoadError")
}  # fmt: skip

# Fatal lines that may begin with a file name: a substring that must be there, the pattern, the fields. Only the shapes
# in which Ruby itself prints them count, since the same words may stand in a parameter or a user's text.
ANYWHERE: tuple[tuple[str, re.Pattern[str], dict[str, Any]], ...] = (
    ("failed to allocate memory", re.compile(r"\[FATAL\] failed to allocate memory"), {"exception": "NoMemoryError"}),
    ("NoMemoryError", re.compile(r"NoMemoryError[ :(]"), {"exception": "NoMemoryError"}),
    ("(NoMemoryError)", _AT_END["NoMemoryError"], {"exception": "NoMemoryError"}),
    ("Errno::ENOMEM", re.compile(r"Errno::ENOMEM[ :(]"), {"exception": "Errno::ENOMEM"}),
    ("(Errno::ENOMEM)", _AT_END["Errno::ENOMEM"], {"exception": "Errno::ENOMEM"}),
    ("[BUG] ", re.compile(r"(?:\S{1,300}:\d{1,7}: )?\[BUG\] "), {"exception": "ruby [BUG]"}),
    ("bundler: failed to load command", re.compile(r"bundler: failed to load command"), {"exception": "bundler"}),
    ("(LoadError)", _AT_END["LoadError"], {"exception": "LoadError"}),
)  # fmt: skip
