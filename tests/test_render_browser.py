"""The page in a real browser: no errors, no requests, no overflow, and the small script does what it should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oomscope.render import render
from tests import axe, chromium
from tests import sample_reports as samples
from tests.real_reports import REAL

pytestmark = [
    pytest.mark.realserver,
    pytest.mark.skipif(chromium.find() is None, reason="no Chromium: apt-get install chromium"),
]
ALL = {**samples.SAMPLES, **REAL, "crowd": samples.crowd}


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, make in ALL.items():
        (folder / f"{name}.html").write_text(render(make(), "html", now=samples.NOW), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in ALL}


OPEN_ALL = "document.querySelectorAll('details').forEach(d => d.open = true)"
A4 = 710  # pixels between the margins of the printed page
OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"
# Every text of the visible charts must lie inside the page.
CUT = """[...document.querySelectorAll('figure svg text')].map(t => t.getBoundingClientRect())
 .filter(r => r.width > 0 && (r.left < -1 || r.right > innerWidth + 1)).length"""


@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("name", ALL)
def test_quiet_and_inside_the_window(
    window: chromium.Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    window.events.clear()
    window.open(pages[name], width=width, dark=width == 1280)
    window.run(OPEN_ALL)
    assert window.run(OVERFLOW) <= 0
    assert window.run(CUT) == 0
    window.run("1")  # flush what is still to be reported
    methods = [event["method"] for event in window.events]
    assert not {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"} & set(methods)
    asked = [
        e["params"]["request"]["url"] for e in window.events if e["method"] == "Network.requestWillBeSent"
    ]
    assert asked == [pages[name].as_uri()]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", [*REAL, "hostile", "abstention", "child_kill", "unknown_in_flight"])
def test_no_violation_of_accessibility_rules(
    window: chromium.Browser, pages: dict[str, Path], name: str, dark: bool
) -> None:
    """Contrast AA among them, the folded parts open."""
    for width in (390, 1280, 1920):
        window.open(pages[name], width=width, dark=dark)
        window.run(OPEN_ALL)
        assert axe.violations(window) == []


def test_the_rules_are_really_checked(window: chromium.Browser, pages: dict[str, Path]) -> None:
    window.open(pages["strong"], width=1280, dark=False)
    window.run("document.querySelector('.answer p').style.color = '#ccc'")
    assert any(found.startswith("color-contrast: ") for found in axe.violations(window))


def test_cause_and_charts_are_on_the_first_two_screens(
    window: chromium.Browser, pages: dict[str, Path]
) -> None:
    window.open(pages["strong"], width=1280, dark=False)
    assert window.run("document.querySelector('.answer .name').getBoundingClientRect().bottom") < 300
    assert window.run("document.querySelector('figure.main .wide svg').getBoundingClientRect().bottom") < 1800


def test_sort_filter_hover_and_copy(window: chromium.Browser, pages: dict[str, Path]) -> None:
    window.open(pages["strong"], width=1280, dark=False)
    first = "document.querySelector('#ends tbody tr').cells[0].textContent"
    window.run("document.querySelectorAll('#ends th button')[4].click()")
    assert "GET /search" in window.run(first)
    window.run("document.querySelectorAll('#ends th button')[4].click()")
    assert "GET /admin/orders.csv" in window.run(first)
    visible = "[...document.querySelectorAll('#ends tbody tr')].filter(r => !r.hidden).length"
    window.run("box = document.querySelector('input[data-filter]'); box.value = 'checkout'")
    window.run("box.dispatchEvent(new Event('input'))")
    assert window.run(visible) == 1
    window.run("bar = document.querySelector('.wide [aria-label*=\"open for 96\"]'); bar.scrollIntoView()")
    x, y = window.run("(r => [r.left + r.width / 2, r.top + r.height / 2])(bar.getBoundingClientRect())")
    window.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert "open for 96 s" in window.run("document.getElementById('tip').textContent")
    assert window.run("document.getElementById('tip').hidden") is False
    assert "OOMKilled  shop/web" in window.run("document.getElementById('as-text').textContent")


NEEDS_SCRIPT = (".tools button", ".command button", "input[type=search]")


def _box(window: chromium.Browser, root: int, selector: str) -> tuple[int, int]:
    """Width and height of the first such element; nothing when it is not laid out."""
    node = window.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
    if not node:
        return 0, 0
    try:
        model = window.call("DOM.getBoxModel", nodeId=node)["model"]
    except AssertionError:  # Chromium's answer for what has no box
        return 0, 0
    return model["width"], model["height"]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["strong", "child_kill", "nobody", "abstention", "spike"])
def test_readable_with_scripts_off(
    window: chromium.Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    window.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        window.open(pages[name], width=width, dark=False)
        window.call("DOM.enable")
        root = window.call("DOM.getDocument")["root"]["nodeId"]
        drawn = "figure.main .narrow svg" if width == 390 else "figure.main .wide svg"
        for selector in (".answer", drawn, "#hypotheses", "#ends tbody tr" if name != "nobody" else "#read"):
            assert min(_box(window, root, selector)) > 0, selector
        for selector in NEEDS_SCRIPT:
            assert _box(window, root, selector) == (0, 0), selector
    finally:
        window.call("Emulation.setScriptExecutionDisabled", value=False)


def test_prints_on_two_pages(window: chromium.Browser, pages: dict[str, Path]) -> None:
    import base64

    for name in ("strong", "abstention", "crowd", "child_kill", *REAL):
        window.open(pages[name], width=A4, dark=False)
        window.call("Emulation.setEmulatedMedia", media="print", features=[])
        assert window.run(OVERFLOW) <= 0, name
        window.call("Emulation.setEmulatedMedia", media="", features=[])
        pdf = base64.b64decode(window.call("Page.printToPDF", preferCSSPageSize=True)["data"])
        assert 1 <= pdf.count(b"/Type /Page\n") <= 2, name
