"""Server lines: real boot, cluster and shutdown captures, the versions' differences, and hostile text."""
# ruff: noqa: E501 - captured lines stay as they are

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomscope.logs.servers import parse_server_line
from tests.log_lines import TAILS, captured, seconds, stripped


def told(name: str) -> list[tuple[str, int | None, dict[str, Any]]]:
    """Kind, writer and fields of every server line of a capture."""
    found = [parse_server_line(line) for line in captured(name)]
    return [(event.kind, event.pid, event.fields) for event in found if event is not None]


def one(text: str) -> tuple[str, dict[str, Any]]:
    event = parse_server_line(text)
    assert event is not None, text
    return event.kind, event.fields


def test_cluster_life_of_puma_5() -> None:
    lines = [(kind, fields) for kind, pid, fields in told("v61_cluster") if pid == 20175]
    assert lines == [
        ("boot", {"role": "master", "server": "puma"}),
        ("config", {"server": "puma 5.6.5", "ruby": "ruby 3.1.7-p261"}),
        ("config", {"threads_min": 2}),
        ("config", {"threads_max": 5}),
        ("config", {"environment": "production"}),
        ("config", {"role": "master", "pid": 20175}),
        ("config", {"role": "master", "workers": 2}),
        ("config", {"note": "Preloading application"}),
        ("ready", {"listen": "http://127.0.0.1:19421"}),
        ("ready", {}),
        ("worker_boot", {"role": "worker", "index": 0, "pid": 20252, "phase": 0}),
        ("worker_boot", {"role": "worker", "index": 1, "pid": 20253, "phase": 0}),
        # worker 0 was killed by SIGKILL: Puma says nothing of it, only the new worker of that index appears
        ("worker_boot", {"role": "worker", "index": 0, "pid": 20341, "phase": 0}),
        ("worker_timeout", {"end": "timeout_killed", "pid": 20253}),
        ("worker_boot", {"role": "worker", "index": 1, "pid": 20411, "phase": 0}),
        ("stop", {"note": "shutdown", "stopped": "2026-11-23 08:32:26 +0000"}),
        ("stop", {"note": "Goodbye!"}),
        ("stop", {"note": "Gracefully shutting down workers"}),
    ]


def test_cluster_life_of_puma_8() -> None:
    kinds = [kind for kind, _, _ in told("v81_cluster")]
    assert kinds.count("boot") == 1
    assert kinds.count("worker_boot") == 5
    assert kinds.count("worker_timeout") == 1
    assert kinds.count("stop") == 3
    assert ("config", {"server": "puma 8.0.2"}) in [(kind, fields) for kind, _, fields in told("v81_cluster")]
    timeout = next(fields for kind, _, fields in told("v81_cluster") if kind == "worker_timeout")
    assert timeout.keys() == {"end", "index", "pid"}


def test_single_mode_names_its_pid_and_stops() -> None:
    lines = told("v61_sigint")
    assert ("boot", None, {"role": "single", "server": "puma"}) in lines
    assert any(fields.keys() == {"role", "pid"} and fields["role"] == "single" for _, _, fields in lines)
    assert [kind for kind, _, _ in lines][-3:] == ["stop", "stop", "stop"]


def test_rails_lines_of_a_cluster_are_no_server_lines() -> None:
    for name in ("v61_cluster", "v81_cluster", "v61_sigint"):
        rails = [
            line
            for line in captured(name)
            if "Started" in line or "Processing" in line or "Parameters" in line
        ]
        assert rails
        assert all(parse_server_line(line) is None for line in rails)


