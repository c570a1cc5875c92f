"""What the name of an access log file tells: the load balancer's five minutes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from oomscope.alb.delivery import DELIVERY
from oomscope.alb.line import Damaged, line_time
from oomscope.facts import Window

_NAME = re.compile(r"[^/]*_elasticloadbalancing_[^/_]+_app\.[^/_]+_(\d{8}T\d{4})Z_[^/]*\.log(?:\.gz)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def end_by_name(path: str) -> datetime | None:
    """End of the five minutes of a file that is called as the load balancer calls its logs; else None."""
    match = _NAME.fullmatch(path.rpartition("/")[2])
    if not match:
        return None
    try:
        return datetime.strptime(match[1], "%Y%m%dT%H%M").replace(tzinfo=UTC)
    except ValueError:
        return None


def may_hold(end: datetime, windows: Iterable[Window]) -> bool:
    """Whether a file whose five minutes end then can hold rows of one of the windows."""
    return any(window.start < end <= window.end + DELIVERY for window in windows)


def first_time(head: bytes) -> datetime | None:
    """Time of the first line that has one, of the first bytes of a file."""
    for line in head.split(b"\n")[:8]:
        try:
            return _EPOCH + timedelta(microseconds=line_time(line))
        except Damaged:
            continue
    return None
