"""Pages for people, all readable without JavaScript: kills, one kill with its report, a workload, a thread."""

from __future__ import annotations

import re
import time
import zlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException

from oomscope import __version__
from oomscope.redact import printable
from oomscope.serve import auth, reading
from oomscope.serve.limits import TooLarge, TooSlow, read_body
from oomscope.units import format_bytes, iso

if TYPE_CHECKING:
    from jinja2 import Environment

    from oomscope.serve.settings import Settings

CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_META_CSP = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]{1,2000})">')
_ID = re.compile(r"[0-9a-f]{16}")
_ASSETS = {"app.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8"}


class LogInFirst(HTTPException):
    """Sends a browser to the login page; everything else is told 401."""

    def __init__(self, request: Request) -> None:
        if "text/html" in request.headers.get("accept", ""):
            to = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            super().__init__(303, "Log in first.", {"Location": "/login?to=" + quote(to, safe="/")})
        else:
            super().__init__(401, "No or wrong credentials.", {"WWW-Authenticate": "Bearer"})


def readable(request: Request) -> bool:
    """Whether whoever asks may read."""
    peer = request.client.host if request.client else None
    return auth.may_read(_settings(request), request.headers, request.cookies, peer, time.time())


def guard(request: Request) -> None:
    """Dependency of everything that shows something."""
    if not readable(request):
        raise LogInFirst(request)


