"""One name for one piece of code: endpoint from the log, else method and path template, else the job class."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import polars as pl

from oomscope.alb import path_template


class EndpointNames:
    """Learns from the log which endpoint serves which method and path, and names rows that only have a path.

    Nothing learnt (no log, or an unseen path): the name is ``METHOD /path/template``.
    """

    def __init__(self, requests: pl.DataFrame) -> None:
        seen: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._templates: dict[str, str] = {}
        known = requests.filter(pl.col("endpoint").is_not_null() & pl.col("path").is_not_null())
        grouped = known.group_by("method", "path", "endpoint").len().sort("method", "path", "endpoint")
        for method, path, endpoint, count in grouped.iter_rows():
            seen[method or "", self.template(path)][endpoint] += count
        self._endpoint = {key: min(hits, key=lambda e: (-hits[e], e)) for key, hits in seen.items()}
        self._patterns = self._by_endpoint(seen)

    @staticmethod
    def _by_endpoint(seen: dict[tuple[str, str], Counter[str]]) -> dict[str, tuple[str, str]]:
        best: dict[str, tuple[int, str, str]] = {}
        for (method, template), hits in sorted(seen.items()):
            for endpoint, count in hits.items():
                if endpoint not in best or count > best[endpoint][0]:
                    best[endpoint] = (count, method, template)
        return {endpoint: (method, template) for endpoint, (_, method, template) in best.items()}

    def template(self, path: str | None) -> str:
        """Path with its variable segments replaced, remembered."""
        path = path or ""
        known = self._templates.get(path)
        if known is None:
            known = self._templates[path] = path_template(path)
        return known

    def name(self, method: str | None, path: str | None) -> str:
        """Endpoint that serves this method and path, else ``METHOD /template``."""
        template = self.template(path)
        return self._endpoint.get((method or "", template)) or f"{method or '?'} {template or '?'}"

    def names(self, methods: Iterable[str | None], paths: Iterable[str | None]) -> list[str]:
        """``name`` of many."""
        return [self.name(method, path) for method, path in zip(methods, paths, strict=True)]

    def pattern(self, endpoint: str) -> tuple[str | None, str | None]:
        """(method, path template) most used with that endpoint; (None, None) when never seen."""
        if endpoint in self._patterns:
            return self._patterns[endpoint]
        method, _, template = endpoint.partition(" ")
        return (method, template) if template.startswith("/") else (None, None)
