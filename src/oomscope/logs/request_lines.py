"""The request lines of a text log: what each does to the requests of its stream."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from oomscope.logs.rails_text import (
    parse_completed,
    parse_exception,
    parse_finished,
    parse_processing,
    parse_started,
    swallowed_completions,
)
from oomscope.logs.request_rows import start_row
from oomscope.logs.rows import RequestRow, intern
from oomscope.logs.shape import Head, Shape, is_lifecycle, trace_id
from oomscope.logs.tally import LineClock, Tally
from oomscope.logs.tracker import Tracker

MAX_PARAMS_KEPT = 4096
MAX_RAW = 2000

_LONG_LINE = 4000  # above this, other processes' lines can stand inside it
_LIVE_SLACK_US = 5_000
_COARSE_SLACK_US = 1_500_000  # when lines carry no time, the clock moves with Started lines only
_MAX_HEADERS = 1000
REPEATS = 12


@dataclass(slots=True)
class Line:
    """One line taken apart. ``key`` says whose it is: a request id, or the process in untagged logs."""

    text: str
    message: str
    key: Hashable
    head: Head
    at: int | None
    number: int

    @property
    def request_id(self) -> str | None:
        """The key when it is a request id."""
        return self.key if isinstance(self.key, str) else None


class RequestLines:
    """Gives life cycle lines and exception blocks to the tracker."""

    def __init__(self, tracker: Tracker, tally: Tally, clock: LineClock) -> None:
        self.shape: Shape | None = None
        self.in_block = False  # the last request line belonged to an exception block
        self.last_error: str | None = None
        self._tracker = tracker
        self._tally = tally
        self._clock = clock
        self._talking: Hashable | None = None  # who wrote the last line that is no life cycle line
        self._headers: dict[Hashable, None] = {}  # keys whose exception block has begun
        self._block: Hashable | None = None
        self._recent: dict[str, None] = {}
        self._handlers: dict[str, Callable[[Line], bool]] = {
            "Starte": self._started,
            "Proces": self._processing,
            "  Proc": self._processing,  # Rails 3.0 and 3.1
            "  Para": self._parameters,
            "Comple": self._completed,
            "Succes": self._upgraded,
            "Could ": self._could_not_log,
            "Finish": self._finished,
        }

    def take(self, line: Line) -> bool:
        """A line of the stream's usual form. False when it is none of a request's own lines."""
        if len(line.text) > _LONG_LINE and "Completed " in line.text:
            self._swallowed(line)
        handler = self._handlers.get(line.message[:6])
        if handler is not None and handler(line):
            self.in_block, self._talking = False, None
            return True
        self._talking = line.key
        if not line.message or line.message.isspace():
            self.open_block(line.key)
            return True
        if line.key in self._headers and self.exception(line.message, line.key, line.at):
            return True
        return line.message[0] == " "

    def take_untagged(self, line: Line) -> bool:
        """A line without tags in a tagged log. True when it is one of the few that are so by design."""
        if line.message.startswith("Completed "):
            done = parse_completed(line.message)
            slack = _LIVE_SLACK_US if self._clock.dated else _COARSE_SLACK_US
            if done is None or self.in_block:
                return False
            # Without a prefix it may as well be the second line of what a request was just saying.
            talking = self._talking if line.head.second is None else None
            return self._tracker.live_completed(line.head.pid, line.at, done, slack, unless=talking)
        if line.message.startswith("Finished "):
            return self._finished(line)
        if line.head.second is not None and is_lifecycle(line.message, 0):
            # An id of forbidden characters only leaves no tag; the prefix still vouches for the line.
            line.key = ("process", line.head.pid)
            return self.take(line)
        return False

    def in_headers(self, key: Hashable | None) -> Hashable | None:
        """The key whose exception block an unprefixed line continues: its own tag, else that of the last block."""
        if not self._headers:
            return None
        wanted = key if key is not None else self._block
        return wanted if wanted in self._headers else None

    # ------------------------------------------------------------------------------------------- life cycle messages

    def _started(self, line: Line) -> bool:
        found = parse_started(line.message)
        if found is None or self._repeated(line.text):
            return found is not None
        at = self._clock.start(found.second.replace(" ", "T"), found.zone, line.at)
        if found.socket:
            if found.socket == "WebSocket":
                self._tracker.websocket(line.key, found.path)
            return True
        row = start_row(line.head.pid, at, line.number, found)
        self._describe(row, line)
        self._tracker.started(line.key, row)
        return True

    def _describe(self, row: RequestRow, line: Line) -> None:
        row.request_id, row.raw = line.request_id, line.text[:MAX_RAW]
        row.trace_id = trace_id(line.head.tags)

    def _processing(self, line: Line) -> bool:
        found = parse_processing(line.message.lstrip(" "))
        if found is None or self._repeated(line.text):
            return found is not None
        if self._tracker.processing(line.key, line.at, *found) is None:
            row = RequestRow("rack_level", line.at, line.number)
            row.pid, row.processing_at = line.head.pid, line.at
            row.endpoint, row.format = intern(found[0]), intern(found[1])
            self._describe(row, line)
            self._tracker.unstarted(line.key, row)
        return True

    def _parameters(self, line: Line) -> bool:
        if not line.message.startswith("  Parameters: "):
            return False
        text = line.message[14:]
        size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        self._tracker.params(line.key, text[:MAX_PARAMS_KEPT], size)
        return True

    def _completed(self, line: Line) -> bool:
        done = parse_completed(line.message)
        if done is None:
            return False
        if not self._repeated(line.text):
            self._tally.completions += 1
            self._tracker.completed(line.key, line.at, done)
        return True

    def _upgraded(self, line: Line) -> bool:
        if line.request_id and line.message.startswith("Successfully upgraded to WebSocket"):
            self._tracker.websocket(line.key, None)
        return True

    def _could_not_log(self, line: Line) -> bool:
        if line.message.startswith('Could not log "process_action.action_controller" event'):
            self._tracker.ended_otherwise(line.key, line.at, "its Completed line could not be written")
        return True

    def _finished(self, line: Line) -> bool:
        found = parse_finished(line.message)
        if found is None:
            return False
        if found[1] == "WebSocket":
            self._tracker.websocket_finished(found[0], line.at)
        elif line.key is not None:
            self._tracker.ended_otherwise(line.key, line.at, "Action Cable without a WebSocket")
        return True

    # ---------------------------------------------------------------------------------------------------- exceptions

    def open_block(self, key: Hashable) -> None:
        """A blank line at a severity: an exception block begins."""
        self._headers[key] = None
        self._block = key
        if len(self._headers) > _MAX_HEADERS:
            del self._headers[next(iter(self._headers))]

    def exception(self, message: str, key: Hashable, at: int | None) -> bool:
        """The line of a begun exception block that names the class."""
        name = parse_exception(message[:1500])
        if name is None:
            return False
        self._headers.pop(key, None)
        self.in_block = True
        self._tally.exceptions += 1
        self._tracker.errored(key, at, name)
        if name == "NoMemoryError":
            self.last_error = message.strip()[:300]
        return True

    # ---------------------------------------------------------------------------------------------------------- dirt

    def _swallowed(self, line: Line) -> None:
        for request_id, done in swallowed_completions(line.text):
            if self._tracker.knows(request_id):
                self._tally.swallowed += 1
                note = "its Completed line stands inside another line"
                self._tracker.completed(request_id, line.at, done, note=note)

    def _repeated(self, text: str) -> bool:
        """Whether a line that can only be written once was just seen: two sinks on one stream."""
        shape = self.shape
        if shape is None or not (shape.prefix or shape.doubled):
            return False
        if text in self._recent:
            return True
        self.remember(text)
        return False

    def remember(self, text: str) -> None:
        """This line was just seen."""
        self._recent[text] = None
        if len(self._recent) > REPEATS:
            del self._recent[next(iter(self._recent))]

    def talked(self) -> None:
        """Lines of others followed what was last said."""
        self._talking = None

    def in_begun_blocks(self, keys: set[str]) -> set[str]:
        """Those of the keys whose exception block has begun."""
        return {key for key in self._headers if isinstance(key, str) and key in keys}
