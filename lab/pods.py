"""Containers without a container runtime: a memory cgroup, a PID namespace, pipes for the log, and a small kubelet."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.plan import APP, Plan

CGROUPS = Path("/sys/fs/cgroup/memory")
PORT = 3000
MIB = 1 << 20
RUNNER = [sys.executable, "-S", str(Path(__file__).parent / "container.py")]


@dataclass
class Life:
    """One run of the container."""

    number: int
    container_id: str
    cgroup: str
    trace: Path
    started_at: float
    process: subprocess.Popen[bytes] | None = None
    lines: list[tuple[int, str, bytes]] = field(default_factory=list)
    samples: list[tuple[float, int, int, int, int, int]] = field(default_factory=list)
    inner_pids: dict[int, int] = field(default_factory=dict)
    readers: list[threading.Thread] = field(default_factory=list)
    ended_at: float | None = None
    exit_code: int | None = None
    killed_by_kubelet: bool = False

    @property
    def folder(self) -> Path:
        return CGROUPS / self.cgroup.lstrip("/")


class Pod:
    """One pod with one container, its lives and what the kubelet did to it."""

    def __init__(
        self, plan: Plan, rng: random.Random, template_hash: str, work: Path, names: dict[str, str]
    ) -> None:
        self.plan, self.work, self.names = plan, work, names
        self.hash = template_hash
        self.name = (
            f"{names['app']}-{template_hash}-{''.join(rng.choices('bcdfghjklmnpqrstvwxz2456789', k=5))}"
        )
        bits = f"{rng.getrandbits(128):032x}"
        self.uid = f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-9{bits[17:20]}-{bits[20:]}"
        self.ip = f"10.{rng.randrange(40, 200)}.{rng.randrange(1, 255)}.{rng.randrange(2, 254)}"
        self.bind = "127" + self.ip[2:]
        self.node = (
            f"ip-10-{rng.randrange(20, 99)}-{rng.randrange(1, 255)}-{rng.randrange(2, 254)}.ec2.internal"
        )
        self.created_at = time.time()
        self.lives: list[Life] = []
        self.events: list[tuple[float, str, str, str]] = []
        self.pause: subprocess.Popen[bytes] | None = None
        self.deleted_at: float | None = None
        self.leaving = False
        self.ready = asyncio.Event()
        # Period, timeout and failures of the liveness probe; slow to act where it shall not be what kills.
        self.probe = (3.0, 1.0, 3) if plan.subkind == "liveness_hang" else (5.0, 4.0, 6)
        self._rng = rng
        self._watch: asyncio.Task[None] | None = None

    @property
    def life(self) -> Life:
        return self.lives[-1]

    @property
    def pod_cgroup(self) -> str:
        if self.plan.style["cgroup"] == "cgroupfs":
            return f"/kubepods/burstable/pod{self.uid}"
        uid = self.uid.replace("-", "_")
        return f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice"

    def _container_cgroup(self, container_id: str) -> str:
        systemd = self.plan.style["cgroup"] == "systemd"
        return (
            f"{self.pod_cgroup}/cri-containerd-{container_id}.scope"
            if systemd
            else f"{self.pod_cgroup}/{container_id}"
        )

    def say(self, kind: str, reason: str, message: str) -> None:
        self.events.append((time.time(), kind, reason, message))

    # -- the container

    def start(self) -> Life:
        container_id = f"{self._rng.getrandbits(256):064x}"
        number = len(self.lives)
        trace = self.work / f"{self.name}.{number}.jsonl"
        life = Life(number, container_id, self._container_cgroup(container_id), trace, time.time())
        life.folder.mkdir(parents=True, exist_ok=True)
        (life.folder / "memory.limit_in_bytes").write_text(str(self.plan.limit_mb * MIB))
        if self.plan.style["pod_limit"]:
            self._limit_pod()
        self.say("Normal", "Created", f"Created container {self.names['container']}")
        life.process = self._spawn(life)
        life.readers = [self._follow(life, name) for name in ("stdout", "stderr")]
        life.readers.append(_thread(self._sample, life))
        self.lives.append(life)
        self.say("Normal", "Started", f"Started container {self.names['container']}")
        return life

    def _limit_pod(self) -> None:
        folder = CGROUPS / self.pod_cgroup.lstrip("/")
        (folder / "memory.limit_in_bytes").write_text(str(self.plan.limit_mb * MIB))
        if self.pause is None:
            sandbox = CGROUPS / self._container_cgroup(f"{self._rng.getrandbits(256):064x}").lstrip("/")
            sandbox.mkdir(parents=True, exist_ok=True)
            program = self.work / "pause"
            if not program.exists():
                program.symlink_to("/bin/sleep")
            self.pause = subprocess.Popen([*RUNNER, str(sandbox), "0", "/", str(program), "900"])

    def _spawn(self, life: Life) -> subprocess.Popen[bytes]:
        settings = self.work / f"{self.name}.{life.number}.json"
        settings.write_text(json.dumps(self._settings(life)))
        env = {
            "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "RAILS_ENV": "production", "LAB_CONFIG": str(settings),
            "RAILS_MAX_THREADS": str(self.plan.threads), "WEB_CONCURRENCY": str(self.plan.workers),
            "LAB_BIND": f"tcp://{self.bind}:{PORT}", "TMPDIR": str(self.work),
        }  # fmt: skip
        if self.plan.style["arena_max"]:
            env["MALLOC_ARENA_MAX"] = "2"
        program = (
            ["/usr/bin/puma"] if self.plan.style["comm"] == "puma" else ["/usr/bin/ruby", "/usr/bin/puma"]
        )
        return subprocess.Popen(
            [*RUNNER, str(life.folder), "985", str(APP), *program, "-C", "puma.rb", "config.ru"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
        )  # fmt: skip

    def _settings(self, life: Life) -> dict[str, Any]:
        plan = self.plan
        return {
            "log_style": plan.log_style, "ballast_mb": plan.ballast_mb, "growth_kb": plan.growth_kb,
            "growth_cap_mb": plan.growth_cap_mb, "fault": plan.fault, "jobs": plan.jobs, "trace": str(life.trace),
        }  # fmt: skip

    def _follow(self, life: Life, stream: str) -> threading.Thread:
        assert life.process is not None
        pipe = getattr(life.process, stream)

        def read() -> None:
            for line in pipe:
                life.lines.append((time.time_ns(), stream, self._outward(line.rstrip(b"\n"))))

        return _thread(read)

    def _outward(self, line: bytes) -> bytes:
        """The loopback address stands for all addresses of a pod's own network."""
        return line.replace(self.bind.encode(), b"0.0.0.0") if b"Listening on" in line else line

    def _sample(self, life: Life) -> None:
        time.sleep(1 - time.time() % 1 + self._rng.random() * 0.1)
        while life.ended_at is None:
            try:
                usage = int((life.folder / "memory.usage_in_bytes").read_text())
                stat = dict(line.split() for line in (life.folder / "memory.stat").read_text().splitlines())
                pids = (life.folder / "cgroup.procs").read_text().split()
            except OSError:
                return
            inactive, rss, cache = (int(stat[f"total_{name}"]) for name in ("inactive_file", "rss", "cache"))
            life.samples.append((time.time(), usage, usage - inactive, rss, cache, inactive))
            for pid in map(int, pids):
                if pid not in life.inner_pids:
                    life.inner_pids[pid] = _inner_pid(pid)
            time.sleep(1)

    def signal(self, number: int) -> None:
        """To the container's first process."""
        process = self.life.process
        assert process is not None
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            for pid in children:
                os.kill(int(pid), number)
        except (FileNotFoundError, ProcessLookupError):
            return

    # -- the kubelet

    def watch(self) -> None:
        self._watch = asyncio.create_task(self._kubelet())

    async def _kubelet(self) -> None:
        while True:
            probe = asyncio.create_task(self._probes())
            assert self.life.process is not None
            while self.life.process.poll() is None:
                await asyncio.sleep(0.02)
            self._ended()
            probe.cancel()
            if self.leaving:
                return
            await asyncio.sleep(self._rng.uniform(0.8, 1.8))
            self.start()

    def _ended(self) -> None:
        life = self.life
        assert life.process is not None
        life.ended_at = time.time()
        life.exit_code = life.process.returncode
        self.ready.clear()

    async def _probes(self) -> None:
        period, timeout, threshold = self.probe
        while not await http_get(self.bind, "/livez", "kube-probe/1.29", 2.0):
            await asyncio.sleep(0.25)
        while sum(b"booted in" in text for _, _, text in self.life.lines) < self.plan.workers:
            await asyncio.sleep(0.25)
        self.ready.set()
        failed = 0
        while failed < threshold:
            await asyncio.sleep(period)
            well = await http_get(self.bind, "/livez", "kube-probe/1.29", timeout)
            failed = 0 if well else failed + 1
            if not well:
                self.say("Warning", "Unhealthy", self._refused())
        container = self.names["container"]
        self.say("Normal", "Killing", f"Container {container} failed liveness probe, will be restarted")
        self.life.killed_by_kubelet = True
        self.signal(signal.SIGTERM)
        await asyncio.sleep(6)
        self.signal(signal.SIGKILL)

    def _refused(self) -> str:
        return (
            f'Liveness probe failed: Get "http://{self.ip}:{PORT}/livez": context deadline exceeded '
            "(Client.Timeout exceeded while awaiting headers)"
        )

    async def leave(self) -> None:
        """A rollout takes this pod away."""
        self.leaving, self.deleted_at = True, time.time()
        self.say("Normal", "Killing", f"Stopping container {self.names['container']}")
        self.life.killed_by_kubelet = True
        self.signal(signal.SIGTERM)

    async def close(self) -> None:
        """The end of the experiment: nothing is left running and no cgroup stays."""
        if self._watch:
            self._watch.cancel()
        for life in self.lives:
            while life.process and life.process.poll() is None:
                # Again and again: a container that has only just been started has no first process yet.
                self.signal(signal.SIGKILL)
                await asyncio.sleep(0.05)
        still_running = self.life.ended_at is None
        self.life.ended_at = self.life.ended_at or time.time()
        if self.pause:
            self.pause.kill()
            self.pause.wait()
        for life in self.lives:
            for reader in life.readers:
                await asyncio.to_thread(reader.join, 3)
        if still_running:
            self.life.ended_at = None
        await asyncio.to_thread(self._remove_cgroups)

    def _remove_cgroups(self) -> None:
        top = CGROUPS / self.pod_cgroup.lstrip("/")
        for folder in [*(x for x in top.glob("*") if x.is_dir()), top]:
            for _ in range(20):
                try:
                    folder.rmdir()
                    break
                except OSError:
                    time.sleep(0.05)


def _thread(work: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=args, daemon=True)
    thread.start()
    return thread


def _inner_pid(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[-1]) for line in status.splitlines() if line.startswith("NSpid")), 0)


async def http_get(host: str, path: str, agent: str, timeout: float) -> bool:
    """Whether the path is answered with 200 in time; what a probe does."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, PORT)
            try:
                head = (
                    f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n"
                )
                writer.write(head.encode())
                return (await reader.readline()).startswith(b"HTTP/1.1 200")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
