"""All lines of one input to the lives they belong to. Of a large log most pieces are only matched, see ``plan``."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING

from oomscope.logs.envelopes import ReadState, read_entries
from oomscope.logs.leads import end_of_text, leads_of_head
from oomscope.logs.lines import Peeked, Upto
from oomscope.logs.plan import ENDED, Span, plan

if TYPE_CHECKING:
    from oomscope.logs.interface import LogInput
    from oomscope.logs.opens import Form
    from oomscope.logs.whole import Book

LEARN = 1 << 18  # read line by line where the rest is matched, to know what the log looks like
_LOOK_BACK = 100
_PARTIAL = re.compile(rb'^\S{20,40} std(?:out|err) P |\\?"(?:_p|logtag)\\?":\s?\\?"P\\?"')
SMALL = 2 << 20  # below this, reading line by line is no slower


def drain(reader: Peeked, envelope: str, source: LogInput, state: ReadState, book: Book) -> None:
    """See above; ``reader`` is at the first byte."""
    head = reader.take(SMALL)
    cut = _cut(head)
    if len(head) < SMALL or not cut:
        book.drain(
            read_entries(Peeked(head, reader), envelope, source.identity, state), source.label, envelope
        )
        return
    large = _Large(envelope, source, state, book)
    if large.plan(head[:cut]):
        large.learn(head[:cut])
        large.run(head[:cut], Peeked(head[cut:], reader))
    else:
        large.read(Peeked(head, reader))


def _cut(head: bytes) -> int:
    """Where the first lines end, not behind a line that the container runtime split and that goes on in the next."""
    cut = head.rfind(b"\n", 0, LEARN) + 1
    for _ in range(_LOOK_BACK):
        last = head.rfind(b"\n", 0, max(cut - 1, 0)) + 1
        if not last or not _PARTIAL.search(head, last, cut):
            break
        cut = last
    return cut


class _Large:
    """A large log that is being read."""

    def __init__(self, envelope: str, source: LogInput, state: ReadState, book: Book) -> None:
        self._envelope, self._source, self._state, self._book = envelope, source, state, book
        self._spans: list[Span] = []
        self._one_line: Form | None = None
        self._number = 1  # of the next line
        self._at = 0  # bytes read

    def plan(self, head: bytes) -> bool:
        """Whether not all of what follows ``head`` is to be read in full."""
        from oomscope.logs.one_line import form_of

        if self._book.sink is None:
            self._one_line = form_of(head, self._envelope)
        if self._one_line is None and not leads_of_head(head, self._envelope):
            return False
        if self._book.matching:
            return True
        said = self._one_line.said if self._one_line is not None else None
        self._spans = plan(self._source, len(head), said.path if said is not None else ENDED)
        return len(self._spans) > 1

    def learn(self, head: bytes) -> None:
        """The first lines, one by one."""
        entries = read_entries(BytesIO(head), self._envelope, self._source.identity, ReadState())
        self._number += self._book.drain(entries, self._source.label, self._envelope)
        self._at = len(head)
        if self._one_line is not None and 2 * self._book.told_whole() < head.count(b"\n"):
            self._one_line, self._spans = None, [Span(self._at, None, full=True)]

    def run(self, head: bytes, reader: Peeked) -> None:
        """All that follows ``head``, which ``reader`` gives."""
        form = self._form(head)
        if form is None:
            self.read(reader)
        elif self._book.matching:
            self._match(form, reader, None)
        else:
            for span in self._spans:
                reader = self._span(form, span, reader)

    def _form(self, head: bytes) -> Form | None:
        """How the lines can be matched; None when they cannot."""
        from oomscope.logs.opens import Form

        if self._one_line is not None:
            return self._one_line
        scanners = [life.scanner for life in self._book.current()]
        shapes = {scanner.shape for scanner in scanners if scanner.shape is not None}
        prefixes = {shape.prefix for shape in shapes}
        if not all(shape.matchable for shape in shapes) or len(prefixes) != 1:
            return None
        wanted = self._book.sink is not None
        end = end_of_text(head, self._envelope) if wanted else b""
        return Form(self._envelope, leads_of_head(head, self._envelope), end, wanted, prefixes.pop())

    def _span(self, form: Form, span: Span, reader: Peeked) -> Peeked:
        """One piece; gives the reader of what follows."""
        if not span.full:
            return self._match(form, reader, span.end)
        self._book.forget()
        if span.end is None:
            self.read(reader)
            return reader
        upto = Upto(reader, span.end - self._at)
        self.read(Peeked(b"", upto), ReadState())
        self._at += upto.bytes
        self._book.settle()
        return reader

    def read(self, reader: Peeked, state: ReadState | None = None) -> None:
        """Every line that a reader gives."""
        from oomscope.logs.fast import Bare, Batches

        state = state or self._state
        if self._envelope == "bare":
            bare = Bare(self._source, self._book, self._number)
            bare.drain(reader, state)
            self._number = bare.number
            return
        if self._envelope == "filter_log_events" and self._at:
            reader = Peeked(b"[", reader)  # the list of events goes on
        entries = read_entries(reader, self._envelope, self._source.identity, state)
        self._number += Batches(self._envelope, self._source, self._book).drain(entries, self._number - 1)

    def _match(self, form: Form, reader: Peeked, end: int | None) -> Peeked:
        """Only what matters of the lines up to about ``end``."""
        from oomscope.logs.matched import Matched
        from oomscope.logs.parts import Stretch, line_start, plain_path, shared_parts

        matched = Matched(form, self._source, self._state, self._book, self._number)
        path = plain_path(self._source)
        if end is not None and path is not None:
            end = line_start(path, end)
        parts = shared_parts(self._source, self._at, end, form)
        if parts is not None and path is not None:
            matched.drain_parts(parts)
            reader = Peeked(b"", Stretch(path, end, None)) if end is not None else reader
            self._at = end or self._at
        elif end is not None:
            upto = Upto(reader, end - self._at)
            matched.drain(Peeked(b"", upto))
            self._at += upto.bytes
        else:
            matched.drain(reader)
        self._number = matched.number
        return reader
