"""The Kubernetes source: pod, siblings, node, events, and the log of the dead instance while it is still there.

Needs, read-only: get/list pods, list events, get pods/log, and (optional) get nodes, replicasets and jobs. Secrets,
environment values and annotations are never kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from oomscope import kube
from oomscope.errors import SourceError
from oomscope.facts import Query
from oomscope.sources.interface import Fragment
from oomscope.sources.kube_client import checked_name
from oomscope.sources.kubernetes_logs import container_logs
from oomscope.sources.live import Attempts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomscope.facts import PodFacts, Target, Window
    from oomscope.logs.interface import LogInput
    from oomscope.sources.interface import Context
    from oomscope.sources.kube_client import ClusterReader

MAX_SIBLINGS = 50
MAX_VICTIMS = 20
# A pod of a Deployment: name, template hash, five letters. The letters are those of Kubernetes' own alphabet.
_OF_DEPLOYMENT = re.compile(r".+-([bcdf-hj-np-tv-z2456789]{6,10})-[bcdf-hj-np-tv-z2456789]{5}")


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
        facts = self._owned([fact for pod in pods if (fact := kube.pod_facts(pod)) is not None], tries)
        victims = [fact for fact in facts if _wanted(fact, target)][:MAX_VICTIMS]
        ctx.progress("kubernetes: events")
        events = self._events_of_pods(victims, target, namespace, tries)
        nodes, node_events = self._nodes(victims, tries)
        logs: list[LogInput] = []
        if self.with_logs:
            ctx.progress("kubernetes: logs")
            for pod in victims:
                logs += container_logs(self.reader, pod, target, tries, ctx)
        found = [*events, *node_events]
        return Fragment(
            pods=facts,
            nodes=nodes,
            events=found,
            logs=logs,
            gaps=tries.gaps,
            queries=[Query(self.name, f"pods of {_subject(target)}", window, rows=len(facts))],
            sources=[name for name, there in (("kubernetes", facts), ("events", found)) if there],
        )

    def _pods(self, target: Target, namespace: str | None, tries: Attempts) -> list[dict[str, Any]]:
        """The target's pod and its siblings (same template), or the pods of the workload."""
        if not target.pod:
            found = tries.run("list pods", lambda: self.reader.list_pods(namespace)) or []
            return [pod for pod in found if _of_workload(pod, target.workload)]
        where = namespace or self._namespace_of(target.pod, tries)
        if where is None:
            return []
        name = target.pod
        pod = tries.run(f"pod {name}", lambda: self.reader.get_pod(where, name))
        # The siblings of a pod that is gone still tell its workload, limits and version.
        return [*([pod] if pod else []), *self._siblings(pod, name, where, tries)]

    def _namespace_of(self, pod: str, tries: Attempts) -> str | None:
        found = tries.run("find the pod", lambda: self.reader.list_pods(None))
        if found is None:
            return None
        namespaces = sorted({str(_meta(p).get("namespace")) for p in found if _meta(p).get("name") == pod})
        if len(namespaces) == 1:
            return namespaces[0]
        why = f"in {', '.join(namespaces)}" if namespaces else "no pod of that name"
        tries.note(SourceError("no_data", why, fix="name its namespace with -n"), pod)
        return None

    def _siblings(
        self, pod: dict[str, Any] | None, name: str, namespace: str, tries: Attempts
    ) -> list[dict[str, Any]]:
        labels = _meta(pod or {}).get("labels")
        known = labels.get("pod-template-hash") if isinstance(labels, dict) else None
        named = _OF_DEPLOYMENT.fullmatch(name)
        template = known if isinstance(known, str) else named[1] if named and pod is None else None
        workload = fact.workload if pod and (fact := kube.pod_facts(pod)) else None
        if not template and not workload:
            return []
        selector = f"pod-template-hash={template}" if template else ""
        found = tries.run("sibling pods", lambda: self.reader.list_pods(namespace, selector)) or []
        others = [other for other in found if _meta(other).get("name") != name]
        if not template:  # a StatefulSet's pods carry no template hash
            others = [other for other in others if _of_workload(other, workload)]
        return others[:MAX_SIBLINGS]

    def _owned(self, facts: Sequence[PodFacts], tries: Attempts) -> list[PodFacts]:
        """The facts with the end of each owner chain: a Job's CronJob, and a Deployment that labels do not tell."""
        ends: dict[tuple[str, str, str], tuple[str, str] | None] = {}
        found = []
        for fact in facts:
            kind, name, namespace = fact.workload_kind, fact.workload, fact.namespace
            if kind not in ("ReplicaSet", "Job") or not name or not namespace:
                found.append(fact)
                continue
            key = (kind, namespace, name)
            if key not in ends:
                owner = tries.run(f"owner of {fact.name}", partial(self.reader.get_owner, *key))
                ends[key] = _controller(owner or {})
            end = ends[key]
            found.append(replace(fact, workload_kind=end[0], workload=end[1]) if end else fact)
        return found

    def _events_of_pods(
        self, victims: Sequence[PodFacts], target: Target, namespace: str | None, tries: Attempts
    ) -> list[Any]:
        """Events outlive their pod: those of a pod that is gone are found by its name."""
        asked = [(pod.namespace or "default", pod.name, pod.uid) for pod in victims]
        if target.pod and namespace and not victims:
            asked = [(namespace, target.pod, None)]
        events: list[Any] = []
        for where, name, uid in asked:
            events += tries.run(f"of {name}", partial(self._of_pod, where, name, uid), source="events") or []
        return events

    def _of_pod(self, namespace: str, name: str, uid: str | None) -> list[Any]:
        return self._events(namespace, f"involvedObject.uid={uid}" if uid else _by_name(name))

    def _nodes(self, victims: Sequence[PodFacts], tries: Attempts) -> tuple[list[Any], list[Any]]:
        """The nodes of the pods, and the nodes' events: those stand in namespace ``default``, under the node's name."""
        events: list[Any] = []
        nodes: list[Any] = []
        for node in sorted({pod.node for pod in victims if pod.node}):
            found = tries.run(f"node {node}", partial(self.reader.get_node, node))
            nodes += [fact] if found and (fact := kube.node_facts(found)) else []
            read = partial(self._events, "default", f"involvedObject.kind=Node,involvedObject.name={node}")
            events += tries.run("node events", read, source="events") or []
        return nodes, events

    def _events(self, namespace: str, selector: str) -> list[Any]:
        return list(kube.events_from({"kind": "List", "items": self.reader.list_events(namespace, selector)}))


