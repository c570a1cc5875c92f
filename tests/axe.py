"""axe-core, the checker of accessibility rules, out of ``tests/vendor``."""

from __future__ import annotations

import gzip
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chromium import Browser

FILE = Path(__file__).parent / "vendor" / "axe.min.js.gz"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@cache
def source() -> str:
    """The script, as it was published."""
    data = gzip.decompress(FILE.read_bytes())
    assert hashlib.sha256(data).hexdigest() == SHA256
    return data.decode()


def violations(window: Browser) -> list[str]:
    """What the page open in ``window`` does wrong, as ``rule: element: why``; empty when nothing."""
    window.run(source() + ";0")
    options = json.dumps({"runOnly": RULES, "resultTypes": ["violations"]})
    found = window.run(
        f"axe.run(document, {options}).then(r => JSON.stringify([r.passes.length, r.violations]))"
    )
    passed, bad = json.loads(found)
    assert passed > 10, "axe-core looked at nothing"
    return [
        f"{rule['id']}: {node['html'][:160]}: {node['failureSummary']}"
        for rule in bad
        for node in rule["nodes"]
    ]
