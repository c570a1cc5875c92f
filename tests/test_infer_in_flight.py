"""What counts as in flight at the kill, one test a rule."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from oomscope.analyze.in_flight import find_in_flight
from oomscope.analyze.model import InFlight
from oomscope.analyze.names import EndpointNames
from tests.infer_help import STREAM, access, at, bundle, joined, kill_case, ordinary, request


def flight(evidence: Any, **kill: Any) -> InFlight:
    case = kill_case(**kill)
    return find_in_flight(
        evidence, case, joined(evidence, case), EndpointNames(evidence.requests, evidence.accesses)
    )


def ids(found: pl.DataFrame) -> list[str]:
    return found["request_id"].to_list()


def test_open_means_started_and_never_ended_oldest_first() -> None:
    found = flight(
        bundle([*ordinary(60, 1, "A#show"), request(-3, None, "B#show"), request(-9, None, "C#show")])
    )
    assert found.requests["endpoint"].to_list() == ["C#show", "B#show"]
    assert found.requests["age_s"].to_list() == [9.0, 3.0]
    assert found.unknown is None


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (request(1, None), "began after the kill"),
        (request(-3, -1), "ended before it"),
        (request(-3, 2), "its end is in the log, so it did not die"),
        (request(-3, None, stream="web-1/1"), "ran in another life of the container"),
        (request(-3, None, state="superseded"), "cannot be open any more"),
        (request(-3, None, state="websocket"), "an upgraded connection is long-lived by design"),
        (request(-7200, None), "older than any request may be"),
    ],
)
def test_not_in_flight(row: dict[str, Any], why: str) -> None:
    assert flight(bundle([*ordinary(60, 1, "A#show"), row])).requests.is_empty(), why


def test_rack_level_is_reported_apart() -> None:
    found = flight(bundle([*ordinary(60, 1, "A#show"), request(-2, None, None, path="/metrics")]))
    assert found.requests.is_empty()
    assert found.rack_level["path"].to_list() == ["/metrics"]


def test_a_body_being_parsed_counts_when_its_path_normally_reaches_a_controller() -> None:
    usual = ordinary(60, 1, "A#create", method="POST", path="/a")
    parsing = request(-4, None, None, method="POST", path="/a", request_id="parsing")
    probe = request(-4, None, None, method="POST", path="/never/routed", request_id="probe")
    found = flight(bundle([*usual, parsing, probe]))
    assert ids(found.requests) == ["parsing"]
    assert found.requests["endpoint"].to_list() == ["A#create"]
    assert ids(found.rack_level) == ["probe"]


def test_a_controller_line_that_was_not_written_any_more_is_no_rack_level() -> None:
    """Between the two lines of a request without a body there is next to nothing, unless the process stands still."""
    usual = ordinary(60, 1, "A#show", path="/a")
    for age, counts in ((0.1, True), (4, True), (30, False)):
        for path in ("/a", "/metrics"):
            found = flight(bundle([*usual, request(-age, None, None, path=path, request_id="late")]))
            assert ids(found.requests) == (["late"] if counts and path == "/a" else [])
            assert found.requests.height + found.rack_level.height == 1


def test_only_the_killed_worker_counts() -> None:
    rows = [*ordinary(60, 1, "A#show"), request(-3, None, pid=12), request(-4, None, pid=15)]
    found = flight(bundle(rows, workers=2), verdict="oom_child", victim_pid_in_container=15)
    assert found.requests["pid"].to_list() == [15]


def test_without_pids_the_load_balancer_tells_the_dead_worker() -> None:
    died = request(-3, None, "A#slow", path="/died", request_id="died")
    lives = request(-4, None, "A#slow", path="/lives", request_id="lives")
    failed = access(-3, 0.01, "/died", elb_status=502, target_status=None)
    answered = access(-4, 6, "/lives")
    found = flight(bundle([*ordinary(60, 1, "A#show"), died, lives], accesses=[failed, answered], workers=2),
                   verdict="oom_child")  # fmt: skip
    assert ids(found.requests) == ["died"]


def test_without_pids_and_load_balancer_it_says_so() -> None:
    found = flight(bundle([*ordinary(60, 1, "A#show"), request(-3, None)], workers=2), verdict="oom_child")
    assert found.requests.height == 1
    assert "process ids" in found.notes[0]


def test_a_thread_runs_one_request_the_oldest_surplus_is_false() -> None:
    rows = [request(-float(age), None, f"E{age}#show") for age in (1, 2, 3, 40)]
    found = flight(bundle([*ordinary(600, 1, "A#show"), *rows], threads=3))
    assert found.requests["age_s"].to_list() == [3.0, 2.0, 1.0]


def test_a_log_that_loses_ends_is_unfit_not_trusted() -> None:
    lost = [request(-600 + i, None, "A#show") for i in range(50)]
    found = flight(bundle([*ordinary(600, 10, "B#show"), *lost]))
    assert found.requests.is_empty()
    assert "no end" in (found.unknown or "")


def test_lograge_is_unknown_and_the_load_balancer_stands_in() -> None:
    rows = ordinary(60, 1, "A#show", path="/a/1")
    lost = [access(-3, 0.01, "/a/2", elb_status=502, target_status=None)]
    found = flight(
        bundle(
            rows,
            accesses=lost,
            cannot_show="lograge",
            why="one line a request, written at its end",
            fix="log starts",
        )
    )
    assert found.unknown == "one line a request, written at its end"
    assert found.fix == "log starts"
    assert found.requests["endpoint"].to_list() == ["A#show"]
    assert found.requests["seen_in"].to_list() == ["alb"]


def lines_and_rows(count: int = 30) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Finished requests and the load balancer's rows of them."""
    rows = [access(-60 + i, -59.9 + i, f"/a/{i}") for i in range(count)]
    return [request(-60 + i, -59.9 + i, path=f"/a/{i}") for i in range(count)], rows


