"""Confidence of means and of pooled rates: the percentile bootstrap over items, 95 %.

Draws are the same for every set of as many items, so that what is compared on the same items is compared in each draw.
"""

from collections.abc import Sequence

import numpy as np

_DRAWS = 10_000
_SEED = 1

Estimate = tuple[float, float, float]
"""A figure, and the ends of its interval."""


def mean(values: Sequence[float]) -> Estimate:
    """Mean over items; those that are not a number are left out. Of paired differences it is the mean difference."""
    found = np.asarray(values, float)
    found = found[~np.isnan(found)]
    if not len(found):
        return (float("nan"),) * 3
    return (float(found.mean()), *_interval(found[_draws(len(found))].mean(1)))


def pooled(counts: Sequence[float], sizes: Sequence[float]) -> Estimate:
    """Sum of counts over sum of sizes, say word errors over words; not a number without items.

    Differences of two counts of the same items give the difference of their rates.
    """
    if not len(sizes):
        return (float("nan"),) * 3
    draws = _draws(len(sizes))
    rates = np.asarray(counts)[draws].sum(1) / np.asarray(sizes)[draws].sum(1)
    return (float(np.sum(counts) / np.sum(sizes)), *_interval(rates))


def _draws(count: int) -> np.ndarray:
    return np.random.default_rng(_SEED).integers(count, size=(_DRAWS, count))


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
