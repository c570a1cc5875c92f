"""Alerts pasted as text from a chat: the default message of Grafana, or loose ``key=value`` words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MAX_LINES = 5000
_MAX_TEXT = 256 * 1024
_SMART = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "\u00a0": " "})
_LINK = re.compile(r"<([^<>|\s]{1,2048})(?:\|([^<>]{0,2048}))?>")
_PAIR = re.compile(r"[-•*·]\s{0,4}([A-Za-z_][\w.]{0,127})\s{0,4}=\s{0,4}(.{0,2048})")
_STATUS = re.compile(r"\W{0,6}(Firing|Resolved)\W{0,6}", re.IGNORECASE)
_URL_LINE = re.compile(r"(Source|Dashboard|Panel): (\S{1,2048})")
_LOOSE = re.compile(
    r"\b(exported_namespace|exported_pod|exported_container|namespace|pod|container|deployment|statefulset|cluster"
    r"|workload)\s{0,3}[=:]\s{0,3}[\"'`]?([a-z0-9][-a-z0-9.]{0,252})"
)
_URL_KEYS = {"Source": "generatorURL", "Dashboard": "dashboardURL", "Panel": "panelURL"}


def text_alerts(text: str) -> Iterator[dict[str, Any]]:
    """The alerts of a pasted message, in the shape of webhook alerts. The title is not read: it has no keys."""
    lines = [_clean(line) for line in text[:_MAX_TEXT].splitlines()[:MAX_LINES]]
    blocks = [block for block in _blocks(lines) if block["labels"]]
    if blocks:
        yield from blocks
        return
    labels = {match[1]: match[2].rstrip(".") for line in lines for match in _LOOSE.finditer(line[:4096])}
    if labels:
        yield {"labels": labels}


def _clean(line: str) -> str:
    """Plain quotes and dashes; ``<url|text>`` becomes its text, or its url where the line is there to give one."""
    plain = line.translate(_SMART).strip()
    if plain.startswith(tuple(f"{key}:" for key in _URL_KEYS)):
        return _LINK.sub(lambda m: m[1], plain)
    return _LINK.sub(lambda m: m[2] or m[1], plain)


def _blocks(lines: list[str]) -> Iterator[dict[str, Any]]:
    status, section = "firing", "labels"
    block = _new(status)
    for line in lines:
        if match := _STATUS.fullmatch(line):
            yield block
            status = match[1].lower()
            block = _new(status)
        elif line.startswith("Value:"):
            yield block
            block = _new(status)
        elif line in ("Labels:", "Annotations:"):
            section = line[:-1].lower()
        elif match := _PAIR.match(line):
            block[section].setdefault(match[1], match[2].strip().strip("\"'`"))
        elif match := _URL_LINE.match(line):
            block[_URL_KEYS[match[1]]] = match[2]
    yield block


def _new(status: str) -> dict[str, Any]:
    return {"status": status, "labels": {}, "annotations": {}}
