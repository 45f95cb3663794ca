"""The language model's part of the loop: text to speech tokens, with all text known or while it still arrives.

Known text: `start, text, task, speech`. Streamed text: `start, (5 text, 15 speech)..., rest of the text, task, speech`;
after each block the model says `fill`, which is not given back: the next block of text comes instead. A prompt's text
and speech go before, in the same order.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.flow_tts.cosyvoice.graphs import LM

_FEWEST, _MOST = 2, 20
"""Speech tokens for each of the text's."""


def draw(logits: np.ndarray, said: Sequence[int], rng: np.random.Generator, parameters: Mapping[str, Any]) -> int:
    """Draw an id of logits f32[n], of which those that are out of the question are -inf.

    Of the likeliest that make up `top_p`, at most `top_k`; if it is too frequent among the last `win_size`, of all
    others ("repetition aware sampling", VALL-E 2, arXiv 2406.05370).
    """
    chances = np.exp(logits.astype(np.float64) - logits.max())
    chances /= chances.sum()
    order = np.argsort(-chances, kind="stable")
    before = np.cumsum(chances[order]) - chances[order]
    kept = order[: max(1, min(int((before < parameters["top_p"]).sum()), parameters["top_k"]))]
    drawn = int(rng.choice(kept, p=chances[kept] / chances[kept].sum()))
    times = list(said[-parameters["win_size"] :]).count(drawn)
    if times < parameters["win_size"] * parameters["tau_r"]:
        return drawn
    chances[drawn] = 0.0
    return int(rng.choice(len(chances), p=chances / chances.sum())) if chances.sum() else drawn


@dataclass
class TextLoop:
    """One utterance. `prompt_text` are ids of text, `prompt_speech` speech tokens, numbered from 0."""

    calls: Any
    parameters: Mapping[str, Any]
    prompt_text: Sequence[int] = ()
    prompt_speech: Sequence[int] = ()
    seed: int = 0
    _given: int = 0
    _said: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._text, self._speech = list(self.prompt_text), list(self.prompt_speech)
        self._asked = 0

    def speak(self, text: Sequence[int]) -> Iterator[int]:
        """Speech tokens of a text that is all known."""
        self._asked += len(text)
        self._text += text
        yield from self._rest()

    def push(self, text: Sequence[int]) -> Iterator[int]:
        """Speech tokens of all blocks that `text` completes."""
        self._asked += len(text)
        self._text += text
        block, size = self.parameters["text_block"], self.parameters["speech_block"]
        while len(self._text) >= block:
            heard, self._speech = self._speech[:size], self._speech[size:]
            logits = self._give([*self._text[:block], *self._ids(heard)])
            self._text = self._text[block:]
            for _ in range(size - len(heard)):
                token = self._drawn(logits, may_end=False)
                logits = self._give(self._ids([token]))
                yield token

    def finish(self) -> Iterator[int]:
        """Speech tokens of all that is left."""
        yield from self._rest()

    def _rest(self) -> Iterator[int]:
        logits = self._give([*self._text, self.parameters["task_id"], *self._ids(self._speech)])
        while len(self._said) < _MOST * self._asked:
            token = self._drawn(logits, may_end=len(self._said) >= _FEWEST * self._asked)
            if token >= self.parameters["speech_tokens"]:
                return
            yield token
            logits = self._give(self._ids([token]))

    def _drawn(self, logits: np.ndarray, may_end: bool) -> int:
        """A speech token, or anything beyond them for the end."""
        tokens = self.parameters["speech_tokens"]
        allowed = np.where(np.arange(len(logits)) < (len(logits) if may_end else tokens), logits, -np.inf)
        token = draw(allowed, self._said, self._rng, self.parameters)
        if token < tokens:
            self._said.append(token)
        return token

    def _ids(self, tokens: Sequence[int]) -> list[int]:
        return [self.parameters["speech_id"] + int(token) for token in tokens]

    def _give(self, ids: Sequence[int]) -> np.ndarray:
        """Logits after `ids`; raises `ValueError` where the cache is full."""
        begins = self._given == 0
        ids = [self.parameters["start_id"], *ids] if begins else list(ids)
        page = self.parameters["lm_page"]
        room = page * self.parameters["lm_pages"]
        if self._given + len(ids) > room:
            raise ValueError(f"expected at most {room} ids of text and speech, got more")
        cells = list(range(-(-self._given // page))) or [-1]
        said = self.calls(LM, {"ids": np.array(ids), "cells": np.array(cells)}, begins)
        self._given += len(ids)
        return np.asarray(said["logits"])
