"""What the jobs of a worker share."""

from __future__ import annotations

from dataclasses import dataclass, field

from oomscope.config import Cluster, Config
from oomscope.serve.breaker import Breakers
from oomscope.serve.bundles import BundleStore
from oomscope.serve.calculator import Calculate, here
from oomscope.serve.settings import Settings
from oomscope.serve.store import Store


@dataclass(frozen=True)
class Runtime:
    """Everything a job needs besides its task. ``replica`` names this process in leases and stages.

    What takes long is handed to ``calculate``: the service has another process for it.
    """

    settings: Settings
    store: Store
    bundles: BundleStore
    replica: str
    breakers: Breakers = field(default_factory=Breakers)
    calculate: Calculate = here


def cluster_of(config: Config, name: str | None) -> Cluster:
    """The cluster an alert names when it is configured, else the default one. Raises ``UsageError``."""
    return config.chosen(name if name in config.clusters else None)
