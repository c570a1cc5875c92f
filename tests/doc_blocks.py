"""Blocks of code in Markdown pages, and the commands in them, for tests that keep the pages true."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = ("sh", "bash", "console")
_FENCE = re.compile(r"^(\s*)```(\S*)")
_LIST = re.compile(r"^\s*([-*+]|\d+\.)\s")
_OPERATORS = ("|", "||", "&&", ";", "&")


def page_id(page: Path) -> str:
    """Short name of a page for test ids and messages."""
    return str(page.relative_to(ROOT))


@dataclass(frozen=True)
class Block:
    """One block of code. ``language`` is the word after the fence, or ``indented``."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{page_id(self.page)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One simple command: its words, and the file its standard output is sent to."""

    words: tuple[str, ...]
    stdout: str | None = None


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, fenced ones and those indented by four spaces."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").split("\n")
    i = 0
    while i < len(lines):
        fence = _FENCE.match(lines[i])
        start = i
        if fence:
            i += 1
            while i < len(lines) and not _FENCE.match(lines[i]):
                i += 1
            body = [line.removeprefix(fence[1]) for line in lines[start + 1 : i]]
            found.append(Block(page, start + 1, fence[2], "\n".join(body) + "\n"))
        elif _starts_indented(lines, i):
            while i < len(lines) and (lines[i].startswith("    ") or not lines[i].strip()):
                i += 1
            body = [line[4:] for line in lines[start:i]]
            found.append(Block(page, start + 1, "indented", "\n".join(body).rstrip() + "\n"))
            continue
        i += 1
    return found


def _starts_indented(lines: list[str], i: int) -> bool:
    if not lines[i].startswith("    ") or (i and lines[i - 1].strip()):
        return False
    before = next((line for line in reversed(lines[:i]) if line.strip()), "")
    return not (_LIST.match(before) or before.startswith(" "))


def shell_text(block: Block) -> str:
    """What a reader would paste: of a console block only the lines after the prompt."""
    if block.language != "console":
        return block.text
    kept = [line.removeprefix("$ ") for line in block.text.split("\n") if line.startswith("$ ")]
    return "\n".join(kept) + "\n"


def commands(block: Block) -> Iterator[Command]:
    """The simple commands of a shell block, in order; comments, continuations and quotes as a shell takes them."""
    pending = ""
    for line in shell_text(block).replace("\\\n", " ").split("\n"):
        pending = f"{pending}\n{line}" if pending else line
        try:
            words = _words(pending)
        except ValueError:  # a quote is still open: the command goes on in the next line
            continue
        pending = ""
        yield from _simple(words)
    assert not pending, f"{block.where}: a quote is never closed"


def _words(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    return list(lexer)


def _simple(words: list[str]) -> Iterator[Command]:
    current: list[str] = []
    stdout = None
    feed = iter([*words, ";"])
    for word in feed:
        if word in _OPERATORS:
            while current and re.fullmatch(r"[A-Z_]+=.*", current[0]):
                current.pop(0)
            if current:
                yield Command(tuple(current), stdout)
            current, stdout = [], None
        elif word in (">", ">>"):
            stdout = next(feed)
        elif word == "<":
            next(feed)
        else:
            current.append(word)
