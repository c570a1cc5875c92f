"""The HTTP side of a Prometheus-compatible API: signing in, asking with bounds, and what each failure means."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any, Protocol

import httpx

from oomscope.errors import SourceError, UsageError

MAX_ANSWER_BYTES = 64 * 1024 * 1024
READ_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
_WRONG_URL = "is the URL that of a Prometheus API?"


class Endpoint(Protocol):
    """Where the API is and how to sign in there."""

    @property
    def url(self) -> str:
        """Base URL, without ``/api/v1``."""

    @property
    def kind(self) -> str:
        """prometheus, amp or cloudwatch."""

    @property
    def region(self) -> str | None:
        """AWS region of amp and cloudwatch."""

    @property
    def profile(self) -> str | None:
        """AWS profile of amp and cloudwatch."""

    @property
    def token_env(self) -> str | None:
        """Name of the environment variable with a bearer token."""

    @property
    def user_env(self) -> str | None:
        """Name of the variable with the user of basic authentication."""

    @property
    def password_env(self) -> str | None:
        """Name of the variable with its password."""


def open_client(endpoint: Endpoint, seconds_left: float | None = None) -> httpx.Client:
    """A client that gives up in time and follows no redirect (a login page is no answer)."""
    read = READ_TIMEOUT_S if seconds_left is None else max(0.1, min(READ_TIMEOUT_S, seconds_left))
    timeout = httpx.Timeout(read, connect=min(CONNECT_TIMEOUT_S, read))
    base = endpoint.url.rstrip("/").removesuffix("/api/v1")
    try:
        return httpx.Client(base_url=base, timeout=timeout, auth=_auth(endpoint), follow_redirects=False)
    except (httpx.InvalidURL, ValueError) as error:
        raise UsageError(
            f"prometheus.url is not a URL: {error}", fix="https://prometheus.example.com", slug="config"
        ) from error


def _auth(endpoint: Endpoint) -> Any:
    if endpoint.kind != "prometheus":
        from oomscope.sources.sigv4 import SigV4

        service = "aps" if endpoint.kind == "amp" else "monitoring"
        return SigV4(service, endpoint.region, endpoint.profile)
    if endpoint.token_env:
        token = _secret(endpoint.token_env)
        return lambda request: _bearer(request, token)
    if endpoint.user_env and endpoint.password_env:
        return httpx.BasicAuth(_secret(endpoint.user_env), _secret(endpoint.password_env))
    return None


def _secret(variable: str) -> str:
    """The value of the variable; a line break at its end (``$(cat file)`` and editors) is not part of it."""
    value = os.environ.get(variable, "").strip()
    if not value or not value.isascii() or not value.isprintable():
        wrong = "is empty" if not value else "holds characters that cannot be sent"
        raise SourceError(
            "denied", f"the environment variable {variable} {wrong}", fix=f"export {variable}=..."
        )
    return value


def _bearer(request: httpx.Request, token: str) -> httpx.Request:
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def ask(client: httpx.Client, path: str, form: dict[str, str], *, method: str = "POST") -> dict[str, Any]:
    """The JSON answer of ``/api/v1/PATH``, with up to three tries when the server is busy. Raises SourceError."""
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    tries = Retrying(
        stop=stop_after_attempt(3),
        wait=wait_exponential(0.2, max=2),
        retry=retry_if_exception_type(_BusyError),
        reraise=True,
    )
    return tries(_ask_once, client, method, f"/api/v1/{path}", form)


class _BusyError(SourceError):
    """The server may answer in a moment: 429, 502, 503, 504, or a connection that broke."""


def _ask_once(client: httpx.Client, method: str, path: str, form: dict[str, str]) -> dict[str, Any]:
    import orjson

    sent: dict[str, Any] = {"data": form} if method == "POST" else {"params": form}
    try:
        until = time.monotonic() + (client.timeout.read or READ_TIMEOUT_S)
        with client.stream(method, path, **sent) as response:
            body = b"".join(_bounded(response, until))
    except httpx.TimeoutException as error:  # not tried again: that would only take as long once more
        raise SourceError("timed_out", f"no answer in time ({type(error).__name__})") from error
    except httpx.UnsupportedProtocol as error:
        raise SourceError("unreachable", str(error), fix=_WRONG_URL) from error
    except httpx.HTTPError as error:
        detail = str(error) or type(error).__name__
        raise _BusyError("unreachable", detail, fix="check the URL and network") from error
    try:
        answer = orjson.loads(body)  # bounds the nesting depth
    except orjson.JSONDecodeError:
        answer = None
    answer = answer if isinstance(answer, dict) else None
    _check(response.status_code, answer, body)
    return answer or {}


def _bounded(response: httpx.Response, until: float) -> Iterator[bytes]:
    total = 0
    for chunk in response.iter_bytes():
        total += len(chunk)
        if time.monotonic() > until:  # the client's own timeout is for each piece, and a trickle has many
            raise SourceError("timed_out", "the answer was still coming in when the time was up")
        if total > MAX_ANSWER_BYTES:
            raise SourceError(
                "cut", "the answer is larger than 64 MiB", fix="add prometheus.labels to narrow it"
            )
        yield chunk


def _check(status: int, answer: dict[str, Any] | None, body: bytes) -> None:
    """Raise what a status, or an answer that is none, means."""
    said = str((answer or {}).get("error") or body[:200].decode("utf-8", "replace"))[:500]
    detail = f"HTTP {status}: {said}"
    if status in (401, 403):
        fix = "check the token or the IAM policy (oomscope doctor --policy)"
        raise SourceError("denied", detail, fix=fix)
    if 300 <= status < 400:
        raise SourceError("denied", f"HTTP {status}: redirected, perhaps to a login page", fix=_WRONG_URL)
    if status in (429, 502, 503, 504):
        raise _BusyError("timed_out" if status == 429 else "unreachable", detail)
    if status >= 500:
        raise SourceError("unreachable", detail)
    if status >= 400 or answer is None or answer.get("status") != "success":
        raise SourceError("unparsable", detail, fix=_WRONG_URL)
