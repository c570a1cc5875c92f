"""OOM kills a cluster still remembers: pod status, kube-state-metrics, the performance log. Newest first.

A pod's status holds one death a container and goes with the pod; Prometheus holds those it scraped; the performance
log knows a reason but neither exit code nor second. Each source that cannot be asked is a gap, never "no kills".
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, Protocol

from oomscope import kube
from oomscope.errors import NoKillFound, SourceError, UnreadableError, UserError
from oomscope.facts import Gap, Target, Window
from oomscope.sources.interface import Context
from oomscope.sources.live import gap_of
from oomscope.units import format_seconds, iso

if TYPE_CHECKING:
    from oomscope.config import Cluster, Config
    from oomscope.facts import ContainerFacts, PodFacts, Termination

SAME = timedelta(minutes=2)  # two sources that tell of one death differ by a scrape or two
SIGKILL = 137
# oom: the container died of it. child: a process inside died, the container lived on (or ended later in its own way).
# unclear: SIGKILL without a reason, which some container runtimes report for a true OOM kill.
Kind = Literal["oom", "child", "unclear"]
ORDER = ("kubernetes", "prometheus", "performance-log")


@dataclass(frozen=True, slots=True)
class Remembered:
    """One death as a source remembers it. ``at`` is exact to the second, or (``about``) to about a minute."""

    at: datetime
    namespace: str | None
    pod: str
    container: str | None
    kind: Kind
    source: str
    exit_code: int | None = None
    limit_bytes: int | None = None
    about: bool = False

    def target(self, cluster: str | None = None) -> Target:
        """What ``investigate`` needs to know."""
        return Target(
            namespace=self.namespace, pod=self.pod, container=self.container, at=self.at, cluster=cluster
        )

    def command(self, *more: str) -> str:
        """The line to paste into a shell; every part is quoted for it. ``more`` are flags such as ``--cluster X``."""
        words = ["oomscope", "investigate", self.pod]
        words += ["-n", self.namespace] if self.namespace else []
        words += ["-c", self.container] if self.container else []
        return shlex.join([*words, "--at", (iso(self.at) or "").replace(".000000Z", "Z"), *more])


@dataclass(frozen=True, slots=True)
class Found:
    """What the sources remember, newest first, and the sources that could not be asked."""

    kills: tuple[Remembered, ...]
    gaps: tuple[Gap, ...]
    asked: int  # sources that answered


class Search(Protocol):
    """What ``newest`` needs of a plan."""

    @property
    def target(self) -> Target:
        """Its namespace narrows the search."""

    @property
    def cluster(self) -> Cluster:
        """Where to ask."""

    @property
    def config(self) -> Config:
        """For the deadline."""

    @property
    def now(self) -> datetime:
        """The end of the search."""

    @property
    def tell(self) -> Callable[[str], None]:
        """Whom to tell of progress."""


def newest(search: Search, since: timedelta = timedelta(hours=24)) -> Target:
    """The newest certain kill (or child kill), as a target. Raises ``NoKillFound``, or ``UnreadableError``."""
    search.tell("looking for the newest kill")
    window = Window(search.now - since, search.now)
    ctx = Context(deadline=time.monotonic() + search.config.deadline_s, progress=search.tell)
    found = remembered(search.cluster, window, ctx, namespace=search.target.namespace)
    kill = next((kill for kill in found.kills if kill.kind != "unclear"), None)
    if kill is None:
        raise none_found(found, since)
    return kill.target(search.target.cluster)


def none_found(found: Found, since: timedelta) -> UserError:
    """No kill is only told as such when somebody could be asked."""
    unread = ", ".join(gap.source for gap in found.gaps)
    if not found.asked:
        return UnreadableError(
            "no source could be asked for kills",
            tried="; ".join(f"{gap.source}: {gap.detail}" for gap in found.gaps),
            fix="oomscope doctor, or name the pod: oomscope investigate POD -n NAMESPACE --at TIME",
            slug="no-source",
        )
    return NoKillFound(
        f"no OOM kill of the last {format_seconds(since.total_seconds())} is remembered"
        + (f"; not asked: {unread}" if unread else ""),
        likely="the pod was replaced since, or only a metric or a log would tell",
        fix="oomscope kills --since 7d, or oomscope investigate POD --at TIME",
        slug="no-kill",
    )


def remembered(cluster: Cluster, window: Window, ctx: Context, *, namespace: str | None = None) -> Found:
    """Everything the configured sources remember about the window. Raises nothing for a source that fails."""
    where = namespace or cluster.kubernetes.namespace
    asks: list[tuple[str, Callable[[], list[Remembered]]]] = [
        ("kubernetes", lambda: _from_status(cluster, where))
    ]
    if cluster.prometheus.url:
        from oomscope.kills_series import from_prometheus

        asks.append(("prometheus", lambda: from_prometheus(cluster, window, where, ctx)))
    if cluster.logs.eks_cluster or cluster.logs.performance_group:
        from oomscope.kills_series import from_performance_log

        asks.append(("performance-log", lambda: from_performance_log(cluster, window, where, ctx)))
    with ThreadPoolExecutor(len(asks), thread_name_prefix="kills") as pool:
        answers = list(pool.map(lambda ask: _ask(ask[0], ask[1], window), asks))
    gaps = [answer for answer in answers if isinstance(answer, Gap)]
    lists = [answer for answer in answers if not isinstance(answer, Gap)]
    kills = [kill for found in lists for kill in found if window.start <= kill.at < window.end]
    return Found(tuple(told_once(kills)), tuple(gaps), len(lists))


def _ask(name: str, read: Callable[[], list[Remembered]], window: Window) -> list[Remembered] | Gap:
    try:
        return read()
    except SourceError as error:
        return gap_of(error, name, window=window)
    except UserError as error:  # no kubeconfig, an extra that is not installed
        return Gap(name, "off", error.what, None, window, error.fix or None)


def told_once(kills: Iterable[Remembered]) -> list[Remembered]:
    """Each death once, told by the source that knows most; newest first."""
    kept: list[Remembered] = []
    for kill in sorted(kills, key=lambda k: (ORDER.index(k.source), k.kind == "child", k.at)):
        twin = next((i for i, other in enumerate(kept) if _same(kill, other)), None)
        if twin is None:
            kept.append(kill)
        elif kept[twin].limit_bytes is None and kill.limit_bytes:
            kept[twin] = replace(kept[twin], limit_bytes=kill.limit_bytes)
    return sorted(kept, key=lambda k: (-k.at.timestamp(), k.pod, k.container or ""))


def _same(one: Remembered, other: Remembered) -> bool:
    who = (one.namespace, one.pod, one.container) == (other.namespace, other.pod, other.container)
    return who and abs(one.at - other.at) <= SAME and (one.source != other.source or one.kind != other.kind)


# ------------------------------------------------------------------------------------------------------- pod status


def _from_status(cluster: Cluster, namespace: str | None) -> list[Remembered]:
    from oomscope.sources.kube_client import connect

    settings = cluster.kubernetes
    pods = connect(settings.context, settings.kubeconfig).list_pods(namespace)
    return from_pods([fact for pod in pods if (fact := kube.pod_facts(pod)) is not None])


def from_pods(pods: Sequence[PodFacts]) -> list[Remembered]:
    """The deaths in the status of these pods that are, or may be, OOM kills."""
    return [
        found
        for pod in pods
        for container in pod.containers
        for end in container.terminations
        if (found := _of_status(pod, container, end)) is not None
    ]


def _of_status(pod: PodFacts, container: ContainerFacts, end: Termination) -> Remembered | None:
    kind = kind_of(end.reason, end.exit_code)
    if kind is None or end.finished_at is None:
        return None
    limit = container.limit_bytes or pod.pod_limit_bytes
    return Remembered(
        end.finished_at, pod.namespace, pod.name, container.name, kind, "kubernetes", end.exit_code, limit
    )


def kind_of(reason: str | None, exit_code: int | None) -> Kind | None:
    """What a termination says: runtimes keep the reason ``OOMKilled`` of a child for whatever exit comes later."""
    if reason == "OOMKilled":
        return "oom" if exit_code in (None, SIGKILL) else "child"
    return "unclear" if reason == "Error" and exit_code == SIGKILL else None