@pytest.mark.parametrize(
    ("text", "kind", "fields"),
    [
        ("* Version 4.3.12 (ruby 2.7.8-p225), codename: Mysterious Traveller", "config", {"server": "puma 4.3.12", "ruby": "ruby 2.7.8-p225"}),
        ("* Min threads: 5, max threads: 5", "config", {"threads_min": 5, "threads_max": 5}),
        ("* Process workers: 3", "config", {"role": "master", "workers": 3}),
        ("[1] - Worker 0 (pid: 9) booted, phase: 0", "worker_boot", {"role": "worker", "index": 0, "pid": 9, "phase": 0}),
        ("[1] - Worker 1 (PID: 9) booted, phase: 2", "worker_boot", {"role": "worker", "index": 1, "pid": 9, "phase": 2}),
        ("[1] ! Terminating timed out worker: 9", "worker_timeout", {"end": "timeout_killed", "pid": 9}),
        ("[1] ! Terminating timed out worker (Worker 3 failed to boot within 60 seconds): 9", "worker_timeout", {"end": "timeout_killed", "pid": 9, "index": 3}),
        ("[1] ! reaped unknown child process pid=9 status=pid 9 SIGKILL (signal 9)", "reaped", {"end": "reaped_sigkill", "signal": 9, "role": "other", "pid": 9}),
        ("[1] - Stopping 9 for phased upgrade...", "worker_end", {"end": "replaced", "pid": 9}),
        ("[1] - TERM sent to 9...", "worker_end", {"end": "replaced", "pid": 9}),
        ("[1] - Worker 0 (PID: 9) terminating", "worker_end", {"end": "culled", "index": 0, "pid": 9}),
        ("[1] - Starting phased worker restart, phase: 1", "config", {"note": "phased restart", "phase": 1}),
        ("- Gracefully stopping, waiting for requests to finish", "stop", {"note": "Gracefully stopping"}),
        ("Detected force shutdown of a thread", "stop", {"note": "Detected force shutdown of a thread"}),
        ("! Unable to load application: LoadError: cannot load such file -- x", "fatal", {"message": "Unable to load application: LoadError: cannot load such file -- x"}),
        ("=> Rails 7.1.3 application starting in production ", "config", {"rails": "7.1.3"}),
        ("Exiting", "stop", {"note": "Exiting"}),
        ("[1] PumaWorkerKiller: Consuming 700 mb with master and 3 workers.", "config", {"note": "Consuming 700 mb with master and 3 workers."}),
        ("I, [2026-11-23T08:00:00.000000 #1]  INFO -- : worker=0 ready", "ready", {"role": "worker", "server": "unicorn", "index": 0}),
        ("I, [2026-11-23T08:00:00.000000 #1]  INFO -- : worker=1 spawned pid=9", "worker_boot", {"role": "worker", "server": "unicorn", "index": 1, "pid": 9}),
        ("master process ready", "ready", {"role": "master", "server": "unicorn"}),
        ("worker=0 PID:9 timeout (61s > 60s), killing", "worker_timeout", {"end": "timeout_killed", "index": 0, "pid": 9, "note": "61s > 60s"}),
        ("reaped #<Process::Status: pid 9 SIGKILL (signal 9)> worker=0", "reaped", {"end": "reaped_sigkill", "signal": 9, "role": "worker", "pid": 9, "index": 0}),
        ("reaped #<Process::Status: pid 9 exit 1> worker=0", "worker_end", {"end": "unknown", "role": "worker", "pid": 9, "index": 0, "note": "exit 1"}),
        ("SolidQueue-1.1.0 Replaced terminated Worker (12.3ms)  pid: 12, status: \"no exit status set\", pid_from_status: 12, signaled: true, stopsig: nil, termsig: 9, hostname: \"h\"", "reaped", {"end": "reaped_sigkill", "signal": 9, "role": "other", "server": "solid_queue", "pid": 12}),
        ("GoodJob 3.99 started scheduler with queues=* max_threads=5.", "boot", {"role": "other", "server": "good_job 3.99", "threads_max": 5}),
        ("2026-11-23T08:23:04+0000: [Worker(host:h pid:9)] Starting job worker", "boot", {"role": "other", "server": "delayed_job", "pid": 9}),
    ],
)  # fmt: skip
def test_each_known_line(text: str, kind: str, fields: dict[str, Any]) -> None:
    assert one(text) == (kind, fields)


def test_puma_worker_killer_names_its_victim() -> None:
    kind, fields = one(
        "[1] PumaWorkerKiller: Out of memory. 3 workers consuming total: 900 mb out of max: 800 mb. "
        "Sending TERM to pid 23 consuming 310 mb."
    )
    assert (kind, fields["end"], fields["pid"]) == ("worker_end", "culled", 23)
    assert "Out of memory" in fields["note"]


@pytest.mark.parametrize(("name", "version", "threads"), [("sidekiq64_text", "6.4.1", None), ("sidekiq73_text", "7.3.2", 2), ("sidekiq81_text", "8.1.7", 2)])  # fmt: skip
def test_sidekiq_process_life(name: str, version: str, threads: int | None) -> None:
    lines = told(name)
    boots = [pid for kind, pid, _ in lines if kind == "boot"]
    assert len(boots) == 2
    assert all(fields["role"] == "sidekiq" for _, _, fields in lines)
    servers = {fields["server"] for kind, _, fields in lines if kind == "config"}
    assert servers == {f"sidekiq {version}"}
    assert [fields["threads_max"] for _, _, fields in lines if "threads_max" in fields] == (
        [threads, threads] if threads else []
    )
    stops = [(pid, fields["note"]) for kind, pid, fields in lines if kind == "stop"]
    assert {pid for pid, _ in stops} == {boots[0]}  # the second process was killed: it says nothing
    assert stops[-1][1] == "Bye!"


@pytest.mark.parametrize(
    "text", ["Shutting down", "Bye!", "Terminating quiet threads", "Running in ruby 3.3.8"]
)
def test_sidekiq_words_without_its_prefix_mean_nothing(text: str) -> None:
    assert parse_server_line(text) is None


def test_rack_timeout_states() -> None:
    found = [parse_server_line(stripped(line)[1]) for line in captured("rack_timeout")]
    assert all(event is not None and event.kind == "timeout_state" and event.request_id for event in found)
    first, second = found[:2]
    assert first is not None
    assert second is not None
    assert first.fields == {"state": "ready", "timeout_ms": 1000.0}
    assert second.fields == {"state": "completed", "timeout_ms": 1000.0, "service_ms": 1.0}
    assert first.request_id == second.request_id


