"""What came from logs and clusters is marked as such before a model reads it.

A bare string in an answer is one of this tool's fixed words, an id or a time. Every other string, also a sentence of
ours that quotes a path or a pod name, is ``{"untrusted_text": ...}``: data to quote, never to obey.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from oomscope import report as doc
from oomscope.facts import GapReason
from oomscope.redact import scrub, shorten_ip
from oomscope.render.escape import ELLIPSIS, clean

UNTRUSTED = "untrusted_text"
MAX_TEXT = 600  # characters of one text
MAX_NESTED = 20  # elements of a list or table inside one item
MAX_DEPTH = 8

_FIXED: tuple[Any, ...] = (
    doc.Verdict,
    doc.Strength,
    doc.Status,
    doc.Pattern,
    GapReason,
    doc.Kill.model_fields["scope"].annotation,
    doc.Suspect.model_fields["kind"].annotation,
    doc.Distinguishing.model_fields["kind"].annotation,
    doc.RequestDoc.model_fields["seen_in"].annotation,
    doc.Action.model_fields["when"].annotation,
)
_OTHER_WORDS = (
    *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
    *("bytes", "seconds", "s", "requests", "jobs", "times", "share", "objects", "samples", "rows"),
    *("OOMKilled", "Error", "Completed", "kill", "oom", "child", "unclear"),
    *("kubernetes", "prometheus", "performance-log", "cloudwatch_logs", "alb", "app_log", "kernel_log"),
    *("memory", "events", "restarts", "alert", "file", "oomscope", "trace_id", "method+path+client+time"),
)
_NOT_SHOWN = frozenset(("probability", "posterior", "confidence"))  # whoever talks to people has the strength
VOCABULARY = frozenset(word for choices in _FIXED for word in get_args(choices)) | frozenset(_OTHER_WORDS)
_ID_OR_TIME = re.compile(r"[HF]\d{1,4}|r-[0-9a-f]{12}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z")
_KEY = re.compile(r"[a-z][a-z0-9_]{0,31}")


def untrusted(text: object) -> dict[str, str]:
    """The text as marked data: one line, nothing invisible, no secrets, at most ``MAX_TEXT`` characters and a note."""
    shown = clean(scrub(str(text)), MAX_TEXT)
    if len(shown) > MAX_TEXT + 32:  # many characters that became escapes; 32 is for the note of a cut
        shown = shown[:MAX_TEXT] + ELLIPSIS
    return {UNTRUSTED: shown}


def marked(value: Any, key: str = "", depth: int = 0) -> Any:
    """A JSON value with every foreign text marked, client addresses shortened, and every size bounded."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return _text(shorten_ip(value) if key == "client" else value)
    if depth >= MAX_DEPTH:
        return {"omitted": "nested too deep"}
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    return _sequence(value, depth)


def _text(text: str) -> str | dict[str, str]:
    return text if text in VOCABULARY or _ID_OR_TIME.fullmatch(text) else untrusted(text)


def _mapping(value: Mapping[str, Any], depth: int) -> Any:
    """Names of ours stay keys; a table keyed by foreign names becomes a list, for a key cannot be marked."""
    if all(_KEY.fullmatch(key) or key in VOCABULARY for key in value) and len(value) <= 2 * MAX_NESTED:
        return {key: marked(inner, key, depth + 1) for key, inner in value.items() if key not in _NOT_SHOWN}
    rows = [{"name": key, "value": inner} for key, inner in value.items()]
    return _sequence(rows, depth)


def _sequence(value: Sequence[Any], depth: int) -> list[Any]:
    kept = [marked(inner, "", depth + 1) for inner in value[:MAX_NESTED]]
    left = len(value) - len(kept)
    return [*kept, {"omitted": left}] if left else kept
