"""Background job lines: real Active Job and Sidekiq captures, the other queues' forms, and hostile text."""
# ruff: noqa: E501 - captured lines stay as they are

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomscope.logs.interface import LogEvent
from oomscope.logs.jobs import parse_job_line
from tests.log_lines import TAILS, captured, seconds, stripped

UUID = "d07a8553-8b08-47f5-9b63-97c3e7edb8f2"


def told(text: str, **known: Any) -> LogEvent:
    event = parse_job_line(text, **known)
    assert event is not None, text
    return event


def test_active_job_lines_of_three_rails_versions() -> None:
    found = [told(text, tags=tags) for tags, text in map(stripped, captured("active_job"))]
    assert [event.kind for event in found] == [
        "job_started",
        "job_completed",
        "job_enqueued",
        "job_started",
        "job_failed",
    ] * 3
    assert all(
        event.fields["job_class"] == "MyJob" and event.fields["adapter"] == "active_job" for event in found
    )
    assert all(event.fields["queue"] == "default" for event in found)
    start, done, queued, _, failed = found[:5]
    assert start.fields["job_id"] == done.fields["job_id"] == queued.fields["job_id"] == UUID
    assert start.fields["args"] == '"a", 1, {"k"=>"v\\nw"}'
    assert start.fields["enqueued_at"] == datetime(2026, 11, 23, 8, 41, 36, tzinfo=UTC)
    assert start.request_id == "137cdc17-6346-44ad-89fd-044d64b6f0e3"
    assert done.fields["duration_ms"] == 4.58
    assert failed.fields["note"] == "RuntimeError (job boom):"
    assert found[5].fields["enqueued_at"] == datetime(
        2026, 11, 23, 8, 41, 41, 256980, tzinfo=UTC
    )  # nine digits, cut


def test_what_the_prefix_told_is_kept() -> None:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    event = told(f"Performing MyJob (Job ID: {UUID}) from Async(default)", at=at, pid=7)
    assert (event.at, event.pid, event.request_id) == (at, 7, None)


def test_rails_4_2_has_the_id_only_in_the_tags() -> None:
    event = told(
        "Performing MyJob from Inline(default) with arguments: 1", tags=("req", "ActiveJob", "MyJob", UUID)
    )
    assert event.fields["job_id"] == UUID
    assert (event.fields["args"], event.request_id) == ("1", "req")
    assert "job_id" not in told("Performed MyJob from Inline(default) in 3.1ms").fields


def test_tags_still_in_the_text_are_read() -> None:
    event = told(f"[ActiveJob] [MyJob] [{UUID}] Performing MyJob from Inline(default)")
    assert event.fields["job_id"] == UUID
    assert event.request_id is None


@pytest.mark.parametrize(
    ("text", "kind", "note"),
    [
        (
            f"Retrying MyJob (Job ID: {UUID}) after 1 attempts in 3 seconds, due to a RuntimeError (x).",
            "job_requeued",
            "after 1 attempts in 3 seconds, due to a RuntimeError (x).",
        ),
        (
            f"Stopped retrying MyJob (Job ID: {UUID}) due to a RuntimeError (x), which reoccurred on 5 attempts.",
            "job_failed",
            "due to a RuntimeError (x), which reoccurred on 5 attempts.",
        ),
        (
            f"Discarded MyJob (Job ID: {UUID}) due to a RuntimeError (x).",
            "job_failed",
            "due to a RuntimeError (x).",
        ),
        (f"Interrupted MyJob (Job ID: {UUID}) (stopping)", "job_requeued", "(stopping)"),
        (
            f"Error performing MyJob (Job ID: {UUID}) from Async(default) in 0.5ms: a before_perform callback halted the job execution",
            "job_failed",
            "a before_perform callback halted the job execution",
        ),
        (
            f"Enqueued MyJob (Job ID: {UUID}) to Async(default) at 2026-11-23 08:00:00 UTC with arguments: 1",
            "job_enqueued",
            "scheduled for 2026-11-23 08:00:00 UTC",
        ),
    ],
)
def test_other_active_job_lines(text: str, kind: str, note: str) -> None:
    event = told(text)
    assert (event.kind, event.fields["job_id"], event.fields["note"]) == (kind, UUID, note)


def test_the_retry_line_before_7_1_needs_its_tags() -> None:
    text = "Retrying MyJob in 3 seconds, due to a RuntimeError."
    assert parse_job_line(text) is None
    assert told(text, tags=("ActiveJob", "MyJob", UUID)).fields["job_id"] == UUID


