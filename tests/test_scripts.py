"""The three scripts in sequence, and the pitfalls of that line of work: each is one test."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from oomscope.cli import run
from oomscope.errors import UnreadableError
from oomscope.workflow.access import analyse, read_incomplete
from oomscope.workflow.files import log_input
from oomscope.workflow.incomplete import MONITORING, Options, find_incomplete, rhythm
from tests.fakes.athena_sql import LogTable
from tests.fakes.aws import AthenaState, aws_server
from tests.fakes.cloudwatch import CloudWatchState
from tests.fakes.kube import KubeState, kube_server, kubeconfig

SCRIPTS = Path(__file__).parent.parent / "scripts"
POD, DEAD = "web-7c9d5b7c6f-x2x9k", "d" * 64
KILL = datetime(2026, 11, 23, 3, 12, 41, tzinfo=UTC)
GROUP = "/aws/containerinsights/prod/application"
STREAM = f"ip-10-0-1-23.ec2.internal-application.var.log.containers.{POD}_shop_rails-{DEAD}.log"


class RailsLog:
    """A tagged Rails log of one container, as lines with their times."""

    def __init__(self) -> None:
        self.lines: list[tuple[datetime, str]] = []
        self.count = 0

    def say(self, at: datetime, request_id: str, text: str) -> None:
        stamp = at.strftime("%Y-%m-%dT%H:%M:%S.%f")
        self.lines.append((at, f"I, [{stamp} #18]  INFO -- : [{request_id}] {text}"))

    def request(
        self, seconds_before: float, path: str, *, method: str = "GET", client: str = "192.0.2.7",
        took: float | None = 0.05, controller: str = "OrdersController#index",
    ) -> str:  # fmt: skip
        """One request; ``took`` None leaves it open."""
        self.count += 1
        at = KILL - timedelta(seconds=seconds_before)
        request_id = f"{self.count:08x}-0000-4000-8000-000000000000"
        self.say(at, request_id, f'Started {method} "{path}" for {client} at {at:%Y-%m-%d %H:%M:%S} +0000')
        self.say(at + timedelta(milliseconds=3), request_id, f"Processing by {controller} as HTML")
        if took is not None:
            text = f"Completed 200 OK in {took * 1000:.0f}ms (Views: 1.0ms | ActiveRecord: 1.0ms | Allocations: 900)"
            self.say(at + timedelta(seconds=took), request_id, text)
        return request_id

    def traffic(self, seconds: int = 600) -> None:
        for before in range(seconds, 1, -4):
            self.request(
                before + (before * 7 % 5) / 5, f"/orders/{before}", controller="OrdersController#show"
            )

    def events(self) -> list[dict[str, Any]]:
        return [
            {"logStreamName": STREAM, "timestamp": round(at.timestamp() * 1000), "message": line}
            for at, line in sorted(self.lines)
        ]

    def save(self, folder: Path, form: str = "events") -> Path:
        path = folder / f"{form}.json"
        events = self.events()
        forms: dict[str, Any] = {
            "events": {"events": events},
            "list": events,
            "logs": {"logs": [{"timestamp": any_text(e), "message": e["message"]} for e in events]},
            "insights": {
                "results": [
                    [
                        {"field": "@timestamp", "value": any_text(e)},
                        {"field": "@message", "value": e["message"]},
                    ]
                    for e in events
                ]
            },
        }
        if form == "plain":
            path.write_text("".join(e["message"] + "\n" for e in events))
        else:
            path.write_text(json.dumps(forms[form], indent=2))
        return path


def any_text(event: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


@pytest.fixture
def log() -> RailsLog:
    found = RailsLog()
    found.traffic()
    return found


def incomplete(path: Path, **options: Any) -> dict[str, Any]:
    return find_incomplete([log_input(path)], Options(**options))


def paths(document: dict[str, Any]) -> list[str]:
    return [request["path"] for request in document["incomplete_requests"]]


# --------------------------------------------------------------------------------------------------- the second step


def test_counts_by_endpoint_and_client(log: RailsLog, tmp_path: Path) -> None:
    for second in (40, 30, 20):
        log.request(
            second,
            f"/reports/{second}.csv",
            took=None,
            controller="ReportsController#show",
            client="192.0.2.9",
        )
    document = incomplete(log.save(tmp_path))
    assert document["conclusive"]
    assert document["incomplete_count"] == 3
    assert document["by_endpoint"][0] == {
        "endpoint": "ReportsController#show", "incomplete": 3, "total": 3,
        "first_started_at": "2026-11-23T03:12:01.000000Z", "last_started_at": "2026-11-23T03:12:21.000000Z",
        "clients": [{"client_ip": "192.0.2.9", "incomplete": 3}], "repeats_every_s": None,
    }  # fmt: skip
    assert document["incomplete_requests"][0]["age_s"] == pytest.approx(38, abs=4)


def test_pitfall_a_request_that_began_before_the_window_still_counts(log: RailsLog, tmp_path: Path) -> None:
    log.request(590, "/exports/big", took=None, controller="ExportsController#create", method="POST")
    assert paths(incomplete(log.save(tmp_path), last=timedelta(minutes=5))) == ["/exports/big"]


def test_pitfall_ipv6_and_every_method(log: RailsLog, tmp_path: Path) -> None:
    for method in ("HEAD", "OPTIONS", "DELETE"):
        log.request(9, f"/x/{method.lower()}", method=method, took=None, client="2001:db8::7")
    document = incomplete(log.save(tmp_path))
    assert sorted(r["method"] for r in document["incomplete_requests"]) == ["DELETE", "HEAD", "OPTIONS"]
    assert {r["client_ip"] for r in document["incomplete_requests"]} == {"2001:db8::7"}


@pytest.mark.parametrize(
    "line",
    [
        '{"method":"GET","path":"/a","format":"html","controller":"A","action":"b","status":200,"duration":1.0,"time":"%s"}',
        "method=GET path=/a format=html controller=A action=b status=200 duration=12.50 view=1.0 db=0.1",
        "nothing of Rails in here, worker says hello number 7",
    ],
)
def test_pitfall_silence_is_not_all_completed(tmp_path: Path, line: str) -> None:
    """A log that writes a request when it ends cannot show one that did not."""
    start = KILL - timedelta(minutes=5)
    events = [
        {"timestamp": round((start + timedelta(seconds=i)).timestamp() * 1000), "logStreamName": STREAM,
         "message": line.replace("%s", (start + timedelta(seconds=i)).isoformat())}
        for i in range(200)
    ]  # fmt: skip
    path = tmp_path / "logs.json"
    path.write_text(json.dumps({"events": events}))
    document = incomplete(path)
    assert not document["conclusive"]
    assert document["cannot_show"] or not document["streams"]
    out = tmp_path / "incomplete.json"
    assert run(["requests", "--input", str(path), "--output", str(out), "-q"]) == 4
    assert out.exists()


def test_pitfall_times_are_utc_whatever_the_machine(
    log: RailsLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    log.request(20, "/slow", took=None)
    path = log.save(tmp_path)
    here = incomplete(path)
    monkeypatch.setenv("TZ", "Asia/Seoul")
    time.tzset()
    try:
        assert incomplete(path) == here
    finally:
        monkeypatch.undo()
        time.tzset()
    assert here["incomplete_requests"][0]["started_at"] == "2026-11-23T03:12:21.000000Z"


def test_what_runs_in_the_next_instance_is_no_suspect(log: RailsLog, tmp_path: Path) -> None:
    log.request(20, "/slow", took=None)
    events = log.events()
    successor = RailsLog()
    successor.request(-30, "/orders/1")
    successor.request(-58, "/orders/2", took=None)
    events += [{**event, "logStreamName": STREAM.replace(DEAD, "e" * 64)} for event in successor.events()]
    path = tmp_path / "logs.json"
    path.write_text(json.dumps({"events": events}))
    document = incomplete(path)
    assert paths(document) == ["/slow"]
    assert [r["path"] for r in document["running_elsewhere"]] == ["/orders/2"]
    assert read_incomplete(document).killed_at < KILL + timedelta(seconds=1)


def test_monitoring_is_left_out_and_told(log: RailsLog, tmp_path: Path) -> None:
    log.request(10, "/health_check", took=None, controller="HealthController#show")
    log.request(9, "/metrics", took=None, controller="MetricsController#show")
    log.request(8, "/probe/custom", took=None, controller="ProbeController#show")
    log.request(7, "/status_reports", took=None, controller="StatusReportsController#index")
    document = incomplete(log.save(tmp_path), exclude=("/probe/custom",))
    assert paths(document) == ["/status_reports"]
    assert document["excluded"]["monitoring_incomplete"] == 3


@pytest.mark.parametrize(
    ("path", "monitors"),
    [("/up", True), ("/healthz", True), ("/health_check", True), ("/api/health", True), ("/metrics/", True),
     ("/readyz", True), ("/orders/up", True), ("/upload", False), ("/health_records", False), ("/a/b/up", False),
     ("/statuses", False), ("/pingdom", False)],
)  # fmt: skip
def test_what_monitors(path: str, monitors: bool) -> None:
    assert (MONITORING.fullmatch(path) is not None) == monitors


def test_a_beat_is_seen_in_a_clients_calls(log: RailsLog, tmp_path: Path) -> None:
    for second in range(300, 0, -15):
        took = None if second == 15 else 0.2
        log.request(second, "/sync", took=took, controller="SyncController#run", client="192.0.2.44")
    entry = incomplete(log.save(tmp_path))["by_endpoint"][0]
    assert entry["repeats_every_s"] == 15.0


def test_people_keep_no_beat() -> None:
    starts = [KILL + timedelta(seconds=s) for s in (0, 3, 31, 33, 70, 140, 141)]
    assert rhythm(starts) is None
    assert rhythm(starts[:3]) is None
    assert rhythm([KILL] * 20) is None


@pytest.mark.parametrize("form", ["events", "list", "logs", "insights", "plain"])
def test_every_form_of_the_first_steps_output(log: RailsLog, tmp_path: Path, form: str) -> None:
    log.request(20, "/slow", took=None)
    document = incomplete(log.save(tmp_path, form))
    assert paths(document) == ["/slow"]
    assert document["conclusive"]


@pytest.mark.parametrize(
    "text", ["", "[", "[]", "{}", '{"events": "x"}', "[[[]]]", "[" * 10_000, '[{"message": 5}]']
)
def test_junk_is_inconclusive(tmp_path: Path, text: str) -> None:
    path = tmp_path / "logs.json"
    path.write_text(text)
    assert not incomplete(path)["conclusive"]


def test_query_values_are_redacted(log: RailsLog, tmp_path: Path) -> None:
    log.request(20, "/slow?token=hunter2hunter2", took=None)
    path = log.save(tmp_path)
    assert "hunter2" not in json.dumps(incomplete(path))


# ---------------------------------------------------------------------------------------------------- the third step


def alb_line(
    seconds_before: float, took: float, path: str, *, sent: int, received: int = 300, target: str = "10.0.1.9:3000",
    status: str = "200 200", method: str = "GET", client: str = "192.0.2.7",
) -> str:  # fmt: skip
    began = KILL - timedelta(seconds=seconds_before)
    time = (began + timedelta(seconds=took)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    tpt = f"{took:.3f}" if status != "502 -" else "-1"
    return (
        f'https {time} app/web/0a1b {client}:4000 {target} 0.001 {tpt} {"0.000" if tpt != "-1" else "-1"} {status} '
        f'{received} {sent} "{method} https://shop.example.com:443{path} HTTP/2.0" "agent" CIPHER TLSv1.3 '
        f'arn:tg "Root=1-67891233-abcdef012345678912345678" "shop.example.com" "arn:cert" 0 '
        f'{began.strftime("%Y-%m-%dT%H:%M:%S.%fZ")} "forward" "-" "-" "{target}" "-" "-" "-" TID_1'
    )  # fmt: skip


def alb_lines() -> list[str]:
    lines = [alb_line(b, 0.05, f"/orders/{b}", sent=4_000) for b in range(600, 4, -4)]
    lines += [
        alb_line(b + 1, 0.05, f"/reports/{b}", sent=90_000, target="10.0.1.77:3000")
        for b in range(500, 300, -20)
    ]
    lines += [alb_line(30.2, 30.4, "/reports/30", sent=277, status="502 -", received=2_000_000)]
    lines += [alb_line(12.2, 12.4, "/reports/12", sent=277, status="502 -")]
    return lines


@pytest.fixture
def alb(tmp_path: Path) -> Path:
    path = tmp_path / "alb" / "x_elasticloadbalancing_us-east-1_app.web.0a_20261123T0315Z_10.0.0.1_x.log.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress("".join(line + "\n" for line in alb_lines()).encode()))
    return path.parent


def with_reports(log: RailsLog) -> RailsLog:
    for second in (30, 12):
        log.request(second, f"/reports/{second}", took=None, controller="ReportsController#show")
    return log


def test_pitfall_the_cut_request_is_found_though_its_answer_is_small(
    log: RailsLog, tmp_path: Path, alb: Path
) -> None:
    source = with_reports(log).save(tmp_path)
    found, out = tmp_path / "incomplete.json", tmp_path / "alb.json"
    assert run(["requests", "--input", str(source), "--output", str(found), "-q"]) == 0
    assert (
        run(["alb", "query", "--incomplete-requests", str(found), "--from", str(alb), "--output", str(out)])
        == 0
    )
    document = json.loads(out.read_text())
    accesses = [request["access"] for request in document["requests"]]
    assert [(a["elb_status"], a["target_status"], a["received_bytes"]) for a in accesses] == [
        (502, None, 2_000_000), (502, None, 300),
    ]  # fmt: skip
    assert document["dead_target"] == "10.0.1.9:3000"  # and not the pod that answered the same endpoint
    endpoint = document["endpoints"][0]
    assert endpoint["endpoint"] == "GET /reports/:id"  # ids do not split it
    assert (endpoint["answered"], endpoint["unanswered"]) == (10, 2)
    assert endpoint["sent_bytes"]["max"] == 90_000


def test_pitfall_the_window_is_of_answers_and_reaches_past_the_kill() -> None:
    begun = KILL - timedelta(minutes=9)
    entry = {"path": "/slow", "started_at": begun.isoformat(), "log_ends_at": KILL.isoformat()}
    asked = read_incomplete({"incomplete_requests": [entry]})
    assert asked.window.start < begun
    assert asked.window.end >= KILL + timedelta(minutes=5)


@pytest.mark.parametrize(
    "document",
    [
        [{"path": "/a?x=1", "method": "GET", "timestamp": 1_795_403_541_000, "ip": "192.0.2.1"}],
        {"requests": [{"url": "/a", "http_method": "GET", "timestamp": "2026-11-23T03:12:21"}]},
        {"incomplete": [{"endpoint": "/a", "time": "2026-11-23 03:12:21.000"}]},
    ],
)
def test_other_tools_forms_of_the_second_steps_output(document: Any) -> None:
    assert read_incomplete(document).requests["path"].to_list() == ["/a"]


@pytest.mark.parametrize("document", [None, 5, [], {}, {"requests": [5, {}, {"path": "/a"}]}, "x", [[]]])
def test_nothing_to_look_up_is_told(document: Any) -> None:
    with pytest.raises(UnreadableError, match="no incomplete request"):
        read_incomplete(document)


def test_no_alb_rows_is_no_finding() -> None:
    from oomscope.facts import ACCESS_SCHEMA, empty

    asked = read_incomplete([{"path": "/a", "timestamp": "2026-11-23T03:12:21Z"}])
    document = analyse(asked, empty(ACCESS_SCHEMA), [], [])
    assert document["requests"][0]["access"] is None
    assert document["endpoints"][0]["sent_bytes"] == {"median": None, "max": None}


# ------------------------------------------------------------------------------------------------- all in sequence


@pytest.fixture
def athena() -> AthenaState:
    return AthenaState(LogTable(alb_lines()))


@pytest.fixture
def logs(log: RailsLog) -> CloudWatchState:
    state = CloudWatchState()
    group = state.group(GROUP)
    for event in with_reports(log).events():
        record = {
            "time": any_text(event).replace(" ", "T") + "000000Z", "stream": "stdout", "log": event["message"],
            "kubernetes": {"pod_name": POD, "namespace_name": "shop", "container_name": "rails", "docker_id": DEAD},
        }  # fmt: skip
        group.add(STREAM, event["timestamp"], json.dumps(record))
    return state


@pytest.fixture
def config(logs: CloudWatchState, athena: AthenaState, tmp_path: Path) -> Iterator[Path]:
    with aws_server(logs, athena) as url:
        path = tmp_path / "oomscope.toml"
        path.write_text(f'[clusters.prod.aws]\nregion = "us-east-1"\nendpoint_url = "{url}"\n')
        yield path


def script(name: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "TZ": "Asia/Seoul"}
    command = [sys.executable, str(SCRIPTS / f"{name}.py"), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


FETCH = (
    "--pod-name", POD, "--namespace", "shop", "--log-group", GROUP, "--oom-time", "2026-11-23T03:12:41",
    "--minutes-before", "10", "--output", "logs.json",
)  # fmt: skip
FIND = ("--input", "logs.json", "--last-n-minutes", "5", "--output", "incomplete.json")
QUERY = (
    "--incomplete-requests", "incomplete.json", "--database", "default", "--table", "alb_logs",
    "--output-location", "s3://bucket/athena-results/", "--output", "alb_analysis.json",
)  # fmt: skip


def test_the_three_scripts_in_sequence(config: Path, tmp_path: Path, athena: AthenaState) -> None:
    fetched = script("fetch_cloudwatch_logs", tmp_path, *FETCH)
    assert fetched.returncode == 0, fetched.stderr
    assert "is taken as UTC" in fetched.stderr
    found = script("find_incomplete_requests", tmp_path, *FIND)
    assert found.returncode == 0, found.stderr
    assert "2 incomplete requests" in found.stderr
    asked = script("query_alb_access_logs", tmp_path, *QUERY)
    assert asked.returncode == 0, asked.stderr
    assert re.search(r"^read [\d.]+ \w+, for \$0\.\d+$", asked.stderr, re.MULTILINE)
    document = json.loads((tmp_path / "alb_analysis.json").read_text())
    assert [r["access"]["elb_status"] for r in document["requests"]] == [502, 502]
    assert athena.started[0]["ResultConfiguration"] == {"OutputLocation": "s3://bucket/athena-results/"}
    assert "/reports/" not in athena.started[0]["QueryString"]


@pytest.fixture
def here(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the configuration, and credentials, for commands of this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    return tmp_path


def test_pitfall_denied_is_not_no_logs(
    here: Path, logs: CloudWatchState, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.denied = {"FilterLogEvents", "StartQuery"}
    assert run(["logs", *FETCH]) == 4
    assert "AccessDenied" in capsys.readouterr().err
    assert not (here / "logs.json").exists()


def test_pitfall_denied_is_not_no_rows(
    here: Path, athena: AthenaState, log: RailsLog, capsys: pytest.CaptureFixture[str]
) -> None:
    with_reports(log).save(here).rename(here / "logs.json")
    assert run(["requests", *FIND]) == 0
    athena.denied = {"StartQueryExecution"}
    assert run(["alb", "query", *QUERY]) == 4
    assert "AccessDenied" in capsys.readouterr().err


def test_a_zone_moves_the_minutes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seoul = [word if word != "2026-11-23T03:12:41" else "2026-11-23T12:12:41" for word in FETCH]
    assert run(["logs", *seoul, "--tz", "Asia/Seoul"]) == 0
    assert "is taken as UTC" not in capsys.readouterr().err
    assert run(["logs", *seoul]) == 4  # nothing was logged at that hour of UTC


def test_a_known_node_saves_the_scan(here: Path, logs: CloudWatchState) -> None:
    pod = {
        "kind": "Pod", "metadata": {"name": POD, "namespace": "shop"},
        "spec": {"nodeName": "ip-10-0-1-23.ec2.internal", "containers": [{"name": "rails"}]},
    }  # fmt: skip
    with kube_server(KubeState(pods=[pod])) as url:
        path = here / "oomscope.toml"
        path.write_text(
            f'{path.read_text()}[clusters.prod.kubernetes]\nkubeconfig = "{kubeconfig(here, url)}"\n'
        )
        assert run(["logs", *FETCH]) == 0
    assert "StartQuery" not in {call[1] for call in logs.calls}


@pytest.mark.parametrize("pod", ['x" | fields @message', "../x", "a b", 'x"} or {'])
def test_a_pods_name_never_becomes_a_query(here: Path, logs: CloudWatchState, pod: str) -> None:
    assert run(["logs", *[word if word != POD else pod for word in FETCH]]) == 4
    assert not [call for call in logs.calls if call[1] in ("StartQuery", "FilterLogEvents")]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("logs", "--pod-name", "web"), 2), (("logs", "--pod-name", "web", "--oom-time", "yesterday"), 2),
     (("requests", "--input", "missing.json"), 2), (("alb", "query"), 2), (("alb", "drop"), 2),
     (("alb", "ddl", "--bucket", "b"), 2)],
)  # fmt: skip
def test_wrong_usage(
    arguments: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(list(arguments)) == code


def test_ddl(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--bucket", "alb-logs", "--account", "123456789012", "--region", "eu-west-1", "--table", "alb"]
    assert run(["alb", "ddl", *words]) == 0
    out = capsys.readouterr().out
    assert "s3://alb-logs/AWSLogs/123456789012/elasticloadbalancing/eu-west-1" in out
