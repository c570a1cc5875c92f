"""Junk of every kind: a clear gap that names the file, within 10 s and 300 MB, and the rest is still read."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oomscope.facts import Gap
from oomscope.sources.bounded import MIB, FileInput, Limits
from oomscope.sources.files import collect_files

INCIDENT = Path(__file__).parent / "data" / "files" / "incident"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF" + random.Random(1).randbytes(5000)


def collected(folder: Path, name: str, data: bytes, limits: Limits | None = None) -> list[Gap]:
    """The gaps that a file leaves beside one good file."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    shutil.copy(INCIDENT / "pod.json", folder / "good.json")
    bundle = collect_files([folder], limits=limits or Limits())
    assert bundle.pods, "the rest is still read"
    return [gap for gap in bundle.gaps if name in gap.detail]


def a_text(lines: int = 20_000) -> bytes:
    return b"".join(b"%08x the quick brown fox %d\n" % (n * 7919, n) for n in range(lines))


@pytest.mark.parametrize(
    ("data", "reason", "says"),
    [
        (b"", "no_data", "empty"),
        (gzip.compress(b""), "no_data", "empty"),
        (JPEG, "unparsable", "JPEG"),
        (b"BZh91AY&SY" + b"x" * 100, "unparsable", "bzip2"),
        (gzip.compress(gzip.compress(a_text())), "unparsable", "gzip"),
        (b"PK\x03\x04" + b"x" * 100, "unparsable", "zip"),
        (b"a" * 5_000_000, "unparsable", "line"),
        ("ログが壊れています。\n".encode("shift_jis") * 1000, "unparsable", "not UTF-8"),
        (b"[" * 10_000 + b"]" * 10_000, "unparsable", "deep"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "unparsable", "deep"),
        ((INCIDENT / "pod.json").read_bytes()[:1500], "cut", "too early"),
        (b'{"kind": "Pod", nonsense}', "unparsable", "JSON"),
        (b'{"hello": "world"}', "unparsable", "JSON"),
        ('{"kind": "Pod"}'.encode("utf-16"), "unparsable", "UTF-16"),
        (b"apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n", "unparsable", "YAML"),
        (a_text(), "unparsable", "text"),
        (b"\x1f\x8b" + b"garbage" * 100, "cut", "gzip"),
        (gzip.compress(a_text())[:20], "cut", "gzip"),
    ],
    ids=range(18),
)
def test_junk_is_named_and_the_rest_is_read(data: bytes, reason: str, says: str, tmp_path: Path) -> None:
    (gap,) = collected(tmp_path / "in", "junk", data)
    assert gap.reason == reason
    assert says in gap.detail


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_of_a_gz_cut_short_the_readable_part_is_kept(share: float, tmp_path: Path) -> None:
    (path,) = (INCIDENT / "alb").iterdir()
    rows = gzip.decompress(path.read_bytes())
    big = b"".join(rows.replace(b"Root=1-", b"Root=1-%d" % n) for n in range(200))
    packed = gzip.compress(big)
    (tmp_path / "x").write_bytes(packed[: int(len(packed) * share)])
    bundle = collect_files([tmp_path])
    assert 0.5 * share < len(bundle.accesses) / big.count(b"\n") < 1
    assert any(gap.reason == "cut" and "too early" in gap.detail for gap in bundle.gaps)


