"""The Kubernetes source: pod, siblings, node, events, and the log of the dead instance while it is still there.

Needs, read-only: get/list pods, list events, get pods/log, and (optional) get nodes. Secrets, environment values and
annotations are never kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from oomscope import kube
from oomscope.errors import SourceError
from oomscope.facts import Query
from oomscope.logs.interface import Identity, LogInput
from oomscope.sources.interface import Fragment
from oomscope.sources.live import Attempts, BytesLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomscope.facts import ContainerFacts, PodFacts, Target, Window
    from oomscope.sources.interface import Context
    from oomscope.sources.kube_client import ClusterReader

MAX_LOG_BYTES = 128 * 1024 * 1024
MAX_SIBLINGS = 50


@dataclass(frozen=True)
class KubernetesSource:
    """Reads one workload of one cluster through a ``ClusterReader``."""

    reader: ClusterReader
    namespace: str | None = None
    with_logs: bool = True
    name: str = "kubernetes"

    def collect(self, target: Target, window: Window, ctx: Context) -> Fragment:
        """Pods of the target's workload, their node and events, and the logs of the instance that died."""
        tries = Attempts(self.name, window)
        namespace = target.namespace or self.namespace
        ctx.progress("kubernetes: pods")
        pods = self._pods(target, namespace, tries)
        facts = [fact for pod in pods if (fact := kube.pod_facts(pod)) is not None]
        victims = [fact for fact in facts if _wanted(fact, target)]
        ctx.progress("kubernetes: events")
        events, nodes = self._surroundings(victims, tries)
        logs: list[LogInput] = []
        if self.with_logs:
            ctx.progress("kubernetes: logs")
            logs = self._logs(victims, target, tries)
        return Fragment(
            pods=facts,
            nodes=nodes,
            events=events,
            logs=logs,
            gaps=tries.gaps,
            queries=[Query(self.name, f"pods of {_subject(target)}", window, rows=len(facts))],
            sources=[name for name, found in (("kubernetes", facts), ("events", events)) if found],
        )

    def _pods(self, target: Target, namespace: str | None, tries: Attempts) -> list[dict[str, Any]]:
        """The target's pod and its siblings (same template), or the pods of the workload."""
        if not target.pod:
            found = tries.run("list pods", lambda: self.reader.list_pods(namespace)) or []
            return [pod for pod in found if _of_workload(pod, target.workload)]
        if not namespace:
            found = tries.run("find the pod", lambda: self.reader.list_pods(None)) or []
            namespace = next((p["metadata"]["namespace"] for p in found if _pod_name(p) == target.pod), None)
            if namespace is None:
                tries.note(
                    SourceError("no_data", "no pod of that name", fix="name its namespace with -n"),
                    target.pod,
                )
                return []
        where, name = namespace, target.pod
        pod = tries.run(f"pod {name}", lambda: self.reader.get_pod(where, name))
        if pod is None:
            return []
        return [pod, *self._siblings(pod, where, tries)]

    def _siblings(self, pod: dict[str, Any], namespace: str, tries: Attempts) -> list[dict[str, Any]]:
        template = (pod["metadata"].get("labels") or {}).get("pod-template-hash")
        if not template:
            return []
        selector = f"pod-template-hash={template}"
        found = tries.run("sibling pods", lambda: self.reader.list_pods(namespace, selector)) or []
        return [other for other in found if _pod_name(other) != _pod_name(pod)][:MAX_SIBLINGS]

    def _surroundings(self, victims: Sequence[PodFacts], tries: Attempts) -> tuple[list[Any], list[Any]]:
        """Events of the pods and their nodes, and the nodes."""
        events: list[Any] = []
        nodes: list[Any] = []
        for pod in victims:
            selector = f"involvedObject.uid={pod.uid}" if pod.uid else f"involvedObject.name={pod.name}"
            read = partial(self._events, pod.namespace or "default", selector)
            events += tries.run("events", read, source="events") or []
        for node in sorted({pod.node for pod in victims if pod.node}):
            found = tries.run(f"node {node}", partial(self.reader.get_node, node))
            nodes += [fact] if found and (fact := kube.node_facts(found)) else []
            read = partial(self._events, "default", f"involvedObject.kind=Node,involvedObject.name={node}")
            events += tries.run("node events", read, source="events") or []
        return events, nodes

    def _events(self, namespace: str, selector: str) -> list[Any]:
        return list(kube.events_from({"kind": "List", "items": self.reader.list_events(namespace, selector)}))

    def _logs(self, victims: Sequence[PodFacts], target: Target, tries: Attempts) -> list[LogInput]:
        logs: list[LogInput] = []
        for pod in victims:
            for container in pod.containers:
                if target.container in (None, container.name):
                    logs += self._container_logs(pod, container, tries)
        return logs

    def _container_logs(self, pod: PodFacts, container: ContainerFacts, tries: Attempts) -> list[LogInput]:
        """The instance before this one, and the one that runs. The log API reaches no further back."""
        found: list[LogInput] = []
        dead = next((t for t in container.terminations if t.source == "pod.lastState"), None)
        for previous, container_id in (
            (True, dead.container_id if dead else None),
            (False, container.container_id),
        ):
            if previous and dead is None:
                continue
            label = f"pod/{pod.name}/{container.name}{' (previous)' if previous else ''}"
            data = tries.run(label, partial(self._read_log, pod, container, previous), source="app_log")
            if data:
                identity = Identity(pod.namespace, pod.name, container.name, container_id, pod.uid, pod.node)
                found.append(BytesLog(label, identity, data))
        return found

    def _read_log(self, pod: PodFacts, container: ContainerFacts, previous: bool) -> bytes:
        chunks = self.reader.pod_log(
            pod.namespace or "default", pod.name, container.name, previous=previous, limit_bytes=MAX_LOG_BYTES
        )
        return b"".join(chunks)


def _subject(target: Target) -> str:
    return (
        "/".join(part for part in (target.namespace, target.pod or target.workload) if part)
        or "all namespaces"
    )


def _pod_name(pod: dict[str, Any]) -> str:
    return str((pod.get("metadata") or {}).get("name"))


def _of_workload(pod: dict[str, Any], workload: str | None) -> bool:
    fact = kube.pod_facts(pod)
    return fact is not None and (workload is None or fact.workload == workload)


def _wanted(pod: PodFacts, target: Target) -> bool:
    """The pod itself, or any pod of the workload that has died."""
    if target.pod:
        return pod.name == target.pod
    return any(container.terminations for container in pod.containers)
