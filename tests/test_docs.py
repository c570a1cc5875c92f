"""README and docs tell the truth: links, blocks, made pages, error slugs, and the site itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from oomscope.cli import run
from oomscope.config import load
from oomscope.report import json_schema
from tests import command_pages
from tests.doc_blocks import PAGES, ROOT, SHELL, Block, blocks, page_id

READ_AT = datetime(2026, 11, 23, 9, 35, tzinfo=UTC)
SITE = ROOT / "mkdocs.yml"
UNPARSED = (
    "text",
    "indented",
    "ruby",
    "ini",
    "dockerfile",
    "hcl",
)  # no parser for these among the tests' needs
LANGUAGES = (*SHELL, "json", "toml", "yaml", "sql", "python", *UNPARSED)
BLOCKS = [block for page in PAGES for block in blocks(page)]


def of(*languages: str) -> list[Any]:
    return [pytest.param(block, id=block.where) for block in BLOCKS if block.language in languages]


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


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_block_says_what_it_is(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block.where}: unknown kind of block {block.language!r}"


@pytest.mark.parametrize("block", of("json"))
def test_json_blocks_parse(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", of("toml"))
def test_toml_blocks_are_configuration(block: Block, tmp_path: Path) -> None:
    tomllib.loads(block.text)
    (tmp_path / "oomscope.toml").write_text(block.text)
    load(file=tmp_path / "oomscope.toml")


@pytest.mark.parametrize("block", of("yaml"))
def test_yaml_blocks_parse(block: Block, tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all(block.text))
    assert documents
    for document in documents:
        if isinstance(document, dict) and "groups" in document:
            check_rules(document, tmp_path)


def check_rules(document: dict[str, Any], folder: Path) -> None:
    """Alerting rules have what oomscope needs, and are PromQL where promtool is there to say so."""
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    assert all(rule["expr"] and rule["annotations"]["summary"] for rule in rules)
    if shutil.which("promtool"):
        (folder / "rules.yml").write_text(yaml.safe_dump(document))
        done = subprocess.run(
            ["promtool", "check", "rules", "rules.yml"], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", of("python"))
def test_python_blocks_compile(block: Block) -> None:
    compile(block.text, block.where, "exec")


@pytest.mark.parametrize("block", of("sql"))
def test_sql_blocks_parse(block: Block) -> None:
    sqlglot = pytest.importorskip("sqlglot")
    assert sqlglot.parse(block.text, read="athena")


def test_configuration_page_is_valid_with_every_value_set(tmp_path: Path) -> None:
    for number, block in enumerate(
        b for b in BLOCKS if b.language == "toml" and b.page.name == "configuration.md"
    ):
        file = tmp_path / f"{number}.toml"
        file.write_text(re.sub(r"^# (\w+ = )", r"\1", block.text, flags=re.MULTILINE))
        assert load(file=file).config.chosen().aws.region in ("eu-central-1", None)


def test_configuration_page_names_every_setting() -> None:
    from oomscope.config import Config
    from oomscope.config_serve import Serve

    page = "\n".join(
        (ROOT / "docs" / name).read_text() for name in ("configuration.md", "sources/prometheus.md")
    )
    for field in (*Config.model_fields, *Serve.model_fields):
        assert re.search(rf"\b{field}\b", page), f"docs/configuration.md does not name {field}"


def test_every_error_slug_has_its_place() -> None:
    anchors = error_sections()
    for path in sorted((ROOT / "src").rglob("*.py")):
        for slug in re.findall(r'slug(?:: str)? ?= ?"([a-z0-9-]+)"', path.read_text()):
            assert slug in anchors, f"{path.name}: docs/errors.md has no section {slug!r}"


def test_every_error_section_says_what_why_and_fix() -> None:
    for slug, text in error_sections().items():
        for word in ("What", "Why", "Fix"):
            assert f"**{word}:**" in text, f"docs/errors.md: {slug} does not say {word.lower()}"


def test_error_message_names_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "/nowhere/at/all"]) == 2
    place = re.search(r"^  more +(\S+)#(\S+)$", capsys.readouterr().err, re.MULTILINE)
    assert place is not None
    assert (ROOT / place[1]).is_file()
    assert place[2] in error_sections()


def error_sections() -> dict[str, str]:
    page = (ROOT / "docs/errors.md").read_text()
    pieces = re.split(r"^## (.+)$", page, flags=re.MULTILINE)[1:]
    return {
        name.lower().replace(" ", "-"): text for name, text in zip(pieces[::2], pieces[1::2], strict=True)
    }


@pytest.mark.parametrize("name", command_pages.NAMES)
def test_command_page_is_the_help(name: str, pytestconfig: pytest.Config) -> None:
    path = command_pages.FOLDER / f"{name}.md"
    if pytestconfig.getoption("--accept-golden") and not path.exists():
        path.write_text(command_pages.skeleton(name))
    assert path.exists(), f"{path}: run this test with --accept-golden"
    page = path.read_text()
    assert command_pages.parts(page) == ["intro", "options"]
    made = command_pages.filled(page, command_pages.tree().commands[name])
    if pytestconfig.getoption("--accept-golden"):
        path.write_text(made)
    assert made == page or pytestconfig.getoption("--accept-golden"), "run this test with --accept-golden"


def test_command_overview_lists_every_command() -> None:
    page = (command_pages.FOLDER / "index.md").read_text()
    for name in command_pages.NAMES:
        assert f"]({name}.md)" in page


def test_schema_page_names_every_field() -> None:
    page = (ROOT / "docs/report-schema.md").read_text()
    schema = json_schema()
    named = set(re.findall(r"`(?:\w+\.)*(\w+)`", page))
    for model in (schema, *schema["$defs"].values()):
        missing = set(model["properties"]) - named
        assert not missing, f"docs/report-schema.md does not name {sorted(missing)} of {model['title']}"


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"[\w/.-]+\.md", json.dumps(navigation())))
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES if (ROOT / "docs") in page.parents}
    assert pages - listed == set(), "add them to nav in mkdocs.yml"


def navigation() -> Any:
    return yaml.safe_load(SITE.read_text())["nav"]


def test_site_builds_strictly_and_asks_nobody(tmp_path: Path) -> None:
    pytest.importorskip("material")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "--quiet",
            "-f",
            str(SITE),
            "-d",
            str(tmp_path / "site"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        assert not loaded_from_elsewhere(page.read_text()), page.name
    for style in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?https?:", style.read_text()), style.name


def loaded_from_elsewhere(html: str) -> list[str]:
    """Tags that make a browser ask another server. The canonical address is only told, not asked."""
    tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", html, re.IGNORECASE)
    elsewhere = re.compile(r"(?:src|href)=[\"']?(?:https?:)?//", re.IGNORECASE)
    return [
        tag
        for tag in tags
        if elsewhere.search(tag) and not re.search(r"rel=[\"']?(canonical|next|prev)", tag)
    ]


@pytest.mark.parametrize(
    ("html", "asks"),
    [
        ('<link rel="preconnect" href="https://fonts.gstatic.com" crossorigin>', True),
        ("<script src=//unpkg.com/mermaid></script>", True),
        ('<link rel="canonical" href="https://oomscope.readthedocs.io/">', False),
        ('<script src="assets/bundle.js"></script>', False),
    ],
)
def test_a_page_that_asks_elsewhere_is_found(html: str, asks: bool) -> None:
    assert bool(loaded_from_elsewhere(html)) is asks
