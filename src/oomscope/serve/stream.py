"""Live progress as server-sent events. Bounded in number and in time; a browser comes back by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi import Request, Response
from sqlalchemy.exc import SQLAlchemyError
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from oomscope.serve import reading
from oomscope.serve.store import Store

LISTENERS = 100
LOOK_S = 1.0
LAST_S = 15 * 60.0


async def changes(request: Request, kill_id: str) -> Response:
    """A stream of ``{state, version, progress}``, ending when the kill is not open any more."""
    app = request.app.state
    if getattr(app, "listeners", 0) >= LISTENERS:
        raise HTTPException(503, "Too many pages are watching; reload the page to see what is new.")
    return EventSourceResponse(_events(app, app.oomscope.store, kill_id), ping=20)


async def _events(app: Any, store: Store, kill_id: str) -> AsyncIterator[dict[str, str]]:
    app.listeners = getattr(app, "listeners", 0) + 1
    told, until = None, time.monotonic() + LAST_S
    try:
        while time.monotonic() < until:
            now = await _state(store, kill_id)
            if now != told:
                told = now
                yield {"event": "state", "data": orjson.dumps(now).decode()}
            if now is None or now.get("state", "open") != "open":
                return
            await asyncio.sleep(LOOK_S)
    finally:
        app.listeners -= 1


async def _state(store: Store, kill_id: str) -> dict[str, Any] | None:
    """The state now; while the database is away, that it is open."""
    try:
        return await run_in_threadpool(reading.state_of, store, kill_id)
    except SQLAlchemyError:
        return {"state": "open", "version": -1, "progress": "the database does not answer"}
