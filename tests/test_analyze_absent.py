"""What was not given is said, each kind once."""

from __future__ import annotations

from oomscope.analyze.docs import absent
from oomscope.evidence import Bundle
from oomscope.facts import Gap


def test_kinds_without_evidence_and_without_a_word_are_gaps() -> None:
    bundle = Bundle(sources=("app_log", "kubernetes"), gaps=(Gap("alb", "denied", "no permission"),))
    assert [gap.source for gap in absent(bundle)] == ["kernel_log", "memory"]
    assert all(gap.fix for gap in absent(bundle))
    assert absent(Bundle(sources=("app_log", "kubernetes", "kernel_log", "alb", "memory"))) == ()
