"""Bytes, times and numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomscope.units import format_bytes, format_seconds, from_epoch, iso, parse_quantity, parse_time


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2Gi", 2**31),
        ("2G", 2 * 10**9),
        ("2147483648", 2**31),
        ("1536Mi", 1536 * 2**20),
        ("2.5Gi", 5 * 2**29),
        ("100m", 1),
        ("1e9", 10**9),
        ("1E3", 1000),
        ("0", 0),
        ("1k", 1000),
        ("1Ki", 1024),
        (".5Gi", 2**29),
        (512, 512),
        (None, None),
        ("", None),
        ("lots", None),
        ("1 Gi", None),
        ("1Gib", None),
        ("-", None),
        ("NaN", None),
        (True, None),
        ("9" * 31, None),
    ],
)
def test_quantity(text: object, size: int | None) -> None:
    assert parse_quantity(text) == size  # type: ignore[arg-type]


@given(st.text())
def test_quantity_takes_any_text(text: str) -> None:
    assert parse_quantity(text) is None or isinstance(parse_quantity(text), int)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (999, "999 B"),
        (1023, "1.00 KiB"),
        (2**31, "2.00 GiB"),
        (1.8 * 2**30, "1.80 GiB"),
        (640 * 2**20, "640 MiB"),
        (-3 * 2**20, "-3.00 MiB"),
        (2**60, "1048576 TiB"),
    ],
)
def test_format_bytes(size: float | None, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.02, "20 ms"),
        (0.48, "0.48 s"),
        (6.14, "6.1 s"),
        (41.2, "41 s"),
        (119, "119 s"),
        (720, "12 min"),
        (11_100, "3 h 05 min"),
        (2 * 86_400 + 4 * 3600, "2 d 4 h"),
        (-5, "-5 s"),
    ],
)
def test_format_seconds(seconds: float | None, text: str) -> None:
    assert format_seconds(seconds) == text


AT = datetime(2026, 11, 23, 3, 12, 41, 694049, UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-23T03:12:41.694049Z", AT),
        ("2026-11-23T03:12:41.694049999Z", AT),
        ("2026-11-23 03:12:41,694049Z", AT),
        ("2026-11-23T04:12:41.694049+01:00", AT),
        ("2026-11-23T04:12:41.694049+0100", AT),
        ("2026-11-23 03:12:41.694049 UTC", AT),
        ("2026-11-23T03:12:41.694049", None),
        ("2026-13-23T03:12:41Z", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        ("2026-11-23T03:12:41+99:00", None),
        ("0000-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+10:00", None),
    ],
)
def test_parse_time(text: str | None, at: datetime | None) -> None:
    assert parse_time(text) == at


def test_time_without_zone_needs_one() -> None:
    assert parse_time("2026-11-23T12:12:41.694049", tz=ZoneInfo("Asia/Seoul")) == AT
    assert parse_time("2026-11-23T04:12:41.694049", tz=timezone(timedelta(hours=1))) == AT


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_iso_round_trip(at: datetime) -> None:
    assert parse_time(iso(at)) == at


@given(st.floats())
def test_epoch_never_raises(seconds: float) -> None:
    found = from_epoch(seconds)
    assert found is None or found.tzinfo is UTC
