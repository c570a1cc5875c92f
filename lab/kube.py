"""What the cluster's API and the alerting would say of pods whose lives we know."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from lab.pods import PORT, Life, Pod


def iso(at: float, digits: int = 0) -> str:
    """RFC 3339 in UTC with so many digits of the second; cut, not rounded, as the API does."""
    text = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return (text[: 20 + digits] if digits else text[:19]) + "Z"


def pod_object(pod: Pod, image: str, oom: set[str]) -> dict[str, Any]:
    """The v1 Pod; ``oom`` holds the ids of containers whose main process the kernel killed."""
    metadata: dict[str, Any] = {
        "name": pod.name, "generateName": f"{pod.names['app']}-{pod.hash}-", "namespace": pod.names["namespace"],
        "uid": pod.uid, "creationTimestamp": iso(pod.created_at),
        "labels": {"app": pod.names["app"], "pod-template-hash": pod.hash},
        "ownerReferences": [
            {
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": True,
                "name": f"{pod.names['app']}-{pod.hash}",
            }
        ],
    }  # fmt: skip
    if pod.deleted_at:
        metadata |= {"deletionTimestamp": iso(pod.deleted_at + 30), "deletionGracePeriodSeconds": 30}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": _spec(pod, image),
        "status": {
            "phase": "Running", "hostIP": pod.node[3:].split(".")[0].replace("-", "."), "podIP": pod.ip,
            "podIPs": [{"ip": pod.ip}], "startTime": iso(pod.created_at), "qosClass": "Burstable",
            "containerStatuses": [_container_status(pod, image, oom)],
        },
    }  # fmt: skip


def _spec(pod: Pod, image: str) -> dict[str, Any]:
    plan = pod.plan
    period, timeout, threshold = pod.probe
    env = [
        {"name": "RAILS_ENV", "value": "production"},
        {"name": "RAILS_MAX_THREADS", "value": str(plan.threads)},
    ]
    if plan.workers:
        env.append({"name": "WEB_CONCURRENCY", "value": str(plan.workers)})
    if plan.style["arena_max"]:
        env.append({"name": "MALLOC_ARENA_MAX", "value": "2"})
    return {
        "nodeName": pod.node,
        "containers": [
            {
                "name": pod.names["container"], "image": image, "env": env,
                "ports": [{"containerPort": PORT, "name": "http", "protocol": "TCP"}],
                "resources": {
                    "limits": {"memory": f"{plan.limit_mb}Mi"},
                    "requests": {"cpu": "500m", "memory": f"{int(plan.limit_mb * 0.7)}Mi"},
                },
                "livenessProbe": {
                    "httpGet": {"path": "/livez", "port": PORT}, "periodSeconds": int(period),
                    "timeoutSeconds": int(timeout), "failureThreshold": threshold,
                },
                "terminationMessagePath": "/dev/termination-log",
            }
        ],
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
    }  # fmt: skip


def _container_status(pod: Pod, image: str, oom: set[str]) -> dict[str, Any]:
    life = pod.life
    digest = hashlib.sha256(image.encode()).hexdigest()
    ended = [x for x in pod.lives if x.ended_at is not None]
    last = ended[-1] if ended else None
    if life.ended_at is not None:
        state = {"terminated": terminated(life, oom)}
        last = ended[-2] if len(ended) > 1 else None
    else:
        state = {"running": {"startedAt": iso(life.started_at)}}
    return {
        "name": pod.names["container"], "containerID": f"containerd://{life.container_id}", "image": image,
        "imageID": f"{image.rsplit(':', 1)[0]}@sha256:{digest}", "ready": life.ended_at is None, "started": True,
        "restartCount": life.number, "state": state,
        "lastState": {"terminated": terminated(last, oom)} if last else {},
    }  # fmt: skip


def terminated(life: Life, oom: set[str]) -> dict[str, Any]:
    reason = "OOMKilled" if life.container_id in oom else "Completed" if life.exit_code == 0 else "Error"
    return {
        "exitCode": life.exit_code, "reason": reason, "startedAt": iso(life.started_at),
        "finishedAt": iso(life.ended_at or 0), "containerID": f"containerd://{life.container_id}",
    }  # fmt: skip


def event_list(pods: list[Pod]) -> dict[str, Any]:
    found = sorted(((event, pod) for pod in pods for event in pod.events), key=lambda pair: pair[0][0])
    return {"apiVersion": "v1", "kind": "List", "items": [_event(*event, pod) for event, pod in found]}


def _event(at: float, kind: str, reason: str, message: str, pod: Pod) -> dict[str, Any]:
    mark = hashlib.sha256(f"{pod.uid}{at}{reason}".encode()).hexdigest()[:16]
    namespace = pod.names["namespace"]
    return {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": f"{pod.name}.{mark}", "namespace": namespace},
        "type": kind, "reason": reason, "message": message,
        "involvedObject": {"kind": "Pod", "name": pod.name, "namespace": namespace, "uid": pod.uid},
        "firstTimestamp": iso(at), "lastTimestamp": iso(at), "count": 1,
        "source": {"component": "kubelet", "host": pod.node},
    }  # fmt: skip


def alert(pod: Pod, fired_at: float, oom: bool) -> dict[str, Any]:
    """The webhook body that Grafana sends."""
    name = "ContainerOOMKilled" if oom else "ContainerRestarted"
    said = "was killed for lack of memory" if oom else "restarted"
    where = {"namespace": pod.names["namespace"], "pod": pod.name, "container": pod.names["container"]}
    labels = {"alertname": name, **where, "severity": "warning", "grafana_folder": "platform"}
    notes = {
        "summary": f"{pod.name} ({pod.names['container']}) {said}",
        "description": f"Container {pod.names['container']} in {pod.names['namespace']} {said}.",
    }
    single = {
        "status": "firing", "labels": labels, "annotations": notes, "startsAt": iso(fired_at),
        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "https://grafana.example/alerting/grafana/a1/view",
        "fingerprint": hashlib.sha256(pod.uid.encode()).hexdigest()[:16],
        "silenceURL": "https://grafana.example/alerting/silence/new", "dashboardURL": "", "panelURL": "",
        "values": {"A": 1, "C": 1}, "valueString": f"[ var='A' labels={{pod={pod.name}}} value=1 ]",
    }  # fmt: skip
    return {
        "receiver": "platform-webhook", "status": "firing", "orgId": 1, "alerts": [single],
        "groupLabels": {"alertname": name, "grafana_folder": "platform"}, "commonLabels": labels,
        "commonAnnotations": notes, "externalURL": "https://grafana.example/", "version": "1",
        "groupKey": f'{{}}/{{alertname="{name}"}}', "truncatedAlerts": 0, "title": f"[FIRING:1] {name}",
        "state": "alerting", "message": "**Firing**",
    }  # fmt: skip
