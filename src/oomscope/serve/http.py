"""Calls to the destinations of the configuration: bounded in time and size, redirects never followed.

What matters afterwards is whether the other side may have acted: ``NotSent`` and ``Refused`` say it has not,
``Unknown`` says nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import orjson
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from oomscope.redact import printable, scrub

MAX_ANSWER = 2 << 20


class CallFailed(Exception):
    """``retry_after_s`` is what the other side asked for."""

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(printable(scrub(why), 300))
        self.retry_after_s = retry_after_s


class NotSent(CallFailed):
    """No connection: the other side knows nothing of it."""


class Unknown(CallFailed):
    """The request went out and no usable answer came back."""


class Settling(CallFailed):
    """An earlier attempt may still come through on the other side: nothing to do but wait."""


class Refused(CallFailed):
    """The other side answered that it did not do it. ``of_message``: it would take another message."""

    def __init__(
        self, why: str, status: int, retry_after_s: float | None = None, *, of_message: bool = False
    ) -> None:
        super().__init__(why, retry_after_s)
        self.status, self.of_message = status, of_message or status in (400, 413, 422)


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer. ``data`` is its JSON, None when it is none."""

    status: int
    data: Any


class Caller:
    """An HTTP client for JSON APIs. Safe to use from several threads."""

    def __init__(self, timeout_s: float) -> None:
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, 5.0))
        self._client = httpx.Client(timeout=timeout, follow_redirects=False)
        self._attempts = Retrying(
            retry=retry_if_exception_type(NotSent),
            stop=stop_after_attempt(2),
            wait=wait_exponential_jitter(multiplier=0.2, max=1.0),
            reraise=True,
        )

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
        body: Any = None,
        content: bytes | None = None,
    ) -> Answer:
        """One call; a connection that cannot be made is tried twice. Raises ``CallFailed``."""
        data = content if content is not None else (orjson.dumps(body) if body is not None else None)
        sent = {"User-Agent": "oomscope", "Accept": "application/json", **(headers or {})}
        if data is not None:
            sent.setdefault("Content-Type", "application/json; charset=utf-8")
        answer: Answer = self._attempts(self._once, method, url, sent, params, data)
        return answer

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _once(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        params: dict[str, str] | None,
        data: bytes | None,
    ) -> Answer:
        try:
            with self._client.stream(method, url, headers=headers, params=params, content=data) as response:
                return _read(response)
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.UnsupportedProtocol,
        ) as error:
            raise NotSent(f"no connection: {error}") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unknown(f"{type(error).__name__}: {error}") from error


def _read(response: httpx.Response) -> Answer:
    body = bytearray()
    for part in response.iter_bytes(1 << 16):
        body += part
        if len(body) > MAX_ANSWER:
            raise Unknown("the answer is larger than 2 MiB")
    status, wait = response.status_code, _retry_after(response.headers.get("Retry-After"))
    if status >= 500 or status == 408:
        raise Unknown(f"HTTP {status}: {_start(body)}", wait)
    if status >= 300:
        raise Refused(f"HTTP {status}: {_start(body)}", status, wait)
    try:
        return Answer(status, orjson.loads(bytes(body)))
    except orjson.JSONDecodeError:
        return Answer(status, None)


def _start(body: bytearray) -> str:
    return bytes(body[:200]).decode("utf-8", "replace")


def _retry_after(value: str | None) -> float | None:
    """Seconds; a date, or nonsense, is None."""
    return float(value) if value and value.isascii() and value.isdecimal() and len(value) < 7 else None
