"""Application logs: from bytes in any envelope to requests, jobs and process lives. Reads only what it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from oomscope.logs.interface import LogInput, LogScan


def scan(inputs: Sequence[LogInput], *, tz: tzinfo | None = None) -> LogScan:
    """Everything the given logs tell: request and job tables, one stream a container instance, process lives, gaps.

    ``tz`` is the zone of log times that carry none and whose zone the log itself does not give away. An input that
    cannot be read to its end becomes a gap; what was read before is kept. Raises nothing for any content.
    """
    from oomscope.logs.whole import scan_inputs

    return scan_inputs(inputs, tz=tz)


def scan_open(inputs: Sequence[LogInput], *, tz: tzinfo | None = None) -> LogScan:
    """Only what has not ended by the end of the given logs, several times faster than ``scan`` on large ones.

    The request table holds the rows ``scan`` would give without those completed or errored. Coverage and jobs of large
    logs are partial, since most lines are not read. A request that ran a second action long after its first Completed
    line shows without its start.
    """
    from oomscope.logs.whole import scan_inputs

    return scan_inputs(inputs, tz=tz, only_open=True)


def scan_lifecycles(
    inputs: Sequence[LogInput], sink: Callable[[pl.DataFrame], None], *, tz: tzinfo | None = None
) -> LogScan:
    """What every ended request took, as tables of numbers that go to ``sink`` piece by piece, in no fixed order.

    Columns: ``oomscope.logs.lifecycles.SCHEMA`` (times in ms, sizes in bytes). For logs of any size in little memory;
    requests that are anything but usual, and all of small logs, are in the scan that is returned instead.
    """
    from oomscope.logs.whole import scan_inputs

    return scan_inputs(inputs, tz=tz, sink=sink)


def sniff_log(head: bytes) -> str | None:
    """The envelope of an application log by its first 64 KiB, or None when this is no application log.

    One of filter_log_events, fluentbit, cri, docker, kubectl_ts, kubectl_prefix, jsonl, bare.
    """
    from oomscope.logs.sniff import sniff

    return sniff(head)
