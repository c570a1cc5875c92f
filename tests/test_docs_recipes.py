"""The recipes do what they promise: evidence saved as they say gives the answer, settings make logs fit."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from oomscope import pipeline
from oomscope.alerts import parse_alert
from tests.doc_blocks import ROOT
from tests.logs_help import one, scanned

DEMO = Path(str(files("oomscope").joinpath("data/demo")))
DEAD = "shop-web-1da063ab27-g4r6q"  # the pod of the demo
NOW = datetime(2026, 11, 23, 9, 35, tzinfo=UTC)
TRACE = "Root=1-67891233-abcdef012345678912345678"
PREFIX = (
    "I, [2026-11-23T09:21:{second}.000000 #12]  INFO -- : [4f0e8a5c-0000-4000-8000-00000000000{n}] [{trace}] "
)


def kubectl_logs() -> dict[str, str]:
    """The demo's application log as ``kubectl logs`` prints it, in the two files of the recipe."""
    events = json.loads(gzip.decompress((DEMO / "cloudwatch.json.gz").read_bytes()))["events"]
    records = [json.loads(event["message"]) for event in events]
    ids = [r["kubernetes"]["docker_id"] for r in records if r["kubernetes"]["pod_name"] == DEAD]
    previous, siblings = [], []
    for record in records:
        line, owner = f"{record['time']} {record['log'].rstrip()}", record["kubernetes"]
        if owner["docker_id"] == ids[0]:
            previous.append(line)
        elif owner["pod_name"] != DEAD:
            siblings.append(f"[pod/{owner['pod_name']}/{owner['container_name']}] {line}")
    return {"previous.log": "\n".join(previous), "siblings.log": "\n".join(siblings)}


def test_evidence_saved_without_access_names_the_same_suspect(tmp_path: Path) -> None:
    for name in ("pods.json", "events.json", "prometheus_15s.json"):
        shutil.copy(DEMO / name, tmp_path)
    for name, text in kubectl_logs().items():
        (tmp_path / name).write_text(text + "\n")
    report = pipeline.investigate_files([tmp_path])
    assert report.kill.verdict == "oom_limit"
    assert report.hypotheses[0].suspect == pipeline.demo_report().hypotheses[0].suspect


def test_kernel_lines_shipped_as_the_recipe_says_are_understood(tmp_path: Path) -> None:
    lines = [line for line in (DEMO / "kernel_journal.txt").read_text().splitlines() if " 09:21:" in line]
    events = [
        {"timestamp": int(NOW.replace(hour=9, minute=21, second=30).timestamp() * 1000) + n,
         "message": json.dumps({"host": "node-1", "message": line.split(" kernel: ", 1)[1]}),
         "logStreamName": "node-1.host.dmesg"}
        for n, line in enumerate(lines)
    ]  # fmt: skip
    (tmp_path / "kernel.json").write_text(json.dumps({"events": events}))
    bundle = pipeline.gather_files([tmp_path])
    assert [kill.comm for kill in bundle.oom_kills] == ["bundle"]


def test_alert_saved_from_alertmanager_is_read() -> None:
    labels = {"alertname": "ContainerOOMKilled", "namespace": "shop", "pod": "web-1", "container": "web"}
    saved = [
        {"labels": labels, "annotations": {}, "startsAt": "2026-11-23T09:22:00Z", "fingerprint": "a" * 16}
    ]
    (found,) = parse_alert(json.dumps(saved).encode(), now=NOW).targets
    assert (found.target.namespace, found.target.pod, found.target.container) == ("shop", "web-1", "web")


def alert_of(rule: dict[str, Any], **labels: str) -> bytes:
    """The alert that a rule of the recipe makes, as Grafana sends it: without the expression."""
    labels = {"alertname": rule["alert"], "namespace": "shop", "pod": "web-1", "container": "web", **labels}
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": rule["annotations"],
        "startsAt": "2026-11-23T09:22:00Z",
        "generatorURL": "https://grafana.example.com/alerting/grafana/x/view",
    }
    return json.dumps({"version": "1", "orgId": 1, "state": "alerting", "alerts": [alert]}).encode()


def test_alerts_of_the_rules_name_the_pod_and_claim_a_kill() -> None:
    page = (ROOT / "docs/recipes/alert-rules.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    rules = {rule["alert"]: rule for rule in yaml.safe_load(block)["groups"][0]["rules"]}
    whole = parse_alert(alert_of(rules["ContainerOOMKilled"], reason="OOMKilled"), now=NOW)
    child = parse_alert(alert_of(rules["ProcessOOMKilled"]), now=NOW)
    unclear = parse_alert(alert_of(rules["ContainerKilledWithoutReason"]), now=NOW)
    assert {t.target.pod for found in (whole, child, unclear) for t in found.targets} == {"web-1"}
    assert [point.metric for point in whole.points] == ["last_terminated_reason"]
    assert [point.metric for point in child.points] == ["oom_events_alert"]
    assert not unclear.points


def rails(n: int, second: int, text: str) -> str:
    return PREFIX.format(n=n, second=second, trace=TRACE) + text + "\n"


def started(n: int, second: int, path: str) -> str:
    line = f'Started GET "{path}" for 10.0.0.1 at 2026-11-23 09:21:{second} +0000'
    return rails(n, second, line) + rails(n, second, "Processing by ItemsController#show as HTML")


def test_the_tags_of_the_recipe_tie_lines_and_give_the_trace_id() -> None:
    log = (
        started(1, 10, "/a")
        + started(2, 11, "/b")
        + rails(1, 12, "Completed 200 OK in 2000ms (Allocations: 9)")
    )
    result = scanned(log)
    assert (one(result, "/a")["state"], one(result, "/b")["state"]) == ("completed", "open")
    assert one(result, "/b")["trace_id"] == TRACE
    assert result.streams[0].cannot_show is None


def test_lograge_beside_the_original_lines_shows_what_was_open() -> None:
    line = "method=GET path=/a format=html controller=ItemsController action=show status=200 duration=2000.00"
    result = scanned(started(1, 10, "/a") + started(2, 11, "/b") + rails(1, 12, line))
    assert one(result, "/b")["state"] == "open"
    assert one(result, "/a")["state"] == "completed"


def test_the_line_of_the_puma_hook_ends_the_worker() -> None:
    page = (ROOT / "docs/recipes/puma.md").read_text()
    (hook,) = re.findall(r"```text\n(reaped .*\n)```", page)
    boot = "".join(
        f"[1] - Worker {i} (PID: {pid}) booted in 0.13s, phase: 0\n" for i, pid in ((0, 12), (1, 15))
    )
    result = scanned(boot + started(1, 10, "/a") + hook)
    assert {life.pid: life.end for life in result.lives}[12] == "reaped_sigkill"
    assert {life.pid: life.end for life in result.lives}[15] == "running"


@pytest.mark.parametrize(
    "word", ["keep_original_rails_log", "rails_semantic_logger.started", "log_tags", "log_level"]
)
def test_what_the_tool_advises_is_explained(word: str) -> None:
    page = (ROOT / "docs/recipes/logging.md").read_text()
    assert word in page
