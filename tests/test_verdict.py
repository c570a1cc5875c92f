"""Was it an OOM kill: every row of the decision table, real captures with sources taken away, conflicts, joins."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from oomscope.alerts import parse_alert
from oomscope.analyze.model import KillCase
from oomscope.analyze.verdict import choose_kill, find_kills
from oomscope.analyze.verdict_evidence import Evidence
from oomscope.analyze.verdict_rules import RULES, decide
from oomscope.evidence import Bundle
from oomscope.facts import (
    MEMORY_SCHEMA,
    ContainerFacts,
    Coverage,
    EventFacts,
    LogStream,
    NodeFacts,
    OomKill,
    PodFacts,
    ProcessLife,
    SeriesPoint,
    Target,
    TaskRow,
    Termination,
    Window,
    polars_schema,
)
from oomscope.kernel import merge, parse_kernel_log
from oomscope.kube import events_from, pods_from
from oomscope.series import parse_memory_csv

DATA = Path(__file__).parent / "data"
AT = datetime(2026, 11, 23, 7, 1, 3, tzinfo=UTC)
CID, NEXT, UID = "b" * 64, "a" * 64, "17efb6ec-09ab-4eec-8ad6-f953eb1a7466"
GIB = 2**30


def seconds(n: float) -> timedelta:
    return timedelta(seconds=n)


def kernel(scope: str = "container", **fields: Any) -> OomKill:
    base = OomKill(
        38287, "ruby", AT, pod_uid=UID, container_id=CID, limit_bytes=2 * GIB, anon_rss_bytes=5, raw=("x",)
    )
    return replace(base, scope=scope, **fields)


def event(reason: str, message: str, **fields: Any) -> EventFacts:
    base = EventFacts(AT - seconds(5), reason, message, "Pod", "web-1", "shop", UID)
    return replace(base, **fields)


PROBE = event("Killing", "Container rails failed liveness probe, will be restarted")
STOPPING = event("Killing", "Stopping container rails")
SYSTEM_OOM = event(
    "SystemOOM", "System OOM encountered, victim process: ruby, pid: 1", kind="Node", name="n1", uid="n1"
)
QUOTED = "Memory cgroup out of memory: Killed process 1 (ruby) total-vm:1kB, anon-rss:1kB, file-rss:1kB"
NODE_KILL = event("OOMKilling", QUOTED, kind="Node", name="n1", uid="n1", at=AT)

# ---------------------------------------------------------------------------------------------- the decision table

E = Evidence
TABLE: tuple[tuple[str, str, str, Evidence], ...] = (
    ("1", "kernel_limit", "oom_limit", E(reason="OOMKilled", exit_code=137, kernel=kernel(), ended=True)),
    ("1", "kernel_only", "oom_limit", E(kernel=kernel())),
    ("2", "runtime_oom", "oom_limit", E(reason="OOMKilled", exit_code=137, ended=True)),
    ("3", "oom_before_probe_kill", "not_oom", E(reason="OOMKilled", exit_code=137, probe=PROBE, ended=True)),
    ("4", "sticky_reason", "oom_child", E(reason="OOMKilled", exit_code=143, ended=True)),
    ("4", "kernel_then_exit", "oom_child", E(reason="Error", exit_code=1, kernel=kernel(), ended=True)),
    ("5", "kernel_missed_by_runtime", "oom_limit", E(reason="Error", exit_code=137, kernel=kernel(), ended=True)),
    ("6", "probable_kill", "oom_limit", E(reason="Error", exit_code=137, peak_share=0.95, ended=True)),
    ("6", "probable_kill", "oom_limit",
     E(reason="Error", exit_code=137, log_read=True, events_read=True, ended=True)),
    ("6", "node_event_kill", "oom_limit", E(reason="Error", exit_code=137, node_kill=NODE_KILL, ended=True)),
    ("7", "probe_kill", "not_oom", E(reason="Error", exit_code=137, probe=PROBE, peak_share=0.99, ended=True)),
    ("8", "grace_exceeded", "not_oom", E(reason="Error", exit_code=137, stopping=STOPPING, ended=True)),
    ("8", "grace_exceeded", "not_oom", E(reason="Error", exit_code=137, deleted=True, ended=True)),
    ("9", "unknown_kill", "undetermined", E(reason="Error", exit_code=137, ended=True)),
    ("9", "unknown_kill", "undetermined", E(reason="Error", exit_code=137, log_read=True, ended=True)),
    ("10", "sigterm", "not_oom", E(reason="Error", exit_code=143, ended=True)),
    ("10", "log_stopped", "not_oom", E(log_read=True, stopped_by_request=True, ended=True)),
    ("10", "event_stopping", "not_oom", E(stopping=STOPPING, ended=True)),
    ("11", "evicted", "not_oom", E(reason="Error", exit_code=137, evicted=True, ended=True)),
    ("12", "kernel_node", "oom_node", E(reason="OOMKilled", exit_code=137, kernel=kernel("node"), ended=True)),
    ("12", "kernel_only_node", "oom_node", E(kernel=kernel("node"))),
    ("12", "runtime_and_node", "oom_node", E(reason="OOMKilled", exit_code=137, node_oom=SYSTEM_OOM, ended=True)),
    ("13", "kernel_allocatable", "oom_node",
     E(reason="OOMKilled", exit_code=137, kernel=kernel("allocatable"), ended=True)),
    ("14", "status_lost", "undetermined", E(reason="ContainerStatusUnknown", exit_code=137, ended=True)),
    ("15", "completed", "not_oom", E(reason="Completed", exit_code=0, ended=True)),
    ("15", "own_error", "not_oom", E(reason="Error", exit_code=1, fatal="NoMemoryError", ended=True)),
    ("15", "log_refused_memory", "not_oom", E(fatal="failed to allocate memory", log_read=True, ended=True)),
    ("15", "log_fatal", "not_oom", E(fatal="[BUG] Segmentation fault", log_read=True, ended=True)),
    ("16", "crash", "not_oom", E(reason="Error", exit_code=139, ended=True)),
    ("16", "crash", "not_oom", E(reason="Error", exit_code=134, ended=True)),
    ("17", "kernel_child", "oom_child", E(kernel=kernel(), ended=False)),
    ("17", "counter_child", "oom_child", E(counter=True, ended=False)),
    ("17", "worker_replaced", "undetermined", E(replaced=True, ended=False)),
    ("17", "memory_dropped", "undetermined", E(dropped_bytes=5, ended=False)),
    ("18", "metric_oom", "oom_limit",
     E(reason="OOMKilled", exit_code=137, told_by="kube-state-metrics", ended=True)),
    ("19", "performance_oom", "oom_limit", E(reason="OOMKilled", told_by="performance-log", ended=True)),
    ("20", "sudden_end_at_limit", "undetermined", E(ended=True, peak_share=0.97)),
    ("20", "log_falls_silent", "undetermined", E(log_read=True)),
    ("20", "unknown_end", "undetermined", E(ended=True)),
    ("22", "wrapped_kill", "oom_limit", E(reason="Error", exit_code=137, wrapper=True, peak_share=0.92, ended=True)),
)  # fmt: skip


@pytest.mark.parametrize(("row", "rule", "verdict", "evidence"), TABLE, ids=[f"{r[0]}-{r[1]}" for r in TABLE])
def test_row_of_the_decision_table(row: str, rule: str, verdict: str, evidence: Evidence) -> None:
    found = decide(evidence)
    assert (found.id, found.row, found.verdict) == (rule, row, verdict)
    assert 0 < found.sure(evidence) < 1


def test_every_rule_has_a_row_here_and_its_own_name() -> None:
    assert {r.id for r in RULES} == {row[1] for row in TABLE}
    assert len({r.id for r in RULES}) == len(RULES)


def test_confidence_of_a_metric_depends_on_its_exit_code() -> None:
    told = E(reason="OOMKilled", told_by="kube-state-metrics", ended=True)
    assert decide(told).sure(told) < decide(replace(told, exit_code=137)).sure(replace(told, exit_code=137))


# ------------------------------------------------------------------------------------------------------ whole deaths


def death(exit_code: int | None = 137, reason: str | None = "OOMKilled", **fields: Any) -> PodFacts:
    end = Termination("pod.lastState", exit_code, reason, None, AT - seconds(600), AT, CID)
    container = ContainerFacts("rails", container_id=NEXT, running_since=AT + seconds(2), restart_count=1,
                               limit_bytes=2 * GIB, terminations=(end,))  # fmt: skip
    base = PodFacts(
        "shop", "web-1", UID, "Deployment", "web", node="n1", grace_seconds=30.0, containers=(container,)
    )
    return replace(base, **fields)


def log(**fields: Any) -> LogStream:
    base = LogStream("web-1/0", "file", "shop", "web-1", "rails", CID, UID, first_at=AT - seconds(600),
                     last_at=AT - seconds(0.1), coverage=Coverage(lines=900))  # fmt: skip
    return replace(base, **fields)


def samples(*rows: tuple[float, int], **names: str) -> pl.DataFrame:
    base = {
        "namespace": "shop",
        "pod": "web-1",
        "container": "rails",
        "container_id": CID,
        "limit_bytes": 100,
        **names,
    }
    data = [{**base, "at": AT + seconds(s), "working_set_bytes": used} for s, used in rows]
    return pl.DataFrame(data, schema=polars_schema(MEMORY_SCHEMA))


def the(bundle: Bundle) -> KillCase:
    (case,) = find_kills(bundle)
    return case


def test_all_evidence_of_one_death_becomes_one_case() -> None:
    who = ("shop", "web-1", "rails")
    series = (
        SeriesPoint("last_terminated_timestamp", AT + seconds(30), AT.timestamp(), *who),
        SeriesPoint("last_terminated_reason", AT + seconds(30), 1, *who, "OOMKilled"),
    )
    precise = replace(kernel(), at=AT - seconds(0.3))
    later = log(stream="web-1/1", container_id=NEXT, first_at=AT + seconds(2), last_at=AT + seconds(60))
    case = the(Bundle(pods=(death(),), oom_kills=(precise,), series=series, streams=(log(), later)))
    assert (case.verdict, case.rule, case.scope, case.limit_bytes) == (
        "oom_limit",
        "kernel_limit",
        "container",
        2 * GIB,
    )
    assert case.killed_at == AT - seconds(0.3), "the kernel's microseconds beat the kubelet's whole second"
    assert (case.stream, case.container_id, case.workload, case.image) == ("web-1/0", CID, "web", None)
    assert case.started_at == AT - seconds(600)
    assert case.conflicts == ()


def test_a_pod_limit_equal_to_that_of_its_one_container_is_the_containers() -> None:
    one = the(Bundle(pods=(death(),), oom_kills=(kernel("pod"),)))
    assert (one.scope, one.verdict) == ("container", "oom_limit")
    other = the(Bundle(pods=(death(),), oom_kills=(kernel("pod", limit_bytes=3 * GIB),)))
    assert other.scope == "pod"


def test_kills_of_other_pods_do_not_count() -> None:
    foreign = kernel(container_id="f" * 64, pod_uid="0" * 8 + UID[8:])
    kills = find_kills(Bundle(pods=(death(137, "Error"),), oom_kills=(foreign,), events=(PROBE,)))
    assert {k.verdict for k in kills} == {"not_oom", "oom_limit"}
    for target in (Target(pod="web-1"), Target(), Target(at=AT), Target(namespace="shop")):
        mine = choose_kill(kills, target)
        assert mine is not None
        assert (mine.pod_name, mine.verdict) == ("web-1", "not_oom")


def test_one_unnamed_kernel_kill_is_only_a_possibility() -> None:
    kills = find_kills(Bundle(oom_kills=(kernel(),)))
    found = choose_kill(kills, Target(namespace="shop", pod="web-1", at=AT + seconds(40)))
    assert found is not None
    assert (found.verdict, found.rule) == ("undetermined", "kernel_unlinked")
    assert choose_kill(kills, Target(pod="web-1", at=AT + timedelta(hours=2))) is None
    twice = find_kills(Bundle(oom_kills=(kernel(), kernel(pid=2, container_id="c" * 64))))
    assert choose_kill(twice, Target(pod="web-1", at=AT)) is None
    by_uid = choose_kill(kills, Target(pod="web-1", pod_uid=UID))
    assert by_uid is not None
    assert by_uid.verdict == "oom_limit"


def test_pitfall_9_an_earlier_kill_of_the_pod_is_a_case_of_its_own() -> None:
    earlier = kernel(at=AT - seconds(3000), container_id="c" * 64, pid=1)
    first, last = find_kills(Bundle(pods=(death(),), oom_kills=(kernel(), earlier)))
    assert (first.killed_at, first.verdict, first.pod_name) == (AT - seconds(3000), "oom_limit", "web-1")
    assert last.termination is not None
    assert first.termination is None


def test_pitfall_20_a_worker_dies_and_the_container_lives_on() -> None:
    running = replace(
        death(), containers=(ContainerFacts("rails", container_id=CID, running_since=AT - seconds(600)),)
    )
    lives = (ProcessLife("web-1/0", 1, "master"), ProcessLife("web-1/0", 5, "worker", 0, end="replaced",
             booted_at=AT - seconds(590), last_line_at=AT - seconds(1), stopped_at=AT + seconds(6)),
             ProcessLife("web-1/0", 6, "worker", 1))  # fmt: skip
    stream = log(last_at=AT + seconds(90))
    case = the(Bundle(pods=(running,), oom_kills=(kernel(),), streams=(stream,), lives=lives))
    assert (case.verdict, case.rule, case.victim_pid_in_container) == ("oom_child", "kernel_child", 5)
    unproven = the(Bundle(pods=(running,), streams=(stream,), lives=lives))
    assert (unproven.verdict, unproven.rule) == ("undetermined", "worker_replaced")
    rise = tuple(
        SeriesPoint("oom_events", AT + seconds(s), v, "shop", "web-1", "rails")
        for s, v in ((-20, 0), (40, 1))
    )
    counted = the(Bundle(pods=(running,), streams=(stream,), lives=lives, series=rise))
    assert (counted.verdict, counted.rule, counted.stream) == ("oom_child", "counter_child", "web-1/0")


def test_pitfall_14_host_pids_are_never_taken_for_container_pids() -> None:
    tasks = tuple(TaskRow(p, p, "ruby", 1) for p in (38280, 38287, 38299))
    lives = tuple(ProcessLife("web-1/0", p, "worker", booted_at=AT - seconds(500)) for p in (1, 7, 9))
    stream = log(last_at=AT + seconds(90))
    ranked = the(Bundle(oom_kills=(kernel(tasks=tasks),), streams=(stream,), lives=lives))
    assert ranked.victim_pid_in_container == 7
    more = (*tasks, TaskRow(38300, 38300, "sh", 1))
    assert (
        the(Bundle(oom_kills=(kernel(tasks=more),), streams=(stream,), lives=lives)).victim_pid_in_container
        is None
    )


def test_only_the_kernel_log_tells_container_from_child_by_its_task_table() -> None:
    def rows(*pids: int) -> tuple[TaskRow, ...]:
        return (*(TaskRow(p, p, "ruby", 1) for p in pids), TaskRow(10, 10, "pause", 1))

    assert the(Bundle(oom_kills=(kernel(tasks=rows(38287)),))).rule == "kernel_limit"
    assert the(Bundle(oom_kills=(kernel(tasks=rows(38280, 38287)),))).rule == "kernel_child"
    assert the(Bundle(oom_kills=(kernel(tasks=rows(38280, 38287), group_kill=True),))).rule == "kernel_limit"
    assert the(Bundle(oom_kills=(kernel(),))).rule == "kernel_only"


def test_a_pod_read_before_the_death_does_not_hide_it() -> None:
    early = replace(
        death(), containers=(ContainerFacts("rails", container_id=CID, running_since=AT - seconds(600)),)
    )
    alone = (TaskRow(38287, 38287, "ruby", 1), TaskRow(10, 10, "pause", 1))
    assert the(Bundle(pods=(early,), oom_kills=(kernel(tasks=alone),))).verdict == "oom_limit"


def test_pitfall_15_clocks_may_differ_by_a_minute_and_a_half() -> None:
    case = the(Bundle(pods=(death(),), oom_kills=(kernel(at=AT - seconds(70)),)))
    assert case.rule == "kernel_limit"
    assert any("70 s apart" in c for c in case.conflicts)
    assert case.confidence < 0.99


@pytest.mark.parametrize("hours", [1, -1, 5.5, -14])
def test_pitfall_15_a_kernel_log_in_another_zone_is_still_of_this_death(hours: float) -> None:
    case = the(Bundle(pods=(death(),), oom_kills=(kernel(at=AT + timedelta(hours=hours)),)))
    assert (case.rule, case.killed_at) == ("kernel_limit", AT)
    assert any("apart" in c for c in case.conflicts)


def test_a_child_killed_earlier_in_the_same_life_is_no_clock_error() -> None:
    old = kernel(at=AT - seconds(400), pid=9)
    child, end = find_kills(Bundle(pods=(death(),), oom_kills=(old,)))
    assert (child.verdict, end.rule) == ("oom_child", "runtime_oom")


def test_an_uptime_only_kill_takes_its_time_from_the_pod_or_the_log() -> None:
    ring = kernel(at=None, uptime_s=4700.0)
    assert the(Bundle(pods=(death(),), oom_kills=(ring,))).killed_at == AT
    later = log(stream="web-1/1", container_id=NEXT, first_at=AT + seconds(2), last_at=AT + seconds(60))
    case = the(Bundle(oom_kills=(ring,), streams=(log(), later)))
    assert (case.killed_at, case.verdict) == (AT - seconds(0.1), "oom_limit")


@pytest.mark.parametrize(
    ("pod", "extra", "verdict", "instead"),
    [
        (death(137, "Error"), {"events": (PROBE,)}, "not_oom", "liveness"),
        (death(137, "Error"), {"events": (event("Killing", "Container rails failed startup probe"),)}, "not_oom",
         "startup"),
        (death(137, "Error"), {"events": (replace(PROBE, message=PROBE.message.replace("rails", "other")),)},
         "undetermined", None),
        (death(137, "Error"), {"events": (replace(PROBE, at=AT - seconds(600)),)}, "undetermined", None),
        (death(143, "Error"), {}, "not_oom", "SIGTERM"),
        (death(143, "Error"), {"events": (PROBE,)}, "not_oom", "liveness"),
        (death(137, "Error", deletion_at=AT + seconds(1)), {}, "not_oom", "grace"),
        (death(137, "Error", status_reason="Evicted"), {}, "not_oom", "eviction"),
        (death(139, "Error"), {}, "not_oom", "SIGSEGV"),
        (death(127, "Error"), {}, "not_oom", "could not be started"),
        (death(1, "Error"), {"streams": (log(error_seen="NoMemoryError: failed to allocate memory"),)}, "not_oom",
         "NoMemoryError"),
        (death(137, "ContainerStatusUnknown"), {}, "undetermined", None),
        (death(137, "Error"), {"streams": (log(stop_seen_at=AT - seconds(20)),)}, "not_oom", "grace"),
        (death(0, "Completed"), {}, "not_oom", "completed"),
    ],
)  # fmt: skip
def test_what_else_it_was(pod: PodFacts, extra: dict[str, Any], verdict: str, instead: str | None) -> None:
    (case,) = (k for k in find_kills(Bundle(pods=(pod,), **extra)) if k.termination)
    assert case.verdict == verdict
    assert (instead in (case.instead or "")) if instead else case.instead is None


def test_pitfall_16_samples_below_the_limit_lower_but_do_not_refute() -> None:
    case = the(Bundle(pods=(death(),), memory=samples((-30, 40), (-10, 50))))
    assert (case.verdict, case.rule) == ("oom_limit", "runtime_oom")
    assert any("50%" in c for c in case.conflicts)
    assert case.confidence < 0.95


def test_memory_raises_a_suspicion_and_never_convicts_alone() -> None:
    full = samples((-30, 80), (-10, 97))
    assert the(Bundle(pods=(death(137, "Error"),), memory=full)).verdict == "oom_limit"
    ends = (
        log(),
        log(stream="web-1/1", container_id=NEXT, first_at=AT + seconds(3), last_at=AT + seconds(60)),
    )
    assert the(Bundle(streams=ends, memory=full)).verdict == "undetermined"


def test_conflicts_are_listed_and_lower_the_confidence() -> None:
    case = the(Bundle(pods=(death(137, "Error"),), oom_kills=(kernel(limit_bytes=GIB),), events=(PROBE,)))
    assert case.rule == "kernel_missed_by_runtime"
    assert [
        word
        for word in ("runtime reports Error", "probe", "limit was")
        if any(word in c for c in case.conflicts)
    ]
    assert case.confidence == pytest.approx(0.97 - 0.03 * len(case.conflicts))
    assert len(case.conflicts) == 3


def test_row_21_a_death_outside_of_the_time_asked_for() -> None:
    window = Window(AT + timedelta(hours=1), AT + timedelta(hours=2))
    case = the(Bundle(pods=(death(),), window=window))
    assert case.confidence == pytest.approx(0.75)
    assert "another restart" in case.conflicts[-1]


def test_pod_gone_state_metrics_tell_every_distinct_death() -> None:
    def point(metric: str, s: float, value: float, reason: str | None = None) -> SeriesPoint:
        return SeriesPoint(metric, AT + seconds(s), value, "shop", "web-1", "rails", reason)

    series = (
        point("last_terminated_timestamp", 10, AT.timestamp()), point("last_terminated_reason", 10, 1, "OOMKilled"),
        point("last_terminated_exitcode", 10, 137),
        point("last_terminated_timestamp", 900, AT.timestamp() + 880), point("last_terminated_reason", 900, 1, "Error"),
        point("last_terminated_exitcode", 900, 143),
    )  # fmt: skip
    cases = find_kills(Bundle(series=series))
    assert [(c.rule, c.verdict, c.killed_at) for c in cases] == [
        ("metric_oom", "oom_limit", AT), ("sigterm", "not_oom", AT + seconds(880)),
    ]  # fmt: skip


def test_an_undated_reason_goes_to_the_newest_end_another_source_dates() -> None:
    reason = SeriesPoint("last_terminated_reason", AT + seconds(60), 1, "shop", "web-1", "rails", "OOMKilled")
    ends = (
        log(),
        log(stream="web-1/1", container_id=NEXT, first_at=AT + seconds(3), last_at=AT + seconds(60)),
    )
    case = the(Bundle(streams=ends, series=(reason,)))
    assert (case.rule, case.verdict, case.killed_at) == ("metric_oom", "oom_limit", AT - seconds(0.1))
    assert the(Bundle(series=(reason,))).killed_at is None


def test_a_flood_of_foreign_kills_is_quick() -> None:
    flood = tuple(kernel(pid=n, container_id=f"{n:064x}", pod_uid=None) for n in range(5000))
    events = tuple(event("Started", f"Started container c{n}", name=f"p{n}") for n in range(5000))
    assert len(find_kills(Bundle(oom_kills=flood, events=events))) == 5000


def test_performance_log_alone() -> None:
    point = SeriesPoint("performance_termination_reason", AT, 1, "shop", "web-1", "rails", "OOMKilled")
    assert the(Bundle(series=(point,))).rule == "performance_oom"


def test_events_alone() -> None:
    starts = tuple(event("Started", "Started container rails", at=AT + seconds(s)) for s in (-600, 4))
    case = the(Bundle(events=starts))
    assert (case.verdict, case.killed_at, case.container) == ("undetermined", AT + seconds(4), "rails")
    probed = the(Bundle(events=(*starts, PROBE)))
    assert (probed.verdict, probed.rule) == ("not_oom", "probe_kill")
    assert the(Bundle(events=(event("Evicted", "The node was low on resource: memory."),))).rule == "evicted"
    assert find_kills(Bundle(events=starts[:1])) == ()


def test_pitfall_12_node_events_support_and_name_no_pod() -> None:
    runtime = (NodeFacts("n1", container_runtime="containerd://2.1.5"),)
    case = the(Bundle(pods=(death(137, "Error"),), events=(NODE_KILL,), nodes=runtime))
    assert (case.rule, case.verdict) == ("node_event_kill", "oom_limit")
    elsewhere = replace(NODE_KILL, name="n2")
    assert the(Bundle(pods=(death(137, "Error"),), events=(elsewhere,))).verdict == "undetermined"
    assert the(Bundle(pods=(death(),), events=(replace(SYSTEM_OOM, at=AT),))).verdict == "oom_node"


def test_the_log_alone_is_never_a_certainty() -> None:
    ends = (
        log(),
        log(stream="web-1/1", container_id=NEXT, first_at=AT + seconds(3), last_at=AT + seconds(60)),
    )
    case = the(Bundle(streams=ends))
    assert (case.verdict, case.killed_at, case.stream) == ("undetermined", AT - seconds(0.1), "web-1/0")
    assert find_kills(Bundle(streams=(log(),))) == (), "a log that only ends is no death"
    silent = the(Bundle(streams=(log(),), target=Target(pod="web-1", at=AT + seconds(120))))
    assert (silent.rule, silent.verdict) == ("log_falls_silent", "undetermined")


def test_a_log_without_names_belongs_to_the_death_it_ends_at() -> None:
    bare = log(namespace=None, pod=None, container=None, container_id=None, pod_uid=None)
    other = replace(bare, stream="other", last_at=AT + seconds(40))
    assert the(Bundle(pods=(death(),), streams=(other, bare))).stream == "web-1/0"
    twin = replace(bare, stream="twin", last_at=AT - seconds(0.4))
    assert the(Bundle(pods=(death(),), streams=(twin, bare))).stream is None, (
        "two that fit alike are no match"
    )


# ------------------------------------------------------------------------------------------------------ which one


def test_choosing() -> None:
    oom = KillCase(
        "oom_limit", "r", 0.9, "", killed_at=AT, pod_name="web-1", namespace="shop", container="rails"
    )
    stop = replace(oom, verdict="not_oom", killed_at=AT + seconds(3600))
    other = replace(oom, pod_name="web-2", killed_at=AT + seconds(7200))
    kills = (oom, stop, other)
    assert choose_kill(kills, Target()) is other
    assert choose_kill(kills, Target(pod="web-1")) is oom, "the newest OOM kill beats a newer stop"
    assert choose_kill(kills, Target(pod="web-1", at=AT + seconds(3500))) is stop
    assert choose_kill(kills, Target(pod="web-1", at=AT + seconds(60))) is oom
    assert choose_kill(kills, Target(pod="web-3")) is None
    assert choose_kill(kills, Target(namespace="other")) is None
    assert choose_kill((), Target()) is None


def test_an_alert_is_about_the_death_before_it() -> None:
    first = KillCase("oom_limit", "r", 0.9, "", killed_at=AT, pod_name="web-1")
    second = replace(first, killed_at=AT + seconds(50))
    assert choose_kill((first, second), Target(pod="web-1", at=AT + seconds(35))) is first


# --------------------------------------------------------------------------------------------------- real captures


def captured(name: str, *sources: str) -> tuple[KillCase | None, Bundle]:
    bundle = Bundle()
    if "kubernetes" in sources:
        pods = pods_from(json.loads((DATA / "kube" / f"{name}.pods.json").read_text()))
        events = events_from(json.loads((DATA / "kube" / f"{name}.events.json").read_text()))
        bundle = replace(bundle, pods=pods, events=events)
    if "kernel" in sources:
        ring = parse_kernel_log((DATA / "kernel" / f"{name}.dmesg.txt").open())
        journal = parse_kernel_log((DATA / "kernel" / f"{name}.journal.txt").open(), year=2026)
        bundle = replace(bundle, oom_kills=merge((*ring, *journal)))
    alert = parse_alert(json.loads((DATA / "alerts" / f"{name}.json").read_text()))
    if "alert" in sources:
        bundle = replace(bundle, series=alert.points)
    return choose_kill(find_kills(bundle), alert.targets[0].target), bundle


@pytest.mark.parametrize(
    ("name", "sources", "verdict", "second"),
    [
        ("undersized", ("kubernetes", "kernel"), "oom_limit", "2026-11-23T09:24:09.332"),
        ("undersized", ("kubernetes",), "oom_limit", "2026-11-23T09:24:09.000"),
        ("worker_oom", ("kubernetes", "kernel"), "oom_child", "2026-11-23T09:20:31.779"),
        ("worker_oom", ("kubernetes", "alert"), "oom_child", "2026-11-23T09:20:49.000"),
        ("not_oom", ("kubernetes", "kernel"), "not_oom", "2026-11-23T09:24:39.000"),
        ("not_oom", ("kubernetes",), "not_oom", "2026-11-23T09:24:39.000"),
    ],
)
def test_real_incidents(name: str, sources: tuple[str, ...], verdict: str, second: str) -> None:
    case, _ = captured(name, *sources)
    assert case is not None
    assert case.killed_at is not None
    assert (case.verdict, case.killed_at.isoformat(timespec="milliseconds")[:23]) == (verdict, second)


def test_a_fall_of_memory_gives_a_childs_death_its_time() -> None:
    case, bundle = captured("worker_oom", "kubernetes", "alert")
    csv = parse_memory_csv((DATA / "series" / "worker_oom.csv").read_text().splitlines()).memory
    timed = find_kills(replace(bundle, memory=csv))
    assert [(k.verdict, k.rule) for k in timed] == [("oom_child", "counter_child")]
    assert case is not None
    assert timed[0].killed_at == datetime(2026, 11, 23, 9, 20, 32, 387000, tzinfo=UTC)
    alone = find_kills(Bundle(memory=csv))
    assert [(k.verdict, k.rule) for k in alone] == [("undetermined", "memory_dropped")]


def test_the_same_evidence_gives_the_same_cases() -> None:
    _, bundle = captured("undersized", "kubernetes", "kernel")
    turned = replace(bundle, oom_kills=bundle.oom_kills[::-1], events=bundle.events[::-1])
    assert find_kills(bundle) == find_kills(turned)
