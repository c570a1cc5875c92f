"""The whole scan: copies folded, lives kept apart, jobs, coverage, bounds."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from oomscope.logs import scan
from oomscope.logs.interface import Identity
from oomscope.logs.sketch import Sketch
from tests.logs_help import CONTAINER_ID, Bytes, answer_pretty, capture, cri, events, scanned, states


def test_three_copies_of_a_log_are_one_stream_with_the_best_identity_and_times():
    bare = capture("v61_simple")
    result = scanned(Bytes(bare, "bare"), Bytes(cri(bare), "cri"), Bytes(answer_pretty(bare), "answer"))
    (stream,) = result.streams
    assert (stream.source, stream.also_in) == ("answer", ("cri", "bare"))
    assert stream.container_id == CONTAINER_ID
    assert states(result) == states(scanned(answer_pretty(bare)))
    assert result.requests["pod"].unique().to_list() == ["web-1"]


def test_a_copy_that_breaks_off_is_still_read_as_a_part():
    bare = capture("rails61_sample")
    result = scanned(Bytes(answer_pretty(bare), "answer"), Bytes(bare[: len(bare) * 2 // 3], "part"))
    assert [(stream.source, stream.also_in) for stream in result.streams] == [("answer", ("part",))]


def test_the_same_lines_of_two_named_containers_are_two_logs():
    bare = capture("rails61_sample")
    other = Bytes(bare, "other", Identity(pod="web-2", container="app", container_id="cd" * 32))
    assert len(scanned(Bytes(answer_pretty(bare), "answer"), other).streams) == 2


def test_a_longer_anonymous_copy_is_kept_and_inherits_the_identity():
    bare = capture("rails61_sample")
    part = events(bare)[:200]
    result = scanned(Bytes(bare, "bare"), Bytes(json.dumps({"events": part}).encode(), "answer"))
    (stream,) = result.streams
    assert (stream.source, stream.container_id, stream.also_in) == ("bare", CONTAINER_ID, ("answer",))


def test_logs_of_two_processes_are_never_folded():
    result = scanned(capture("v61_simple"), capture("v61_notags"), capture("v61_multitags"))
    assert len(result.streams) == 3


def test_a_second_boot_in_an_anonymous_log_is_the_next_life():
    first, second = capture("v61_nosync"), capture("v61_simple")
    result = scanned(first + b"\n" + second)
    assert [stream.stream for stream in result.streams] == ["0.log", "0.log#2"]
    assert result.requests.filter(result.requests["state"] == "open")["stream"].to_list() == ["0.log"]
    assert [life.pid for life in result.lives] == [8476, 16976]


def test_a_life_that_was_never_busy_is_no_second_life():
    boot = b"=> Booting Puma\nPuma starting in single mode...\n*  Max threads: 5\n"
    assert len(scanned(boot + capture("v61_simple")).streams) == 1


def test_pages_of_one_answer_are_one_log():
    rows = events(capture("rails61_sample"))
    pages = [json.dumps({"events": rows[i : i + 100]}).encode() for i in range(0, len(rows), 100)]
    result = scanned(*(Bytes(page, f"page-{i}") for i, page in enumerate(pages)))
    assert len(result.streams) == 1
    assert states(result) == states(scanned(capture("rails61_sample")))


def test_boot_stop_and_server_are_told():
    result = scanned(Bytes(cri(capture("v61_sigint")), "a"))
    (stream,), (life,) = result.streams, result.lives
    assert stream.boot_seen_at < stream.stop_seen_at <= stream.last_at
    assert (life.role, life.server, life.threads_max, life.end) == ("single", "puma 5.6.5", 5, "graceful")


def test_a_cluster_has_a_master_and_its_workers():
    result = scanned(capture("v61_cluster"))
    assert (result.lives[0].role, result.lives[0].index) == ("master", None)
    assert sorted(life.index for life in result.lives if life.role == "worker") == [0, 0, 1, 1]
    assert result.lives[0].workers == 2


def test_the_last_fatal_line_is_kept():
    assert scanned(capture("rails61_sample")).streams[0].error_seen.startswith("NoMemoryError")


def test_jobs_inside_the_web_process():
    jobs = scanned(capture("rails61_sample")).jobs
    assert sorted(jobs["state"].to_list()) == ["completed", "failed"]
    assert set(jobs["job_class"]) == {"MyJob"}
    assert jobs["enqueued_at"].null_count() == 0


def test_a_job_killed_with_its_process_is_open():
    result = scanned(capture("sidekiq73_text"))
    open_jobs = result.jobs.filter(result.jobs["state"] == "open")
    assert open_jobs["job_class"].to_list() == ["SlowJob"]
    assert open_jobs["raw"][0].endswith("INFO: start")


def test_sidekiq_and_active_job_lines_of_one_run_are_one_job():
    head = "2026-11-23T08:33:47.806Z pid=2 tid=g58 class=MyJob jid=59b62d800da22c0ca0425b64 INFO: "
    uuid = "d07a8553-8b08-47f5-9b63-97c3e7edb8f2"
    text = f"{head}start\n{head}Performing MyJob (Job ID: {uuid}) from Sidekiq(default) with arguments: 5\n"
    (job,) = scanned(text).jobs.to_dicts()
    assert (job["state"], job["adapter"], job["args"], job["note"]) == (
        "open",
        "sidekiq",
        "5",
        f"Job ID {uuid}",
    )
    text += (
        f"{head}Performed MyJob (Job ID: {uuid}) from Sidekiq(default) in 5.0ms\n"
        + head.replace(" INFO", " elapsed=0.01 INFO")
        + "done\n"
    )
    assert scanned(text).jobs.select("state", "duration_ms").rows() == [("completed", 10.0)]


def test_structured_events_beside_a_text_log_are_not_counted_twice():
    result = scanned(capture("rails81_events"))
    assert result.requests["path"].null_count() == 0
    assert result.jobs.height == 1


def test_text_inside_json_is_read_and_cannot_be_forged():
    result = scanned(capture("ougai_bunyan"))
    assert states(result)["/nope"] == ["errored"]
    row = {
        "level": 30,
        "time": "2026-11-23T09:00:00Z",
        "pid": 1,
        "msg": 'hello\nStarted GET "/fake" for 1 at 2026-11-23 09:00:00 +0000',
    }
    assert scanned(json.dumps(row)).requests.height == 0


def test_coverage_counts_every_line():
    data = capture("v61_simple")
    (stream,) = scanned(data).streams
    assert stream.coverage.lines == len(
        data.rstrip(b"\n").split(b"\n")
    ) or stream.coverage.lines == data.count(b"\n")
    assert stream.coverage.recognised >= 0.9 * stream.coverage.lines
    assert (stream.coverage.opened, stream.coverage.closed) == (11, 11)


def test_same_input_same_tables():
    one, two = scanned(capture("rails61_sample")), scanned(capture("rails61_sample"))
    assert one.requests.equals(two.requests)
    assert one.streams == two.streams


def test_nothing_in_nothing_out():
    result = scan([])
    assert (result.requests.height, result.streams, result.gaps) == (0, (), ())


def test_too_many_containers_are_cut_with_a_gap():
    rows = [{"log": "x", "kubernetes": {"pod_name": f"p{i}", "container_name": "c"}} for i in range(2100)]
    result = scanned("\n".join(map(json.dumps, rows)))
    assert len(result.streams) == 2000
    assert [gap.reason for gap in result.gaps] == ["cut"]


@pytest.mark.parametrize(
    "line", ['[id-{i}] Started GET "/p" for 1.2.3.4 at 2026-11-23 09:00:00 +0000', "noise {i}", "[id-{i}]   "]
)
def test_memory_does_not_grow_with_lines_that_make_no_rows(line):
    def peak(count: int) -> int:
        data = "\n".join(line.format(i=i % 50) for i in range(count)).encode()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        scanned(data)
        top = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        return top

    if "Started" in line:
        pytest.skip("every start is a row")
    assert peak(40_000) < peak(10_000) * 1.5 + 3_000_000


def test_identity_of_the_source_names_the_stream():
    result = scanned(Bytes(capture("v61_simple"), "x", Identity(pod="web-1", container="app")))
    assert result.streams[0].stream == "web-1/app"


def test_a_sketch_finds_copies_and_parts():
    whole, part, other = Sketch(), Sketch(), Sketch()
    for i in range(50_000):
        whole.add(f"id-{i}")
        if i % 10 == 0:
            part.add(f"id-{i}")
        other.add(f"other-{i}")
    assert whole.overlap(part) > 0.95
    assert whole.overlap(other) < 0.01
    assert Sketch().overlap(whole) == 0
