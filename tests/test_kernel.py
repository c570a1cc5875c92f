"""OOM kills out of kernel logs: real captures, every wrapping, every kernel generation, junk."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomscope.facts import OomKill
from oomscope.kernel import lines_of_answer, merge, parse_kernel_log, sniff_kernel_log
from oomscope.units_cgroup import cgroup_identity

DATA = Path(__file__).parent / "data" / "kernel"
UID = "17efb6ec-09ab-4eec-8ad6-f953eb1a7466"
CID = "98bac6c4b73cfd4c647647aa80248208b67de059874d4ddfdd1aa43ea3967e54"
BURSTABLE = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + UID.replace("-", "_")
CONTAINER = f"{BURSTABLE}.slice/cri-containerd-{CID}.scope"
AT = datetime(2026, 11, 23, 7, 1, 3, 250000, tzinfo=UTC)


def summary(
    *,
    oom: str | None = CONTAINER,
    task: str = CONTAINER,
    comm: str = "ruby",
    pid: int = 38287,
    mems: str = "0",
) -> str:
    where = "global_oom" if oom is None else f"oom_memcg={oom}"
    constraint = "CONSTRAINT_NONE" if oom is None else "CONSTRAINT_MEMCG"
    return (
        f"oom-kill:constraint={constraint},nodemask=(null),cpuset=cri-containerd-{CID}.scope,mems_allowed={mems},"
        f"{where},task_memcg={task},task={comm},pid={pid},uid=1000"
    )


def killed(pid: int = 38287, comm: str = "ruby", prefix: str = "Memory cgroup out of memory: ") -> str:
    return (
        f"{prefix}Killed process {pid} ({comm}) total-vm:2000000kB, anon-rss:1900000kB, file-rss:288kB, "
        f"shmem-rss:4kB, UID:1000 pgtables:5696kB oom_score_adj:872"
    )


def only(kills: tuple[OomKill, ...]) -> OomKill:
    assert len(kills) == 1
    return kills[0]


# ------------------------------------------------------------------------------------------------- real captures


def test_real_ring_buffer_tells_worker_limit_and_every_process() -> None:
    kill = only(parse_kernel_log((DATA / "worker_oom.dmesg.txt").open(), source="dmesg"))
    assert (kill.pid, kill.comm, kill.invoked_by) == (24488, "ruby", "puma srv tp 008")
    assert kill.at is None
    assert kill.uptime_s == 4766.231637
    assert (kill.scope, kill.limit_bytes, kill.usage_bytes) == ("pod", 512 * 2**20, 512 * 2**20)
    assert kill.pod_uid == "0275e1ad-02dc-4960-ac9a-4201c85e792a"
    assert kill.container_id == "809f49f7821a043bc3428d6030dd97b888a945c44152908cdacaf11c4a731672"
    assert kill.anon_rss_bytes == 263932 * 1024
    assert [t.pid for t in kill.tasks] == [24487, 24488, 24490, 24483]
    victim = kill.tasks[1]
    assert (victim.rss_bytes, victim.anon_rss_bytes, victim.oom_score_adj) == (
        69220 * 4096,
        65983 * 4096,
        996,
    )
    assert len(kill.raw) == 2


def test_ring_buffer_and_journal_of_one_boot_become_one_list_with_wall_times() -> None:
    ring = parse_kernel_log((DATA / "undersized.dmesg.txt").open(), source="dmesg")
    journal = parse_kernel_log((DATA / "undersized.journal.txt").open(), source="journal", year=2026)
    merged = merge((*ring, *journal))
    assert [k.at and k.at.isoformat(timespec="seconds") for k in merged] == [
        "2026-11-23T09:23:22+00:00", "2026-11-23T09:23:43+00:00", "2026-11-23T09:24:09+00:00",
    ]  # fmt: skip
    assert all(k.uptime_s is not None and k.host == "ip-10-9-148-143" for k in merged)


def test_uptime_only_kills_inherit_the_offset_of_one_kill_known_by_both_clocks() -> None:
    ring = parse_kernel_log((DATA / "undersized.dmesg.txt").open())
    journal = parse_kernel_log((DATA / "undersized.journal.txt").open(), year=2026)
    merged = merge((*ring, journal[0]))
    assert len(merged) == 3
    for kill, known in zip(merged, journal, strict=True):
        assert kill.at is not None
        assert known.at is not None
        assert abs(kill.at - known.at) < timedelta(milliseconds=5)


def test_two_boots_give_no_offset() -> None:
    first = OomKill(1, "a", AT, uptime_s=100.0, anon_rss_bytes=1)
    second = OomKill(2, "a", AT, uptime_s=9000.0, anon_rss_bytes=1)
    lost = OomKill(3, "a", None, uptime_s=50.0, anon_rss_bytes=1)
    assert merge((first, second, lost))[-1].at is None


def test_merge_keeps_different_kills_apart() -> None:
    first = OomKill(7, "a", AT, anon_rss_bytes=1)
    assert len(merge((first, OomKill(7, "a", AT + timedelta(hours=1), anon_rss_bytes=1)))) == 2
    assert len(merge((first, OomKill(7, "a", AT, anon_rss_bytes=2)))) == 2
    assert len(merge((first, first))) == 1


# ------------------------------------------------------------------------------------------------------- wrappings

WRAPPED = {
    "bare": ("{}", None, None, None),
    "ring buffer": ("[12345.678901] {}", None, 12345.678901, None),
    "ring buffer with caller": ("[12345.678901][ T4711] {}", None, 12345.678901, None),
    "priority": ("<3>[12345.678901] {}", None, 12345.678901, None),
    "dmesg -x": ("kern  :err   : [12345.678901] {}", None, 12345.678901, None),
    "dmesg -T": ("[Mon Nov 23 07:01:03 2026] {}", AT.replace(microsecond=0), None, None),
    "dmesg iso": ("2026-11-23T07:01:03,250000+00:00 {}", AT, None, None),
    "syslog": (
        "Nov 23 07:01:03 node-1 kernel: [12345.678901] {}",
        AT.replace(microsecond=0),
        12345.678901,
        "node-1",
    ),
    "journal short-precise": ("Nov 23 07:01:03.250000 node-1 kernel: {}", AT, None, "node-1"),
    "journal short-iso": ("2026-11-23T08:01:03.250000+0100 node-1 kernel: {}", AT, None, "node-1"),
    "journal short-full": (
        "Mon 2026-11-23 07:01:03 UTC node-1 kernel: {}",
        AT.replace(microsecond=0),
        None,
        "node-1",
    ),
    "journal short-unix": ("1795417263.250000 node-1 kernel: {}", AT, None, "node-1"),
    "journal short-monotonic": ("[12345.678901] node-1 kernel: {}", None, 12345.678901, "node-1"),
    "rsyslog": ("2026-11-23T07:01:03.250000Z node-1 kernel: [12345.678901] {}", AT, 12345.678901, "node-1"),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_every_text_wrapping(name: str) -> None:
    pattern, at, uptime, host = WRAPPED[name]
    lines = [pattern.format(summary()), pattern.format(killed())]
    kill = only(parse_kernel_log(lines, year=2026))
    assert (kill.at, kill.uptime_s, kill.host) == (at, uptime, host)
    assert (kill.container_id, kill.anon_rss_bytes, kill.scope) == (CID, 1900000 * 1024, "container")


@pytest.mark.parametrize(
    "record",
    [
        {"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "_HOSTNAME": "node-1",
         "__REALTIME_TIMESTAMP": "1795417263250000", "_SOURCE_MONOTONIC_TIMESTAMP": "12345678901"},
        {"host": "node-1", "ident": "kernel", "@timestamp": "2026-11-23T07:01:03.250Z"},
        {"host": "node-1", "timestamp": 1795417263250},
    ],
    ids=["journald", "fluent bit", "cloudwatch"],
)  # fmt: skip
@pytest.mark.parametrize("key", ["MESSAGE", "message", "log"])
def test_json_records(record: dict[str, object], key: str) -> None:
    lines = [json.dumps({**record, key: text}) for text in (summary(), killed())]
    kill = only(parse_kernel_log(lines))
    assert (kill.at, kill.host, kill.container_id) == (AT, "node-1", CID)


def test_journal_message_as_bytes() -> None:
    lines = [json.dumps({"MESSAGE": list(text.encode() + b"\xff")}) for text in (summary(), killed())]
    assert only(parse_kernel_log(lines)).pid == 38287


def test_saved_query_answers() -> None:
    stamp = 1795417263250
    events = {"events": [{"timestamp": stamp, "message": json.dumps({"message": t, "host": "n"})}
                         for t in (summary(), killed())]}  # fmt: skip
    insights = {"results": [[{"field": "@timestamp", "value": "2026-11-23 07:01:03.250"},
                             {"field": "host", "value": "n"}, {"field": "message", "value": t}]
                            for t in (summary(), killed())]}  # fmt: skip
    for answer in (events, insights, json.loads(json.dumps(events["events"]))):
        kill = only(parse_kernel_log(lines_of_answer(answer)))
        assert (kill.at, kill.host, kill.pid) == (AT, "n", 38287)
    assert list(lines_of_answer("junk")) == list(lines_of_answer({"events": [1, None]})) == []


def test_a_syslog_stamp_without_year_gets_none_unless_it_is_told() -> None:
    lines = ["Nov 23 07:01:03 n kernel: " + killed()]
    assert only(parse_kernel_log(lines)).at is None
    assert only(parse_kernel_log(lines, year=2025)).at == datetime(2025, 11, 23, 7, 1, 3, tzinfo=UTC)
    there = timezone(timedelta(hours=2))
    assert only(parse_kernel_log(lines, year=2025, tz=there)).at == datetime(
        2025, 11, 23, 5, 1, 3, tzinfo=UTC
    )
    assert only(parse_kernel_log(["Feb 29 07:01:03 n kernel: " + killed()], year=2025)).at is None


def test_a_log_over_new_year_ends_in_the_year_given() -> None:
    lines = [f"Dec 31 23:59:59 n kernel: {killed(1)}", f"Jan  1 00:00:01 n kernel: {killed(2)}"]
    assert [k.at and k.at.year for k in parse_kernel_log(lines, year=2027)] == [2026, 2027]


def test_lines_of_other_programs_are_no_kernel_lines() -> None:
    assert parse_kernel_log([f"Nov 23 07:01:03 n kubelet[812]: {killed()}"], year=2026) == ()
    assert parse_kernel_log([json.dumps({"SYSLOG_IDENTIFIER": "sudo", "MESSAGE": killed()})]) == ()


# ---------------------------------------------------------------------------------------------- kernel generations


@pytest.mark.parametrize(
    ("line", "pid", "shmem", "adj"),
    [
        ("Killed process 19667 (evil-2) total-vm:1460016kB, anon-rss:1414008kB, file-rss:4kB", 19667, None, None),
        ("Killed process 1381 (gun) total-vm:21kB, anon-rss:18kB, file-rss:2kB, shmem-rss:0kB", 1381, 0, None),
        ("Killed process 799153 (node), UID 1000, total-vm:6kB, anon-rss:6kB, file-rss:1kB, shmem-rss:0kB", 799153, 0,
         None),
        ("Memory cgroup out of memory: Killed process 68061 (puma: cluster w) total-vm:4kB, anon-rss:2kB, file-rss:2kB,"
         " shmem-rss:0kB, UID:1000 pgtables:5696kB oom_score_adj:-997", 68061, 0, -997),
        ("Out of memory (oom_kill_allocating_task): Killed process 5 (a) b) total-vm:1kB, anon-rss:1kB, file-rss:1kB,"
         " shmem-rss:1kB, UID:0 pgtables:1kB oom_score_adj:0", 5, 1024, 0),
    ],
)  # fmt: skip
def test_killed_line_of_every_generation(line: str, pid: int, shmem: int | None, adj: int | None) -> None:
    kill = only(parse_kernel_log([line]))
    assert (kill.pid, kill.shmem_rss_bytes, kill.oom_score_adj) == (pid, shmem, adj)


def test_a_report_of_a_kernel_before_5() -> None:
    path = f"/kubepods/burstable/pod{UID}/{CID}"
    lines = [
        "ruby invoked oom-killer: gfp_mask=0x24000c0(GFP_KERNEL), order=0, oom_score_adj=999",
        f"Task in {path} killed as a result of limit of /kubepods/burstable/pod{UID}",
        "memory: usage 2097152kB, limit 2097152kB, failcnt 1234",
        f"Memory cgroup stats for {path}: cache:0KB rss:2097152KB",
        "[ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name",
        "[ 4121]  1000  4121   700000   520000    1100       6        0           999 puma: cluster w",
        "Memory cgroup out of memory: Kill process 4121 (ruby) score 1994 or sacrifice child",
        "Killed process 4121 (ruby) total-vm:2800000kB, anon-rss:2080000kB, file-rss:10kB, shmem-rss:0kB",
    ]
    kill = only(parse_kernel_log(lines))
    assert (kill.scope, kill.container_id, kill.pod_uid) == ("pod", CID, UID)
    assert (kill.limit_bytes, kill.invoked_by) == (2 * 2**30, "ruby")
    assert [(t.comm, t.rss_bytes, t.oom_score_adj) for t in kill.tasks] == [
        ("puma: cluster w", 520000 * 4096, 999)
    ]


def test_global_kill_before_5_takes_its_scope_from_the_choosing_line() -> None:
    lines = ["Out of memory: Kill process 41 (x) score 9 or sacrifice child",
             "Killed process 41 (x) total-vm:2kB, anon-rss:2kB, file-rss:1kB, shmem-rss:0kB"]  # fmt: skip
    assert only(parse_kernel_log(lines)).scope == "node"


@pytest.mark.parametrize(
    ("oom", "scope"),
    [
        (CONTAINER, "container"),
        (f"{CONTAINER}/app.scope", "container"),
        (BURSTABLE + ".slice", "pod"),
        (f"/kubepods/pod{UID}", "pod"),
        ("/kubepods.slice", "allocatable"),
        ("/kubepods", "allocatable"),
        ("/kubepods.slice/kubepods-burstable.slice", "allocatable"),
        ("/system.slice/foo.service", "unknown"),
        (None, "node"),
    ],
)
def test_pitfall_13_whose_limit_it_was(oom: str | None, scope: str) -> None:
    kill = only(parse_kernel_log([summary(oom=oom), killed()]))
    assert (kill.scope, kill.container_id) == (scope, CID)


@pytest.mark.parametrize(
    ("path", "uid", "cid"),
    [
        (CONTAINER, UID, CID),
        (f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/cri-containerd-{CID}.scope", UID, CID),
        (f"/kubepods/burstable/pod{UID}/{CID}", UID, CID),
        (f"/kubepods/pod{UID}/{CID}", UID, CID),
        (f"{BURSTABLE}.slice/crio-{CID}.scope/container", UID, CID),
        (f"{BURSTABLE}.slice/docker-{CID}.scope", UID, CID),
        (f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod"
         f"{UID.replace('-', '_')}.slice/cri-containerd-{CID}.scope", UID, CID),
        (f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{'a' * 32}.slice/cri-containerd-{CID}.scope",
         "a" * 32, CID),
        (BURSTABLE + ".slice", UID, None),
        ("/kubepods.slice", None, None),
        ("/system.slice/foo.service", None, None),
        ("", None, None),
    ],
)  # fmt: skip
def test_pod_and_container_of_a_cgroup_path(path: str, uid: str | None, cid: str | None) -> None:
    assert cgroup_identity(path) == (uid, cid)


# -------------------------------------------------------------------------------------------- groups, cuts, mixtures


def test_pitfall_14_the_killer_is_named_by_the_victims_line_and_group_members_count_once() -> None:
    lines = [
        "puma srv tp 001 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=872",
        summary(comm="ruby"), killed(38287),
        f"Tasks in {CONTAINER} are going to be killed due to memory.oom.group set",
        killed(38287), killed(38290), killed(38291, "puma: worker), x"),
        "oom_reaper: reaped process 38287 (ruby), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
    ]  # fmt: skip
    kill = only(parse_kernel_log(lines))
    assert (kill.comm, kill.invoked_by, kill.group_kill) == ("ruby", "puma srv tp 001", True)
    assert kill.group_pids == (38287, 38290, 38291)


def test_names_of_tasks_may_hold_blanks_and_node_lists_may_hold_commas() -> None:
    kill = only(
        parse_kernel_log([summary(comm="puma srv tp 001", mems="0-1,3"), killed(comm="puma srv tp 001")])
    )
    assert kill.comm == "puma srv tp 001"


def test_a_rate_limited_report_is_still_a_kill() -> None:
    kill = only(parse_kernel_log(["[1.000001] " + killed()]))
    assert (kill.pid, kill.scope, kill.pod_uid, kill.tasks) == (38287, "unknown", None, ())
    assert only(parse_kernel_log([killed(prefix="Out of memory: ")])).scope == "node"


def test_a_report_cut_before_its_last_line_is_still_a_kill() -> None:
    kill = only(parse_kernel_log([summary()]))
    assert (kill.container_id, kill.anon_rss_bytes) == (CID, None)


def test_a_victim_already_exiting_is_no_kill() -> None:
    skip = "Memory cgroup out of memory: OOM victim 38287 (ruby) is already exiting. Skip killing the task"
    assert parse_kernel_log([summary(), skip]) == ()


def test_two_hosts_mixed_line_by_line() -> None:
    def report(host: str, pid: int) -> list[str]:
        return [f"Nov 23 07:01:03 {host} kernel: {text}" for text in (
            "ruby invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=872",
            f"memory: usage {pid}kB, limit {pid}kB, failcnt 1",
            f"[{pid:7d}]  1000 {pid}   700000   520000   518000   2000        0  4300800        0           872 ruby",
            summary(pid=pid), killed(pid))]  # fmt: skip

    mixed = [line for pair in zip(report("a", 100), report("b", 200), strict=True) for line in pair]
    kills = parse_kernel_log(mixed, year=2026)
    assert [(k.host, k.pid, k.limit_bytes, [t.pid for t in k.tasks]) for k in kills] == [
        ("a", 100, 100 * 1024, [100]), ("b", 200, 200 * 1024, [200]),
    ]  # fmt: skip


def test_two_reports_of_one_host_mixed_do_not_swap_their_limits() -> None:
    other = CONTAINER.replace(CID, "f" * 64)
    lines = [
        "ruby invoked oom-killer: gfp_mask=0, order=0, oom_score_adj=0",
        "memory: usage 11kB, limit 11kB, failcnt 1", f"Memory cgroup stats for {CONTAINER}:",
        "java invoked oom-killer: gfp_mask=0, order=0, oom_score_adj=0",
        "memory: usage 22kB, limit 22kB, failcnt 1", f"Memory cgroup stats for {other}:",
        summary(), summary(oom=other, task=other, pid=77), killed(77), killed(),
    ]  # fmt: skip
    assert [(k.pid, k.limit_bytes, k.invoked_by) for k in parse_kernel_log(lines)] == [
        (38287, 11 * 1024, "ruby"), (77, 22 * 1024, "java"),
    ]  # fmt: skip


def test_large_pages_are_seen_by_the_victims_own_sizes() -> None:
    row = "[  38287]  1000 38287    31250    30000 4300800        0           872 ruby"
    kill = only(parse_kernel_log(["x invoked oom-killer: a", row, summary(), killed()]))
    assert kill.tasks[0].rss_bytes == 30000 * 65536


# ------------------------------------------------------------------------------------------------ recognising, junk


def test_sniffing() -> None:
    for path in DATA.iterdir():
        assert sniff_kernel_log(path.read_bytes()[:4096])
    assert sniff_kernel_log(b"[    0.000000] Linux version 6\n[    0.000000] Command line: x\n")
    assert not sniff_kernel_log(b"")
    assert not sniff_kernel_log(b"I, [2026-11-23T09:18:26.694049 #1]  INFO -- : Started GET\n" * 9)
    assert not sniff_kernel_log(b'{"involvedObject": {}, "message": "Killed process 1 (ruby)"}')


@settings(deadline=None)
@given(st.lists(st.text(max_size=200), max_size=20))
def test_junk_never_raises(lines: list[str]) -> None:
    assert isinstance(parse_kernel_log(lines, year=2026), tuple)


@settings(deadline=None)
@given(st.data())
def test_damaged_real_logs_never_raise(data: st.DataObject) -> None:
    text = (DATA / "worker_oom.journal.txt").read_text()[-4000:]
    cut = data.draw(st.integers(0, len(text)))
    noise = data.draw(st.text(max_size=30))
    merge(parse_kernel_log((text[:cut] + noise + text[cut:]).splitlines(), year=2026))


@pytest.mark.parametrize(
    "line", ["{" * 5000, '{"a":' * 3000, "[" * 8000 + " oom", "x" * 10**6 + " oom-kill:", "\x00oom"]
)
def test_hostile_lines(line: str) -> None:
    assert parse_kernel_log([line], year=2026) == ()
