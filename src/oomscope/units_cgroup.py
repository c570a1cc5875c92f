"""Pod and container out of a cgroup path, whatever driver and runtime named it. Pure."""

from __future__ import annotations

import re

_UID = r"[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32}"
_POD = re.compile(rf"kubepods[^\s]{{0,200}}?pod({_UID})(?:\.slice)?(?:/|$)")
_CONTAINER = re.compile(
    r"/(?:cri-containerd-|crio-(?:conmon-)?|docker-|containerd-)?([0-9a-f]{64})(?:\.scope)?(?:/|$)"
)


def cgroup_identity(path: str) -> tuple[str | None, str | None]:
    """(pod UID with dashes, container id of 64 hex) of a cgroup path; None for what it does not tell."""
    path = path[:1024]
    pod = _POD.search(path)
    container = _CONTAINER.search(path, pod.end() - 1) if pod and path[pod.end() - 1] == "/" else None
    return (pod[1].replace("_", "-") if pod else None, container[1] if container else None)
