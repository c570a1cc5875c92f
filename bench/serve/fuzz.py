"""Generated requests against our own description of the API (Schemathesis): none may be answered with a 5xx."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests.serve_help import demo_alert, runtime_of, settings_of

from oomscope.serve.api import build

CREDENTIALS = ({"Authorization": "Bearer alert-token-1"}, {"Authorization": "Bearer page-token-1"}, {})


@dataclass
class FuzzResult:
    """``failures`` must be empty."""

    cases: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def run(folder: Path, *, cases: int, seed: int = 1) -> FuzzResult:
    """``cases`` for each operation of the API, and as many bodies that are almost alerts."""
    runtime = runtime_of(settings_of(folder, requests_per_second=1e6))
    app, result = build(runtime.settings, runtime.store), FuzzResult()
    app.state.oomscope.strangers._rate = 1e6  # strangers are part of the test here
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        api = schemathesis.openapi.from_dict(app.openapi())
        for found in api.get_all_operations():
            _operation(client, found.ok(), cases, seed, result)
        _almost_alerts(client, cases, seed, result)
    return result


def _quiet(cases: int) -> settings:
    return settings(
        max_examples=cases,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def _operation(client: TestClient, operation: Any, cases: int, number: int, result: FuzzResult) -> None:
    @seed(number)
    @_quiet(cases)
    @given(case=operation.as_strategy(), who=st.sampled_from(CREDENTIALS))
    def check(case: Any, who: dict[str, str]) -> None:
        sent = case.as_transport_kwargs(base_url="http://testserver")
        headers = {**{str(k): str(v) for k, v in dict(sent.get("headers") or {}).items()}, **who}
        body = {name: sent[name] for name in ("json", "data") if sent.get(name) is not None}
        if "data" in body and isinstance(body["data"], str | bytes):
            body = {"content": body["data"]}
        answer = client.request(
            sent["method"], sent["url"], headers=headers, params=sent.get("params"), **body
        )
        _judge(answer, f"{sent['method']} {sent['url']} {str(body)[:300]}", result)

    check()


_TEXT = st.text(max_size=30)
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


def _almost_alerts(client: TestClient, cases: int, number: int, result: FuzzResult) -> None:
    """A real alert with one or more of its values replaced by anything."""
    base = demo_alert()
    outer, inner = sorted(base), sorted(base["alerts"][0])
    labels = sorted(base["alerts"][0]["labels"])

    @seed(number)
    @_quiet(cases)
    @given(
        top=st.dictionaries(st.sampled_from(outer), _ANY, max_size=2),
        alert=st.dictionaries(st.sampled_from(inner), _ANY, max_size=3),
        label=st.dictionaries(st.sampled_from(labels), _ANY, max_size=3),
    )
    def check(top: dict[str, Any], alert: dict[str, Any], label: dict[str, Any]) -> None:
        one = {**base["alerts"][0], "labels": {**base["alerts"][0]["labels"], **label}, **alert}
        body = {**base, "alerts": [one], **top}
        content = json.dumps(body)  # also what is no JSON: NaN, Infinity, halves of surrogate pairs
        answer = client.post("/api/v1/alerts", content=content, headers=CREDENTIALS[0])
        _judge(answer, str(body)[:300], result)

    check()


def _judge(answer: Any, what: str, result: FuzzResult) -> None:
    result.cases += 1
    result.codes[answer.status_code] += 1
    if answer.status_code >= 500 and len(result.failures) < 20:
        result.failures.append(f"{answer.status_code} for {what}")
