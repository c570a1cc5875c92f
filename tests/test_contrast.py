"""What sets the bad requests apart: named when it is there, silent when it is not."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomscope.analyze.contrast import distinguish
from oomscope.analyze.traits import read_traits
from oomscope.facts import REQUEST_SCHEMA, polars_schema

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EXTRA = {"received_bytes": pl.Int64, "sent_bytes": pl.Int64, "user_agent": pl.String, "age_s": pl.Float64}


def table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema = {**polars_schema(REQUEST_SCHEMA), **EXTRA}
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def request(rng: random.Random, **over: Any) -> dict[str, Any]:
    """A request to ``/books/:id/pages`` as an ordinary client makes it."""
    identity = str(rng.randrange(10_000))
    params = {"book_id": identity, "limit": rng.choice(["20", "50"]), "q": rng.choice(["a", "b", "c", "d"])}
    start = T0 + timedelta(seconds=rng.uniform(0, 600))
    row = {
        "path": f"/books/{identity}/pages", "endpoint": "PagesController#index", "method": "GET", "format": "json",
        "client": f"10.0.0.{rng.randrange(40)}", "user_agent": rng.choice(["ios", "web"]), "duration_ms": 30.0,
        "started_at": start, "processing_at": start, "ended_at": start + timedelta(milliseconds=30),
        "params": json.dumps(params | over.pop("params", {})),
    }  # fmt: skip
    return row | over


def ordinary(rng: random.Random, count: int = 200) -> list[dict[str, Any]]:
    return [request(rng) for _ in range(count)]


def named(
    bad: list[dict[str, Any]], good: list[dict[str, Any]], **kw: Any
) -> list[tuple[str, str, str | None]]:
    return [(d.kind, d.name, d.value) for d in distinguish(table(bad), table(good), **kw)]


def test_one_parameter_value_is_named_with_its_shares() -> None:
    rng = random.Random(1)
    good = ordinary(rng, 196) + [request(rng, params={"limit": "0"}) for _ in range(4)]
    found = distinguish(table([request(rng, params={"limit": "0"}) for _ in range(7)]), table(good))
    assert [(d.kind, d.name, d.value, d.hits, d.of) for d in found] == [("param", "limit", "0", 7, 7)]
    assert found[0].text == "7 of 7 had `limit=0`; 2 % of others do"
    assert found[0].p_value is not None
    assert found[0].p_value < 1e-4


def test_correlates_of_the_named_value_are_left_out() -> None:
    rng = random.Random(2)
    copy = {"limit": "0", "page": {"limit": "0", "all": "1"}}
    assert named([request(rng, params=copy) for _ in range(8)], ordinary(rng)) == [("param", "limit", "0")]


def test_presence_is_named_when_the_values_differ() -> None:
    rng = random.Random(3)
    bad = [request(rng, query=f"export={i}") for i in range(9)]
    assert named(bad, ordinary(rng))[0] == ("param", "export", None)


def test_a_missing_parameter_is_named() -> None:
    rng = random.Random(4)
    bad = [request(rng) for _ in range(8)]
    for row in bad:
        row["params"] = json.dumps({"book_id": row["path"].split("/")[2], "q": "a"})
    assert ("param", "limit", None) in named(bad, ordinary(rng))
    assert "no `limit`" in distinguish(table(bad), table(ordinary(rng)))[0].text


def test_a_large_number_is_named_as_a_threshold() -> None:
    rng = random.Random(5)
    bad = [request(rng, params={"limit": str(5000 + 137 * i)}) for i in range(9)]
    assert named(bad, ordinary(rng)) == [("param", "limit", ">=5000")]


@pytest.mark.parametrize("logs_params", [True, False])
def test_an_id_in_the_path_gets_its_rails_name(logs_params: bool) -> None:
    rng = random.Random(6)
    bad = [request(rng, path="/books/77777/pages", params={"book_id": "77777"}) for _ in range(5)]
    good = ordinary(rng)
    if not logs_params:
        for row in (*bad, *good):
            row["params"] = None
    assert named(bad, good) == [("path_id", "book_id", "77777")]


def test_redacted_ids_still_name_the_segment() -> None:
    rng = random.Random(7)
    bad = [request(rng, path="/books/77777/pages", params={"book_id": "<int>"}) for _ in range(5)]
    good = [request(rng, params={"book_id": "<int>"}) for _ in range(100)]
    assert named(bad, good) == [("path_id", "book_id", "77777")]


def test_a_handful_of_ids_between_them() -> None:
    rng = random.Random(8)
    ids = ["70001", "70002", "70003"]
    bad = [request(rng, path=f"/books/{ids[i % 3]}/pages", params={"book_id": ids[i % 3]}) for i in range(9)]
    assert [value for *_, value in named(bad, ordinary(rng))] == ids


def test_bad_requests_that_were_survived_are_not_ordinary() -> None:
    rng = random.Random(17)
    bad = [request(rng, path="/books/77777/pages", params={"book_id": "77777"}, age_s=6.0) for _ in range(6)]
    survived = [dict(row, age_s=None, duration_ms=4000.0 + i) for i, row in enumerate(bad)]
    (found,) = distinguish(table(bad), table(ordinary(rng, 6) + survived))
    assert (found.value, found.hits, found.of, found.base_share) == ("77777", 12, 12, 0)


def test_long_but_innocent_requests_among_the_suspects_do_not_hide_the_trait() -> None:
    rng = random.Random(18)
    bad = [request(rng, params={"limit": "0"}, age_s=40.0, started_at=T0)]
    innocent = [request(rng, duration_ms=2500.0) for _ in range(12)]
    assert named(bad + innocent, ordinary(rng)) == [("param", "limit", "0")]


def test_client_user_agent_and_body_size() -> None:
    rng = random.Random(9)
    assert named([request(rng, client="10.9.9.9") for _ in range(9)], ordinary(rng)) == [
        ("client", "client", "10.9.9.9")
    ]
    assert named([request(rng, user_agent="export/1") for _ in range(9)], ordinary(rng)) == [
        ("user_agent", "user_agent", "export/1")
    ]
    good = [request(rng, received_bytes=rng.randrange(300, 3000)) for _ in range(100)]
    bad = [request(rng, received_bytes=rng.randrange(4_000_000, 9_000_000)) for _ in range(5)]
    found = distinguish(table(bad), table(good))
    assert (found[0].kind, found[0].name) == ("body_size", "body")
    assert "MiB" in found[0].text


def test_two_independent_traits_are_both_named() -> None:
    rng = random.Random(10)
    bad = [request(rng, params={"limit": "0"}) for _ in range(12)] + [
        request(rng, client="10.9.9.9") for _ in range(12)
    ]
    assert set(named(bad, ordinary(rng, 400))) == {("param", "limit", "0"), ("client", "client", "10.9.9.9")}


def test_nothing_when_the_suspects_are_ordinary() -> None:
    spoken = 0
    for seed in range(150):
        rng = random.Random(seed)
        spoken += bool(named(ordinary(rng, rng.choice([1, 3, 7, 25])), ordinary(rng, 60)))
    assert spoken <= 4  # the guard is set to one in a hundred


def test_nothing_without_a_suspect() -> None:
    assert named([], ordinary(random.Random(11))) == []


@pytest.mark.parametrize(
    ("others", "compared"),
    [(0, "no ordinary request to compare with"), (1, "the one other does not"), (4, "none of 4 others does")],
)
def test_what_all_suspects_ask_for_is_a_lead_where_hardly_anything_is_ordinary(
    others: int, compared: str
) -> None:
    rng = random.Random(11)
    bad = [request(rng, params={"limit": "0"}) for _ in range(3)]
    (lead,) = distinguish(table(bad), table(ordinary(rng, others)))
    assert (lead.name, lead.value, lead.hits, lead.of, lead.p_value) == ("limit", "0", 3, 3, None)
    assert lead.text == f"3 of 3 had `limit=0`; {compared}; too few to test: a lead, not proof"


def test_a_value_that_an_ordinary_request_had_too_is_no_lead() -> None:
    rng = random.Random(12)
    bad = [request(rng, params={"limit": "20"}) for _ in range(2)]
    assert ("param", "limit", "20") not in named(bad, [request(rng, params={"limit": "20"})])


def test_a_lone_request_that_outlived_all_others_is_a_lead() -> None:
    rng = random.Random(12)
    bad = [request(rng, path="/books/88888/pages", params={"book_id": "88888"}, started_at=T0, age_s=40.0)]
    (lead,) = distinguish(table(bad), table(ordinary(rng)))
    assert (lead.kind, lead.name, lead.value, lead.p_value) == ("path_id", "book_id", "88888", None)
    assert "not proof" in lead.text


def test_a_lone_huge_body_is_named_instead_of_the_id_it_had() -> None:
    rng = random.Random(19)
    good = [request(rng, received_bytes=rng.randrange(300, 3000)) for _ in range(60)]
    bad = [request(rng, path="/books/88888/pages", started_at=T0, age_s=40.0, received_bytes=8_000_000)]
    (lead,) = distinguish(table(bad), table(good))
    assert (lead.kind, lead.p_value) == ("body_size", None)


@pytest.mark.parametrize("over", [{"age_s": 0.05}, {"started_at": T0 + timedelta(hours=1)}, {"age_s": None}])
def test_a_lone_request_is_no_lead_when_young_or_when_nothing_finished_since(over: dict[str, Any]) -> None:
    rng = random.Random(13)
    assert named([request(rng, **({"started_at": T0, "age_s": 40.0} | over))], ordinary(rng)) == []


def test_unread_parameters_are_unknown_not_absent() -> None:
    rng = random.Random(14)
    bad = [request(rng) | {"params": "{cut", "processing_at": None} for _ in range(9)]
    assert named(bad, ordinary(rng)) == []


def test_same_rows_same_answer_and_limit() -> None:
    rng = random.Random(15)
    bad, good = [request(rng, params={"limit": "0"}, client="10.9.9.9") for _ in range(9)], ordinary(rng)
    assert distinguish(table(bad), table(good)) == distinguish(table(bad), table(good))
    assert len(named(bad, good, limit=1)) == 1


def test_missing_columns_are_unknown() -> None:
    rng = random.Random(16)
    narrow = ["path", "query", "client"]
    bad = table([request(rng, query="limit=0") for _ in range(7)]).select(narrow)
    assert distinguish(bad, table(ordinary(rng)).select(narrow))[0].name == "limit"


SAMPLES = ['{"a":', "[1]", "null", "a=%zz&&=&b", "///9//<int>/"]
junk = st.text(max_size=60) | st.sampled_from([*SAMPLES, SAMPLES[0] * 3000])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(junk, junk, junk), min_size=1, max_size=5))
def test_hostile_text_never_raises(texts: list[tuple[str, str, str]]) -> None:
    bad = [{"path": p, "query": q, "params": j, "client": p, "user_agent": q} for p, q, j in texts]
    good = [dict(row, path="/x/1") for row in bad] * 10
    for found in distinguish(table(bad), table(good)):
        assert found.hits <= found.of
    assert all(len(f.name) <= 84 for f in read_traits(table(bad), table(good)))


def test_few_requests_that_part_without_exception_are_a_lead() -> None:
    rng = random.Random(3)
    good, bad = ordinary(rng, 6), [request(rng, params={"scope": "all"}) for _ in range(5)]
    (found,) = distinguish(table(bad), table(good))
    assert (found.name, found.value, found.hits, found.of) == ("scope", "all", 5, 5)
    assert found.p_value is None
    assert found.text.endswith("a lead, not proof")
    one_has_it = [*good[:5], request(rng, params={"scope": "all"})]
    assert "scope" not in [d.name for d in distinguish(table(bad), table(one_has_it))]


def test_a_word_in_the_path_that_varies_is_an_id() -> None:
    rng = random.Random(4)

    def visit(slug: str) -> dict[str, Any]:
        return request(
            rng,
            path=f"/towns/{slug}",
            params={"slug": "<str:0a1b2c>", "book_id": None},
            endpoint="TownsController#show",
        )

    good = [visit(rng.choice(["berg", "hafen", "linden", "moor"])) for _ in range(60)]
    found = distinguish(table([visit("stein-am-fluss") for _ in range(6)]), table(good))
    assert ("path_id", "slug", "stein-am-fluss") in [(d.kind, d.name, d.value) for d in found]


def running(rng: random.Random, age: float, **over: Any) -> dict[str, Any]:
    return request(rng, ended_at=None, duration_ms=None, age_s=age, **over)


def test_a_slow_endpoint_whose_bad_requests_are_only_some_times_as_long() -> None:
    """Nothing is ten times as old as usual; all that took longest, and no other, asked for the same."""
    rng = random.Random(3)
    bad = [running(rng, age, params={"limit": "all"}) for age in (3.9, 3.8, 2.9, 0.3)]
    good = [request(rng, duration_ms=ms) for ms in (460.0, 1300.0, 1700.0, 2000.0)]
    good.append(request(rng, duration_ms=3980.0, params={"limit": "all"}))
    (found,) = distinguish(table(bad), table(good))
    assert (found.name, found.value, found.hits, found.of, found.p_value) == ("limit", "all", 5, 5, None)


def test_where_bad_requests_are_the_usual_ones_the_few_quick_ones_tell_them() -> None:
    rng = random.Random(4)
    bad = [running(rng, 4.7, params={"limit": "all"})]
    good = [request(rng, duration_ms=3000.0 + 100 * i, params={"limit": "all"}) for i in range(14)]
    good.append(request(rng, duration_ms=30.0))
    (found,) = distinguish(table(bad), table(good))
    assert (found.name, found.value, found.hits, found.of) == ("limit", "all", 15, 15)


def test_a_few_ids_that_each_come_again_are_a_lead() -> None:
    rng = random.Random(6)
    bad = [running(rng, age, path=f"/books/{book}/pages") for age, book in ((9, 7), (8, 8), (7, 7), (6, 8))]
    good = [request(rng, path=f"/books/{100 + i}/pages", params={"book_id": str(100 + i)}) for i in range(13)]
    for row, book in zip(bad, (7, 8, 7, 8), strict=True):
        row["params"] = json.dumps({"book_id": str(book)})
    assert named(bad, good) == [("path_id", "book_id", "7"), ("path_id", "book_id", "8")]


def test_of_a_lone_request_what_ordinary_ones_hardly_bring_anew_comes_first() -> None:
    rng = random.Random(7)
    bad = [running(rng, 60.0, started_at=T0, params={"limit": "0"})]
    (first, *_) = distinguish(table(bad), table(ordinary(rng, 12)))
    assert (first.kind, first.name, first.value) == ("param", "limit", "0")


def test_where_nothing_was_ordinary_nothing_is_said_of_what_all_have_in_common() -> None:
    rng = random.Random(8)
    bad = [running(rng, 5.0 + i, params={"limit": "all"}) for i in range(4)]
    assert named(bad, [request(rng, duration_ms=6000.0, params={"limit": "all"})]) == []


@pytest.mark.parametrize("mark", ["<email>", "<file>", "<secret>", "[FILTERED]"])
def test_a_mark_that_all_values_get_is_no_value_in_common(mark: str) -> None:
    rng = random.Random(9)
    bad = [running(rng, 60.0 + i, params={"reader": mark}) for i in range(4)]
    for few in (3, 30):
        said = {value for _, _, value in named(bad, ordinary(rng, few))}
        assert mark not in said
