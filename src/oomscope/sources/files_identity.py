"""Whose log a saved file is, as far as its path tells. What the log lines themselves say goes before this."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from oomscope.facts import PodFacts
from oomscope.logs.interface import Identity

# /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log, also as a CloudWatch stream name
_CONTAINERS_LOG = re.compile(
    r"(?P<pod>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)_(?P<namespace>[a-z0-9-]{1,63})_(?P<container>[a-z0-9-]{1,63})"
    r"-(?P<id>[0-9a-f]{64})(?![0-9a-f])"
)
# /var/log/pods/NAMESPACE_POD_UID/CONTAINER/N.log
_PODS_LOG = re.compile(
    r"(?:^|/)(?P<namespace>[a-z0-9-]{1,63})_(?P<pod>[a-z0-9.-]{1,253})_"
    r"(?P<uid>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})/(?P<container>[a-z0-9-]{1,63})/\d+\.log"
)
# WORKLOAD-HASH-SUFFIX: what a Deployment's pods are called
_DEPLOYMENT_POD = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,200}[a-z0-9])?-(?=[a-z]*\d)[a-z0-9]{8,10}-[a-z0-9]{5}")


def identity_of(label: str, pods: Iterable[PodFacts]) -> Identity:
    """The owner of a log file: by the kubelet's path shapes, else a known pod's name in it, else the look of a name."""
    if match := _CONTAINERS_LOG.search(label):
        return Identity(match["namespace"], match["pod"], match["container"], match["id"])
    if match := _PODS_LOG.search(label):
        return Identity(match["namespace"], match["pod"], match["container"], pod_uid=match["uid"])
    known = sorted(
        (pod for pod in pods if _names(label, pod.name)), key=lambda pod: (-len(pod.name), repr(pod))
    )
    if known:
        return _of_pod(known[0])
    for part in label.split("/"):
        if _DEPLOYMENT_POD.fullmatch(part) or _DEPLOYMENT_POD.fullmatch(part.split(".")[0]):
            return Identity(pod=part.split(".")[0])
    return Identity()


def _names(label: str, pod: str) -> bool:
    return re.search(rf"(?<![a-z0-9-]){re.escape(pod)}(?![a-z0-9])", label) is not None


def _of_pod(pod: PodFacts) -> Identity:
    identity = Identity(namespace=pod.namespace, pod=pod.name, pod_uid=pod.uid, node=pod.node)
    containers = [c.name for c in pod.containers if c.kind == "container"]
    return replace(identity, container=containers[0]) if len(containers) == 1 else identity
