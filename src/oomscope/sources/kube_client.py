"""A read-only view of a cluster: eight GETs that return plain JSON objects.

lightkube gives authentication and TLS (kubeconfig, exec plugins, in-cluster tokens); what it lacks is put right here:
several files in ``KUBECONFIG``, exec plugins that speak ``client.authentication.k8s.io/v1``, and ``proxy-url``.
Its typed models are not used: they refuse whole lists because of one odd object.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from oomscope.errors import SourceError, UsageError

PAGE = 500
MAX_PAGES = 200
MAX_OBJECT_BYTES = 64 * 1024 * 1024
MAX_SECONDS = 60.0  # for one answer
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

# Owners that have an owner of their own; the others are the end of the chain.
_OWNERS = {
    "ReplicaSet": "apis/apps/v1/namespaces/{ns}/replicasets/{name}",
    "Job": "apis/batch/v1/namespaces/{ns}/jobs/{name}",
}


class ClusterReader(Protocol):
    """What the Kubernetes source needs of a cluster. Objects are those of ``kubectl get -o json``."""

    def get_pod(self, namespace: str, name: str) -> dict[str, Any]:
        """One Pod; ``SourceError('no_data')`` when it does not exist (any more)."""

    def list_pods(self, namespace: str | None, selector: str = "") -> list[dict[str, Any]]:
        """Pods of a namespace (all namespaces: None) by label selector."""

    def list_events(self, namespace: str, field_selector: str) -> list[dict[str, Any]]:
        """core/v1 events."""

    def get_node(self, name: str) -> dict[str, Any]:
        """One Node."""

    def get_owner(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """The ReplicaSet or Job an ownerReference points at."""

    def pod_log(self, namespace: str, pod: str, container: str | None, *, previous: bool) -> Iterator[bytes]:
        """The whole log with timestamps, in chunks, oldest first."""


def connect(
    context: str | None = None, kubeconfig: str | None = None, *, timeout_s: float = 15.0
) -> HttpReader:
    """A reader for the given context, else in-cluster (no kubeconfig there), else the current context."""
    import httpx2 as httpx
    from lightkube.config.client_adapter import Client, ConnectionParams
    from lightkube.core.exceptions import ConfigError, LoadResourceError

    try:
        config, proxy = _single_config(context, kubeconfig)
        parameters = ConnectionParams(
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 5.0)), proxy=proxy
        )
        return HttpReader(Client(config, parameters), config.context_name)
    except (ConfigError, LoadResourceError, KeyError, OSError, ValueError) as error:
        raise UsageError(
            f"cannot use the kubeconfig: {error}",
            tried=f"context {context or '(current)'}",
            fix="check `kubectl config get-contexts`, or set kubernetes.context in the configuration",
            slug="kubeconfig",
        ) from error


def _single_config(context: str | None, kubeconfig: str | None) -> tuple[Any, str | None]:
    from lightkube.config.kubeconfig import KubeConfig

    paths = [Path(p).expanduser() for p in _kubeconfig_paths(kubeconfig)]
    found = [path for path in paths if path.is_file()]
    if not found:
        if not kubeconfig and Path(SERVICE_ACCOUNT, "token").is_file():
            return KubeConfig.from_service_account().get(), None
        raise UsageError(
            "no kubeconfig found",
            tried=", ".join(str(p) for p in paths),
            fix="set KUBECONFIG or kubernetes.kubeconfig, or use --from PATH on saved evidence",
            slug="kubeconfig",
        )
    merged, proxies = _merge(found)
    config = KubeConfig.from_dict(merged, fname=found[0]).get(context)
    if config is None or config.user is None:
        config = config._replace(user=_no_user()) if config else config
    return config, proxies.get(config.context.cluster) if config else None


def _no_user() -> Any:
    from lightkube.config.models import User

    return User()


def _kubeconfig_paths(given: str | None) -> list[str]:
    text = given or os.environ.get("KUBECONFIG") or "~/.kube/config"
    return [part for part in text.split(os.pathsep) if part]


def _merge(paths: list[Path]) -> tuple[dict[str, Any], dict[str, str]]:
    """One kubeconfig out of several, first mention wins (as kubectl does), and the proxy of each cluster."""
    import yaml

    merged: dict[str, Any] = {"clusters": [], "users": [], "contexts": [], "current-context": None}
    for path in paths:
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"{path} is not a kubeconfig: {error}", slug="kubeconfig") from error
        if not isinstance(data, dict):
            raise UsageError(f"{path} is not a kubeconfig", slug="kubeconfig")
        merged["current-context"] = merged["current-context"] or data.get("current-context") or None
        for kind in ("clusters", "users", "contexts"):
            known = {item["name"] for item in merged[kind]}
            merged[kind] += [
                _absolute(item, path) for item in data.get(kind) or () if item["name"] not in known
            ]
    return merged, {name: proxy for item in merged["clusters"] for name, proxy in _adapt_cluster(item)}


def _adapt_cluster(item: dict[str, Any]) -> list[tuple[str, str]]:
    cluster = item["cluster"]
    if cluster.get("tls-server-name"):
        raise UsageError(
            f"the kubeconfig's cluster {item['name']!r} uses tls-server-name, which oomscope cannot do",
            fix="use another context, or kubectl get -o json and --from PATH",
            slug="kubeconfig",
        )
    proxy = cluster.pop("proxy-url", None)
    return [(item["name"], proxy)] if proxy else []


def _absolute(item: dict[str, Any], path: Path) -> dict[str, Any]:
    """Relative file names are relative to their own file; the newest exec protocol is spoken like the one before."""
    for part in ("cluster", "user"):
        section = item.get(part) or {}
        for key in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
            if section.get(key):
                section[key] = str(path.parent / section[key])
        plugin = section.get("exec")
        if plugin and plugin.get("apiVersion") == "client.authentication.k8s.io/v1":
            plugin["apiVersion"] = "client.authentication.k8s.io/v1beta1"
    return item


class HttpReader:
    """``ClusterReader`` over HTTPS. Every failure becomes a ``SourceError`` that names the missing permission."""

    def __init__(self, client: Any, context: str) -> None:
        self._client, self.context = client, context

    def get_pod(self, namespace: str, name: str) -> dict[str, Any]:
        """See ``ClusterReader``."""
        return self._get(f"api/v1/namespaces/{checked_name(namespace)}/pods/{checked_name(name)}", "get pods")

    def list_pods(self, namespace: str | None, selector: str = "") -> list[dict[str, Any]]:
        """See ``ClusterReader``."""
        path = f"api/v1/namespaces/{checked_name(namespace)}/pods" if namespace else "api/v1/pods"
        return self._list(path, "list pods", {"labelSelector": selector} if selector else {})

    def list_events(self, namespace: str, field_selector: str) -> list[dict[str, Any]]:
        """See ``ClusterReader``."""
        path = f"api/v1/namespaces/{checked_name(namespace)}/events"
        return self._list(path, "list events", {"fieldSelector": field_selector})

    def get_node(self, name: str) -> dict[str, Any]:
        """See ``ClusterReader``."""
        return self._get(f"api/v1/nodes/{checked_name(name)}", "get nodes")

    def get_owner(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """See ``ClusterReader``."""
        if kind not in _OWNERS:
            raise SourceError("no_data", f"owners of kind {kind} are not read")
        return self._get(
            _OWNERS[kind].format(ns=checked_name(namespace), name=checked_name(name)), f"get {kind.lower()}s"
        )

    def server_version(self) -> dict[str, Any]:
        """Answer of ``/version``, and in ``date`` the server's clock as its HTTP header tells it."""
        response = self._request("version", "read /version", {})
        return {**_json(response), "date": response.headers.get("date")}

    def pod_log(self, namespace: str, pod: str, container: str | None, *, previous: bool) -> Iterator[bytes]:
        """See ``ClusterReader``. ``limitBytes`` is not used: it would keep the oldest lines and drop the last ones."""
        import httpx2 as httpx

        path = f"api/v1/namespaces/{checked_name(namespace)}/pods/{checked_name(pod)}/log"
        parameters = {"timestamps": "true", "previous": str(previous).lower()}
        if container:
            parameters["container"] = container
        try:
            with self._client.stream("GET", f"/{path}", params=parameters) as response:
                if response.status_code >= 400:
                    _check(_answer(response), "get pods/log")
                yield from response.iter_bytes()
        except httpx.HTTPError as error:
            raise _network(error) from error

    def _get(self, path: str, permission: str) -> dict[str, Any]:
        return _json(self._request(path, permission, {}))

    def _list(self, path: str, permission: str, parameters: dict[str, str]) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        token = ""
        for _page in range(MAX_PAGES):
            answer = _json(
                self._request(
                    path,
                    permission,
                    {**parameters, "limit": str(PAGE), **({"continue": token} if token else {})},
                )
            )
            found = answer.get("items")
            items += [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
            token = (answer.get("metadata") or {}).get("continue") or ""
            if not token:
                return items
        raise SourceError(
            "cut", f"more than {MAX_PAGES * PAGE} objects at /{path}", fix="narrow it with -n NAMESPACE"
        )

    def _request(self, path: str, permission: str, parameters: dict[str, str]) -> _Answer:
        import httpx2 as httpx
        from lightkube.core.exceptions import ConfigError

        try:
            with self._client.stream("GET", f"/{path}", params=parameters) as response:
                answer = _answer(response)
        except httpx.HTTPError as error:
            raise _network(error) from error
        except (ConfigError, OSError) as error:  # the exec plugin failed, or the token file is gone
            raise SourceError("denied", f"no credentials: {error}", fix="log in again, then retry") from error
        _check(answer, permission)
        return answer


def checked_name(text: str | None) -> str:
    """A name safe to stand in a URL path or a selector; Kubernetes names never need escaping. Raises SourceError."""
    import re

    if not text or not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", text):
        raise SourceError("no_data", f"{text!r} is not a Kubernetes name")
    return text


@dataclass(frozen=True, slots=True)
class _Answer:
    """An HTTP response, read whole."""

    status_code: int
    content: bytes
    headers: Mapping[str, str]


def _answer(response: Any) -> _Answer:
    """Read a response to its end, within bounds of size and time (the client's timeout is for each piece)."""
    until, size = time.monotonic() + MAX_SECONDS, 0
    chunks: list[bytes] = []
    for chunk in response.iter_bytes():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_OBJECT_BYTES:
            raise SourceError("cut", "the answer of the API server is too large", fix="narrow it with -n")
        if time.monotonic() > until:
            raise SourceError("timed_out", "the API server's answer was still coming in after a minute")
    return _Answer(response.status_code, b"".join(chunks), response.headers)


def _json(response: _Answer) -> dict[str, Any]:
    import orjson

    try:
        answer = orjson.loads(
            response.content
        )  # bounds the nesting depth, which the standard library does not
    except orjson.JSONDecodeError as error:
        raise SourceError("unparsable", "the API server answered something that is not JSON") from error
    if not isinstance(answer, dict):
        raise SourceError("unparsable", "the API server answered something that is not an object")
    return answer


def _check(response: _Answer, permission: str) -> None:
    """Raise what a status means: 401, 403, 404, 410, 429, 5xx."""
    status = response.status_code
    if status < 400:
        return
    detail = f"HTTP {status}: {_status_message(response)}"
    if status == 401:
        raise SourceError("denied", detail, fix="log in again: the credentials were refused")
    if status == 403:
        raise SourceError("denied", detail, fix=f"grant `{permission}` (oomscope doctor --policy)")
    if status in (400, 404):
        raise SourceError("no_data", detail)
    if status == 410:
        raise SourceError("cut", detail, fix="the list expired while it was read: run again")
    if status == 429:
        raise SourceError("timed_out", detail, fix="the API server limits requests: run again in a minute")
    raise SourceError("unreachable", detail)


def _status_message(response: _Answer) -> str:
    import orjson

    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        body = None
    message = body.get("message") if isinstance(body, dict) else None
    return str(message or response.content[:2000].decode("utf-8", "replace"))[:500]


def _network(error: Exception) -> SourceError:
    import httpx2 as httpx

    if isinstance(error, httpx.TimeoutException):
        return SourceError("timed_out", f"the API server did not answer in time ({type(error).__name__})")
    return SourceError(
        "unreachable", f"the API server cannot be reached: {error}", fix="check network, VPN and context"
    )
