"""Doctor: the API server, what it lets us read, and its clock."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from oomscope.doctor import Row, probe
from oomscope.errors import UsageError

if TYPE_CHECKING:
    from oomscope.config import Cluster
    from oomscope.sources.interface import Context
    from oomscope.sources.kube_client import HttpReader

NOBODY = "oomscope-doctor"  # a name nothing has: permission is decided before existence
MAX_SKEW_S = 5.0


def check_kubernetes(cluster: Cluster, _now: datetime, _ctx: Context) -> list[Row]:
    """Reachable, permitted, and how far the clocks are apart."""
    from oomscope.sources.kube_client import connect

    settings = cluster.kubernetes
    try:
        reader = connect(settings.context, settings.kubeconfig)
    except UsageError as error:
        if settings.context or settings.kubeconfig:
            raise
        return [Row("kubernetes", "off", error.what, error.fix)]
    before = datetime.now(UTC)
    version = reader.server_version()
    clock = _clock(version.get("date"), before, datetime.now(UTC))
    return [*_permitted(reader, settings.namespace, str(version.get("gitVersion", "?"))), *clock]


def _permitted(reader: HttpReader, namespace: str | None, version: str) -> list[Row]:
    where = namespace or "default"
    may, rows = probe(
        "kubernetes",
        (
            ("list pods", lambda: reader.list_pods(namespace, f"app.kubernetes.io/name={NOBODY}")),
            ("get pods", lambda: reader.get_pod(where, NOBODY)),
            ("read logs", lambda: list(reader.pod_log(where, NOBODY, None, previous=True))),
            ("list events", lambda: reader.list_events(where, f"involvedObject.name={NOBODY}")),
            ("list node events", lambda: reader.list_events("default", f"involvedObject.name={NOBODY}")),
            ("get nodes", lambda: reader.get_node(NOBODY)),
            ("get replicasets", lambda: reader.get_owner("ReplicaSet", where, NOBODY)),
            ("get jobs", lambda: reader.get_owner("Job", where, NOBODY)),
        ),
    )
    scope = f"in {namespace}" if namespace else "in all namespaces"
    told = f"context {reader.context or '(in-cluster)'}, {version}; may {', '.join(may)} {scope}"
    return [Row("kubernetes", "ok", told), *rows] if may else rows


def _clock(date: object, before: datetime, after: datetime) -> list[Row]:
    """The header is cut to seconds: what lies within that second is no difference."""
    try:
        told = parsedate_to_datetime(date) if isinstance(date, str) else None
    except ValueError:
        told = None
    if told is None:
        return []
    told = told if told.tzinfo else told.replace(tzinfo=UTC)
    ahead = (before - told).total_seconds() - 1.0  # this machine at least so far ahead
    behind = (told - after).total_seconds()
    skew = max(0.0, ahead) - max(0.0, behind)
    if abs(skew) > MAX_SKEW_S:
        fix = "set the clock (NTP): windows are cut by these times"
        return [Row("clock", "skewed", f"this machine {skew:+.0f} s against the cluster", fix)]
    return [Row("clock", "ok", f"this machine within {max(1.0, abs(skew)):.0f} s of the cluster")]
