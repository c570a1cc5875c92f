"""From flags to a Target."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from oomscope.errors import UsageError
from oomscope.facts import Target
from oomscope.units import parse_quantity, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oomscope.alerts import AlertIntake, AlertTarget
    from oomscope.config import Cluster, Config

MAX_OTHERS = 5
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")  # of a Kubernetes object


def parse_zone(name: str | None) -> tzinfo | None:
    """The zone of ``--tz``; None when not given."""
    if name is None:
        return None
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(
            f"unknown time zone {name!r}",
            fix="an IANA name, e.g. --tz UTC or --tz Asia/Seoul",
            slug="time-zone",
        ) from error


def parse_at(text: str | None, zone: tzinfo | None) -> datetime | None:
    """The time of ``--at``; a time without a zone is refused unless ``--tz`` says what it is."""
    if text is None:
        return None
    at = parse_time(text, tz=zone)
    if at is None:
        raise UsageError(
            f"cannot read the time {text!r}",
            likely="it has no zone, or is not RFC 3339",
            fix="--at 2026-11-23T03:12:41Z, or add --tz ZONE for local times",
            slug="time-zone",
        )
    return at


def make_target(
    argument: str | None,
    *,
    namespace: str | None,
    pod: str | None,
    container: str | None,
    at: datetime | None,
) -> Target:
    """Target of ``POD``, ``pod/POD`` or ``deployment/NAME`` and the narrowing flags."""
    workload = None
    if argument:
        kind, _, name = argument.rpartition("/")
        if kind in ("", "pod", "pods", "po"):
            if pod and pod != name:
                raise UsageError(f"two pods given: {argument!r} and --pod {pod!r}", fix="give one of them")
            pod = name
        elif kind in ("deployment", "deploy", "deployments", "statefulset", "sts", "daemonset", "ds", "job"):
            workload = name
        else:
            raise UsageError(
                f"cannot read the target {argument!r}",
                likely="a file or folder was meant" if "/" in argument else "",
                fix="POD, deployment/NAME, or --from PATH for saved evidence",
                slug="target",
            )
    for what, value in (
        ("namespace", namespace), ("workload", workload), ("pod", pod), ("container", container),
    ):  # fmt: skip
        if value is not None and not _NAME.fullmatch(value):
            raise UsageError(
                f"not the name of a {what}: {value!r}",
                fix="small letters, digits, - and . only",
                slug="target",
            )
    return Target(namespace=namespace, workload=workload, pod=pod, container=container, at=at)


def read_alert(path: str, labels: Mapping[str, str] | None = None) -> AlertIntake:
    """An alert payload in a file or on stdin (``-``) that names at least one target. ``labels`` is the label map."""
    import sys
    from datetime import UTC

    from oomscope.alerts import MAX_BODY, label_names, parse_alert

    try:
        if path == "-":
            data = sys.stdin.buffer.read(MAX_BODY + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(MAX_BODY + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}", slug="missing-path") from error
    intake = parse_alert(data, now=datetime.now(UTC), labels=label_names(labels or {}))
    if not intake.targets:
        raise UsageError(
            "this alert names no pod",
            tried=f"reading {path} as {intake.kind}",
            likely=" ".join(intake.notes) or "it is not about a container",
            fix="name the pod: oomscope investigate POD -n NAMESPACE --at TIME",
            slug="alert",
        )
    return intake


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


def parse_duration(text: str | None, flag: str, *, zero: bool = False) -> float | None:
    """Seconds of ``90``, ``60s``, ``10m``, ``24h``, ``2d``."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)(s|m|min|h|d|)", text.strip())
    if not match or (float(match[1]) <= 0 and not zero):
        raise UsageError(f"cannot read {flag} {text!r}", fix=f"{flag} 60s, 10m, 24h or 2d")
    return float(match[1]) * _UNITS[match[2]]


def parse_size(text: str | None, flag: str) -> int | None:
    """Bytes of ``5GB``, ``500MB``, ``2Gi``, ``1000000``."""
    if text is None:
        return None
    size = parse_quantity(text.strip().removesuffix("B").removesuffix("b") or None)
    if not size or size < 0:
        raise UsageError(f"cannot read {flag} {text!r}", fix=f"{flag} 5GB")
    return size


def meant(target: Target, alert: AlertIntake) -> AlertTarget:
    """The alert's first target that the flags do not speak against."""

    def fits(one: AlertTarget) -> bool:
        pairs = ((getattr(target, n), getattr(one.target, n)) for n in ("namespace", "pod", "container"))
        return all(flag is None or told is None or flag == told for flag, told in pairs)

    return next((one for one in alert.targets if fits(one)), alert.targets[0])


def narrowed(target: Target, alert: AlertIntake) -> Target:
    """What the flags leave open, the alert fills in. Its start is not the time of the restart, so no time is taken."""
    told = meant(target, alert).target
    return replace(
        target,
        namespace=target.namespace or told.namespace,
        workload=target.workload or told.workload,
        pod=target.pod or told.pod,
        container=target.container or told.container,
        pod_uid=target.pod_uid or told.pod_uid,
        cluster=target.cluster or told.cluster,
    )


def notes_of(target: Target, alert: AlertIntake) -> list[str]:
    """What a person should know of the alert: what of it this investigation is not about."""
    chosen = meant(target, alert)
    others = [f"{one.target.namespace}/{one.target.pod}" for one in alert.targets if one.target.pod]
    others = sorted({name for name in others if name != f"{chosen.target.namespace}/{chosen.target.pod}"})
    notes = list(alert.notes)
    if others:
        more = f" and {len(others) - MAX_OTHERS} more" if len(others) > MAX_OTHERS else ""
        notes.append(
            f"the alert also names {', '.join(others[:MAX_OTHERS])}{more}: choose one with --pod and --namespace"
        )
    return notes


def pick_cluster(config: Config, wanted: str | None, told: str | None = None) -> Cluster:
    """The cluster of ``--cluster``, else the one an alert names if it is configured, else the default one."""
    if wanted is None and told in config.clusters:
        return config.chosen(told)
    if wanted is None and config.cluster is None and len(config.clusters) > 1:
        names = ", ".join(sorted(config.clusters))
        raise UsageError(
            f"which cluster? {names} are configured",
            likely=f"the alert's cluster {told!r} is none of them" if told else "",
            fix='--cluster NAME, or set cluster = "NAME" in the file',
            slug="config",
        )
    return config.chosen(wanted)
