"""Static tables of entropy mode 1: integer frequencies of each code in the context of two classes.

The context of a code is the class of the code of its book in the frame before and the class of the code of the book
below it; `streamer/tasks/code_tables.py` says how the file is laid out. Classes join codes after which much the same
follows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# Sum of the frequencies of a context: what the range coder divides its range by.
TOTAL = 1 << 16
# Frequencies of the network's codes by how many eighths of a bit they are below the likeliest.
_EIGHTHS = 128
# Rounds and starts of the search for classes, and what the overall frequencies count for in it.
_ROUNDS, _STARTS, _PRIOR = 15, 2, 50.0


@dataclass(frozen=True)
class Shape:
    """How many classes the contexts tell apart, and how many occurrences a less specific context counts for."""

    previous: int = 16
    below: int = 4
    backoff: float = 800.0


def network_table() -> np.ndarray:
    """u16[128]: 2^15 times 2^(-d / 8), the frequency of a code that is d eighths of a bit below the likeliest."""
    return np.rint(2.0 ** (15 - np.arange(_EIGHTHS) / 8)).astype(np.uint16)


def build_tables(clips: Sequence[np.ndarray], size: int, shape: Shape, seed: int = 0) -> dict[str, np.ndarray]:
    """Count the codes of `clips`, each int[frames, books], into the arrays of `tables.npz`."""
    rng = np.random.default_rng(seed)
    now = np.concatenate([clip[1:] for clip in clips]).astype(np.int64)
    before = np.concatenate([clip[:-1] for clip in clips]).astype(np.int64)
    books = [
        _build_book(before[:, k], now[:, k - 1] if k else None, now[:, k], size, shape, rng)
        for k in range(now.shape[1])
    ]
    previous_class, below_class, frequencies = (np.stack(arrays) for arrays in zip(*books, strict=True))
    return {
        "previous_class": previous_class,
        "below_class": below_class,
        "frequencies": frequencies,
        "network": network_table(),
    }


def _build_book(
    before: np.ndarray, below: np.ndarray | None, code: np.ndarray, size: int, shape: Shape, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows of one book: classes u8[size + 1] of either neighbour, frequencies u16[previous, below, size].

    The last class of the code before is that of an absent one. The code below is only ever absent where there is no
    book below; a single class then stands for it.
    """
    previous_class = np.append(classify(pairs(before, code, size), shape.previous - 1, rng), shape.previous - 1)
    below_class = np.zeros(size + 1, np.int64)
    if below is not None:
        below_class[:size] = classify(pairs(below, code, size), shape.below, rng)
    context = previous_class[before], below_class[size if below is None else below]
    contexts = shape.previous * shape.below
    cells = (context[0] * shape.below + context[1]) * size + code
    counts = np.bincount(cells, minlength=contexts * size).reshape(shape.previous, shape.below, size).astype(np.float64)
    # Where the code before is unknown, all that may have been before counts.
    counts[-1] = counts.sum(0)
    frequencies = to_integers(smooth(counts, shape.backoff))
    return previous_class.astype(np.uint8), below_class.astype(np.uint8), frequencies


def pairs(neighbour: np.ndarray, code: np.ndarray, size: int) -> np.ndarray:
    """How often each code follows each neighbour, f32[size, size]."""
    return np.bincount(neighbour * size + code, minlength=size * size).reshape(size, size).astype(np.float32)


def classify(counts: np.ndarray, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Join the rows of f32[size, codes] into classes that tell most of the columns, i64[size].

    This is k-means with the Kullback-Leibler divergence (Dhillon and others, JMLR 3, 2003), best of a few starts.
    """
    if classes == 1:
        return np.zeros(len(counts), np.int64)
    found = [_classify_once(counts, classes, rng) for _ in range(_STARTS)]
    return max(found, key=lambda pair: pair[0])[1]


def _classify_once(counts: np.ndarray, classes: int, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    overall = (counts.sum(0) + 1) / (counts.sum() + counts.shape[1])
    member = rng.integers(classes, size=len(counts))
    for _ in range(_ROUNDS):
        joined = np.eye(classes, dtype=np.float32)[member].T @ counts
        log = np.log(joined + _PRIOR * overall) - np.log(joined.sum(1, keepdims=True) + _PRIOR)
        scores = counts @ log.T
        member = scores.argmax(1)
    return float(scores.max(1).sum()), member


def smooth(counts: np.ndarray, backoff: float) -> np.ndarray:
    """Probabilities f64[A, B, codes] of counts of the same shape, each mixed with those of a simpler model.

    The simpler model knows either neighbour alone and takes them for independent given the code.
    """
    overall = _mix(counts.sum((0, 1)), np.full(counts.shape[2], 1 / counts.shape[2]), 1.0)
    by_previous = _mix(counts.sum(1), overall, backoff)
    by_below = _mix(counts.sum(0), overall, backoff)
    simpler = by_previous[:, None] * by_below[None] / overall
    return _mix(counts, simpler / simpler.sum(-1, keepdims=True), backoff)


def _mix(counts: np.ndarray, simpler: np.ndarray, backoff: float) -> np.ndarray:
    return (counts + backoff * simpler) / (counts.sum(-1, keepdims=True) + backoff)


def to_integers(probabilities: np.ndarray) -> np.ndarray:
    """Frequencies u16[..., codes], each at least 1, that sum to 2^16; the likeliest code takes what rounding leaves."""
    codes = probabilities.shape[-1]
    frequencies = 1 + np.floor(probabilities * (TOTAL - codes)).astype(np.int64)
    rest = TOTAL - frequencies.sum(-1, keepdims=True)
    likeliest = probabilities.argmax(-1)[..., None]
    np.put_along_axis(frequencies, likeliest, np.take_along_axis(frequencies, likeliest, -1) + rest, -1)
    return frequencies.astype(np.uint16)


def bits(arrays: Mapping[str, np.ndarray], clips: Sequence[np.ndarray]) -> np.ndarray:
    """Mean bits of a code of each book under the tables, f64[books]; every clip begins without a code before."""
    size = arrays["frequencies"].shape[-1]
    total, frames = 0.0, 0
    for clip in clips:
        now = clip.astype(np.int64)
        before = np.concatenate([np.full_like(now[:1], size), now[:-1]])
        below = np.concatenate([np.full_like(now[:, :1], size), now[:, :-1]], 1)
        book = np.arange(now.shape[1])
        context = arrays["previous_class"][book, before], arrays["below_class"][book, below]
        total = total - np.log2(arrays["frequencies"][(book, *context, now)] / TOTAL).sum(0)
        frames += len(now)
    return total / frames
