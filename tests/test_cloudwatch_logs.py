"""CloudWatch Logs against an exact double of the service: nothing lost, nothing doubled, never over the quota."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomscope.errors import SourceError
from oomscope.facts import ContainerFacts, PodFacts, Target, Termination, Window
from oomscope.sources.aws_common import AwsAccess
from oomscope.sources.cloudwatch_logs import CloudWatchLogsSource, safe_name
from oomscope.sources.cloudwatch_reader import Reader, default_rate
from oomscope.sources.interface import Context
from oomscope.sources.limiter import Limiter
from tests.fakes.cloudwatch import CloudWatchState, Group, cloudwatch_server

START = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
MS = int(START.timestamp() * 1000)
DEAD, LIVE = "d" * 64, "a" * 64
NODE = "ip-10-0-1-23.ec2.internal"
WINDOW = Window(START, START + timedelta(minutes=10))


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def access(url: str) -> AwsAccess:
    return AwsAccess(region="us-east-1", account="1", endpoint_url=url)


def stream_of(container_id: str, pod: str = "web-1") -> str:
    return f"{NODE}-application.var.log.containers.{pod}_shop_app-{container_id}.log"


def event(pod: str, text: str, container_id: str = DEAD) -> str:
    who = {
        "pod_name": pod,
        "namespace_name": "shop",
        "container_name": "app",
        "docker_id": container_id,
        "host": NODE,
    }
    return json.dumps(
        {"time": "2026-11-23T03:00:00.000000001Z", "stream": "stdout", "log": text, "kubernetes": who}
    )


def read_all(url: str, rate: float = 1000.0, workers: int = 8, **selection: object) -> list[dict]:
    reader = Reader(access(url).client("logs", attempts=1), Limiter(rate), workers=workers)
    return reader.read("g", MS, MS + 600_000 - 1, **selection)[0]


@pytest.mark.parametrize(("empty", "repeat"), [(0, False), (2, False), (3, True), (0, True)])
@pytest.mark.parametrize("workers", [1, 8])
def test_every_event_once_in_order(empty: int, repeat: bool, workers: int) -> None:
    group = Group()
    for i in range(
        3000
    ):  # most of it in the last seconds, many in the same millisecond, both bounds inclusive
        group.add(
            "s1" if i % 3 else "s2",
            MS + (0 if i == 0 else 599_999 - (i // 7) ** 2 // 10),
            f"line {i} " + "x" * 2000,
        )
    state = CloudWatchState(groups={"g": group}, empty_every=empty, repeat_token_once=repeat)
    with cloudwatch_server(state) as url:
        found = read_all(url, workers=workers)
    assert [e["eventId"] for e in found] == [e.event_id for e in group.events]


def test_bounds_are_inclusive_and_nothing_outside_is_taken() -> None:
    group = Group()
    for at in (MS - 1, MS, MS + 599_999, MS + 600_000):
        group.add("s", at, str(at))
    with cloudwatch_server(CloudWatchState(groups={"g": group})) as url:
        assert [e["timestamp"] for e in read_all(url)] == [MS, MS + 599_999]


def test_throttling_by_others_is_waited_out() -> None:
    group = Group()
    for i in range(2000):
        group.add("s", MS + i * 300, "y" * 3000)
    state = CloudWatchState(groups={"g": group}, tps={"FilterLogEvents": 4})
    with cloudwatch_server(state) as url:
        assert len(read_all(url, rate=60)) == 2000
    assert state.throttled > 0


def test_stays_within_the_quota_with_few_calls_to_spare() -> None:
    group = Group()
    for i in range(3000):
        group.add("s", MS + i * 200, "z" * 5000)  # 15 MB: about 15 pages
    state = CloudWatchState(groups={"g": group}, tps={"FilterLogEvents": 25}, latency_s=0.05)
    with cloudwatch_server(state) as url:
        assert len(read_all(url, rate=20)) == 3000
    assert state.throttled == 0
    assert len(state.calls) <= 1.25 * 15 + 8  # each of the eight chains ends in a page that is not full


def test_denied_and_missing_are_named() -> None:
    state = CloudWatchState(groups={"g": Group()}, denied={"FilterLogEvents"})
    with cloudwatch_server(state) as url:
        with pytest.raises(SourceError) as error:
            read_all(url)
        assert error.value.reason == "denied"
        assert "logs:FilterLogEvents" in (error.value.fix or "")
        state.denied.clear()
        del state.groups["g"]
        with pytest.raises(SourceError) as error:
            read_all(url)
        assert error.value.reason == "no_data"


def test_cancel_stops_at_once() -> None:
    group = Group()
    for i in range(3000):
        group.add("s", MS + i * 100, "z" * 5000)
    state = CloudWatchState(groups={"g": group})
    with cloudwatch_server(state) as url:
        client = access(url).client("logs", attempts=1)
        reader = Reader(client, Limiter(1000), cancelled=lambda: len(state.calls) > 3)
        with pytest.raises(SourceError, match="interrupted"):
            reader.read("g", MS, MS + 600_000)
    assert len(state.calls) < 20


def test_byte_limit_is_a_cut() -> None:
    group = Group()
    for i in range(500):
        group.add("s", MS + i, "z" * 5000)
    with cloudwatch_server(CloudWatchState(groups={"g": group})) as url:
        reader = Reader(access(url).client("logs", attempts=1), Limiter(1000), max_bytes=100_000)
        with pytest.raises(SourceError) as error:
            reader.read("g", MS, MS + 1000)
        assert error.value.reason == "cut"


@pytest.mark.parametrize(
    ("region", "rate"), [("us-east-1", 20.0), ("eu-central-1", 4.0), ("eu-west-1", 8.0), (None, 8.0)]
)
def test_rate_leaves_room_for_others(region: str | None, rate: float) -> None:
    assert default_rate(region) == rate


DIED = Termination("pod.lastState", container_id=DEAD)
APP = ContainerFacts("app", container_id=LIVE, terminations=(DIED,))
POD = PodFacts("shop", "web-1", uid="u", node=NODE, containers=(APP,))
TARGET = Target(namespace="shop", pod="web-1", at=START + timedelta(minutes=9))


def classic() -> CloudWatchState:
    state = CloudWatchState()
    application = state.group("/aws/containerinsights/prod/application")
    for i in range(50):
        application.add(stream_of(DEAD), MS + i * 1000, event("web-1", f"dead {i}"))
        application.add(stream_of(LIVE), MS + 550_000 + i, event("web-1", f"live {i}", LIVE))
        application.add(stream_of("b" * 64, "web-2"), MS + i * 900, event("web-2", f"other {i}"))
    host = state.group("/aws/containerinsights/prod/host")
    killed = "Memory cgroup out of memory: Killed process 7 (ruby) total-vm:9kB, anon-rss:8kB, file-rss:0kB"
    host.add(
        f"{NODE}.host.dmesg", MS + 540_000, json.dumps({"host": NODE, "ident": "kernel", "message": killed})
    )
    performance = state.group("/aws/containerinsights/prod/performance")
    record = {
        "Type": "Container", "Timestamp": str(MS + 30_000),
        "container_memory_working_set": 1000, "container_memory_limit": 2000,
        "kubernetes": {"pod_name": "web-1", "namespace_name": "shop", "container_name": "app"},
    }  # fmt: skip
    performance.add(NODE, MS + 30_000, json.dumps(record))
    return state


def collect(
    state: CloudWatchState,
    pods: tuple[PodFacts, ...] = (POD,),
    told: list[str] | None = None,
    **options: object,
):
    with cloudwatch_server(state) as url:
        source = CloudWatchLogsSource(access(url), eks_cluster="prod", pods=pods, rate=500, **options)  # type: ignore[arg-type]
        tell = told.append if told is not None else lambda _text: None
        return source.collect(TARGET, WINDOW, Context(progress=tell))


def lines_of(fragment) -> list[str]:
    return [e["message"] for log in fragment.logs for e in json.loads(log.data)["events"]]


def test_classic_reads_the_dead_and_the_new_container_of_the_pod_only() -> None:
    state = classic()
    fragment = collect(state)
    assert len(lines_of(fragment)) == 100
    assert not any("other" in line for line in lines_of(fragment))
    assert [kill.comm for kill in fragment.oom_kills] == ["ruby"]
    assert fragment.memory["working_set_bytes"].to_list() == [1000]
    assert not any(name == "StartQuery" for _, name, _ in state.calls)
    assert all(
        "filterPattern" not in a
        for _, n, a in state.calls
        if n == "FilterLogEvents" and "application" in str(a)
    )


def test_siblings_are_read_too() -> None:
    sibling = PodFacts("shop", "web-2", uid="v", node=NODE, containers=(ContainerFacts("app"),))
    assert any("other" in line for line in lines_of(collect(classic(), pods=(sibling, POD))))


def test_pod_unknown_to_kubernetes_is_found_through_insights() -> None:
    fragment = collect(classic(), pods=())
    assert len(lines_of(fragment)) == 100
    assert any(query.cost_usd is not None for query in fragment.queries)


def test_dear_scan_is_refused_with_its_price() -> None:
    state = classic()
    state.groups["/aws/containerinsights/prod/application"].stored_bytes = 10**15
    fragment = collect(state, pods=())
    gap = next(gap for gap in fragment.gaps if gap.source == "app_log")
    assert gap.reason == "off"
    assert "$" in gap.detail
    assert "--max-scan" in (gap.fix or "")


@pytest.mark.parametrize(("age_days", "refused"), [(1, True), (10_000, False)])
def test_a_group_that_keeps_everything_has_a_price_too(age_days: int, refused: bool) -> None:
    """A terabyte of one day is a dear scan, a terabyte of many years is not."""
    state = classic()
    group = state.groups["/aws/containerinsights/prod/application"]
    group.retention_days, group.stored_bytes = None, 10**12
    group.created = int((datetime.now(UTC) - timedelta(days=age_days)).timestamp() * 1000)
    told: list[str] = []
    fragment = collect(state, pods=(), told=told)
    assert any("--max-scan" in (gap.fix or "") for gap in fragment.gaps) == refused
    assert any("Insights scans about" in text and "$" in text for text in told)  # before it is begun


def test_infrequent_access_goes_through_insights() -> None:
    state = classic()
    state.groups["/aws/containerinsights/prod/application"].log_class = "INFREQUENT_ACCESS"
    assert len(lines_of(collect(state))) == 100


def test_otel_layout_reads_the_nodes_stream() -> None:
    state = CloudWatchState()
    group = state.group("/aws/otel/containerinsights/prod/application")
    for i in range(10):
        attributes = {"k8s.pod.name": "web-1", "k8s.namespace.name": "shop", "k8s.container.name": "app"}
        body = {"resource": {"attributes": attributes}, "timeUnixNano": (MS + i) * 10**6, "body": f"line {i}"}
        group.add(f"{NODE}-application", MS + i, json.dumps(body))
    fragment = collect(state)
    assert len(lines_of(fragment)) == 10
    assert any(gap.source == "kernel_log" for gap in fragment.gaps)


def test_nothing_found_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    fragment = collect(CloudWatchState())
    assert [(gap.source, gap.reason) for gap in fragment.gaps] == [("app_log", "no_data")]
    state = classic()
    state.denied.add("DescribeLogStreams")
    assert any(
        gap.reason == "denied" and "DescribeLogStreams" in (gap.fix or "") for gap in collect(state).gaps
    )


def fresh(state: CloudWatchState, after_the_kill: timedelta) -> tuple[list[str], datetime | None]:
    assert TARGET.at is not None
    fragment = collect(state, now=TARGET.at + after_the_kill)
    return [gap.reason for gap in fragment.gaps if gap.source == "app_log"], fragment.due


def test_a_fresh_incident_says_that_lines_may_be_missing_and_until_when() -> None:
    assert TARGET.at is not None
    assert fresh(classic(), timedelta(seconds=70)) == (["not_yet"], TARGET.at + timedelta(minutes=2))
    assert fresh(classic(), timedelta(minutes=3)) == ([], None)


def test_kernel_lines_of_a_fresh_incident_may_come_as_well() -> None:
    assert TARGET.at is not None
    state = classic()
    state.groups["/aws/containerinsights/prod/host"].events.clear()
    for seconds, reason in ((70, "not_yet"), (300, "no_data")):
        fragment = collect(state, now=TARGET.at + timedelta(seconds=seconds))
        assert [gap.reason for gap in fragment.gaps if gap.source == "kernel_log"] == [reason]


def test_an_agent_that_is_slow_is_given_more_time() -> None:
    """Twice the worst delay seen in the very lines that were read."""
    assert TARGET.at is not None
    state = classic()
    for event in state.groups["/aws/containerinsights/prod/application"].events:
        event.ingested = event.timestamp + 200_000
    assert fresh(state, timedelta(minutes=3)) == (["not_yet"], TARGET.at + timedelta(seconds=400))


@settings(max_examples=200)
@given(st.text())
def test_no_text_gets_into_a_pattern(name: str) -> None:
    try:
        safe = safe_name(name)
    except SourceError:
        return
    assert set(safe) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