def _by_name(pod: str) -> str:
    return f"involvedObject.kind=Pod,involvedObject.name={checked_name(pod)}"


def _subject(target: Target) -> str:
    return (
        "/".join(part for part in (target.namespace, target.pod or target.workload) if part)
        or "all namespaces"
    )


def _meta(pod: dict[str, Any]) -> dict[str, Any]:
    found = pod.get("metadata")
    return found if isinstance(found, dict) else {}


def _controller(owner: dict[str, Any]) -> tuple[str, str] | None:
    """Kind and name of what manages an object."""
    references = _meta(owner).get("ownerReferences")
    for reference in references if isinstance(references, list) else []:
        if isinstance(reference, dict) and reference.get("controller") is True:
            kind, name = reference.get("kind"), reference.get("name")
            return (kind[:300], name[:300]) if isinstance(kind, str) and isinstance(name, str) else None
    return None


def _of_workload(pod: dict[str, Any], workload: str | None) -> bool:
    fact = kube.pod_facts(pod)
    return fact is not None and (workload is None or fact.workload == workload)


def _wanted(pod: PodFacts, target: Target) -> bool:
    """The pod itself, or any pod of the workload that has died."""
    if target.pod:
        return pod.name == target.pod
    return any(container.terminations for container in pod.containers)