def test_a_damaged_gz_keeps_what_comes_before(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(a_text(200_000)))
    packed[len(packed) // 2 :] = b"\xff" * 1000
    (tmp_path / "x").write_bytes(packed)
    file = FileInput(tmp_path / "x", "x")
    with file.open() as stream:
        read = stream.read()
    whole = a_text(200_000)
    assert read[: len(whole) // 3] == whole[: len(whole) // 3]
    assert file.cut


def test_gz_of_several_members_and_padding(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(
        gzip.compress(b"one\n") + gzip.compress(b"") + gzip.compress(b"two\n") + b"\0" * 100
    )
    file = FileInput(tmp_path / "x", "x")
    with file.open() as stream:
        assert stream.read() == b"one\ntwo\n"
    with file.open() as again:
        assert again.readline() == b"one\n"
    assert file.cut is None


def test_reading_in_small_pieces_gives_the_same(tmp_path: Path) -> None:
    data = a_text(50_000)
    (tmp_path / "x").write_bytes(gzip.compress(data[:700_000]) + gzip.compress(data[700_000:]))
    with FileInput(tmp_path / "x", "x").open() as stream:
        pieces = list(iter(lambda: stream.read(777), b""))
    assert b"".join(pieces) == data


def test_a_bomb_is_cut_by_ratio_and_by_size(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(gzip.compress(b"\n" * 20 * MIB))
    for limits, most in ((Limits(ratio=100, ratio_from=MIB), 3 * MIB), (Limits(plain=5 * MIB), 6 * MIB)):
        file = FileInput(tmp_path / "x", "x", limits)
        with file.open() as stream:
            assert len(stream.read()) <= most
        assert "inflates" in str(file.cut)


def test_a_plain_file_over_the_limit_is_cut(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 3 * MIB)
    file = FileInput(tmp_path / "x", "x", Limits(plain=MIB))
    with file.open() as stream:
        assert len(stream.read()) == MIB
    assert "larger than" in str(file.cut)


def test_a_document_over_the_limit_is_not_read(tmp_path: Path) -> None:
    data = json.dumps({"kind": "Pod", "metadata": {"x": "y" * 3 * MIB}}).encode()
    (gap,) = collected(tmp_path / "in", "junk", data, Limits(document=MIB))
    assert gap.reason == "cut"


def test_a_log_answer_over_the_limit_is_still_read_as_a_log(tmp_path: Path) -> None:
    data = gzip.decompress((INCIDENT / "cloudwatch.json.gz").read_bytes())
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "x").write_bytes(data)
    big = tmp_path / "big"
    event = json.dumps({"message": "a quoted oom-kill:constraint", "timestamp": 1795425951938}).encode()
    gaps = collected(big, "x", data.replace(b"\n], ", b",\n" + event + b"\n], "), Limits(document=100_000))
    assert [gap.reason for gap in gaps] == ["cut"]
    assert len(collect_files([big]).requests) == len(collect_files([whole]).requests) > 0


RUN = """
import sys, time
from pathlib import Path
from oomscope.errors import UserError
from oomscope.sources.files import collect_files
started = time.monotonic()
try:
    collect_files([Path(sys.argv[1])])
    code = 0
except UserError as error:
    code = error.exit_code
    assert error.what and error.tried and error.likely and error.fix
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(code, time.monotonic() - started, int(peak.split()[1]) / 1024)
"""


def a_folder_of_jpegs(folder: Path) -> None:
    for n in range(200):
        (folder / f"IMG_{n:04}.jpg").write_bytes(JPEG + b"%d" % n)


def a_random_file(folder: Path) -> None:
    with (folder / "core").open("wb") as file:
        for seed in range(100):
            file.write(random.Random(seed).randbytes(MIB))


def a_long_line(folder: Path) -> None:
    (folder / "line").write_bytes(b"Started GET " * 400_000)


def a_deep_document(folder: Path) -> None:
    (folder / "deep.json").write_bytes(b'{"items":[' * 10_000)


def a_bomb(folder: Path) -> None:
    with gzip.open(folder / "bomb.gz", "wb", 6) as file:
        for _ in range(400):
            file.write(b"x" * MIB)


def shift_jis(folder: Path) -> None:
    (folder / "log").write_bytes("処理を開始します [INFO] 注文\r\n".encode("shift_jis") * 100_000)


def nothing(_folder: Path) -> None:
    pass


@pytest.mark.parametrize(
    "make", [a_folder_of_jpegs, a_random_file, a_long_line, a_deep_document, a_bomb, shift_jis, nothing]
)
def test_junk_alone_ends_soon_small_and_with_exit_code_4(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout, run.stderr
    code, seconds, mebibytes = map(float, run.stdout.split())
    assert code == 4
    assert seconds < 10
    assert mebibytes < 300


def test_two_thousand_small_files_are_no_problem(tmp_path: Path) -> None:
    for n in range(2000):
        (tmp_path / f"{n}.txt").write_text(f"note {n}\n")
    shutil.copy(INCIDENT / "pod.json", tmp_path / "pod.json")
    started = time.perf_counter()
    assert len(collect_files([tmp_path]).gaps) == 2000
    assert time.perf_counter() - started < 5
