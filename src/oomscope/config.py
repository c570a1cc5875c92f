"""Configuration: one TOML file with named clusters, overridden by environment and flags.

Precedence: defaults < ``~/.config/oomscope/config.toml`` < ``./oomscope.toml`` (or ``--config FILE`` in place of both)
< ``OOMSCOPE_*`` < flags. Secrets never stand in the file: it names the environment variable that holds one.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource

from oomscope.config_serve import Serve
from oomscope.errors import UsageError

MAX_CONFIG_BYTES = 1 << 20


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Kubernetes(_Part):
    """How to reach the API server. Without anything: in-cluster, else the current context."""

    context: str | None = None
    kubeconfig: str | None = None
    namespace: str | None = None


class Aws(_Part):
    """Account and region; credentials come from the profile or the environment, never from the file."""

    account: str | None = None
    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None


class Logs(_Part):
    """CloudWatch log groups. ``eks_cluster`` fills in the usual names of both Container Insights layouts."""

    eks_cluster: str | None = None
    application_group: str | None = None
    host_group: str | None = None
    performance_group: str | None = None
    requests_per_second: float | None = Field(default=None, gt=0, le=50)


class Alb(_Part):
    """ALB access logs: an Athena table, or the bucket itself."""

    database: str | None = None
    table: str | None = None
    catalog: str = "AwsDataCatalog"
    workgroup: str | None = None
    output_location: str | None = None
    bucket: str | None = None
    prefix: str = ""
    load_balancer: str | None = None
    requests_per_second: float | None = Field(default=None, gt=0, le=100)


class Prometheus(_Part):
    """Where memory and restart series are: ``kind`` prometheus, amp (SigV4 aps) or cloudwatch (PromQL, SigV4)."""

    url: str | None = None
    kind: Literal["prometheus", "amp", "cloudwatch"] = "prometheus"
    token_env: str | None = None
    user_env: str | None = None
    password_env: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)  # extra matchers, e.g. cluster = "prod-eu"


class Cluster(_Part):
    """Everything about one named cluster."""

    kubernetes: Kubernetes = Field(default_factory=Kubernetes)
    aws: Aws = Field(default_factory=Aws)
    logs: Logs = Field(default_factory=Logs)
    alb: Alb = Field(default_factory=Alb)
    prometheus: Prometheus = Field(default_factory=Prometheus)
    without: tuple[str, ...] = ()
    require: tuple[str, ...] = ()


class Config(_Part):
    """The whole configuration. ``cluster`` names the default among ``clusters``."""

    cluster: str | None = None
    clusters: dict[str, Cluster] = Field(default_factory=dict)
    deadline_s: float = Field(default=120.0, gt=0, le=3600)
    max_scan_bytes: int = Field(default=5 * 10**9, gt=0)
    minutes_before: float = Field(default=30.0, gt=0, le=24 * 60)
    label_map: dict[str, str] = Field(
        default_factory=dict
    )  # alert label -> namespace, pod, container, cluster
    grafana_url: str | None = None
    serve: Serve = Field(default_factory=Serve)

    def chosen(self, name: str | None = None) -> Cluster:
        """The named cluster, else the default one, else the only one, else an empty one."""
        name = name or self.cluster
        if name is None:
            return next(iter(self.clusters.values())) if len(self.clusters) == 1 else Cluster()
        if name not in self.clusters:
            near = difflib.get_close_matches(name, self.clusters, 1)
            raise UsageError(
                f"no cluster {name!r} in the configuration",
                likely=f"did you mean {near[0]!r}?" if near else "",
                fix=f"one of: {', '.join(sorted(self.clusters)) or '(none is configured)'}",
                slug="config",
            )
        return self.clusters[name]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and, for each dotted name that was set, where its value came from."""

    config: Config
    origins: Mapping[str, str]


class _Environment(BaseSettings):
    """Shape for reading ``OOMSCOPE_A__B__C`` variables; the values are validated as part of ``Config``."""

    cluster: str | None = None
    clusters: dict[str, Any] = Field(default_factory=dict)
    deadline_s: str | None = None
    max_scan_bytes: str | None = None
    minutes_before: str | None = None
    label_map: dict[str, Any] = Field(default_factory=dict)
    grafana_url: str | None = None
    serve: dict[str, Any] = Field(default_factory=dict)


