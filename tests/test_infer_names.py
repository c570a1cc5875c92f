"""The path people know an endpoint by."""

from __future__ import annotations

from oomscope.analyze.names import EndpointNames
from oomscope.facts import ACCESS_SCHEMA, REQUEST_SCHEMA, empty
from tests.infer_help import request, table


def pattern(*paths: str) -> str | None:
    rows = [request(-10 - i, -9 - i, "A#show", path=path) for i, path in enumerate(paths)]
    return EndpointNames(table(rows, REQUEST_SCHEMA), empty(ACCESS_SCHEMA)).pattern("A#show")[1]


def test_words_that_vary_are_no_words_of_the_route() -> None:
    assert (
        pattern("/towns/berg/walks/1", "/towns/hafen/walks/2", "/towns/moor/walks/3")
        == "/towns/:slug/walks/:id"
    )


def test_two_routes_of_one_endpoint_stay_two() -> None:
    assert pattern("/", "/home", "/home") == "/home"


def test_a_rare_other_path_changes_nothing() -> None:
    assert pattern(*["/towns/7"] * 30, "/cities/7") == "/towns/:id"


def test_codes_in_paths_that_only_the_load_balancer_saw() -> None:
    rows = [{"path": f"/wards/W{n}-B/beds"} for n in range(6)]
    names = EndpointNames(empty(REQUEST_SCHEMA), table(rows, ACCESS_SCHEMA))
    assert names.name("GET", "/wards/W3-B/beds") == "GET /wards/:id/beds"
    assert names.name("GET", None) == "GET ?"
