"""One life's lines, in order: each is given to whom it concerns (requests, jobs, servers)."""

from __future__ import annotations

import re
from collections.abc import Hashable
from datetime import tzinfo

import orjson

from oomscope.logs import lograge, structured
from oomscope.logs.clock import to_us
from oomscope.logs.interface import LogEvent
from oomscope.logs.job_runs import JobRuns
from oomscope.logs.jobs import parse_job_line
from oomscope.logs.lives import Lives
from oomscope.logs.request_lines import Line, RequestLines
from oomscope.logs.servers import parse_server_line
from oomscope.logs.shape import Head, Shape, is_lifecycle, learn, split_head, strip_ansi, tag_list
from oomscope.logs.structured_rows import apply_event
from oomscope.logs.tally import LineClock, Tally
from oomscope.logs.tracker import Tracker

# A Puma cluster puts its own pid where Rails puts tags.
_PUMA = re.compile(r"\[\d{1,10}\] (?:[-*!] |Puma |=== |Use Ctrl)")
_LEARN_VOTES = 24
_LEARN_LINES = 2000
_LEARN_BYTES = 1 << 19
_WEB_SERVERS = ("puma", "unicorn")
# What glibc, C++ runtimes and native libraries print on stderr before they abort, and common "fatal" forms.
LAST_WORDS = re.compile(
    r"(?:FATAL|fatal|Fatal)(?::| error)|terminate called |Aborted|Segmentation fault|double free or corruption|"
    r"free\(\): |malloc\(\): |corrupted (?:size|double)|\*\*\* stack smashing"
)
_WORDS_BEGIN = frozenset({"FA", "fa", "Fa", "te", "Ab", "Se", "do", "fr", "ma", "co", "**"})
LAST_LINES = 3  # stdout and stderr reach the log in no fixed order

Entry = tuple[str, int | None, int]  # text, envelope time (microseconds since 1970), number in the source


