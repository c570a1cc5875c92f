"""A stand-in for the load balancer: sends each request to a pod and keeps what its access log would say."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from dataclasses import dataclass

from lab.pods import PORT, Pod, http_get
from lab.traffic import Ask

IDLE_TIMEOUT_S = 60.0
NO_ANSWER_BYTES = (272, 277, 283)


@dataclass
class Row:
    """One request as the load balancer saw it; times in seconds since 1970."""

    ask: Ask
    request_id: str
    trace_id: str
    client_port: int
    pod: Pod | None
    life: int
    created_at: float
    connected_at: float | None = None
    head_at: float | None = None
    ended_at: float | None = None
    elb_status: int = 0
    target_status: int | None = None
    sent_bytes: int = 0
    received_bytes: int = 0
    error: str = ""


class Balancer:
    """Round robin over the healthy pods; over all of them when none is."""

    def __init__(self, pods: list[Pod], rng: random.Random, host: str) -> None:
        self.pods, self.host = list(pods), host
        self.rows: list[Row] = []
        self._rng, self._turn = rng, 0
        self._unhealthy: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._checks = asyncio.create_task(self._check())

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(5)
            for pod in list(self.pods):
                well = await http_get(pod.bind, "/livez", "ELB-HealthChecker/2.0", 3)
                self._unhealthy[pod.name] = 0 if well else self._unhealthy.get(pod.name, 0) + 1

    def _pick(self) -> Pod:
        self._turn += 1
        well = [pod for pod in self.pods if self._unhealthy.get(pod.name, 0) < 2] or self.pods
        return well[self._turn % len(well)]

    def send(self, ask: Ask) -> None:
        task = asyncio.create_task(self._serve(ask))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, ask: Ask) -> None:
        row = await self._once(ask)
        if row.elb_status in (502, 503, 504) and ask.client.retries:
            await asyncio.sleep(self._rng.uniform(0.3, 1.5))
            await self._once(ask)

    async def _once(self, ask: Ask) -> Row:
        pod, now = self._pick(), time.time()
        trace = f"Root=1-{int(now):08x}-{self._rng.getrandbits(96):024x}"
        request_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        row = Row(ask, request_id, trace, self._rng.randrange(1024, 65500), pod, pod.life.number, now)
        self.rows.append(row)
        try:
            async with asyncio.timeout(min(IDLE_TIMEOUT_S, ask.client.patience_s)):
                await self._talk(row, pod)
        except TimeoutError:
            row.elb_status = 460 if ask.client.patience_s < IDLE_TIMEOUT_S else 504
            row.error = "timeout"
        except OSError as problem:
            row.elb_status, row.error = 502, type(problem).__name__
            row.sent_bytes = self._rng.choice(NO_ANSWER_BYTES)
        row.ended_at = time.time()
        return row

    async def _talk(self, row: Row, pod: Pod) -> None:
        reader, writer = await asyncio.open_connection(pod.bind, PORT)
        row.connected_at = time.time()
        try:
            head = self._head(row)
            row.received_bytes = len(head) + len(row.ask.body)
            writer.write(head + row.ask.body)
            sending = asyncio.create_task(writer.drain())
            # A target that dies while the body is on its way is told by the missing answer.
            sending.add_done_callback(lambda done: done.cancelled() or done.exception())
            first = await reader.readline()
            if not first.startswith(b"HTTP/1."):
                raise ConnectionResetError
            row.head_at, row.target_status = time.time(), int(first.split()[1])
            row.elb_status, row.sent_bytes = row.target_status, len(first)
            try:
                while part := await reader.read(1 << 16):
                    row.sent_bytes += len(part)
            except ConnectionResetError:
                row.error = "cut"
        finally:
            writer.close()

    def _head(self, row: Row) -> bytes:
        ask = row.ask
        accept = "text/html" if "Mozilla" in ask.client.agent and ask.method == "GET" else "application/json"
        fields = {
            "Host": self.host, "User-Agent": ask.client.agent, "Accept": accept, "Connection": "close",
            "X-Forwarded-For": ask.client.ip, "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443",
            "X-Request-Id": row.request_id, "X-Amzn-Trace-Id": row.trace_id,
        }  # fmt: skip
        if ask.body:
            fields |= {"Content-Type": ask.content_type, "Content-Length": str(len(ask.body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"{ask.method} {ask.target} HTTP/1.1\r\n{lines}\r\n".encode()

    async def finish(self) -> None:
        """What is still open at the end has no row in the log, as the rows of a real one come late."""
        self._checks.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
