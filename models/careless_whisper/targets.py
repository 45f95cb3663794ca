"""What the decoder shall say when so many frames have been heard: labels with times, and points to stop at.

A word is due when it has ended. What comes first after that is `eot`, and what follows is not learned (arXiv
2508.12301). Times are in encoder frames of 20 ms.
"""

from collections.abc import Sequence

import numpy as np

IGNORED = -100
_EOT_DELAY = 25
"""Frames between the end of the last word and that of the text."""
_SILENCE = 50
"""Frames of silence after the last word in which a stop may lie."""

Span = tuple[float, float]


def token_ends(words: Sequence[Sequence[int]], spans: Sequence[Span]) -> list[float]:
    """When each token of `words` ends: a word's span is shared evenly among its tokens."""
    return [
        start + (i + 1) * (end - start) / len(word)
        for word, (start, end) in zip(words, spans, strict=True)
        for i in range(len(word))
    ]


def timed_labels(
    prompt: Sequence[int], words: Sequence[Sequence[int]], spans: Sequence[Span], eot: int
) -> tuple[list[int], list[float]]:
    """What the decoder predicts after each of prompt and text, the text's end included, and when it is due.

    The labels inside of the prompt are due from the start.
    """
    text = token_ends(words, spans)
    last = spans[-1][1] if spans else 0.0
    labels = [*prompt[1:], *(token for word in words for token in word), eot]
    return labels, [0.0] * (len(prompt) - 1) + text + [last + _EOT_DELAY]


def labels_at(labels: np.ndarray, ends: np.ndarray, heard: float, eot: int) -> np.ndarray:
    """Labels i64[L] after `heard` frames: those due are kept, the first that is not becomes `eot`, the rest is ignored.

    Labels that are `IGNORED` already stay so, and all of the text may be due: then nothing changes.
    """
    later = (ends > heard) & (labels != IGNORED)
    kept = np.where(later, IGNORED, labels)
    if later.any():
        kept[np.argmax(later)] = eot
    return kept


def stops(limits: Sequence[int], last_end: float, count: int, rng: np.random.Generator) -> list[int]:
    """Up to `count` of the chunk ends `limits`, in order, at most 1 s after the last word; the last is among them.

    If the clip ends sooner after the last word, its own end is the last stop.
    """
    ends = sorted(set(limits))
    within = [end for end in ends if end <= last_end + _SILENCE] or ends[:1]
    drawn = rng.choice(within[:-1], min(count, len(within)) - 1, replace=False) if len(within) > 1 else []
    return sorted(int(stop) for stop in (*drawn, within[-1]))
