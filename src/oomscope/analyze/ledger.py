"""Findings as they are made: every statement once, with an id, a value and a pointer to its evidence."""

from __future__ import annotations

from oomscope.report import EvidenceRef, Finding

MAX_RAW = 400


class Ledger:
    """Collects findings; the same text again gives the same id."""

    def __init__(self) -> None:
        self._by_text: dict[str, Finding] = {}

    def add(
        self,
        text: str,
        *,
        name: str = "",
        value: float | str | None = None,
        unit: str = "",
        baseline: str | None = None,
        evidence: tuple[EvidenceRef, ...] = (),
    ) -> Finding:
        """Note a finding and return it."""
        known = self._by_text.get(text)
        if known is not None:
            return known
        rounded = tidy(value) if isinstance(value, float) else value
        finding = Finding(
            id=f"F{len(self._by_text) + 1}", text=text, name=name, value=rounded, unit=unit, baseline=baseline,
            evidence=evidence,
        )  # fmt: skip
        self._by_text[text] = finding
        return finding

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them, in order."""
        return tuple(self._by_text.values())


def tidy(value: float, digits: int = 4) -> float:
    """Rounded to so many significant digits, so that the same evidence gives the same bytes everywhere."""
    return float(f"{value:.{digits}g}")


def shorten(text: str | None) -> str | None:
    """Raw lines are quoted, not copied whole."""
    if text is None or len(text) <= MAX_RAW:
        return text
    return text[: MAX_RAW - 1] + "…"
