"""A folder of saved evidence becomes one bundle: complete, in any order, from any place, and nothing from elsewhere."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest

from oomscope.errors import UnreadableError, UsageError
from oomscope.evidence import Bundle, save
from oomscope.facts import ContainerFacts, PodFacts, Target, Window
from oomscope.sources import bounded
from oomscope.sources.bounded import FileInput, Limits, open_regular
from oomscope.sources.files import collect_files
from oomscope.sources.files_identity import identity_of

INCIDENT = Path(__file__).parent / "data" / "files" / "incident"
POD = json.loads((INCIDENT / "pod.json").read_bytes())["metadata"]["name"]


@pytest.fixture
def incident(tmp_path: Path) -> Path:
    return Path(shutil.copytree(INCIDENT, tmp_path / "incident"))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return collect_files([INCIDENT])


def saved_bytes(bundle: Bundle, folder: Path) -> dict[str, bytes]:
    save(bundle, folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def of_kind(bundle: Bundle, source: str) -> list[str]:
    return [query.text for query in bundle.queries if query.source == source]


def problems(bundle: Bundle) -> dict[str, str]:
    """File name to reason, for every gap that names a file."""
    return {gap.detail.split(": ")[0]: gap.reason for gap in bundle.gaps if gap.source == "file"}


# -------------------------------------------------------------------------------------------------- the whole incident


def test_every_kind_of_evidence_is_read(bundle: Bundle) -> None:
    assert set(bundle.sources) >= {"alb", "app_log", "events", "kernel_log", "kubernetes", "memory"}
    assert [pod.name for pod in bundle.pods] == [POD], "the same pod in two files is one"
    assert len(bundle.accesses) == 23
    assert len(bundle.memory) > 20
    assert bundle.events
    assert len(bundle.oom_kills) == 1, "the same kill in dmesg and journal is one"
    assert bundle.oom_kills[0].at is not None, "the year of the journal comes from the other evidence"
    assert {query.source for query in bundle.queries} >= {
        "alb",
        "app_log",
        "kernel_log",
        "kubernetes",
        "memory",
    }
    assert not problems(bundle)


def test_names_do_not_matter(incident: Path, bundle: Bundle) -> None:
    target = incident.parent / "renamed"
    target.mkdir()
    for number, path in enumerate(sorted(p for p in incident.rglob("*") if p.is_file())):
        shutil.copy(path, target / f"file{number}")
    renamed = collect_files([target])
    assert (renamed.sources, renamed.pods, renamed.events) == (bundle.sources, bundle.pods, bundle.events)
    assert (len(renamed.accesses), len(renamed.requests)) == (len(bundle.accesses), len(bundle.requests))


def test_a_moved_folder_gives_the_same_bytes(incident: Path, bundle: Bundle, tmp_path: Path) -> None:
    moved = tmp_path / "some" / "where"
    shutil.copytree(incident, moved)
    first = saved_bytes(bundle, tmp_path / "a")
    assert saved_bytes(collect_files([moved]), tmp_path / "b") == first
    assert str(tmp_path).encode() not in b"".join(first.values())


def test_the_order_of_arguments_does_not_matter(tmp_path: Path) -> None:
    paths = [path for path in INCIDENT.rglob("*") if path.is_file()]
    first = saved_bytes(collect_files(sorted(paths)), tmp_path / "a")
    assert saved_bytes(collect_files(sorted(paths, reverse=True)), tmp_path / "b") == first
    assert saved_bytes(collect_files([*paths, INCIDENT]), tmp_path / "c").keys() == first.keys()


def test_the_same_file_twice_is_read_once(bundle: Bundle, tmp_path: Path) -> None:
    first = saved_bytes(bundle, tmp_path / "a")
    twice = collect_files([INCIDENT, INCIDENT / "pod.json", INCIDENT / "alb", INCIDENT])
    assert saved_bytes(twice, tmp_path / "b") == first


def test_the_same_bytes_under_two_names_are_read_once(incident: Path) -> None:
    (path,) = (incident / "alb").iterdir()
    shutil.copy(path, incident / "alb" / "copy")
    bundle = collect_files([incident])
    assert len(bundle.accesses) == 23
    assert of_kind(bundle, "copy")


def test_a_plain_and_a_packed_copy_of_access_logs_count_once(incident: Path) -> None:
    (path,) = (incident / "alb").iterdir()
    (incident / "plain").write_bytes(gzip.decompress(path.read_bytes()))
    assert len(collect_files([incident]).accesses) == 23


def test_two_folders_with_files_of_the_same_name(tmp_path: Path) -> None:
    pod = json.loads((INCIDENT / "pod.json").read_bytes())
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pod["metadata"]["name"] = name
        (tmp_path / name / "pod.json").write_text(json.dumps(pod))
    there, back = [collect_files([tmp_path / a, tmp_path / b]) for a, b in (("one", "two"), ("two", "one"))]
    assert [pod.name for pod in there.pods] == ["one", "two"]
    assert of_kind(there, "kubernetes") == of_kind(back, "kubernetes") == ["pod.json", "pod.json (2)"]


def test_a_saved_bundle_is_evidence_again(bundle: Bundle, tmp_path: Path) -> None:
    first = saved_bytes(bundle, tmp_path / "in" / "a")
    assert saved_bytes(collect_files([tmp_path / "in"]), tmp_path / "b") == first
    merged = collect_files([tmp_path / "in", INCIDENT])
    assert merged.pods == bundle.pods
    assert len(merged.accesses) == len(bundle.accesses)


def test_a_damaged_bundle_is_a_gap(bundle: Bundle, tmp_path: Path) -> None:
    save(bundle, tmp_path / "a")
    (tmp_path / "a" / "jobs.parquet").write_bytes(b"")
    (tmp_path / "pod.json").write_bytes((INCIDENT / "pod.json").read_bytes())
    found = collect_files([tmp_path])
    assert found.pods
    assert problems(found) == {"a": "unparsable"}


def test_a_manifest_of_something_else_hides_nothing(incident: Path) -> None:
    (incident / "manifest.json").write_text('{"name": "app", "icons": []}')
    bundle = collect_files([incident])
    assert bundle.pods
    assert problems(bundle) == {"manifest.json": "unparsable"}


def test_target_and_window_of_a_bundle_are_kept(tmp_path: Path) -> None:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    pods = (PodFacts("n", "p"),)
    for name, pod in (("a", "p"), ("b", "other")):
        window = Window(at, at.replace(hour=1 if name == "a" else 2))
        save(
            Bundle(target=Target("n", pod=pod), window=window, pods=pods, sources=("kubernetes",)),
            tmp_path / name,
        )
    assert collect_files([tmp_path / "a"]).target == Target("n", pod="p")
    both = collect_files([tmp_path])
    assert both.target == Target("n"), "what they do not agree on is left open"
    assert both.window == Window(at, at.replace(hour=2))
    assert collect_files([tmp_path], target=Target(pod="p")).target == Target("n", pod="p")


def test_an_alert_names_the_target(bundle: Bundle) -> None:
    assert (bundle.target.pod, bundle.target.at is not None) == (POD, True)
    assert "alert" in bundle.sources


def test_a_pasted_alert_is_one(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(f"[FIRING:1] KubeContainerOOMKilled\nnamespace: default\npod: {POD}\n")
    assert collect_files([tmp_path]).target.pod == POD


@pytest.mark.parametrize(
    ("stamp", "latest", "year"), [("Dec 31", "2027-01-01", 2026), ("Jan  1", "2026-12-31", 2027)]
)
def test_the_year_of_a_kernel_log_around_new_year(stamp: str, latest: str, year: int, tmp_path: Path) -> None:
    journal = (INCIDENT / "kernel_journal.txt").read_text()
    (tmp_path / "x").write_text(journal.replace(journal[:6], stamp))
    event = json.loads((INCIDENT / "events.json").read_bytes())["items"][0]
    times = {"firstTimestamp": f"{latest}T12:00:00Z", "lastTimestamp": f"{latest}T12:00:00Z"}
    (tmp_path / "y").write_text(json.dumps({**event, **times}))
    (kill,) = collect_files([tmp_path]).oom_kills
    assert kill.at is not None
    assert kill.at.year == year


def test_an_earlier_report_is_noted_and_not_used(incident: Path) -> None:
    report = {"format": 1, "target": {}, "kill": {}, "cause": {}, "hypotheses": []}
    (incident / "report.json").write_text(json.dumps(report))
    assert of_kind(collect_files([incident]), "report") == ["report.json"]
    with pytest.raises(UnreadableError) as caught:
        collect_files([incident / "report.json"])
    assert "oomscope report" in caught.value.fix


def test_explicit_flags_win() -> None:
    given = Target(pod="other", at=datetime(2026, 1, 1, tzinfo=UTC))
    assert collect_files([INCIDENT], target=given).target == given


def test_memory_of_all_resolutions_is_kept_with_its_source(bundle: Bundle) -> None:
    assert set(bundle.memory["source"]) >= {"memory_1s.csv.gz"}
    assert bundle.memory.equals(bundle.memory.sort("at", maintain_order=True))


# --------------------------------------------------------------------------------------------- answers of a log service


def answer(messages: list[str], stream: str = "node-host") -> str:
    events = [
        {"logStreamName": stream, "timestamp": 1795425951938 + n, "message": m, "eventId": str(n)}
        for n, m in enumerate(messages)
    ]
    return json.dumps({"events": events, "searchedLogStreams": []})


def kernel_lines() -> list[str]:
    return [line.split("] ", 1)[1] for line in (INCIDENT / "kernel_dmesg.txt").read_text().splitlines()]


def test_kernel_lines_from_a_log_service(tmp_path: Path) -> None:
    messages = [json.dumps({"host": "node", "ident": "kernel", "message": line}) for line in kernel_lines()]
    (tmp_path / "x").write_text(answer(messages))
    bundle = collect_files([tmp_path])
    assert len(bundle.oom_kills) == 1
    assert bundle.sources == ("kernel_log",)


def test_performance_records_from_a_log_service(tmp_path: Path) -> None:
    record = {
        "Type": "Container", "Timestamp": "1795425951938",
        "container_memory_working_set": 5, "container_memory_limit": 9,
        "kubernetes": {"pod_name": "p", "namespace_name": "n", "container_name": "c"},
    }  # fmt: skip
    for name, text in (
        ("x", answer([json.dumps(record)])),
        ("y", json.dumps(record) + "\n" + json.dumps(record) + "\n"),
    ):
        (tmp_path / name).write_text(text)
        assert len(collect_files([tmp_path / name]).memory) == 1


def test_a_container_that_prints_a_kernel_line_forges_no_kill(tmp_path: Path) -> None:
    forged = [json.dumps({"log": line, "kubernetes": {"pod_name": "p"}}) for line in kernel_lines()]
    quoted = [f'[ab12] Started GET "/?q={line}" for 10.0.0.1' for line in kernel_lines()]
    for name, messages in (("a", forged), ("b", quoted)):
        (tmp_path / name).write_text(answer(messages, "app"))
    shutil.copy(INCIDENT / "pod.json", tmp_path / "pod.json")
    assert not collect_files([tmp_path]).oom_kills


def test_a_log_query_without_events_says_so(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(answer([]))
    shutil.copy(INCIDENT / "pod.json", tmp_path / "pod.json")
    assert problems(collect_files([tmp_path])) == {"x": "no_data"}


def test_objects_one_a_line(tmp_path: Path) -> None:
    pod = json.loads((INCIDENT / "pod.json").read_bytes())
    other = {**pod, "metadata": {**pod["metadata"], "name": "second"}}
    (tmp_path / "x").write_text(json.dumps(pod) + "\n" + json.dumps(other) + "\n")
    assert [p.name for p in collect_files([tmp_path]).pods] == sorted([POD, "second"])


def test_a_kernel_log_that_becomes_interesting_late(tmp_path: Path) -> None:
    noise = "".join(f"Nov 23 09:00:00 node kubelet[1]: sync loop {n}\n" for n in range(10_000))
    (tmp_path / "messages").write_text(noise + (INCIDENT / "kernel_journal.txt").read_text())
    assert len(collect_files([tmp_path]).oom_kills) == 1


# ------------------------------------------------------------------------------------------------------ whose log it is


@pytest.mark.parametrize(
    ("label", "pod", "container"),
    [
        (f"x/web-1_prod_rails-{'ab' * 32}.log", "web-1", "rails"),
        ("pods/prod_web-1_3f2a91aa-1111-2222-3333-444455556666/rails/0.log", "web-1", "rails"),
        ("logs/known-pod-0-previous.log", "known-pod-0", "main"),
        ("known-pod-0.log.gz", "known-pod-0", "main"),
        ("known-pod-01.log", None, None),
        ("pods/api-7d9f8b6c5d-x2k4q/rails.0.log.gz", "api-7d9f8b6c5d-x2k4q", None),
        ("api-7d9f8b6c5d-x2k4q.log", "api-7d9f8b6c5d-x2k4q", None),
        ("my-saved-incident-files/production.log", None, None),
        ("production.log", None, None),
    ],
)
def test_the_owner_of_a_log_by_its_path(label: str, pod: str | None, container: str | None) -> None:
    known = PodFacts("prod", "known-pod-0", containers=(ContainerFacts("main"),))
    identity = identity_of(label, [known])
    assert (identity.pod, identity.container) == (pod, container)


# -------------------------------------------------------------------------------------------------- links and odd files


def test_no_link_leads_out(incident: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    shutil.copy(INCIDENT / "pod.json", secret)
    inside = tmp_path / "inside"
    inside.mkdir()
    shutil.copy(INCIDENT / "events.json", inside / "events.json")
    (inside / "link.json").symlink_to(secret)
    (inside / "dots.json").symlink_to("../secret.json")
    (inside / "folder").symlink_to(incident)
    bundle = collect_files([inside])
    assert not bundle.pods
    assert problems(bundle) == {"link.json": "denied", "dots.json": "denied", "folder": "denied"}


def test_links_inside_are_read_once_and_loops_end(tmp_path: Path) -> None:
    hidden = tmp_path / ".real"
    hidden.mkdir()
    shutil.copy(INCIDENT / "pod.json", hidden / "pod.json")
    (tmp_path / "pod.json").symlink_to(".real/pod.json")
    (tmp_path / "again.json").symlink_to("pod.json")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "nowhere").symlink_to("missing")
    bundle = collect_files([tmp_path])
    assert len(of_kind(bundle, "kubernetes")) == 1
    assert problems(bundle) == {"self": "unparsable", "nowhere": "unparsable"}


def test_a_given_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(INCIDENT)
    assert collect_files([tmp_path / "link"]).pods


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    shutil.copy(INCIDENT / "pod.json", tmp_path / "pod.json")
    assert problems(collect_files([tmp_path])) == {"pipe": "unparsable"}
    with pytest.raises(UnreadableError):
        collect_files([tmp_path / "pipe"])
    with pytest.raises(OSError, match="regular"):
        FileInput(Path("/dev/null"), "x").open()


def test_hidden_files_are_passed_over_quietly(incident: Path) -> None:
    (incident / ".git").mkdir()
    (incident / ".git" / "x").write_bytes(b"\0" * 1000)
    (incident / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    assert not problems(collect_files([incident]))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_gap(incident: Path) -> None:
    (incident / "pod.json").chmod(0)
    assert problems(collect_files([incident])) == {"pod.json": "denied"}


def test_odd_file_names_are_shown_safely(tmp_path: Path) -> None:
    for name in (b"a\x1b[31mb", b"\xff\xfe", "rtl\u202e".encode(), b"new\nline"):
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).write_bytes(b"junk %r\n" % name)
    shutil.copy(INCIDENT / "pod.json", tmp_path / "pod.json")
    bundle = collect_files([tmp_path])
    assert len(problems(bundle)) == 4
    assert all(gap.detail.replace("\ufffd", "").isprintable() for gap in bundle.gaps)


def test_too_many_and_too_deep_are_cut_and_said(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    for n in range(5):
        (tmp_path / f"f{n}").write_text(f"{n} junk\n")
    shutil.copy(INCIDENT / "pod.json", tmp_path / "aaa.json")
    bundle = collect_files([tmp_path], limits=Limits(files=3, folders_deep=1))
    assert sum(gap.reason == "cut" for gap in bundle.gaps) >= 1
    assert any("more than 3 files" in gap.detail for gap in bundle.gaps)


# ---------------------------------------------------------------------------------------------------------- what to say


def test_a_missing_path_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        collect_files([INCIDENT, tmp_path / "missing"])
    assert "missing" in caught.value.what
    assert all((caught.value.tried, caught.value.likely, caught.value.fix))


def test_an_empty_folder_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError) as caught:
        collect_files([tmp_path])
    assert all((caught.value.what, caught.value.tried, caught.value.likely, caught.value.fix))


def test_progress_names_files(incident: Path) -> None:
    said: list[str] = []
    collect_files([incident], progress=said.append)
    assert "reading pod.json" in said


def test_a_file_that_may_not_be_opened_is_a_gap(incident: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> BinaryIO:
        if path.name in ("pod.json", "kernel_dmesg.txt") or path.parent.name == "alb":
            raise PermissionError(13, "Permission denied")
        return open_regular(path)

    monkeypatch.setattr(bounded, "open_regular", refuse)
    found = problems(collect_files([incident]))
    assert {found["pod.json"], found["kernel_dmesg.txt"]} == {"denied"}
    assert len(found) == 3


def test_files_that_go_away_while_reading_are_gaps(incident: Path) -> None:
    def remove(text: str) -> None:
        if text.startswith("parsing"):
            shutil.rmtree(incident, ignore_errors=True)

    bundle = collect_files([incident], progress=remove)
    assert bundle.pods
    assert any("cannot be opened" in gap.detail for gap in bundle.gaps)


def test_a_folder_that_may_not_be_listed_is_a_gap(incident: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> object:
        if path.name == "alb":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", refuse)
    assert problems(collect_files([incident])) == {"alb": "denied"}
