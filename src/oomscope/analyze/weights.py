"""The few fitted numbers, read from ``data/weights.json`` with their provenance."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Weights:
    """``caps`` bound each term (nats), ``weights`` scale it, ``prior``: share of each pattern before evidence."""

    caps: dict[str, float]
    weights: dict[str, float]
    prior: dict[str, float]
    temperature: float = 1.0

    def log_prior(self, pattern: str) -> float:
        """ln of the share of a pattern among all."""
        return math.log(self.prior[pattern] / sum(self.prior.values()))


@cache
def load_weights() -> Weights:
    """The numbers shipped with the package."""
    raw = json.loads(files("oomscope").joinpath("data/weights.json").read_text("utf-8"))
    return Weights(raw["caps"], raw["weights"], raw["prior"], float(raw["temperature"]))
