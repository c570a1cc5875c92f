"""The bundle on disk: same bytes for the same evidence, exact round trip, nothing believed that was tampered with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oomscope import evidence
from oomscope.errors import UnreadableError, UsageError
from oomscope.evidence import FACTS, TABLES, Bundle, load, redacted, save
from oomscope.facts import (
    ContainerFacts,
    Coverage,
    EventFacts,
    Gap,
    LogStream,
    OomKill,
    PodFacts,
    Query,
    SeriesPoint,
    Target,
    TaskRow,
    Termination,
    Window,
    polars_schema,
)
from oomscope.redact import Redactor

AT = datetime(2026, 11, 23, 9, 18, 26, 694049, tzinfo=UTC)


def same(a: Bundle, b: Bundle) -> bool:
    """Equality of bundles: tables have no ``==`` of their own."""
    return all(
        left.equals(right) if isinstance(left, pl.DataFrame) else left == right
        for left, right in ((getattr(a, f.name), getattr(b, f.name)) for f in fields(Bundle))
    )


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def table(name: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=polars_schema(TABLES[name]))


def a_bundle() -> Bundle:
    end = Termination("pod.lastState", 137, "OOMKilled", started_at=AT, finished_at=AT)
    pod = PodFacts(
        "prod",
        "web-1",
        "uid",
        pod_ips=("10.0.0.1",),
        containers=(ContainerFacts("rails", terminations=(end,)),),
    )
    return Bundle(
        target=Target("prod", pod="web-1", at=AT),
        window=Window(AT, AT.replace(hour=10)),
        requests=table("requests", [{"stream": "s", "path": "/a", "started_at": AT, "params": "{}"}]),
        memory=table("memory", [{"at": AT, "pod": "web-1", "working_set_bytes": 2**40}]),
        pods=(pod,),
        events=(EventFacts(AT, "Killing", "x"),),
        oom_kills=(OomKill(7, "ruby", AT, tasks=(TaskRow(7, 7, "ruby", 4096),), raw=("a", "b")),),
        series=(SeriesPoint("restarts", AT, 1.0),),
        streams=(LogStream("s", "f", first_at=AT, coverage=Coverage(3, 2, 100)),),
        gaps=(Gap("file", "cut", "x", window=Window(AT, AT)),),
        queries=(Query("alb", "x", rows=1),),
        sources=("alb",),
    )  # fmt: skip


def test_round_trip_and_same_bytes(tmp_path: Path) -> None:
    save(a_bundle(), tmp_path / "a")
    loaded = load(tmp_path / "a")
    assert same(loaded, a_bundle())
    save(loaded, tmp_path / "deep" / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "deep" / "b")


def test_every_table_and_fact_of_a_bundle_is_saved() -> None:
    kept = {*TABLES, *FACTS, "target", "window", "sources", "redacted"}
    assert kept == {f.name for f in fields(Bundle)}


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_times = st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))
_ints = st.integers(-(2**63), 2**63 - 1)
_columns = {"str": _texts, "int": _ints, "float": st.floats(allow_nan=False), "time": _times}


def _rows(name: str) -> st.SearchStrategy[pl.DataFrame]:
    row = st.fixed_dictionaries({column: st.none() | _columns[kind] for column, kind in TABLES[name].items()})
    return st.lists(row, max_size=3).map(lambda rows: table(name, rows))


_kinds: dict[type, st.SearchStrategy[object]] = {
    str: _texts, int: _ints, float: st.floats(allow_nan=False, allow_infinity=False), datetime: _times,
}  # fmt: skip
for _kind, _strategy in _kinds.items():
    st.register_type_strategy(_kind, _strategy)

_bundles = st.builds(
    Bundle,
    target=st.from_type(Target),
    window=st.none() | st.from_type(Window),
    redacted=st.booleans(),
    sources=st.lists(_texts, max_size=2).map(tuple),
    **{name: _rows(name) for name in TABLES},
    **{name: st.lists(st.from_type(kind), max_size=2).map(tuple) for name, kind in FACTS.items()},
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(bundle=_bundles)
def test_any_bundle_survives_the_disk(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bundles")
    save(bundle, folder / "a")
    assert same(load(folder / "a"), bundle)
    save(load(folder / "a"), folder / "b")
    assert files_of(folder / "a") == files_of(folder / "b")


# --------------------------------------------------------------------------------------------------- what is refused


def rewrite(folder: Path, name: str, data: bytes) -> None:
    """Change a file and mend its checksum, as one who knows the format would."""
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"][name] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(a_bundle(), tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_changed_file_is_noticed(saved: Path) -> None:
    with (saved / "pods.jsonl").open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(UnreadableError) as caught:
        load(saved)
    assert "pods.jsonl" in caught.value.tried


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("pods.jsonl", b"{}\n"),
        ("pods.jsonl", b"not json\n"),
        ("pods.jsonl", b'{"namespace": "a", "name": 7}\n'),
        ("events.jsonl", b'{"at": "2026-11-23T09:00:00", "reason": "a", "message": "no zone"}\n'),
        ("gaps.jsonl", b'{"source": "x", "reason": "whatever", "detail": ""}\n'),
        ("pods.jsonl", b"[" * 10_000 + b"\n"),
        ("memory.parquet", b"PAR1 nothing PAR1"),
        ("memory.parquet", b""),
    ],
    ids=range(8),
)
def test_a_forged_file_is_an_error_for_the_user(saved: Path, name: str, data: bytes) -> None:
    rewrite(saved, name, data)
    with pytest.raises(UnreadableError):
        load(saved)


def test_a_table_of_other_columns_is_refused(saved: Path, tmp_path: Path) -> None:
    pl.DataFrame({"at": [1]}).write_parquet(tmp_path / "t")
    rewrite(saved, "memory.parquet", (tmp_path / "t").read_bytes())
    with pytest.raises(UnreadableError) as caught:
        load(saved)
    assert "memory.parquet" in caught.value.tried


@pytest.mark.parametrize("cut", [1, 50, 400])
def test_a_truncated_table_is_refused(saved: Path, cut: int) -> None:
    rewrite(saved, "requests.parquet", (saved / "requests.parquet").read_bytes()[:-cut])
    with pytest.raises(UnreadableError):
        load(saved)


def test_a_missing_file_is_refused(saved: Path) -> None:
    (saved / "jobs.parquet").unlink()
    with pytest.raises(UnreadableError):
        load(saved)


@pytest.mark.parametrize("number", [2, 0, "1", None, 10**400])
def test_another_schema_number_is_named(saved: Path, number: object) -> None:
    manifest = json.loads((saved / "manifest.json").read_bytes()) | {"schema": number}
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UnreadableError) as caught:
        load(saved)
    assert "schema number" in caught.value.what


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "other"}', "[" * 100_000, "\xff"])
def test_no_bundle_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(UsageError):
        load(tmp_path)


def test_links_in_a_bundle_are_not_followed(saved: Path, tmp_path: Path) -> None:
    (saved / "pods.jsonl").rename(tmp_path / "elsewhere")
    (saved / "pods.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnreadableError):
        load(saved)


# ------------------------------------------------------------------------------------------------------- where it goes


def test_what_is_there_is_not_overwritten(saved: Path, tmp_path: Path) -> None:
    before = files_of(saved)
    with pytest.raises(UsageError, match="already holds a bundle"):
        save(Bundle(), saved)
    assert files_of(saved) == before
    other = tmp_path / "mine"
    other.mkdir()
    (other / "notes.txt").write_text("keep me")
    with pytest.raises(UsageError, match="not a bundle"):
        save(a_bundle(), other)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError):
        save(a_bundle(), tmp_path / "file", force=True)


def test_force_replaces_a_bundle_and_removes_nothing_else(saved: Path) -> None:
    (saved / "notes.txt").write_text("keep me")
    save(Bundle(), saved, force=True)
    assert same(load(saved), Bundle())
    assert (saved / "notes.txt").read_text() == "keep me"
    assert [p.name for p in saved.parent.iterdir()] == ["bundle"], "nothing temporary is left"


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    save(a_bundle(), tmp_path)
    assert same(load(tmp_path), a_bundle())


def test_a_folder_that_cannot_be_written_is_an_error_for_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot write"):
        save(a_bundle(), tmp_path / "file" / "bundle")


# ----------------------------------------------------------------------------------------------------------- redaction


def test_a_bundle_holds_no_secret() -> None:
    secret = "hunter2hunter2"
    plain = f"password={secret}"
    request = {
        "stream": "s",
        "path": f"/a?token={secret}",
        "query": f"token={secret}",
        "params": f'{{"password":"{secret}"}}',
        "raw": f'Started GET "/a?token={secret}"',
        "exception": plain,
        "note": plain,
    }
    access = {"query": f"name={secret}", "path": f"/x;token={secret}", "user_agent": plain}
    end = Termination("pod.state", message=f"Bearer {secret}")
    container = ContainerFacts("c", command=(f"--{plain}",), terminations=(end,))
    bundle = replace(
        a_bundle(),
        requests=table("requests", [request]),
        jobs=table("jobs", [{"args": f'["{secret}x"]', "raw": plain, "note": plain}]),
        accesses=table("accesses", [access]),
        pods=(PodFacts("n", "p", containers=(container,)),),
        events=(EventFacts(AT, "x", plain),),
        oom_kills=(OomKill(1, "ruby", None, raw=(plain,)),),
        streams=(LogStream("s", "f", error_seen=plain),),
    )
    clean = redacted(bundle, Redactor())
    for name in TABLES:
        assert secret not in getattr(clean, name).write_csv()
    assert secret not in repr([getattr(clean, name) for name in FACTS])
    assert clean.redacted
    assert same(redacted(clean, Redactor()), clean)
    assert not redacted(bundle, Redactor(show_params=True)).redacted


def test_equal_values_stay_equal_across_sources() -> None:
    bundle = replace(
        a_bundle(),
        requests=table("requests", [{"query": "id=123456"}]),
        accesses=table("accesses", [{"query": "id=123456"}]),
    )
    clean = redacted(bundle, Redactor())
    assert clean.requests["query"][0] == clean.accesses["query"][0] != "id=123456"


def test_streams_keep_the_key_that_tables_refer_to() -> None:
    key = "jane@example.com/key=prod/app.log"
    bundle = replace(
        a_bundle(),
        requests=table("requests", [{"stream": key}]),
        streams=(LogStream(key, key, also_in=(key,)),),
    )
    clean = redacted(bundle, Redactor())
    assert clean.streams[0].stream == clean.requests["stream"][0] == key


def test_numbers_beyond_64_bits_and_half_characters_can_be_saved(tmp_path: Path) -> None:
    odd = replace(a_bundle(), oom_kills=(OomKill(10**30, "a\ud800", None),))
    save(redacted(odd, Redactor()), tmp_path / "b")
    assert load(tmp_path / "b").oom_kills[0].comm == "a?"


def test_a_manifest_names_the_version_and_nothing_of_this_machine(saved: Path) -> None:
    text = (saved / "manifest.json").read_text()
    assert json.loads(text)["tool"]["version"] == evidence.__version__
    assert str(saved.parent) not in text
