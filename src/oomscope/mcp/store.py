"""The last reports, by id."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from oomscope.errors import UsageError
from oomscope.report import to_json

if TYPE_CHECKING:
    from oomscope.report import Report

KEEP = 20


class Store:
    """Up to ``KEEP`` reports as plain documents. The id is a hash of the content: same evidence, same id."""

    def __init__(self) -> None:
        self._documents: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()  # the SDK runs tools in threads

    def put(self, report: Report) -> str:
        """Keep the report; its id."""
        report_id = "r-" + hashlib.sha256(to_json(report).encode()).hexdigest()[:12]
        document = report.model_dump(mode="json", by_alias=True)
        with self._lock:
            self._documents[report_id] = document
            self._documents.move_to_end(report_id)
            while len(self._documents) > KEEP:
                self._documents.popitem(last=False)
        return report_id

    def get(self, report_id: str) -> dict[str, Any]:
        """The document. Raises ``UsageError`` when it is unknown or was dropped since."""
        with self._lock:
            if report_id not in self._documents:
                raise UsageError(
                    "no report of that id is in memory",
                    likely=f"another server's, or one of more than {KEEP} reports ago",
                    fix="call investigate again: the same evidence gives the same id",
                )
            self._documents.move_to_end(report_id)
            return self._documents[report_id]
