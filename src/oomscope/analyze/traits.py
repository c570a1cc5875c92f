"""Requests as comparable traits: parameters, path ids, client, user agent, format, body size. Pure, bounded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote_plus

import orjson
import polars as pl

Kind = Literal["param", "path_id", "client", "user_agent", "format", "body_size"]
Value = str | None  # None: not known for this request
ABSENT = "\x00absent"  # known not to be there

MIN_ORDINARY = 5  # fewer ordinary requests cannot say what is ordinary
SURVIVED_FACTOR = 10.0  # times the usual duration ...
SURVIVED_SHARE = 0.3  # ... and this share of the suspects' age: as long as the bad ones
OLD_FACTOR = 5.0  # times the duration nine in ten ordinary requests stay below
MAX_PARAMS = 64  # of one request
MAX_FEATURES = 200  # of one endpoint
MAX_TEXT = 80
MAX_SEGMENTS = 32
MAX_PARAMS_TEXT = 16_384

_ID = re.compile(
    r"\d{1,20}"
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{4,28}"
    r"|(?=[a-fA-F]*\d)[0-9a-fA-F]{10,64}"
    r"|<[a-z0-9:_ -]{1,20}>"
)
_ID_NAME = re.compile(r"id|slug|.{1,60}_(?:id|uuid|key|code|slug|token)")
_ROUTING = frozenset({"controller", "action", "format", "utf8", "authenticity_token", "_method"})


class Feature(NamedTuple):
    """What is compared: kind and name, such as ``("param", "limit")``."""

    kind: Kind
    name: str


class _Log(NamedTuple):
    """What all rows together tell: whether the log writes parameters, and which parts of the path (by how many parts
    it has, and place) are not always the same."""

    writes_params: bool
    varying: frozenset[tuple[int, int]]


Columns = dict[Feature, tuple[Sequence[Value], Sequence[Value]]]


def read_traits(suspect: pl.DataFrame, ordinary: pl.DataFrame) -> Columns:
    """Per feature the value of every suspect and of every ordinary request, in row order."""
    bad, good = suspect.to_dicts(), ordinary.to_dicts()
    log = _Log(any(row.get("params") for row in (*bad, *good)), _varying((*bad, *good)))
    bad_traits = [_traits(row, log) for row in bad]
    good_traits = [_traits(row, log) for row in good]
    features = {feature: None for traits, _ in (*bad_traits, *good_traits) for feature in traits}
    kept = sorted(features, key=lambda f: -sum(f in traits for traits, _ in bad_traits))[:MAX_FEATURES]
    return {f: (_column(f, bad_traits), _column(f, good_traits)) for f in kept}


def looks(columns: Columns, suspect: pl.DataFrame, ordinary: pl.DataFrame) -> Iterator[Columns]:
    """Ways to draw the line: as given; running and long survived ones; only those running; only those running long."""
    yield columns
    running, rest = only_running(suspect, ordinary)
    by_age = columns if running is suspect else read_traits(running, rest)
    survived = _survived(running, rest)
    if any(survived):
        yield _with_survivors(by_age, survived)
    if by_age is not columns:
        yield by_age
    old, rest = outliving(suspect, ordinary)
    if 0 < old.height < running.height:
        yield read_traits(old, rest)


def outliving(suspect: pl.DataFrame, ordinary: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The requests in flight that are several times older than nearly all ordinary ones, and the shorter of those."""
    running, rest = only_running(suspect, ordinary)
    if "age_s" not in running.columns or "duration_ms" not in rest.columns:
        return running.head(0), rest
    usual = rest["duration_ms"].quantile(0.9)
    if usual is None or rest["duration_ms"].count() < MIN_ORDINARY:
        return running.head(0), rest
    old = running.filter(pl.col("age_s") >= OLD_FACTOR * usual / 1e3)
    youngest = old["age_s"].min()
    if not isinstance(youngest, float):
        return old, rest
    return old, rest.filter((pl.col("duration_ms") < SURVIVED_SHARE * 1e3 * youngest).fill_null(True))