def default_files() -> tuple[Path, ...]:
    """The user's file and the one in the current folder, as far as they exist."""
    from platformdirs import user_config_path

    candidates = (user_config_path("oomscope") / "config.toml", Path("oomscope.toml"))
    return tuple(path for path in candidates if path.is_file())


def load(
    *,
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    files: Sequence[Path] | None = None,
) -> Loaded:
    """Read and merge all layers. ``flags`` uses dotted names (``clusters.prod.aws.region``); None values are skipped.

    Raises ``UsageError`` naming the file and key; an unknown key comes with the nearest known one.
    """
    paths = [file] if file else list(default_files() if files is None else files)
    layers: list[tuple[str, dict[str, Any]]] = [(str(path), _read_toml(path)) for path in paths]
    environment = EnvSettingsSource(_Environment, env_prefix="OOMSCOPE_", env_nested_delimiter="__")()
    layers.append(("environment", environment))
    layers.append(("flag", _nest({k: v for k, v in (flags or {}).items() if v is not None})))
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        for name, value in _flatten(layer):
            origins[".".join(name)] = origin
            _put(merged, name, value)
    return Loaded(_validated(merged, origins), origins)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()[: MAX_CONFIG_BYTES + 1]
        if len(data) > MAX_CONFIG_BYTES:
            raise UsageError(f"{path} is larger than 1 MiB", slug="config")
        return tomllib.loads(data.decode())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}", slug="config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            f"{path} is not valid TOML: {error}", fix="see docs/configuration.md", slug="config"
        ) from error


def _flatten(layer: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for key, value in layer.items():
        name = (*prefix, key)
        found += _flatten(value, name) if isinstance(value, Mapping) and value else [(name, value)]
    return found


def _put(tree: dict[str, Any], name: tuple[str, ...], value: Any) -> None:
    for key in name[:-1]:
        branch = tree.get(key)
        tree[key] = branch if isinstance(branch, dict) else {}
        tree = tree[key]
    tree[name[-1]] = value


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        _put(tree, tuple(name.split(".")), value)
    return tree


def _validated(merged: dict[str, Any], origins: Mapping[str, str]) -> Config:
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        origin = next((where for key, where in origins.items() if key.startswith(name)), "configuration")
        if first["type"] == "extra_forbidden":
            raise UsageError(
                f"unknown key {name!r} ({origin})", fix=_nearest(first["loc"]), slug="config"
            ) from error
        raise UsageError(
            f"{name!r} ({origin}): {first['msg']}", fix="see docs/configuration.md", slug="config"
        ) from error


def _nearest(loc: tuple[int | str, ...]) -> str:
    """The known key nearest to the unknown one, in the same table."""
    model: type[BaseModel] = Config
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
        elif str(part) == "clusters" or model is Config:
            model = Cluster
    known = list(model.model_fields)
    near = difflib.get_close_matches(str(loc[-1]), known, 1)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"


def shown(loaded: Loaded, cluster: str | None = None) -> list[tuple[str, str | None, str]]:
    """Rows (dotted name, value as TOML or None, origin) of every setting. URLs lose their credentials."""
    tree = loaded.config.model_dump(mode="json")
    if not loaded.config.clusters:
        tree["clusters"] = {cluster or "default": Cluster().model_dump(mode="json")}
    rows = []
    for name, value in _flatten(tree):
        dotted = ".".join(name)
        origin = loaded.origins.get(dotted, "default")
        rows.append((".".join(_key(part) for part in name), _toml(value), origin))
    return rows


def _key(part: str) -> str:
    return part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part)


def _toml(value: Any) -> str | None:
    """A value as TOML writes it; nothing for what is not set."""
    if value is None or value == {} or value == []:
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    hidden = re.sub(r"//[^/@\s]*@", "//***@", value) if isinstance(value, str) else value
    return json.dumps(hidden, ensure_ascii=False)