router = APIRouter(include_in_schema=False)
guarded = APIRouter(dependencies=[Depends(guard)], include_in_schema=False)


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.oomscope.settings
    return settings


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("oomscope.serve"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["version"] = __version__  # a style of the version before does not fit
    environment.filters |= {
        "clean": lambda text: printable(str(text), 300) if text is not None else "-",
        "clock": lambda at: at.strftime("%Y-%m-%d %H:%M:%S") if at else "-",
        "iso": lambda at: iso(at) or "",
        "size": format_bytes,
        "segment": lambda text: quote(str(text), safe=""),
    }
    return environment


def _page(request: Request, name: str, status: int = 200, **context: Any) -> HTMLResponse:
    session = auth.COOKIE in request.cookies
    text = _environment().get_template(name).render(session=session, **context)
    return HTMLResponse(text, status, headers={"Content-Security-Policy": CSP})


def error_page(request: Request, status: int, error: str) -> HTMLResponse:
    """What a browser is shown instead of a page."""
    return _page(request, "error.html.j2", status, code=status, error=error)


# ------------------------------------------------------------------------------------------------------------- login


@router.get("/login")
def login_page(request: Request) -> Response:
    """A form for the token."""
    return _page(request, "login.html.j2", wrong=False, to=_inside(request.query_params.get("to", "/")))


@router.post("/login")
async def login(request: Request) -> Response:
    """The token against a session cookie."""
    settings, state = _settings(request), request.app.state.oomscope
    try:
        form = parse_qs((await read_body(request, 4096)).decode("utf-8", "replace"), max_num_fields=8)
    except (TooLarge, TooSlow, ValueError):
        form = {}
    to = _inside(form.get("to", ["/"])[0])
    if settings.page_token is None or not auth.token_fits(settings, form.get("token", [""])[0]):
        if wait := state.strangers.take(request.client.host if request.client else ""):
            raise HTTPException(429, "Too many attempts.", {"Retry-After": str(int(wait) + 1)})
        return _page(request, "login.html.j2", 401, wrong=True, to=to)
    answer = RedirectResponse(to, 303)
    answer.set_cookie(
        auth.COOKIE,
        auth.session(settings.page_token, time.time()),
        max_age=auth.SESSION_S,
        httponly=True,
        samesite="strict",
        secure=(settings.serve.public_url or "").startswith("https://"),
    )
    return answer


@router.post("/logout")
def logout() -> Response:
    """Forget the session cookie."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(auth.COOKIE)
    return answer


def _inside(to: str) -> str:
    """A path of ours, never another site: no scheme, no ``//``, no backslash, no control character."""
    return to if re.fullmatch(r"/(?![/\\])[\w/%.~-]{0,500}(\?[\w/%.~=&+-]{0,1000})?", to, re.ASCII) else "/"


@router.get("/static/{name}")
def asset(name: str) -> Response:
    """Style and script. They hold nothing of anybody's."""
    if name not in _ASSETS:
        raise HTTPException(404, "There is no such page.")
    text = (files("oomscope.serve") / "static" / name).read_text(encoding="utf-8")
    return Response(text, media_type=_ASSETS[name], headers={"Cache-Control": "max-age=300"})


# ------------------------------------------------------------------------------------------------------------- pages


@guarded.get("/")
def home(request: Request) -> Response:
    """Kills, newest first, with filters."""
    wanted = reading.Filter.of(request.query_params)
    found = reading.list_kills(request.app.state.oomscope.store, wanted)
    watching = _settings(request).serve.watch == "on"
    return _page(
        request,
        "kills.html.j2",
        wanted=wanted,
        narrowed=wanted != reading.Filter(),
        watching=watching,
        **found,
    )


@guarded.get("/kills/{kill_id}")
def kill(request: Request, kill_id: str) -> Response:
    """The report with a line about its progress; before there is one, the progress alone."""
    found = reading.one_kill(request.app.state.oomscope.store, _known(kill_id))
    if found is None:
        raise HTTPException(404, "There is no such kill, or it was forgotten.")
    if found["page"] is None:
        return _page(request, "progress.html.j2", **found)
    bar = _environment().get_template("bar.html.j2").render(**found)
    return _with_bar(zlib.decompress(found["page"]).decode(), bar)


@guarded.get("/kills/{kill_id}/report.json")
def document(request: Request, kill_id: str) -> Response:
    """The Report document."""
    found = reading.document(request.app.state.oomscope.store, _known(kill_id))
    if found is None:
        raise HTTPException(404, "There is no report yet.")
    return Response(zlib.decompress(found), media_type="application/json")


@guarded.get("/kills/{kill_id}/events")
async def events(request: Request, kill_id: str) -> Response:
    """Server-sent events: one whenever the state of this kill changes."""
    from oomscope.serve.stream import changes

    return await changes(request, _known(kill_id))


@guarded.get("/workloads/{namespace}/{workload}")
def workload(request: Request, namespace: str, workload: str) -> Response:
    """All kills of a workload, and what they have in common."""
    found = reading.workload(request.app.state.oomscope.store, namespace, workload)
    if found is None:
        raise HTTPException(404, "No kill of this workload is known.")
    return _page(request, "workload.html.j2", namespace=namespace, workload=workload, **found)


@guarded.get("/threads/{thread_id}")
def thread(request: Request, thread_id: str) -> Response:
    """The kills that are told of together."""
    number = int(thread_id) if re.fullmatch(r"\d{1,18}", thread_id, re.ASCII) else 0
    found = reading.thread(request.app.state.oomscope.store, number)
    if found is None:
        raise HTTPException(404, "There is no such thread.")
    return _page(request, "thread.html.j2", **found)


def _known(kill_id: str) -> str:
    if not _ID.fullmatch(kill_id):
        raise HTTPException(404, "There is no such kill.")
    return kill_id


def _with_bar(page: str, bar: str) -> HTMLResponse:
    """The renderer's page under a bar of ours. Its own policy moves into the header, widened by our own files."""
    found = _META_CSP.search(page)
    if found is None:
        raise HTTPException(500, "The stored page has no content policy.")
    own = found[1].replace("&#39;", "'").replace("form-action 'none'", "form-action 'self'")
    widened = re.sub(r"(style-src|script-src) ", r"\1 'self' ", own)
    policy = f"{widened}; connect-src 'self'; frame-ancestors 'none'"
    page = (
        page[: found.start()]
        + f'<link rel="stylesheet" href="/static/app.css?v={__version__}">'
        + page[found.end() :]
    )
    page = re.sub(r"(<body[^>]{0,200}>)", lambda match: match[1] + bar, page, count=1)
    return HTMLResponse(page, headers={"Content-Security-Policy": policy})


router.include_router(guarded)
