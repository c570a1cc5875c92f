"""Each kind of file is known by its content; what only quotes a kind is not taken for it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomscope.sources.recognise import recognise, recognise_document, top_keys

INCIDENT = Path(__file__).parent / "data" / "files" / "incident"


def head_of(name: str) -> bytes:
    (path,) = INCIDENT.glob(name)
    data = path.read_bytes()
    return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)[: 64 * 1024]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("alert.json", "json"),
        ("pod.json", "json"),
        ("events.json", "json"),
        ("prometheus_30s.json", "json"),
        ("kernel_dmesg.txt", "kernel"),
        ("kernel_journal.txt", "kernel"),
        ("memory_1s.csv.gz", "memory_csv"),
        ("cloudwatch.json.gz", "answer"),
        ("alb/*.gz", "alb"),
        ("pods/*/cri.1.log.gz", "log"),
        ("pods/*/rails.1.log.gz", "log"),
    ],
)
def test_real_captures(name: str, kind: str) -> None:
    assert recognise(head_of(name)).kind == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("pod.json", "kubernetes"),
        ("pods.json", "kubernetes"),
        ("events.json", "kubernetes"),
        ("prometheus_30s.json", "prometheus"),
        ("cloudwatch.json.gz", "answer"),
        ("alert.json", "unknown"),
    ],
)
def test_real_documents(name: str, kind: str) -> None:
    (path,) = INCIDENT.glob(name)
    data = path.read_bytes()
    assert recognise_document(orjson.loads(gzip.decompress(data) if name.endswith("gz") else data)) == kind


@pytest.mark.parametrize(
    ("head", "kind", "hint"),
    [
        (b"", "empty", ""),
        (b" \n\n", "empty", ""),
        (b"BZh91AY", "packed", "bzip2"),
        (b"\xfd7zXZ\0\0", "packed", "xz"),
        (b"\x28\xb5\x2f\xfd\x04", "packed", "zstd"),
        (b"PK\x03\x04", "packed", "zip"),
        (b"\x1f\x8b\x08", "packed", "gzip"),
        (b"x" * 257 + b"ustar\0" + b"x" * 300, "packed", "tar"),
        (b"\xff\xd8\xff\xe0", "binary", "JPEG"),
        (bytes(range(256)) * 10, "binary", ""),
        ("kind: Pod\n".encode("utf-16"), "utf16", "little-endian"),
        (b"apiVersion: v1\nkind: Pod\n", "yaml", ""),
        (b"Name:             web-1\nNamespace:        default\n", "describe", ""),
        (b"\n<!DOCTYPE html>\n<pre>[ 12.000001] Killed process 1 (ruby) total-vm:1kB</pre>\n", "html", ""),
        (b"<HTML lang=en>", "html", ""),
        (b"the quick brown fox\n" * 10, "text", ""),
        ("日本語のログ\n".encode("shift_jis") * 20, "text", ""),
        (b'{"a":1}\n{"a":2}\n', "json_lines", ""),
        (b'{\n "a": 1\n}\n', "json", ""),
        (b"[]", "json", ""),
    ],
    ids=range(20),
)
def test_made_up_heads(head: bytes, kind: str, hint: str) -> None:
    seen = recognise(head)
    assert (seen.kind, seen.hint) == (kind, hint)


def test_a_byte_order_mark_hides_nothing() -> None:
    assert recognise(b"\xef\xbb\xbf" + head_of("pod.json")).kind == "json"
    assert recognise(b"\xef\xbb\xbf" + head_of("alb/*.gz")).kind == "alb"


@pytest.mark.parametrize("name", ["pods/*/rails.1.log.gz", "pods/*/cri.1.log.gz"])
def test_an_application_log_that_quotes_kernel_lines_stays_one(name: str) -> None:
    forged = b"[ab12] Killed process 1 (ruby) total-vm:1kB oom-kill:constraint=CONSTRAINT_MEMCG,pid=1\n"
    head = head_of(name)
    if "cri." in name:
        forged = head[:30] + b" stdout F " + forged
    assert recognise(forged * 3 + head).kind == "log"


def test_a_log_with_a_torn_write_stays_a_log() -> None:
    head = head_of("pods/*/rails.1.log.gz")
    assert recognise(head[:5000] + b"\0" * 50 + head[5000:]).kind == "log"


def test_an_earlier_report_is_no_evidence() -> None:
    report = {"format": 1, "target": {}, "kill": {}, "cause": {}, "hypotheses": []}
    assert recognise_document(report) == "report"


@pytest.mark.parametrize(
    "document", [None, 1, "x", [], {}, [1], {"items": 1}, {"events": [1]}, {"results": []}, {"data": []}]
)
def test_documents_of_no_kind(document: object) -> None:
    assert recognise_document(document) == "unknown"


def test_top_keys_are_seen_through_cut_and_nesting() -> None:
    text = json.dumps({"a": {"b": [{"c": 1}]}, "d:{": ["e", {"f": "}"}], "g": "h"}).encode()
    assert top_keys(text) == ["a", "d:{", "g"]
    assert top_keys(text[:-6]) == ["a", "d:{"]
    assert top_keys(b'{"a": "' + b"\\" * 100_000) == ["a"]


@given(st.binary(max_size=500))
def test_no_bytes_raise(head: bytes) -> None:
    recognise(head)


KEYS = ["events", "kind", "items", "metadata", "data", "Type", "format", "results", "message", "timestamp"]
_leaves = st.none() | st.integers() | st.text(max_size=5)
_documents = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
)


@given(_documents)
def test_no_document_raises(document: object) -> None:
    recognise_document(document)
