"""Client addresses in a report: the analysis needs them whole, a report that is passed around does not."""

from __future__ import annotations

from oomscope.redact import shorten_ip
from oomscope.report import AccessDoc, Distinguishing, Hypothesis, Report, RequestDoc


def without_addresses(report: Report) -> Report:
    """The same report with every client address shortened (``10.1.x.x``)."""
    return report.model_copy(
        update={
            "in_flight": tuple(_request(request) for request in report.in_flight),
            "rack_level": tuple(_request(request) for request in report.rack_level),
            "hypotheses": tuple(_hypothesis(hypothesis) for hypothesis in report.hypotheses),
        }
    )


def _short(address: str | None) -> str | None:
    return shorten_ip(address) if address else address


def _request(request: RequestDoc) -> RequestDoc:
    return request.model_copy(update={"client": _short(request.client), "access": _access(request.access)})


def _access(access: AccessDoc | None) -> AccessDoc | None:
    return access.model_copy(update={"client": _short(access.client)}) if access else None


def _hypothesis(hypothesis: Hypothesis) -> Hypothesis:
    return hypothesis.model_copy(
        update={"distinguishing": tuple(_trait(d) for d in hypothesis.distinguishing)}
    )


def _trait(trait: Distinguishing) -> Distinguishing:
    if trait.kind != "client" or not trait.value:
        return trait
    short = shorten_ip(trait.value)
    return trait.model_copy(update={"value": short, "text": trait.text.replace(trait.value, short)})
