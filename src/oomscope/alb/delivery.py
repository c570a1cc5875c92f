"""When the load balancer's log files come: one for five minutes, delivered some minutes after its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from oomscope.facts import Window

FILE_SPAN = timedelta(minutes=5)
DELIVERY = timedelta(minutes=10)  # how late a file may come, and how far past the window its end may lie
# The answers to the requests of a killed process are written at once; what comes later in the window is a bonus that
# is not worth waiting for.
ANSWERED = timedelta(seconds=90)


def five_minutes_after(at: datetime) -> datetime:
    """End of the five minutes that ``at`` lies in."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + -((epoch - at) // FILE_SPAN) * FILE_SPAN


def last_file(window: Window, killed_at: datetime | None) -> datetime:
    """End of the last file that matters: the one that holds the answers of the kill, or the window's end."""
    known = killed_at is not None and window.start <= killed_at < window.end
    end = min(window.end, killed_at + ANSWERED) if known and killed_at else window.end
    return five_minutes_after(end)


def delivered_by(window: Window, killed_at: datetime | None) -> datetime:
    """When the files that matter have had time to come."""
    return last_file(window, killed_at) + DELIVERY
