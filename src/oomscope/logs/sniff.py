"""Whether a file is an application log, and in which envelope: by its first 64 KiB, never by its name."""

from __future__ import annotations

import re
from typing import Any

import orjson

from oomscope.logs.shape import strip_ansi

HEAD_BYTES = 1 << 16
_LINES = 200

_CRI = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:]{8}(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d) (?:stdout|stderr) [FP](?::\S{1,40})?(?: |$)"
)
_KUBECTL = re.compile(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{9}(?:Z|[+-]\d\d:\d\d) ")
_PREFIX = re.compile(r"\[pod/[^/\]\s]{1,253}/[^\]\s]{1,253}\] ")
_KERNEL = ("oom-kill:constraint", "invoked oom-killer", "Killed process ", '"ident":"kernel"', " kernel: ")
_HOST_STREAM = re.compile(r"\.host\.(?:dmesg|messages|secure)")
# What only a Rails application, its servers or its job runners write.
_SIGNS = re.compile(
    r"[DIWEFA], \[\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6} #\d{1,10}\] {1,2}[A-Z]{3,7} -- "
    r'|(?:^|\] |(?:INFO|DEBUG)\]?[ :|-]{1,8})Started [A-Z][\w-]{1,30} "[^"]{0,4096}" (?:\[(?:non-)?WebSocket\] )?for '
    r"|(?:^|\] |(?:INFO|DEBUG)\]?[ :|-]{1,8})Processing by [A-Z][\w:]{0,200}#\w{1,200} as"
    r"|(?:^|\] |(?:INFO|DEBUG)\]?[ :|-]{1,8})Completed (?:\d{3}|) .{0,60}in \d{1,12}ms"
    r"|^(?:\[\d{1,10}\] )?(?:Puma starting in|\* (?:Puma v|V)ersion|\* +M(?:in|ax) threads: |\* Listening on )"
    r"|^=> (?:Booting |Rails \d)"
    r"|^(?:\[\d{1,10}\] )?- Worker \d{1,6} \("
    r"|\bpid=\d{1,10} tid=\w{1,40}[ :]"
    r"|^(?:\S{20,30} )?\d{1,10} TID-\w{1,40} "
    r"|\[ActiveJob\] (?:\[|Enqueued )"
    r"|\bPerform(?:ing|ed) [A-Z][\w:]{0,200} \(Job ID: "
    r"|\bmethod=[A-Z]{3,10} path=/"
    r"|^method:[A-Z]{3,10}\tpath:/"
    r"|^@cee: ?\{"
    r"|^\d{4}-\d\d-\d\d [\d:]{8}\.\d{6} [TDIWEF] \[\d{1,10}:"
    r"|\bsource=rack-timeout "
    r"|^SolidQueue-\d|\bGoodJob \d|\[Worker\(host:"
    r"|^\*\*\* (?:got|Starting worker)"
    r"|INFO -- : (?:master process ready|worker=\d)"
)
_DOCKER_KEYS = frozenset({"log", "stream", "time", "attrs"})
_REQUEST_KEYS = frozenset({"method", "path", "status"})


def sniff(head: bytes) -> str | None:
    """See ``oomscope.logs.sniff_log``."""
    text = head[:HEAD_BYTES].decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if text[:1] == "[" and text[1:200].lstrip()[:1] == "{":
        return _answer(text)
    if text[:1] == "{":
        return _json_kind(text)
    return _lines_kind(text)


def _lines_kind(text: str) -> str | None:
    lines = [strip_ansi(line) for line in text.split("\n", _LINES)[:_LINES] if line]
    if not lines:
        return None
    for pattern, kind in ((_CRI, "cri"), (_PREFIX, "kubectl_prefix"), (_KUBECTL, "kubectl_ts")):
        if sum(bool(pattern.match(line[:600])) for line in lines) * 2 > len(lines):
            return None if _kernel("\n".join(lines)) else kind
    if any(line[:1] == "{" for line in lines) and _json_lines(lines):
        return "bare"
    return "bare" if any(_SIGNS.search(line[:2000]) for line in lines) else None


def _kernel(text: str) -> bool:
    """Kernel messages, and not an application that quotes one."""
    return any(sign in text for sign in _KERNEL) and not _SIGNS.search(text)


def _json_kind(text: str) -> str | None:
    first = text.split("\n", 1)[0]
    found = _loads(first)
    if found is None or "events" in found:
        return _answer(text)
    if "log" in found and isinstance(found["log"], str):
        return "docker" if _docker(text) else "fluentbit"
    if isinstance(found.get("body"), str) and isinstance(found.get("resource"), dict):
        return "fluentbit"
    if "logtag" in found and isinstance(found.get("message"), str):
        return "fluentbit"
    return _jsonl(text)


def _docker(text: str) -> bool:
    """docker's json-file keeps the line end in ``log``; the log routers take it off."""
    found = [line for line in map(_loads, text.split("\n", _LINES)[:_LINES]) if line is not None]
    ends = [str(line.get("log")).endswith("\n") for line in found if line.keys() <= _DOCKER_KEYS]
    return any(ends) and len(ends) == len(found)


def _answer(text: str) -> str | None:
    """A FilterLogEvents or GetLogEvents answer (or an array of its events), unless it holds a kernel log."""
    if '"message"' not in text or '"timestamp"' not in text:
        empty = re.match(r'\{\s{0,20}"events"\s{0,20}:\s{0,20}\[\s{0,20}\]', text)
        return "filter_log_events" if empty and "searchedLogStreams" in text else None
    if text[0] == "{" and not re.match(
        r'\{\s{0,40}"(?:events|searchedLogStreams|nextToken|next\w{1,12}Token)"', text
    ):
        return None
    if _HOST_STREAM.search(text) or _kernel(text.replace('\\"', '"')):
        return None
    return "filter_log_events"


def _jsonl(text: str) -> str | None:
    lines = text.split("\n", _LINES)[:_LINES]
    return "jsonl" if not _kernel(text) and _json_lines(lines) else None


def _json_lines(lines: list[str]) -> bool:
    return any(_is_app_object(found) for line in lines if (found := _loads(line)) is not None)


def _is_app_object(found: dict[str, Any]) -> bool:
    if found.keys() >= _REQUEST_KEYS and ("duration" in found or "controller" in found):
        return True
    if "logStreamName" in found and isinstance(found.get("message"), str):
        return True
    if isinstance(found.get("log"), str) and ("kubernetes" in found or "stream" in found):
        return True
    named = isinstance(found.get("name"), str) and "payload" in found
    text = next((value for key in ("message", "msg") if isinstance(value := found.get(key), str)), None)
    levelled = any(key in found for key in ("level", "lvl", "severity", "v"))
    timed = any(key in found for key in ("time", "timestamp", "@timestamp", "ts"))
    if text is None or not timed:
        return named and timed
    return named or levelled or bool(_SIGNS.search(text[:2000])) or _is_app_text(text)


def _is_app_text(text: str) -> bool:
    """Whether a message is itself such an object, such as an event's record or line."""
    inner = _loads(text[:HEAD_BYTES])
    return inner is not None and _is_app_object(inner)


def _loads(line: str) -> dict[str, Any] | None:
    if line[:1] != "{":
        return None
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
