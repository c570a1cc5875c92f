"""Evidence over several stages: united without counting anything twice, and kept on disk or in a bucket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from moto import mock_aws

from oomscope.errors import UnreadableError
from oomscope.evidence import Bundle
from oomscope.facts import (
    MEMORY_SCHEMA,
    REQUEST_SCHEMA,
    ContainerFacts,
    EventFacts,
    Gap,
    PodFacts,
    Query,
    SeriesPoint,
    Target,
    Termination,
    empty,
    polars_schema,
)
from oomscope.serve.bundles import DiskBundles, S3Bundles, open_bundles, pack, unpack
from oomscope.serve.combine import combined, with_claims
from tests.serve_help import settings_of

AT = datetime(2026, 11, 23, 9, 21, 30, tzinfo=UTC)
TARGET = Target(namespace="shop", pod="web-1", at=AT)


def table(schema: dict[str, str], column: str, *seconds: float, **same: Any) -> pl.DataFrame:
    """Rows at so many seconds before the kill."""
    rows = [{column: AT - timedelta(seconds=s), **same} for s in seconds]
    frame = pl.DataFrame(
        rows, schema={column: polars_schema(schema)[column], **dict.fromkeys(same, pl.String)}
    )
    return (
        pl.concat([empty(schema), frame], how="diagonal_relaxed")
        .select(list(schema))
        .cast(polars_schema(schema))
    )


def requests(*seconds: float, stream: str = "s") -> pl.DataFrame:
    return table(REQUEST_SCHEMA, "started_at", *seconds, stream=stream)


def pod(*ends: Termination, limit: int | None = 100, node: str | None = "n") -> PodFacts:
    return PodFacts(
        "shop",
        "web-1",
        uid="u",
        node=node,
        containers=(ContainerFacts("app", limit_bytes=limit, terminations=ends),),
    )


END = Termination("pod.lastState", 137, "OOMKilled", finished_at=AT, container_id="a" * 64)
NEXT = Termination("pod.lastState", 1, "Error", finished_at=AT + timedelta(minutes=5), container_id="b" * 64)


def test_the_same_log_read_twice_is_not_counted_twice() -> None:
    early = Bundle(target=TARGET, requests=requests(5, 6, 7, stream="kubernetes"))
    late = Bundle(target=TARGET, requests=requests(5, 6, 7, stream="cloudwatch"))
    both = combined(early, late)
    assert both.requests.get_column("stream").unique().to_list() == ["cloudwatch"]
    assert len(both.requests) == 3


def test_the_log_that_knows_the_time_before_the_kill_is_taken() -> None:
    """Later the "previous" log is of the instance after: many lines, none of them about this kill."""
    early = Bundle(target=TARGET, requests=requests(5, 6))
    late = Bundle(target=TARGET, requests=requests(*(-60 - n for n in range(50))))
    assert len(combined(early, late).requests) == 2


def test_more_samples_win() -> None:
    early = Bundle(target=TARGET, memory=table(MEMORY_SCHEMA, "at", 10, 20))
    late = Bundle(target=TARGET, memory=table(MEMORY_SCHEMA, "at", 5, 10, 20))
    assert len(combined(early, late).memory) == 3
    assert len(combined(late, early).memory) == 3


def test_ends_and_limits_of_a_pod_are_remembered() -> None:
    early, late = Bundle(target=TARGET, pods=(pod(END),)), Bundle(target=TARGET, pods=(pod(NEXT, limit=999),))
    (merged,) = combined(early, late).pods
    assert merged.containers[0].terminations == (END, NEXT)
    assert merged.containers[0].limit_bytes == 100  # in force at the kill
    (again,) = combined(early, early).pods
    assert again.containers[0].terminations == (END,)
    assert combined(early, Bundle(target=TARGET)).pods == early.pods


def test_events_stay_and_gaps_are_of_the_later_look() -> None:
    event = EventFacts(AT, "BackOff", "x")
    early = Bundle(
        target=TARGET, events=(event,), sources=("events",), gaps=(Gap("alb", "off", "was off"),),
        queries=(Query("kubernetes", "old"),),
    )  # fmt: skip
    late = Bundle(target=TARGET, gaps=(Gap("events", "no_data", "gone"), Gap("app_log", "not_yet", "x")))
    both = combined(early, late)
    assert both.events == (event,)
    assert [gap.source for gap in both.gaps] == [
        "app_log"
    ]  # the events are there: that they are gone now is no gap
    assert both.sources == ("events",)
    assert both.queries == ()


def test_a_gap_that_was_one_before_stays_one() -> None:
    early = Bundle(target=TARGET, sources=("events",), gaps=(Gap("events", "denied", "half of them"),))
    late = Bundle(target=TARGET, gaps=(Gap("events", "denied", "all of them"),))
    assert [gap.detail for gap in combined(early, late).gaps] == ["all of them"]


def test_what_alerts_claim_is_added_once() -> None:
    claim = SeriesPoint("oom_events_alert", AT, 1.0, "shop", "web-1")
    bundle = with_claims(Bundle(target=TARGET), (claim, claim))
    assert bundle.series == (claim,)
    assert combined(bundle, bundle, (claim,)).series == (claim,)


def test_packing_and_unpacking() -> None:
    bundle = Bundle(target=TARGET, pods=(pod(END),), requests=requests(5, 6), sources=("kubernetes",))
    again = unpack(pack(bundle))
    assert again.pods == bundle.pods
    assert again.requests.equals(bundle.requests)
    for junk in (b"", b"\x1f\x8b", pack(bundle)[:-200], b"x" * 1000):
        with pytest.raises(UnreadableError):
            unpack(junk)


def test_archives_on_disk(tmp_path: Path) -> None:
    store = DiskBundles(tmp_path / "bundles")
    store.put("k/0.tar.gz", b"one")
    store.put("k/0.tar.gz", b"two")
    assert store.get("k/0.tar.gz") == b"two"
    assert [path.name for path in (tmp_path / "bundles/k").iterdir()] == ["0.tar.gz"]
    store.delete("k/0.tar.gz")
    store.delete("k/0.tar.gz")
    with pytest.raises(UnreadableError):
        store.get("k/0.tar.gz")


def test_archives_in_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    settings = settings_of(
        tmp_path, bundles_s3="s3://evidence/oom", clusters={"c": {"aws": {"region": "us-east-1"}}}
    )
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        store = open_bundles(settings)
        assert isinstance(store, S3Bundles)
        with pytest.raises(OSError, match="refused"):
            store.put("k/0.tar.gz", b"one")
        s3.create_bucket(Bucket="evidence")
        store.put("k/0.tar.gz", b"one")
        assert store.get("k/0.tar.gz") == b"one"
        assert s3.list_objects_v2(Bucket="evidence")["Contents"][0]["Key"] == "oom/k/0.tar.gz"
        store.delete("k/0.tar.gz")
        with pytest.raises(UnreadableError):
            store.get("k/0.tar.gz")
