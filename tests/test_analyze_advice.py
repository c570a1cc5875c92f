"""Commands are text to read and paste: whatever a name holds, a shell sees one word."""

from __future__ import annotations

import shlex

import pytest

from oomscope.analyze.advice import make_actions
from oomscope.analyze.case import measure
from tests.infer_help import MIB, bundle, joined, kill_case, ordinary


def command(**kill: object) -> str | None:
    evidence, case = bundle(ordinary(60, 1, "A#show")), kill_case(**kill)
    actions = make_actions(measure(evidence, case, joined(evidence, case)), None, "inconclusive")
    return next((action.command for action in actions if action.command), None)


@pytest.mark.parametrize("name", ["web", "web; rm -rf ~", "$(id)", "a'b", "web\nkubectl delete ns shop"])
def test_names_are_quoted(name: str) -> None:
    line = command(workload=name, namespace=name, container=name)
    assert line is not None
    words = shlex.split(line)
    assert words == [
        "kubectl",
        "-n",
        name,
        "set",
        "resources",
        f"deployment/{name}",
        "-c",
        name,
        "--limits=memory=768Mi",
    ]


def test_a_kind_given_with_the_workload_is_kept() -> None:
    assert "statefulset/web" in (command(workload="statefulset/web") or "")


@pytest.mark.parametrize(
    ("limit", "wanted"), [(512 * MIB, "768Mi"), (1024 * MIB, "1536Mi"), (2048 * MIB, "3Gi")]
)
def test_half_as_much_again_in_round_steps(limit: int, wanted: str) -> None:
    assert (command(limit_bytes=limit) or "").endswith(f"memory={wanted}")


def test_no_workload_no_command_and_no_limit_for_a_full_node() -> None:
    assert command(workload=None) is None
    assert command(scope="node", verdict="oom_node") is None
