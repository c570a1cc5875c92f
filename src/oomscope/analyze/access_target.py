"""Which ALB target died, when the ALB noticed, and which rows were in flight there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from oomscope.analyze.model import KillCase
from oomscope.facts import PodFacts

_BEFORE = timedelta(seconds=2)  # clocks of node and load balancer, and kill times cut to whole seconds
_AFTER = timedelta(seconds=5)  # a killed process keeps its sockets until its memory is given back
_CLUSTER = timedelta(seconds=1)
_STREAMED = timedelta(milliseconds=250)  # an answer made this long after the kill began before it


@dataclass(frozen=True)
class DeadTarget:
    """``address`` (ip:port) of the dead pod; ``in_flight`` marks rows; ``instant`` is the kill on the ALB's clock."""

    in_flight: NDArray[np.bool_]
    address: str | None = None
    instant: datetime | None = None
    fingerprint_at: datetime | None = None
    notes: tuple[str, ...] = ()


def dead_target(accesses: pl.DataFrame, *, kill: KillCase, pods: tuple[PodFacts, ...]) -> DeadTarget:
    """The target that died at the kill: by the dead pod's address in its life, else by its burst of 502 rows."""
    none = np.zeros(accesses.height, bool)
    if kill.killed_at is None or not accesses.height:
        return DeadTarget(none)
    rows, note = _rows_of_pod(accesses, kill, pods)
    if rows is None and kill.target_ip is not None:  # others may have died in the same second
        rows, note = (accesses["target_ip"] == kill.target_ip).fill_null(False), ""
    if rows is None:
        address, note = _address_by_burst(accesses, kill.killed_at, note)
        if address is None:
            return DeadTarget(none, notes=(note,) if note else ())
        rows = is_target(accesses, address)
    burst_at = _burst_start(accesses.filter(rows), kill.killed_at)
    instant = _instant(kill.killed_at, burst_at)
    in_flight = rows & _in_flight(accesses, instant, survived=kill.verdict == "oom_child")
    addresses = accesses.filter(in_flight if in_flight.any() else rows).select(_ADDRESS).to_series()
    sockets = int((rows & _open_socket(accesses, instant)).sum())
    notes = [note] if note else []
    if sockets:
        notes.append(f"{sockets} websocket connections of the dead target ended with it")
    return DeadTarget(
        in_flight=in_flight.to_numpy(),
        address=str(addresses.mode().sort()[0]) if len(addresses) else None,
        instant=instant,
        fingerprint_at=burst_at,
        notes=tuple(notes),
    )


_ADDRESS = pl.concat_str("target_ip", pl.lit(":"), "target_port", ignore_nulls=False).alias("address")
_SOCKET = pl.col("type").is_in(["ws", "wss"])
_UNANSWERED = pl.col("target_status").is_null() & pl.col("elb_status").is_in([502, 504])


def pod_of_rows(accesses: pl.DataFrame, pods: tuple[PodFacts, ...]) -> pl.Series:
    """Name of the pod that had the row's target address at that time; null when no pod is known to have had it.

    Addresses are given again to new pods within a minute, so an address alone does not name a pod.
    """
    names = pl.Series("pod", [None] * accesses.height, dtype=pl.String)
    held: dict[str, list[PodFacts]] = {}
    for pod in pods:
        for ip in pod.pod_ips:
            held.setdefault(ip, []).append(pod)
    single = {ip: owners[0].name for ip, owners in held.items() if len(owners) == 1}
    if single:
        names = (
            accesses["target_ip"].replace_strict(single, default=None, return_dtype=pl.String).alias("pod")
        )
    started = accesses["created_at"].fill_null(accesses["time"])
    for ip, owners in held.items():
        for pod in sorted(owners, key=lambda one: (one.created_at is not None, one.created_at)):
            if len(owners) > 1 or pod.created_at:
                names = _name_rows(names, accesses["target_ip"] == ip, started, pod, shared=len(owners) > 1)
    return names


def _name_rows(
    names: pl.Series, at_ip: pl.Series, started: pl.Series, pod: PodFacts, *, shared: bool
) -> pl.Series:
    if not shared:  # rows from before the pod was made belong to someone we do not know
        early = at_ip & (started < pod.created_at)
        return names.set(early.fill_null(False), None)
    life = at_ip if pod.created_at is None else at_ip & (started >= pod.created_at)
    if pod.deletion_at is not None:
        life &= started <= pod.deletion_at
    return names.set(life.fill_null(False), pod.name)


