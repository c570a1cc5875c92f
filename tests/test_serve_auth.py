"""Who may send and who may read."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest
from starlette.datastructures import Headers

from oomscope.config import Config
from oomscope.errors import UsageError
from oomscope.serve import auth
from oomscope.serve.settings import Settings, resolve

BODY = b'{"alerts": [ ]}  '  # the blanks count: the signature is over the bytes as they came
NOW = 1_795_000_000.0
ENV = {"B": "bearer-secret", "U": "grafana", "P": "pass:word-1", "H": "hmac-secret", "PAGES": "page-token"}


def settings(**alerts: Any) -> Settings:
    pages = alerts.pop("pages", {"token_env": "PAGES"})
    return resolve(Config.model_validate({"serve": {"alerts": alerts, "pages": pages}}), ENV)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def sign(body: bytes, stamp: str | None = None, secret: str = "hmac-secret") -> str:
    signed = body if stamp is None else stamp.encode() + b":" + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


ALL = {"bearer_env": "B", "basic_user_env": "U", "basic_password_env": "P", "hmac_env": "H"}


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({"Authorization": "Bearer bearer-secret"}, True),
        ({"Authorization": "bearer bearer-secret"}, True),
        ({"Authorization": "Bearer bearer-secre"}, False),
        ({"Authorization": "Bearer "}, False),
        ({"Authorization": "Token bearer-secret"}, False),
        ({"Authorization": basic("grafana:pass:word-1")}, True),  # a password may hold a colon
        ({"Authorization": basic("grafana:wrong")}, False),
        ({"Authorization": basic("grafana")}, False),
        ({"Authorization": "Basic %%%"}, False),
        ({"Authorization": basic("bearer-secret")}, False),
        ({"X-Grafana-Alerting-Signature": sign(BODY)}, True),
        ({"x-grafana-alerting-signature": sign(BODY)}, True),
        ({"X-Grafana-Alerting-Signature": "sha256=" + sign(BODY)}, False),
        ({"X-Grafana-Alerting-Signature": sign(BODY).upper()}, False),
        ({"X-Grafana-Alerting-Signature": sign(BODY.strip())}, False),
        ({"X-Grafana-Alerting-Signature": sign(BODY, secret="other")}, False),
        ({"X-Grafana-Alerting-Signature": "é"}, False),
        ({}, False),
        ({"Cookie": "oomscope_session=1"}, False),
    ],
)
def test_each_way_of_sending(headers: dict[str, str], good: bool) -> None:
    problem = auth.alert_problem(settings(**ALL), Headers(headers), BODY, NOW)
    assert (problem is None) == good


@pytest.mark.parametrize(
    ("stamp", "signed", "good"),
    [
        ("1795000000", "1795000000", True),
        ("1794999700", "1794999700", True),  # 300 s old
        ("1795000300", "1795000300", True),
        ("1794999699", "1794999699", False),  # replayed
        ("1795000301", "1795000301", False),
        ("1795000000", "1795000001", False),  # the stamp was changed
        ("1795000000", None, False),  # signed without it
        ("1795000000.0", "1795000000.0", False),
        ("-1795000000", "-1795000000", False),
        ("١٧٩٥٠٠٠٠٠٠", "1795000000", False),
        ("9" * 400, "9" * 400, False),
        ("", "", False),
    ],
)
def test_signature_with_timestamp(stamp: str, signed: str | None, good: bool) -> None:
    with_stamp = settings(hmac_env="H", hmac_timestamp_header="X-Stamp")
    headers = Headers(
        raw=[
            (b"x-stamp", stamp.encode("utf-8")),
            (b"x-grafana-alerting-signature", sign(BODY, signed).encode()),
        ]
    )
    assert (auth.alert_problem(with_stamp, headers, BODY, NOW) is None) == good


def test_a_known_vector_of_grafana() -> None:
    """Lowercase hex of HMAC-SHA256(secret, body), and with ``timestamp + ":"`` in front."""
    secret, body = b"key", b"The quick brown fox jumps over the lazy dog"
    known = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
    assert hmac.new(secret, body, hashlib.sha256).hexdigest() == known
    config = Config.model_validate({"serve": {"alerts": {"hmac_env": "K"}, "pages": {"token_env": "PAGES"}}})
    with_key = resolve(config, {**ENV, "K": "key" * 3})
    signature = hmac.new(b"keykeykey", body, hashlib.sha256).hexdigest()
    headers = Headers({"X-Grafana-Alerting-Signature": signature})
    assert auth.alert_problem(with_key, headers, body, NOW) is None


def test_a_way_that_is_not_configured_does_not_work() -> None:
    only = settings(hmac_env="H")
    for headers in (
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer None"},
        {"Authorization": basic(":")},
    ):
        assert auth.alert_problem(only, Headers(headers), BODY, NOW)


@pytest.mark.parametrize(
    ("serve", "word"),
    [
        ({"pages": {"token_env": "PAGES"}}, "nobody could send"),
        ({"alerts": {"bearer_env": "B"}}, "nobody could read"),
        ({"alerts": {"bearer_env": "MISSING"}, "pages": {"token_env": "PAGES"}}, "MISSING is not set"),
        ({"alerts": {"basic_user_env": "U"}, "pages": {"token_env": "PAGES"}}, "go together"),
        ({"alerts": {"bearer_env": "B"}, "pages": {"user_header": "X-User"}}, "trusted_proxies"),
        (
            {
                "alerts": {"bearer_env": "B"},
                "pages": {"open": True},
                "webhook": {"url": "file:///etc/passwd"},
            },
            "http",
        ),
    ],
)
def test_open_by_mistake_is_refused(serve: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        resolve(Config.model_validate({"serve": serve}), ENV)


def test_secrets_do_not_show() -> None:
    assert not any(secret in repr(settings(**ALL)) for name, secret in ENV.items() if name != "U")


@pytest.mark.parametrize(
    ("headers", "cookie", "peer", "good"),
    [
        ({"Authorization": "Bearer page-token"}, "", "1.2.3.4", True),
        ({"Authorization": "Bearer bearer-secret"}, "", "1.2.3.4", False),  # senders may not read
        ({"X-User": "alice"}, "", "10.0.0.7", True),
        ({"X-User": "alice"}, "", "1.2.3.4", False),
        ({"X-User": "alice", "X-Forwarded-For": "10.0.0.7"}, "", "1.2.3.4", False),
        ({"X-User": " "}, "", "10.0.0.7", False),
        ({"X-User": "alice"}, "", None, False),
        ({}, "good", "1.2.3.4", True),
        ({}, "expired", "1.2.3.4", False),
        ({}, "prolonged", "1.2.3.4", False),
        ({}, "1795000100.", "1.2.3.4", False),
        ({}, "é.é", "1.2.3.4", False),
    ],
)
def test_readers(headers: dict[str, str], cookie: str, peer: str | None, good: bool) -> None:
    pages = {"token_env": "PAGES", "user_header": "X-User", "trusted_proxies": ["10.0.0.0/8"]}
    mine = settings(bearer_env="B", pages=pages)
    cookies = {
        "good": auth.session(b"page-token", NOW),
        "expired": auth.session(b"page-token", NOW - auth.SESSION_S - 1),
        "prolonged": str(int(NOW) + 10**6) + "." + auth.session(b"page-token", NOW).split(".")[1],
    }
    jar = {auth.COOKIE: cookies.get(cookie, cookie)}
    assert auth.may_read(mine, Headers(headers), jar, peer, NOW) == good
