"""Bring the application log and the ALB log together, and read the ALB rows of a dying pod.

Joined by trace id where the log has it; else by method, path, status, pod and client, nearest in time once the offset
between the two clocks is known. Requests that were answered are matched where they *end* (a queue in front of the app
delays the start by seconds, the end by next to nothing), the others where they start. Every row is used at most once.

In flight at the kill means ``created_at <= kill <= time`` on the dead target. Rows that the dead pod's address refused
after the kill were created after it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from oomscope.analyze.access_target import DeadTarget, dead_target, pod_of_rows
from oomscope.analyze.model import AccessJoin, KillCase
from oomscope.facts import PodFacts

_TRACE = r"(?i)Root=?(1-[0-9a-f]{8}-[0-9a-f]{24})"
_SECOND = 1_000_000
_WIDEST_S = 60.0  # longest wait between the ALB and the app's first line that is still one request
_MAX_ROUNDS = 64
_MAX_DIFFERENCES = 500_000  # time differences looked at to find the clock offset
_FAMILY = {"HEAD": "GET", "PUT": "POST", "PATCH": "POST", "DELETE": "POST"}  # _method overrides, HEAD as GET
_PAIRS = {"request_row": pl.Int64, "access_row": pl.Int64, "how": pl.String, "offset_s": pl.Float64}

_Ints = NDArray[np.int64]
_Bools = NDArray[np.bool_]


def join(
    requests: pl.DataFrame, accesses: pl.DataFrame, *, kill: KillCase, pods: tuple[PodFacts, ...]
) -> AccessJoin:
    """Pairs of request and access, and the in-flight accesses of the dead target that no request matches.

    ``requests`` and ``accesses`` follow REQUEST_SCHEMA and ACCESS_SCHEMA. ``pairs`` carries one more column,
    ``log_loss``: the log never closed the request, yet the ALB has its answer from before the kill.
    """
    target = dead_target(accesses, kill=kill, pods=pods)
    match = _Match(*_sides(requests if accesses.height else requests.clear(), accesses, pods))
    match.by_trace()
    clock = _clock(match)
    match.by_path(clock)
    pairs = _pairs(match, requests, accesses, target)
    lost = accesses.with_row_index("row").filter(
        pl.Series(target.in_flight & match.access_free, dtype=pl.Boolean)
    )
    return AccessJoin(
        pairs=pairs,
        lost=lost.with_columns(pl.col("row").cast(pl.Int64)),
        ambiguous=match.ambiguous,
        clock_offset_s=clock.offset_s,
        fingerprint_at=target.fingerprint_at,
        dead_target=target.address,
        notes=(*target.notes, *_notes(match, pairs)),
    )


def _sides(
    requests: pl.DataFrame, accesses: pl.DataFrame, pods: tuple[PodFacts, ...]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same columns on both sides: trace, method, path, family, status, client, pod, start, end (microseconds)."""
    logged = pl.coalesce(
        pl.col("trace_id").str.extract(_TRACE), pl.col("request_id").str.extract(_TRACE)
    ).str.to_lowercase()
    left = requests.select(
        trace=logged,
        method="method",
        path="path",
        status="status",
        client="client",
        pod="pod",
        start=pl.coalesce("started_at", "processing_at").cast(pl.Int64),
        end=pl.col("ended_at").cast(pl.Int64),
        open=pl.col("state").is_in(["open", "rack_level", "websocket", "superseded"])
        | pl.col("ended_at").is_null(),
    )
    right = accesses.select(
        trace=pl.col("trace_id").str.extract(_TRACE).str.to_lowercase(),
        method="method",
        path="path",
        status="target_status",
        client="client",
        pod=pod_of_rows(accesses, pods),
        start=pl.coalesce("created_at", "time").cast(pl.Int64),
        end=pl.col("time").cast(pl.Int64),
        open=pl.col("target_status").is_null(),
    )
    family = pl.col("method").replace(_FAMILY).alias("family")
    return left.with_columns(family), right.with_columns(family)


