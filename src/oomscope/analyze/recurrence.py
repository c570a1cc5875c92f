"""Several kills of one workload: do they have one cause?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from oomscope.analyze.model import AnalyzeOptions

if TYPE_CHECKING:
    from oomscope.evidence import Bundle
    from oomscope.report import Report


def pooled_report(bundles: Sequence[Bundle], options: AnalyzeOptions) -> Report:
    """The report of the newest kill."""
    from oomscope.analyze.investigate import investigate

    reports = [investigate(bundle, options) for bundle in bundles]
    return max(reports, key=lambda report: str(report.kill.killed_at))
