"""Tails of two discrete laws. ``scipy.stats`` has them too, at more than half a second of import time."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln, logsumexp, pdtrc


def log_hypergeometric_tail(at_least: int, total: int, marked: int, drawn: int) -> float:
    """Log of P(X >= at_least), X the marked ones among ``drawn`` of ``total`` of which ``marked`` are marked."""
    first, last = max(at_least, drawn + marked - total, 0), min(marked, drawn)
    if first > last:
        return -math.inf
    if at_least <= max(0, drawn + marked - total):
        return 0.0
    k = np.arange(first, last + 1)
    ways = _log_choose(marked, k) + _log_choose(total - marked, drawn - k) - _log_choose(total, drawn)
    return min(0.0, float(logsumexp(ways)))


def poisson_tail(at_least: float, mean: float) -> float:
    """P(X >= at_least) of a Poisson law; 1 for nothing asked."""
    return 1.0 if at_least <= 0 else float(pdtrc(at_least - 1, mean))


def _log_choose(n: int, k: np.ndarray | int) -> np.ndarray:
    return np.asarray(gammaln(n + 1.0) - gammaln(np.add(k, 1.0)) - gammaln(np.subtract(n, k) + 1.0))