@pytest.mark.parametrize("name", ["sidekiq64_text", "sidekiq73_text", "sidekiq81_text"])
def test_sidekiq_runs(name: str) -> None:
    found = [event for line in captured(name) if (event := parse_job_line(line)) is not None]
    assert all(event.at is not None and event.pid and event.thread for event in found)
    assert all(event.fields["adapter"] == "sidekiq" for event in found)
    runs: dict[str, list[tuple[str, int | None]]] = {}
    for event in found:
        runs.setdefault(event.fields["job_id"], []).append((event.kind, event.pid))
    classes = {event.fields["job_id"]: event.fields["job_class"] for event in found}
    ends = {classes[jid]: [kind for kind, _ in run] for jid, run in runs.items()}
    assert ends["OkJob"] == ["job_started", "job_completed"]
    assert ends["FailJob"] == [
        "job_started",
        "job_failed",
        "job_failed",
    ]  # the fail line, and the one that names the error
    # pushed back at shutdown, started again by the next process, which was then killed: a start without an end
    (kinds, pids) = zip(*next(run for run in runs.values() if len({pid for _, pid in run}) == 2), strict=True)
    assert kinds[-1] == "job_started"
    assert "job_failed" in kinds
    assert pids[0] != pids[-1]


def test_sidekiq_duration_queue_and_arguments() -> None:
    found = [event for line in captured("sidekiq81_text") if (event := parse_job_line(line)) is not None]
    slow = next(
        event for event in found if event.kind == "job_completed" and event.fields["job_class"] == "SlowJob"
    )
    assert slow.fields["duration_ms"] == 3000
    error = next(event for event in found if event.fields.get("note") == "Job raised exception")
    assert (error.fields["queue"], error.fields["args"]) == ("default", "[1]")


def test_sidekiq_6_names_the_job_it_lost_at_the_deadline() -> None:
    found = [event for line in captured("sidekiq64_text") if (event := parse_job_line(line)) is not None]
    lost = next(event for event in found if event.kind == "job_requeued")
    assert lost.fields["job_class"] == "SlowJob"
    assert (lost.fields["job_id"], lost.fields["args"]) == ("afb93dd469691c993ce21202", "[30]")


@pytest.mark.parametrize(
    ("text", "kind", "took"),
    [
        (
            "2026-01-01T00:00:00Z 12 TID-abc HardWorker JID-0123456789abcdef01234567 INFO: start",
            "job_started",
            None,
        ),
        (
            "2026-01-01T00:00:00.125Z 12 TID-abc A::HardWorker JID-0123456789abcdef01234567 BID-x1 INFO: done: 0.12 sec",
            "job_completed",
            120,
        ),
        ("12 TID-abc HardWorker JID-0123456789abcdef01234567 INFO: fail: 0.5 sec", "job_failed", 500),
        (
            "pid=12 tid=abc class=HardWorker jid=0123456789abcdef01234567 elapsed=1.5 INFO: done",
            "job_completed",
            1500,
        ),
    ],
)
def test_older_sidekiqs_and_dyno_form(text: str, kind: str, took: float | None) -> None:
    event = told(text)
    assert (event.kind, event.pid, event.thread) == (kind, 12, "abc")
    assert event.fields["job_id"] == "0123456789abcdef01234567"
    assert event.fields.get("duration_ms") == took


def test_active_job_inside_sidekiqs_format() -> None:
    event = told(
        f"2026-11-23T08:33:47.805Z pid=1 tid=g58 class=MyJob jid=db8e177b87d90cba66c0f1b1 INFO: Performing MyJob (Job ID: {UUID}) from Sidekiq(default)"
    )
    assert (event.kind, event.fields["adapter"], event.fields["job_id"]) == (
        "job_started",
        "active_job",
        UUID,
    )
    assert (event.pid, event.thread) == (1, "g58")


def test_application_lines_inside_a_job_are_nothing() -> None:
    assert (
        parse_job_line(
            "2026-11-23T08:33:47.805Z pid=1 tid=g58 class=OkJob jid=db8e177b87d90cba66c0f1b1 tags=alpha,b c INFO: inside"
        )
        is None
    )


