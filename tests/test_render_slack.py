"""Slack blocks: three stages of one message, inside Slack's limits, nothing foreign can call, link or format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest

from oomscope.render import render
from oomscope.render.slack import Stage, slack_blocks, slack_details
from tests import sample_reports as samples

ALL = {**samples.SAMPLES, "crowd": samples.crowd}


def texts(blocks: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for block in blocks:
        for part in [block.get("text"), *block.get("elements", [])]:
            if part and "text" in part:
                inner = part["text"] if isinstance(part["text"], dict) else part
                yield inner["type"], inner["text"]


@pytest.mark.parametrize("name", ["strong", "abstention", "not_oom", "hostile"])
def test_golden(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.slack.json", render(samples.SAMPLES[name](), "slack", now=samples.NOW))


@pytest.mark.parametrize("stage", get_args(Stage))
@pytest.mark.parametrize("name", ALL)
def test_limits_and_inertness(name: str, stage: Stage) -> None:
    report = ALL[name]()
    for blocks in (slack_blocks(report, stage=stage, now=samples.NOW), slack_details(report)):
        assert 0 < len(blocks) <= 50
        assert len(json.dumps(blocks)) < 100_000
        for kind, text in texts(blocks):
            assert 0 < len(text) <= (150 if kind == "plain_text" else 3000)
            if kind == "mrkdwn":
                assert "<" not in text
                assert "@channel" not in text


def test_stages_grow() -> None:
    report = samples.strong()
    said = {stage: json.dumps(slack_blocks(report, stage=stage)) for stage in get_args(Stage)}
    assert "reading the evidence" in said["seen"]
    assert "orders.csv" not in said["seen"]
    assert "preliminary" in said["preliminary"]
    assert "orders.csv" in said["preliminary"]
    assert "preliminary" not in said["final"]


def test_buttons_and_picture_only_for_web_addresses() -> None:
    blocks = slack_blocks(samples.strong(), report_url="https://oom.example/r/1", dashboard_url="javascript:alert(1)",
                          image_url="https://oom.example/r/1.png")  # fmt: skip
    buttons = next(block for block in blocks if block["type"] == "actions")["elements"]
    assert [button["url"] for button in buttons] == ["https://oom.example/r/1"]
    assert any(block["type"] == "image" for block in blocks)
    assert not any(
        block["type"] == "image" for block in slack_blocks(samples.strong(), image_url="file:///etc")
    )


def test_webhook_body_has_a_fallback_text() -> None:
    body = json.loads(render(samples.strong(), "slack"))
    assert set(body) == {"text", "blocks"}
    assert "GET /admin/orders.csv" in body["text"]
