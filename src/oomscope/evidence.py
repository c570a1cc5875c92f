"""The evidence bundle: every fact gathered about one incident, what was asked, and what is missing.

A bundle is a value. It can be saved to a folder (see ``save``), loaded again, mailed, checked in as a test. ``analyze``
takes nothing else. Everything in it is redacted before it gets here (see ``redacted``).

On disk: ``manifest.json``, one Parquet file a table, one JSON Lines file a kind of fact. Equal bundles give equal
bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oomscope import __version__, redact
from oomscope.errors import UnreadableError, UsageError
from oomscope.facts import (
    ACCESS_SCHEMA,
    JOB_SCHEMA,
    MEMORY_SCHEMA,
    REQUEST_SCHEMA,
    EventFacts,
    Gap,
    LogStream,
    NodeFacts,
    OomKill,
    PodFacts,
    ProcessLife,
    Query,
    SeriesPoint,
    Target,
    Window,
    empty,
    polars_schema,
)

if TYPE_CHECKING:
    import polars as pl
    from pydantic import TypeAdapter

SCHEMA_NUMBER = 1
FORMAT = "oomscope-bundle"
MANIFEST = "manifest.json"
_MAX_MANIFEST = 1024 * 1024
_MAX_FILE = 2048 * 1024 * 1024
_MAX_ROWS = 50_000_000

TABLES: dict[str, dict[str, str]] = {
    "requests": REQUEST_SCHEMA, "jobs": JOB_SCHEMA, "accesses": ACCESS_SCHEMA, "memory": MEMORY_SCHEMA,
}  # fmt: skip
FACTS: dict[str, type] = {
    "pods": PodFacts, "nodes": NodeFacts, "events": EventFacts, "oom_kills": OomKill, "series": SeriesPoint,
    "streams": LogStream, "lives": ProcessLife, "gaps": Gap, "queries": Query,
}  # fmt: skip


def _table(schema: dict[str, str]) -> Any:
    return field(default_factory=lambda: empty(schema))


@dataclass(frozen=True)
class Bundle:
    """All evidence of one incident. Tables follow the schemas of ``facts``; empty means "none read", see ``gaps``."""

    target: Target = field(default_factory=Target)
    window: Window | None = None
    requests: pl.DataFrame = _table(REQUEST_SCHEMA)  # noqa: RUF009
    jobs: pl.DataFrame = _table(JOB_SCHEMA)  # noqa: RUF009
    accesses: pl.DataFrame = _table(ACCESS_SCHEMA)  # noqa: RUF009
    memory: pl.DataFrame = _table(MEMORY_SCHEMA)  # noqa: RUF009
    pods: tuple[PodFacts, ...] = ()
    nodes: tuple[NodeFacts, ...] = ()
    events: tuple[EventFacts, ...] = ()
    oom_kills: tuple[OomKill, ...] = ()
    series: tuple[SeriesPoint, ...] = ()
    streams: tuple[LogStream, ...] = ()
    lives: tuple[ProcessLife, ...] = ()
    gaps: tuple[Gap, ...] = ()
    queries: tuple[Query, ...] = ()
    sources: tuple[
        str, ...
    ] = ()  # kinds of source that gave something: app_log alb kernel_log kubernetes ...
    redacted: bool = True

    def with_gaps(self, *gaps: Gap) -> Bundle:
        """The same bundle with more gaps."""
        return replace(self, gaps=(*self.gaps, *gaps))


# -------------------------------------------------------------------------------------------------------- redaction

_SCRUBBED = {
    "requests": ("path", "referer", "exception", "note"),
    "jobs": ("note",),
    "accesses": ("path", "user_agent"),
}


def redacted(bundle: Bundle, redactor: redact.Redactor) -> Bundle:
    """The same bundle without secrets and, unless the redactor shows them, without values of queries and parameters.

    Idempotent. Client addresses stay (they join the sources); who writes text shortens them.
    """
    for table, column, learn in (
        (bundle.requests, "query", redactor.learn_query),
        (bundle.accesses, "query", redactor.learn_query),
        (bundle.requests, "params", redactor.learn_params),
        (bundle.jobs, "args", redactor.learn_params),
    ):
        redact.learn_column(table, column, learn)
    changes: dict[str, dict[str, Callable[[str], str]]] = {
        "requests": {"query": redactor.query, "params": redactor.params, "raw": redactor.line},
        "jobs": {"args": redactor.params, "raw": redactor.line},
        "accesses": {"query": redactor.query},
    }
    tables: dict[str, Any] = {}
    for name, by_column in changes.items():
        table = getattr(bundle, name)
        for column, change in (by_column | dict.fromkeys(_SCRUBBED[name], redact.scrub)).items():
            if column in table.columns:
                table = redact.map_column(table, column, change)
        tables[name] = table
    facts: dict[str, Any] = {name: tuple(_scrubbed(fact) for fact in getattr(bundle, name)) for name in FACTS}
    return replace(bundle, **tables, **facts, redacted=not redactor.show_params)


_KEYS = frozenset(
    ("stream", "source", "also_in")
)  # tables refer to these; they must stay the same on both sides


def _scrubbed(value: Any) -> Any:
    """A fact with ``scrub`` applied to every text in it. As deep as the record types are, never as the data is."""
    if isinstance(value, str):
        return redact.scrub(value)
    if isinstance(value, tuple):
        return tuple(map(_scrubbed, value))
    if is_dataclass(value) and not isinstance(value, type):
        old = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in _KEYS}
        new = {name: scrubbed for name, item in old.items() if (scrubbed := _scrubbed(item)) != item}
        return replace(value, **new) if new else value
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return 2**63 - 1 if value > 0 else -(2**63)
    return value


# ------------------------------------------------------------------------------------------------------------- save


def save(bundle: Bundle, folder: Path, *, force: bool = False) -> None:
    """Write the bundle as a folder, all or nothing; equal bundles give equal bytes.

    Raises UsageError when the folder holds something else than a bundle, or a bundle and not ``force``; nothing that
    is not of the bundle is ever removed.
    """
    _check_free(folder, force)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            _write_all(bundle, temporary)
            _move_into_place(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise UsageError(
            f"cannot write the bundle to {folder}",
            tried=str(error.strerror or error),
            likely="no permission, or no room",
            fix="choose another folder with -o",
            slug="cannot-write",
        ) from error


def is_bundle(folder: Path) -> bool:
    """Whether the folder says it is a bundle (of whatever schema number)."""
    try:
        return bool(json.loads(_read(folder / MANIFEST, _MAX_MANIFEST)).get("format") == FORMAT)
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def _check_free(folder: Path, force: bool) -> None:
    if not os.path.lexists(folder) or (folder.is_dir() and (force or not any(folder.iterdir()))):
        return
    what = "a bundle" if is_bundle(folder) else "something that is not a bundle"
    raise UsageError(
        f"{folder} already holds {what}",
        likely="the name was used before",
        fix="choose another folder with -o" + (", or add --force" if folder.is_dir() else ""),
        slug="folder-in-use",
    )


def _write_all(bundle: Bundle, folder: Path) -> None:
    for name in TABLES:
        # No statistics, one row group: nothing in the file depends on the machine that wrote it.
        getattr(bundle, name).write_parquet(
            folder / f"{name}.parquet", compression="zstd", compression_level=3, statistics=False,
            row_group_size=10_000_000,
        )  # fmt: skip
    for name in FACTS:
        lines = [_dump(fact) + b"\n" for fact in getattr(bundle, name)]
        (folder / f"{name}.jsonl").write_bytes(b"".join(lines))
    manifest = {
        "format": FORMAT,
        "schema": SCHEMA_NUMBER,
        "tool": {"name": "oomscope", "version": __version__},
        "target": json.loads(_dump(bundle.target)),
        "window": json.loads(_dump(bundle.window)) if bundle.window else None,
        "redacted": bundle.redacted,
        "sources": list(bundle.sources),
        "files": {path.name: _sha256(path) for path in sorted(folder.iterdir())},
        "rows": {name: len(getattr(bundle, name)) for name in (*TABLES, *FACTS)},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=True) + "\n", encoding="ascii")


def _move_into_place(temporary: Path, folder: Path) -> None:
    """The manifest goes away first and comes last, so that a half-written folder is never taken for a bundle."""
    temporary.chmod(0o755)
    if not folder.exists():
        temporary.rename(folder)
        return
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in sorted(temporary.iterdir(), key=lambda path: path.name == MANIFEST):
        path.replace(folder / path.name)


def _dump(fact: Any) -> bytes:
    import orjson

    return orjson.dumps(fact, option=orjson.OPT_UTC_Z | orjson.OPT_SORT_KEYS)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ------------------------------------------------------------------------------------------------------------- load


def load(folder: Path) -> Bundle:
    """Read a bundle folder.

    Raises UsageError when there is no such folder or it is no bundle, UnreadableError when it was written by a newer
    version, was changed since, or is damaged. Only the fixed file names of a bundle are ever opened, never a link.
    """
    manifest = _manifest(folder)
    try:
        tables: dict[str, Any] = {name: _load_table(folder, name, manifest) for name in TABLES}
        facts: dict[str, Any] = {name: _load_facts(folder, name, manifest) for name in FACTS}
        target = _parse(Target, json.dumps(manifest.get("target") or {}).encode())
        window = _parse(Window, json.dumps(manifest["window"]).encode()) if manifest.get("window") else None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder, str(error)) from error
    sources = manifest.get("sources")
    return Bundle(
        target=target,
        window=window,
        **tables,
        **facts,
        sources=tuple(map(str, sources)) if isinstance(sources, list) else (),
        redacted=manifest.get("redacted") is True,
    )


def _damaged(folder: Path, why: str) -> UnreadableError:
    return UnreadableError(
        f"the bundle {folder} cannot be read",
        tried=redact.printable(why, 300),
        likely="a file of it was changed, cut or lost since it was written",
        fix="collect it again, or copy the whole folder again",
        slug="bundle-damaged",
    )


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(_read(folder / MANIFEST, _MAX_MANIFEST))
    except (OSError, ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UsageError(
            f"{folder} is not a bundle",
            tried=f"reading {MANIFEST} in it",
            likely="another folder, or raw evidence that was not collected yet",
            fix="oomscope investigate --from FOLDER for raw evidence",
            slug="not-a-bundle",
        )
    if manifest.get("schema") != SCHEMA_NUMBER:
        raise UnreadableError(
            f"the bundle {folder} has schema number {redact.printable(str(manifest.get('schema')), 20)}",
            tried=f"this version reads schema number {SCHEMA_NUMBER}",
            likely="it was written by a newer version of oomscope",
            fix="install that version (see tool.version in its manifest.json)",
            slug="bundle-schema",
        )
    return manifest


def _read(path: Path, limit: int) -> bytes:
    """The bytes of a regular file (no link) of a bounded size. Raises OSError, or ValueError when it is too large."""
    info = path.lstat()
    if not stat.S_ISREG(info.st_mode):
        raise OSError(f"{path.name} is not a regular file")
    if info.st_size > limit:
        raise ValueError(f"{path.name} is larger than {limit >> 20} MiB")
    return path.read_bytes()


def _checked(folder: Path, name: str, manifest: dict[str, Any]) -> bytes:
    data = _read(folder / name, _MAX_FILE)
    sums = manifest.get("files")
    if not isinstance(sums, dict) or sums.get(name) != hashlib.sha256(data).hexdigest():
        raise ValueError(f"{name} is not as it was written (checksum)")
    return data


def _load_table(folder: Path, name: str, manifest: dict[str, Any]) -> pl.DataFrame:
    """A table with exactly the columns and types of its schema, and no more rows than can be held."""
    import io

    import polars as pl

    data = _checked(folder, f"{name}.parquet", manifest)
    try:
        schema = pl.read_parquet_schema(io.BytesIO(data))
        if dict(schema) != polars_schema(TABLES[name]):
            raise ValueError(f"{name}.parquet has other columns than a bundle")
        lazy = pl.scan_parquet(io.BytesIO(data))
        if lazy.select(pl.len()).collect().item() > _MAX_ROWS:
            raise ValueError(f"{name}.parquet has more than {_MAX_ROWS} rows")
        return lazy.collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ValueError(f"{name}.parquet is damaged") from error


def _load_facts(folder: Path, name: str, manifest: dict[str, Any]) -> tuple[Any, ...]:
    lines = _checked(folder, f"{name}.jsonl", manifest).splitlines()
    return tuple(_parse(FACTS[name], line) for line in lines)


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _parse(kind: type, line: bytes) -> Any:
    """One fact. Raises ValueError (pydantic's own is one) when fields are missing, of another type, or without zone."""
    return _in_utc(_adapter(kind).validate_json(line, strict=True))


def _in_utc(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC)
    if isinstance(value, tuple):
        return tuple(map(_in_utc, value))
    if is_dataclass(value) and not isinstance(value, type):
        old = {f.name: getattr(value, f.name) for f in fields(value)}
        new = {
            name: item
            for name, item in old.items()
            if isinstance(item, datetime | tuple) or is_dataclass(item)
        }
        return replace(value, **{name: _in_utc(item) for name, item in new.items()}) if new else value
    return value
