"""Careful reading of the parts of a Report that are plain dicts: a report may come from a stranger's page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeGuard

from oomscope.units import parse_time

Row = Mapping[str, Any]


def number(row: Row, key: str) -> float | None:
    """A finite number, else None."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def count(row: Row, key: str) -> int | None:
    """A whole number, else None."""
    value = number(row, key)
    return None if value is None else int(value)


def text(row: Row, key: str) -> str:
    """A text, ``""`` when there is none."""
    value = row.get(key)
    return value if isinstance(value, str) else ""


def when(row: Row, key: str) -> datetime | None:
    """A time, from ISO text or a datetime."""
    return moment(row.get(key))


def moment(value: object) -> datetime | None:
    """A time from ISO text, None when it is none."""
    if isinstance(value, datetime):
        return value if value.tzinfo else None
    return parse_time(value[:40]) if isinstance(value, str) else None


def rows(row: Row, key: str) -> list[Row]:
    """A list of dicts; anything else in it is left out."""
    value = row.get(key)
    return [item for item in value if isinstance(item, Mapping)] if _is_list(value) else []


def texts(row: Row, key: str) -> list[str]:
    """A list of texts; a dict in it gives its ``text``."""
    value = row.get(key)
    if not _is_list(value):
        return []
    found = (text(item, "text") if isinstance(item, Mapping) else item for item in value)
    return [item for item in found if isinstance(item, str) and item]


def mapping(row: Row, key: str) -> Row:
    """A dict, empty when there is none."""
    value = row.get(key)
    return value if isinstance(value, Mapping) else {}


def points(row: Row, key: str) -> list[tuple[datetime, float]]:
    """``[[iso, number], ...]`` in time order."""
    value = row.get(key)
    found = []
    for item in value if _is_list(value) else ():
        if (
            _is_list(item)
            and len(item) >= 2
            and (at := moment(item[0]))
            and (y := number({"y": item[1]}, "y")) is not None
        ):
            found.append((at, y))
    return sorted(found)


def pairs(row: Row, key: str) -> list[tuple[float, float]]:
    """``[[number, number], ...]``."""
    value = row.get(key)
    found = []
    for item in value if _is_list(value) else ():
        if _is_list(item) and len(item) >= 2:
            x, y = number({"v": item[0]}, "v"), number({"v": item[1]}, "v")
            if x is not None and y is not None:
                found.append((x, y))
    return found


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
