"""Gathering from live systems: Kubernetes first (it knows node, container ids and the time), the rest in parallel.

A source that fails becomes a gap; the others go on. Nothing here judges what was found.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from oomscope.errors import SourceError, UnreadableError, UserError
from oomscope.facts import Gap, LogStream, PodFacts, SeriesPoint, Target, Window
from oomscope.sources.interface import Context, Fragment, Source, merge
from oomscope.sources.live import gap_of

if TYPE_CHECKING:
    from oomscope.config import Cluster, Config
    from oomscope.evidence import Bundle

log = logging.getLogger(__name__)
AFTER = timedelta(minutes=5)  # the ALB writes a dead request's 502 after the kill
KUBERNETES_SHARE = 0.5  # of the deadline
ANY_TIME = timedelta(hours=24)  # how far back Kubernetes is asked when no time is given
# What a source is called in --without, and the kind of evidence that is missing when it fails as a whole.
KINDS = {"cloudwatch_logs": "app_log", "prometheus": "memory"}
LINES = {"cloudwatch_logs": "cloudwatch"}  # in progress
NAMES = ("kubernetes", "cloudwatch_logs", "alb", "prometheus")


class Interrupted(Exception):
    """Ctrl-C while gathering. ``bundle`` holds what had arrived by then."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__("interrupted")
        self.bundle = bundle


class NothingRead(UnreadableError):
    """No source gave anything. ``gaps`` say why, one a source."""

    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What to gather, from where, and for how long."""

    target: Target
    cluster: Cluster
    config: Config
    now: datetime
    search: Window | None = None  # an alert's: the death is in here
    claims: tuple[SeriesPoint, ...] = ()  # what the alert itself says of OOM kills
    show_params: bool = False
    without: frozenset[str] = frozenset()
    require: frozenset[str] = frozenset()
    tell: Callable[[str], None] = lambda _text: None
    wait_s: float = 0.0  # how long to wait for evidence that is still on its way
    note: Callable[[str], None] = lambda _text: None  # told once, also where progress is not


@dataclass
class State:
    """What has arrived so far: the parts every look shares, and each later source's newest answer by its number."""

    cancelled: threading.Event = field(default_factory=threading.Event)
    first: list[Fragment] = field(default_factory=list)
    answers: dict[int, Fragment] = field(default_factory=dict)

    @property
    def parts(self) -> list[Fragment]:
        """All of it."""
        return [*self.first, *self.answers.values()]

    def keep(self, number: int, answer: Fragment) -> None:
        """An answer replaces an older one, unless it brings less: a second look may fail where the first did not."""
        older = self.answers.get(number)
        if older is None or set(older.sources) <= set(answer.sources):
            self.answers[number] = answer
        else:
            self.answers[number] = replace(older, due=answer.due)


def gather_live(plan: Plan) -> Bundle:
    """Everything the configured sources hold about the target. Raises ``Interrupted`` on Ctrl-C.

    A source named in ``require`` that fails raises ``UnreadableError``.
    """
    state = State(first=[Fragment(series=plan.claims, sources=["alert"] if plan.claims else [])])
    ctx = context(plan, state)
    target, window = plan.target, None
    try:
        first = _kubernetes_first(plan, ctx)
        state.first.append(first)
        target = complete(plan, first.pods)
        window = window_of(target, first.pods, plan)
        plan = replace(plan, target=target)
        in_parallel(dict(enumerate(other_sources(plan, first.pods))), plan, window, ctx, state)
        wait_for_late(plan, first.pods, window, state)
    except KeyboardInterrupt:
        state.cancelled.set()
        raise Interrupted(_bundle(state.parts, target, window, plan)) from None
    _check_required(state.parts, plan)
    bundle = _bundle(state.parts, target, window, plan)
    if not set(bundle.sources) - {"alert"}:
        raise _nothing(bundle)
    return bundle


def context(plan: Plan, state: State) -> Context:
    """For one look at the sources, from now on."""
    return Context(
        deadline=time.monotonic() + plan.config.deadline_s,
        progress=plan.tell,
        cancelled=state.cancelled.is_set,
    )


def wait_for_late(plan: Plan, pods: Sequence[PodFacts], window: Window, state: State) -> None:
    """Ask the sources whose evidence was still on its way again, as far as that is worth the time allowed."""
    from oomscope.pipeline_wait import Waiting

    def again(numbers: Sequence[int], now: datetime) -> None:
        fresh = replace(plan, now=now)
        sources = other_sources(fresh, pods)
        state.cancelled.clear()
        in_parallel({n: sources[n] for n in numbers}, fresh, window, context(fresh, state), state)

    Waiting(plan.wait_s, plan.tell, plan.note, again).run(state.answers)


