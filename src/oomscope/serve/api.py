"""The application: alerts come in, pages go out. Nothing slow happens here; investigations run in another process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oomscope import __version__
from oomscope.alerts import label_names
from oomscope.serve import intake
from oomscope.serve.auth import alert_problem
from oomscope.serve.inbox import Inbox, NotStored
from oomscope.serve.limits import Bucket, PerAddress, TooLarge, TooSlow, read_body
from oomscope.serve.metrics import Figures
from oomscope.serve.pages import error_page, guard, readable, router
from oomscope.serve.settings import Settings
from oomscope.serve.store import Store

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
}


class Accepted(BaseModel):
    """What was understood of a body."""

    understood: Literal["grafana", "alertmanager", "grafana_legacy", "minimal", "text", "unknown"]
    test: bool = Field(description="The contact point was tested.")
    accepted: list[dict[str, str]] = Field(description="Containers that will be investigated.")
    resolved: int
    notes: list[str]


class Problem(BaseModel):
    """Why a request was not served, in a sentence, and what to do about it."""

    error: str
    fix: str = ""


@dataclass
class State:
    """What the handlers share, as ``app.state.oomscope``."""

    settings: Settings
    store: Store
    inbox: Inbox
    figures: Figures
    labels: dict[str, tuple[str, ...]]
    rate: Bucket
    strangers: PerAddress
    worker_alive: Callable[[], bool] | None


def build(
    settings: Settings, store: Store, *, worker_alive: Callable[[], bool] | None = None, role: str = "all"
) -> FastAPI:
    """The application on an open store. ``role`` worker has the probes and metrics only."""
    rate = settings.serve.requests_per_second
    state = State(
        settings,
        store,
        Inbox(store),
        Figures(store),
        label_names(settings.config.label_map),
        Bucket(rate, 2 * rate),
        PerAddress(5.0, 20.0),
        worker_alive,
    )
    app = FastAPI(
        title="oomscope",
        version=__version__,
        description="Takes alerts about restarted containers and tells which request filled the memory.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan(state),
    )
    app.state.oomscope = state
    app.add_middleware(_SecurityHeaders)
    app.add_exception_handler(HTTPException, _http_problem)
    _probes(app)
    if role != "worker":
        _alerts(app)
        app.include_router(router)
    return app


def _lifespan(state: State) -> Any:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        state.inbox.start()
        yield
        await run_in_threadpool(state.inbox.stop)

    return lifespan


class _SecurityHeaders:
    """Adds to every answer the headers it does not have. Plain ASGI: the usual base class costs a task a request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sending if scope["type"] == "http" else send)


async def _http_problem(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = getattr(error, "headers", None) or {}
    text = str(getattr(error, "detail", ""))
    if status >= 400 and "text/html" in request.headers.get("accept", ""):
        answer = error_page(request, status, text)
        answer.headers.update(headers)
        return answer
    return problem(status, text, headers=headers)


def problem(status: int, error: str, fix: str = "", headers: dict[str, str] | None = None) -> JSONResponse:
    """An answer that can be read where only its first 1,024 bytes are shown."""
    return JSONResponse({"error": error[:600], "fix": fix[:250]}, status, headers=headers)


# ------------------------------------------------------------------------------------------------------------ alerts

_BODY = {
    "requestBody": {
        "required": True,
        "description": "Grafana, Alertmanager, legacy Grafana, {namespace, pod, container}, or the text of a message.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "text/plain": {"schema": {"type": "string"}},
        },
    }
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem, "description": text}
    for code, text in {
        400: "Nothing usable in the body.",
        401: "No or wrong credentials.",
        408: "The body did not arrive in time.",
        413: "The body is too large.",
        415: "The body is compressed.",
        429: "Too many requests.",
        503: "Not stored; send it again.",
    }.items()
}


def _alerts(app: FastAPI) -> None:
    for method in ("POST", "PUT"):
        app.add_api_route(
            "/api/v1/alerts",
            take_alerts,
            methods=[method],
            status_code=202,
            response_model=Accepted,
            responses=_ANSWERS,
            openapi_extra=_BODY,
            operation_id=f"{method.lower()}_alerts",
            summary="Take alerts",
        )

    @app.get("/openapi.json", include_in_schema=False, dependencies=[Depends(guard)])
    def openapi() -> dict[str, Any]:
        return app.openapi()


async def take_alerts(request: Request) -> Response:
    """Stored before it is answered; the answer says what was understood."""
    state: State = request.app.state.oomscope
    response = await _take(state, request)
    state.figures.requests.labels(str(response.status_code)).inc()
    return response


async def _take(state: State, request: Request) -> Response:
    if wait := state.rate.take():
        return _too_many(wait)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        return problem(415, "The body is compressed.", "Send it as it is.")
    try:
        body = await read_body(request, state.settings.serve.max_body_bytes)
    except TooLarge:
        limit = state.settings.serve.max_body_bytes
        return problem(
            413, f"The body is larger than {limit:,} bytes.", "Set maxAlerts in the contact point."
        )
    except TooSlow:
        return problem(408, "The body did not arrive in time.")
    now = time.time()
    if refused := alert_problem(state.settings, request.headers, body, now):
        if wait := state.strangers.take(request.client.host if request.client else ""):
            return _too_many(wait)
        return problem(401, refused, "See the contact point's settings.", {"WWW-Authenticate": "Bearer"})
    return await _store(state, body)


async def _store(state: State, body: bytes) -> Response:
    began = time.perf_counter()
    try:
        understood = intake.understand(body, datetime.now(UTC), state.labels)
        await state.inbox.put(understood)
    except intake.Unusable as error:
        return problem(400, str(error), "See docs/serve.md.")
    except NotStored as error:
        return problem(
            503, f"The alert could not be stored: {error}.", "Send it again.", {"Retry-After": "10"}
        )
    state.figures.accepting.observe(time.perf_counter() - began)
    return JSONResponse(understood.answer, 202)


def _too_many(wait: float) -> Response:
    return problem(429, "Too many requests.", "Send fewer, or raise serve.requests_per_second.",
                   {"Retry-After": str(int(wait) + 1)})  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ probes


def _probes(app: FastAPI) -> None:
    app.add_api_route("/healthz", healthz, include_in_schema=True, response_class=PlainTextResponse)
    app.add_api_route(
        "/readyz", readyz, response_class=PlainTextResponse, responses={503: {"description": "Not ready."}}
    )
    app.add_api_route("/metrics", metrics, response_class=PlainTextResponse, responses={401: _ANSWERS[401]})


async def healthz() -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """Alerts can be stored and investigated; otherwise why not."""
    state: State = request.app.state.oomscope
    try:
        async with asyncio.timeout(8):
            trouble = await run_in_threadpool(state.store.problem)
    except TimeoutError:
        trouble = "it does not answer"
    if trouble := trouble or state.inbox.problem():
        return PlainTextResponse(f"database: {trouble}\n", 503)
    if state.worker_alive and not state.worker_alive():
        return PlainTextResponse("worker: not running\n", 503)
    return PlainTextResponse("ready\n")


async def metrics(request: Request) -> Response:
    """Prometheus text. Needs the readers' credentials unless ``serve.pages.metrics_open``."""
    state: State = request.app.state.oomscope
    if not state.settings.serve.pages.metrics_open and not readable(request):
        return problem(401, "No or wrong credentials.", headers={"WWW-Authenticate": "Bearer"})
    text = await run_in_threadpool(generate_latest, state.figures.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
