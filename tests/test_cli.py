"""The command line as a user meets it: exit codes, messages, streams, formats."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from oomscope.cli import run
from oomscope.cli.app import COMMANDS, expand_from

DEMO = Path(str(files("oomscope").joinpath("data/demo")))


def call(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = run(list(args))
    out = capsys.readouterr()
    return code, out.out, out.err


def test_demo_names_a_cause_in_24_lines(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "demo", "--color", "never")
    assert code == 0
    assert out.startswith("OOMKilled")
    lines = out.rstrip("\n").split("\n")
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", [name for name, *_ in COMMANDS])
def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, out, _ = call(capsys, name, "--help")
    assert code == 0
    assert "oomscope " + name in out or name == "investigate"


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["investigate", "--from", "/nowhere/at/all"], 2, "/nowhere/at/all"),
        (["investigate", "--from"], 2, "--from"),
        (["investigate", "--nonsense"], 2, "nonsense"),
        (["demo", "-f", "pdf"], 2, "pdf"),
        (["demo", "--color", "pink"], 2, "pink"),
        (["demo", "-o", "/nowhere/at/all/x.json"], 2, "cannot write"),
        (["investigate", "--from", str(DEMO), "--at", "yesterday"], 2, "yesterday"),
        (["investigate", "--from", str(DEMO), "--at", "2026-11-23T03:12:41"], 2, "--tz"),
        (["investigate", "--from", str(DEMO), "--tz", "Mars/Base"], 2, "Mars/Base"),
        (["investigate", "--from", str(DEMO), "--fail-on", "rain"], 2, "rain"),
        (["investigate", "some/odd/target"], 2, "some/odd/target"),
        (["explain", "H1"], 2, "no report"),
        (["report", "/nowhere"], 2, "/nowhere"),
        (["list", "/nowhere"], 2, "/nowhere"),
        (["investigate", "--from", str(DEMO), "--pod", "another-pod"], 3, "no kill"),
    ],
)
def test_mistakes_get_one_message_and_their_code(
    capsys: pytest.CaptureFixture[str], args: list[str], code: int, text: str
) -> None:
    got, out, err = call(capsys, *args)
    assert (got, out) == (code, "")
    assert text in err
    assert "Traceback" not in err


def test_the_c_locale_gets_ascii(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert not call(capsys, "demo", "-q")[1].isascii()
    monkeypatch.setenv("LC_ALL", "C")
    code, out, _ = call(capsys, "demo", "-q")
    assert code == 0
    assert out.isascii()


def test_wrong_flags_look_like_every_other_error(capsys: pytest.CaptureFixture[str]) -> None:
    for args in (["report", "x", "--fail-on", "y"], ["explain"], ["demo", "--color"]):
        code, out, err = call(capsys, *args)
        assert (code, out) == (2, "")
        lines = err.splitlines()
        assert lines[0].startswith("error: ")
        assert lines[1:] == [
            f"  fix     oomscope {args[0]} --help  shows its flags and examples",
            "  more    docs/errors.md#usage",
        ]
    code, out, err = call(capsys)
    assert (code, out) == (2, "")
    assert "Examples:" in err


DMESG = "[12345.678901] Memory cgroup out of memory: Killed process 7 (ruby) total-vm:9kB, anon-rss:8kB, file-rss:1kB\n"


def test_a_kill_without_a_time_is_said_and_may_be_given_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dmesg.txt").write_text(DMESG)
    code, _, err = call(capsys, "investigate", "--from", str(tmp_path))
    assert code == 3
    assert "nothing tells when it was" in err
    assert "docs/errors.md#kill-time" in err
    code, out, _ = call(
        capsys, "investigate", "--from", str(tmp_path), "--at", "2026-11-23T03:12:41Z", "-f", "json"
    )
    assert code == 0
    assert json.loads(out)["kill"]["killed_at"].startswith("2026-11-23T03:12:41")


def test_report_round_trip_through_bundle_json_and_explain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, document = str(tmp_path / "bundle"), str(tmp_path / "report.json")
    assert call(capsys, "collect", "--from", str(DEMO), "-o", bundle)[0] == 0
    assert call(capsys, "report", bundle, "-o", document)[0] == 0
    direct = json.loads(call(capsys, "investigate", "--from", str(DEMO), "-f", "json")[1])
    saved = json.loads(Path(document).read_text())
    assert saved == direct
    assert direct["format"] == 1
    assert direct["kill"]["verdict"] == "oom_limit"
    first = direct["hypotheses"][0]["id"]
    code, out, _ = call(capsys, "explain", first, document, "--color", "never")
    assert code == 0
    assert first in out
    code, _, err = call(capsys, "explain", "H99", document)
    assert code == 2
    assert first in err


def test_list_shows_a_line_a_kill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "collect", "--from", str(DEMO), "-o", str(tmp_path / "one"))
    code, out, _ = call(capsys, "list", str(tmp_path), "--color", "never")
    assert code == 0
    assert "one" in out


def test_fail_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "investigate", "--from", str(DEMO), "--fail-on", "kills")[0] == 1


def test_schema_is_the_published_one(capsys: pytest.CaptureFixture[str]) -> None:
    import jsonschema

    schema = json.loads(call(capsys, "schema")[1])
    document = json.loads(call(capsys, "demo", "-f", "json")[1])
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)


def test_version_and_help_import_nothing_heavy() -> None:
    code = (
        "import sys; from oomscope.cli import run\n"
        "try: run(['--help'])\n"
        "finally: print([m for m in 'polars numpy scipy pydantic altair boto3 jinja2'.split() if m in sys.modules],"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"
    assert "investigate" in done.stdout


def test_a_bug_looks_like_a_bug(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oomscope.pipeline.demo_report", lambda: 1 / 0)
    code, _, err = call(capsys, "demo")
    assert code == 70
    assert "bug in oomscope" in err
    assert "ZeroDivisionError" in err


def test_interrupt_is_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("oomscope.pipeline.demo_report", stop)
    assert call(capsys, "demo")[0] == 130


def test_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -c 'from oomscope.cli import main; main()' schema | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_no_colour_when_piped_or_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from oomscope.cli import main; main()", "demo"],
        capture_output=True, text=True, check=True, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("given", "expanded"),
    [
        (["--from", "a", "b", "-f", "json"], ["--from", "a", "--from", "b", "-f", "json"]),
        (["--from", "a", "--from", "b"], ["--from", "a", "--from", "b"]),
        (["--from"], ["--from"]),
        (["--from", "--full"], ["--from", "--full"]),
        (["x", "--full"], ["x", "--full"]),
        (["--from", "-"], ["--from", "-"]),
    ],
)
def test_from_takes_several_words(given: list[str], expanded: list[str]) -> None:
    assert expand_from(given) == expanded
