"""One reader a kind of file: bytes in, a ``Fragment`` out. What cannot be read is a gap that names the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO

import orjson

from oomscope import alerts, kube, series
from oomscope.facts import Gap, GapReason, Query
from oomscope.kernel import lines_of_answer
from oomscope.sources.bounded import MIB, FileInput
from oomscope.sources.interface import Fragment, agreed
from oomscope.sources.recognise import recognise_document, recognise_lines

_MAX_LINE = 64 * 1024
_LOOK_FURTHER = 32 * MIB  # how deep into a text file nobody knows we look for something we do know
_PIECE = 256 * 1024


@dataclass
class Later:
    """Files that are read together once all others are: logs fold into streams, kernel stamps need a year."""

    logs: list[FileInput] = field(default_factory=list)
    alb: list[FileInput] = field(default_factory=list)
    kernel: list[tuple[FileInput, list[str] | None]] = field(
        default_factory=list
    )  # None: lines are still in the file


def gap(file: FileInput, reason: GapReason, why: str, fix: str | None = None) -> Gap:
    """A gap that names the file."""
    return Gap("file", reason, f"{file.label}: {why}", fix=fix)


def query(file: FileInput, source: str, rows: int | None) -> Query:
    """The note that the file was read."""
    return Query(source, file.label, rows=rows, bytes_read=file.size)


def text_lines(stream: BinaryIO, longest: int = _MAX_LINE) -> Iterator[str]:
    """Lines without their end; of an overlong line only the first bytes (64 KiB)."""
    fresh = True
    while piece := stream.readline(longest):
        if fresh:
            yield piece.decode("utf-8", "replace").rstrip("\r\n")
        fresh = piece.endswith(b"\n")


# --------------------------------------------------------------------------------------------------- tables of metrics


def read_memory_csv(file: FileInput) -> Fragment:
    """A memory CSV."""
    with file.open() as stream:
        answer = series.parse_memory_csv(text_lines(stream), source=file.label)
    return _metrics(file, answer)


def _metrics(file: FileInput, answer: series.SeriesAnswer) -> Fragment:
    rows = len(answer.memory) + len(answer.points)
    named = [
        name for name, found in (("memory", len(answer.memory)), ("restarts", len(answer.points))) if found
    ]
    why = "no readings in it"
    if answer.unknown:
        why += f", not understood: {', '.join(answer.unknown[:5])}"
    gaps = [] if rows else [gap(file, "no_data", why)]
    return Fragment(
        memory=answer.memory,
        series=answer.points,
        queries=[query(file, "memory", rows)],
        sources=named,
        gaps=gaps,
    )


# ------------------------------------------------------------------------------------------------------ JSON documents


def read_json(file: FileInput, later: Later) -> Fragment:
    """One JSON document of whatever kind."""
    data = file.read_all()
    if data is None:
        limit = file.limits.document // MIB
        return _only_gap(
            file,
            "cut",
            f"a JSON document of more than {limit} MiB, not read",
            "split it by object or by time",
        )
    try:
        document = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        return _no_json(file, data, error, later)
    return _read_document(file, document, later)


def _no_json(file: FileInput, data: bytes, error: orjson.JSONDecodeError, later: Later) -> Fragment:
    if (
        recognise_lines(data[: file.limits.head]) == "log"
    ):  # starts like JSON, or was cut: the log reader copes
        later.logs.append(file)
        return Fragment()
    if "depth" in error.msg or "recursion" in error.msg.lower():
        return _only_gap(file, "unparsable", "JSON nested too deep, not read")
    if file.cut or error.pos >= len(data.rstrip()):
        return _only_gap(file, "cut", "a JSON document that ends too early", "save it again, whole")
    return _only_gap(
        file, "unparsable", "starts like JSON but is none", "save the output of kubectl with -o json"
    )


def _read_document(file: FileInput, document: Any, later: Later) -> Fragment:
    kind = recognise_document(document)
    if kind == "kubernetes":
        return read_kubernetes(file, document)
    if kind == "prometheus":
        return _metrics(file, series.parse_prometheus(document, source=file.label))
    if kind == "performance":
        records = document if isinstance(document, list) else [document]
        return _metrics(file, series.parse_performance_log(records, source=file.label))
    if kind == "answer":
        return read_answer(file, document, later)
    if kind == "report":
        return Fragment(queries=[query(file, "report", 0)])
    if kind == "manifest":
        return _only_gap(
            file, "unparsable", "the manifest of a bundle without its bundle", "give the bundle's folder"
        )
    return read_alert(file, document) or _only_gap(
        file, "unparsable", "JSON of no kind known here", "see docs/evidence.md for what is read"
    )


def read_kubernetes(file: FileInput, document: Any) -> Fragment:
    """Pods, events and nodes, also mixed in one List."""
    pods, events, nodes = kube.pods_from(document), kube.events_from(document), kube.nodes_from(document)
    rows = len(pods) + len(events) + len(nodes)
    sources = [n for n, f in (("kubernetes", pods or nodes), ("events", events)) if f]
    return Fragment(
        pods=pods,
        events=events,
        nodes=nodes,
        queries=[query(file, "events" if events and not pods else "kubernetes", rows)],
        gaps=[] if rows else [gap(file, "no_data", "a list without objects")],
        sources=sources,
    )


def read_json_lines(file: FileInput, later: Later) -> Fragment:
    """A file of one JSON record a line: a journal, performance records, objects of kubectl, or an application log."""
    head = file.head()
    first = islice(_records(head.decode("utf-8", "replace").split("\n")), 20)
    kinds = {recognise_document(record) for record in first}
    if kinds not in ({"performance"}, {"kubernetes"}):
        return read_lines(file, head, later)
    with file.open() as stream:
        records = _records(text_lines(stream, file.limits.document))
        if kinds == {"kubernetes"}:
            return read_kubernetes(file, list(islice(records, kube.MAX_OBJECTS)))
        return _metrics(file, series.parse_performance_log(records, source=file.label))


def _records(lines: Iterable[str]) -> Iterator[Any]:
    for line in lines:
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            continue


# --------------------------------------------------------------------------------------------------- saved log queries

# Plain searches: a pattern with alternatives takes ten times as long on a large file.
_OTHER_THAN_APP = (
    b"oom-kill:constraint", b"invoked oom-killer", b"Killed process", b"out of memory: ", b'"Type"', b'"Type\\"',
)  # fmt: skip
_KERNEL_MESSAGE = re.compile(
    r"(?:\S{1,64} ){0,5}kernel(?:\[\d{1,9}\])?: |(?:<\d{1,3}>)?\[\s{0,12}\d{1,10}\.\d{6}\]"
    r"|Memory cgroup out of memory|Out of memory: |oom-kill:constraint=|\S{1,64} invoked oom-killer: |oom_reaper: "
)


def read_answer_stream(file: FileInput, later: Later) -> Fragment:
    """A saved log query: nearly always application log, which is read as bytes; parsed whole only if it holds more."""
    tail = b""
    with file.open() as stream:
        while piece := stream.read(_PIECE):
            seen = tail + piece
            if any(mark in seen for mark in _OTHER_THAN_APP):
                break
            tail = piece[-64:]
        else:
            later.logs.append(file)
            return Fragment()
    part = read_json(file, later)
    if any(gap.reason == "cut" for gap in part.gaps) and file not in later.logs:
        later.logs.append(file)  # too large to hold, or cut: what is application log in it can still be read
    return part


def read_answer(file: FileInput, document: Any, later: Later) -> Fragment:
    """Events of a saved log query, each to where it belongs."""
    if isinstance(document, dict) and not (document.get("events") or document.get("results")):
        return _only_gap(
            file,
            "no_data",
            "a log query that found no events",
            "widen its time window, check the log group",
        )
    lines, performance, other = [], [], 0
    for line in lines_of_answer(document):
        stamp, _, message = line.partition(" ")
        record = _message_record(message)
        if record is not None and series.sniff(record) == "performance":
            performance.append(record)
        elif _is_kernel_message(message, record):
            lines.append(f"{stamp} {message}")
        else:
            other += 1
    if lines:
        later.kernel.append((file, lines))
    if other:
        later.logs.append(file)
    return (
        _metrics(file, series.parse_performance_log(performance, source=file.label))
        if performance
        else Fragment()
    )


def _message_record(message: str) -> dict[str, Any] | None:
    if not message.startswith("{"):
        return None
    try:
        record = orjson.loads(message)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def _is_kernel_message(message: str, record: dict[str, Any] | None) -> bool:
    """A record of the host log or a bare kernel line; never the output of a container that quotes one."""
    if record is None:
        return _KERNEL_MESSAGE.match(message) is not None
    if "kubernetes" in record or "log" in record:
        return False
    if record.get("ident") == "kernel" or record.get("_TRANSPORT") == "kernel":
        return True
    body = record.get("body") or record.get("message") or record.get("MESSAGE")
    return isinstance(body, str) and "k8s.pod.name" not in message and _KERNEL_MESSAGE.match(body) is not None


# ---------------------------------------------------------------------------------------------------- text and alerts


def read_lines(file: FileInput, head: bytes, later: Later) -> Fragment:
    """A text file: the kernel's, an application's, one that turns into either further down, or a pasted alert."""
    kind = recognise_lines(head) or _kind_further_down(file)
    if kind == "kernel":
        later.kernel.append((file, None))
    elif kind == "log":
        later.logs.append(file)
    else:
        whole = len(head) < file.limits.head
        pasted = read_alert(file, head.decode("utf-8", "replace")) if whole else None
        return pasted or Fragment(gaps=[_unknown_text(file, head)])
    return Fragment()


def _kind_further_down(file: FileInput) -> str | None:
    with file.open() as stream:
        for _ in range(_LOOK_FURTHER // _PIECE):
            piece = stream.read(_PIECE)
            if not piece:
                return None
            if b"\n" in piece and (kind := recognise_lines(piece)):
                return kind
    return None


def _unknown_text(file: FileInput, head: bytes) -> Gap:
    if b"\n" not in head and len(head) >= file.limits.head:
        return gap(file, "unparsable", "text in one overlong line, of no kind known here")
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else only the last character was cut by us
            fix = "convert it, e.g. iconv -f SHIFT_JIS -t UTF-8"
            return gap(file, "unparsable", "text that is not UTF-8 and of no kind known here", fix)
    return gap(file, "unparsable", "text of no kind known here", "see docs/evidence.md for what is read")


def read_alert(file: FileInput, payload: Any) -> Fragment | None:
    """An alert payload (parsed JSON) or its pasted text; None when it is none."""
    intake = alerts.parse_alert(payload)
    found = [alert.target for alert in intake.targets]
    if intake.kind in ("text", "minimal"):  # other text may look like one: it has to name a pod
        found = [target for target in found if target.pod]
    if not found and not (intake.kind not in ("text", "unknown") and alerts.is_alert(payload)):
        return None
    return Fragment(
        target=agreed(found) if found else None,
        series=intake.points,
        queries=[query(file, "alert", len(found))],
        gaps=[] if found else [Gap("alert", "no_data", f"{file.label}: {' '.join(intake.notes[:2])}")],
        sources=["alert"] if found else [],
    )


def _only_gap(file: FileInput, reason: GapReason, why: str, fix: str | None = None) -> Fragment:
    return Fragment(gaps=[gap(file, reason, why, fix)])
