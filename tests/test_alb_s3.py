"""ALB files in a bucket: only those of the window are listed and read, and what is not there yet is said."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto import mock_aws

from oomscope.alb.delivery import five_minutes_after
from oomscope.errors import SourceError
from oomscope.facts import Target, Window
from oomscope.sources.alb_s3 import AlbS3Source, days, lb_part, log_file
from oomscope.sources.aws_common import AwsAccess
from oomscope.sources.interface import Context, Fragment
from tests.test_alb_line import line

ACCOUNT, REGION, BUCKET = "123456789012", "eu-west-1", "alb-logs"
LB = "app/web/50dc6c495c0c9188"
TEN = datetime(2026, 1, 2, 10, 0, tzinfo=UTC)
WINDOW = Window(TEN, TEN + timedelta(minutes=10))
LATER = TEN + timedelta(days=1)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        import boto3

        client = boto3.client("s3", region_name=REGION)
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield client


def key(
    end: datetime,
    *,
    folder: datetime | None = None,
    lb: str = "web.50dc6c495c0c9188",
    kind: str = "app",
    node: str = "10.0.0.9",
) -> str:
    name = f"{ACCOUNT}_elasticloadbalancing_{REGION}_{kind}.{lb}_{end:%Y%m%dT%H%M}Z_{node}_abc123.log.gz"
    return f"AWSLogs/{ACCOUNT}/elasticloadbalancing/{REGION}/{folder or end:%Y/%m/%d}/{name}"


def put(client: Any, where: str, *times: datetime, body: bytes | None = None) -> str:
    text = "".join(line(at=f"{at:%Y-%m-%dT%H:%M:%S.%fZ}") + "\n" for at in times)
    client.put_object(Bucket=BUCKET, Key=where, Body=gzip.compress(text.encode()) if body is None else body)
    return where.rpartition("/")[2]


def collect(window: Window = WINDOW, context: Context | None = None, **more: Any) -> Fragment:
    given: dict[str, Any] = {"load_balancer": LB, "now": LATER, "rate": 10_000.0, **more}
    access = given.pop("access", AwsAccess(region=REGION, account=ACCOUNT))
    return AlbS3Source(access=access, bucket=given.pop("bucket", BUCKET), **given).collect(
        Target(), window, context or Context()
    )


def times_of(fragment: Fragment) -> list[datetime]:
    assert fragment.accesses is not None
    return list(fragment.accesses["time"])


def minutes(value: float) -> datetime:
    return TEN + timedelta(minutes=value)


def test_only_files_that_can_hold_the_window_are_read(s3: Any) -> None:
    for end in range(-30, 60, 5):
        put(s3, key(minutes(end)), minutes(end - 2))
    fragment = collect()
    assert times_of(fragment) == [minutes(3), minutes(8)]
    (query,) = fragment.queries
    assert "4 files" in query.text  # ends in (10:00, 10:20]
    assert list(fragment.gaps) == []
    assert fragment.sources == ("alb",)


def test_rows_are_chosen_by_their_own_time_not_by_the_file(s3: Any) -> None:
    put(s3, key(minutes(5)), minutes(-0.01), minutes(0), minutes(4))
    put(s3, key(minutes(15)), minutes(9.99), minutes(10))
    assert times_of(collect()) == [minutes(0), minutes(4), minutes(9.99)]


def test_a_file_delivered_after_midnight_lies_in_the_next_day(s3: Any) -> None:
    midnight = datetime(2026, 1, 3, tzinfo=UTC)
    window = Window(midnight - timedelta(minutes=8), midnight - timedelta(minutes=1))
    put(s3, key(midnight - timedelta(minutes=5)), midnight - timedelta(minutes=6))
    put(s3, key(midnight, folder=midnight), midnight - timedelta(minutes=3))
    assert len(times_of(collect(window, now=midnight + timedelta(days=1)))) == 2
    assert [f"{day}" for day in days(window)] == ["2026-01-02", "2026-01-03"]
    assert len(days(WINDOW)) == 1


@pytest.mark.parametrize(
    ("load_balancer", "count"),
    [
        (LB, 1),
        (f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:loadbalancer/{LB}", 1),
        ("web", 2),  # made anew under the same name: another id
        ("web-2", 1),
        (None, 4),
    ],
)
def test_load_balancers_are_told_apart(s3: Any, load_balancer: str | None, count: int) -> None:
    put(s3, key(minutes(5)), minutes(1))
    put(s3, key(minutes(5), lb="web.ffffffffffffffff"), minutes(1))
    put(s3, key(minutes(5), lb="web-2.50dc6c495c0c9188"), minutes(1))
    put(s3, key(minutes(5), lb="other.50dc6c495c0c9188"), minutes(1))
    assert len(times_of(collect(load_balancer=load_balancer))) == count


def test_nodes_of_one_load_balancer_are_put_together_in_order(s3: Any) -> None:
    first = put(s3, key(minutes(5), node="10.0.0.1"), minutes(1), minutes(3))
    second = put(s3, key(minutes(5), node="10.0.0.2"), minutes(2))
    fragment = collect()
    assert fragment.accesses is not None
    assert fragment.accesses["source"].to_list() == [first, second, first]


def test_network_load_balancers_and_test_objects_are_passed_over(s3: Any) -> None:
    put(s3, key(minutes(5), kind="net"), minutes(1))
    put(s3, f"AWSLogs/{ACCOUNT}/ELBAccessLogTestFile", body=b"Enable AccessLog for ELB: web")
    assert times_of(collect(load_balancer=None)) == []
    assert log_file(key(minutes(5), kind="net"), 1) is None
    assert log_file(f"AWSLogs/{ACCOUNT}/ELBAccessLogTestFile", 1) is None
    assert log_file(key(minutes(5)).replace("20260102T1005", "20261302T1005"), 1) is None


def test_the_account_is_found_when_it_is_not_given(s3: Any) -> None:
    put(s3, "team/" + key(minutes(5)), minutes(1))
    put(s3, "team/AWSLogs/not-an-account/x", body=b"")
    assert len(times_of(collect(access=AwsAccess(region=REGION), prefix="/team/"))) == 1


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (minutes(11), "not_yet"),
        (minutes(19), "not_yet"),
        (minutes(60), "no_data"),
    ],
)
def test_absence_says_nothing_until_the_logs_have_had_time_to_come(
    s3: Any, now: datetime, reason: str
) -> None:
    (gap,) = collect(now=now).gaps
    assert gap.reason == reason
    assert gap.fix
    if reason == "not_yet":
        assert "2026-01-02T10:20" in gap.fix


def test_a_part_that_has_come_is_read_and_the_rest_named(s3: Any) -> None:
    put(s3, key(minutes(5)), minutes(1))
    fragment = collect(now=minutes(12))
    assert len(times_of(fragment)) == 1
    assert [gap.reason for gap in fragment.gaps] == ["not_yet"]


def test_damage_is_a_gap_and_the_rest_is_kept(s3: Any) -> None:
    put(
        s3,
        key(minutes(5)),
        body=gzip.compress(f"rubbish\n{line(at='2026-01-02T10:01:00.000000Z')}\n".encode()),
    )
    put(s3, key(minutes(10)), minutes(6))
    cut = gzip.compress("".join(line(at="2026-01-02T10:02:00.000000Z") + "\n" for _ in range(500)).encode())
    put(s3, key(minutes(10), node="10.0.0.8"), body=cut[: len(cut) // 2])
    put(s3, key(minutes(10), node="10.0.0.7"), body=b"\x1f\x8bnot gzip at all")
    fragment = collect()
    assert len(times_of(fragment)) >= 2
    assert any(gap.reason == "unparsable" and "damaged" in gap.detail for gap in fragment.gaps)
    assert sum(gap.reason == "cut" for gap in fragment.gaps) == 2


@pytest.mark.parametrize("limit", [{"max_files": 2}, {"max_bytes": 900}])
def test_bounds_on_files_and_bytes_are_kept_and_named(s3: Any, limit: dict[str, int]) -> None:
    for end in (5, 10, 15):
        put(s3, key(minutes(end)), minutes(end - 4))
    fragment = collect(**limit)
    assert [gap.reason for gap in fragment.gaps] == ["cut"]
    assert len(times_of(fragment)) < 3


def test_long_listings_are_paged(s3: Any) -> None:
    for number in range(1100):
        put(s3, key(minutes(-300), node=f"10.0.{number // 250}.{number % 250}"), body=b"")
    put(s3, key(minutes(5)), minutes(1))
    assert len(times_of(collect(load_balancer="web"))) == 1


def test_cancelling_stops_the_download(s3: Any) -> None:
    put(s3, key(minutes(5)), minutes(1))
    fragment = collect(context=Context(cancelled=lambda: True))
    assert times_of(fragment) == []
    late = collect(context=Context(deadline=time.monotonic() - 1))
    assert "timed_out" in [gap.reason for gap in late.gaps]


def test_a_bucket_that_is_not_there(s3: Any) -> None:
    with pytest.raises(SourceError) as error:
        collect(bucket="no-such-bucket")
    assert error.value.reason == "no_data"


@pytest.mark.parametrize(
    ("operation", "code", "reason", "permission"),
    [
        ("ListObjectsV2", "AccessDenied", "denied", "s3:ListBucket on bucket alb-logs"),
        ("GetObject", "AccessDenied", "denied", "s3:GetObject on bucket alb-logs"),
        ("ListObjectsV2", "PermanentRedirect", "no_data", "aws.region"),
        ("ListObjectsV2", "SlowDown", "timed_out", "quota"),
    ],
)
def test_refusals_name_the_permission(
    s3: Any, monkeypatch: pytest.MonkeyPatch, operation: str, code: str, reason: str, permission: str
) -> None:
    from botocore.client import BaseClient
    from botocore.exceptions import ClientError

    put(s3, key(minutes(5)), minutes(1))
    real = BaseClient._make_api_call  # type: ignore[attr-defined]

    def call(self: Any, name: str, asked: Any) -> Any:
        if name == operation:
            raise ClientError({"Error": {"Code": code, "Message": code}}, name)
        return real(self, name, asked)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    try:
        gap: Any = next(gap for gap in collect().gaps if gap.reason == reason)
    except SourceError as error:
        gap = error
    assert gap.reason == reason
    assert permission in (gap.fix or "")


@pytest.mark.parametrize("wrong", ["a b", "app/x/../y", "net/web/123/4", "web_1", "../x"])
def test_names_that_no_load_balancer_has_are_refused(wrong: str) -> None:
    with pytest.raises(SourceError):
        lb_part(wrong)


@pytest.mark.parametrize(("at", "end"), [(0.0, 0), (0.01, 5), (4.99, 5), (5.0, 5), (5.01, 10)])
def test_the_five_minutes_a_time_lies_in(at: float, end: int) -> None:
    assert five_minutes_after(minutes(at)) == minutes(end)
