"""The configuration of the service with its secrets read from the environment, checked once at start."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from oomscope.config import Config
from oomscope.config_serve import Serve
from oomscope.errors import UsageError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MIN_SECRET = 8


@dataclass(frozen=True)
class Settings:
    """What every part of the service needs to know. Secrets do not show when it is printed."""

    config: Config
    database_url: str = field(repr=False)
    data_dir: Path
    bearer: bytes | None = field(default=None, repr=False)
    basic: bytes | None = field(default=None, repr=False)  # user:password
    hmac: bytes | None = field(default=None, repr=False)
    page_token: bytes | None = field(default=None, repr=False)
    slack_token: str | None = field(default=None, repr=False)
    slack_webhook: str | None = field(default=None, repr=False)
    grafana_token: str | None = field(default=None, repr=False)
    webhook_secret: bytes | None = field(default=None, repr=False)
    proxies: tuple[Network, ...] = ()

    @property
    def serve(self) -> Serve:
        """The section ``[serve]``."""
        return self.config.serve

    def url(self, path: str) -> str | None:
        """A link to one of our own pages, when it is known how we are reached from outside."""
        base = self.serve.public_url
        return f"{base.rstrip('/')}{path}" if base else None


def resolve(config: Config, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the secrets and refuse what would be open to everybody by mistake. Raises ``UsageError``."""
    env = os.environ if environment is None else environment
    serve = config.serve
    data_dir = Path(serve.data_dir).absolute()
    user, password = (
        _secret(env, serve.alerts.basic_user_env, 1),
        _secret(env, serve.alerts.basic_password_env),
    )
    if (user is None) != (password is None):
        raise UsageError("basic_user_env and basic_password_env go together", slug="serve-auth")
    settings = Settings(
        config=config,
        database_url=env.get(serve.database_url_env) or f"sqlite:///{data_dir / 'oomscope.db'}",
        data_dir=data_dir,
        bearer=_bytes(_secret(env, serve.alerts.bearer_env)),
        basic=f"{user}:{password}".encode() if user else None,
        hmac=_bytes(_secret(env, serve.alerts.hmac_env)),
        page_token=_bytes(_secret(env, serve.pages.token_env)),
        slack_token=_secret(env, serve.slack.token_env),
        slack_webhook=_secret(env, serve.slack.webhook_url_env),
        grafana_token=_secret(env, serve.grafana.token_env),
        webhook_secret=_bytes(_secret(env, serve.webhook.secret_env)),
        proxies=_networks(serve.pages.trusted_proxies),
    )
    _check(settings)
    return settings


def _secret(env: Mapping[str, str], name: str | None, least: int = MIN_SECRET) -> str | None:
    if name is None:
        return None
    value = env.get(name, "").strip()
    if len(value) < least:
        raise UsageError(
            f"the environment variable {name} is {'shorter than 8 characters' if value else 'not set'}",
            likely="the secret was not given to this process",
            fix=f"set {name}, or remove its name from the configuration",
            slug="serve-auth",
        )
    return value


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else value.encode()


def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise UsageError(f"serve.pages.trusted_proxies: {error}", slug="serve-auth") from error


def _check(settings: Settings) -> None:
    serve = settings.serve
    if not (settings.bearer or settings.basic or settings.hmac or serve.alerts.open):
        raise UsageError(
            "nobody could send an alert: no credentials are configured",
            fix="set serve.alerts.bearer_env, basic_*_env or hmac_env (or open = true in a closed network)",
            slug="serve-auth",
        )
    if not (settings.page_token or serve.pages.user_header or serve.pages.open):
        raise UsageError(
            "nobody could read a report: no credentials are configured",
            fix="set serve.pages.token_env or serve.pages.user_header (or open = true in a closed network)",
            slug="serve-auth",
        )
    if serve.pages.user_header and not settings.proxies:
        raise UsageError(
            "serve.pages.user_header needs serve.pages.trusted_proxies",
            likely="anybody could set that header",
            fix='trusted_proxies = ["10.0.0.0/8"]',
            slug="serve-auth",
        )
    if settings.slack_token and not serve.slack.channel:
        raise UsageError(
            "serve.slack.token_env needs serve.slack.channel", fix='channel = "C0123456"', slug="serve"
        )
    for name, url in (
        ("public_url", serve.public_url),
        ("slack.api_url", serve.slack.api_url),
        ("the Slack webhook", settings.slack_webhook),
        ("grafana.url", serve.grafana.url),
        ("webhook.url", serve.webhook.url),
    ):
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise UsageError(f"serve: {name} is not an http(s) URL", slug="serve")
