"""README and docs tell the truth."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from oomscope.config import load

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
READ_AT = datetime(2026, 11, 23, 9, 35, tzinfo=UTC)


def test_readme_shows_the_report_of_the_demo(pytestconfig: pytest.Config) -> None:
    from oomscope.pipeline import demo_report
    from oomscope.render import render

    text = render(demo_report(), "text", now=READ_AT).rstrip("\n")
    page = (ROOT / "README.md").read_text()
    block = re.search(r"```text\n(.*?)\n```", page, re.DOTALL)
    assert block is not None
    if pytestconfig.getoption("--accept-golden", default=False):
        (ROOT / "README.md").write_text(page.replace(block[1], text))
        return
    assert block[1] == text, "run this test with --accept-golden and read the diff"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_configuration_page_is_valid(tmp_path: Path) -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    block = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert block is not None
    uncommented = re.sub(r"^# (\w+ = )", r"\1", block[1], flags=re.MULTILINE)
    for name, content in (("given.toml", block[1]), ("all.toml", uncommented)):
        (tmp_path / name).write_text(content)
        assert load(file=tmp_path / name).config.chosen().aws.region == "eu-central-1"


def test_every_error_slug_has_its_place() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    anchors = {match.lower().replace(" ", "-") for match in re.findall(r"^##+ (.+)$", page, re.MULTILINE)}
    for path in sorted((ROOT / "src").rglob("*.py")):
        for slug in re.findall(r'slug(?:: str)? ?= ?"([a-z0-9-]+)"', path.read_text()):
            assert slug in anchors, f"{path.name}: docs/errors.md has no section {slug!r}"
