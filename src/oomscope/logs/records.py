"""One JSON object of a log pipeline as owner, time and line: Fluent Bit, Fluentd, docker, OTLP, CloudWatch events."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from oomscope.logs.clock import rfc3339_ns
from oomscope.logs.interface import Identity

_STREAM_NAME = re.compile(
    r"(?:(?P<node>\S{1,253}?)-application\.var\.log\.containers\.)?"
    r"(?P<pod>[a-z0-9.\-]{1,253})_(?P<namespace>[a-z0-9\-]{1,63})_(?P<container>[a-z0-9.\-]{1,63})-(?P<id>[0-9a-f]{64})"
)
_MAX_OWNERS = 10_000
_CRI_IN_LOG = re.compile(r"(\d{4}-\d\d-\d\dT\S{9,26}) (stdout|stderr) ([FP])(?::\S{1,40})? ")
_LOG_KEY = re.compile(r'"log" ?: ?"')
_TIME_KEY = re.compile(r'"time" ?: ?"([^"]{20,40})"')


class Record(NamedTuple):
    """``exact``: ``at_ns`` has better than milliseconds. ``partial``: the line goes on in the next record."""

    owner: Identity
    at_ns: int | None
    stream: str | None
    text: str
    partial: bool
    exact: bool | None


class Owners:
    """The container instances named by the records of one input, one Identity each.

    ``docker``: the records are docker's own, in which a text without line end goes on in the next record.
    """

    def __init__(self, base: Identity, *, docker: bool = False) -> None:
        self.docker = docker
        self._base = base
        self._known: dict[tuple[Any, ...], Identity] = {}

    def get(
        self, *, pod: Any, namespace: Any, container: Any, container_id: Any, uid: Any, node: Any
    ) -> Identity:
        """The identity of these names; what a record leaves out comes from what is known of the input."""
        key = (pod, container, container_id, namespace)
        try:
            known = self._known.get(key)
        except TypeError:  # a name that is no text
            return self._base
        if known is None:
            known = self._make(pod, namespace, container, container_id, uid, node)
            if len(self._known) < _MAX_OWNERS:
                self._known[key] = known
        return known

    def _make(self, *names: Any) -> Identity:
        fields = ("pod", "namespace", "container", "container_id", "pod_uid", "node")
        texts = {
            name: value[:253]
            for name, value in zip(fields, names, strict=True)
            if isinstance(value, str) and value
        }
        return replace(self._base, **texts)

    def of_stream(self, name: Any) -> Identity:
        """The identity in a CloudWatch log stream's name."""
        if not isinstance(name, str):
            return self._base
        known = self._known.get((name,))
        if known is None:
            found = _STREAM_NAME.search(name[:1000])
            known = self._base
            if found:
                known = self.get(
                    pod=found["pod"],
                    namespace=found["namespace"],
                    container=found["container"],
                    container_id=found["id"],
                    uid=None,
                    node=found["node"],
                )
            elif self._base.container_id is None and self._base.pod is None:
                known = replace(self._base, container=name[:253])
            if len(self._known) < _MAX_OWNERS:
                self._known[(name,)] = known
        return known


def record_of(found: dict[str, Any] | None, owners: Owners) -> Record | None:
    """The record in a JSON object, None when it is not one of a log pipeline (then the object is the line itself)."""
    if found is None:
        return None
    message, at_ms = found.get("message"), found.get("timestamp")
    if isinstance(message, str) and isinstance(at_ms, int) and not found.keys() & _APP_KEYS:
        return _cloudwatch(found, message, at_ms * 1_000_000, owners)
    return _pipeline(found, owners, None)


_APP_KEYS = frozenset({"level", "severity", "name", "pid", "hostname", "tags", "payload"})


def _cloudwatch(found: dict[str, Any], message: str, at_ns: int, owners: Owners) -> Record:
    owner = owners.of_stream(found.get("logStreamName"))
    if message[:1] == "{":
        try:
            inner = orjson.loads(message)
        except orjson.JSONDecodeError:
            return _cut_record(message, owner, at_ns)
        record = _pipeline(inner, owners, at_ns) if isinstance(inner, dict) else None
        if record is not None:
            return record
    return Record(owner, at_ns, None, message.rstrip("\n"), False, False)


def _cut_record(message: str, owner: Identity, at_ns: int) -> Record:
    """A Fluent Bit record that was cut at the size limit: what is left of its line."""
    log, time = _LOG_KEY.search(message[:2000]), _TIME_KEY.search(message[:2000])
    if not log:
        return Record(owner, at_ns, None, message, False, False)
    exact = rfc3339_ns(time[1]) if time else None
    tail = message[log.end() :]
    text = tail.replace('\\"', '"').replace("\\\\", "\\").replace("\\u001b", "\x1b").replace("\\n", "\n")
    return Record(owner, exact or at_ns, None, text, False, exact is not None)


def _pipeline(found: dict[str, Any], owners: Owners, at_ns: int | None) -> Record | None:
    log = found.get("log")
    if isinstance(log, str):
        return _fluent(found, log, owners, at_ns)
    if isinstance(found.get("message"), str) and isinstance(found.get("logtag"), str):
        return _fluent(found, found["message"], owners, at_ns)
    if isinstance(found.get("body"), str) and isinstance(found.get("resource"), dict):
        return _otlp(found, owners, at_ns)
    return None


def _fluent(found: dict[str, Any], log: str, owners: Owners, at_ns: int | None) -> Record:
    kubernetes = found.get("kubernetes")
    docker = found.get("docker")
    names = kubernetes if isinstance(kubernetes, dict) else {}
    docker_id = docker.get("container_id") if isinstance(docker, dict) else None
    owner = owners.get(
        pod=names.get("pod_name"),
        namespace=names.get("namespace_name"),
        container=names.get("container_name"),
        container_id=names.get("docker_id") or docker_id,
        uid=names.get("pod_id"),
        node=names.get("host"),
    )
    time = found.get("time")
    exact = rfc3339_ns(time) if isinstance(time, str) else None
    stream = found.get("stream")
    stream = stream if isinstance(stream, str) else None
    tag = found.get("_p") or found.get("logtag")
    partial = tag == "P" or (owners.docker and not log.endswith("\n"))
    inner = _CRI_IN_LOG.match(log) if log[:2] == "20" else None
    if inner:
        exact, stream, partial, log = (
            rfc3339_ns(inner[1]) or exact,
            inner[2],
            inner[3] == "P",
            log[inner.end() :],
        )
    text = log[:-1] if log.endswith("\n") else log
    return Record(owner, exact if exact is not None else at_ns, stream, text, partial, exact is not None)


def _otlp(found: dict[str, Any], owners: Owners, at_ns: int | None) -> Record:
    attributes = found["resource"].get("attributes")
    names = attributes if isinstance(attributes, dict) else {}
    own = found.get("attributes")
    mine = own if isinstance(own, dict) else {}
    owner = owners.get(
        pod=names.get("k8s.pod.name"),
        namespace=names.get("k8s.namespace.name"),
        container=names.get("k8s.container.name"),
        container_id=names.get("container.id"),
        uid=names.get("k8s.pod.uid"),
        node=names.get("k8s.node.name"),
    )
    nanos = found.get("timeUnixNano")
    exact = int(nanos) if isinstance(nanos, int) or (isinstance(nanos, str) and nanos.isdecimal()) else None
    stream = mine.get("log.iostream")
    return Record(
        owner,
        exact if exact is not None else at_ns,
        stream if isinstance(stream, str) else None,
        found["body"],
        mine.get("logtag") == "P",
        exact is not None,
    )
