"""Write a seeded, made-up day of ALB access log: ``python bench/alb_gen.py FILE [--rows 2000000] [--gz PARTS]``.

With ``--gz`` FILE is a folder and the rows go to that many ``.log.gz`` files. The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2026, 1, 2, tzinfo=UTC)
HOST = "https://shop.example.com:443"
ELB = "app/web/50dc6c495c0c9188"
GROUP = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/73e2d6bc24d8a067"
CERT = "arn:aws:acm:eu-west-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
ROUTES = [
    ("GET", "/"), ("GET", "/items"), ("GET", "/items/{id}"), ("GET", "/items/{id}?full=1&page={n}"),
    ("POST", "/carts/{id}/lines"), ("PATCH", "/carts/{id}/lines/{n}"), ("GET", "/search?q=term{n}&sort=new"),
    ("GET", "/users/{uuid}"), ("POST", "/uploads"), ("GET", "/reports/{n}.csv"),
    ("GET", "/api/v2/feeds/{id}/entries"), ("DELETE", "/sessions/{hex}"), ("POST", "/hooks/{hex}"),
    ("GET", "/assets/app-{n}.js"), ("PUT", "/users/{uuid}/avatar"),
]  # fmt: skip
WEIGHTS = [1 / (rank + 1) for rank in range(len(ROUTES))]
AGENTS = [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 "
    "Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "okhttp/4.9.3", "curl/8.5.0", "-",
]  # fmt: skip


def rows(count: int, seed: int = 1) -> Iterator[str]:
    """``count`` lines spread evenly over one day, in order of their time."""
    draw = random.Random(seed)
    clients = [_client(draw) for _ in range(5000)]
    targets = [f"10.0.{i}.{draw.randrange(256)}:3000" for i in range(8)]
    step = timedelta(days=1) / count
    for number in range(count):
        yield _row(draw, START + number * step, clients, targets)


def _client(draw: random.Random) -> str:
    """One in ten comes by IPv6, which the log writes without brackets."""
    if draw.random() < 0.1:
        return f"2001:db8:{draw.getrandbits(16):x}:{draw.getrandbits(16):x}::{draw.getrandbits(16):x}"
    return f"198.51.{draw.randrange(256)}.{draw.randrange(256)}"


def _row(draw: random.Random, at: datetime, clients: list[str], targets: list[str]) -> str:
    method, route = draw.choices(ROUTES, WEIGHTS)[0]
    bits = draw.getrandbits(256)
    text = f"{bits:064x}"
    path = route
    if "{" in route:
        uuid = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"
        path = route.format(id=bits % 900_001, n=bits % 97, uuid=uuid, hex=text[:32])
    took = int(draw.lognormvariate(3.5, 1.2))
    failed = bits % 499 == 0
    refused = bits % 997 == 0  # no target was healthy
    target = "-" if refused else targets[bits & 7]
    status, answer = ("503", "-") if refused else ("502", "-") if failed else ("200", "200")
    agent = (
        'Say "cheese"/1.0' if bits % 4999 == 0 else AGENTS[bits % len(AGENTS)]
    )  # the log does not escape quotes
    received = 300 + bits % 500 + (bits % 4_000_000 if method in ("POST", "PUT") else 0)
    sent = 277 if failed else 400 + int(draw.lognormvariate(8, 1.5))
    created = at - timedelta(milliseconds=took)
    return (
        f"h2 {at:%Y-%m-%dT%H:%M:%S.%fZ} {ELB} {clients[bits % 5000]}:{1024 + bits % 60000} {target} 0.000 "
        f"{took // 1000}.{took % 1000:03d} {'-1' if failed else '0.000'} {status} {answer} {received} {sent} "
        f'"{method} {HOST}{path} HTTP/2.0" "{agent}" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 {GROUP} '
        f'"Root=1-{int(created.timestamp()):08x}-{draw.getrandbits(96):024x}" "shop.example.com" "{CERT}" {bits % 3} '
        f'{created:%Y-%m-%dT%H:%M:%S.%fZ} "forward" "-" "-" "{target}" "{answer}" "-" "-" '
        f'TID_{draw.getrandbits(128):032x} "-" "-" "-"\n'
    )


def write(path: Path, count: int, *, seed: int = 1, parts: int = 0) -> None:
    """Plain file, or ``parts`` gz files in the folder ``path``, named as the load balancer names its files."""
    lines = rows(count, seed)
    if not parts:
        with path.open("w", encoding="ascii") as file:
            file.writelines(lines)
        return
    path.mkdir(parents=True, exist_ok=True)
    for part in range(parts):
        share = count * (part + 1) // parts - count * part // parts
        text = "".join(next(lines) for _ in range(share)).encode("ascii")
        (path / file_name(part, parts)).write_bytes(gzip.compress(text, 6, mtime=0))


def file_name(part: int, parts: int) -> str:
    """The name of a file: it ends with the five minutes that hold the part's last row."""
    spans = -(-(part + 1) * 288 // parts)
    end = START + spans * timedelta(minutes=5)
    return (
        f"123456789012_elasticloadbalancing_eu-west-1_app.web.50dc6c495c0c9188_{end:%Y%m%dT%H%MZ}_10.0.0.{part % 3}_"
        f"{part:08x}.log.gz"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gz", type=int, default=0, metavar="PARTS")
    given = parser.parse_args()
    write(given.path, given.rows, seed=given.seed, parts=given.gz)
