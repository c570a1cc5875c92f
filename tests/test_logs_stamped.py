"""Logger prefixes of the house: a time and a level in either order, in front of the tags and lines Rails writes."""

from __future__ import annotations

import pytest

from oomscope.logs.shape import learn, split_head, tag_list
from tests.logs_help import scanned

UUID = "73faf252-ee15-4d7f-b930-937d9bfc3cf0"
FORMS = {
    "iso, level": "2026-03-04T11:59:{s:02d}.250Z INFO  [{id}] ",
    "level, iso and pid": "INFO [2026-03-04 11:59:{s:02d}.250 #12] : [{id}] ",
    "brackets": "[2026-03-04 11:59:{s:02d},250] INFO -- : [{id}] ",
    "offset": "2026-03-04 11:59:{s:02d}.250 +0000 [INFO] [{id}] ",
}


def life(prefix: str) -> str:
    lines = []
    for second in range(20):
        one = prefix.format(s=second, id=f"{second:08x}{UUID[8:]}")
        lines += [f'{one}Started GET "/a/{second}" for 203.0.113.9 at 2026-03-04 11:59:{second:02d} +0000',
                  f"{one}Processing by AController#show as JSON"]  # fmt: skip
        if second < 19:
            lines.append(f"{one}Completed 200 OK in 41ms (Views: 0.3ms | ActiveRecord: 3.1ms)")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("form", FORMS)
def test_requests_behind_a_prefix_of_the_house(form: str) -> None:
    log = scanned(life(FORMS[form]))
    assert log.requests.height == 20
    assert log.requests["endpoint"].unique().to_list() == ["AController#show"]
    assert log.requests.filter(log.requests["state"] == "open")["path"].to_list() == ["/a/19"]
    assert log.requests["request_id"].n_unique() == 20


@pytest.mark.parametrize("form", FORMS)
def test_the_time_of_the_prefix_is_read(form: str) -> None:
    head = split_head(FORMS[form].format(s=7, id=UUID) + "Started")
    assert (head.second, head.micros) == ("2026-03-04T11:59:07", 250_000)
    assert tag_list(head.tags) == [UUID]


def test_a_level_alone_is_a_prefix_without_a_time() -> None:
    head = split_head(f"WARN  -- : [{UUID}] Completed 500 Internal Server Error in 3ms")
    assert head.second is None
    assert tag_list(head.tags) == [UUID]


@pytest.mark.parametrize("text", [
    "2026-03-04T11:59:07Z level=info msg=x", "INFORMATION Started", "2026-03-04", "INFO", "[INFO", "D" * 4000,
    "[" * 4000,
])  # fmt: skip
def test_what_only_looks_like_a_prefix(text: str) -> None:
    assert split_head(text).second is None


def test_ruby_s_own_prefix_is_no_prefix_of_the_house() -> None:
    own = learn([f'I, [2026-03-04T11:59:07.250000 #1]  INFO -- : [{UUID}] Started GET "/"'] * 3)
    house = learn([FORMS["iso, level"].format(s=7, id=UUID) + 'Started GET "/"'] * 3)
    assert own is not None
    assert not own.stamped
    assert house is not None
    assert house.stamped
    level = learn([f'INFO  [{UUID}] Started GET "/"'] * 3)
    assert level is not None
    assert level.stamped
    bare = learn([f'[{UUID}] Started GET "/"', 'Started GET "/"'] * 3)
    assert bare is not None
    assert not bare.stamped
