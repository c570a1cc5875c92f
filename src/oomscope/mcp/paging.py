"""Long lists in small pages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from oomscope.errors import UsageError

PAGE = 10  # items
MAX_PAGE_CHARS = 24_000  # of JSON; a page ends early rather than flood the reader


def offset_of(cursor: str | None) -> int:
    """The position a cursor stands for; 0 without one. Raises ``UsageError`` for anything we did not hand out."""
    if cursor is None:
        return 0
    if not re.fullmatch(r"[0-9]{1,7}", cursor):
        raise UsageError(
            "not a cursor of this server", fix="pass next_cursor of the last answer, or leave it out"
        )
    return int(cursor)


def page(items: Sequence[Any], cursor: str | None, *, show: Callable[[Any], Any]) -> dict[str, Any]:
    """Items from the cursor on as ``show`` gives them, ``total``, and ``next_cursor`` (null at the end).

    A page that is not past the end holds at least one item, however large that is.
    """
    start = offset_of(cursor)
    kept: list[Any] = []
    room = MAX_PAGE_CHARS
    for item in map(show, items[start : start + PAGE]):
        room -= len(json.dumps(item))
        if kept and room < 0:
            break
        kept.append(item)
    end = start + len(kept)
    more = bool(kept) and end < len(items)
    return {"total": len(items), "items": kept, "next_cursor": str(end) if more else None}
