"""Path templates: ``/boats/123/sails/9f8e...`` -> ``/boats/:id/sails/:id``, and endpoints learned from the log.

Only the form of a segment and the paths seen are used; no application's routes are known here.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import polars as pl

MAX_SEGMENTS = 32
_EXTENSION = re.compile(r"(.+?)(\.[A-Za-z][A-Za-z0-9]{0,5})")
_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_NEVER_A_NAME = re.compile(
    rf"""
      [-+]?\d+(?:[.,_-]\d+)*                     # 7, -7, 1.5, 2026-01-02, 10_000
    | {_UUID}
    | (?=[a-fA-F]*\d)[0-9a-fA-F]{{8,}}           # hexadecimal
    | [0-7][0-9A-HJKMNP-TV-Z]{{25}}              # ULID
    | [^@/]+(?:@|%40)[^@/]+\.[^@/.]+             # e-mail
    | \d{{4}}-\d\d-\d\dT[\d:.%A-Za-z+-]*         # time
    | :id(?:[-_,][^.]*)?(?:\.\d+)?               # a number that was already replaced, and what hangs on to it
    | [A-Za-z]{{1,12}}[-_]?\d{{4,}}              # INV-20231
    | [\w-]*[-_]\d{{3,}}                         # slug-12345, ord_123
    """,
    re.VERBOSE | re.ASCII,
)
# Long, with a digit: a key, a signature, an encoded blob.
_TOKEN = re.compile(r"(?=[^0-9]*[0-9])[\w=~%+-]{16,}", re.ASCII)
_NUMBERS = rf"/(?:{_UUID}|[0-9a-f]{{32,}}|[0-9]+)\b"
_ROUGH = re.compile(_NUMBERS, re.ASCII)
_ROUGH_RUST = _NUMBERS.replace(r"\b", r"(?-u:\b)")


@lru_cache(maxsize=65536)
def path_template(path: str) -> str:
    """The path with every segment that can only be an identifier replaced by ``:id`` (an extension stays)."""
    segments = _ROUGH.sub("/:id", path).partition("?")[0].split("/")
    if len(segments) > MAX_SEGMENTS:
        segments = [*segments[:MAX_SEGMENTS], "..."]
    return "/".join(_segment(segment) for segment in segments).rstrip("/") or "/"


def _segment(segment: str) -> str:
    if not segment or len(segment) > 256:
        return ":id" if segment else ""
    if is_identifier(segment):
        return ":id"
    match = _EXTENSION.fullmatch(segment)
    if match and is_identifier(match[1]):
        return ":id" + match[2]
    return segment


def is_identifier(segment: str) -> bool:
    """Whether the form of a path segment alone says that it names one thing among many."""
    if _NEVER_A_NAME.fullmatch(segment):
        return True
    if not _TOKEN.fullmatch(segment):
        return False
    cases = any(char.isupper() for char in segment) and any(char.islower() for char in segment)
    return sum(char.isdigit() for char in segment) * 8 >= len(segment) or (cases and len(segment) >= 20)


def roughly(paths: pl.Series) -> pl.Series:
    """Numbers and UUIDs of a whole column replaced: few distinct paths are left, with the same templates."""
    return paths.str.replace_all(_ROUGH_RUST, "/:id")


def templates(paths: pl.Series) -> pl.Series:
    """``path_template`` of a whole column."""
    rough = roughly(paths)
    distinct = rough.unique().drop_nulls()
    known = {path: path_template(path) for path in distinct.to_list()}
    return rough.replace_strict(known, default=None, return_dtype=pl.String)


_MAX_LEARNED = 200_000  # distinct paths looked at
_MIN_CODES = 5  # values of one form with a digit in it, in the same place: W13-C, W9-A
_MIN_SLUGS, _SEEN_ONCE = 30, 0.25  # words in the same place, and how many of them came but once
_SHARE_OF_A_NAME = 0.1  # a value this frequent among many is a name of its own, like "search" among item ids
_RUN = re.compile(r"([A-Za-z]+)|([0-9]+)")
_MIXED = 4  # runs of letters and of digits that make a random token of a segment
_SAME_ENDPOINT = 0.98  # share of requests that makes a template belong to one endpoint
_MIN_VALUES = 3  # values of a segment within one endpoint that make it a parameter


def learn_templates(counts: Mapping[str, int]) -> dict[str, str]:
    """Template of each path, from how often each was seen: identifiers that only show among their like are ``:id`` too.

    Those are codes (five values of one form, with digits) and words that take many values in the same place, most
    of them rare. A value that makes up a tenth of the traffic there keeps its name, and so do the resources of a large
    application: many words too, but hardly one of them comes only once.
    """
    most = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:_MAX_LEARNED]
    rows = [(path, path_template(path).split("/"), count) for path, count in most]
    for depth in range(1, max((len(segments) for _, segments, _ in rows), default=0)):
        values: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for _, segments, count in rows:
            if len(segments) > depth:
                values[tuple(segments[:depth])][segments[depth]] += count
        ids = {prefix: _identifiers(beside) for prefix, beside in values.items()}
        for _, segments, _ in rows:
            if len(segments) > depth and segments[depth] in ids[tuple(segments[:depth])]:
                segments[depth] = _as_id(segments[depth])
    learned = {path: "/".join(segments) for path, segments, _ in rows}
    return {path: learned.get(path) or path_template(path) for path in counts}


def _identifiers(beside: Counter[str]) -> set[str]:
    """Which of the segments seen in one place name one thing among many."""
    forms: defaultdict[str, set[str]] = defaultdict(set)
    for value in beside:
        forms[_form(value)].add(value)
    found = {
        value
        for form, values in forms.items()
        if "0" in form and len(values) >= _MIN_CODES
        for value in values
    }
    once = sum(count == 1 for count in beside.values())
    if len(beside) >= _MIN_SLUGS and once >= _SEEN_ONCE * len(beside):
        found |= {value for value, count in beside.items() if count < _SHARE_OF_A_NAME * beside.total()}
    return found


def _form(segment: str) -> str:
    """``W13-C`` -> ``a0-a``; random tokens all have one form."""
    form, runs = _RUN.subn(lambda run: "a" if run[1] else "0", segment)
    return "a0a0" if runs >= _MIXED and form.isalnum() else form


def _as_id(segment: str) -> str:
    match = _EXTENSION.fullmatch(segment)
    return ":id" + match[2] if match else ":id"


@dataclass(frozen=True)
class Endpoints:
    """Which endpoint serves which path, learned from requests whose log names it.

    ``known`` maps (method, template) to its one endpoint; ``ambiguous`` holds those that lead to several.
    """

    known: Mapping[tuple[str, str], str]
    ambiguous: Mapping[tuple[str, str], tuple[str, ...]]
    patterns: Mapping[tuple[str, int], tuple[tuple[tuple[str, ...], str], ...]]

    def of(self, method: str | None, path: str | None) -> str | None:
        """The endpoint of a request; None when the log never showed its like or showed several."""
        if method is None or path is None:
            return None
        template = path_template(path)
        key = (method, template)
        if key in self.known or key in self.ambiguous:
            return self.known.get(key)
        segments = template.split("/")
        fits = [
            (pattern.count("*"), endpoint)
            for pattern, endpoint in self.patterns.get((method, len(segments)), ())
            if all(want in ("*", got) for want, got in zip(pattern, segments, strict=True))
        ]
        closest = {endpoint for stars, endpoint in fits if stars == min(fits)[0]}
        return closest.pop() if len(closest) == 1 else None

    def column(self, accesses: pl.DataFrame) -> pl.Series:
        """The endpoint of every row of an ACCESS_SCHEMA table."""
        keys = accesses.select("method", template=templates(accesses["path"]))
        distinct = keys.unique()
        found = [self.of(method, template) for method, template in distinct.iter_rows()]
        table = distinct.with_columns(pl.Series("endpoint", found, dtype=pl.String))
        return keys.join(table, on=["method", "template"], how="left", maintain_order="left")["endpoint"]


def endpoint_of_paths(requests: pl.DataFrame) -> Endpoints:
    """Learn from a REQUEST_SCHEMA table which endpoint serves which method and path."""
    return endpoints_of(path_counts(requests))


def path_counts(requests: pl.DataFrame) -> pl.DataFrame:
    """How many requests (``len``) of a REQUEST_SCHEMA table had each method, path template and endpoint."""
    rows = requests.select("method", "path", "endpoint").drop_nulls()
    keys = rows.select("method", "endpoint", template=templates(rows["path"]))
    return keys.group_by("method", "template", "endpoint").len()


def endpoints_of(counts: pl.DataFrame) -> Endpoints:
    """The same from ``path_counts``."""
    shares: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for method, template, endpoint, count in counts.sort("method", "template", "len", "endpoint").iter_rows():
        shares[method, template][endpoint] = count
    known = {key: max(of, key=of.__getitem__) for key, of in shares.items() if _one(of)}
    ambiguous = {key: tuple(sorted(of)) for key, of in shares.items() if not _one(of)}
    return Endpoints(known, ambiguous, _patterns(known))


def _one(of: dict[str, int]) -> bool:
    return max(of.values()) >= _SAME_ENDPOINT * sum(of.values())


def _patterns(
    known: Mapping[tuple[str, str], str],
) -> dict[tuple[str, int], tuple[tuple[tuple[str, ...], str], ...]]:
    """Per endpoint and number of segments: ``*`` where its paths differ, so that unseen slugs find it too."""
    groups: defaultdict[tuple[str, int, str], list[list[str]]] = defaultdict(list)
    for (method, template), endpoint in known.items():
        segments = template.split("/")
        groups[method, len(segments), endpoint].append(segments)
    patterns: defaultdict[tuple[str, int], list[tuple[tuple[str, ...], str]]] = defaultdict(list)
    for (method, size, endpoint), paths in sorted(groups.items()):
        values = [sorted(set(column)) for column in zip(*paths, strict=True)]
        if any(len(value) >= _MIN_VALUES for value in values) and all(
            len(value) == 1 or len(value) >= _MIN_VALUES for value in values
        ):
            pattern = tuple(value[0] if len(value) == 1 else "*" for value in values)
            patterns[method, size].append((pattern, endpoint))
    return {key: tuple(value) for key, value in patterns.items()}
