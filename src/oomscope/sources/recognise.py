"""What a file is, by its content. The name of a file never decides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from oomscope import alb, kernel, kube, logs, series

# "answer" is a saved log query (FilterLogEvents, Insights) and may hold several of the others.
Kind = Literal[
    "alb", "memory_csv", "log", "kernel", "answer", "json", "json_lines", "text",
    "empty", "packed", "binary", "utf16", "yaml", "describe", "html",
]  # fmt: skip
DocumentKind = Literal["kubernetes", "answer", "prometheus", "performance", "report", "manifest", "unknown"]


@dataclass(frozen=True, slots=True)
class Recognised:
    """The kind of a file. ``hint`` is a word more, e.g. which packer made it."""

    kind: Kind
    hint: str = ""


_MAGIC: tuple[tuple[bytes, Kind, str], ...] = (
    (b"\x1f\x8b", "packed", "gzip"),  # seen only when gzip lies inside gzip
    (b"BZh", "packed", "bzip2"),
    (b"\xfd7zXZ\0", "packed", "xz"),
    (b"\x28\xb5\x2f\xfd", "packed", "zstd"),
    (b"PK\x03\x04", "packed", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "packed", "7z"),
    (b"PAR1", "binary", "Parquet"),
    (b"\xff\xd8\xff", "binary", "JPEG"),
    (b"\x89PNG", "binary", "PNG"),
    (b"GIF8", "binary", "GIF"),
    (b"%PDF", "binary", "PDF"),
    (b"\x7fELF", "binary", "ELF"),
    (b"\xff\xfe", "utf16", "little-endian"),
    (b"\xfe\xff", "utf16", "big-endian"),
)
_BOM = b"\xef\xbb\xbf"
_JSON_START = re.compile(rb"\s{0,1000}(?:\{\s{0,1000}[\"}]|\[\s{0,1000}[\[{\"\]])")
_NEXT_RECORD = re.compile(rb"\}[ \t]{0,100}\r?\n\s{0,100}\{")
_YAML = re.compile(rb"(?m)\A(?:---\s)?(?:apiVersion|kind|items|metadata): ?\S{0,64}\s*$")
_DESCRIBE = re.compile(rb"\AName:[ ]{2,40}\S+\n(?:Namespace|Roles|Priority):[ ]")
_HTML = re.compile(rb"\s{0,1000}<(?:!doctype\s{1,10}html|html)\b", re.IGNORECASE)
_TEXT_CONTROLS = bytes((7, 8, 9, 10, 11, 12, 13, 27))
_CONTROLS = bytes(c for c in range(32) if c not in _TEXT_CONTROLS) + b"\x7f"
_KERNEL_LINE = re.compile(
    rb'(?:^|[\s"])kernel(?:\[\d{1,9}\])?: |^(?:<\d{1,3}>)?\[\s{0,12}\d{1,10}\.\d{6}\]|"_TRANSPORT" ?: ?"kernel"'
)

# What a container runtime or kubectl puts before each line a container printed.
_OUTPUT_PREFIX = re.compile(
    rb"(?m)^\d{4}-\d\d-\d\dT[\d:.]{8,20}(?:Z|[+-]\d\d:\d\d) (?:(?:stdout|stderr) [FP](?::\S{1,40})? )?"
)


def recognise(head: bytes) -> Recognised:
    """The kind of a file by its first (inflated) bytes. Takes milliseconds, raises nothing."""
    if not head.strip():
        return Recognised("empty")
    for magic, kind, hint in _MAGIC:
        if head.startswith(magic):
            return Recognised(kind, hint)
    if head[257:262] == b"ustar":
        return Recognised("packed", "tar")
    if _is_binary(head):
        return Recognised("binary")
    return _recognise_text(head.removeprefix(_BOM))


def _recognise_text(head: bytes) -> Recognised:
    if _HTML.match(head):  # a page about logs, such as a report, quotes them
        return Recognised("html")
    if alb.sniff_alb(head):
        return Recognised("alb")
    if series.sniff_csv(head):
        return Recognised("memory_csv")
    if _JSON_START.match(head):
        return _recognise_json(head)
    if kind := recognise_lines(head):
        return Recognised(kind)
    if _YAML.search(head[:4096]):
        return Recognised("yaml")
    return Recognised("describe" if _DESCRIBE.match(head) else "text")


def recognise_lines(piece: bytes) -> Literal["kernel", "log"] | None:
    """Whether a piece of text is kernel log or application log. Quoted kernel lines do not make a kernel log."""
    is_log = any(logs.sniff_log(text) is not None for text in (piece, _OUTPUT_PREFIX.sub(b"", piece)))
    if kernel.sniff_kernel_log(piece) and (not is_log or _mostly_kernel(piece)):
        return "kernel"
    return "log" if is_log else None


def _mostly_kernel(piece: bytes) -> bool:
    lines = [line for line in piece.split(b"\n") if line.strip()]
    return 2 * sum(bool(_KERNEL_LINE.search(line[:200])) for line in lines) >= len(lines)


def _recognise_json(head: bytes) -> Recognised:
    keys = top_keys(head)
    if "searchedLogStreams" in keys or (keys[:1] in (["events"], ["nextToken"]) and b'"message"' in head):
        return Recognised("answer")
    if _NEXT_RECORD.search(head):
        first = head.lstrip().split(b"\n", 1)[0].rstrip()
        if first.startswith(b"{") and first.endswith(b"}"):
            return Recognised("json_lines")
    return Recognised("json")


def _is_binary(head: bytes) -> bool:
    """Some control characters may stray into a log (a torn write leaves NULs); many make it no text."""
    return 50 * (len(head) - len(head.translate(None, _CONTROLS))) > len(head)


_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]:,]', re.DOTALL)


def top_keys(head: bytes) -> list[str]:
    """Keys of the outermost JSON object that appear in its first bytes, in order."""
    keys, depth, last = [], 0, b""
    for match in _STRUCTURE.finditer(head):
        piece = match[0]
        if piece in b"{[":
            depth += 1
        elif piece in b"}]":
            depth -= 1
            if depth <= 0:
                break
        elif piece == b":" and depth == 1:
            keys.append(last[1:-1].decode("utf-8", "replace"))
        last = piece
    return keys


def recognise_document(document: Any) -> DocumentKind:
    """The kind of a parsed JSON document."""
    if isinstance(document, dict):
        if {"format", "kill", "cause", "hypotheses"} <= document.keys():
            return "report"
        if document.get("format") == "oomscope-bundle":
            return "manifest"
        if is_answer(document):
            return "answer"
    if kube.kind_of(document):
        return "kubernetes"
    if metrics := series.sniff(document):
        return metrics
    if isinstance(document, list) and document and is_answer({"events": document}):
        return "answer"
    return "unknown"


def is_answer(document: dict[str, Any]) -> bool:
    """Whether it is a saved FilterLogEvents or GetLogEvents answer, or one of Logs Insights."""
    events, results = document.get("events"), document.get("results")
    if isinstance(events, list):
        return not events or (isinstance(events[0], dict) and {"message", "timestamp"} <= events[0].keys())
    return isinstance(results, list) and bool(results) and isinstance(results[0], list)
