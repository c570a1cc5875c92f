"""Where the application's own line begins in the lines of an envelope, so that it can be looked at where it stands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from oomscope.logs.heads import Lead

MOST = 16  # places that are tried for each line; what stands elsewhere is read the long way
_LEAST_VOTES = 3
_HEAD_LINES = 2000
_LEAD_BYTES = 8

_PREFIX = rb"(?=[DIWEFA], \[\d{4}-|\[[0-9a-f]{8}-[0-9a-f]{4}-)"
_STRING = rb'"(?:[^"\\]|\\.)*+"'
# A string in JSON text that is itself inside a JSON string: its quotes are escaped once, what it escapes is so twice.
_INNER = rb'\\"(?:[^"\\]|\\\\(?:[^"\\]|\\.))*+\\"'
_OUTER = rb'\A\s{0,20}\{(?:[^"]|' + _STRING + rb")*?"
_JSON = re.compile(
    _OUTER
    + rb'"(?:log|message|body)"\s?:\s?"(?:'
    + _PREFIX
    + rb'|\{(?:[^"\\]|'
    + _INNER
    + rb')*?\\"log\\"\s?:\s?\\"'
    + _PREFIX
    + rb")",
    re.DOTALL,
)
_TIME = rb"\d{4}-\d\d-\d\dT\S{9,24} "
_FORMS = {
    "cri": re.compile(rb"\A" + _TIME + rb"std(?:out|err) F " + _PREFIX),
    "kubectl_ts": re.compile(rb"\A" + _TIME + _PREFIX),
    "kubectl_prefix": re.compile(rb"\A\[pod/[^/\]\s]{1,253}/[^\]\s]{1,253}\] (?:" + _TIME + rb")?" + _PREFIX),
    "docker": _JSON,
    "fluentbit": _JSON,
    "jsonl": _JSON,
    "filter_log_events": _JSON,
}
_END = re.compile(rb'(?:\\{1,2}n)?\\?"(?:,\\?"[a-z_]{1,20}\\?":|\})')


def lead_of(line: bytes, envelope: str) -> Lead | None:
    """Where the application's line begins in this one; None when it is not one of the usual form."""
    form = _FORMS.get(envelope)
    found = form.match(line[:4000]) if form is not None else None
    if found is None:
        return None
    before = line[: found.end()][-_LEAD_BYTES:]
    # Digits are a time's, which differs from line to line.
    fixed = re.split(rb"\d", before)[-1]
    return Lead(found.end(), fixed) if fixed else None


def leads_in(lines: Iterable[bytes], envelope: str, known: tuple[Lead, ...] = ()) -> tuple[Lead, ...]:
    """The known leads and those that several of these lines have."""
    if envelope == "bare":
        return (Lead(0, b""),)
    votes = Counter(lead for line in lines if (lead := lead_of(line, envelope)) is not None)
    new = [lead for lead, count in votes.most_common(MOST) if count >= _LEAST_VOTES and lead not in known]
    return (*known, *new)[:MOST]


def leads_of_head(head: bytes, envelope: str) -> tuple[Lead, ...]:
    """The leads in the first lines of a log; none when its lines cannot be looked at one by one."""
    return leads_in(head.split(b"\n", _HEAD_LINES)[:_HEAD_LINES], envelope)


def end_of_text(head: bytes, envelope: str) -> bytes:
    """What follows the application's line in JSON text: its closing quote and what comes next. Empty elsewhere."""
    if _FORMS.get(envelope) is not _JSON:
        return b""
    for line in head.split(b"\n", _HEAD_LINES)[:_HEAD_LINES]:
        lead = lead_of(line, envelope)
        if lead is not None:
            found = _END.search(line, lead.offset)
            return found[0] if found else b""
    return b""
