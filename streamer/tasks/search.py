"""The two searches of a recogniser, as its host loop sees them: what to run, and what was found so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Protocol

import numpy as np

from streamer.errors import ModelFault
from streamer.tasks.beam import Beam
from streamer.tasks.beam_program import NOBODY
from streamer.tasks.decoding import Decoding
from streamer.tasks.hotwords import HotwordTrie, compile_hotwords
from streamer.tasks.joint import PROGRAM, Joint
from streamer.tasks.pieces import Tokeniser
from streamer.tasks.recogniser import Frames, Recogniser
from streamer.tasks.words import Calibration, Token
from streamer.work import Array, Tensors

# Minus infinity, which a model may return, has no place in JSON.
_LEAST_LOGP = -100.0


class Search(Protocol):
    """The tokens of the open segment, and how a chunk adds to them."""

    target: str
    """The graph or program of a step."""

    calibration: Calibration | None
    """What log-probabilities of this search are worth."""

    def inputs(self) -> Mapping[str, Array]:
        """What a step needs beside the audio."""

    def take(self, outputs: Tensors, frames_done: int, started_at: int = 0) -> int:
        """Add what a step found; returns the frame after its last. Raises `ModelFault`.

        `started_at` is the frame of the stream that a graph which counts frames calls 0.
        """

    @property
    def tokens(self) -> Sequence[Token]:
        """The best text so far."""

    @property
    def agreed(self) -> int:
        """How many of the tokens no later step can take back."""

    def settle(self) -> Sequence[Sequence[Token]]:
        """Decide on a text as if it ended here; returns all that were left, the best first."""

    def restart(self, tokens: Sequence[Token], is_new: bool) -> None:
        """Go on with `tokens` as the open segment; `is_new` says that nothing of the past counts any more."""

    def state(self) -> dict[str, Any]:
        """Return everything that is remembered, as JSON-compatible data."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""


class GreedySearch:
    """Follows the tokens that the graph itself has chosen."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self.target = recogniser.graph.name
        self.calibration = recogniser.calibration
        self._tokens: list[Token] = []
        # What the model would add if the segment ended now.
        self._held_back: list[Token] = []

    def inputs(self) -> Mapping[str, Array]:
        """Nothing but audio."""
        return {}

    def take(self, outputs: Tensors, frames_done: int, started_at: int = 0) -> int:
        """Read ids and log-probabilities per frame."""
        frames = self._recogniser.frames(outputs, frames_done, started_at)
        self._tokens += self._spoken(frames)
        held_back = self._recogniser.held_back(outputs, frames.end)
        self._held_back = [] if held_back is None else self._spoken(held_back)
        return frames.end

    @property
    def tokens(self) -> Sequence[Token]:
        """All tokens of the segment."""
        return self._tokens

    @property
    def agreed(self) -> int:
        """All of them: greedy search never takes a token back."""
        return len(self._tokens)

    def settle(self) -> Sequence[Sequence[Token]]:
        """There is but one text, and what was held back belongs to it."""
        return [[*self._tokens, *self._held_back]]

    def restart(self, tokens: Sequence[Token], is_new: bool) -> None:
        """Replace the tokens."""
        self._tokens = list(tokens)
        if is_new:
            self._held_back = []

    def state(self) -> dict[str, Any]:
        """Return the tokens."""
        return {
            "tokens": [list(token) for token in self._tokens],
            "held_back": [list(token) for token in self._held_back],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take the tokens."""
        self._tokens = [Token(*token) for token in state["tokens"]]
        self._held_back = [Token(*token) for token in state["held_back"]]

    def _spoken(self, frames: Frames) -> list[Token]:
        tokens = [
            checked_token(self._recogniser, frames.ids[index], frames.frame(int(index)), frames.logps[index])
            for index in np.flatnonzero(frames.ids != self._recogniser.blank_id)
        ]
        return [token for token in tokens if token is not None]


@dataclass(frozen=True, slots=True)
class BeamOptions:
    """What a stream's `Decoding` means for one bundle."""

    width: int
    lm_scale: float
    hotwords: HotwordTrie | None
    calibration: Calibration | None

    @classmethod
    def of(cls, decoding: Decoding, joint: Joint, recogniser: Recogniser) -> BeamOptions:
        """Fill in the bundle's defaults; raises `InvalidRequest` for hotwords that it cannot write."""
        scale = joint.lm_scale if decoding.lm_scale is None else decoding.lm_scale
        trie = None
        if decoding.hotwords:
            tokeniser = Tokeniser(recogniser.vocabulary)
            trie = compile_hotwords(decoding.hotwords, decoding.hotword_boost, tokeniser)
        return cls(decoding.beam, scale, trie, joint.calibration)


