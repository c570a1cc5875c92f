"""The text formats of the evidence: access log, container log, log events, kernel log, metrics. All pure."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from lab.balancer import Row
from lab.kernel import Line
from lab.kube import iso

CIPHERS = (("ECDHE-RSA-AES128-GCM-SHA256", "TLSv1.2"), ("TLS_AES_128_GCM_SHA256", "TLSv1.3"))
CRI_PIECE = 16384  # bytes after which a runtime cuts a line


def alb_line(row: Row, names: dict[str, str], style: str) -> str:
    """One row of the access log, as documented, with the trailing connection id."""
    assert row.ended_at is not None
    ask = row.ask
    rng = random.Random(row.request_id)
    http2 = "Mozilla" in ask.client.agent or "okhttp" in ask.client.agent
    cipher, protocol = rng.choice(CIPHERS)
    target = f"{row.pod.ip}:3000" if row.pod else "-"
    code = str(row.target_status or "-")
    url = f"https://{names['host']}:443{ask.target}"
    account = names["account"]
    region = f"arn:aws:elasticloadbalancing:us-east-1:{account}"
    agent = ask.client.agent.replace('"', "\\x22")
    return " ".join((
        "h2" if http2 else "https", iso(row.ended_at, 6), f"app/{names['alb']}/{names['alb_id']}",
        f"{ask.client.ip}:{row.client_port}", target, *_times(row, style), str(row.elb_status or 460), code,
        str(row.received_bytes or 300), str(row.sent_bytes), f'"{ask.method} {url} HTTP/{"2.0" if http2 else "1.1"}"',
        f'"{agent}"', cipher, protocol, f"{region}:targetgroup/{names['app']}-tg/{names['alb_id'][::-1]}",
        f'"{row.trace_id}"', f'"{names["host"]}"', f'"arn:aws:acm:us-east-1:{account}:certificate/{names["cert"]}"',
        "1", iso(row.created_at, 6), '"forward"', '"-"', '"-"', f'"{target}"', f'"{code}"', '"-"', '"-"',
        f"TID_{rng.getrandbits(128):032x}",
    ))  # fmt: skip


def _times(row: Row, style: str) -> tuple[str, str, str]:
    """Request, target and response processing time."""
    assert row.ended_at is not None
    if row.head_at is not None and row.connected_at is not None:
        return f"{row.connected_at - row.created_at:.3f}", f"{row.head_at - row.connected_at:.3f}", "0.000"
    if row.connected_at is None:
        return "-1", "-1", "-1"
    if row.elb_status == 502 and style == "elapsed":
        return "0.001", f"{row.ended_at - row.connected_at:.3f}", "-1"
    return ("-1", "-1", "-1") if row.elb_status == 502 else ("0.001", "-1", "-1")


def cri_lines(lines: Iterable[tuple[int, str, bytes]]) -> Iterator[bytes]:
    """As a container runtime writes them: long lines in pieces, each with its stamp."""
    for stamp, stream, text in lines:
        for tag, piece in pieces(text):
            yield b" ".join((nano(stamp).encode(), stream.encode(), tag.encode(), piece)) + b"\n"


def pieces(text: bytes) -> Iterator[tuple[str, bytes]]:
    while len(text) > CRI_PIECE:
        yield "P", text[:CRI_PIECE]
        text = text[CRI_PIECE:]
    yield "F", text


def nano(stamp: int) -> str:
    return (
        datetime.fromtimestamp(stamp // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{stamp % 10**9:09d}Z"
    )


def log_event(
    stamp: int, stream: str, tag: str, text: bytes, where: dict[str, str], number: int
) -> dict[str, Any]:
    """One event of FilterLogEvents with the envelope that Fluent Bit for Container Insights puts around a line."""
    kubernetes = {
        "pod_name": where["pod"], "namespace_name": where["namespace"], "pod_id": where["uid"], "host": where["node"],
        "container_name": where["container"], "docker_id": where["container_id"],
        "container_hash": f"{where['image'].rsplit(':', 1)[0]}@sha256:{'0' * 64}", "container_image": where["image"],
    }  # fmt: skip
    message = {"time": nano(stamp), "stream": stream, "_p": tag, "log": text.decode("utf-8", "replace")}
    group = f"{where['pod']}_{where['namespace']}_{where['container']}-{where['container_id']}"
    return {
        "logStreamName": f"{where['node']}-application.var.log.containers.{group}.log",
        "timestamp": stamp // 10**6,
        "message": json.dumps(
            message | {"kubernetes": kubernetes}, separators=(",", ":"), ensure_ascii=False
        ),
        "ingestionTime": stamp // 10**6 + 640,
        "eventId": f"38{stamp // 10**6:020d}{number:034d}",
    }


def dmesg_line(line: Line) -> str:
    return f"[{line.stamp:12.6f}] {line.text}"


def journal_line(line: Line, offset: float, node: str) -> str:
    stamp = datetime.fromtimestamp(line.stamp + offset, UTC).strftime("%b %d %H:%M:%S.%f")
    return f"{stamp} {node.split('.')[0]} kernel: {line.text}"


def range_answer(series: list[tuple[dict[str, str], list[tuple[float, int]]]], step: int) -> dict[str, Any]:
    """A ``query_range`` answer: at each step the newest sample of the last five steps, as a scrape would have it."""
    result = []
    for labels, points in series:
        values = [[at, str(value)] for at, value in scraped(points, step)]
        if values:
            result.append({"metric": labels, "values": values})
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


def scraped(points: list[tuple[float, int]], step: int) -> Iterator[tuple[int, int]]:
    """One of the samples every ``step`` seconds on a grid."""
    if not points:
        return
    at = int(points[0][0]) // step * step + step
    while at <= points[-1][0]:
        yield at, max((p for p in points if p[0] <= at), key=lambda p: p[0])[1]
        at += step
