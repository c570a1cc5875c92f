"""The read-only cluster client: what each failure is called, paging, tokens, kubeconfig forms."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from oomscope.errors import SourceError, UsageError
from oomscope.sources.kube_client import HttpReader, connect
from tests.fakes.kube import KubeState, kube_server, kubeconfig


def pod(name: str, namespace: str = "shop", **labels: str) -> dict:
    return {"kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels}}


@pytest.fixture
def state() -> KubeState:
    return KubeState(
        pods=[pod(f"web-{i}", app="web") for i in range(7)] + [pod("db-0", app="db"), pod("x", "other")]
    )


@pytest.fixture
def reader(state: KubeState, tmp_path: Path) -> Iterator[HttpReader]:
    with kube_server(state) as url:
        yield connect(kubeconfig=str(kubeconfig(tmp_path, url)), timeout_s=1.0)


def test_reads_one_and_lists_over_pages(reader: HttpReader, state: KubeState) -> None:
    state.page = 3
    assert reader.get_pod("shop", "db-0")["metadata"]["name"] == "db-0"
    assert len(reader.list_pods("shop", "app=web")) == 7
    assert len(reader.list_pods(None)) == 9


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("403", "denied"), ("404", "no_data"), ("410", "cut"), ("429", "timed_out"), ("500", "unreachable"),
     ("503", "unreachable"), ("slow", "timed_out"), ("reset", "unreachable"),
     ("junk", "unparsable"), ("nested", "unparsable")],
)  # fmt: skip
def test_each_failure_has_its_name(reader: HttpReader, state: KubeState, fault: str, reason: str) -> None:
    state.faults["/api/v1/namespaces/shop/pods"] = fault
    with pytest.raises(SourceError) as error:
        reader.list_pods("shop")
    assert error.value.reason == reason


def test_forbidden_names_the_missing_permission(reader: HttpReader, state: KubeState) -> None:
    state.faults["/api/v1/nodes"] = "403"
    with pytest.raises(SourceError) as error:
        reader.get_node("n1")
    assert "get nodes" in (error.value.fix or "")


def test_wrong_token_is_denied(reader: HttpReader, state: KubeState) -> None:
    state.token = "other"
    with pytest.raises(SourceError) as error:
        reader.get_pod("shop", "db-0")
    assert error.value.reason == "denied"


def test_previous_log_and_its_absence(reader: HttpReader, state: KubeState) -> None:
    state.logs[("db-0", "app", True)] = b"0123456789" * 10
    assert b"".join(reader.pod_log("shop", "db-0", "app", previous=True)) == b"0123456789" * 10
    with pytest.raises(SourceError, match="previous terminated container") as error:
        list(reader.pod_log("shop", "db-0", "app", previous=False))
    assert error.value.reason == "no_data"


@pytest.mark.parametrize("name", ["../secrets", "a/b", "a?x=1", "", "A", "a\n", "x" * 300, "a%2fb"])
def test_names_cannot_change_the_path(reader: HttpReader, state: KubeState, name: str) -> None:
    with pytest.raises(SourceError):
        reader.get_pod("shop", name)
    with pytest.raises(SourceError):
        reader.get_node(name)
    assert state.requests == []


def test_several_kubeconfigs_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: KubeState
) -> None:
    empty = tmp_path / "empty"
    empty.write_text(
        yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "", "clusters": []})
    )
    with kube_server(state) as url:
        real = kubeconfig(tmp_path, url)
        monkeypatch.setenv("KUBECONFIG", f"{empty}:{tmp_path / 'missing'}:{real}")
        assert connect().context == "test"


def test_exec_plugin_of_the_newest_protocol(tmp_path: Path, state: KubeState) -> None:
    plugin = tmp_path / "token-plugin"
    plugin.write_text("#!/bin/sh\necho '" + json.dumps({"status": {"token": "good"}}) + "'\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    with kube_server(state) as url:
        path = kubeconfig(tmp_path, url)
        content = yaml.safe_load(path.read_text())
        content["users"][0]["user"] = {
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": str(plugin),
                "interactiveMode": "Never",
            }
        }
        path.write_text(yaml.safe_dump(content))
        assert connect(kubeconfig=str(path)).get_pod("shop", "db-0")


@pytest.mark.parametrize(
    "text", ["[]", "a: [", "just text", "clusters: [{name: x}]\ncontexts: [{name: y}]\ncurrent-context: z"]
)
def test_broken_kubeconfig_is_the_users_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(UsageError):
        connect(kubeconfig=str(path))


def test_unknown_context_and_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kubeconfig(tmp_path, "http://127.0.0.1:1")
    with pytest.raises(UsageError, match="nowhere"):
        connect("nowhere", str(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(UsageError, match="no kubeconfig"):
        connect()


def test_tls_server_name_is_refused_clearly(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "https://127.0.0.1:1", **{"tls-server-name": "x"})
    with pytest.raises(UsageError, match="tls-server-name"):
        connect(kubeconfig=str(path))


def test_a_rotated_token_file_is_read_again(tmp_path: Path, state: KubeState) -> None:
    token = tmp_path / "token"
    token.write_text("good")
    with kube_server(state) as url:
        path = kubeconfig(tmp_path, url)
        content = yaml.safe_load(path.read_text())
        content["users"][0]["user"] = {"tokenFile": "token"}
        path.write_text(yaml.safe_dump(content))
        reader = connect(kubeconfig=str(path), timeout_s=1.0)
        assert reader.get_pod("shop", "db-0")
        state.token = "rotated"
        token.write_text("rotated")
        assert reader.get_pod("shop", "db-0")


def test_an_answer_is_bounded_in_size_and_time(
    reader: HttpReader, state: KubeState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oomscope.sources.kube_client.MAX_OBJECT_BYTES", 100)
    with pytest.raises(SourceError) as error:
        reader.list_pods("shop")
    assert error.value.reason == "cut"
    monkeypatch.undo()
    monkeypatch.setattr("oomscope.sources.kube_client.MAX_SECONDS", -1.0)
    with pytest.raises(SourceError) as error:
        reader.list_pods("shop")
    assert error.value.reason == "timed_out"
