"""Writes one finished run as a folder: ``input`` is what a user could have, ``truth`` what must be found."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import formats, kube
from lab.balancer import Row
from lab.kernel import Line, Report
from lab.plan import Plan
from lab.pods import MIB, Life, Pod
from lab.truth import truth_of


@dataclass
class Run:
    """What is known when the load has stopped."""

    plan: Plan
    names: dict[str, str]
    pods: list[Pod]
    rows: list[Row]
    kills: list[tuple[Report, Pod, Life]]
    victim: Pod
    life: Life
    death_at: float
    offset: float
    noise: Report | None
    started_at: float
    load_at: float
    ended_at: float
    onset_at: float

    @property
    def image(self) -> str:
        return (
            f"{self.names['account']}.dkr.ecr.us-east-1.amazonaws.com/{self.names['app']}:{self.names['tag']}"
        )

    @property
    def killed(self) -> tuple[Report, Pod, Life] | None:
        """The first kill, the one that is asked about."""
        return self.kills[0] if self.kills else None

    def cut(self) -> None:
        """Takes away what came after the end of the evidence. Only when nothing runs any more."""
        for pod in self.pods:
            pod.lives = [life for life in pod.lives if life.started_at <= self.ended_at]
            pod.events = [event for event in pod.events if event[0] <= self.ended_at]
            for life in pod.lives:
                if life.ended_at and life.ended_at > self.ended_at:
                    life.ended_at = life.exit_code = None
        self.rows = [row for row in self.rows if row.created_at <= self.ended_at]
        for row in self.rows:
            if row.ended_at and row.ended_at > self.ended_at:
                row.ended_at = None


def write(run: Run, folder: Path) -> None:
    run.cut()
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    inputs = folder / "input"
    inputs.mkdir(exist_ok=True)
    _kube(run, inputs)
    _kernel(run, inputs)
    _memory(run, inputs)
    _alb(run, inputs)
    _logs(run, inputs)
    _requests(run, folder / "truth" / "requests.csv.gz")
    # Last, so that a folder with a truth is a whole one.
    (folder / "truth" / "truth.json").write_text(json.dumps(truth_of(run), indent=1))


def _gzip(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, 6, mtime=0))


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1))


def _kube(run: Run, inputs: Path) -> None:
    # A killed worker does not end its container: only lives that ended with the kill count.
    oom = {life.container_id for _, _, life in run.kills if life.exit_code == 137}
    objects = [kube.pod_object(pod, run.image, oom) for pod in run.pods]
    _json(inputs / "pod.json", objects[run.pods.index(run.victim)])
    _json(inputs / "pods.json", {"apiVersion": "v1", "kind": "List", "items": objects})
    _json(inputs / "events.json", kube.event_list(run.pods))
    fired = run.death_at + random.Random(run.plan.id).uniform(15, 60)
    _json(inputs / "alert.json", kube.alert(run.victim, fired, bool(run.kills)))


def _kernel(run: Run, inputs: Path) -> None:
    """The ring buffer of the victim's node: pods of other nodes are not in it."""
    lines: list[Line] = list(run.noise.lines) if run.noise else []
    for report, pod, _ in run.kills:
        if pod is run.victim:
            lines += report.lines
    lines.sort(key=lambda line: line.stamp)
    if not lines:
        return
    (inputs / "kernel_dmesg.txt").write_text("".join(formats.dmesg_line(x) + "\n" for x in lines))
    journal = (formats.journal_line(x, run.offset, run.victim.node) + "\n" for x in lines)
    (inputs / "kernel_journal.txt").write_text("".join(journal))


def _memory(run: Run, inputs: Path) -> None:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    columns = ("usage", "working_set", "rss", "cache", "inactive_file", "limit")
    table.writerow(("timestamp", "pod", "container_id", *(f"{name}_bytes" for name in columns)))
    limit = run.plan.limit_mb * MIB
    for pod, life in _lives(run):
        for at, *values in life.samples:
            if at > run.ended_at:
                break
            table.writerow((kube.iso(at, 3), pod.name, life.container_id, *values, limit))
    _gzip(inputs / "memory_1s.csv.gz", out.getvalue().encode())
    for step in (15, 30):
        _json(inputs / f"prometheus_{step}s.json", formats.range_answer(_series(run), step))


