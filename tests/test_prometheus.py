"""The Prometheus source: dialects, signatures, failures by name, and queries that nothing can break out of."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomscope.errors import SourceError, UsageError
from oomscope.facts import Target, Window
from oomscope.sources.interface import Context
from oomscope.sources.prometheus import PrometheusSource, selector
from tests.fakes.prometheus import PrometheusState, prometheus_server

START = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(minutes=30))
TARGET = Target(namespace="shop", pod="web-7c9d5b7c6f-x2x9k", container="rails")
OLD, NEW = "a" * 64, "b" * 64
SLICE = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f8e5c1e_6f0a_4d1c_9a52_4d1f0f2b7a11.slice"


@pytest.fixture
def state() -> PrometheusState:
    return PrometheusState()


@pytest.fixture
def url(state: PrometheusState) -> Iterator[str]:
    with prometheus_server(state) as found:
        yield found


def labels(container_id: str = OLD, **more: str) -> dict[str, str]:
    return {
        "namespace": "shop", "pod": "web-7c9d5b7c6f-x2x9k", "container": "rails",
        "id": f"{SLICE}/cri-containerd-{container_id}.scope", **more,
    }  # fmt: skip


def every(seconds: int, start: int, end: int, value: float, slope: float = 0.0) -> list[tuple[float, float]]:
    base = START.timestamp()
    return [(base + t, value + slope * (t - start)) for t in range(start, end, seconds)]


# ------------------------------------------------------------------------------------------------------ what is read


def test_samples_of_one_instant_become_one_row_with_its_limit(state: PrometheusState, url: str) -> None:
    state.series["container_memory_working_set_bytes"] = [(labels(), every(15, 0, 600, 1e9, 1e6))]
    state.series["container_memory_rss"] = [(labels(), every(15, 0, 600, 9e8, 1e6))]
    who = {"namespace": "shop", "pod": "web-7c9d5b7c6f-x2x9k", "container": "rails", "resource": "memory"}
    state.series["kube_pod_container_resource_limits"] = [(who, every(15, 0, 600, 2**31))]
    found = PrometheusSource(url).collect(TARGET, WINDOW, Context())
    assert found.memory is not None
    assert len(found.memory) == 40
    assert found.memory["rss_bytes"].null_count() == 0
    assert set(found.memory["limit_bytes"]) == {2**31}
    assert set(found.memory["container_id"]) == {OLD}
    assert found.sources == ["memory", "restarts"]
    assert found.gaps == []


def test_readings_repeated_after_the_restart_are_not_the_new_instances(
    state: PrometheusState, url: str
) -> None:
    """The kubelet goes on exporting the last value of the dead container for minutes: that is no memory in use."""
    state.series["container_memory_working_set_bytes"] = [
        (labels(OLD), every(15, 0, 600, 1e9, 1e6) + every(15, 600, 900, 1.6e9)),
        (labels(NEW), every(15, 660, 1800, 3e8, 1e5)),
    ]
    seen = START.timestamp() + 600
    state.series["container_last_seen"] = [(labels(OLD), [(seen + t, seen) for t in range(0, 300, 15)])]
    memory = PrometheusSource(url).collect(TARGET, WINDOW, Context()).memory
    assert memory is not None
    dead = memory.filter(memory["container_id"] == OLD)
    assert dead["at"].max() <= START + timedelta(seconds=600)
    assert memory.filter(memory["at"] > START + timedelta(seconds=700))[
        "container_id"
    ].unique().to_list() == [NEW]


def test_exported_labels_are_asked_for_and_understood(state: PrometheusState, url: str) -> None:
    """A scrape without honor_labels puts the pod of kube-state-metrics where ours should be."""
    scraped = {
        "namespace": "monitoring", "pod": "ksm-0", "container": "kube-state-metrics", "reason": "OOMKilled",
        "exported_namespace": "shop", "exported_pod": "web-7c9d5b7c6f-x2x9k", "exported_container": "rails",
    }  # fmt: skip
    name = "kube_pod_container_status_last_terminated_reason"
    state.series[name] = [(scraped, every(15, 0, 600, 1))]
    found = PrometheusSource(url).collect(TARGET, WINDOW, Context())
    assert {(p.namespace, p.pod, p.container, p.reason) for p in found.series} == {
        ("shop", "web-7c9d5b7c6f-x2x9k", "rails", "OOMKilled")
    }
    asked = next(q for q in state.queries() if q.startswith(name))
    assert 'exported_namespace="shop",exported_pod="web-7c9d5b7c6f-x2x9k"' in asked


def test_no_samples_is_a_gap_with_the_labels_to_check(url: str) -> None:
    found = PrometheusSource(url).collect(TARGET, WINDOW, Context())
    assert [(g.source, g.reason) for g in found.gaps] == [("memory", "no_data")]
    assert "namespace, pod and container" in (found.gaps[0].fix or "")


@pytest.mark.parametrize("hours", [1, 24, 24 * 14])
def test_the_step_stays_within_what_a_server_gives(state: PrometheusState, url: str, hours: int) -> None:
    window = Window(START, START + timedelta(hours=hours))
    found = PrometheusSource(url).collect(TARGET, window, Context())
    assert [g.reason for g in found.gaps] == ["no_data"]


def test_no_target_asks_nothing(state: PrometheusState, url: str) -> None:
    found = PrometheusSource(url)
    with pytest.raises(SourceError, match="no pod or workload"):
        found.collect(Target(namespace="shop"), WINDOW, Context())
    assert state.asked == []


# ----------------------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("401", "denied"), ("403", "denied"), ("422", "unparsable"), ("400", "unparsable"), ("404", "unparsable"),
     ("429", "timed_out"), ("500", "unreachable"), ("502", "unreachable"), ("503", "unreachable"),
     ("504", "unreachable"), ("reset", "unreachable"), ("junk", "unparsable"), ("nested", "unparsable"),
     ("error", "unparsable"), ("login", "denied"), ("huge", "cut"), ("slow", "timed_out"),
     ("trickle", "timed_out")],
)  # fmt: skip
def test_each_failure_is_one_gap_by_name(state: PrometheusState, url: str, fault: str, reason: str) -> None:
    state.fault = fault
    context = Context(deadline=time.monotonic() + 1.0) if fault in ("slow", "trickle") else Context()
    began = time.monotonic()
    found = PrometheusSource(url).collect(TARGET, WINDOW, context)
    assert [(g.source, g.reason) for g in found.gaps] == [("memory", reason)]
    assert found.gaps[0].query
    assert time.monotonic() - began < 5


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["resultType", "result", "metric", "values", "value", "namespace", "pod", "__name__"]), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(data=JSON)
def test_whatever_it_answers_does_no_harm(data: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oomscope.sources.prometheus.ask", lambda *_args: {"status": "success", "data": data})
        found = PrometheusSource("http://127.0.0.1:9").collect(TARGET, WINDOW, Context())
    assert found.memory is not None


def test_a_busy_server_is_asked_again(state: PrometheusState, url: str) -> None:
    state.fault, state.faults_left = "503", 2
    found = PrometheusSource(url).collect(TARGET, WINDOW, Context())
    assert [g.reason for g in found.gaps] == ["no_data"]


def test_nothing_listens() -> None:
    found = PrometheusSource("http://127.0.0.1:9").collect(TARGET, WINDOW, Context())
    assert [g.reason for g in found.gaps] == ["unreachable"]


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://x", "/relative", ""])
def test_what_is_no_address_is_a_gap(url: str) -> None:
    found = PrometheusSource(url).collect(TARGET, WINDOW, Context())
    assert [g.reason for g in found.gaps] == ["unreachable"]


def test_what_is_no_url_is_the_users_error() -> None:
    with pytest.raises(UsageError, match=r"prometheus\.url"):
        PrometheusSource("http://[::1").collect(TARGET, WINDOW, Context())


def test_interrupted_between_queries(state: PrometheusState, url: str) -> None:
    found = PrometheusSource(url).collect(TARGET, WINDOW, Context(cancelled=lambda: len(state.asked) >= 2))
    assert len(state.asked) == 2
    assert "timed_out" in {g.reason for g in found.gaps}


@pytest.mark.parametrize("value", [None, "", "  ", "näh", "a\x01b"])
def test_an_unusable_token_is_told(
    url: str, monkeypatch: pytest.MonkeyPatch, value: str | None, state: PrometheusState
) -> None:
    monkeypatch.delenv("PROM_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("PROM_TOKEN", value)
    with pytest.raises(SourceError, match="PROM_TOKEN") as error:
        PrometheusSource(url, token_env="PROM_TOKEN").collect(TARGET, WINDOW, Context())
    assert error.value.reason == "denied"
    assert state.asked == []


# -------------------------------------------------------------------------------------------------- ways to sign in


def test_bearer_token_and_basic(state: PrometheusState, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROM_TOKEN", "t0ken\n")
    monkeypatch.setenv("PROM_USER", "ann")
    monkeypatch.setenv("PROM_PASSWORD", "pw")
    PrometheusSource(url, token_env="PROM_TOKEN").collect(TARGET, WINDOW, Context())
    assert state.asked[0].headers["Authorization"] == "Bearer t0ken"
    state.asked.clear()
    PrometheusSource(url, user_env="PROM_USER", password_env="PROM_PASSWORD").collect(
        TARGET, WINDOW, Context()
    )
    assert state.asked[0].headers["Authorization"] == "Basic YW5uOnB3"


def resigned(asked: Any, service: str, secret: str, url: str) -> str:
    """The Authorization header AWS would compute for the request it received."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    body = "&".join(f"{k}={_escaped(v)}" for k, v in asked.form.items())
    names = re.search(r"SignedHeaders=([^,]+)", asked.headers["Authorization"])
    received = {k.lower(): v for k, v in asked.headers.items()}
    headers = {name: received[name] for name in names[1].split(";")}  # type: ignore[index]
    request = AWSRequest(asked.method, url + asked.path, data=body.encode(), headers=headers)
    request.context["timestamp"] = received["x-amz-date"]
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", secret), service, "eu-west-1")
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    return f"Signature={signature}"