@dataclass(frozen=True)
class _Clock:
    """Usual log-minus-ALB difference at start and at end (microseconds), and how far the ends scatter."""

    start: int = 0
    end: int = 0
    scatter: int = _SECOND
    offset_s: float | None = None


class _Match:
    """The growing one-to-one assignment. -1 in ``access_of`` means not matched."""

    def __init__(self, left: pl.DataFrame, right: pl.DataFrame) -> None:
        self.left, self.right = left, right
        self.access_of: _Ints = np.full(left.height, -1, np.int64)
        self.traced: _Bools = np.zeros(left.height, bool)
        self.access_free: _Bools = np.ones(right.height, bool)
        self.ambiguous = 0
        self.close = _SECOND // 1000

    def by_trace(self) -> None:
        """Pair equal trace ids; calls of one trace share the id, so method, path and nearness decide among those."""
        has_left, has_right = _has(self.left, "trace"), _has(self.right, "trace")
        for keys in (["trace", "method", "path"], ["trace", "family", "path"], ["trace"]):
            self._assign(keys, "start", has_left, has_right, 3600 * _SECOND, 0, count_ambiguous=False)
        self.traced = self.access_of >= 0

    def by_path(self, clock: _Clock) -> None:
        """Pair the rest by method and path in time order: answered requests by their end, open ones by their start."""
        # A traced request whose id the ALB knows is settled; one with an id the ALB never saw came another way.
        left = self.left
        free = ~_has(left, "trace") if self.traced.any() else np.ones(left.height, bool)
        extras = [name for name in ("pod", "client") if _comparable(left, self.right, name)]
        known = _has(left, *extras)
        is_open, unanswered = left["open"].fill_null(True).to_numpy(), self.right["open"].to_numpy()
        status = _has(left, "status")
        self.close = int(np.clip(3 * clock.scatter, _SECOND // 1000, _SECOND))
        near, wide = int(np.clip(8 * clock.scatter, _SECOND // 4, 5 * _SECOND)), int(_WIDEST_S * _SECOND)
        for base, who, mask in (
            (["method", "path"], extras, known), (["method", "path"], [], ~known), (["family", "path"], extras, known)
        ):  # fmt: skip
            keys = [*base, *who]
            closed = free & mask & ~is_open
            self._assign([*keys, "status"], "end", closed & status, ~unanswered, near, clock.end)
            self._assign(keys, "end", closed & ~status, None, near, clock.end)
            self._assign(keys, "start", free & mask & is_open, unanswered, near, clock.start)
            self._assign(keys, "start", free & mask & is_open, unanswered, wide, clock.start)
            self._assign(keys, "start", free & mask & is_open, None, near, clock.start)
            self._assign(keys, "start", closed, unanswered, near, clock.start)

    def _assign(
        self,
        keys: list[str],
        when: str,
        of_left: _Bools,
        of_right: _Bools | None,
        tolerance: int,
        shift: int,
        *,
        count_ambiguous: bool = True,
    ) -> None:
        """Match free rows with equal keys, nearest in ``when`` first; ``shift`` is the usual difference there."""
        rows_l = np.flatnonzero(of_left & (self.access_of < 0) & _has(self.left, when, *keys))
        rows_r = np.flatnonzero(self.access_free & _has(self.right, when, *keys))
        if of_right is not None:
            rows_r = rows_r[of_right[rows_r]]
        if not len(rows_l) or not len(rows_r):
            return
        left, right = self.left[rows_l], self.right[rows_r]
        code_l, code_r = codes(left.select(keys), right.select(keys))
        time_l, time_r = left[when].to_numpy() - shift, right[when].to_numpy()
        got_l, got_r, rivals = mutual_nearest(code_l, time_l, code_r, time_r, tolerance, self.close)
        self.access_of[rows_l[got_l]] = rows_r[got_r]
        self.access_free[rows_r[got_r]] = False
        if count_ambiguous:
            self.ambiguous += rivals


def codes(left: pl.DataFrame, right: pl.DataFrame) -> tuple[_Ints, _Ints]:
    """Small integers that are equal where the rows of both tables are equal."""
    both = pl.concat([left, right], how="vertical_relaxed")
    known = both.unique().with_row_index("code")
    code = both.join(known, on=both.columns, how="left", maintain_order="left", nulls_equal=True)["code"]
    numbers = code.cast(pl.Int64).to_numpy()
    return numbers[: left.height], numbers[left.height :]


def mutual_nearest(
    code_l: _Ints, time_l: _Ints, code_r: _Ints, time_r: _Ints, tolerance: int, close: int
) -> tuple[_Ints, _Ints, int]:
    """One-to-one pairs of equal code whose times are nearest to each other, found in rounds.

    Returns positions in left and right, and for how many pairs there was more than one right row of the code within
    ``close``. All times in microseconds.
    """
    base = min(int(time_l.min()), int(time_r.min()))
    span = max(int(time_l.max()), int(time_r.max())) - base + 2 * tolerance + 2
    if (
        span * (int(max(code_l.max(), code_r.max())) + 1) > 2**62
    ):  # microseconds over months: milliseconds will do
        return mutual_nearest(
            code_l, time_l // 1000, code_r, time_r // 1000, max(tolerance // 1000, 1), max(close // 1000, 1)
        )
    left, right = code_l * span + (time_l - base), code_r * span + (time_r - base)
    order_l, order_r = np.argsort(left, kind="stable"), np.argsort(right, kind="stable")
    left, right = _spread(left[order_l]), _spread(right[order_r])
    got_l, got_r = _rounds(left, right, tolerance)
    near = np.searchsorted(right, left[got_l] + close, "right") - np.searchsorted(
        right, left[got_l] - close, "left"
    )
    return order_l[got_l], order_r[got_r], int((near > 1).sum())


def _spread(values: _Ints) -> _Ints:
    """Sorted values with equal ones moved apart by one, so that equal times pair off in order."""
    steps = np.arange(len(values))
    return np.maximum.accumulate(values - steps) + steps


def _rounds(left: _Ints, right: _Ints, tolerance: int) -> tuple[_Ints, _Ints]:
    """Positions of mutually nearest values; each round settles what is undisputed, the next looks at the rest."""
    rest_l, rest_r = np.arange(len(left)), np.arange(len(right))
    done: list[tuple[_Ints, _Ints]] = []
    for _ in range(_MAX_ROUNDS):
        to_right, ok = _nearest(left[rest_l], right[rest_r], tolerance)
        if not ok.any():
            break
        rest_l, to_right = rest_l[ok], to_right[ok]
        to_left, _ok = _nearest(right[rest_r], left[rest_l], tolerance)
        mutual = to_left[to_right] == np.arange(len(rest_l))
        done.append((rest_l[mutual], rest_r[to_right[mutual]]))
        rest_r = np.delete(rest_r, to_right[mutual])
        rest_l = rest_l[~mutual]
        if not len(rest_l) or not len(rest_r):
            break
    none = np.empty(0, np.int64)
    return np.concatenate([none, *(l for l, _ in done)]), np.concatenate([none, *(r for _, r in done)])  # noqa: E741


def _nearest(values: _Ints, among: _Ints, tolerance: int) -> tuple[_Ints, _Bools]:
    """For each value the position of the nearest one among the sorted others, and whether it is near enough."""
    after = np.searchsorted(among, values)
    before, after = np.maximum(after - 1, 0), np.minimum(after, len(among) - 1)
    down, up = np.abs(values - among[before]), np.abs(among[after] - values)
    return np.where(down <= up, before, after), np.minimum(down, up) <= tolerance


def _clock(match: _Match) -> _Clock:
    """The difference of the two clocks, from the traced pairs or from paths that are rare on both sides."""
    rows = np.flatnonzero(match.traced)
    left, right = match.left[rows], match.right[match.access_of[rows]]
    if match.left.is_empty() or match.right.is_empty():
        return _Clock()
    if len(rows) < 5:
        left, right = _rare_pairs(match)
    answered = (left["end"] - right["end"]).to_numpy()[_has(left, "end") & _has(right, "end", "status")]
    begun = (left["start"] - right["start"]).to_numpy()[_has(left, "start") & _has(right, "start")]
    end, scatter = _mode(answered)
    start, wide = _mode(begun)
    usual = [value for value in (start, end) if value is not None]
    if not usual:
        return _Clock()
    offset = sum(usual) / len(usual) / _SECOND
    return _Clock(usual[0], usual[-1], next(mad for mad in (scatter, wide) if mad is not None), offset)


def _rare_pairs(match: _Match) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All combinations of rows whose method, path, status are rare on both sides: only true pairs agree in time."""
    keys = ["method", "path", "status"]
    code_l, code_r = codes(match.left.select(keys), match.right.select(keys))
    size = int(max(code_l.max(initial=0), code_r.max(initial=0))) + 1
    few_l, few_r = np.bincount(code_l, minlength=size), np.bincount(code_r, minlength=size)
    weight = few_l * few_r
    usable = np.where((weight > 0) & (few_l <= 8) & (few_r <= 8), weight, 0)
    by_rarity = np.argsort(np.where(usable > 0, usable, 1 << 30), kind="stable")
    chosen = by_rarity[(np.cumsum(usable[by_rarity]) <= _MAX_DIFFERENCES) & (usable[by_rarity] > 0)]
    picked = pl.DataFrame({"code": chosen})
    left = match.left.with_columns(code=pl.Series(code_l)).join(picked, on="code", how="semi")
    both = left.join(match.right.with_columns(code=pl.Series(code_r)), on="code", suffix="_r")
    names = ["start", "end", "status"]
    return both.select(names), both.select(pl.col(f"{name}_r").alias(name) for name in names)


def _mode(differences: _Ints | NDArray[np.float64]) -> tuple[int | None, int | None]:
    """The difference most pairs share (centre of the fullest second), and the scatter (MAD) around it."""
    values = np.asarray(differences, np.float64)
    values = np.sort(values[np.isfinite(values)])
    if not len(values):
        return None, None
    crowd = np.searchsorted(values, values + _SECOND, "right") - np.arange(len(values))
    first = int(np.argmax(crowd))
    inside = values[first : first + int(crowd[first])]
    centre = float(np.median(inside))
    return round(centre), round(float(np.median(np.abs(inside - centre))))


def _has(table: pl.DataFrame, *columns: str) -> _Bools:
    mask = np.ones(table.height, bool)
    for name in columns:
        mask &= table[name].is_not_null().to_numpy()
    return mask


def _comparable(left: pl.DataFrame, right: pl.DataFrame, column: str) -> bool:
    """Whether the column means the same on both sides: most values of the log are known to the ALB.

    Rails logs the ALB's own address as the client when the proxy is not trusted; pods without an address are unknown.
    """
    ours = left[column].drop_nulls()
    known = ours.is_in(right[column].drop_nulls().unique().to_list())
    return int(known.sum()) > 0.8 * len(ours)


def _pairs(match: _Match, requests: pl.DataFrame, accesses: pl.DataFrame, target: DeadTarget) -> pl.DataFrame:
    rows = np.flatnonzero(match.access_of >= 0)
    to = match.access_of[rows]
    left, right = match.left[rows], match.right[to]
    how = np.where(match.traced[rows], "trace_id", "path_time")
    lost_lines = requests["state"][rows].is_in(["open"]) & right["status"].is_not_null()
    if target.instant is not None:
        lost_lines &= accesses["time"][to] < target.instant
    else:
        lost_lines &= False
    return pl.DataFrame(
        {
            "request_row": rows,
            "access_row": to,
            "how": pl.Series(how, dtype=pl.String),
            "offset_s": (left["start"] - right["start"]) / _SECOND,
            "log_loss": lost_lines,
        },
        schema_overrides={**_PAIRS, "log_loss": pl.Boolean},
    )


def _notes(match: _Match, pairs: pl.DataFrame) -> tuple[str, ...]:
    notes = []
    if match.ambiguous:
        notes.append(
            f"{match.ambiguous} joins had more than one candidate row of the same method, path and time"
        )
    losses = int(pairs["log_loss"].sum())
    if losses:
        notes.append(
            f"{losses} requests look open in the log but the ALB has their answers from before the kill:"
            " log lines are missing"
        )
    return tuple(notes)
