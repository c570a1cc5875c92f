"""Reports that the analysis made of real incidents, and of one with most of its sources taken away."""

from __future__ import annotations

from pathlib import Path

from oomscope import pipeline
from oomscope.report import Report

DATA = Path(__file__).parent / "data" / "incidents"


def abstention() -> Report:
    """Only the pods and the memory every 15 s are left: an OOM kill, and nobody to accuse."""
    folder = DATA / "huge_payload"
    return pipeline.investigate_files([folder / "pods.json", folder / "prometheus_15s.json"])


REAL = {
    "demo": pipeline.demo_report,
    "spike": lambda: pipeline.investigate_files([DATA / "concurrency_spike"]),
    "worker": lambda: pipeline.investigate_files([DATA / "worker_oom"]),
    "liveness": lambda: pipeline.investigate_files([DATA / "not_oom"]),
    "nobody": abstention,
}
