"""Configuration of ``oomscope serve``. Every secret is the name of an environment variable, never a value."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AlertAuth(_Part):
    """How senders of alerts prove who they are. Any one of the configured ways is enough."""

    bearer_env: str | None = None
    basic_user_env: str | None = None
    basic_password_env: str | None = None
    hmac_env: str | None = None
    hmac_header: str = "X-Grafana-Alerting-Signature"
    hmac_timestamp_header: str | None = None  # without one a signed request can be replayed
    open: bool = False  # take alerts from anybody; for a closed network only


class PageAuth(_Part):
    """How readers of pages, metrics and reports prove who they are."""

    token_env: str | None = None
    user_header: str | None = None  # set by a reverse proxy, believed only from trusted_proxies
    trusted_proxies: tuple[str, ...] = ()  # CIDR
    metrics_open: bool = False
    open: bool = False


class Slack(_Part):
    """A bot token (threads and edits) or an incoming webhook (new messages only)."""

    token_env: str | None = None
    channel: str | None = None
    webhook_url_env: str | None = None  # the URL is a secret
    api_url: str = "https://slack.com/api"


class Grafana(_Part):
    """Annotations on the dashboard the alert came from."""

    url: str | None = None
    token_env: str | None = None


class Webhook(_Part):
    """One JSON POST a stage to a system of your own, signed with HMAC-SHA256."""

    url: str | None = None
    secret_env: str | None = None


class Serve(_Part):
    """The service. Times are seconds, sizes bytes."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: str | None = None
    data_dir: str = "oomscope-data"
    database_url_env: str = "OOMSCOPE_DATABASE_URL"  # unset: SQLite in data_dir
    bundles_s3: str | None = Field(default=None, pattern=r"^s3://[a-z0-9.-]{3,63}(/.*)?$")
    alerts: AlertAuth = Field(default_factory=AlertAuth)
    pages: PageAuth = Field(default_factory=PageAuth)
    slack: Slack = Field(default_factory=Slack)
    grafana: Grafana = Field(default_factory=Grafana)
    webhook: Webhook = Field(default_factory=Webhook)
    max_body_bytes: int = Field(default=1 << 20, ge=1024, le=4 << 20)
    requests_per_second: float = Field(default=300.0, gt=0)
    workers: int = Field(default=2, ge=1, le=32)  # investigations at once
    lease_s: float = Field(default=30.0, ge=1, le=3600)
    preliminary_after_s: float = Field(default=60.0, ge=0, le=3600)
    final_after_s: float = Field(default=600.0, ge=0, le=6 * 3600)  # ALB files are delivered by then
    retry_s: float = Field(default=5.0, gt=0, le=600)  # first pause after a failure; doubles
    max_errors: int = Field(default=6, ge=1, le=100)  # failures of one stage before it is given up
    notify_for_s: float = Field(default=86_400.0, gt=0)  # how long a notification is tried
    http_timeout_s: float = Field(default=10.0, gt=0, le=120)
    watch: Literal["off", "on"] = "off"
    watch_every_s: float = Field(default=30.0, ge=1, le=3600)
    storm_window_s: float = Field(default=120.0, ge=0)  # kills of one node this near share a thread
    thread_window_s: float = Field(default=6 * 3600.0, ge=0)  # kills of one workload this near share one
    keep_days: float = Field(default=30.0, gt=0)
    keep_bytes: int = Field(default=5 * 10**9, gt=0)  # of saved evidence
