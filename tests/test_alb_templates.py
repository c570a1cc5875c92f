"""Path templates and endpoints learned from the log."""

from __future__ import annotations

import time

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomscope.alb import endpoint_of_paths, learn_templates, path_template, templates
from oomscope.facts import REQUEST_SCHEMA, empty, polars_schema


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/orders/123/items/9f8e7d6c5b4a3210", "/orders/:id/items/:id"),
        ("/a/550e8400-e29b-41d4-a716-446655440000", "/a/:id"),
        ("/a/550E8400-E29B-41D4-A716-446655440000.json", "/a/:id.json"),
        ("/a/01ARZ3NDEKTSV4RRFFQ69G5FAV/b", "/a/:id/b"),
        ("/u/bob@example.com", "/u/:id"),
        ("/u/bob%40example.com/edit", "/u/:id/edit"),
        ("/r/2026-01-02/12.csv", "/r/:id/:id.csv"),
        ("/r/20260102", "/r/:id"),
        ("/r/2026-01-02T10:00:00Z", "/r/:id"),
        ("/p/123-my-first-post", "/p/:id"),
        ("/p/blue-shoe-12345", "/p/:id"),
        ("/i/INV-20231", "/i/:id"),
        ("/t/eyJhbGciOiJIUzI1NiJ9", "/t/:id"),
        ("/x/-7/1.5", "/x/:id/:id"),
        ("/", "/"),
        ("", "/"),
        ("/users/new", "/users/new"),
        ("/v1/api2/oauth2/callback", "/v1/api2/oauth2/callback"),
        ("/facade/deadbeef/decade", "/facade/deadbeef/decade"),
        ("/internationalization/authentication", "/internationalization/authentication"),
        ("/list.csv", "/list.csv"),
        ("/a?b=1/2", "/a"),
        ("//a//1/", "//a//:id"),
        ("/o/ord_123/", "/o/:id"),
        ("/sha256/mp3/utf8/base64", "/sha256/mp3/utf8/base64"),
        ("*", "*"),
    ],
)
def test_segments_that_can_only_be_identifiers_are_replaced(path: str, template: str) -> None:
    assert path_template(path) == template
    assert templates(pl.Series([path])).to_list() == [template]


@given(
    st.lists(
        st.one_of(st.text(max_size=60), st.text("/0123456789abcdef-.:id?é%@_", max_size=60)), max_size=20
    )
)
def test_a_column_gives_what_single_paths_give(paths: list[str]) -> None:
    assert templates(pl.Series(paths, dtype=pl.String)).to_list() == [path_template(path) for path in paths]


@given(st.text("/0123456789abcdef-.T:", max_size=80))
def test_a_template_is_its_own_template(path: str) -> None:
    assert path_template(path_template(path)) == path_template(path)


@pytest.mark.parametrize(
    "path", ["/" + "1-" * 50_000, "/a" * 50_000, "/" + "@." * 20_000, "/" + "a1" * 40_000 + "!"]
)
def test_hostile_paths_take_no_time_and_templates_stay_short(path: str) -> None:
    begun = time.process_time()
    assert len(path_template(path)) < 400
    assert time.process_time() - begun < 0.5


def test_nulls_stay_null() -> None:
    assert templates(pl.Series([None, "/1"], dtype=pl.String)).to_list() == [None, "/:id"]


def test_many_values_in_one_place_become_a_parameter_but_frequent_names_stay() -> None:
    paths = [f"/shops/{a}{b}/menu" for a in "abcdefgh" for b in "qwert"]
    learned = learn_templates(dict.fromkeys(paths, 1) | {"/shops/search/menu": 10, "/about": 1})
    assert learned["/shops/aq/menu"] == "/shops/:id/menu"
    assert learned["/shops/search/menu"] == "/shops/search/menu"
    assert learned["/about"] == "/about"
    assert learn_templates(dict.fromkeys(paths[:20], 1))["/shops/aq/menu"] == "/shops/aq/menu"


def test_the_resources_of_a_large_application_are_no_values() -> None:
    counts = {f"/api/{a}{b}s": 7 for a in "abcdefgh" for b in "qwert"} | {"/api/imports": 1}
    assert learn_templates(counts) == {path: path for path in counts}


def test_a_few_codes_of_one_form_are_values_of_a_parameter() -> None:
    wards = [f"/wards/W{number}-{wing}/beds" for number, wing in zip((9, 13, 2, 28, 4), "ABCAB", strict=True)]
    links = ["/go/sg7g4qpapc", "/go/2v6w6gdpdw", "/go/9xrwh8vabb", "/go/42fqcm9gs3", "/go/4692em8yst"]
    versions = ["/v1/orders", "/v2/orders", "/v3/orders"]
    learned = learn_templates(dict.fromkeys([*wards, *links, *versions], 1))
    assert {learned[path] for path in wards} == {"/wards/:id/beds"}
    assert {learned[path] for path in links} == {"/go/:id"}
    assert {learned[path] for path in versions} == set(versions)


def test_what_was_learnt_stays() -> None:
    learned = learn_templates({f"/wards/W{n}-A/beds/{n}.pdf": 1 for n in range(9)})
    assert set(learned.values()) == {"/wards/:id/beds/:id.pdf"}
    assert learn_templates(dict.fromkeys(learned.values(), 1)) == {
        "/wards/:id/beds/:id.pdf": "/wards/:id/beds/:id.pdf"
    }


def requests(*rows: tuple[str, str, str]) -> pl.DataFrame:
    full = [
        dict.fromkeys(REQUEST_SCHEMA) | dict(zip(("method", "path", "endpoint"), row, strict=True))
        for row in rows
    ]
    return pl.DataFrame(full, schema=polars_schema(REQUEST_SCHEMA))


def test_endpoints_are_learned_from_the_log() -> None:
    learned = endpoint_of_paths(
        requests(
            ("GET", "/a/1", "A#show"),
            ("GET", "/a/new", "A#new"),
            ("POST", "/a", "A#create"),
            ("GET", "/a", "A#index"),
        )
    )
    assert learned.of("GET", "/a/2") == "A#show"
    assert learned.of("GET", "/a/new") == "A#new"
    assert learned.of("POST", "/a") == "A#create"
    assert learned.of("DELETE", "/a/2") is None
    assert learned.of(None, None) is None
    column = learned.column(pl.DataFrame({"method": ["GET", "PUT", None], "path": ["/a/9", "/a", None]}))
    assert column.to_list() == ["A#show", None, None]


def test_a_template_of_two_endpoints_names_neither() -> None:
    learned = endpoint_of_paths(requests(("GET", "/x/1", "A#show"), ("GET", "/x/2", "B#show")))
    assert learned.of("GET", "/x/3") is None
    assert learned.ambiguous[("GET", "/x/:id")] == ("A#show", "B#show")


def test_unseen_slugs_find_their_endpoint() -> None:
    seen = [("GET", f"/shops/{name}", "Shops#show") for name in ("oak", "elm", "ash")]
    learned = endpoint_of_paths(requests(*seen, ("GET", "/shops/map", "Shops#map")))
    assert learned.of("GET", "/shops/fir") == "Shops#show"
    assert learned.of("GET", "/shops/map") == "Shops#map"
    assert learned.of("GET", "/shops/fir/extra") is None


def test_no_requests_teach_nothing() -> None:
    assert endpoint_of_paths(empty(REQUEST_SCHEMA)).of("GET", "/") is None
