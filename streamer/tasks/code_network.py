"""From the logits of entropy networks to the frequencies of the range coder: in integers from the first step on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from streamer.errors import BundleError
from streamer.tasks.range_coder import TOTAL
from streamer.work import Array


def weights_of(arrays: Mapping[str, Array]) -> Array:
    """Return the weights of logits, `network` of an opened `tables.npz`: u16 `[128]`.

    Entry d is 2^(-d/8), scaled, for a logit that is d below the largest. Raises `BundleError` where it is none.
    """
    weights = arrays.get("network")
    if weights is None or weights.shape != (128,) or weights.dtype != np.uint16 or not weights[0]:
        raise BundleError("expected the weights of an entropy network, network u16 (128,), in the tables of codes")
    return weights


def frequencies(logits: Array, weights: Array) -> Array:
    """Return int64 frequencies `[..., K]`, each at least 1, that sum to 2^16.

    `logits` `[..., K]` are in units of 1/8 bit, `weights` those of `weights_of`. Floats, which must be finite, are
    rounded first, half a unit up. What the division leaves over goes to the (first) largest logit.
    """
    if logits.dtype.kind == "f":
        logits = np.floor(logits + np.float32(0.5))
    logits = np.asarray(logits, np.int64)
    best = logits.argmax(-1, keepdims=True)
    below = np.minimum(np.take_along_axis(logits, best, -1) - logits, len(weights) - 1)
    shares = np.asarray(weights, np.int64)[below]
    found: Array = 1 + shares * (TOTAL - logits.shape[-1]) // shares.sum(-1, keepdims=True)
    rest = TOTAL - found.sum(-1, keepdims=True)
    np.put_along_axis(found, best, np.take_along_axis(found, best, -1) + rest, -1)
    return found


def intervals(found: Array, codes: Array) -> tuple[Array, Array]:
    """Return where the intervals of `codes` int `[N]` begin and how long they are, of frequencies `[N, K]`."""
    rows = np.arange(len(codes))
    ends = found.cumsum(-1)[rows, codes]
    sizes = found[rows, codes]
    return ends - sizes, sizes


def bounds(found: Array) -> Array:
    """Return where the intervals of each code begin and end, int64 `[K + 1]`, of frequencies `[K]`."""
    ends = np.zeros(len(found) + 1, np.int64)
    np.cumsum(found, out=ends[1:])
    return ends