def _rows_of_pod(
    accesses: pl.DataFrame, kill: KillCase, pods: tuple[PodFacts, ...]
) -> tuple[pl.Series | None, str]:
    """Rows that went to the dead pod, or None and why that is not known."""
    dead = _dead_pod(kill, pods)
    if dead is None or not dead.pod_ips:
        return None, "the dead pod's address is not known"
    everyone = (dead, *(pod for pod in pods if pod is not dead))
    rows = pod_of_rows(accesses, everyone).is_in([dead.name]).fill_null(False)
    if not rows.any():
        return None, f"no ALB row went to the dead pod's address {dead.pod_ips[0]}"
    return rows, ""


def _dead_pod(kill: KillCase, pods: tuple[PodFacts, ...]) -> PodFacts | None:
    if kill.pod is not None and kill.pod.pod_ips:
        return next((pod for pod in pods if pod == kill.pod), kill.pod)
    if kill.pod_uid:
        return next((pod for pod in pods if pod.uid == kill.pod_uid), None)
    return next((pod for pod in pods if kill.pod_name and pod.name == kill.pod_name), None)


def is_target(accesses: pl.DataFrame, address: str) -> pl.Series:
    """Which rows went to the target (ip:port)."""
    return accesses.select(_ADDRESS.eq(address).fill_null(False)).to_series()


def _address_by_burst(accesses: pl.DataFrame, at: datetime, why: str) -> tuple[str | None, str]:
    """The one target whose running requests all failed at the kill; None when there is none or more than one."""
    near = accesses.filter(
        _UNANSWERED,
        pl.col("time").is_between(at - _BEFORE, at + _AFTER),
        pl.col("created_at") <= at + _CLUSTER,
        pl.col("target_ip").is_not_null(),
    )
    counts = near.group_by(_ADDRESS).len().sort(["len", "address"], descending=[True, False])
    if not counts.height:
        return None, f"{why}; no target failed its requests at the kill" if why else ""
    if counts.height > 1 and counts["len"][1] * 2 > counts["len"][0]:
        return None, f"{why}; {counts.height} targets failed requests at the kill"
    return str(counts["address"][0]), f"{why}; taken from the burst of 502 rows at the kill"


def _burst_start(rows: pl.DataFrame, at: datetime) -> datetime | None:
    """When the ALB noticed: the first unanswered row of the fullest second near the kill."""
    times = (
        rows.filter(
            _UNANSWERED,
            ~_SOCKET,
            pl.col("time").is_between(at - _BEFORE, at + _AFTER),
            pl.col("created_at") <= at + _CLUSTER,
        )["time"]
        .sort()
        .cast(pl.Int64)
        .to_numpy()
    )
    if not len(times):
        return None
    crowd = np.searchsorted(times, times + _CLUSTER // timedelta(microseconds=1), "right") - np.arange(
        len(times)
    )
    return datetime.fromtimestamp(0, tz=at.tzinfo) + timedelta(microseconds=int(times[int(np.argmax(crowd))]))


def _instant(killed_at: datetime, burst_at: datetime | None) -> datetime:
    """The kill on the ALB's clock. Container end times are cut to whole seconds: then the burst is the better clock."""
    if burst_at is None:
        return killed_at
    return burst_at if killed_at.microsecond == 0 else min(killed_at, burst_at)


def _in_flight(accesses: pl.DataFrame, instant: datetime, *, survived: bool) -> pl.Series:
    """``created_at <= instant <= time``; answered rows only where an answer this late means it was cut while streaming.

    ``survived``: the container lived on (one worker was killed), so late answers came from its other workers.
    """
    running = (pl.col("created_at") <= instant) & (pl.col("time") >= instant) & ~_SOCKET
    cut = pl.col("target_status").is_null() & (pl.col("elb_status").is_null() | (pl.col("elb_status") >= 400))
    if not survived:
        cut |= pl.col("time") >= instant + _STREAMED
    return accesses.select((running & cut).fill_null(False)).to_series()


def _open_socket(accesses: pl.DataFrame, instant: datetime) -> pl.Series:
    ended = pl.col("time").is_between(instant - _CLUSTER, instant + _AFTER)
    return accesses.select((_SOCKET & ended & (pl.col("created_at") <= instant)).fill_null(False)).to_series()