def only_running(suspect: pl.DataFrame, ordinary: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Suspects with an age (in flight), and everything that ended as ordinary."""
    if "age_s" not in suspect.columns or suspect["age_s"].null_count() in (0, suspect.height):
        return suspect, ordinary
    ended = suspect.filter(pl.col("age_s").is_null())
    return suspect.filter(pl.col("age_s").is_not_null()), pl.concat([ordinary, ended], how="diagonal_relaxed")


def _survived(suspect: pl.DataFrame, ordinary: pl.DataFrame) -> list[bool]:
    """Which completed requests took as long as the suspects have run: bad ones that were survived, not ordinary.

    Chosen by duration alone, never by what they carried, so that the test stays fair. The lower quartile says what is
    usual, because survived bad requests may be the majority.
    """
    nobody = [False] * ordinary.height
    if "age_s" not in suspect.columns or "duration_ms" not in ordinary.columns:
        return nobody
    usual, age = ordinary["duration_ms"].quantile(0.25), suspect["age_s"].median()
    if usual is None or not isinstance(age, float):
        return nobody
    long = (ordinary["duration_ms"] >= max(SURVIVED_FACTOR * usual, SURVIVED_SHARE * age * 1e3)).fill_null(
        False
    )
    return long.to_list() if (~long).sum() >= MIN_ORDINARY else nobody


def _with_survivors(columns: Columns, survived: Sequence[bool]) -> Columns:
    """The same columns with the survived bad requests counted among the suspects."""

    def moved(bad: Sequence[Value], good: Sequence[Value]) -> tuple[Sequence[Value], Sequence[Value]]:
        return [*bad, *compress(good, survived)], list(compress(good, (not s for s in survived)))

    return (
        {feature: moved(bad, good) for feature, (bad, good) in columns.items()} if any(survived) else columns
    )


def _column(feature: Feature, rows: Sequence[tuple[dict[Feature, str], bool]]) -> list[Value]:
    absent = ABSENT if feature.kind == "param" else None
    return [traits.get(feature, absent if complete else None) for traits, complete in rows]


def _segments(row: dict[str, Any]) -> list[str]:
    return (row.get("path") or "").split("/")[:MAX_SEGMENTS]


def _varying(rows: Sequence[dict[str, Any]]) -> frozenset[tuple[int, int]]:
    """Parts of the path that differ between requests of one endpoint: slugs and codes, which look like words."""
    seen: dict[tuple[int, int], str] = {}
    varying: set[tuple[int, int]] = set()
    for row in rows:
        segments = _segments(row)
        for i, segment in enumerate(segments):
            place = (len(segments), i)
            if seen.setdefault(place, segment) != segment:
                varying.add(place)
    return frozenset(varying)


def _traits(row: dict[str, Any], log: _Log) -> tuple[dict[Feature, str], bool]:
    """Traits of one request, and whether its parameters are known completely (so that a missing one is absent).

    Rails writes no Parameters line for a request without any, so silence after Processing means none - but only in a
    log that writes such lines at all. A query string is always complete by itself.
    """
    params, readable = _params(row)
    complete = (
        readable if row.get("params") else not log.writes_params or row.get("processing_at") is not None
    )
    found: dict[Feature, str] = {}
    for name, value in _path_ids(row, params, log.varying):
        found[Feature("path_id", name)] = value
        if params.get(name) == value or params.get(name, "").startswith("<"):
            params.pop(name, None)
    for name, value in params.items():
        found[Feature("param", name)] = value
    for kind in ("client", "user_agent", "format"):
        if row.get(kind):
            found[Feature(kind, kind)] = str(row[kind])[:MAX_TEXT]
    size = row.get("received_bytes")
    if size is not None:
        found[Feature("body_size", "body")] = str(size)
    elif row.get("params_bytes") is not None:
        found[Feature("body_size", "parameters")] = str(row["params_bytes"])
    return found, complete


def _params(row: dict[str, Any]) -> tuple[dict[str, str], bool]:
    """Query and logged parameters as flat ``a.b`` names, and whether the logged text could be read."""
    flat = _query(row.get("query"))
    text = row.get("params")
    if not text:
        return flat, True
    tree = _loads(text)
    if not isinstance(tree, dict):
        return flat, False
    flat.update(_flatten(tree))
    return flat, True


def _query(query: str | None) -> dict[str, str]:
    pairs = (query or "").lstrip("?").split("&", MAX_PARAMS)[:MAX_PARAMS]
    named = (pair.partition("=") for pair in pairs if pair)
    return {unquote_plus(name)[:MAX_TEXT]: unquote_plus(value)[:MAX_TEXT] for name, _, value in named}


def _loads(text: str) -> Any:
    if len(text) > MAX_PARAMS_TEXT:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _flatten(tree: dict[str, Any]) -> dict[str, str]:
    """Iterative, bounded. A list counts by its length: its elements are data, its size may be the trouble."""
    flat: dict[str, str] = {}
    todo: list[tuple[str, Any]] = [(str(k), v) for k, v in reversed(tree.items())]
    while todo and len(flat) < MAX_PARAMS:
        name, value = todo.pop()
        if isinstance(value, dict):
            todo += [(f"{name}.{key}"[:MAX_TEXT], v) for key, v in list(value.items())[:MAX_PARAMS]]
        elif isinstance(value, list):
            flat[f"{name}.length"[:MAX_TEXT]] = str(len(value))
        elif name not in _ROUTING:
            flat[name[:MAX_TEXT]] = _scalar(value)
    return flat


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)[:MAX_TEXT]


def _path_ids(
    row: dict[str, Any], params: dict[str, str], varying: frozenset[tuple[int, int]]
) -> list[tuple[str, str]]:
    """Ids in the path with the name Rails gives them: from the logged parameters, else by its routing convention.

    ``page=3`` beside ``/items/3`` is no routing parameter, so only names that look like one are matched by value.
    """
    segments = [unquote_plus(s.split(".")[0])[:MAX_TEXT] for s in _segments(row)]
    places = [i for i, s in enumerate(segments) if _ID.fullmatch(s) or (s and (len(segments), i) in varying)]
    routing = {n: v for n, v in params.items() if "." not in n and _ID_NAME.fullmatch(n)}
    hidden = [n for n, v in routing.items() if v[:1] in ("<", "[")]
    names: dict[str, str] = {}
    for order, place in enumerate(places):
        exact = next((n for n, v in routing.items() if v == segments[place]), None)
        by_order = hidden[order] if len(hidden) == len(places) else None
        name = exact or by_order or _conventional(segments, place, row.get("endpoint"))
        names[name if name not in names else f"{name}#{order + 1}"] = segments[place]
    return list(names.items())


def _conventional(segments: Sequence[str], place: int, endpoint: str | None) -> str:
    """``/boats/7/sails`` of SailsController is ``boat_id``; of BoatsController (a member route) it is ``id``."""
    before = next((s.lower() for s in reversed(segments[:place]) if not _ID.fullmatch(s)), "")
    owner = (endpoint or "").split("#")[0].rsplit("::", 1)[-1].removesuffix("Controller")
    owner = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", owner).lower()
    member = not owner or _singular(owner) == _singular(before)
    if member or not before or place == len(segments) - 1:
        return "id"
    return f"{_singular(before)}_id"


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
