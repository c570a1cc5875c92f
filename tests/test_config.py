"""Configuration: precedence, origins, and mistakes that are told clearly."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from oomscope import config
from oomscope.cli import run
from oomscope.cli.config import as_toml
from oomscope.errors import UsageError

FILE = """
cluster = "prod"
deadline_s = 60
[clusters.prod.aws]
account = "123456789012"
region = "eu-central-1"
[clusters.prod.logs]
eks_cluster = "prod-eu"
[clusters.prod.prometheus]
url = "http://user:secret@prometheus:9090"
[clusters.stage.aws]
region = "eu-west-1"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "oomscope.toml"
    path.write_text(FILE)
    return path


def test_defaults_file_environment_flags_in_that_order(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.load(files=[]).config.deadline_s == 120.0
    assert config.load(file=file).config.deadline_s == 60.0
    monkeypatch.setenv("OOMSCOPE_DEADLINE_S", "30")
    monkeypatch.setenv("OOMSCOPE_CLUSTERS__PROD__AWS__REGION", "us-east-1")
    loaded = config.load(file=file)
    assert loaded.config.deadline_s == 30.0
    assert loaded.config.chosen().aws.region == "us-east-1"
    loaded = config.load(file=file, flags={"deadline_s": 10, "clusters.prod.aws.region": None})
    assert loaded.config.deadline_s == 10.0
    assert loaded.origins["deadline_s"] == "flag"
    assert loaded.origins["clusters.prod.aws.region"] == "environment"
    assert loaded.origins["clusters.prod.aws.account"] == str(file)


def test_later_file_overrides_earlier_one(file: Path, tmp_path: Path) -> None:
    local = tmp_path / "local.toml"
    local.write_text('[clusters.prod.aws]\nregion = "ap-south-1"\n')
    loaded = config.load(files=[file, local])
    assert loaded.config.chosen().aws.region == "ap-south-1"
    assert loaded.config.chosen().aws.account == "123456789012"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("dedline_s = 3", "deadline_s"),
        ('[clusters.prod.aws]\nregoin = "x"', "region"),
        ('[clusters.prod.promethius]\nurl = "x"', "prometheus"),
        ('[clusters.prod.logs]\nhost_gruop = "x"', "host_group"),
    ],
)
def test_unknown_key_names_the_nearest(tmp_path: Path, text: str, hint: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        config.load(file=path)
    assert hint in error.value.fix
    assert str(path) in error.value.what


@pytest.mark.parametrize(
    "text", ["deadline_s = -1", 'deadline_s = "soon"', "not toml", "clusters = 3", "\x00", "a = [" * 5000]
)
def test_wrong_values_are_the_users_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UsageError):
        config.load(file=path)


def test_missing_file_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        config.load(file=tmp_path / "nothing.toml")


def test_choosing_a_cluster(file: Path) -> None:
    loaded = config.load(file=file).config
    assert loaded.chosen().aws.region == "eu-central-1"
    assert loaded.chosen("stage").aws.region == "eu-west-1"
    with pytest.raises(UsageError, match="no cluster") as error:
        loaded.chosen("stagee")
    assert "stage" in error.value.likely
    assert config.Config().chosen() == config.Cluster()


def test_show_hides_credentials_and_names_origins(file: Path) -> None:
    rows = {name: (value, origin) for name, value, origin in config.shown(config.load(file=file))}
    assert rows["clusters.prod.prometheus.url"] == ('"http://***@prometheus:9090"', str(file))
    assert rows["minutes_before"] == ("30", "default")


def test_show_is_a_file_that_says_the_same(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OOMSCOPE_DEADLINE_S", "30")
    assert run(["config", "show", "--config", str(file), "--all"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^deadline_s = 30 +# environment$", text, re.MULTILINE)
    assert re.search(rf'^region = "eu-central-1" +# {re.escape(str(file))}$', text, re.MULTILINE)
    assert "# context is not set" in text
    secret = file.read_text().replace("user:secret", "***").replace("deadline_s = 60", "deadline_s = 30")
    file.write_text(secret)
    assert config.Config.model_validate(tomllib.loads(text)) == config.load(file=file).config


@pytest.mark.parametrize("name", ['a"b', "a.b", "a b", "\x1b[31m", "ü"])
def test_show_quotes_odd_names(tmp_path: Path, name: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f"[label_map]\n{json.dumps(name)} = {json.dumps(name)}\n")
    loaded = config.load(file=path)
    text = as_toml([row for row in config.shown(loaded) if row[1] is not None])
    assert tomllib.loads(text)["label_map"] == {name: name}
    assert "\x1b" not in text