@pytest.mark.parametrize(
    ("text", "kind", "fields"),
    [
        (
            "2026-11-23T08:23:04+0000: [Worker(host:h pid:9)] Job Foo#bar (id=5) (queue=q) RUNNING",
            "job_started",
            {"adapter": "delayed_job", "job_class": "Foo#bar", "job_id": "5", "queue": "q"},
        ),
        (
            "2026-11-23T08:23:04+0000: [Worker(host:h pid:9)] Job Foo#bar (id=5) COMPLETED after 1.2500",
            "job_completed",
            {"adapter": "delayed_job", "job_class": "Foo#bar", "job_id": "5", "duration_ms": 1250.0},
        ),
        (
            "[Worker(host:h pid:9)] Job Foo#bar (id=5) (queue=q) FAILED (0 prior attempts) with RuntimeError: x (id=7) RUNNING",
            "job_failed",
            {
                "adapter": "delayed_job",
                "job_class": "Foo#bar",
                "job_id": "5",
                "queue": "q",
                "note": "(0 prior attempts) with RuntimeError: x (id=7) RUNNING",
            },
        ),
        (
            f"[Worker(host:h pid:9)] Job MyJob [{UUID}] from DelayedJob(default) with arguments: [1] (id=5) RUNNING",
            "job_started",
            {"adapter": "delayed_job", "job_class": "MyJob", "job_id": "5", "args": "[1]"},
        ),
        (
            '*** got: (Job{low} | Archive | [1, "a)"])',
            "job_started",
            {"adapter": "resque", "job_class": "Archive", "queue": "low", "args": '[1, "a)"]'},
        ),
        (
            "*** done: (Job{low} | Archive | [])",
            "job_completed",
            {"adapter": "resque", "job_class": "Archive", "queue": "low", "args": "[]"},
        ),
        (
            "*** (Job{low} | Archive | []) failed: #<RuntimeError: x>",
            "job_failed",
            {
                "adapter": "resque",
                "job_class": "Archive",
                "queue": "low",
                "args": "[]",
                "note": "#<RuntimeError: x>",
            },
        ),
        (
            "SolidQueue-1.1.0 Fail claimed jobs (5.0ms)  job_ids: [7], process_ids: [3]",
            "job_failed",
            {
                "adapter": "solid_queue",
                "note": "SolidQueue-1.1.0 Fail claimed jobs (5.0ms)  job_ids: [7], process_ids: [3]",
            },
        ),
    ],
)
def test_other_queues(text: str, kind: str, fields: dict[str, Any]) -> None:
    event = told(text)
    assert (event.kind, event.fields) == (kind, fields)


def test_resque_unwraps_active_job_and_reads_its_clock() -> None:
    event = told(
        '** [15:25:07 2026-11-23] 9: got: (Job{low} | ActiveJob::QueueAdapters::ResqueAdapter::JobWrapper | [{"job_class"=>"MyJob", "job_id"=>"'
        + UUID
        + '"}])'
    )
    assert (event.fields["job_class"], event.fields["job_id"], event.pid) == ("MyJob", UUID, 9)
    assert event.at == datetime(2026, 11, 23, 15, 25, 7)


def test_good_job_names_what_it_interrupted() -> None:
    event = told(f"GoodJob scheduler has been killed. The following Active Jobs were interrupted: {UUID}")
    assert event.kind == "job_requeued"
    assert UUID in event.fields["note"]


def test_arguments_are_bounded() -> None:
    event = told(f"Performing MyJob (Job ID: {UUID}) from Async(default) with arguments: " + "é" * 10**6)
    assert len(event.fields["args"].encode()) <= 2048


@pytest.mark.parametrize(
    "text",
    ["", "Performing", "Performing arts are fun", "Discarded Banana peel", "Enqueued 3 jobs to Async (2 A, 1 B)", "*** ", "**", "start", "done",
     "2026-11-23T08:33:47.805Z pid=1 tid=g58 INFO: start", "[Worker(] Job x RUNNING", 'Started GET "/jobs" for 127.0.0.1 at 2026-11-23 08:00:00 +0000'],
)  # fmt: skip
def test_what_is_no_job_line(text: str) -> None:
    assert parse_job_line(text) is None


HEADS = ("", "Performing A ", f"Error performing A (Job ID: {UUID}) from B(c) in 1ms", "[", "pid=1 tid=a ", "INFO pid=1 tid=a ", "1 TID-a ",
         "pid=1 tid=a class=X jid=1 INFO: ", 'pid=1 tid=a INFO: {"context":"', 'pid=1 tid=a INFO: Work still in progress [job="{\\"jid',
         "INFO pid=1 tid=a context=Job raised exception job={", "[Worker(", "[Worker(h)] Job a (id=", "*** (Job{a} | B | ", "SolidQueue-1 ")  # fmt: skip


@given(st.sampled_from(HEADS), st.text(), st.lists(st.sampled_from(["ActiveJob", "A", "x", ""]), max_size=5))
def test_junk_never_raises(head: str, tail: str, tags: list[str]) -> None:
    parse_job_line(head + tail, tags=tuple(tags))


@pytest.mark.parametrize("tail", [*TAILS, " (id=", "[a] ", " jid=", "INFO: "])
@pytest.mark.parametrize("head", HEADS)
def test_a_hundred_kilobytes_take_no_time(head: str, tail: str) -> None:
    assert seconds(parse_job_line, head + tail * (100_000 // len(tail))) < 2.0
