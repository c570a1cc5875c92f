"""Open-loop traffic: who asks what, when. Drawn beforehand, so that a slow application does not slow its users down."""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lab.plan import ENDPOINTS, Plan, made_id

WORDS = ("amber", "e", "moor", "lind", "santos", "okafor", "night", "icu")
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "WardTablet/3.2.1 (Android 14; okhttp/4.12.0)",
    "HospitalKiosk/1.9 CFNetwork/1496.0.7 Darwin/23.5.0",
    "hl7-bridge/2.4 (Go-http-client/1.1)",
    'Lab "Gateway" 7',
)
BOTS = ("/wp-login.php", "/.env", "/actuator/health", "/xmlrpc.php", "/static/js/main.8f2b.js", "/robots.txt")
BOT_AGENTS = ("Mozilla/5.0 (compatible; CensusProbe/1.1)", "curl/8.5.0", "-")


@dataclass(frozen=True)
class Client:
    """One user: address and program stay together."""

    ip: str
    agent: str
    retries: bool
    patience_s: float


@dataclass(frozen=True)
class Ask:
    """One request to be sent ``at`` seconds after the load starts."""

    at: float
    key: str
    method: str
    target: str
    body: bytes
    content_type: str
    client: Client
    fault: bool


def make_clients(rng: random.Random, count: int = 160) -> list[Client]:
    nets = ("192.0.2", "198.51.100", "203.0.113")
    clients = []
    for _ in range(count):
        ip = f"{rng.choice(nets)}.{rng.randrange(1, 255)}"
        if rng.random() < 0.06:
            ip = f"2001:db8:{rng.randrange(1, 9999):x}::{rng.randrange(1, 60000):x}"
        patience = rng.choice((5.0, 8.0)) if rng.random() < 0.06 else 60.0
        clients.append(Client(ip, rng.choice(AGENTS), rng.random() < 0.25, patience))
    return clients


def schedule(plan: Plan, seconds: float) -> list[Ask]:
    """Every request of the run in order: ordinary traffic, bursts, bots, and from the onset the faulty stream."""
    rng = random.Random(zlib.crc32(f"traffic/{plan.id}".encode()))
    clients = make_clients(rng)
    asks = [
        *_ordinary(plan, rng, clients, seconds),
        *_bursts(plan, rng, clients),
        *_bots(rng, clients, seconds),
    ]
    if plan.fault and plan.fault_rps:
        asks += _faulty(plan, rng, clients, seconds)
    return sorted(asks, key=lambda ask: ask.at)


def _arrivals(rng: random.Random, rate: float, start: float, end: float) -> Iterator[float]:
    at = start + rng.expovariate(rate) if rate > 0 else end
    while at < end:
        yield at
        at += rng.expovariate(rate)


def _ordinary(plan: Plan, rng: random.Random, clients: list[Client], seconds: float) -> Iterator[Ask]:
    total = sum(plan.weights.values())
    for key, weight in plan.weights.items():
        for at in _arrivals(rng, plan.rps * weight / total, 0.0, seconds):
            yield ask(rng, key, at, rng.choice(clients))


def _bursts(plan: Plan, rng: random.Random, clients: list[Client]) -> Iterator[Ask]:
    total = sum(plan.weights.values())
    for key, start, end, times in plan.bursts:
        rate = max(plan.rps * plan.weights[key] / total * times, 1.5)
        few = rng.sample(clients, 6)
        yield from (ask(rng, key, at, rng.choice(few)) for at in _arrivals(rng, min(rate, 12), start, end))


def _bots(rng: random.Random, clients: list[Client], seconds: float) -> Iterator[Ask]:
    for at in _arrivals(rng, rng.uniform(0.1, 0.5), 0.0, seconds):
        robot = Client(rng.choice(clients).ip, rng.choice(BOT_AGENTS), False, 60.0)
        path = rng.choice((*BOTS, "/portal", "/portal"))
        yield Ask(at, f"GET {path}", "GET", path, b"", "", robot, False)


