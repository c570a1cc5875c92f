"""Metric answers: samples, states, what is left out, what is not understood."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomscope.facts import MEMORY_SCHEMA, polars_schema
from oomscope.series import parse_memory_csv, parse_performance_log, parse_prometheus, sniff, sniff_csv

DATA = Path(__file__).parent / "data" / "series"
T = 1795417200
A, B = "a" * 64, "b" * 64
WHO = {"namespace": "shop", "pod": "web-1", "container": "rails"}


def answer(*series: tuple[dict[str, str], list[tuple[float, Any]]]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": [
        {"metric": labels, "values": [list(v) for v in values]} for labels, values in series]}}  # fmt: skip


def memory(
    values: list[tuple[float, Any]], metric: str = "container_memory_working_set_bytes", **labels: str
) -> Any:
    return ({"__name__": metric, **WHO, **labels}, values)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_a_real_answer() -> None:
    found = parse_prometheus(json.loads((DATA / "undersized.prometheus.json").read_text()), source="prom")
    assert found.unknown == ()
    assert found.memory.schema == pl.Schema(polars_schema(MEMORY_SCHEMA))
    row = found.memory.row(0, named=True)
    assert (row["usage_bytes"], row["working_set_bytes"], row["rss_bytes"]) == (
        344649728,
        335200256,
        332308480,
    )
    assert row["limit_bytes"] == 384 * 2**20
    assert row["container_id"] == "b199ee240275c2a66326c696b0df391bc11d0ee023497373d6d41ff8ee644895"


def test_a_real_csv() -> None:
    lines = (DATA / "worker_oom.csv").read_text().splitlines()
    found = parse_memory_csv(lines, source="csv")
    assert found.memory.height == len(lines) - 1
    assert found.unknown == ("inactive_file_bytes",)
    assert sniff_csv("\n".join(lines[:2]).encode())


def test_pitfall_3_exported_labels_are_the_true_ones() -> None:
    found = parse_prometheus(answer(memory([(T, "1")], exported_pod="real", exported_namespace="ns",
                                           exported_container="app")))  # fmt: skip
    assert found.memory.select("namespace", "pod", "container").row(0) == ("ns", "real", "app")


@pytest.mark.parametrize(
    "labels",
    [
        {
            "id": f"/kubepods.slice/kubepods-pod17efb6ec_09ab_4eec_8ad6_f953eb1a7466.slice/cri-containerd-{A}.scope"
        },
        {"name": A},
        {"container_id": f"containerd://{A}"},
    ],
)
def test_container_id_from_any_label(labels: dict[str, str]) -> None:
    assert parse_prometheus(answer(memory([(T, "1")], **labels))).memory["container_id"].to_list() == [A]


def test_nan_sandbox_and_pod_totals_are_left_out() -> None:
    found = parse_prometheus(answer(memory([(T, "NaN"), (T + 1, "+Inf"), (T + 2, "7")]),
                                    memory([(T, "5")], container="POD"), memory([(T, "6")], container="")))  # fmt: skip
    assert found.memory["working_set_bytes"].to_list() == [7]


def test_no_limit_is_no_limit() -> None:
    found = parse_prometheus(
        answer(
            memory([(T, "5")]),
            memory([(T, "0")], metric="container_spec_memory_limit_bytes"),
            memory([(T, "9223372036854771712")], metric="container_spec_memory_limit_bytes"),
        )
    )
    assert found.memory["limit_bytes"].to_list() == [None]


def test_pitfall_17_the_limit_of_the_time_is_taken() -> None:
    limits = ({"__name__": "kube_pod_container_resource_limits", "resource": "memory", **WHO},
              [(T, "100"), (T + 30, "100"), (T + 60, "200"), (T + 90, "200")])  # fmt: skip
    cpu = ({"__name__": "kube_pod_container_resource_limits", "resource": "cpu", **WHO}, [(T, "2")])
    found = parse_prometheus(answer(memory([(T - 30, "5"), (T + 45, "5"), (T + 75, "5")]), limits, cpu))
    assert found.memory["limit_bytes"].to_list() == [100, 100, 200]


def test_readings_of_a_dead_container_end_where_its_successor_begins() -> None:
    dead = memory([(T, "5"), (T + 15, "9"), (T + 30, "9"), (T + 45, "9")], name=A)
    alive = memory([(T + 30, "1"), (T + 45, "2")], name=B)
    found = parse_prometheus(answer(dead, alive)).memory
    assert found.filter(pl.col("container_id") == A)["at"].to_list() == [at(T), at(T + 15)]
    assert found.filter(pl.col("container_id") == B).height == 2


def test_last_seen_cuts_the_tail_of_a_dead_container() -> None:
    seen = memory([(T + 60, str(T + 20))], metric="container_last_seen", **{"container_id": A})
    found = parse_prometheus(
        answer(memory([(T, "5"), (T + 15, "9"), (T + 60, "9")], **{"container_id": A}), seen)
    )
    assert found.memory["at"].to_list() == [at(T), at(T + 15)]


def test_a_hanging_process_keeps_its_flat_line() -> None:
    assert parse_prometheus(answer(memory([(T + i, "9") for i in range(5)]))).memory.height == 5


def test_pitfall_18_states_keep_their_changes() -> None:
    name = "kube_pod_container_status_last_terminated_timestamp"
    found = parse_prometheus(
        answer(
            (
                {"__name__": name, **WHO, "uid": "u"},
                [(T, "1"), (T + 15, "1"), (T + 30, "1"), (T + 45, "2"), (T + 60, "2")],
            )
        )
    )
    assert [(p.value, p.at) for p in found.points] == [
        (1.0, at(T)), (1.0, at(T + 30)), (2.0, at(T + 45)), (2.0, at(T + 60)),
    ]  # fmt: skip
    assert {(p.metric, p.pod_uid) for p in found.points} == {("last_terminated_timestamp", "u")}


def test_instant_answers_reasons_and_unknown_names() -> None:
    vector = {"data": {"resultType": "vector", "result": [
        {"metric": {"__name__": "kube_pod_init_container_status_last_terminated_reason", **WHO, "reason": "OOMKilled"},
         "value": [T, "1"]},
        {"metric": {"__name__": "up"}, "value": [T, "1"]},
        {"metric": {"pod": "x"}, "value": [T, "1"]}]}}  # fmt: skip
    found = parse_prometheus([vector])
    assert [(p.metric, p.reason) for p in found.points] == [("last_terminated_reason", "OOMKilled")]
    assert found.unknown == ("up", "(no metric name)")
    named = parse_prometheus({"data": {"resultType": "vector", "result": [{"metric": WHO, "value": [T, "3"]}]}},
                             metric="container_memory_rss")  # fmt: skip
    assert named.memory["rss_bytes"].to_list() == [3]


@pytest.mark.parametrize(
    ("header", "row", "column", "value"),
    [
        ("time,pod,working_set", "2026-11-23T07:00:00Z,p,5", "working_set_bytes", 5),
        ("ts,pod_name,rss_mib", "1795417200,p,2", "rss_bytes", 2 * 2**20),
        ("Timestamp,container_memory_usage_mb", "1795417200000,3", "usage_bytes", 3 * 10**6),
        ('"at","memory_limit","usage"', "2026-11-23T07:00:00Z,2Gi,7", "limit_bytes", 2 * 2**30),
    ],
)
def test_csv_headers(header: str, row: str, column: str, value: int) -> None:
    found = parse_memory_csv([header, row])
    assert sniff_csv(header.encode())
    assert found.memory[column].to_list() == [value]
    assert found.memory["at"].to_list() == [datetime(2026, 11, 23, 7, tzinfo=UTC)]


def test_csv_without_a_zone_or_with_junk_gives_no_rows() -> None:
    assert parse_memory_csv(["time,usage", "2026-11-23 07:00:00,5", "x,1", ",", "\x00"]).memory.is_empty()
    assert parse_memory_csv([]).memory.is_empty()
    assert not sniff_csv(b"time,price\n")
    assert not sniff_csv(b"")


def test_performance_log() -> None:
    record = {
        "Type": "Container", "Timestamp": "1795417200000", "Namespace": "shop", "PodName": "web",
        "container_memory_working_set": 900, "container_memory_limit": 1000,
        "container_last_termination_reason": "OOMKilled", "number_of_container_restarts": 2,
        "kubernetes": {"pod_name": "web-1", "container_name": "rails", "pod_id": "u",
                       "containerd": {"container_id": A}},
    }  # fmt: skip
    found = parse_performance_log(
        [record, {"Type": "Pod", "Timestamp": 1, "pod_number_of_container_restarts": 1}, 3]
    )
    assert sniff(record) == "performance"
    row = found.memory.row(0, named=True)
    assert (row["pod"], row["container_id"], row["working_set_bytes"], row["limit_bytes"]) == (
        "web-1",
        A,
        900,
        1000,
    )
    assert [(p.metric, p.value, p.reason) for p in found.points][:2] == [
        ("restarts", 2.0, "OOMKilled"), ("performance_termination_reason", 1.0, "OOMKilled"),
    ]  # fmt: skip


def test_sniffing() -> None:
    assert sniff(answer()) == sniff([answer()]) == "prometheus"
    for other in ({}, [], {"data": {"resultType": "streams"}}, {"Type": "Warning"}, None, "x"):
        assert sniff(other) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "result", "metric", "values", "value", "Type", "Timestamp"]), inner
        )
    ),
    max_leaves=10,
)


@settings(deadline=None)
@given(JSON)
def test_junk_never_raises(value: Any) -> None:
    parse_prometheus(value)
    parse_performance_log(value if isinstance(value, list) else [value])
    sniff(value)


@settings(deadline=None)
@given(st.lists(st.text(max_size=60), max_size=5))
def test_junk_csv_never_raises(lines: list[str]) -> None:
    parse_memory_csv(["time,usage,limit", *lines])
    parse_memory_csv(lines)