ONE_LINE = {"cannot_show": "lograge", "why": "one line a request, written at its end"}


@pytest.mark.parametrize(
    ("row", "lines", "found"),
    [
        ({"elb_status": 460}, [], ["/slow"]),
        ({"elb_status": 504}, [], ["/slow"]),
        ({"elb_status": 502}, [], []),  # the process closed the connection: nobody is at it any more
        ({"elb_status": 460}, [request(-40, -12, path="/slow")], []),  # it ended after the client had left
        (
            {"elb_status": 460},
            [request(-28, -12, path="/slow")],
            [],
        ),  # the same, begun late: cannot be told apart
        ({"elb_status": 460}, [request(-50, -45, path="/slow")], ["/slow"]),  # another one's line
        ({"elb_status": 504, "target_ip": "10.0.0.8"}, [], []),  # another pod's
        ({"elb_status": 504, "created_at": at(-4000)}, [], []),  # before this container's log begins
    ],
)
def test_what_the_load_balancer_gave_up_on_and_the_log_never_ended_is_in_flight(
    row: dict[str, Any], lines: list[dict[str, Any]], found: list[str]
) -> None:
    """A client leaves or the load balancer's idle timeout strikes; Rails goes on until the kill."""
    logged, rows = lines_and_rows()
    rows.append(access(-40, -30, "/slow", target_status=None) | row)
    flying = flight(bundle([*logged, *lines], accesses=rows, **ONE_LINE))
    assert flying.requests["path"].to_list() == found
    if found:
        assert flying.requests["age_s"].to_list() == [40.0]


def test_a_log_that_lacks_other_lines_too_says_nothing_of_those_given_up_on() -> None:
    logged, rows = lines_and_rows()
    rows.append(access(-40, -30, "/slow", target_status=None, elb_status=460))
    assert flight(bundle(logged[:-3], accesses=rows, **ONE_LINE)).requests.is_empty()
    assert flight(bundle(logged[:10], accesses=[*rows[:10], rows[-1]], **ONE_LINE)).requests.is_empty()


def test_of_a_large_log_only_what_is_kept_is_compared() -> None:
    """Rows of its last requests are kept: the load balancer's earlier ones have no line here, whatever they are."""
    logged, rows = lines_and_rows()
    early = [access(-600 + i, -599 + i, f"/b/{i}") for i in range(100)]
    given_up = [access(at_, at_ + 10, "/slow", target_status=None, elb_status=460) for at_ in (-500, -40)]
    flying = flight(bundle(logged, accesses=[*early, *rows, *given_up], **ONE_LINE))
    assert flying.requests["age_s"].to_list() == [40.0]


def test_a_log_that_shows_starts_needs_no_such_guess() -> None:
    logged, rows = lines_and_rows()
    rows.append(access(-40, -30, "/slow", target_status=None, elb_status=460))
    assert flight(bundle(logged, accesses=rows)).requests.is_empty()


def test_of_what_waited_at_the_load_balancer_only_the_oldest_fit_the_threads() -> None:
    lost = [access(-float(age), 0.01, f"/p{age}", elb_status=502, target_status=None) for age in range(1, 9)]
    found = flight(
        bundle(ordinary(60, 1, "A#show"), accesses=lost, threads=3, cannot_show="lograge", why="lograge")
    )
    assert found.requests["path"].to_list() == ["/p8", "/p7", "/p6"]
    assert "5 more" in found.notes[0]


def test_no_log_of_the_dead_container_is_said() -> None:
    evidence = bundle([], stream="other/0", pod="other", container_id="d" * 64)
    assert "no application log" in (flight(evidence, stream=None).unknown or "")


def test_no_time_of_death_no_claim() -> None:
    assert "time of the kill" in (flight(bundle([]), killed_at=None).unknown or "")


def test_jobs_of_the_dead_process() -> None:
    job = {"stream": STREAM, "job_class": "SyncJob", "started_at": at(-5), "state": "open", "job_id": "j1"}
    done = job | {"job_id": "j2", "ended_at": at(-1), "state": "completed"}
    found = flight(bundle(ordinary(60, 1, "A#show"), jobs=[job, done]))
    assert found.jobs["job_id"].to_list() == ["j1"]
    assert found.jobs["age_s"].to_list() == [5.0]
