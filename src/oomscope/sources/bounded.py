"""Finding and opening files that nobody vouches for: bounded walks, bounded inflation, no way out of the given paths.

Nothing here looks at names to tell what a file is; that is ``recognise``'s work, by content.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from oomscope.logs.interface import Identity

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from oomscope.facts import GapReason

MIB = 1024 * 1024
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read at most. Sizes are bytes of plain (inflated) text unless they say otherwise."""

    files: int = 20_000
    folders_deep: int = 32
    head: int = 64 * 1024  # looked at to recognise a file
    document: int = 32 * MIB  # a JSON document that must be held in memory as a whole
    plain: int = 65_536 * MIB  # one file
    ratio: int = 300  # inflated / deflated, once past ``ratio_from``; gzip itself can reach 1032
    ratio_from: int = 64 * MIB


@dataclass
class FileInput:
    """One file to read. Is a ``LogInput``. ``cut`` says why the last reading ended early, None if it did not."""

    path: Path
    label: str
    limits: Limits = field(default_factory=Limits)
    identity: Identity = field(default_factory=Identity)
    size: int = 0  # bytes on disk
    cut: str | None = None

    def open(self) -> BinaryIO:
        """A fresh reader of the plain bytes. Raises OSError. A damaged or oversized file just ends, see ``cut``."""
        self.cut = None
        raw = open_regular(self.path)
        start = raw.read(2)
        raw.seek(0)
        inner = _Inflating(raw, self) if start == b"\x1f\x8b" else _Capped(raw, self)
        return io.BufferedReader(inner, _CHUNK)

    def plain_path(self) -> Path | None:
        """The file itself, when its bytes are plain, all of it may be read, and it is a regular file; else None."""
        try:
            with open_regular(self.path) as raw:
                packed = raw.read(2) == b"\x1f\x8b"
                whole = os.fstat(raw.fileno()).st_size <= self.limits.plain
        except OSError:
            return None
        return self.path if whole and not packed else None

    def head(self) -> bytes:
        """The first plain bytes."""
        with self.open() as stream:
            return stream.read(self.limits.head)

    def read_all(self) -> bytes | None:
        """All plain bytes; None when they are more than a document may have."""
        with self.open() as stream:
            data = stream.read(self.limits.document + 1)
        return data if len(data) <= self.limits.document else None

    def digest(self) -> str:
        """SHA-256 of the bytes on disk."""
        with open_regular(self.path) as raw:
            digest = hashlib.sha256()
            while piece := raw.read(MIB):
                digest.update(piece)
            return digest.hexdigest()


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file and nothing else: no link as last step, no waiting at a pipe. Raises OSError."""
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    handle = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError("not a regular file")
    return open(handle, "rb", buffering=0)


class _Capped(io.RawIOBase):
    """Plain bytes up to the limit."""

    def __init__(self, raw: BinaryIO, owner: FileInput) -> None:
        self._raw, self._owner, self._left = raw, owner, owner.limits.plain

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer)
        if self._left <= 0:
            if self._raw.read(1):
                self._owner.cut = f"larger than {self._owner.limits.plain // MIB} MiB, the rest was not read"
            return 0
        count: int = self._raw.readinto(view[: min(len(view), self._left)])  # type: ignore[attr-defined]
        self._left -= count
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Inflating(io.RawIOBase):
    """gzip of one or more members, inflated piece by piece. Stops at damage, at the end, or at a bound."""

    def __init__(self, raw: BinaryIO, owner: FileInput) -> None:
        self._raw, self._owner = raw, owner
        self._input, self._read, self._written = b"", 0, 0
        self._member = _new_member()
        self._done = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer)
        data = b"" if self._done else self._next(len(view))
        self._written += len(data)
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._raw.close()
        super().close()

    def _next(self, size: int) -> bytes:
        from isal import isal_zlib

        while True:
            if bound := self._bound():
                return self._stop(bound)
            if not self._input:
                self._input = self._raw.read(_CHUNK)
                self._read += len(self._input)
            at_end = not self._input
            try:
                data: bytes = self._member.decompress(self._input, size)
            except isal_zlib.error:  # type: ignore[misc]
                return self._stop("damaged gzip data, what comes before the damage was read")
            if self._member.eof:
                self._input = self._member.unused_data or self._raw.read(_CHUNK)
                self._done = not self._another_member()
            else:
                self._input = self._member.unconsumed_tail
            if data or self._done:
                return data
            if at_end:
                return self._stop("the gzip file ends too early, what was there was read")

    def _another_member(self) -> bool:
        self._input = self._input.lstrip(b"\0")  # padding after the last member is allowed
        if not self._input.startswith(b"\x1f"):
            return False
        self._member = _new_member()
        return True

    def _bound(self) -> str | None:
        limits = self._owner.limits
        if self._written >= limits.plain:
            return f"inflates to more than {limits.plain // MIB} MiB, the rest was not read"
        if self._written > limits.ratio_from and self._written > limits.ratio * self._read:
            return f"inflates to more than {limits.ratio} times its size, the rest was not read"
        return None

    def _stop(self, why: str) -> bytes:
        self._owner.cut, self._done = why, True
        return b""


def _new_member() -> Any:
    from isal import isal_zlib

    return isal_zlib.decompressobj(wbits=31)


@dataclass(frozen=True, slots=True)
class Found:
    """What a walk came across: a file to read, a saved bundle, or (``problem``) something that cannot be read."""

    path: Path
    label: str
    kind: str  # file, bundle, problem
    problem: str | None = None
    reason: GapReason = "unparsable"
    size: int = 0  # bytes on disk, of a file


def walk(root: Path, limits: Limits) -> Iterator[Found]:
    """Everything below one given path, in a fixed order. A saved bundle counts as one thing.

    Hidden names are passed over. A link is followed only to a file that lies below the same root.
    """
    base = root.resolve()
    if not base.is_dir():
        yield _one(base, _label(base, base.parent))
        return
    folders = [(base, 0)]
    while folders:
        folder, depth = folders.pop()
        from oomscope.evidence import is_bundle

        if is_bundle(folder):
            yield Found(folder, _label(folder, base) if folder != base else base.name, "bundle")
            continue
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            yield Found(folder, _label(folder, base), "problem", error.strerror or str(error), "denied")
            continue
        below = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                below.append((path, depth + 1))
            elif found := _linked(path, base) if entry.is_symlink() else _one(path, _label(path, base)):
                yield found
        if depth < limits.folders_deep:
            folders.extend(reversed(below))
        elif below:
            why = f"more than {limits.folders_deep} folders deep, not read"
            yield Found(folder, _label(folder, base), "problem", why, "cut")


def _one(path: Path, label: str) -> Found:
    try:
        info = path.lstat()
    except OSError as error:
        return Found(path, label, "problem", error.strerror or str(error), "denied")
    if not stat.S_ISREG(info.st_mode):
        return Found(path, label, "problem", "a pipe, socket or device, not opened")
    return Found(path, label, "file", size=info.st_size)


def _linked(path: Path, base: Path) -> Found | None:
    """The file behind a link; folders behind links are walked where they really are, if that is below the root."""
    label = _label(path, base)
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
        return Found(path, label, "problem", "a link that leads nowhere")
    if not target.is_relative_to(base):
        return Found(path, label, "problem", "a link out of the given folder, not followed", "denied")
    return None if target.is_dir() else _one(target, label)


def _label(path: Path, base: Path) -> str:
    """Path below the base, with slashes, as text that is safe to show."""
    from oomscope.redact import printable

    text = "/".join(path.relative_to(base).parts) or base.name
    return printable(os.fsencode(text).decode("utf-8", "replace"), 300)


def find_files(roots: Sequence[Path], limits: Limits) -> tuple[list[Found], list[Found]]:
    """(files and bundles, problems) below all roots: each file once, in an order that no argument order changes."""
    best: dict[Path, Found] = {}
    problems: set[Found] = set()
    for root in roots:
        for found in walk(root, limits):
            if found.kind == "problem":
                problems.add(replace(found, path=Path()))
                continue
            if len(best) >= limits.files:
                problems.add(Found(Path(), "", "problem", f"more than {limits.files} files, not read", "cut"))
                break
            if found.path not in best or _rank(found) < _rank(best[found.path]):
                best[found.path] = found
    return _distinct(list(best.values())), sorted(problems, key=lambda p: (p.label, p.problem or ""))


def _rank(found: Found) -> tuple[int, str]:
    """The longest label first: it tells most about where the file lay."""
    return (-found.label.count("/"), found.label)


def _distinct(files: list[Found]) -> list[Found]:
    """In order of label; files of the same label below different roots are numbered in order of their content."""
    by_label: dict[str, list[Found]] = {}
    for found in files:
        by_label.setdefault(found.label, []).append(found)
    distinct = []
    for label in sorted(by_label):
        twins = by_label[label]
        if len(twins) > 1:
            twins = sorted(twins, key=_digest)
        distinct += [twins[0], *(replace(t, label=f"{label} ({n})") for n, t in enumerate(twins[1:], 2))]
    return distinct


def _digest(found: Found) -> str:
    path = found.path / "manifest.json" if found.kind == "bundle" else found.path
    try:
        return FileInput(path, found.label).digest()
    except OSError:
        return ""
