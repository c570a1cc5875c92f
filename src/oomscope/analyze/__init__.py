"""From a bundle to a report. Pure: no clock, environment, network or files; same evidence in, same bytes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomscope.analyze.model import AnalyzeOptions
    from oomscope.evidence import Bundle
    from oomscope.report import Report


def analyze(bundle: Bundle, options: AnalyzeOptions | None = None) -> Report:
    """The report of the kill the bundle's target points at (the newest OOM kill when it points at none).

    Raises ``errors.NoKillFound`` when nothing in the evidence was terminated.
    """
    from oomscope.analyze.investigate import investigate

    return _as_wanted(investigate(bundle, options), options)


def analyze_many(bundles: Sequence[Bundle], options: AnalyzeOptions | None = None) -> Report:
    """One report over several kills of one workload: evidence of all bundles pooled."""
    from oomscope.analyze.investigate import investigate_many

    return _as_wanted(investigate_many(bundles, options), options)


def _as_wanted(report: Report, options: AnalyzeOptions | None) -> Report:
    from oomscope.analyze.privacy import without_addresses

    return report if options is not None and options.show_params else without_addresses(report)
