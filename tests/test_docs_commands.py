"""Every command in README and docs is run, parsed by the real parser, or known to need what a test has not."""

from __future__ import annotations

import ast
import glob
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from oomscope.cli import run
from tests import command_pages
from tests.doc_blocks import PAGES, ROOT, SHELL, Block, Command, blocks, commands, page_id

BIN = Path(sys.executable).parent
DEMO = Path(str(files("oomscope").joinpath("data/demo")))
TOOLS = (
    "oomscope",
    "make",
    "pip",
    "python",
    ".venv/bin/python",
    "git",
    "kubectl",
    "aws",
    "curl",
    "docker",
    "helm",
)

# Names used in the pages, and the real thing they stand for in a test.
PLACES = {
    "saved": DEMO,
    "alb": DEMO / "alb",
    "alert.json": DEMO / "alert.json",
    "logs.json": DEMO / "cloudwatch.json.gz",
    "pod.json": DEMO / "pods.json",
    "pods.json": DEMO / "pods.json",
    "events.json": DEMO / "events.json",
    "kernel.log": DEMO / "kernel_journal.txt",
    "memory.json": DEMO / "prometheus_15s.json",
    "incidents/web": DEMO,
}
# Made once from the demo, for pages that begin with what an earlier run left.
MADE = {
    "report.html": ("demo", "-o", "report.html"),
    "report.json": ("demo", "-o", "report.json"),
    "bundle": ("collect", "--from", str(DEMO), "-o", "bundle"),
    "incomplete.json": ("requests", "--input", str(DEMO / "cloudwatch.json.gz"), "-o", "incomplete.json"),
}
SCRIPTS = {
    "scripts/fetch_cloudwatch_logs.py": ("logs",),
    "scripts/find_incomplete_requests.py": ("requests",),
    "scripts/query_alb_access_logs.py": ("alb", "query"),
}
# Tools of others: what of them may stand in the pages, and why it is not run. Their syntax is checked by bash -n.
NOT_RUN = {
    "kubectl": (
        "needs a cluster",
        "get logs describe debug apply create set exec top auth port-forward rollout scale annotate",
    ),
    "helm": ("needs a cluster", "install upgrade template lint repo test uninstall"),
    "docker": ("needs a container runtime", "build run compose"),
    "curl": ("needs a server", None),
    "jq": ("not a dependency", None),
    "journalctl": ("needs a node", None),
    "dmesg": ("needs a node", None),
    "grep": ("needs a running container", None),
    "openssl": ("makes a random secret", None),
    "export": ("part of the shell", None),
    "cd": ("part of the shell", None),
    "mkdir": ("harmless, and the test makes what is needed", None),
    "mkdocs": ("the site has a test of its own", "serve build"),
    "git": ("would show what is not committed", "diff clone"),
    "pbpaste": ("the clipboard of macOS", None),
    "cat": ("only feeds a pipe", None),
    "alembic": ("needs a database", None),
    "psql": ("needs a database", None),
}


def is_shell(block: Block) -> bool:
    return block.language in SHELL or (
        block.language == "indented" and block.text.split()[0] in (*TOOLS, *NOT_RUN)
    )


BLOCKS = [pytest.param(b, id=b.where) for page in PAGES for b in blocks(page) if is_shell(b)]


@pytest.mark.parametrize("page", [PAGES[0], PAGES[1]], ids=page_id)
def test_indented_blocks_here_are_commands(page: Path) -> None:
    for block in blocks(page):
        assert block.language != "indented" or is_shell(block), f"{block.where} is not checked"


@pytest.mark.parametrize("block", BLOCKS)
def test_block_is_shell(block: Block) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    done = subprocess.run([bash, "-n"], input=block.text.replace("$ ", ""), capture_output=True, text=True)
    assert done.returncode == 0, f"{block.where}: {done.stderr}"
    assert list(commands(block)), f"{block.where} holds no command"


@pytest.mark.parametrize("block", BLOCKS)
def test_every_command_is_understood(block: Block) -> None:
    for command in commands(block):
        check(command.words, block.where)


