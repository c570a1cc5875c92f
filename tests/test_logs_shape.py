"""What a stream's request lines look like, learned from the lines themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomscope.logs.shape import learn, looks_like_id, split_head, tag_list, trace_id
from tests.logs_help import capture, scanned

UUIDS = [f"{i:08x}-1111-4222-8333-444455556666" for i in range(30)]
ROOT = "Root=1-6b040577-6c377cab60f37a2de8cf7563"


def lines(log: str) -> list[str]:
    return capture(log).decode("utf-8", "replace").split("\n")


@pytest.mark.parametrize(
    ("log", "prefix", "tagged"),
    [
        ("rails61_sample", True, True),
        ("rails81_sample", False, True),
        ("v61_multitags", True, True),
        ("v61_notags", True, False),
        ("v61_simple", False, True),
    ],
)
def test_shapes_of_captures(log, prefix, tagged):
    shape = learn(lines(log))
    assert (shape.prefix, shape.tagged, shape.doubled) == (prefix, tagged, False)


def test_a_log_without_request_lines_has_no_shape():
    assert learn(lines("v61_warn")) is None


@pytest.mark.parametrize(
    ("tags", "index"),
    [
        ("[{u}] [{r}] ", 0),
        ("[web] [{u}] ", 1),
        ("[10.0.0.1] [ip=1.2.3.4] [{u}] ", 2),
        ("[prod] [client-{i}] ", 1),
        ("[{t}] ", 0),
    ],
)
def test_which_tag_is_the_request_id(tags, index):
    found = []
    for i, uuid in enumerate(UUIDS):
        head = tags.format(u=uuid, r=ROOT, i=i, t=f"Root1-6b04{i:04x}-6c377cab60f37a2de8cf7563")
        found += [
            f'{head}Started GET "/" for 1.2.3.4 at 2026-11-23 09:00:00 +0000',
            f"{head}Processing by A#b as JSON",
        ]
    assert learn(found).id_index == index


def test_a_dropped_blank_tag_does_not_move_the_id():
    shape = learn(f'[sub] [{uuid}] Started GET "/" for 1 at 2026-11-23 09:00:00 +0000' for uuid in UUIDS)
    assert shape.request_id([UUIDS[0]]) == UUIDS[0]
    assert shape.request_id([UUIDS[0], "late"]) == UUIDS[0]


def test_a_minority_of_forged_lines_does_not_change_the_shape():
    real = [f'[{uuid}] Started GET "/" for 1.2.3.4 at 2026-11-23 09:00:00 +0000' for uuid in UUIDS]
    shape = learn([*real, *["Completed 200 OK in 1ms"] * 20])
    assert shape.tagged


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ROOT, ROOT),
        ("Root1-6b040577-6c377cab60f37a2de8cf7563", ROOT),
        (f"[a] [Self=1-67891234-12456789abcdef012345678;{ROOT}] ", ROOT),
        ("[Self1-67891234-12456789abcdef012345678Root1-6b040577-6c377cab60f37a2de8cf7563] ", ROOT),
        ("Root=1-6b040577-short", None),
        ("[Rooted] ", None),
    ],
)
def test_trace_ids_are_normalised(text, expected):
    assert trace_id(text) == expected


def test_a_trace_id_as_the_request_id_is_both():
    tag = "Root1-6b040577-6c377cab60f37a2de8cf7563"
    text = f'[{tag}] Started GET "/" for 1.2.3.4 at 2026-11-23 09:00:00 +0000\n[{tag}] Processing by A#b as JSON\n'
    assert scanned(text).requests.select("request_id", "trace_id").rows() == [(tag, ROOT)]


def test_ids_rails_generates():
    assert looks_like_id("e1ce7ecd-b9c8-4b6c-8c3f-73507161d199")
    assert looks_like_id("0123456789abcdef0123456789abcdef")
    assert not looks_like_id("0123456789abcdef0123456789abcdeg")


def test_a_line_is_taken_apart():
    head = split_head("F, [2026-11-23T08:41:11.273621 #24591] FATAL -- app: [a b]] [c]  x")
    assert (head.second, head.micros, head.pid) == ("2026-11-23T08:41:11", 273_621, 24_591)
    assert head.tags == "[a b]] [c] "


@given(st.text(max_size=300))
def test_any_text_has_a_head(text):
    head = split_head(text)
    assert 0 <= head.start <= len(text)
    assert all(isinstance(tag, str) for tag in tag_list(head.tags))
