"""From flags to a Target."""

from __future__ import annotations

from datetime import datetime, tzinfo

from oomscope.errors import UsageError
from oomscope.facts import Target
from oomscope.units import parse_time


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
    return Target(namespace=namespace, workload=workload, pod=pod, container=container, at=at)
