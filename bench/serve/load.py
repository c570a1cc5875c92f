"""Sends bodies to the service at a steady rate over kept connections and prints how long each took, as JSON.

``python -m bench.serve.load URL BODIES.json SECONDS``. Time counts from when a request was due: one that had to wait
for a free connection waited for the service.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

CONNECTIONS = 64


async def _connection(
    host: str, port: int, queue: asyncio.Queue[tuple[float, bytes]], seconds: list[float], codes: Counter[str]
) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    while True:
        due, body = await queue.get()
        writer.write(
            b"POST /api/v1/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alert-token-1\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        seconds.append(time.perf_counter() - due)
        codes[head[9:12].decode()] += 1
        queue.task_done()


async def _main(url: str, bodies: list[bytes], span: float) -> None:
    parts = urlsplit(url)
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    seconds: list[float] = []
    codes: Counter[str] = Counter()
    workers = [
        asyncio.create_task(_connection(parts.hostname or "", parts.port or 80, queue, seconds, codes))
        for _ in range(CONNECTIONS)
    ]
    await asyncio.sleep(0.5)
    began = time.perf_counter()
    for number, body in enumerate(bodies):
        due = began + number * span / len(bodies)
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        queue.put_nowait((due, body))
    await asyncio.wait([asyncio.create_task(queue.join()), *workers], return_when=asyncio.FIRST_COMPLETED)
    print(json.dumps({"seconds": seconds, "codes": codes, "span": time.perf_counter() - began}))


if __name__ == "__main__":
    asyncio.run(
        _main(
            sys.argv[1], [b.encode() for b in json.loads(Path(sys.argv[2]).read_text())], float(sys.argv[3])
        )
    )
