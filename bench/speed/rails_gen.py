"""Seeded Rails logs of any size: interleaved requests with tags, exceptions, jobs, forged lines and long ones.

``python -m bench.speed.rails_gen FILE --mb 100 [--envelope cloudwatch]``. The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_PROCESSES = (17, 21, 25, 132)
_THREADS = 4
# method, path, action, format, parameters (%d and %s are filled in), templates, status, usual time in ms, weight
_ROUTES = (
    ("GET", "/", "Pages::FrontController#show", "HTML", "", 4, 200, 30, 20),
    ("GET", "/items/%d", "ItemsController#show", "HTML", '{"id"=>"%d"}', 3, 200, 60, 14),
    ("GET", "/api/v2/feeds?page=%d", "Api::V2::FeedsController#index", "JSON", '{"page"=>"%d"}', 0, 200, 45, 12),
    ("GET", "/people/%d", "PeopleController#show", "JSON", '{"id"=>"%d"}', 0, 200, 20, 10),
    ("POST", "/events", "EventsController#create", "JSON",
     '{"event"=>{"kind"=>"view", "at"=>"https://example.com/items/%d?from=mail", "key"=>"%s"}}', 0, 201, 15, 8),
    ("POST", "/basket/lines", "Basket::LinesController#create", "TURBO_STREAM",
     '{"authenticity_token"=>"[FILTERED]", "line"=>{"item_id"=>"%d", "note"=>"caf\u00e9 \\"%s\\""}}', 2, 200, 80, 7),
    ("POST", "/orders", "OrdersController#create", "HTML", '{"order"=>{"address_id"=>"%d"}}', 0, 302, 350, 3),
    ("GET", "/reports/%d.csv", "ReportsController#show", "CSV", '{"id"=>"%d"}', 0, 200, 4000, 2),
    ("DELETE", "/basket/lines/%d", "Basket::LinesController#destroy", "TURBO_STREAM", '{"id"=>"%d"}', 0, 204, 30, 2),
    ("GET", "/up", "Rails::HealthController#show", "HTML", "", 0, 200, 1, 1),
)  # fmt: skip
_REASONS = {
    200: "OK",
    201: "Created",
    204: "No Content",
    302: "Found",
    404: "Not Found",
    500: "Internal Server Error",
}
_TRACE = (
    "app/models/order.rb:88:in `total'",
    "app/models/order.rb:41:in `block in price'",
    "lib/tax.rb:7:in `rate'",
)

Message = tuple[str, str]  # severity letter and text


class Rails:
    """A stream of log lines without end, as (time in microseconds, process, text)."""

    def __init__(self, seed: int = 1, *, killed: float = 0.001) -> None:
        self._draw = random.Random(seed)
        self._killed = killed
        self._weights = [route[-1] for route in _ROUTES]

    def lines(self) -> Iterator[tuple[int, int, str]]:
        """Records of sixteen threads in turn; of a record of several lines only the first has a prefix."""
        draw = self._draw
        now = int(START.timestamp()) * 1_000_000
        running = [iter(self._request()) for _ in range(len(_PROCESSES) * _THREADS)]
        second, stamp, zoned = -1, "", ""
        while True:
            place = draw.getrandbits(4)
            message = next(running[place], None)
            if message is None:
                running[place] = iter(self._request())
                continue
            now += draw.getrandbits(10)
            if now // 1_000_000 != second:
                second = now // 1_000_000
                at = START + timedelta(seconds=second - int(START.timestamp()))
                stamp, zoned = at.strftime("%Y-%m-%dT%H:%M:%S"), at.strftime("%Y-%m-%d %H:%M:%S +0000")
            process = _PROCESSES[place % len(_PROCESSES)]
            letter, tagged = message
            word = {"I": " INFO", "F": "FATAL", "W": " WARN"}[letter]
            first, *more = tagged.replace("@now@", zoned).split("\n")
            yield now, process, f"{letter}, [{stamp}.{now % 1_000_000:06d} #{process}] {word} -- : {first}"
            for text in more:
                yield now, process, text

    def _id(self) -> str:
        text = f"{self._draw.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def _request(self) -> list[Message]:
        draw, tag = self._draw, f"[{self._id()}] "
        client = f"10.0.{draw.getrandbits(8)}.{draw.getrandbits(8)}"
        chance = draw.random()
        if chance < 0.0005:
            path = f"/wp-{draw.getrandbits(16)}.php"
            error = f'ActionController::RoutingError (No route matches [GET] "{path}"):'
            return [
                ("I", f'{tag}Started GET "{path}" for {client} at @now@'),
                *(("F", tag + text) for text in ("  ", error, "  ")),
            ]
        messages = [(letter, tag + text) for letter, text in self._usual(client)]
        if chance > 1 - self._killed:
            return messages[: draw.randrange(1, len(messages))]
        return messages

    def _usual(self, client: str) -> list[Message]:
        draw = self._draw
        method, path, action, kind, params, views, status, usual_ms, _ = draw.choices(_ROUTES, self._weights)[
            0
        ]
        number, took = draw.getrandbits(20) + 1, max(1, int(draw.expovariate(1) * usual_ms))
        path = path % number if "%d" in path else path
        found = [f'Started {method} "{path}" for {client} at @now@', f"Processing by {action} as {kind}"]
        if params:
            found.append("  Parameters: " + self._params(params, number))
        if draw.random() < 0.03:
            found.append(
                f"[ActiveJob] Enqueued AuditJob (Job ID: {self._id()}) to Sidekiq(low) with arguments: {number}"
            )
        for view in range(views + draw.getrandbits(2)):
            spent = draw.random() * took / 4
            found.append(
                f"  Rendered shared/_part{view}.html.erb (Duration: {spent:.1f}ms | Allocations: {int(spent * 500)})"
            )
        chance = draw.random()
        status = 500 if chance < 0.002 else 404 if chance < 0.015 and method == "GET" else status
        if status == 302:
            found.append(f"Redirected to https://example.com/orders/{number}")
        parts = [f"Views: {took * 0.4:.1f}ms"] if status not in (204, 302, 500) else []
        parts += [
            f"ActiveRecord: {took * chance / 2:.1f}ms",
            f"Allocations: {took * 700 + draw.getrandbits(10)}",
        ]
        found.append(f"Completed {status} {_REASONS[status]} in {took}ms ({' | '.join(parts)})")
        messages = [("I", text) for text in found]
        if status == 500:
            trace = "\n".join(draw.sample(_TRACE, 2))
            error = "NoMethodError (undefined method `total' for nil):"
            messages += [("F", text) for text in ("  ", error, "  ", trace)]
        return messages

    def _params(self, params: str, number: int) -> str:
        draw = self._draw
        filling = tuple(number if mark == "d" else f"{draw.getrandbits(96):024x}" for mark in _marks(params))
        text = params % filling
        chance = draw.random()
        if chance < 0.001:  # what a request line looks like, inside what a user sent
            forged = f'[{self._id()}] Completed 200 OK in 5ms / [x] Started GET \\"/x\\" for 1.2.3.4'
            return f'{text[:-1]}, "note"=>"{forged}"}}'
        if chance < 0.0011:
            return f'{text[:-1]}, "body"=>"{"long " * draw.randrange(1000, 20_000)}"}}'
        return text


def _marks(params: str) -> list[str]:
    return [params[at + 1] for at, sign in enumerate(params) if sign == "%"]


def write_rails(path: Path, size: int, seed: int = 1) -> None:
    """A log without envelope of about so many bytes."""
    with path.open("wb") as file:
        _write(file, (text.encode() for _, _, text in Rails(seed).lines()), size)


def write_cloudwatch(path: Path, size: int, seed: int = 1) -> None:
    """The same in events of CloudWatch Logs whose messages are records of Fluent Bit, one a line."""
    draw = random.Random(seed)
    tails = {process: _tail(draw) for process in _PROCESSES}

    def events() -> Iterator[bytes]:
        for now, process, text in Rails(seed).lines():
            at = datetime.fromtimestamp(now // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            log = json.dumps({"log": text, "stream": "stdout", "time": f"{at}.{now % 1_000_000:06d}789Z"},
                             separators=(",", ":"), ensure_ascii=False)  # fmt: skip
            message = json.dumps(log[:-1] + ",", ensure_ascii=False)[:-1] + tails[process]
            yield f'{{"timestamp":{now // 1000},"message":{message}}}'.encode()

    with path.open("wb") as file:
        _write(file, events(), size)


def write_lograge(path: Path, size: int, seed: int = 1) -> None:
    """Requests as lograge's Logstash formatter writes them, one a line, and a job's two lines for every fortieth."""
    draw = random.Random(seed)

    def lines() -> Iterator[bytes]:
        at, number = START, 0
        while True:
            at, number = at + timedelta(milliseconds=draw.expovariate(1 / 20)), number + 1
            yield json.dumps(_one_line(draw, at), separators=(",", ":")).encode()
            if number % 40 == 0:
                job = f"[ActiveJob] [SyncJob] [{draw.getrandbits(128):032x}]"
                yield f"{job} Performing SyncJob (Job ID: {number}) from Async(default)".encode()
                yield f"{job} Performed SyncJob (Job ID: {number}) from Async(default) in 20.1ms".encode()

    with path.open("wb") as file:
        _write(file, lines(), size)


def _one_line(draw: random.Random, at: datetime) -> dict[str, object]:
    method, path, endpoint, kind, *_, status, usual, _ = draw.choice(_ROUTES)
    controller, action = endpoint.split("#")
    path = path.partition("?")[0].replace("%d", str(draw.randrange(10**6)))
    duration = round(usual * draw.lognormvariate(0, 0.5), 2)
    return {
        "method": method, "path": path, "format": kind.lower(), "controller": controller, "action": action,
        "status": status, "allocations": draw.randrange(10**5), "duration": duration, "view": round(duration / 2, 2),
        "db": round(duration / 4, 2), "request_id": f"{draw.getrandbits(128):032x}",
        "remote_ip": f"198.51.100.{draw.randrange(256)}", "params": {"page": str(draw.randrange(40))},
        "@timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "@version": "1",
        "message": f"[{status}] {method} {path} ({endpoint})",
    }  # fmt: skip


def _tail(draw: random.Random) -> str:
    pod = "web-6f7d8c9b5d-" + "".join(draw.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(5))
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web"
    names = {
        "pod_name": pod, "namespace_name": "production", "pod_id": f"{draw.getrandbits(128):032x}",
        "labels": {"app": "web", "app.kubernetes.io/name": "web", "pod-template-hash": "6f7d8c9b5d"},
        "host": f"ip-10-0-{draw.getrandbits(8)}-{draw.getrandbits(8)}.eu-west-1.compute.internal",
        "container_name": "web", "docker_id": f"{draw.getrandbits(256):064x}",
        "container_hash": f"{image}@sha256:{draw.getrandbits(256):064x}", "container_image": f"{image}:2026.01.02-1",
    }  # fmt: skip
    inner = json.dumps({"kubernetes": names}, separators=(",", ":"))[1:]
    return json.dumps(inner)[1:]


def _write(file: object, lines: Iterator[bytes], size: int) -> None:
    written, batch = 0, bytearray()
    for line in lines:
        batch += line + b"\n"
        if len(batch) > 1 << 20:
            written += file.write(batch)  # type: ignore[attr-defined]
            batch.clear()
            if written >= size:
                return


def main() -> None:
    """Write one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--envelope", choices=("bare", "cloudwatch"), default="bare")
    given = parser.parse_args()
    write = write_cloudwatch if given.envelope == "cloudwatch" else write_rails
    write(given.file, given.mb * 1_000_000, given.seed)


if __name__ == "__main__":
    main()
