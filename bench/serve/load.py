"""Sends requests at their times over kept connections and prints how long each took, as JSON.

``python -m bench.serve.load PLAN.json``, where the plan is ``{name: {"port", "span", "connections", "requests"}}``.
The streams run side by side. Time counts from when a request was due: one that had to wait for a free connection
waited for the service.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

Due = asyncio.Queue[tuple[float, bytes]]


async def _connection(port: int, queue: Due, seconds: list[float], codes: Counter[str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        due, request = await queue.get()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        seconds.append(time.perf_counter() - due)
        codes[head[9:12].decode()] += 1
        queue.task_done()


async def _stream(plan: dict[str, Any], began: float) -> dict[str, Any]:
    queue: Due = asyncio.Queue()
    seconds: list[float] = []
    codes: Counter[str] = Counter()
    workers = [
        asyncio.create_task(_connection(plan["port"], queue, seconds, codes))
        for _ in range(plan["connections"])
    ]
    requests = plan["requests"]
    for number, request in enumerate(requests):
        due = began + number * plan["span"] / len(requests)
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        queue.put_nowait((due, request.encode()))
    await asyncio.wait([asyncio.create_task(queue.join()), *workers], return_when=asyncio.FIRST_COMPLETED)
    return {"seconds": seconds, "codes": codes, "span": time.perf_counter() - began}


async def _main(plans: dict[str, dict[str, Any]]) -> None:
    began = time.perf_counter() + 0.5
    answers = await asyncio.gather(*(_stream(plan, began) for plan in plans.values()))
    print(json.dumps(dict(zip(plans, answers, strict=True))))


def request(method: str, path: str, body: str = "") -> str:
    """One HTTP request with the credentials of a sender."""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alert-token-1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}"
    )


if __name__ == "__main__":
    asyncio.run(_main(json.loads(Path(sys.argv[1]).read_text())))
