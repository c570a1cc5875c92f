"""A disk that is full, then one that is read-only, under a running service: what it answers, and that it recovers.

Needs root: the disk is an ext4 of its own in a file, made read-only as an I/O error does it, under open files.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.kube import kube_server, kubeconfig
from tests.serve_help import Outside, Service, free_port, outside, start, toml, until

from bench.serve.crash import CrashResult, _finish, _judge
from bench.serve.pods import alert_for, cluster_of

SIZE = 64 << 20


@dataclass
class DiskResult(CrashResult):
    """What was answered in each state, and whether it was refused with a reason while everything else was up."""

    answers: dict[str, str] = field(default_factory=dict)
    states: dict[str, bool] = field(default_factory=dict)


def run(folder: Path) -> DiskResult:
    """Four alerts with a good disk, four with a full one, four with one that is read-only; then it is good again."""
    cluster, state, result, port = cluster_of(12, workloads=3), Outside(), DiskResult(), free_port()
    accepted: dict[str, str] = {}
    data = folder / "data"
    with ExitStack() as stack:
        disk = stack.enter_context(_mounted(_Disk(folder / "disk.img", data)))
        base = stack.enter_context(outside(state))
        kube = stack.enter_context(kube_server(cluster))
        config = toml(folder, base, kubeconfig_path=kubeconfig(folder, kube), port=port)
        service = start(config, port, wait_s=60)
        stack.callback(service.kill)
        good, full, read_only = cluster.pods[:4], cluster.pods[4:8], cluster.pods[8:]
        _until_taken(service, good, accepted)
        _finish(service, 120)
        _fill(data / "filler")
        _trouble(service, "full", full, result)
        (data / "filler").unlink()
        _until_taken(service, full, accepted)
        _until_taken(service, read_only[:2], accepted)  # in work when the disk fails
        disk.fail()
        _trouble(service, "read-only", read_only[2:], result)
        service.kill()
        disk.mend()
        service = start(config, port, wait_s=60)
        stack.callback(service.kill)
        _until_taken(service, read_only[2:], accepted)
        _finish(service, 240)
        result.states["after"] = service.get("/readyz").status_code == 200
        _judge(f"sqlite:///{data / 'oomscope.db'}", state, accepted, result)
    return result


@dataclass
class _Disk:
    image: Path
    folder: Path

    def mount(self) -> None:
        _do("mount", "-o", "loop,errors=remount-ro", str(self.image), str(self.folder))

    def fail(self) -> None:
        device = _do("findmnt", "-no", "SOURCE", str(self.folder)).strip()
        Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("1")

    def mend(self) -> None:
        until(self._unmounted, 20, "its processes have not ended")
        subprocess.run(["e2fsck", "-fy", str(self.image)], check=False, capture_output=True)
        self.mount()

    def _unmounted(self) -> bool:
        return subprocess.run(["umount", str(self.folder)], check=False, capture_output=True).returncode == 0


def _do(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def _mounted(disk: _Disk) -> Iterator[_Disk]:
    disk.folder.mkdir()
    with disk.image.open("wb") as file:
        file.truncate(SIZE)
    _do("mkfs.ext4", "-q", "-F", str(disk.image))
    disk.mount()
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk.folder)], check=False)


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


def _trouble(service: Service, name: str, pods: list[dict[str, Any]], result: DiskResult) -> None:
    answers = [service.post(alert_for(pod, 9)) for pod in pods]
    refused = [answer for answer in answers if answer.status_code == 503]
    ready = service.get("/readyz")
    result.answers[name] = (
        f"{sorted(answer.status_code for answer in answers)}, readyz {ready.status_code} {ready.text.strip()}, "
        f"healthz {service.get('/healthz').status_code}, list {service.get('/').status_code}: "
        + (refused[0].json()["error"] if refused else "")
    )
    up = service.get("/healthz").status_code == service.get("/").status_code == 200
    result.states[name] = bool(refused) and ready.status_code == 503 and up


def _until_taken(service: Service, pods: list[dict[str, Any]], accepted: dict[str, str]) -> None:
    """As Alertmanager does it: again until it is taken."""
    for pod in pods:
        body, end = alert_for(pod), time.monotonic() + 60
        while service.post(body).status_code != 202 and time.monotonic() < end:
            time.sleep(0.5)
        alert = body["alerts"][0]
        accepted[alert["fingerprint"]] = alert["labels"]["pod"]
