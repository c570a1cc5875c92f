"""One name for one piece of code: endpoint from the log, else method and path template, else the job class."""

from __future__ import annotations

import polars as pl

from oomscope.alb import endpoints_of, learn_templates, path_counts, path_template, templates

FIXED_SHARE = 0.9  # of an endpoint's requests that have the same word there, else it is no word of the route
MIN_WORDS = 3  # fewer may be routes of their own
MAX_FORMS = 1000


class EndpointNames:
    """Learns from the log which endpoint serves which method and path, and names rows that only have a path.

    Nothing learnt (no log, an unseen path, several endpoints on one path): the name is ``METHOD /path/template``,
    the template learnt from all paths of the load balancer's rows.
    """

    def __init__(self, requests: pl.DataFrame, accesses: pl.DataFrame) -> None:
        counts = path_counts(requests)
        self._templates = _learnt(accesses["path"])
        self._endpoints = endpoints_of(counts)
        self._patterns = _usual_paths(counts)

    def name(self, method: str | None, path: str | None) -> str:
        """Endpoint that serves this method and path, else ``METHOD /template``."""
        return self._endpoints.of(method, path) or f"{method or '?'} {self.template(path) or '?'}"

    def of_rows(self, rows: pl.DataFrame) -> pl.Series:
        """Endpoint of each request: as logged, else ``name`` of its method and path."""
        logged = rows["endpoint"]
        without = logged.is_null()
        if not without.any():
            return logged
        guessed = rows.select("method", "path").filter(without)
        names = pl.Series(self.names(guessed["method"], guessed["path"]), dtype=pl.String)
        return logged.clone().scatter(without.arg_true(), names)

    def names(self, methods: pl.Series, paths: pl.Series) -> list[str]:
        """``name`` of many; every distinct pair is looked up once."""
        pairs = pl.DataFrame({"method": methods.rename("method"), "path": templates(paths).rename("path")})
        known = pairs.unique(maintain_order=True)
        known = known.with_columns(
            name=pl.Series([self.name(*pair) for pair in known.iter_rows()], dtype=pl.String)
        )
        named = pairs.join(known, on=["method", "path"], how="left", nulls_equal=True, maintain_order="left")
        return named["name"].to_list()

    def template(self, path: str | None) -> str:
        """Path with its variable segments replaced."""
        if not path:
            return ""
        template = path_template(path)
        return self._templates.get(template, template)

    def pattern(self, endpoint: str) -> tuple[str | None, str | None]:
        """(method, path template) most used with that endpoint; (None, None) when never seen."""
        if endpoint in self._patterns:
            return self._patterns[endpoint]
        method, _, template = endpoint.partition(" ")
        return (method, template) if template.startswith("/") else (None, None)


def _learnt(paths: pl.Series) -> dict[str, str]:
    counts = templates(paths).drop_nulls().rename("template").value_counts()
    return learn_templates(dict(counts.iter_rows()))


def _usual_paths(counts: pl.DataFrame) -> dict[str, tuple[str | None, str | None]]:
    counted = counts.select("endpoint", "method", "template", "len").sort(
        ["endpoint", "len", "method", "template"], descending=[False, True, False, False]
    )
    found: dict[str, list[tuple[str, str, int]]] = {}
    for endpoint, method, template, count in counted.iter_rows():
        found.setdefault(endpoint, []).append((method, template, count))
    return {endpoint: _common_form(forms[:MAX_FORMS]) for endpoint, forms in found.items()}


def _common_form(forms: list[tuple[str, str, int]]) -> tuple[str, str]:
    """The most used method and path; parts that differ between paths of that length are words that vary (slugs)."""
    method, template, _ = forms[0]
    parts = template.split("/")
    alike = [(t.split("/"), n) for m, t, n in forms if m == method and t.count("/") == template.count("/")]
    total = sum(n for _, n in alike)
    for i, part in enumerate(parts):
        same = sum(n for other, n in alike if other[i] == part)
        words = len({other[i] for other, _ in alike})
        if words >= MIN_WORDS and same < FIXED_SHARE * total and not part.startswith(":"):
            parts[i] = ":slug"
    return method, "/".join(parts)
