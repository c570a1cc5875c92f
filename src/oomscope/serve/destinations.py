"""Slack, Grafana and a webhook of your own. Each can create, change and, where possible, find what it once created."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import orjson

from oomscope.serve.http import Answer, Caller, Refused, Unknown
from oomscope.serve.settings import Settings


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to be shown: ``mark`` is in what is sent, so that it can be found again; ``head`` is its thread's."""

    mark: str
    body: Mapping[str, Any]
    number: int
    head: str | None = None


class Destination(Protocol):
    """A place to tell people. All methods raise ``http.CallFailed``. ``searchable``: what was created can be found."""

    searchable: bool

    def create(self, notice: Notice) -> str:
        """Show it and return the destination's id of it."""

    def change(self, ref: str, notice: Notice) -> str:
        """Change what ``ref`` shows; the id of it, another one if it had to be made anew."""

    def find(self, notice: Notice, since: datetime) -> str | None:
        """The id of a notice whose creation may or may not have come through; None when there is none."""


class SlackBot:
    """``chat.postMessage`` and ``chat.update``. Found again by message metadata (needs ``channels:history``)."""

    searchable = True
    PAGES = 10
    GONE = ("message_not_found", "cant_update_message", "thread_not_found")
    ITS_FAULT = ("invalid_blocks", "invalid_blocks_format", "msg_too_long", "metadata_too_large", "no_text")

    def __init__(self, caller: Caller, api_url: str, token: str, channel: str) -> None:
        self._caller, self._api, self._channel = caller, api_url.rstrip("/"), channel
        self._headers = {"Authorization": f"Bearer {token}"}

    def create(self, notice: Notice) -> str:
        """See ``Destination``."""
        body = self._body(notice) | {"unfurl_links": False, "unfurl_media": False}
        if notice.head:
            body["thread_ts"] = notice.head
        ts = self._call("chat.postMessage", body).get("ts")
        if not isinstance(ts, str) or not 0 < len(ts) < 64:
            raise Unknown("Slack says ok but not which message it is")
        return ts

    def change(self, ref: str, notice: Notice) -> str:
        """See ``Destination``. A message somebody deleted is posted anew."""
        try:
            self._call("chat.update", self._body(notice) | {"ts": ref})
        except Refused as error:
            if not any(word in str(error) for word in self.GONE):
                raise
            return self.create(notice)
        return ref

    def find(self, notice: Notice, since: datetime) -> str | None:
        """See ``Destination``. Without the permission to read the channel nothing is found."""
        method = "conversations.replies" if notice.head else "conversations.history"
        params = {
            "channel": self._channel,
            "oldest": f"{since.timestamp():.6f}",
            "limit": "200",
            "include_all_metadata": "true",
            **({"ts": notice.head} if notice.head else {}),
        }
        for _page in range(self.PAGES):
            try:
                answer = self._checked(
                    self._caller.call("GET", f"{self._api}/{method}", headers=self._headers, params=params)
                )
            except Refused as error:
                if any(word in str(error) for word in ("missing_scope", "not_in_channel", *self.GONE)):
                    return None
                raise
            if found := _marked(answer, notice.mark):
                return found
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return None
            params["cursor"] = str(cursor)
        return None

    def _body(self, notice: Notice) -> dict[str, Any]:
        metadata = {"event_type": "oomscope_kill", "event_payload": {"mark": notice.mark}}
        return {"channel": self._channel, **notice.body, "metadata": metadata}

    def _call(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._checked(
            self._caller.call("POST", f"{self._api}/{method}", headers=self._headers, body=body)
        )

    def _checked(self, answer: Answer) -> dict[str, Any]:
        """Slack answers errors with 200 too."""
        if not isinstance(answer.data, dict) or not isinstance(answer.data.get("ok"), bool):
            raise Unknown("Slack answered something that is not its API")
        if not answer.data["ok"]:
            error = str(answer.data.get("error"))[:100]
            if error in ("internal_error", "fatal_error", "request_timeout", "service_unavailable"):
                raise Unknown(f"Slack: {error}")
            wait = 30.0 if error == "ratelimited" else None
            raise Refused(f"Slack: {error}", 200, wait, of_message=error in self.ITS_FAULT)
        return answer.data


def _marked(answer: dict[str, Any], mark: str) -> str | None:
    messages = answer.get("messages")
    if not isinstance(messages, list):
        raise Unknown("Slack says ok but shows no messages")
    for message in messages:
        if not isinstance(message, dict):
            continue
        payload = (message.get("metadata") or {}).get("event_payload") or {}
        if payload.get("mark") == mark and isinstance(message.get("ts"), str):
            return str(message["ts"])
    return None


class SlackWebhook:
    """An incoming webhook: it can only post, so one message a kill, when all is known."""

    searchable = False

    def __init__(self, caller: Caller, url: str) -> None:
        self._caller, self._url = caller, url

    def create(self, notice: Notice) -> str:
        """See ``Destination``."""
        self._caller.call("POST", self._url, body=notice.body)
        return "posted"

    def change(self, ref: str, notice: Notice) -> str:
        """Nothing: a webhook cannot edit."""
        return ref

    def find(self, notice: Notice, since: datetime) -> str | None:
        """Never: a webhook cannot read."""
        return None


class GrafanaAnnotations:
    """``POST /api/annotations``, then ``PATCH`` by id; found again by its own tag."""

    searchable = True

    def __init__(self, caller: Caller, url: str, token: str | None) -> None:
        self._caller, self._url = caller, url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def create(self, notice: Notice) -> str:
        """See ``Destination``."""
        answer = self._caller.call(
            "POST", f"{self._url}/api/annotations", headers=self._with_org(notice), body=self._body(notice)
        )
        number = answer.data.get("id") if isinstance(answer.data, dict) else None
        if not isinstance(number, int) or isinstance(number, bool):
            raise Unknown("Grafana answered without the annotation's id")
        return str(number)

    def change(self, ref: str, notice: Notice) -> str:
        """See ``Destination``. An annotation somebody deleted is made anew."""
        body = {
            name: value
            for name, value in self._body(notice).items()
            if name in ("text", "tags", "time", "timeEnd")
        }
        try:
            self._caller.call(
                "PATCH", f"{self._url}/api/annotations/{int(ref)}", headers=self._with_org(notice), body=body
            )
        except Refused as error:
            if error.status != 404:
                raise
            return self.create(notice)
        return ref

    def find(self, notice: Notice, since: datetime) -> str | None:
        """See ``Destination``."""
        params = {"tags": f"oomscope:{notice.mark}", "limit": "10"}
        answer = self._caller.call(
            "GET", f"{self._url}/api/annotations", headers=self._with_org(notice), params=params
        )
        if not isinstance(answer.data, list):
            raise Unknown("Grafana answered something that is no list of annotations")
        ids = [one.get("id") for one in answer.data if isinstance(one, dict)]
        return next((str(number) for number in ids if isinstance(number, int)), None)

    def _with_org(self, notice: Notice) -> dict[str, str]:
        org = notice.body.get("org")
        return self._headers | ({"X-Grafana-Org-Id": str(int(org))} if org else {})

    def _body(self, notice: Notice) -> dict[str, Any]:
        body = {name: value for name, value in notice.body.items() if name != "org"}
        return body | {"tags": [*body.get("tags", ()), f"oomscope:{notice.mark}"]}


class OwnWebhook:
    """A JSON POST a stage. Signed; may come twice, then with the same ``Idempotency-Key``."""

    searchable = False

    def __init__(self, caller: Caller, url: str, secret: bytes | None) -> None:
        self._caller, self._url, self._secret = caller, url, secret

    def create(self, notice: Notice) -> str:
        """See ``Destination``."""
        content = orjson.dumps(dict(notice.body))
        headers = {"Idempotency-Key": f"{notice.mark}-{notice.number}", "Content-Type": "application/json"}
        if self._secret:
            at = str(int(time.time()))
            signed = hmac.new(self._secret, at.encode() + b":" + content, hashlib.sha256).hexdigest()
            headers |= {"X-Oomscope-Timestamp": at, "X-Oomscope-Signature": signed}
        self._caller.call("POST", self._url, headers=headers, content=content)
        return "posted"

    def change(self, ref: str, notice: Notice) -> str:
        """The next stage is the next POST."""
        return self.create(notice)

    def find(self, notice: Notice, since: datetime) -> str | None:
        """Never: the receiver tells repetitions apart by their key."""
        return None


def configured(settings: Settings) -> tuple[str, ...]:
    """Names of the destinations that are set up. URLs and channels come from the configuration alone."""
    serve = settings.serve
    named = {
        "slack": settings.slack_token,
        "slack_webhook": settings.slack_webhook,
        "grafana": serve.grafana.url,
        "webhook": serve.webhook.url,
    }
    return tuple(name for name, value in named.items() if value)


def open_destination(name: str, settings: Settings, caller: Caller) -> Destination:
    """The destination of that name. Raises ``KeyError`` for one that is not configured."""
    serve = settings.serve
    if name == "slack" and settings.slack_token and serve.slack.channel:
        return SlackBot(caller, serve.slack.api_url, settings.slack_token, serve.slack.channel)
    if name == "slack_webhook" and settings.slack_webhook:
        return SlackWebhook(caller, settings.slack_webhook)
    if name == "grafana" and serve.grafana.url:
        return GrafanaAnnotations(caller, serve.grafana.url, settings.grafana_token)
    if name == "webhook" and serve.webhook.url:
        return OwnWebhook(caller, serve.webhook.url, settings.webhook_secret)
    raise KeyError(name)