class BeamSearch:
    """Keeps the texts of the hypotheses whose scores the program `beam_search` computes."""

    target = PROGRAM

    def __init__(self, recogniser: Recogniser, options: BeamOptions) -> None:
        self._recogniser = recogniser
        self.calibration = options.calibration
        self._fixed = {"width": np.array(options.width), "lm_scale": np.array(options.lm_scale)}
        if options.hotwords is not None:
            self._fixed |= options.hotwords.tensors()
        # None before the first step of a text: the program knows how its scorers start.
        self._beam: Beam | None = None
        self._texts: list[tuple[Token, ...]] = [()]
        self._order: list[int] = [0]

    def inputs(self) -> Mapping[str, Array]:
        """The beam and the options."""
        return self._fixed if self._beam is None else {**self._fixed, **self._beam.tensors()}

    def take(self, outputs: Tensors, frames_done: int, started_at: int = 0) -> int:
        """Follow every hypothesis back to its parent, frame by frame."""
        frames = int(outputs["frames"])
        first = started_at + int(outputs["first_frame"]) if "first_frame" in outputs and frames else frames_done
        if first < frames_done:
            raise ModelFault(f"expected a first frame of at least {frames_done}, got {first}")
        for frame in range(frames):
            rows = (outputs[name][frame] for name in ("parents", "tokens", "logps"))
            self._texts = [
                self._grown(int(parent), token, first + frame, logp)
                for parent, token, logp in zip(*rows, strict=True)
                if parent != NOBODY
            ]
        self._beam = Beam.of(outputs)
        self._order = [int(index) for index in outputs["order"]]
        return first + frames

    @property
    def tokens(self) -> Sequence[Token]:
        """The best text if it ended here."""
        return self._texts[self._order[0]]

    @property
    def agreed(self) -> int:
        """How many tokens all hypotheses begin with."""
        columns = zip(*self._texts, strict=False)
        return sum(1 for _ in takewhile(lambda column: len({token.id for token in column}) == 1, columns))

    def settle(self) -> Sequence[Sequence[Token]]:
        """Give up all hypotheses but the best; returns what they were, the best first."""
        texts = [self._texts[index] for index in self._order]
        if self._beam is not None:
            self._beam = self._beam.select(np.array(self._order[:1]))
        self._texts, self._order = texts[:1], [0]
        return texts

    def restart(self, tokens: Sequence[Token], is_new: bool) -> None:
        """Go on after `settle`, with the past as context or without."""
        self._texts, self._order = [tuple(tokens)], [0]
        if is_new:
            self._beam = None

    def state(self) -> dict[str, Any]:
        """Return hypotheses and their texts."""
        beam = None if self._beam is None else self._beam.plain()
        texts = [[list(token) for token in text] for text in self._texts]
        return {"beam": beam, "texts": texts, "order": self._order}

    def restore(self, state: dict[str, Any]) -> None:
        """Take hypotheses and their texts."""
        self._beam = None if state["beam"] is None else Beam.of_plain(state["beam"])
        self._texts = [tuple(Token(*token) for token in text) for text in state["texts"]]
        self._order = list(state["order"])

    def _grown(self, parent: int, token: Any, frame: int, logp: Any) -> tuple[Token, ...]:
        text = self._texts[parent]
        if int(token) == self._recogniser.blank_id:
            return text
        found = checked_token(self._recogniser, token, frame, logp)
        return text if found is None else (*text, found)


def checked_token(recogniser: Recogniser, token: Any, frame: int, logp: Any) -> Token | None:
    """Make a token of what a model returned, None if it has no text; raises `ModelFault` for what cannot be."""
    if int(token) not in recogniser.vocabulary:
        raise ModelFault(f"expected a token id of the vocabulary, got {int(token)}")
    if not logp <= 1e-3:
        raise ModelFault(f"expected a log-probability of at most 0, got {float(logp):g}")
    if not recogniser.vocabulary.has_text(int(token)):
        return None
    return Token(int(token), frame, max(float(logp), _LEAST_LOGP))
