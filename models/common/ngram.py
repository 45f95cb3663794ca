"""Estimation of n-gram language models over token ids: interpolated modified Kneser-Ney, pruned, as a back-off trie.

Chen and Goodman, "An empirical study of smoothing techniques for language modeling" (1999), section 3: the highest
order uses counts, lower orders the number of distinct tokens before; n-grams that begin a sentence keep their counts.
Sentences have a start and no end: the model tells what comes next if something does.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Ints = np.ndarray
Floats = np.ndarray

UNKNOWN, START = 0, 1


@dataclass(frozen=True)
class Level:
    """All n-grams of one order in sorted order: `keys` pack their tokens, the first one highest."""

    keys: Ints
    counts: Ints


@dataclass(frozen=True)
class Estimate:
    """One order after smoothing: natural-log probabilities and back-off weights, aligned with `keys`."""

    keys: Ints
    logp: Floats
    backoff: Floats


class Packing:
    """How n-grams become integers: `bits` a token, so that orders up to 63 // bits fit."""

    def __init__(self, vocabulary: int, order: int) -> None:
        self.bits = max(1, int(vocabulary - 1).bit_length())
        if self.bits * order > 63:
            raise ValueError(f"expected at most {63 // self.bits} tokens of {vocabulary} in an n-gram, got {order}")

    def last(self, keys: Ints) -> Ints:
        """The last token of each n-gram."""
        return keys & ((1 << self.bits) - 1)

    def context(self, keys: Ints) -> Ints:
        """Each n-gram without its last token."""
        return keys >> self.bits

    def suffix(self, keys: Ints, order: int) -> Ints:
        """Each n-gram of `order` without its first token."""
        return keys & ((1 << self.bits * (order - 1)) - 1)

    def first(self, keys: Ints, order: int) -> Ints:
        """The first token of each n-gram of `order`."""
        return keys >> (self.bits * (order - 1))


def count(sentences: Iterable[Sequence[int]], packing: Packing, order: int) -> list[Level]:
    """Count the n-grams of orders 1 to `order`; the start stands before each sentence once."""
    tokens = [np.asarray([START, *sentence], np.int64) for sentence in sentences if len(sentence)]
    stream = np.concatenate(tokens)
    begins = np.concatenate([np.arange(len(sentence)) for sentence in tokens])
    levels, keys = [], np.zeros(len(stream), np.int64)
    for n in range(1, order + 1):
        # keys[i] packs the n tokens that end at i, valid where the sentence has as many.
        keys = stream if n == 1 else (np.concatenate([[0], keys[:-1]]) << packing.bits) | stream
        found, counts = np.unique(keys[begins >= n - 1 if n > 1 else begins >= 1], return_counts=True)
        levels.append(Level(found, counts))
    return levels


def continuation(levels: Sequence[Level], packing: Packing) -> list[Level]:
    """Replace the counts of all but the highest order by the number of distinct tokens before."""
    changed = []
    for n, (level, above) in enumerate(pairwise(levels), start=1):
        distinct = np.zeros(len(level.keys), np.int64)
        np.add.at(distinct, np.searchsorted(level.keys, packing.suffix(above.keys, n + 1)), 1)
        starts = packing.first(level.keys, n) == START
        changed.append(Level(level.keys, np.where(starts & (n > 1), level.counts, distinct)))
    return [*changed, levels[-1]]


def estimate(sentences: Iterable[Sequence[int]], vocabulary: int, order: int, least: Sequence[int]) -> list[Estimate]:
    """Estimate orders 1 to `order`; n-grams of order n seen less than `least[n - 1]` times are left out.

    Returns normalised back-off models: the kept probabilities of a context and what it backs off to sum to one.
    """
    packing = Packing(vocabulary, order)
    raw = count(sentences, packing, order)
    levels = continuation(raw, packing)
    full = _unigrams(levels[0], vocabulary)
    kept = [Estimate(np.arange(vocabulary), np.log(full), np.zeros(vocabulary))]
    lower_keys, lower = np.arange(vocabulary), full
    for n in range(2, order + 1):
        level = levels[n - 1]
        probabilities = _interpolated(level, packing, n, lower_keys, lower)
        chosen = (raw[n - 1].counts >= least[n - 1]) & _has(kept[-1].keys, packing.context(level.keys))
        kept.append(Estimate(level.keys[chosen], np.log(probabilities[chosen]), np.zeros(int(chosen.sum()))))
        lower_keys, lower = level.keys, probabilities
    return _with_backoff(kept, packing)


def _unigrams(level: Level, vocabulary: int) -> Floats:
    counts = np.zeros(vocabulary)
    counts[level.keys] = level.counts
    # A token that the text lacks is as likely as one seen half a time.
    counts = np.maximum(counts, 0.5)
    counts[START] = 1e-9
    return counts / counts.sum()