def _lives(run: Run) -> list[tuple[Pod, Life]]:
    return [(pod, life) for pod in run.pods for life in pod.lives]


def _series(run: Run) -> list[tuple[dict[str, str], list[tuple[float, int]]]]:
    found: list[tuple[dict[str, str], list[tuple[float, int]]]] = []
    fields = ("usage_bytes", "working_set_bytes", "rss", "cache")
    for pod, life in _lives(run):
        where = {"namespace": run.names["namespace"], "pod": pod.name, "container": run.names["container"]}
        scraped = where | {
            "node": pod.node, "id": life.cgroup, "name": life.container_id, "image": run.image,
            "job": "kubelet", "metrics_path": "/metrics/cadvisor",
        }  # fmt: skip
        for column, name in enumerate(fields, 1):
            labels = {"__name__": f"container_memory_{name}", **scraped}
            found.append((labels, [(sample[0], int(sample[column])) for sample in life.samples]))
        if life.number == 0:
            bound = {
                "__name__": "kube_pod_container_resource_limits",
                **where,
                "resource": "memory",
                "unit": "byte",
            }
            seconds = range(int(pod.created_at), int(run.ended_at))
            found.append((bound, [(float(at), run.plan.limit_mb * MIB) for at in seconds]))
    return found


def _alb(run: Run, inputs: Path) -> None:
    """Five-minute files of two nodes of the balancer; in each the order of ending."""
    rng = random.Random(run.names["alb_id"])
    nodes = [
        (f"10.0.{rng.randrange(1, 9)}.{rng.randrange(4, 250)}", f"{rng.getrandbits(32):08x}") for _ in "ab"
    ]
    files: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for row in run.rows:
        if row.ended_at is None:
            continue
        node, mark = nodes[hash_of(row.ask.client.ip) % 2]
        end = int(row.ended_at) // 300 * 300 + 300
        stamp = kube.iso(end).replace("-", "").replace(":", "")[:13] + "Z"
        name = f"{run.names['account']}_elasticloadbalancing_us-east-1_app.{run.names['alb']}.{run.names['alb_id']}"
        line = formats.alb_line(row, run.names, run.plan.style["alb_502"])
        files[f"{name}_{stamp}_{node}_{mark}.log.gz"].append((row.ended_at, line))
    for name, lines in files.items():
        _gzip(inputs / "alb" / name, "".join(f"{line}\n" for _, line in sorted(lines)).encode())


def hash_of(text: str) -> int:
    """The same in every run."""
    return sum(map(ord, text))


def _logs(run: Run, inputs: Path) -> None:
    events: list[dict[str, Any]] = []
    for pod, life in _lives(run):
        # What a container says while it is put away afterwards is no part of the incident.
        lines = sorted(line for line in life.lines if line[0] <= run.ended_at * 1e9)
        home = inputs / "pods" / pod.name
        _gzip(home / f"rails.{life.number}.log.gz", b"".join(text + b"\n" for _, _, text in lines))
        _gzip(home / f"cri.{life.number}.log.gz", b"".join(formats.cri_lines(lines)))
        where = run.names | {
            "pod": pod.name, "uid": pod.uid, "node": pod.node, "container_id": life.container_id, "image": run.image,
        }  # fmt: skip
        events += [
            formats.log_event(stamp, stream, tag, piece, where, number)
            for number, (stamp, stream, text) in enumerate(lines)
            for tag, piece in formats.pieces(text)
        ]
    events.sort(key=lambda event: event["timestamp"])
    answer = {"events": events, "searchedLogStreams": []}
    _gzip(inputs / "cloudwatch.json.gz", json.dumps(answer, ensure_ascii=False).encode())


def _requests(run: Run, path: Path) -> None:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(
        (
            "start",
            "end",
            "key",
            "method",
            "target",
            "status",
            "bytes",
            "rid",
            "trace",
            "client",
            "fault",
            "pod",
        )
    )
    for row in run.rows:
        ask = row.ask
        table.writerow((
            row.created_at, row.ended_at, ask.key, ask.method, ask.target, row.elb_status, row.sent_bytes,
            row.request_id, row.trace_id, ask.client.ip, int(ask.fault), row.pod.name if row.pod else "",
        ))  # fmt: skip
    _gzip(path, out.getvalue().encode())
