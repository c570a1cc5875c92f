"""Who may send alerts and who may read. Every comparison takes the same time, whatever differs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Mapping

from starlette.datastructures import Headers

from oomscope.serve.settings import Settings

REPLAY_S = 300
SESSION_S = 12 * 3600
COOKIE = "oomscope_session"


def alert_problem(settings: Settings, headers: Headers, body: bytes, now: float) -> str | None:
    """Why this request may not bring an alert; None when any configured way proves it may.

    The signature is over the bytes as they came. ``now`` is in seconds since the epoch.
    """
    if settings.serve.alerts.open:
        return None
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if (
        settings.bearer
        and scheme.lower() == "bearer"
        and _same(credentials.strip().encode(), settings.bearer)
    ):
        return None
    if settings.basic and scheme.lower() == "basic" and _same(_basic(credentials), settings.basic):
        return None
    if settings.hmac:
        return _signature_problem(settings, settings.hmac, headers, body, now)
    return "Wrong credentials." if scheme else "No credentials: an Authorization header is needed."


def _same(given: bytes, secret: bytes) -> bool:
    """Hashes first, so that not even the length shows."""
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(secret).digest())


def _basic(credentials: str) -> bytes:
    try:
        return base64.b64decode(credentials.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _signature_problem(
    settings: Settings, secret: bytes, headers: Headers, body: bytes, now: float
) -> str | None:
    """Grafana: lowercase hex HMAC-SHA256 of the body, or of ``timestamp:body`` when a timestamp header is agreed on."""
    auth = settings.serve.alerts
    given = headers.get(auth.hmac_header.lower(), "").strip()
    if not given:
        return f"No credentials: the header {auth.hmac_header} is missing."
    signed = body
    if auth.hmac_timestamp_header:
        stamp = headers.get(auth.hmac_timestamp_header.lower(), "").strip()
        if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= 12):
            return f"The header {auth.hmac_timestamp_header} is missing or no Unix time in seconds."
        if abs(now - int(stamp)) > REPLAY_S:
            return "The signature is older or newer than 300 seconds: check both clocks."
        signed = stamp.encode() + b":" + body
    wanted = hmac.new(secret, signed, hashlib.sha256).hexdigest()
    if hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode()):
        return None
    return "The signature does not fit: compare the secret and the timestamp header's name on both sides."


# ---------------------------------------------------------------------------------------------------------- readers


def may_read(
    settings: Settings, headers: Headers, cookies: Mapping[str, str], peer: str | None, now: float
) -> bool:
    """Whether this request may see pages: token, session cookie, or a user named by a trusted proxy."""
    pages = settings.serve.pages
    if pages.open:
        return True
    if settings.page_token:
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token_fits(settings, credentials.strip()):
            return True
        if _session_fits(settings.page_token, cookies.get(COOKIE, ""), now):
            return True
    if pages.user_header and _trusted(settings, peer):
        return bool(headers.get(pages.user_header.lower(), "").strip())
    return False


def token_fits(settings: Settings, given: str) -> bool:
    """Whether this is the readers' token."""
    return settings.page_token is not None and _same(given.encode("utf-8", "replace"), settings.page_token)


def session(token: bytes, now: float) -> str:
    """A cookie value that stands for the token for twelve hours and does not contain it."""
    until = str(int(now) + SESSION_S)
    return f"{until}.{_session_mac(token, until)}"


def _session_fits(token: bytes, cookie: str, now: float) -> bool:
    until, _, mac = cookie.partition(".")
    if not (until.isascii() and until.isdecimal() and len(until) <= 12):
        return False
    good = hmac.compare_digest(mac.encode("utf-8", "replace"), _session_mac(token, until).encode())
    return good and int(until) > now


def _session_mac(token: bytes, until: str) -> str:
    return hmac.new(token, b"oomscope session " + until.encode(), hashlib.sha256).hexdigest()


def _trusted(settings: Settings, peer: str | None) -> bool:
    """Only the address of the connection itself counts, never a forwarded one."""
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return False
    return any(address in network for network in settings.proxies)
