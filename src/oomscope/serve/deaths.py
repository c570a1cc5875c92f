"""Ends of containers as the cluster tells them now, and which of them an alert means."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from oomscope import kube
from oomscope.config import Cluster
from oomscope.facts import PodFacts, Target, Window
from oomscope.kills import Remembered, kind_of


@dataclass(frozen=True, slots=True)
class Death:
    """One death, or (``about``) the time an alert or a metric gives for one."""

    killed_at: datetime
    cluster: str | None = None
    namespace: str | None = None
    workload: str | None = None
    pod: str | None = None
    container: str | None = None
    pod_uid: str | None = None
    node: str | None = None
    oom: bool = False  # may be an OOM kill
    certain: bool = False  # is one, or a child was
    about: bool = False
    search: Window | None = None

    @property
    def key(self) -> str:
        """The same for every telling of one death: pod UID (else its name), container, time of the end."""
        pod = self.pod_uid or f"{self.cluster}/{self.namespace}/{self.pod or self.workload}"
        kind = "about" if self.about else "at"
        text = "\x00".join((pod, self.container or "", kind, self.killed_at.isoformat()))
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()

    @property
    def id(self) -> str:
        """Short name, for addresses of pages."""
        return self.key[:16]


def read_pods(cluster: Cluster, target: Target) -> list[PodFacts]:
    """The pods a target may mean, as they are now. Raises ``SourceError`` or ``UserError``.

    A pod that is gone gives an empty list.
    """
    from oomscope.sources.kube_client import connect

    reader = connect(cluster.kubernetes.context, cluster.kubernetes.kubeconfig)
    namespace = target.namespace or cluster.kubernetes.namespace
    objects = (
        reader.list_pods(namespace) if not (target.pod and namespace) else _one(reader, target, namespace)
    )
    return [facts for pod in objects if (facts := kube.pod_facts(pod)) is not None]


def _one(reader: object, target: Target, namespace: str) -> list[object]:
    from oomscope.errors import SourceError

    try:
        return [reader.get_pod(namespace, target.pod)]  # type: ignore[attr-defined]
    except SourceError as error:
        if error.reason == "no_data":
            return []
        raise


def deaths_of(pods: Iterable[PodFacts], cluster: str | None = None) -> list[Death]:
    """Every end the status of these pods still holds, oldest first."""
    found = [
        Death(
            end.finished_at,
            cluster,
            pod.namespace,
            pod.workload,
            pod.name,
            container.name,
            pod.uid,
            pod.node,
            oom=kind_of(end.reason, end.exit_code) is not None,
            certain=kind_of(end.reason, end.exit_code) in ("oom", "child"),
        )
        for pod in pods
        for container in pod.containers
        for end in container.terminations
        if end.finished_at
    ]
    return sorted(found, key=lambda death: (death.killed_at, death.key))


def meant(target: Target, search: Window | None, deaths: Sequence[Death]) -> list[Death]:
    """The deaths an alert tells of, newest last; those that may be OOM kills before all others."""
    fitting = [
        death
        for death in deaths
        if (not target.pod or death.pod == target.pod)
        and (not target.namespace or death.namespace == target.namespace)
        and (not target.container or death.container == target.container)
        and (target.pod or not target.workload or death.workload == target.workload)
        and (not target.pod_uid or death.pod_uid == target.pod_uid)
        and (search is None or search.start <= death.killed_at <= search.end)
    ]
    return [death for death in fitting if death.oom] or fitting


def from_remembered(kill: Remembered, pods: Sequence[PodFacts], cluster: str | None) -> Death:
    """A death another source than the pod's status remembers, completed by what the cluster knows of the pod."""
    pod = next((p for p in pods if p.name == kill.pod and kill.namespace in (None, p.namespace)), None)
    return Death(
        kill.at,
        cluster,
        kill.namespace,
        pod.workload if pod else None,
        kill.pod,
        kill.container,
        pod.uid if pod else None,
        pod.node if pod else None,
        oom=True,
        certain=True,
        about=True,  # a scrape later or earlier than the end itself
    )
