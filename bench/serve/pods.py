"""A cluster with many killed containers, and the alerts about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.kube import KubeState


def cluster_of(kills: int, *, workloads: int = 20, nodes: int = 40, at: datetime | None = None) -> KubeState:
    """``kills`` pods, each with one OOM-killed container."""
    at = (at or datetime.now(UTC)).replace(microsecond=0) - timedelta(minutes=3)
    return KubeState(pods=[_pod(number, workloads, nodes, at) for number in range(kills)])


def _pod(number: int, workloads: int, nodes: int, at: datetime) -> dict[str, Any]:
    owner = f"app{number % workloads}"
    ended = at + timedelta(milliseconds=100 * number)
    terminated = {
        "exitCode": 137,
        "reason": "OOMKilled",
        "startedAt": (at - timedelta(hours=1)).isoformat(),
        "finishedAt": ended.isoformat(),
        "containerID": f"containerd://{number:064x}",
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{owner}-5d9-{number:04d}",
            "namespace": "shop",
            "uid": f"00000000-0000-4000-8000-{number:012d}",
            "labels": {"pod-template-hash": "5d9"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"{owner}-5d9", "controller": True}],
        },
        "spec": {
            "nodeName": f"node-{number % nodes}",
            "containers": [{"name": "app", "resources": {"limits": {"memory": "512Mi"}}}],
        },
        "status": {
            "phase": "Running",
            "containerStatuses": [
                {
                    "name": "app",
                    "restartCount": 1,
                    "state": {"running": {"startedAt": (ended + timedelta(seconds=2)).isoformat()}},
                    "lastState": {"terminated": terminated},
                }
            ],
        },
    }


def alert_for(pod: dict[str, Any], variant: int = 0) -> dict[str, Any]:
    """An Alertmanager body about that pod; variants are other alerts about the same kill."""
    status = pod["status"]["containerStatuses"][0]
    ended = datetime.fromisoformat(status["lastState"]["terminated"]["finishedAt"])
    name = pod["metadata"]["name"]
    labels = {"alertname": f"Rule{variant}", "namespace": "shop", "pod": name, "container": status["name"]}
    return {
        "version": "4",
        "status": "firing",
        "groupKey": f"{{}}:{{pod={name}}}",
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": {"summary": "restarted"},
                "startsAt": (ended + timedelta(seconds=30)).isoformat(),
                "fingerprint": f"{name}-{variant}",
            }
        ],
    }
