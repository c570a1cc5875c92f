"""The ways of reading large logs against reading them line by line: the same facts, whatever is in the log."""

from __future__ import annotations

import gzip
import io
import random
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import polars as pl
import pytest
from bench.speed.rails_gen import Rails

from oomscope import logs
from oomscope.facts import Gap
from oomscope.logs import (
    blocks,
    bytescan,
    drain,
    envelopes,
    fast,
    lifecycles,
    matched,
    opens,
    parts,
    plan,
    server_rules,
    tracker,
    whole,
)
from oomscope.logs.interface import LogScan
from oomscope.sources.bounded import FileInput
from tests.logs_help import CAPTURES, Bytes

NEVER = 1 << 28
Setting = Callable[..., None]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> Setting:
    """Have even the smallest log read in blocks of the given size."""

    def setting(block: int = 1 << 16) -> None:
        monkeypatch.setattr(drain, "SMALL", 1 << 15)
        monkeypatch.setattr(drain, "LEARN", 1 << 15)
        monkeypatch.setattr(fast, "_LEARN", 1 << 13)
        monkeypatch.setattr(fast, "_BATCH", block // 2)
        monkeypatch.setattr(blocks.Blocks.__init__, "__defaults__", (block,))
        monkeypatch.setattr(matched, "BLOCK", block)

    return setting


def by_line(data: bytes, monkeypatch: pytest.MonkeyPatch) -> LogScan:
    """The scan that looks at every line."""
    with monkeypatch.context() as patch:
        patch.setattr(drain, "SMALL", NEVER)
        return logs.scan([Bytes(data)])


def check_same(found: LogScan, wanted: LogScan) -> None:
    """Every table, stream, life and gap."""
    assert found.streams == wanted.streams
    assert found.lives == wanted.lives
    assert found.gaps == wanted.gaps
    assert found.jobs.equals(wanted.jobs)
    assert found.requests.to_dicts() == wanted.requests.to_dicts()
    assert found.requests.equals(wanted.requests)


def rails(seed: int, lines: int, **dirt: Any) -> bytes:
    """A made-up log, with what real ones are dirty with."""
    draw = random.Random(seed)
    return b"\n".join(_dirty(Rails(seed, killed=0.02).lines(), lines, draw, **dirt)) + b"\n"


def _dirty(
    source: Iterator[tuple[int, int, str]], count: int, draw: random.Random, **dirt: Any
) -> Iterator[bytes]:
    written: list[bytes] = []
    for _, (_, _, text) in zip(range(count), source, strict=False):
        line = text.encode()
        chance = draw.random()
        if dirt.get("forged") and chance < 0.01:
            tag = line[line.find(b"[", 30) : line.find(b"]", 40) + 1] if b" -- : [" in line else b"[x]"
            yield b"  " + tag + b" Completed 200 OK in 1ms (Allocations: 3)"
            yield tag + b" Completed 200 OK in 1ms (Allocations: 3)"
        if dirt.get("bytes") and chance < 0.01:
            line = line.replace(b"/items/", b"/items/\xff\xfe")
        if dirt.get("colour") and chance < 0.05:
            line = line.replace(b"  Rendered", b"\x1b[1m  Rendered\x1b[0m")
        if dirt.get("untagged") and chance < 0.01 and b" -- : [" in line:
            at = line.find(b" -- : [") + 6
            line = line[:at] + line[line.find(b"] ", at) + 2 :]
        if dirt.get("twice") and chance < 0.01:
            yield line
        if dirt.get("again") and chance < 0.02 and written:
            yield draw.choice(written[-400:])
        if dirt.get("long") and chance < 0.004:
            other = draw.choice(written or [b""])
            line += b" x" * draw.randrange(2000, 9000) + b" " + other
        if dirt.get("names") and chance < 0.01 and written:
            line += b" about " + draw.choice(written[-200:])[-200:]
        if dirt.get("puma") and chance < 0.002:
            yield draw.choice([
                b"Puma starting in cluster mode...", b"- Worker 0 (PID: 17) booted in 0.1s, phase: 0",
                b"* Min threads: 3, max threads: 3", b"- Gracefully stopping, waiting for requests to finish",
                b'{"message": "a line of JSON", "level": "info", "time": "2026-01-02T03:04:05Z"}',
            ])  # fmt: skip
        if dirt.get("actions") and chance < 0.01 and b"Completed" in line:
            yield line
            line = line[: line.find(b"Completed")] + b"Processing by ErrorsController#show as HTML"
        written.append(line)
        yield line


def cloudwatch(data: bytes, pods: int = 3) -> bytes:
    """The lines as events of CloudWatch Logs with a record of Fluent Bit in each, one a line, of several pods."""
    import json

    events = []
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n")[:-1]):
        pod = sum(line.encode()[34:36]) % pods
        names = {
            "pod_name": f"web-{pod}",
            "namespace_name": "n",
            "container_name": "web",
            "docker_id": f"{pod}" * 64,
        }
        at = f"2026-01-02T03:{4 + number // 50_000:02}:{number % 50_000 // 1000:02}.{number % 1000:03}000789Z"
        record = {"log": line, "stream": "stdout", "time": at, "kubernetes": names}
        event = {
            "timestamp": 1_767_323_045_000 + number,
            "message": json.dumps(record, separators=(",", ":")),
        }
        events.append(json.dumps(event, separators=(",", ":")))
    return "\n".join(events).encode() + b"\n"


def plain(data: bytes) -> bytes:
    """The lines without the logger's prefix, as Rails writes them since version 7.1."""
    return re.sub(rb"(?m)^[IFW], \[[^\]\n]*\] +[A-Z]+ -- : ", b"", data)


def cri(data: bytes, split: int = 1 << 40) -> bytes:
    """The lines as containerd writes them, every so many in two pieces."""
    found = []
    for number, line in enumerate(data.split(b"\n")[:-1]):
        at = b"2026-01-02T03:%02d:%02d.%03d000789Z stdout " % (
            4 + number // 50_000,
            number % 50_000 // 1000,
            number % 1000,
        )
        if number % split == split - 1:
            found.append(at + b"P " + line[:60])
            line = line[60:]
        found.append(at + b"F " + line)
    return b"\n".join(found) + b"\n"


def answer(data: bytes) -> bytes:
    """The same events as one answer of FilterLogEvents, one event a line."""
    return b'{"events": [\n' + cloudwatch(data).rstrip(b"\n").replace(b"\n", b",\n") + b"\n]}\n"


ENVELOPES: dict[str, Callable[[bytes], bytes]] = {
    "bare": bytes, "cri": cri, "cri in pieces": lambda data: cri(data, 97), "cloudwatch": cloudwatch, "answer": answer,
    "cri without prefix": lambda data: cri(plain(data)),
    "cloudwatch without prefix": lambda data: cloudwatch(plain(data), 1),
}  # fmt: skip


DIRT: dict[str, dict[str, Any]] = {
    "clean": {},
    "forged lines": {"forged": True},
    "bad bytes and colours": {"bytes": True, "colour": True},
    "lines without tag": {"untagged": True},
    "lines twice": {"twice": True},
    "lines again later": {"again": True},
    "long lines with others inside": {"long": True},
    "requests named elsewhere": {"names": True},
    "servers and JSON between": {"puma": True},
    "a second action": {"actions": True},
    "everything": {
        "forged": True, "bytes": True, "untagged": True, "again": True, "long": True, "names": True, "actions": True,
        "puma": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("dirt", DIRT.values(), ids=DIRT.keys())
@pytest.mark.parametrize("seed", range(3))
def test_blocks_give_what_lines_give(
    envelope: str, dirt: dict[str, Any], seed: int, always: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ENVELOPES[envelope](rails(seed, 2500, **dirt))
    always(random.Random(seed).choice([1 << 14, 1 << 16, 1 << 18]) if not dirt.get("long") else 1 << 17)
    check_same(logs.scan([Bytes(data)]), by_line(data, monkeypatch))


def test_clean_requests_are_really_taken_as_blocks(always: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the comparison above compares nothing."""
    fed = 0
    feed = fast.Bare._lines

    def counted(self: Any, data: bytes) -> None:
        nonlocal fed
        fed += data.count(b"\n") + 1
        feed(self, data)

    monkeypatch.setattr(fast.Bare, "_lines", counted)
    always()
    result = logs.scan([Bytes(rails(1, 6000))])
    assert fed < 200
    assert result.streams[0].coverage.lines == 6000


@pytest.mark.parametrize("size", range(5000, 5400, 7))
def test_borders_of_blocks_may_be_anywhere(
    size: int, always: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rails(5, 160)
    always(size)
    check_same(logs.scan([Bytes(data)]), by_line(data, monkeypatch))


@pytest.mark.parametrize("end", [b"", b"\r\n", b"I, [2026-01-02T03:04:06.0", b"\xe2\x82", b"\n\n"])
def test_ends_of_logs(end: bytes, always: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    data = rails(2, 900) + end
    always()
    check_same(logs.scan([Bytes(data)]), by_line(data, monkeypatch))


def test_carriage_returns(always: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    data = rails(3, 1200).replace(b"\n", b"\r\n")
    always()
    check_same(logs.scan([Bytes(data)]), by_line(data, monkeypatch))


@pytest.mark.parametrize("name", sorted(path.stem for path in CAPTURES.glob("*.log")))
def test_captures(name: str, always: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (CAPTURES / f"{name}.log").read_bytes()
    always(blocks.BLOCK)
    check_same(logs.scan([Bytes(data)]), by_line(data, monkeypatch))


def test_a_line_longer_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = rails(4, 20_000).split(b"\n")
    lines[9000] += b"x" * (3 << 20)
    lines[12000] += b"y" * ((1 << 20) + 5)
    data = b"\n".join(lines)
    assert len(data) > drain.SMALL
    check_same(logs.scan([Bytes(data)]), by_line(data, monkeypatch))


class Broken(Bytes):
    """Breaks off like a damaged gzip file."""

    def open(self) -> BinaryIO:
        stream = io.BytesIO(self.data)

        class Reader(io.RawIOBase):
            def readable(self) -> bool:
                return True

            def readinto(self, buffer: Any, /) -> int:
                if stream.tell() > 200_000:
                    raise zlib.error("damaged")
                return stream.readinto(buffer[:7000])

        return io.BufferedReader(Reader())


def test_an_input_that_breaks_gives_all_before(always: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Broken(rails(6, 3000))
    with monkeypatch.context() as patch:
        patch.setattr(drain, "SMALL", NEVER)
        wanted = logs.scan([broken])
    always()
    found = logs.scan([broken])
    assert wanted.gaps == found.gaps
    assert [gap.reason for gap in found.gaps] == ["cut"]
    assert abs(found.streams[0].coverage.lines - wanted.streams[0].coverage.lines) < 200


def test_every_boot_of_a_server_that_splits_a_log_is_seen_beforehand() -> None:
    """A block with such a line is read line by line, since requests before and behind it belong to different lives."""
    for rules in server_rules.RULES.values():
        for rule in rules:
            if rule.kind == "boot" and str(rule.fields.get("server", "")).startswith(("puma", "unicorn")):
                assert "starting in" in rule.pattern.pattern


# ------------------------------------------------------------------------------------------- only what matters is read


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize(
    "dirt", ["clean", "forged lines", "bad bytes and colours", "requests named elsewhere"]
)
@pytest.mark.parametrize("seed", range(3))
def test_open_requests_are_those_of_the_whole_scan(
    envelope: str, dirt: str, seed: int, always: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ENVELOPES[envelope](rails(seed, 3000, **DIRT[dirt]))
    wanted = whole._unended(by_line(data, monkeypatch).requests)
    always(random.Random(seed).choice([1 << 15, 1 << 17]))
    found = logs.scan_open([Bytes(data)]).requests
    assert found.to_dicts() == wanted.to_dicts()
    assert found.height > 10


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_requests_that_are_only_counted_do_not_hurry_the_others(
    envelope: str, always: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines wait for their blocks and are put in order: many requests are counted before a line that came earlier."""
    data = ENVELOPES[envelope](rails(1, 6000))
    wanted = whole._unended(by_line(data, monkeypatch).requests)
    always(1 << 15)
    monkeypatch.setattr(tracker, "_MAX_WAITING", 100)
    found = logs.scan_open([Bytes(data)]).requests
    assert found.to_dicts() == wanted.to_dicts()


@pytest.mark.parametrize("envelope", sorted(ENVELOPES.keys() - {"cri in pieces"}))
@pytest.mark.parametrize("dirt", ["clean", "forged lines", "bad bytes and colours"])
@pytest.mark.parametrize("seed", range(3))
def test_lifecycles_are_those_of_the_whole_scan(
    envelope: str, dirt: str, seed: int, always: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ENVELOPES[envelope](rails(seed, 3000, **DIRT[dirt]))
    wanted = by_line(data, monkeypatch).requests
    always(1 << 16)
    check_lifecycles([Bytes(data)], wanted)


def check_lifecycles(inputs: list[Any], wanted: pl.DataFrame) -> None:
    """The tables and what is left together hold the same requests."""
    frames: list[pl.DataFrame] = []
    names = list(lifecycles.SCHEMA)
    rest = logs.scan_lifecycles(inputs, frames.append).requests
    assert sum(frame.height for frame in frames) > rest.height
    found = pl.concat([*frames, rest.select(names)])
    assert found.sort(names).to_dicts() == wanted.select(names).sort(names).to_dicts()


def test_what_stands_behind_the_kept_part_of_a_long_line_is_not_read(
    always: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = rails(4, 4000).split(b"\n")
    last = max(n for n, line in enumerate(lines[:3000]) if b"Completed " in line)
    started = max(n for n, line in enumerate(lines[:last]) if b"Started " in line)
    lines[started] += b" x" * 600_000 + lines.pop(last)
    data = b"\n".join(lines)
    wanted = whole._unended(by_line(data, monkeypatch).requests)
    always(1 << 21)
    assert logs.scan_open([Bytes(data)]).requests.to_dicts() == wanted.to_dicts()


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"\n\n", b"ab\n\ncdefghi\n", b"x" * 7 + b"\n", b"x" * 8 + b"\n"]
)
def test_line_ends_are_all_found(text: bytes) -> None:
    for data in (text, text * 7, b"y" * 261_000 + text * 300, text * 2 + b"z" * 300_000):
        view = bytescan.View(data + b"\n" * bytescan.PAD, len(data))
        assert view.newlines().tolist() == [at for at, byte in enumerate(data) if byte == 10]


def test_two_processes_find_what_one_finds(
    tmp_path: Any, always: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rails(8, 20_000)
    path = tmp_path / "app.log"
    path.write_bytes(data)
    wanted = by_line(data, monkeypatch).requests
    always(1 << 16)
    monkeypatch.setattr(parts, "_WORTH", 1)
    monkeypatch.setattr(parts, "_PART", 400_000)
    assert parts.shared_parts(FileInput(path, "app.log"), 0, None, opens.Form()) is not None
    check_lifecycles([FileInput(path, "app.log")], wanted)
    found = logs.scan_open([FileInput(path, "0.log")]).requests
    assert found.drop("stream").to_dicts() == whole._unended(wanted).drop("stream").to_dicts()


def test_window_of_matching_is_more_than_one_block() -> None:
    assert opens._WINDOW > 1


# ------------------------------------------------------------------------ only the end of a large log is read in full


@pytest.fixture
def pieces(always: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have even the smallest log planned, with few rows kept."""
    always(1 << 15)
    monkeypatch.setattr(plan, "PIECE", 1 << 14)
    monkeypatch.setattr(plan, "_LEAST", 1 << 15)
    monkeypatch.setattr(plan, "MOST_ROWS", 150)
    monkeypatch.setattr(drain, "LEARN", 1 << 15)
    monkeypatch.setattr(drain, "SMALL", 1 << 15)


def read_all(self: Any, _form: Any, reader: Any, end: int) -> Any:
    """Instead of matching the lines of a span: read each, and take note that what ended there is not wanted."""
    upto = drain.Upto(reader, end - self._at)
    self.read(drain.Peeked(b"", upto), envelopes.ReadState())
    self._at += upto.bytes
    self._book.settle()
    for life in self._book.current():
        life.scanner.tracker.partial = True
    return reader


def _untimed(gap: Gap) -> tuple[str, str]:
    return gap.reason, re.sub(r" before 2026-\S+", "", gap.detail)


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize(
    "dirt", ["clean", "forged lines", "bad bytes and colours", "requests named elsewhere"]
)
@pytest.mark.parametrize("seed", range(2))
def test_matching_all_but_the_end_changes_nothing(
    envelope: str, dirt: str, seed: int, pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ENVELOPES[envelope](rails(seed, 6000, **DIRT[dirt]))
    found = logs.scan([Bytes(data)])
    every = by_line(data, monkeypatch)
    monkeypatch.setattr(drain._Large, "_match", read_all)
    wanted = logs.scan([Bytes(data)])
    told = found.requests.select(pl.exclude("note"))
    assert told.to_dicts() == wanted.requests.select(pl.exclude("note")).to_dicts()
    assert [_untimed(gap) for gap in found.gaps] == [_untimed(gap) for gap in wanted.gaps]
    assert "left out" in found.gaps[0].detail
    for one, other in zip(found.streams, wanted.streams, strict=True):
        assert one.coverage.lines == other.coverage.lines
        assert one.coverage.opened - one.coverage.closed == other.coverage.opened - other.coverage.closed
        assert (one.first_at, one.last_at, one.shape) == (other.first_at, other.last_at, other.shape)
    ended = pl.col("state").is_in(["completed", "errored"])
    assert 50 < told.filter(ended).height < every.requests.filter(ended).height
    open_ = every.requests.filter(~ended).select(pl.exclude("note"))
    assert told.filter(~ended).to_dicts() == open_.to_dicts()


PUMA = b"""[1] Puma starting in cluster mode...
[1] *  Min threads: 4
[1] *  Max threads: 4
[1] *      Workers: 4
[1] - Worker 0 (PID: 17) booted in 0.1s, phase: 0
[1] - Worker 1 (PID: 21) booted in 0.1s, phase: 0
[1] - Worker 2 (PID: 25) booted in 0.1s, phase: 0
[1] - Worker 3 (PID: 132) booted in 0.1s, phase: 0
"""


@pytest.mark.parametrize("envelope", ["bare", "cri"])
@pytest.mark.parametrize("seed", range(3))
def test_what_must_have_ended_unseen_is_not_open_after_matching(
    envelope: str, seed: int, pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With known threads, lost Completed lines show when their threads are needed again."""
    data = ENVELOPES[envelope](PUMA + rails(seed, 12_000))
    found = logs.scan([Bytes(data)])
    wanted = by_line(data, monkeypatch)
    assert "left out" in found.gaps[0].detail
    is_open = pl.col("state") == "open"
    assert found.requests.filter(is_open).equals(wanted.requests.filter(is_open))
    assert 0 < found.requests.filter(is_open).height <= 16
    assert {(life.pid, life.role, life.last_line_at) for life in found.lives} == {
        (life.pid, life.role, life.last_line_at) for life in wanted.lives
    }


def test_every_life_in_a_large_log_is_read_in_full_before_its_end(
    pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill may be in the middle: a server that starts again ends what was before."""
    boot = b"Puma starting in single mode...\n*  Min threads: 16\n*  Max threads: 16\n"
    data = boot + rails(1, 9000) + boot + rails(2, 9000)
    found = logs.scan([Bytes(data)])
    wanted = by_line(data, monkeypatch)
    assert len(found.streams) == len(wanted.streams) == 2
    for stream in (one.stream for one in found.streams):
        told, every = (one.requests.filter(pl.col("stream") == stream) for one in (found, wanted))
        ended = pl.col("state") == "completed"
        kept = told.filter(ended)
        assert 50 < kept.height < every.filter(ended).height / 3
        assert kept["ended_at"].max() == every.filter(ended)["ended_at"].max()
        is_open = pl.col("state") == "open"
        assert told.filter(is_open)["request_id"].to_list() == every.filter(is_open)["request_id"].to_list()


def _nul(data: bytes) -> bytes:
    return data.replace(b"/items/", b"/items/\0\0")


def _junk(data: bytes) -> bytes:
    junk = random.Random(3).randbytes(3000)
    return b"\n".join(
        line + (b"\n" + junk if n % 700 == 699 else b"") for n, line in enumerate(data.split(b"\n"))
    )


def _one_long_line(data: bytes) -> bytes:
    middle = data.find(b"\n", len(data) // 3) + 1
    return data[:middle] + b"x" * 300_000 + b"\n" + data[middle:]


def _encodings(data: bytes) -> bytes:
    return data.replace(b"caf", "K\u00e4se".encode("latin-1")).replace(
        b"/people/", "/p\u4eba/".encode("utf-16-le")
    )


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "carriage returns": lambda data: data.replace(b"\n", b"\r\n"),
    "no last line end": lambda data: data.rstrip(b"\n") + b"\nI, [2026-01-02T03:04:0",
    "NUL bytes": _nul,
    "binary junk between": _junk,
    "one long line": _one_long_line,
    "mixed encodings": _encodings,
}


@pytest.mark.parametrize("dirt", HOSTILE.values(), ids=HOSTILE.keys())
def test_dirt_in_what_is_matched(
    dirt: Callable[[bytes], bytes], pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dirt(rails(4, 8000))
    found, wanted = logs.scan([Bytes(data)]), by_line(data, monkeypatch)
    assert "left out" in found.gaps[0].detail
    is_open = pl.col("state") == "open"
    told, every = (one.requests.filter(is_open).select(pl.exclude("line")) for one in (found, wanted))
    assert told.to_dicts() == every.to_dicts()
    assert found.streams[0].cut_tail == wanted.streams[0].cut_tail


def test_a_gzip_file_that_ends_too_early_is_planned_like_any_other(
    tmp_path: Any, pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(rails(4, 8000))
    path = tmp_path / "app.log.gz"
    path.write_bytes(packed[: len(packed) * 9 // 10])
    file = FileInput(path, "app.log.gz")
    found = logs.scan([file])
    assert "too early" in (file.cut or "")
    with monkeypatch.context() as patch:
        patch.setattr(drain, "SMALL", NEVER)
        wanted = logs.scan([file])
    is_open = pl.col("state") == "open"
    assert found.requests.filter(is_open).to_dicts() == wanted.requests.filter(is_open).to_dicts()
    assert 50 < found.requests.height < wanted.requests.height / 3


def test_rows_from_long_before_the_end_are_no_loss(pieces: None, monkeypatch: pytest.MonkeyPatch) -> None:
    data = rails(1, 6000)
    assert "left out" in logs.scan([Bytes(data)]).gaps[0].detail
    monkeypatch.setattr(whole, "_FAR_BACK_US", 100_000)
    assert logs.scan([Bytes(data)]).gaps == ()
