"""Incidents with their truth, and the same incidents with part of the evidence taken away."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATTERNS = {
    "large_response": ("large_response",),
    "handler_leak": ("memory_leak",),
    "leak_slow": ("memory_leak",),
    "huge_payload": ("large_payload",),
    "concurrency_spike": ("concurrent_spike",),
    "runaway": ("runaway_request",),
    "background_job": ("background_job",),
    "undersized": ("undersized_limit", "process_growth"),
    "not_oom": ("not_oom",),
}


@dataclass(frozen=True)
class Incident:
    """One folder ``<id>/{input,truth}``."""

    id: str
    input: Path
    truth: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.truth["kind"])

    @property
    def verdict(self) -> str:
        """The verdict that is true."""
        if not self.truth["is_oom"]:
            return "not_oom"
        return "oom_child" if self.truth["death"].get("only_worker_killed") else "oom_limit"

    @property
    def patterns(self) -> tuple[str, ...]:
        """The pattern names that are true of it."""
        return PATTERNS.get(self.truth.get("subkind") or self.kind, PATTERNS.get(self.kind, ()))

    @property
    def lograge(self) -> bool:
        """Whether its log cannot show requests in flight."""
        return bool(self.truth.get("log_format") == "lograge")


def load_corpus(folder: Path) -> list[Incident]:
    """Every incident below ``folder``, by name."""
    found = sorted(path.parent.parent for path in folder.glob("*/truth/truth.json"))
    return [Incident(p.name, p / "input", json.loads((p / "truth/truth.json").read_text())) for p in found]


def _is_memory(name: str) -> bool:
    return name.startswith(("memory_", "prometheus_"))


def _is_log(name: str) -> bool:
    return name.startswith(("pods/", "cloudwatch"))


def _is_kube(name: str) -> bool:
    return name in ("pod.json", "pods.json", "events.json")


def _one_copy(kept: str) -> Callable[[str], bool]:
    return lambda name: not _is_log(name) or kept in name


# name -> which files (paths relative to input/) are left; what the name means is printed with the table
VARIANTS: dict[str, Callable[[str], bool]] = {
    "full": lambda name: True,
    "no ALB": lambda name: not name.startswith("alb/"),
    "no memory": lambda name: not _is_memory(name),
    "no kernel log": lambda name: not name.startswith("kernel_"),
    "no Kubernetes": lambda name: not _is_kube(name),
    "no Kubernetes, no kernel": lambda name: not _is_kube(name) and not name.startswith("kernel_"),
    "no app log": lambda name: not _is_log(name),
    "ALB only": lambda name: name.startswith("alb/"),
    "ALB and alert": lambda name: name.startswith("alb/") or name == "alert.json",
    "app log and ALB": lambda name: _is_log(name) or name.startswith("alb/"),
    "app log only": lambda name: name.startswith("pods/") and "/rails." in name,
    "log copy: bare": _one_copy("/rails."),
    "log copy: CRI": _one_copy("/cri."),
    "log copy: CloudWatch": _one_copy("cloudwatch"),
    "memory every 15 s": lambda name: not name.startswith(("memory_", "prometheus_30s")),
    "memory every 30 s": lambda name: not name.startswith(("memory_", "prometheus_15s")),
}


def make_variant(incident: Incident, keep: Callable[[str], bool], into: Path) -> Path:
    """A folder with only the files that are kept, hard-linked where the file system allows it."""
    for source in sorted(incident.input.rglob("*")):
        name = source.relative_to(incident.input).as_posix()
        if source.is_file() and keep(name):
            place = into / name
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, place)
            except OSError:
                shutil.copyfile(source, place)
    return into


def victim_lines(incident: Incident) -> list[tuple[float, str]]:
    """(seconds since 1970, text) of every line of the dead pod, as its CloudWatch log group gives them."""
    path = incident.input / "cloudwatch.json.gz"
    if not path.is_file():
        return []
    pod = incident.truth["victim"]["pod"]
    events = json.loads(gzip.decompress(path.read_bytes())).get("events", [])
    return [
        (event["timestamp"] / 1000, _text(event["message"]))
        for event in events
        if pod in event.get("logStreamName", "")
    ]


def _text(message: str) -> str:
    try:
        return str(json.loads(message).get("log", message))
    except (ValueError, AttributeError):
        return message
