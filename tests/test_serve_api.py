"""The application, without a worker: what comes in, what is said, and what nobody may see."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from oomscope.serve import reporting
from oomscope.serve.api import build
from oomscope.serve.intake import MAX_DEPTH, Unusable, understand
from oomscope.serve.schema import alerts, kills, reports, tasks, threads
from tests.serve_help import demo_alert, rows, runtime_of, settings_of

AT = datetime(2026, 11, 23, 7, 10, tzinfo=UTC)
SEND = {"Authorization": "Bearer alert-token-1"}
READ = {"Authorization": "Bearer page-token-1"}


@pytest.fixture
def runtime(tmp_path: Path) -> Any:
    return runtime_of(settings_of(tmp_path))


@pytest.fixture
def client(runtime: Any) -> Iterator[TestClient]:
    with TestClient(build(runtime.settings, runtime.store), follow_redirects=False) as client:
        yield client


def put_kill(runtime: Any, *, state: str = "final", report: bool = True) -> str:
    """A kill as a worker leaves it."""
    from oomscope.report import Cause, Kill, Report, TargetDoc

    now = datetime.now(UTC)
    kill_id = "0123456789abcdef"
    with runtime.store.write() as c:
        c.execute(
            sa.insert(threads).values(
                id=1, place="p", label="shop/web", opened_at=now, last_kill_at=now, kills=1
            )
        )
        c.execute(
            sa.insert(kills).values(
                id=kill_id, key=kill_id, namespace="shop", workload="web", pod="<script>alert(1)</script>",
                container="app", killed_at=now, found_by="alert", created_at=now, thread_id=1, state=state,
                verdict="oom_limit", endpoints='[["A#b", 3, 0.1]]',
            )
        )  # fmt: skip
        if report:
            made = reporting.made(
                Report(
                    target=TargetDoc(namespace="shop", pod="<img src=x>"),
                    kill=Kill(verdict="oom_limit", killed_at=now),
                    cause=Cause(),
                )
            )
            c.execute(
                sa.insert(reports).values(
                    kill_id=kill_id, stage="final", made_at=now, document=made.document, page=made.page
                )
            )
    return kill_id


# ---------------------------------------------------------------------------------------------------------- alerts


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_accepted_alert_is_stored_before_the_answer(runtime: Any, client: TestClient, method: str) -> None:
    answer = client.request(method, "/api/v1/alerts", json=demo_alert(), headers=SEND)
    assert answer.status_code == 202
    assert answer.json()["understood"] == "grafana"
    assert answer.json()["accepted"][0]["namespace"] == "production"
    assert len(rows(runtime, alerts)) == 1
    assert [task.kind for task in rows(runtime, tasks)] == ["identify"]


def test_the_same_alert_again_is_one_alert(runtime: Any, client: TestClient) -> None:
    for _ in range(5):
        assert client.post("/api/v1/alerts", json=demo_alert(), headers=SEND).status_code == 202
    later = demo_alert()
    later["alerts"][0]["startsAt"] = "2026-11-23T10:22:37Z"
    client.post("/api/v1/alerts", json=later, headers=SEND)
    assert len(rows(runtime, alerts)) == 2
    assert len(rows(runtime, tasks)) == 1


TEST_BUTTON = {
    "version": "1", "orgId": 1, "state": "alerting",
    "alerts": [{"status": "firing", "labels": {"alertname": "TestAlert", "instance": "Grafana"},
                "annotations": {"summary": "Notification test"}, "startsAt": "2026-11-23T07:03:20Z"}],
}  # fmt: skip
NO_DATA = {**TEST_BUTTON, "alerts": [{"labels": {"alertname": "DatasourceNoData", "rulename": "Restarts"},
                                      "startsAt": "2026-11-23T07:03:20Z"}]}  # fmt: skip


def test_special_alerts_are_answered_with_2xx(runtime: Any, client: TestClient) -> None:
    tested = client.post("/api/v1/alerts", json=TEST_BUTTON, headers=SEND)
    assert (tested.status_code, tested.json()["test"]) == (202, True)
    assert client.post("/api/v1/alerts", json=NO_DATA, headers=SEND).status_code == 202
    resolved = demo_alert()
    resolved["alerts"][0]["status"] = "resolved"
    answer = client.post("/api/v1/alerts", json=resolved, headers=SEND)
    assert (answer.status_code, answer.json()["resolved"], answer.json()["accepted"]) == (202, 1, [])
    assert not rows(runtime, alerts)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b"null", b'"x"', b"[1,2]", b"\xff\xfe", b'{"alerts": []}', b"hello",
     b"[" * 5000, b'{"a":' * 900 + b"1" + b"}" * 900, b'{"namespace": "../../etc", "pod": "a b"}',
     b'{"alerts": [{"labels": {"pod": "' + b"x" * 3000 + b'"}}]}'],
)  # fmt: skip
def test_a_useless_body_gets_a_readable_answer(client: TestClient, body: bytes) -> None:
    answer = client.post("/api/v1/alerts", content=body, headers=SEND)
    assert answer.status_code == 400
    assert len(answer.content) <= 1024
    assert answer.json()["error"]


def test_minimal_and_pasted_bodies(client: TestClient) -> None:
    assert (
        client.post("/api/v1/alerts", json={"namespace": "shop", "pod": "web-1"}, headers=SEND).status_code
        == 202
    )
    text = "**Firing**\n\nValue: A=1\nLabels:\n - alertname = Restarts\n - namespace = shop\n - pod = web-1\n"
    pasted = client.post("/api/v1/alerts", content=text, headers={**SEND, "Content-Type": "text/plain"})
    assert (pasted.status_code, pasted.json()["understood"]) == (202, "text")


def test_depth_is_bounded_one_level_short_of_refusal() -> None:
    def nested(levels: int) -> bytes:
        inner: Any = 1
        for _ in range(levels - 1):
            inner = {"a": inner}
        return json.dumps({"namespace": "shop", "x": inner}).encode()

    assert understand(nested(MAX_DEPTH), AT).rows
    with pytest.raises(Unusable, match="deeper"):
        understand(nested(MAX_DEPTH + 1), AT)


def test_bodies_are_bounded(client: TestClient) -> None:
    def drip() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * (1 << 16)

    assert client.post("/api/v1/alerts", content=b" " * ((1 << 20) + 1), headers=SEND).status_code == 413
    assert client.post("/api/v1/alerts", content=drip(), headers=SEND).status_code == 413
    packed = client.post("/api/v1/alerts", content=b"x", headers={**SEND, "Content-Encoding": "gzip"})
    assert packed.status_code == 415


def test_too_many_requests_are_told_so(tmp_path: Path) -> None:
    runtime = runtime_of(settings_of(tmp_path, requests_per_second=1))
    with TestClient(build(runtime.settings, runtime.store)) as client:
        answers = [client.post("/api/v1/alerts", json=demo_alert(), headers=SEND) for _ in range(6)]
    assert [a.status_code for a in answers][:2] == [202, 202]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1


def test_strangers_are_slowed_down(client: TestClient) -> None:
    codes = [client.post("/api/v1/alerts", json=demo_alert()).status_code for _ in range(40)]
    assert codes[0] == 401
    assert codes[-1] == 429
    assert client.post("/api/v1/alerts", json=demo_alert(), headers=SEND).status_code == 202


def test_hostile_labels_are_stored_as_text_or_not_at_all(runtime: Any, client: TestClient) -> None:
    alert = {
        "labels": {"alertname": "x\x00'; DROP TABLE kills;--", "namespace": "shop", "pod": "web-1"},
        "startsAt": "2026-11-23T07:03:20Z", "generatorURL": "http://169.254.169.254/", "fingerprint": "\x00" * 99,
    }  # fmt: skip
    assert client.post("/api/v1/alerts", json=[alert], headers=SEND).status_code == 202
    assert "\x00" not in rows(runtime, alerts)[0].rule
    assert rows(runtime, kills) == []


# --------------------------------------------------------------------------------------------------- who may read


def test_nothing_is_readable_without_credentials(runtime: Any, client: TestClient) -> None:
    kill_id = put_kill(runtime)
    app = client.app
    paths = {route.path for route in _routes(app)}
    for path in sorted(paths):
        filled = re.sub(r"\{(\w+)\}", lambda m: {"kill_id": kill_id, "thread_id": "1", "namespace": "shop",
                                                 "workload": "web", "name": "app.css"}[m[1]], path)  # fmt: skip
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-Forwarded-User": "root"}, SEND):
            answer = client.get(filled, headers=headers)
            if filled in ("/healthz", "/readyz", "/login", "/static/app.css"):
                assert answer.status_code == 200
                assert "shop" not in answer.text
            else:
                assert answer.status_code in (401, 405), filled
                assert "shop" not in answer.text
    sent = client.get("/?q=a%20b&state=open", headers={"Accept": "text/html"}).headers["location"]
    assert sent == "/login?to=/%3Fq%3Da%2520b%26state%3Dopen"


def _routes(app: Any) -> Iterator[Any]:
    """Every route, also inside routers that were included."""
    todo = list(app.routes)
    while todo:
        route = todo.pop()
        if hasattr(route, "path"):
            yield route
        inner = getattr(route, "routes", None) or getattr(
            getattr(route, "original_router", None), "routes", None
        )
        todo += inner or []


def test_logging_in(client: TestClient) -> None:
    wrong = client.post("/login", data={"token": "nope"})
    assert wrong.status_code == 401
    good = client.post("/login", data={"token": "page-token-1", "to": "/kills/0123456789abcdef"})
    assert (good.status_code, good.headers["location"]) == (303, "/kills/0123456789abcdef")
    assert "HttpOnly" in good.headers["set-cookie"]
    assert "page-token-1" not in good.headers["set-cookie"]
    assert "Log out" in client.get("/").text
    back = client.post("/login", data={"token": "page-token-1", "to": "/?q=a%20b&state=open"})
    assert back.headers["location"] == "/?q=a%20b&state=open"
    assert "Log out" not in client.get("/login").text


def test_a_browser_is_told_in_a_page_and_a_program_in_json(client: TestClient) -> None:
    missing = "/kills/0123456789abcdef"
    page = client.get(missing, headers={**READ, "Accept": "text/html,*/*"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is no such kill" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert client.get(missing, headers=READ).json()["error"]


def test_an_empty_list_says_what_to_do(client: TestClient) -> None:
    assert "as soon as an alert" in client.get("/", headers=READ).text
    assert "Show all" in client.get("/?q=x", headers=READ).text


@pytest.mark.parametrize(
    "to",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "/a\r\nX: y", "/?q=<b>"],
)
def test_login_leads_to_our_own_pages_only(client: TestClient, to: str) -> None:
    answer = client.post("/login", data={"token": "page-token-1", "to": to})
    assert answer.headers["location"] == "/"


# -------------------------------------------------------------------------------------------------------- pages


def test_pages_are_safe_and_strict(runtime: Any, client: TestClient) -> None:
    kill_id = put_kill(runtime)
    for path in ("/", f"/kills/{kill_id}", "/workloads/shop/web", "/threads/1"):
        answer = client.get(path, headers=READ)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "<script>alert" not in answer.text
        assert "<img" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_list_filters(runtime: Any, client: TestClient) -> None:
    put_kill(runtime)
    for query, there in (
        ("q=WEB", True), ("q=nothing", False), ("q=%25", False), ("q=_", False), ("namespace=shop", True),
        ("namespace=other", False), ("verdict=oom_limit", True), ("verdict=bogus", True), ("state=failed", False),
        ("page=99999", False), ("page=-1", True), ("page=%F0%9F%98%80", True), ("q=%00", True),
    ):  # fmt: skip
        assert ("/kills/0123" in client.get(f"/?{query}", headers=READ).text) == there, query


def test_a_report_and_its_document(runtime: Any, client: TestClient) -> None:
    kill_id = put_kill(runtime)
    page = client.get(f"/kills/{kill_id}", headers=READ)
    assert "os-bar" in page.text
    assert "http-equiv" not in page.text  # the policy moved into the header
    assert "'sha256-" in page.headers["content-security-policy"]
    document = client.get(f"/kills/{kill_id}/report.json", headers=READ)
    assert document.json()["kill"]["verdict"] == "oom_limit"


def test_progress_before_there_is_a_report(runtime: Any, client: TestClient) -> None:
    kill_id = put_kill(runtime, state="open", report=False)
    page = client.get(f"/kills/{kill_id}", headers=READ)
    assert 'http-equiv="refresh"' in page.text  # also without JavaScript
    assert client.get(f"/kills/{kill_id}/report.json", headers=READ).status_code == 404


def test_events_tell_the_state_and_end(runtime: Any, client: TestClient) -> None:
    kill_id = put_kill(runtime)
    with client.stream("GET", f"/kills/{kill_id}/events", headers=READ) as stream:
        text = "".join(stream.iter_text())
    assert '"state":"final"' in text


@pytest.mark.parametrize(
    "path",
    ["/kills/zz", "/kills/0123456789abcdeF", "/kills/" + "a" * 16, "/threads/x", "/threads/" + "9" * 18,
     "/workloads/a/b", "/static/..%2f..%2fapi.py", "/static/api.py", "/nothing"],
)  # fmt: skip
def test_what_is_not_there(client: TestClient, path: str) -> None:
    assert client.get(path, headers=READ).status_code == 404


def test_probes_and_figures(runtime: Any, client: TestClient) -> None:
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/readyz").text == "ready\n"
    client.post("/api/v1/alerts", json=demo_alert(), headers=SEND)
    text = client.get("/metrics", headers=READ).text
    assert 'oomscope_alert_requests_total{code="202"} 1.0' in text
    assert 'oomscope_tasks{kind="identify"} 1.0' in text
    assert "production" not in text
    assert "/api/v1/alerts" in client.get("/openapi.json", headers=READ).json()["paths"]


def test_a_dead_worker_shows(runtime: Any) -> None:
    with TestClient(build(runtime.settings, runtime.store, worker_alive=lambda: False)) as client:
        answer = client.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "worker: not running\n")