def test_rack_timeout_with_wait_and_term() -> None:
    kind, fields = one(
        "source=rack-timeout id=a-1 wait=12ms timeout=15000ms service=15000ms term_on_timeout=1 state=timed_out"
    )
    assert (kind, fields) == ("timeout_state", {"state": "timed_out", "wait_ms": 12.0, "timeout_ms": 15000.0, "service_ms": 15000.0})  # fmt: skip


def test_errors_above_rails_are_notes() -> None:
    found = [parse_server_line(line) for line in captured("above_rails")]
    notes = [event for event in found if event is not None]
    assert len(notes) >= 10
    assert all(event.kind == "request_note" and event.at is not None for event in notes)
    assert notes[1].fields["path"] == "/raise_before"
    assert "boom before logger" in notes[1].fields["exception"]


def test_puma_that_glues_path_and_query_gives_no_path() -> None:
    _, fields = one(
        '2026-11-23 08:41:22 +0000 Rack app ("GET /jspassword=hunter2&token=abc" - (127.0.0.1)): #<RuntimeError: x>'
    )
    assert "path" not in fields
    assert fields["query"] == "/jspassword=hunter2&token=abc"
    _, fields = one(
        '2026-11-23 08:41:22 +0000 Rack app ("GET /js?password=hunter2" - (127.0.0.1)): #<RuntimeError: x>'
    )
    assert (fields["path"], fields["query"]) == ("/js", "password=hunter2")


@pytest.mark.parametrize(
    ("text", "exception"),
    [
        ("[FATAL] failed to allocate memory", "NoMemoryError"),
        ("NoMemoryError (failed to allocate memory):", "NoMemoryError"),
        ("failed to allocate memory (NoMemoryError)", "NoMemoryError"),
        ("/app/x.rb:3:in 'String#*': failed to allocate memory (NoMemoryError)", "NoMemoryError"),
        ("/app/x.rb:3:in `fork': Cannot allocate memory - fork(2) (Errno::ENOMEM)", "Errno::ENOMEM"),
        ("Cannot allocate memory - fork(2) (Errno::ENOMEM)", "Errno::ENOMEM"),
        ("Errno::ENOMEM (Cannot allocate memory - fork(2)):", "Errno::ENOMEM"),
        ("/app/x.rb:3: [BUG] Segmentation fault at 0x0000000000000000", "ruby [BUG]"),
        ("[BUG] rb_gc_mark(): unknown data type", "ruby [BUG]"),
        ("bundler: failed to load command: puma (/usr/local/bundle/bin/puma)", "bundler"),
        ("/app/config/boot.rb:3:in `require': cannot load such file -- bootsnap (LoadError)", "LoadError"),
    ],
)
def test_last_words_of_ruby(text: str, exception: str) -> None:
    kind, fields = one(text)
    assert kind == "fatal"
    assert fields["exception"] == exception


@pytest.mark.parametrize(
    "text",
    [
        '  Parameters: {"q"=>"NoMemoryError (failed to allocate memory)"}',
        "user said: [FATAL] failed to allocate memory",
        'Started GET "/search?q=[BUG] x" for 127.0.0.1 at 2026-11-23 08:00:00 +0000',
        "I read about Cannot allocate memory today",
        "Completed 200 OK in 1ms (Allocations: 3)", "", "[", "[1] ", "* ", "- Worker", "worker=", "Puma", "Exiting the building",
    ],
)  # fmt: skip
def test_what_is_no_server_line(text: str) -> None:
    assert parse_server_line(text) is None


HEADS = ("", "[1] ", "* Puma version: ", "*  ", "- Worker 0 (PID: ", "! Terminating timed out worker (", "=== puma shutdown: ",
         "PumaWorkerKiller: ", "reaped #<Process::Status: pid 9 ", "source=rack-timeout ", 'Rack app ("GET ', "x.rb:1:in ",
         "[FATAL] ", "SolidQueue-1 Replaced terminated Worker (1ms)  pid: 1,", "GoodJob 1 started scheduler with ", "[Worker(",
         "2026-11-23T08:33:47.753Z pid=1 tid=a INFO: Sidekiq ", "I, [2026-11-23T08:00:00.000000 #1]  INFO -- ")  # fmt: skip


@given(st.sampled_from(HEADS), st.text())
def test_junk_never_raises(head: str, tail: str) -> None:
    parse_server_line(head + tail)


@pytest.mark.parametrize("tail", [*TAILS, "x.rb:1:", "NoMemoryError", "(LoadError) "])
@pytest.mark.parametrize("head", HEADS)
def test_a_hundred_kilobytes_take_no_time(head: str, tail: str) -> None:
    assert seconds(parse_server_line, head + tail * (100_000 // len(tail))) < 2.0


@given(st.text(alphabet="0123456789", min_size=1, max_size=30))
def test_numbers_of_any_length(digits: str) -> None:
    event = parse_server_line(f"[1] - Worker {digits} (PID: {digits}) booted in 0.1s, phase: 0")
    assert (event is None) == (len(digits) > 10)