def _faulty(plan: Plan, rng: random.Random, clients: list[Client], seconds: float) -> Iterator[Ask]:
    few = rng.sample(clients, rng.choice((3, 8, 25)))
    spec = ENDPOINTS[plan.fault["endpoint"]]
    # A handful of large bodies, used over and over: building each anew would take more than sending it.
    bodies = (
        [make_body(rng, spec, plan.fault) for _ in range(6)] if plan.fault["type"] == "huge_payload" else None
    )
    times = list(_arrivals(rng, plan.fault_rps, plan.onset_s, seconds))
    if plan.shape == "runaway":
        times.insert(0, plan.onset_s)
    for at in times:
        body = rng.choice(bodies) if bodies else None
        yield ask(rng, spec["key"], at, rng.choice(few), plan.fault, body)


def ask(
    rng: random.Random, key: str, at: float, client: Client,
    fault: dict[str, Any] | None = None, body: tuple[bytes, str] | None = None,
) -> Ask:  # fmt: skip
    """One request to an endpoint, ordinary or one that sets the fault off."""
    spec = ENDPOINTS[key]
    trigger = (fault or {}).get("trigger", {"type": "always"})
    path = re.sub(r":(\w+)", lambda m: _segment(rng, spec, m[1], trigger), spec["path"])
    query = rng.choice(spec.get("query", [""])) if rng.random() < 0.8 else ""
    query = query.replace("<n>", str(rng.randrange(1, 8))).replace("<word>", rng.choice(WORDS[2:]))
    body = body or (make_body(rng, spec, fault) if spec.get("body") else (b"", ""))
    if trigger["type"] == "param" and spec["method"] == "GET":
        kept = query if query and not query.startswith(trigger["name"] + "=") and rng.random() < 0.5 else ""
        query = "&".join(filter(None, (kept, f"{trigger['name']}={trigger['value']}")))
    target = path + (f"?{query}" if query else "")
    return Ask(at, key, spec["method"], target, body[0], body[1], client, fault is not None)


def _segment(rng: random.Random, spec: dict[str, Any], name: str, trigger: dict[str, Any]) -> str:
    if trigger["type"] == "id" and trigger["name"] == name:
        return str(rng.choice(trigger["ids"]))
    return made_id(rng, spec, name, ordinary=True)


def make_body(rng: random.Random, spec: dict[str, Any], fault: dict[str, Any] | None) -> tuple[bytes, str]:
    """(bytes, content type) of what is sent."""
    huge = fault is not None and fault["type"] == "huge_payload"
    size = (
        int(rng.uniform(fault["mb_lo"], fault["mb_hi"]) * 1_048_576)
        if huge and fault
        else rng.randrange(80, 2500)
    )
    if spec["body"] == "upload":
        return _multipart(size if huge else rng.randrange(5_000, 250_000), rng)
    if spec["body"] == "login":
        return b"user=nurse%d&password=x" % rng.randrange(500), "application/x-www-form-urlencoded"
    content: dict[str, Any] = {"source": spec["body"], "entries": _entries(size, rng)}
    if spec["body"] == "operation":
        trigger = (fault or {}).get("trigger", {})
        name = trigger.get("value") or rng.choice(("BedBoard", "PatientHeader", "TodayList", "Unread"))
        content = {"operationName": name, "variables": {"first": rng.randrange(5, 50)}} | (
            {"entries": content["entries"]} if huge else {}
        )
    return json.dumps(content, separators=(",", ":")).encode(), "application/json"


_PARTS = [
    {"code": f"c{i:04d}", "value": i * 0.37, "unit": "mmol/L", "tags": ["a", f"b{i % 7}"]} for i in range(600)
]


def _entries(size: int, rng: random.Random) -> list[dict[str, Any]]:
    count = max(1, size // 62)
    start = rng.randrange(600)
    return [_PARTS[(start + i) % 600] for i in range(count)]


def _multipart(size: int, rng: random.Random) -> tuple[bytes, str]:
    edge = f"----part{rng.getrandbits(64):016x}"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="scan.dcm"\r\n\r\n'
    content = rng.randbytes(4096) * (size // 4096 + 1)
    whole = head.encode() + content[:size] + f"\r\n--{edge}--\r\n".encode()
    return whole, f"multipart/form-data; boundary={edge}"