def _escaped(value: str) -> str:
    from urllib.parse import quote_plus

    return quote_plus(value, safe="-._~*")


@pytest.mark.parametrize(
    ("kind", "service", "path"),
    [
        ("amp", "aps", "/workspaces/ws-1/api/v1/query_range"),
        ("cloudwatch", "monitoring", "/api/v1/query_range"),
    ],
)
def test_aws_endpoints_are_signed_for_their_service(
    state: PrometheusState, url: str, monkeypatch: pytest.MonkeyPatch, kind: Any, service: str, path: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    base = url + ("/workspaces/ws-1/" if kind == "amp" else "")
    PrometheusSource(base, kind=kind, region="eu-west-1").collect(TARGET, WINDOW, Context())
    asked = state.asked[0]
    assert asked.path == path
    given = asked.headers["Authorization"]
    assert re.match(
        rf"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\d{{8}}/eu-west-1/{service}/aws4_request, ", given
    )
    assert "x-amz-security-token" in given
    assert resigned(asked, service, "s3cret", url) in given


def test_no_aws_credentials_is_denied(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(SourceError) as error:
        PrometheusSource(url, kind="amp", region="eu-west-1").collect(TARGET, WINDOW, Context())
    assert error.value.reason == "denied"


def test_cloudwatch_names_labels_after_attributes(
    state: PrometheusState, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    otel = {
        "@resource.k8s.namespace.name": "shop", "@resource.k8s.pod.name": "web-7c9d5b7c6f-x2x9k",
        "@resource.k8s.container.name": "rails",
    }  # fmt: skip
    state.series["container_memory_working_set_bytes"] = [(otel, every(30, 0, 600, 1e9))]
    found = PrometheusSource(url, kind="cloudwatch", region="eu-west-1").collect(TARGET, WINDOW, Context())
    assert state.queries()[0] == (
        '{"container_memory_working_set_bytes","@resource.k8s.namespace.name"="shop",'
        '"@resource.k8s.pod.name"="web-7c9d5b7c6f-x2x9k","@resource.k8s.container.name"!=""}'
    )
    assert found.memory is not None
    assert set(found.memory["pod"]) == {"web-7c9d5b7c6f-x2x9k"}


# --------------------------------------------------------------------------------------------------------- injection

HOSTILE = ['x"} or vector(1) #', "a\nb", "a\\", "../x", "A", "a b", "", "x" * 300, 'a",pod=~".*', "a{}", "é"]


@pytest.mark.parametrize("name", [n for n in HOSTILE if n])
def test_names_cannot_leave_their_string(state: PrometheusState, url: str, name: str) -> None:
    for target in (Target(namespace="shop", pod=name), Target(namespace=name, pod="web"),
                   Target(namespace="shop", workload=name)):  # fmt: skip
        with pytest.raises(SourceError):
            PrometheusSource(url).collect(target, WINDOW, Context())
    assert state.asked == []


@pytest.mark.parametrize("dotted", [False, True])
@given(value=st.text(max_size=40))
def test_label_values_are_one_string_each(dotted: bool, value: str) -> None:
    text = selector("container_memory_rss", TARGET, {"cluster": value}, dotted=dotted)
    strings = re.findall(r'"(?:[^"\\\n]|\\.)*"', text)
    outside = re.sub(r'"(?:[^"\\\n]|\\.)*"', "", text)
    assert '"' not in outside
    assert re.fullmatch(r"[a-z_{}=!,~ ]*", outside)
    assert re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), strings[-1][1:-1]) == value


@pytest.mark.parametrize("label", ['a="b",c', "1a", "a-b", "", "a\n"])
def test_label_names_are_checked(label: str) -> None:
    with pytest.raises(SourceError, match="label name"):
        selector("container_memory_rss", TARGET, {label: "x"})


def test_a_workloads_name_is_no_pattern() -> None:
    text = selector("container_memory_rss", Target(namespace="shop", workload="web.v2"), {})
    assert 'pod=~"web\\\\.v2-.*"' in text