def check(words: tuple[str, ...], where: str) -> None:
    tool = words[0]
    if tool == "oomscope":
        parse(list(words[1:]), where)
    elif tool == "make":
        check_make(words, where)
    elif tool == "pip":
        check_pip(words, where)
    elif tool in ("python", "python3", ".venv/bin/python"):
        check_python(words, where)
    elif tool == "aws":
        check_aws(words, where)
    else:
        check_other(words, where)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_in_the_text_parse(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for line in re.findall(r"`(oomscope [a-z-][^`]*)`", prose):
        words = next(commands(Block(page, 0, "sh", line + "\n"))).words[1:]
        if words in ((name,) for name in (*command_pages.NAMES, "inv")) or words == ("alb", "query"):
            continue  # only named; "inv" is what completion is shown with
        parse(list(words), f"{page_id(page)}: {line}")


def parse(args: list[str], where: str) -> None:
    """The real parser takes the arguments. Nothing is run."""
    if args[:1] in (["--version"], ["--install-completion"], ["--show-completion"]):
        return
    tree = command_pages.tree()
    for command in tree.commands.values():
        command.callback = lambda **_: None
    with pytest.raises(SystemExit) as end:  # it tells what is wrong on stderr, and ends with a code
        tree.main(args=args, prog_name="oomscope")
    assert end.value.code == 0, f"{where}: oomscope {' '.join(args)}"


def check_make(words: tuple[str, ...], where: str) -> None:
    made = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for word in words[1:]:
        assert "=" in word or word in made, f"{where}: make has no target {word}"


def check_pip(words: tuple[str, ...], where: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert words[1] == "install", where
    for word in words[2:]:
        wanted = re.fullmatch(r"(?:oomscope|\.)(?:\[([\w,]+)\])?|-e|-r|requirements-dev\.txt", word)
        assert wanted, f"{where}: {word}"
        assert set((wanted[1] or "").split(",")) <= {"", *extras}, f"{where}: no extra {wanted[1]}"


def check_python(words: tuple[str, ...], where: str) -> None:
    if words[1] in SCRIPTS:
        assert (ROOT / words[1]).is_file()
        return parse([*SCRIPTS[words[1]], *words[2:]], where)
    assert words[1] == "-m", f"{where}: {words}"
    if words[2] == "pytest":
        for word in words[3:]:
            assert not word.startswith("tests") or (ROOT / word).exists(), f"{where}: {word} is not there"
        return None
    module = ROOT / words[2].replace(".", "/")
    sources = list(module.glob("*.py")) or [module.with_suffix(".py")]
    known = {node.value for path in sources for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Constant) and isinstance(node.value, str)}  # fmt: skip
    for word in words[3:]:
        assert not word.startswith("-") or word in known, f"{where}: {words[2]} has no {word}"
    return None


def check_aws(words: tuple[str, ...], where: str) -> None:
    """Service, operation and every option are held against the service's own model."""
    if words[1] in ("s3", "configure", "sso"):
        return  # commands of the aws tool itself, without a model
    session = pytest.importorskip("botocore.session").Session()
    service = session.get_service_model({"s3api": "s3"}.get(words[1], words[1]))
    wanted = words[2].replace("-", "")
    name = next((n for n in service.operation_names if n.lower() == wanted), None)
    assert name, f"{where}: aws {words[1]} has no {words[2]}"
    members = {member.lower() for member in service.operation_model(name).input_shape.members}
    for word in words[3:]:
        if word.startswith("--") and word not in (
            "--output",
            "--query",
            "--region",
            "--profile",
            "--no-cli-pager",
        ):
            assert word.strip("-").replace("-", "") in members, f"{where}: {words[2]} has no {word}"


def check_other(words: tuple[str, ...], where: str) -> None:
    assert words[0] in NOT_RUN, f"{where}: {words[0]} is neither run nor listed with a reason"
    _, verbs = NOT_RUN[words[0]]
    if verbs:
        plain = [w for w in words[1:] if not w.startswith("-")]
        assert set(plain) & set(verbs.split()), f"{where}: {' '.join(words[:4])} is not listed"
    if words[:2] == ("docker", "run"):
        image = next(i for i, word in enumerate(words) if re.fullmatch(r"(?:\S+/)?oomscope:[\w.]+", word))
        parse(list(words[image + 1 :]), where)
    for word in words:
        assert not word.startswith("deploy/") or (ROOT / word).exists(), f"{where}: {word} is not there"


@pytest.mark.parametrize(
    "line",
    [
        "oomscope investigate --nonsense",
        "oomscope report",
        "make nothing",
        "pip install 'oomscope[nothing]'",
        "python -m bench.accuracy --nothing",
        "python scripts/find_incomplete_requests.py --nothing x",
        "aws logs filter-log-events --log-grop-name x",
        "aws logs filter-log-evnts",
        "kubectl delete pod web",
        "frobnicate",
        "echo one | frobnicate",
    ],
)
def test_what_is_wrong_is_found(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    last = list(commands(Block(ROOT / "README.md", 0, "sh", line + "\n")))[-1]
    with pytest.raises(AssertionError):
        check(last.words, "here")


@pytest.mark.parametrize("name", command_pages.NAMES)
def test_examples_of_help_parse(name: str) -> None:
    found = command_pages.examples(command_pages.tree().commands[name])
    assert found, f"oomscope {name} --help has no example"
    for line in found:
        (command,) = commands(Block(ROOT / "README.md", 0, "sh", line + "\n"))
        parse(list(command.words[1:]), name)


def runnable(command: Command) -> bool:
    """Whether a command needs nothing but files."""
    words = command.words
    if words[0] != "oomscope" or len(words) < 2:
        return False
    offline = {"demo", "report", "schema", "requests", "list", "config", "mcp-tools"}
    if words[1] == "explain":
        return len(words) > 3
    if words[1] == "doctor":
        return "--policy" in words
    if words[1] == "alb":
        return "--from" in words or words[2] == "ddl"
    return words[1] in offline or (words[1] in ("investigate", "collect") and "--from" in words)


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What earlier runs left: a report as HTML and as JSON, a bundle, a list of incomplete requests."""
    folder = tmp_path_factory.mktemp("earlier")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for args in MADE.values():
            assert run([*args, "-q"]) == 0
    return {name: folder / name for name in MADE}


def provide(words: tuple[str, ...], places: dict[str, Path]) -> None:
    """Put into the current folder what a command reads and nobody made yet."""
    outputs = {words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-o", "--output")}
    for name, real in places.items():
        here = Path(name)
        if here.exists() or not any(
            Path(word).parts[:1] == here.parts[:1] for word in words if word not in outputs
        ):
            continue
        here.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(real, here) if real.is_dir() else shutil.copy(real, here)


def expanded(words: tuple[str, ...]) -> list[str]:
    """Words with patterns as a shell expands them."""
    return [part for word in words for part in (sorted(glob.glob(word)) if "*" in word else [word])]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the configuration that the docs show, and nobody else's."""
    for name in ("XDG_CONFIG_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    work = tmp_path / "work"
    work.mkdir()
    configured = next(b for b in blocks(ROOT / "docs/configuration.md") if b.language == "toml")
    (work / "oomscope.toml").write_text(configured.text)
    monkeypatch.chdir(work)
    return work


WITH_RUNS = [
    page for page in PAGES if any(runnable(c) for b in blocks(page) if is_shell(b) for c in commands(b))
]
_PROVEN: set[tuple[str, ...]] = (
    set()
)  # the same words on another page are not run again, unless they write a file


@pytest.mark.parametrize("page", WITH_RUNS, ids=page_id)
def test_commands_of_the_page_run(
    page: Path, elsewhere: Path, earlier: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for block in filter(is_shell, blocks(page)):
        for command in filter(runnable, commands(block)):
            if command.words in _PROVEN:
                continue
            provide(command.words, {**PLACES, **earlier})
            code = run(expanded(command.words[1:]))
            out, err = capsys.readouterr()
            assert code == (1 if "--fail-on" in command.words else 0), (
                f"{block.where}: {command.words}\n{err}"
            )
            if command.stdout:
                Path(command.stdout).write_text(out)
            if not {"-o", "--output"} & set(command.words):
                _PROVEN.add(command.words)


def completed(words: str, cursor: int, home: Path) -> list[str]:
    """What the shell would be offered. ``words`` are those on the line, ``cursor`` the one being typed."""
    asked = {"_OOMSCOPE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(cursor)}
    done = subprocess.run(
        [BIN / "oomscope"], env={**asked, "HOME": str(home)}, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "cursor", "offered"),
    [
        ("oomscope inv", 1, ["investigate"]),
        ("oomscope re", 1, ["report", "requests"]),
        ("oomscope investigate --al", 2, ["--alert"]),
        ("oomscope web-7c9d5b7c6f-x2x9k --al", 2, ["--alert"]),
        ("oomscope investigate --from a b --fo", 5, ["--format"]),
        ("oomscope investigate --from ./sav", 3, []),
    ],
    ids=[
        "command",
        "two commands",
        "option",
        "option without a command",
        "after several paths",
        "a file: the shell's",
    ],
)
def test_completion(words: str, cursor: int, offered: list[str], tmp_path: Path) -> None:
    assert completed(words, cursor, tmp_path) == offered


def test_completion_script_is_shell(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    env = {"HOME": str(tmp_path), "PATH": f"{BIN}:/usr/bin:/bin"}

    def typed(line: str) -> str:  # "; true" keeps bash as the parent, from which the shell is recognised
        done = subprocess.run([bash, "-c", f"{line}; true"], env=env, capture_output=True, text=True)
        return done.stdout + done.stderr

    shown = typed("oomscope --show-completion")
    assert "_OOMSCOPE_COMPLETE" in shown
    assert subprocess.run([bash, "-n"], input=shown, text=True, check=False).returncode == 0
    assert "installed" in typed("oomscope --install-completion")
    assert list(tmp_path.rglob("oomscope.sh"))
