"""Drawing speech tokens: of the likeliest, and of all others where one would be repeated too often.

Repetition aware sampling as VALL-E 2 has it (arXiv 2406.05370). Numbers are drawn by the seed and the number of the
token alone, so what is said depends neither on how text came nor on how tokens were asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.tasks.roles import Roles
from streamer.work import Array

# What the numbers of a seed are for, beside `voice_noise.Noise`.
_TOKENS = 2
# So many bits of Philox's key tell what numbers are for; the number of an utterance lies above them.
_KIND_BITS = 2
_SEED_BITS = 64


@dataclass(frozen=True, slots=True)
class Sampling:
    """Of the likeliest `top_k` that make up `top_p`; what was said `tau_r * win_size` times of the last `win_size`
    gives way to one of all others.
    """

    top_p: float
    top_k: int
    win_size: int
    tau_r: float

    @classmethod
    def of(cls, roles: Roles) -> Sampling:
        """Read the parameters; raises `BundleError`."""
        shares = {name: roles.number(name, default) for name, default in (("top_p", 0.8), ("tau_r", 0.1))}
        for name, share in shares.items():
            if not 0 < share <= 1:
                roles.refuse(name, "more than 0 and at most 1", share)
        return cls(shares["top_p"], roles.integer("top_k", 1), roles.integer("win_size", 1), shares["tau_r"])


def utterance_seed(seed: int, number: int) -> int:
    """Return the seed of utterance `number` of a stream, that of the stream for the first one.

    It has more than 64 bits, for which keys of Philox have room: no numbers are drawn twice.
    """
    return seed | number << (_SEED_BITS + _KIND_BITS)


def draw_token(logits: Array, said: Sequence[int], seed: int, sampling: Sampling) -> int:
    """Draw the next token after `said`, of logits float32 `[n]`; `seed` is that of the utterance."""
    key, counter = seed | _TOKENS << _SEED_BITS, len(said) << _SEED_BITS
    rng = np.random.Generator(np.random.Philox(key=key, counter=counter))
    chances = np.exp(logits.astype(np.float64) - logits.max())
    chances /= chances.sum()
    kept = _likeliest(chances, sampling)
    drawn = int(rng.choice(kept, p=chances[kept] / chances[kept].sum()))
    if list(said[-sampling.win_size :]).count(drawn) < sampling.win_size * sampling.tau_r:
        return drawn
    chances[drawn] = 0.0
    return int(rng.choice(len(chances), p=chances / chances.sum())) if chances.any() else drawn


def _likeliest(chances: Array, sampling: Sampling) -> Array:
    """Numbers of the likeliest ones, the first of equals first. Thousands are not sorted for the sake of some."""
    count = min(sampling.top_k, len(chances))
    least = np.partition(chances, -count)[-count]
    found = np.flatnonzero(chances >= least)
    order = found[np.argsort(-chances[found], kind="stable")][:count]
    before = np.cumsum(chances[order]) - chances[order]
    return order[: max(1, int((before < sampling.top_p).sum()))]