def _interpolated(level: Level, packing: Packing, order: int, lower_keys: Ints, lower: Floats) -> Floats:
    """Probabilities f64[n-grams] of one order: discounted counts and the share of the order below."""
    contexts, owner = np.unique(packing.context(level.keys), return_inverse=True)
    counts = level.counts.astype(np.float64)
    total = np.bincount(owner, counts, len(contexts))
    discount = _discounts(level.counts)[np.minimum(level.counts, 3)]
    spared = np.bincount(owner, discount, len(contexts)) / total
    below = lower[np.searchsorted(lower_keys, packing.suffix(level.keys, order))]
    return (counts - discount) / total[owner] + spared[owner] * below


def _discounts(counts: Ints) -> Floats:
    """Chen and Goodman's D1, D2 and D3+ from the counts of counts, and zero for an n-gram never seen."""
    n = [float(np.sum(counts == c)) for c in range(1, 5)]
    if min(n) == 0:
        return np.array([0.0, 0.5, 0.75, 0.9])
    y = n[0] / (n[0] + 2 * n[1])
    found = [c - (c + 1) * y * n[c] / n[c - 1] for c in range(1, 4)]
    return np.array([0.0, *(min(max(d, 0.05), c - 0.05) for c, d in enumerate(found, start=1))])


def _with_backoff(kept: list[Estimate], packing: Packing) -> list[Estimate]:
    """Fill in the weight of each context: what its kept n-grams leave, over what the order below gives the rest."""
    finished = [kept[0]]
    for n in range(2, len(kept) + 1):
        above = kept[n - 1]
        owner = np.searchsorted(kept[n - 2].keys, packing.context(above.keys))
        size = len(kept[n - 2].keys)
        taken = np.bincount(owner, np.exp(above.logp), size)
        below = np.exp(score(finished, packing, packing.suffix(above.keys, n), n - 1))
        left = np.bincount(owner, below, size)
        backoff = np.log(np.maximum(1 - taken, 1e-6)) - np.log(np.maximum(1 - left, 1e-6))
        finished[-1] = Estimate(kept[n - 2].keys, kept[n - 2].logp, backoff)
        finished.append(above)
    return finished


def score(model: Sequence[Estimate], packing: Packing, keys: Ints, order: int) -> Floats:
    """Log-probability of the last token of each n-gram of `order` given the others, by backing off."""
    if order == 1:
        return model[0].logp[keys]
    level, above = model[order - 1], model[order - 2]
    place = np.minimum(np.searchsorted(level.keys, keys), len(level.keys) - 1)
    found = level.keys[place] == keys
    result = np.where(found, level.logp[place], 0.0)
    missing = np.flatnonzero(~found)
    if len(missing):
        contexts = packing.context(keys[missing])
        at = np.minimum(np.searchsorted(above.keys, contexts), len(above.keys) - 1)
        weight = np.where(above.keys[at] == contexts, above.backoff[at], 0.0)
        result[missing] = weight + score(model, packing, packing.suffix(keys[missing], order), order - 1)
    return result


def log_probability(
    model: Sequence[Estimate], vocabulary: int, sentences: Iterable[Sequence[int]]
) -> tuple[float, int]:
    """Summed log-probability and number of tokens of `sentences`."""
    packing, total, tokens = Packing(vocabulary, len(model)), 0.0, 0
    order = len(model)
    for sentence in sentences:
        padded = [START, *sentence]
        for i in range(1, len(padded)):
            gram = padded[max(0, i - order + 1) : i + 1]
            key = np.array([sum(token << packing.bits * k for k, token in enumerate(reversed(gram)))])
            total += float(score(model, packing, key, len(gram))[0])
            tokens += 1
    return total, tokens


def trie(model: Sequence[Estimate], vocabulary: int) -> dict[str, np.ndarray]:
    """The arrays that `streamer.tasks.ngram.NGramModel` reads, in half precision."""
    packing = Packing(vocabulary, len(model))
    words = [np.array([-1]), *(packing.last(level.keys) for level in model)]
    fanout = [np.array([len(model[0].keys)])]
    for level, above in pairwise(model):
        owner = np.searchsorted(level.keys, packing.context(above.keys))
        fanout.append(np.bincount(owner, minlength=len(level.keys)))
    backoff = [np.zeros(1), *(level.backoff for level in model[:-1])]
    return {
        "words": np.concatenate(words).astype(np.int32),
        "logp": np.concatenate([np.zeros(1), *(level.logp for level in model)]).astype(np.float16),
        "backoff": np.concatenate(backoff).astype(np.float16),
        "fanout": np.concatenate(fanout).astype(np.int32),
    }


def _has(sorted_keys: Ints, keys: Ints) -> np.ndarray:
    place = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return sorted_keys[place] == keys