class LineScanner:
    """Everything that one life of a container says.

    With ``splits``, ``reborn`` is set when a server boots after there was traffic: the lines from there on are in
    ``leftover`` and belong to the next life.
    """

    def __init__(self, tz: tzinfo | None = None, *, splits: bool = False) -> None:
        self.shape: Shape | None = None
        self.tally = Tally()
        self.clock = LineClock(self.tally, tz)
        self.tracker = Tracker()
        self.jobs = JobRuns()
        self.lives = Lives()
        self._words: tuple[int, str | None] = (0, None)
        self.requests = RequestLines(self.tracker, self.tally, self.clock)
        self.kinds: dict[str, int] = {}  # events of the line parsers, by kind
        self.whole_from: int | None = None  # requests that ended earlier are known by their number only
        self.reborn = False
        self.leftover: list[Entry] = []
        self._splits = splits
        self._learning: list[Entry] | None = []
        self._learned_bytes = self._votes = 0
        self._patience = _LEARN_LINES

    def feed(self, text: str, at: int | None, number: int) -> None:
        """One line with its envelope's time (microseconds since 1970) and its number in the source."""
        if "\x1b" in text:
            text = strip_ansi(text)
        if self._votes and self._learning is not None and "Puma starting in " in text[:40]:
            self._learn()  # what comes now may look different
            if self.reborn:
                self.leftover.append((text, at, number))
                return
        if self._learning is None:
            self._line(text, at, number)
            if self.reborn:
                self.leftover = [(text, at, number)]
            return
        self._learning.append((text, at, number))
        self._learned_bytes += len(text)
        if is_lifecycle(text, split_head(text).start):
            self._votes += 1
        full = len(self._learning) >= self._patience or self._learned_bytes >= _LEARN_BYTES
        if full or self._votes >= _LEARN_VOTES:
            self._learn()

    def _learn(self) -> None:
        """Settle the shape with the lines so far and work them off; without any request line, go on learning."""
        lines, self._learning = self._learning or [], None
        self._settle(learn(text for text, _, _ in lines))
        self.clock.learn_zone(lines)
        for index, entry in enumerate(lines):
            self._line(*entry)
            if self.reborn:
                self.leftover = lines[index:]
                return
        if self.shape is None:
            # Little by little from now on: a log of jobs or of JSON may never have a request line.
            self._learning, self._learned_bytes, self._votes = [], 0, 0
            self._patience = _LEARN_VOTES

    def _settle(self, shape: Shape | None) -> None:
        self.shape = self.requests.shape = shape

    def count_in(self, *, lines: int, whole: int, one_line: bool = False) -> None:
        """So many lines were not given to this scanner: those of requests that are over, and such as say nothing."""
        tally, tracker = self.tally, self.tracker
        tally.lines += lines
        tally.recognised += lines
        tally.dated += lines * self.clock.dated
        if one_line:
            self.kinds["request"] = self.kinds.get("request", 0) + whole
        else:
            tally.completions += whole
        tracker.count_in(whole, one_line=one_line)

    def work_off(self) -> None:
        """Take the lines that are held back until the log is known. May set ``reborn``, like ``feed``."""
        if self._learning:
            self._learn()

    def forget(self, at: int | None) -> None:
        """Requests that ended before the next line, which is of about this time, are not wanted."""
        self.whole_from = at
        self.tracker.forget()

    @property
    def settled(self) -> bool:
        """Whether the shape of the stream is known."""
        return self._learning is None and self.shape is not None

    def finish(self) -> None:
        """No more lines. May set ``reborn``, like ``feed``."""
        if self._learning is not None:
            self._learn()
            self._learning = None
        self.lives.error = self.lives.error or self.requests.last_error or self._last_words()
        self.tracker.finish()
        self.jobs.finish()

    def _last_words(self) -> str | None:
        """What a native library or the runtime said at the very end; the same words earlier mean nothing."""
        number, text = self._words
        return text if text and number > self.tally.lines - LAST_LINES else None

    def _line(self, text: str, at: int | None, number: int) -> None:
        self.tally.lines += 1
        if text[:2] in _WORDS_BEGIN and LAST_WORDS.match(text):
            self._words = (self.tally.lines, text[:200])
        if text[:1] == "{":
            self._json(text, at, number)
            return
        head = split_head(text)
        when = self.clock.when(head, at)
        self.tracker.precise = self.clock.dated
        if head.pid is not None:
            self.lives.seen(head.pid, when)
        line = Line(text, text[head.start :], None, head, when, number)
        if text[:1] == "[" and _PUMA.match(text):
            self.tally.recognised += self._message(line) is not None
        elif self._usual(line) or self._other(line):
            self.tally.recognised += 1

    def _usual(self, line: Line) -> bool:
        """Whether the line has the form of this stream's request lines and is one."""
        shape, head = self.shape, line.head
        if shape is None or (head.second is not None) != shape.prefix:
            return False
        if not shape.tagged:
            line.key = ("process", head.pid)
            return self.requests.take(line) or (head.second is not None and self._message(line) is not None)
        if not head.tags:
            return self.requests.take_untagged(line)
        line.key = shape.request_id(tag_list(head.tags))
        if line.key is None or line.key == "ActiveJob":
            return False
        if not self.requests.take(line):
            self._message(line)
        return True

    def _other(self, line: Line) -> bool:
        """A line without the usual form: part of an exception block, a server's or a job's, a continuation."""
        shape, head = self.shape, line.head
        key: Hashable | None = None
        if head.tags:
            tags = tag_list(head.tags)
            key = tags[0] if shape is None else shape.request_id(tags)
        if shape is None and head.second is not None and not line.message.strip():
            self.requests.open_block(key if key is not None else ("process", head.pid))
        block = self.requests.in_headers(key)
        if block is not None and self.requests.exception(line.message, block, line.at):
            return True
        if line.text[:1] in (" ", "\t", "") or (
            key is not None and head.second is None and shape and shape.prefix
        ):
            return True
        return self._message(line) is not None or head.second is not None

    def _message(self, line: Line) -> LogEvent | None:
        """Jobs, servers and one-line requests, in whatever form they stand behind prefix and tags."""
        message, head = line.message, line.head
        event: LogEvent | None = None
        if "method" in message[:2000] or message.startswith("{"):
            event = lograge.parse_lograge(message)
        if event is None and message[:2] == "20":
            event = structured.parse_semantic_text(message)
            self.tally.semantic += event is not None
        if event is None:
            event = parse_job_line(message, tags=tuple(tag_list(head.tags)), pid=head.pid)
        if event is None and (line.key is None or not isinstance(line.key, str)):
            event = parse_server_line(line.text)
        if event is not None:
            if event.kind == "request" and event.request_id is None and head.tags:
                event.request_id = tag_list(head.tags)[0]
            self._take(event, line)
        return event

    def _json(self, text: str, at: int | None, number: int) -> None:
        """A line that is a JSON object: an event of its own, or a text line in a wrapper."""
        head = Head(None, 0, None, "", 0)
        line = Line(text, text, None, head, at if at is not None else self.clock.now, number)
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            self.tally.recognised += self._other(line)
            return
        event = structured.parse_json_line(found)
        inner = structured.inner_text(found) if event is None else None
        if event is not None:
            self.tally.recognised += 1
            self.tally.semantic += "payload" in found and "name" in found
            self.clock.when(head, at)
            self._take(event, line)
        elif inner is not None and inner[0].lstrip()[:1] != "{":
            own = at if at is not None else to_us(inner[1], self.clock.offset_s)
            self._wrapped(inner[0], inner[3], own, number)

    def _wrapped(self, text: str, tags: tuple[str, ...], at: int | None, number: int) -> None:
        self.tally.lines -= 1
        prefix = "".join(f"[{tag}] " for tag in tags)
        first, *others = text.split("\n", 50)
        if self.shape is None and is_lifecycle(first, 0):
            self._settle(learn([prefix + first]))
        self._line(prefix + first, at, number)
        if first.isspace() or not first:
            # An exception block; in any other message further lines can say what they like.
            name = next((part for part in others if part.strip()), "")
            self._line(prefix + name, at, number)
            self.tally.lines -= 1

    def _take(self, event: LogEvent, line: Line) -> None:
        """An event of one of the line parsers; ``line.at`` is the envelope's or logger's time."""
        self.kinds[event.kind] = self.kinds.get(event.kind, 0) + 1
        own = to_us(event.at, self.clock.offset_s)
        # One-line requests carry the time of their start or of their end; the envelope knows better.
        at = line.at if event.kind == "request" and line.at is not None and self.clock.dated else own
        at = at if at is not None else line.at
        if own is not None and at == own:
            self.clock.now = at
            self.tally.saw(at)
        if event.pid is not None:
            self.lives.seen(event.pid, at)
        if event.kind.startswith("job_"):
            queued = to_us(event.fields.get("enqueued_at"), self.clock.offset_s)
            self.jobs.take(event, at, queued, line.number, line.text)
        elif not apply_event(self.tracker, event, at, line, text_log=self.shape is not None):
            self._server(event, at)

    def _server(self, event: LogEvent, at: int | None) -> None:
        if event.kind == "boot" and self._splits and self._had_traffic(str(event.fields.get("server"))):
            self.reborn = True
            return
        by_pid = self.shape is not None and self.shape.prefix
        if self.lives.take(event, at):
            self.tracker.replaced(event.fields.get("replaced_pid") if by_pid else None)
        if self.lives.threads is not None:
            self.tracker.threads = self.lives.threads * (1 if by_pid else max(self.lives.workers or 1, 1))

    def _had_traffic(self, server: str) -> bool:
        if server.startswith(_WEB_SERVERS):
            return self.tracker.starts + self.tracker.whole > 0
        return server.startswith("sidekiq") and self.jobs.started > 0