def _kubernetes_first(plan: Plan, ctx: Context) -> Fragment:
    """Kubernetes gets a part of the time only: when it hangs, the others must still be asked."""
    limit = plan.config.deadline_s * KUBERNETES_SHARE
    mine = replace(ctx, deadline=time.monotonic() + limit)
    pool = ThreadPoolExecutor(1, thread_name_prefix="kubernetes")
    future = pool.submit(_guard, kubernetes_source(plan), plan, _wide_window(plan), mine)
    pool.shutdown(wait=False)
    try:
        return future.result(timeout=limit)
    except TimeoutError:
        return Fragment(
            gaps=[Gap("kubernetes", "timed_out", f"no answer in {limit:.0f} s", fix="raise --deadline")]
        )


def in_parallel(
    sources: Mapping[int, Source | Gap], plan: Plan, window: Window, ctx: Context, state: State
) -> None:
    """Ask all at once; the answers go into the state, over older ones. What is not there at the deadline is a gap."""
    pool = ThreadPoolExecutor(max(1, len(sources)), thread_name_prefix="source")
    futures = {pool.submit(_guard, source, plan, window, ctx): number for number, source in sources.items()}
    try:
        _collect(futures, sources, window, ctx, state)
    finally:
        state.cancelled.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _collect(
    futures: Mapping[Future[Fragment], int],
    sources: Mapping[int, Source | Gap],
    window: Window,
    ctx: Context,
    state: State,
) -> None:
    """Take each answer as it comes."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=min(0.2, ctx.seconds_left() or 0.0))
        for future in done:
            state.keep(futures[future], future.result())
        if pending and not ctx.seconds_left():
            for number in sorted(futures[future] for future in pending):
                state.keep(number, Fragment(gaps=[_too_slow(sources[number], window)]))
            return


def _too_slow(source: Source | Gap, window: Window) -> Gap:
    name = source.source if isinstance(source, Gap) else KINDS.get(source.name, source.name)
    return Gap(
        name, "timed_out", "no answer before the deadline", None, window, "raise deadline_s or --deadline"
    )


def _guard(source: Source | Gap, plan: Plan, window: Window, ctx: Context) -> Fragment:
    """One source, whatever it does."""
    if isinstance(source, Gap):
        return Fragment(gaps=[source])
    try:
        found = source.collect(plan.target, window, ctx)
        plan.tell(f"{LINES.get(source.name, source.name)}: {_done(found)}")
        return found
    except SourceError as error:
        return Fragment(gaps=[gap_of(error, KINDS.get(source.name, source.name), window=window)])
    except UserError as error:
        kind = KINDS.get(source.name, source.name)
        return Fragment(gaps=[Gap(kind, "off", error.what, None, window, error.fix or None)])
    except Exception as error:
        log.exception("source %s failed", source.name)
        detail = f"internal error in this source: {type(error).__name__}: {error}"
        kind = KINDS.get(source.name, source.name)
        return Fragment(gaps=[Gap(kind, "unparsable", detail, None, window, "please report it")])


def _done(found: Fragment) -> str:
    counts = (
        (found.pods, "pods"), (found.events, "events"), (found.accesses, "rows"), (found.memory, "samples"),
        (found.logs, "logs"), (found.oom_kills, "kernel reports"),
    )  # fmt: skip
    said = [
        f"{len(what):,} {name[: -1 if len(what) == 1 else None]}"
        for what, name in counts
        if what is not None and len(what)
    ]
    trouble = [gap.reason for gap in found.gaps]
    return f"done, {', '.join(said) or 'nothing'}" + (
        f" ({', '.join(sorted(set(trouble)))})" if trouble else ""
    )


def kubernetes_source(plan: Plan) -> Source | Gap:
    """The Kubernetes source, or why there is none."""
    if "kubernetes" in plan.without:
        return Gap("kubernetes", "off", "switched off")
    from oomscope.sources.kube_client import connect
    from oomscope.sources.kubernetes import KubernetesSource

    settings = plan.cluster.kubernetes
    try:
        reader = connect(settings.context, settings.kubeconfig)
    except UserError as error:
        return Gap("kubernetes", "off", error.what, fix=error.fix or None)
    except ImportError:
        return Gap("kubernetes", "off", "not installed", fix="pip install 'oomscope[k8s]'")
    return KubernetesSource(reader, namespace=settings.namespace)


def other_sources(plan: Plan, pods: Sequence[PodFacts]) -> list[Source | Gap]:
    """Logs, ALB and metrics, each as a source or as the gap that says why not."""
    from oomscope.pipeline_sources import BUILDERS

    found: list[Source | Gap] = []
    for name, build in BUILDERS:
        found.append(Gap(name, "off", "switched off") if name in plan.without else build(plan, pods))
    return found


def complete(plan: Plan, pods: Sequence[PodFacts]) -> Target:
    """Fill in what Kubernetes knows: workload, namespace, and the time of the termination that is meant."""
    target = plan.target
    pod = next((pod for pod in pods if pod.name == target.pod), None) or (pods[0] if len(pods) == 1 else None)
    if pod is not None:
        target = replace(
            target,
            namespace=target.namespace or pod.namespace,
            workload=target.workload or pod.workload,
            pod_uid=target.pod_uid or pod.uid,
        )
    if target.at is None:
        search_end = plan.search.end if plan.search else plan.now
        target = replace(target, at=_last_death(target, pods, search_end) or search_end)
    return target


def _last_death(target: Target, pods: Sequence[PodFacts], before: datetime) -> datetime | None:
    ends = [
        termination.finished_at
        for pod in pods
        if target.pod in (None, pod.name)
        for container in pod.containers
        if target.container in (None, container.name)
        for termination in container.terminations
        if termination.finished_at and termination.finished_at <= before
    ]
    return max(ends, default=None)


def window_of(target: Target, pods: Sequence[PodFacts], plan: Plan) -> Window:
    """Back far enough for long requests (but not before the container's life), and past the kill for the ALB."""
    at = target.at or plan.now
    start = at - timedelta(minutes=plan.config.minutes_before)
    lives = [
        termination.started_at
        for pod in pods
        if pod.name == target.pod
        for container in pod.containers
        for termination in container.terminations
        if termination.started_at and termination.started_at <= at
    ]
    begun = max(lives, default=start) - timedelta(minutes=1)
    return Window(max(start, begun), at + AFTER)


def _wide_window(plan: Plan) -> Window:
    at = plan.target.at or (plan.search.end if plan.search else plan.now)
    return Window(at - ANY_TIME, at + AFTER)


def _bundle(parts: Sequence[Fragment], target: Target, window: Window | None, plan: Plan) -> Bundle:
    """All fragments, with the logs of all sources scanned together so that twice-told lines are folded."""
    from oomscope.redact import Redactor

    logs = [log_input for part in parts for log_input in part.logs]
    scanned = _scanned(logs) if logs else Fragment()
    kept = [replace(part, gaps=_unanswered(part, scanned.streams)) for part in parts]
    redactor = Redactor(show_params=plan.show_params)
    return merge([*kept, scanned], target=target, redactor=redactor, window=window)


def _unanswered(part: Fragment, streams: Sequence[LogStream]) -> list[Gap]:
    """The part's gaps, without those of container logs that Kubernetes no longer had and another source has whole."""
    whole = {pod.name for pod in part.pods if _instances(pod) <= {stream.container_id for stream in streams}}
    return [gap for gap in part.gaps if not (gap.reason in ("no_data", "too_late") and _log_of(gap) in whole)]


def _instances(pod: PodFacts) -> set[str | None]:
    ended = {t.container_id for container in pod.containers for t in container.terminations}
    return ended | {container.container_id for container in pod.containers}


def _log_of(gap: Gap) -> str | None:
    """The pod of a gap about a container's log; its query is ``pod/NAME/CONTAINER``."""
    kind, _, rest = (gap.query or "").partition("/")
    return rest.partition("/")[0] if gap.source == "app_log" and kind == "pod" else None


def _scanned(logs: Sequence[object]) -> Fragment:
    from oomscope.logs import scan

    result = scan(logs)  # type: ignore[arg-type]
    return Fragment(
        requests=result.requests,
        jobs=result.jobs,
        streams=result.streams,
        lives=result.lives,
        gaps=result.gaps,
    )


def _nothing(bundle: Bundle) -> NothingRead:
    """Why there is no evidence at all: what was asked and what came of it, not what is not configured."""
    asked = [gap for gap in bundle.gaps if gap.reason != "off"] or bundle.gaps
    fixes = list(dict.fromkeys(gap.fix for gap in asked if gap.fix))[:2]
    if all(gap.reason == "off" for gap in asked):
        likely = "no source is configured, or all are switched off"
    elif all(gap.reason == "no_data" for gap in asked):
        likely = "the pod is gone, or its name, namespace or cluster is another one"
    else:
        likely = ""
    error = NothingRead(
        "no source could give any evidence",
        tried="; ".join(dict.fromkeys(f"{gap.source}: {gap.detail}" for gap in asked)),
        likely=likely,
        fix="; ".join([*fixes, "oomscope doctor shows what can be read"]),
        slug="no-evidence",
    )
    error.gaps = bundle.gaps
    return error


def _check_required(parts: Sequence[Fragment], plan: Plan) -> None:
    required = {KINDS.get(name, name) for name in plan.require}
    for part in parts:
        for gap in part.gaps:
            if gap.source in required and gap.reason not in ("not_yet",):
                raise UnreadableError(
                    f"the required source {gap.source} failed: {gap.detail}",
                    tried=gap.query or "",
                    fix=gap.fix or "oomscope doctor",
                    slug="required-source",
                )
