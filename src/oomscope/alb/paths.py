"""Paths as route templates, by the shape of their segments alone."""

from __future__ import annotations

import re
from functools import lru_cache

MAX_SEGMENTS = 24
MAX_PATH = 2048

_ID = re.compile(
    r"""
      \d+(?:[-_,.:]\d+)*                                    # 42, 2026-11-23, 1,2,3
    | [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}
    | [0-9a-f]{12,}                                         # hex digests and object ids
    | [0-9A-HJKMNP-TV-Z]{26}                                # ULID
    | (?=[^/]*\d)[A-Za-z0-9_~=-]{16,}                       # long tokens with a digit
    | [a-z]{1,6}[_-]?\d+[a-z]?                              # ord_123, inv-7
    | \d+-[\w-]+                                            # 123-some-slug
    | [^/@\s]+(?:@|%40)[^/@\s]+\.[a-z]{2,}                  # e-mail address
    """,
    re.VERBOSE | re.IGNORECASE,
)
_KEPT = re.compile(r"v\d{1,3}|oauth2|s3|k8s|h264|mp3|mp4|utf8|base64|sha256|md5|ipv[46]", re.IGNORECASE)


@lru_cache(maxsize=65_536)
def path_template(path: str) -> str:
    """``/orders/123/items.csv`` as ``/orders/:id/items.csv``; ``/orders/123.json`` as ``/orders/:id.json``.

    A segment is an id when it looks like a number, date, UUID, digest, ULID, token, prefixed number or e-mail address;
    API versions (``v1``) are kept. Longer paths are cut after 24 segments.
    """
    segments = path[:MAX_PATH].split("/")
    found = [_segment(segment) for segment in segments[:MAX_SEGMENTS]]
    if len(segments) > MAX_SEGMENTS:
        found.append("...")
    template = "/".join(found)
    return template.rstrip("/") or "/"


def _segment(text: str) -> str:
    stem, dot, suffix = text.rpartition(".")
    if dot and suffix.isalpha() and len(suffix) <= 5 and _is_id(stem):
        return f":id.{suffix}"
    return ":id" if _is_id(text) else text


def _is_id(text: str) -> bool:
    return bool(text) and not _KEPT.fullmatch(text) and _ID.fullmatch(text) is not None
