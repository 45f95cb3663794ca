"""Tokens of a recogniser to words with times and confidence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from streamer.tasks.base import WordSpan
from streamer.tasks.tokens import Writing

# How long a word lasts at most after its last token: a token stands at one frame and has no end of its own.
MAX_TAIL_S = 0.4
# Probabilities nearer to zero or one than this are all the same to a calibration.
_LEAST = 1e-6


class Token(NamedTuple):
    """A token that stands for text, the frame of the stream that emitted it and its log-probability.

    `opens` says that a word begins with it although its piece does not: nothing that the model knew came before it.
    """

    id: int
    frame: int
    logp: float
    opens: bool = False


@dataclass(frozen=True, slots=True)
class Timing:
    """Where frames lie in the audio: model-rate samples per frame, and by how many samples tokens come late."""

    sample_rate: int
    frame_samples: int
    token_delay_samples: int

    def sample(self, frame: int) -> int:
        """Return the sample at which a token of `frame` was spoken; may be negative."""
        return frame * self.frame_samples - self.token_delay_samples


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns the mean probability of a word's tokens into the share of words that are right at that value.

    A line in log-odds: `slope` times those of the geometric mean, and `bias`. It is fitted on speech that no training
    heard (Platt, "Probabilistic outputs for support vector machines", 1999).
    """

    slope: float
    bias: float


@dataclass(frozen=True, slots=True)
class Spelling:
    """A word as its tokens and its text; `spaced` says whether a space comes before it."""

    tokens: Sequence[Token]
    text: str
    spaced: bool


def group_words(tokens: Sequence[Token], vocabulary: Writing) -> list[Sequence[Token]]:
    """Split tokens where words start. The last group may be a word that is still being spoken."""
    starts = [
        index
        for index, token in enumerate(tokens)
        if index == 0
        or token.opens
        or (vocabulary.starts_word(token.id) and not vocabulary.goes_on(tokens[index - 1].id))
    ]
    return [tokens[begin:end] for begin, end in pairwise([*starts, len(tokens)])]


def spell(tokens: Sequence[Token], vocabulary: Writing, is_final: bool) -> list[Spelling]:
    """Return the words of `tokens`, without those that have no text yet.

    A character at the end whose byte pieces have not all arrived is left out until they have, so that text only grows;
    in a final, or once another word has begun, it is replaced by U+FFFD.
    """
    words = []
    groups = group_words(tokens, vocabulary)
    for index, group in enumerate(groups):
        is_whole = is_final or index + 1 < len(groups)
        text = _decode(b"".join(vocabulary.raw_text(token.id) for token in group), is_whole)
        if text:
            words.append(Spelling(group, text, group[0].opens or vocabulary.is_spaced(group[0].id)))
    return words


def _decode(raw: bytes, is_whole: bool) -> str:
    if not is_whole:
        raw = raw[: len(raw) - _incomplete_bytes(raw)]
    return raw.decode("utf-8", errors="replace").strip()


def _incomplete_bytes(raw: bytes) -> int:
    """How many bytes at the end begin a character that more bytes could complete."""
    for length in range(1, min(3, len(raw)) + 1):
        lead = raw[-length]
        if lead & 0xC0 == 0x80:
            continue
        expected = 2 if lead & 0xE0 == 0xC0 else 3 if lead & 0xF0 == 0xE0 else 4 if lead & 0xF8 == 0xF0 else 1
        return length if expected > length else 0
    return 0


def join(words: Sequence[Spelling]) -> str:
    """Return the text of `words`, with spaces where the script writes them."""
    return "".join((" " if word.spaced else "") + word.text for word in words).strip()


def place(
    words: Sequence[Spelling], timing: Timing, begin: int, end: int, calibration: Calibration | None = None
) -> tuple[WordSpan, ...]:
    """Give `words` their times, clipped to the samples `begin` to `end`.

    A word starts at its first token and ends where the next one starts, or `MAX_TAIL_S` after its last token if that
    is sooner.
    """
    tail = int(MAX_TAIL_S * timing.sample_rate)
    starts = [_clip(timing.sample(word.tokens[0].frame), begin, end) for word in words]
    ends = [_clip(timing.sample(word.tokens[-1].frame) + tail, begin, end) for word in words]
    limits = [*starts, end][1:]
    return tuple(
        WordSpan(word.text, start, max(start, min(stop, limit)), confidence(word.tokens, calibration))
        for word, start, stop, limit in zip(words, starts, ends, limits, strict=True)
    )


def confidence(tokens: Sequence[Token], calibration: Calibration | None = None) -> float:
    """How likely it is that `tokens` are right, 0 for none; without calibration their geometric mean probability."""
    if not tokens:
        return 0.0
    mean = math.exp(min(0.0, sum(_logps(tokens)) / len(tokens)))
    if calibration is None:
        return mean
    certain = min(max(mean, _LEAST), 1.0 - _LEAST)
    odds = calibration.slope * math.log(certain / (1.0 - certain)) + calibration.bias
    return 1.0 / (1.0 + math.exp(-odds))


def _logps(tokens: Sequence[Token]) -> Iterator[float]:
    return (token.logp for token in tokens)


def _clip(sample: int, begin: int, end: int) -> int:
    return max(begin, min(sample, end))
