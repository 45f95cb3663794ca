"""The search of a stream that Whisper hears, as its host loop sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from streamer.errors import ModelFault
from streamer.tasks.whisper import PROGRAM, WhisperModel
from streamer.tasks.whisper_progress import Progress
from streamer.tasks.whisper_state import Spoken
from streamer.tasks.whisper_window import REACH_FRAMES
from streamer.tasks.words import Token
from streamer.work import Array, Tensors

# Minus infinity has no place in JSON.
_LEAST_LOGP = -100.0


class WhisperSearch:
    """Implements `streamer.tasks.search.Search` over the program `whisper`.

    The text of a segment is what its earlier windows have said, and the text of the live window from a token on: those
    before it were final with an earlier segment, or are what the windows share. `width` is that of a beam, 0 for greedy
    search; `language` the id of a language's token, -1 for one that the sound is to tell.
    """

    target = PROGRAM

    def __init__(self, model: WhisperModel, width: int = 0, language: int = -1) -> None:
        self._model = model
        self._width = np.array(width)
        self._language = language
        self.calibration = model.calibration
        self._progress = Progress.start(model.prompt.before(language), language)
        # The frame of the stream with which the model started.
        self._started_at = 0
        # What is left of earlier windows, and the place of the segment's first token in the live window's text.
        self._done: list[Token] = []
        self._first = 0
        # Whether that text begins with words of another window.
        self._is_seeded = False
        self._tokens: list[Token] = []

    def inputs(self) -> Mapping[str, Array]:
        """The progress so far and the width."""
        return {"progress": self._progress.array(), "width": self._width}

    def take(self, outputs: Tensors, frames_done: int, started_at: int = 0) -> int:
        """Read the progress; returns the frame of the stream up to which audio was heard."""
        if "progress" not in outputs:
            raise ModelFault(f"program {PROGRAM}: expected graphs that count every frame, got another count")
        kept, said = int(outputs["kept"]), self._progress.state.tokens
        if outputs["restarted"]:
            # What came before the gap is not decoded any more.
            self._leave(said, 0)
            self._started_at = started_at
        elif kept >= 0:
            self._leave(said[:kept], int(outputs["seed"]))
        progress = Progress.of_array(outputs["progress"])
        self._progress = progress
        self._tokens = self._text(progress, progress.state.tokens)
        return self._started_at + progress.windows.heard

    @property
    def tokens(self) -> Sequence[Token]:
        """The best text so far."""
        return self._tokens

    @property
    def agreed(self) -> int:
        """Those that no later chunk looks at again."""
        state = self._progress.state
        final = state.tokens[self._first : state.committed]
        return len(self._done) + sum(self._has_text(token) for token in final)

    def settle(self) -> Sequence[Sequence[Token]]:
        """Give up all hypotheses but the best; returns their texts, the best first."""
        state = self._progress.state
        texts = [self._text(self._progress, hypothesis.tokens) for hypothesis in state.alternatives]
        self._progress = replace(self._progress, state=state.settled())
        return texts

    def restart(self, tokens: Sequence[Token], is_new: bool) -> None:
        """Go on with `tokens`, the last ones of the text; a new utterance begins a new window."""
        if is_new:
            prompt = self._model.prompt.before(self._language)
            self._progress = replace(self._progress.rolled(self._model.windows, prompt), language=self._language)
            self._done, self._first, self._is_seeded = [], 0, False
        else:
            self._carry(tokens)
        self._tokens = list(tokens)

    def state(self) -> dict[str, Any]:
        """Return the progress and what is left of earlier windows."""
        return {
            "progress": self._progress.plain(),
            "started_at": self._started_at,
            "done": [list(token) for token in self._done],
            "first": self._first,
            "is_seeded": self._is_seeded,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` returned."""
        self._progress = Progress.of_plain(state["progress"])
        self._started_at = state["started_at"]
        self._done = [Token(*token) for token in state["done"]]
        self._first, self._is_seeded = state["first"], state["is_seeded"]
        self._tokens = self._text(self._progress, self._progress.state.tokens)

    def _leave(self, said: Sequence[Spoken], seed: int) -> None:
        """Keep what the live window said; the next one begins with the last `seed` of these tokens."""
        self._done = self._text(self._progress, said)
        self._first, self._is_seeded = seed, seed > 0

    def _carry(self, tokens: Sequence[Token]) -> None:
        """Let the segment begin with `tokens`; what comes before them stays as it is."""
        said, first, count = self._progress.state.tokens, len(self._progress.state.tokens), len(tokens)
        while count and first > self._first:
            first -= 1
            count -= self._has_text(said[first])
        self._done, self._first = list(tokens[:count]), first
        committed = max(first, self._progress.state.committed)
        self._progress = replace(self._progress, state=self._progress.state.with_committed(committed))

    def _has_text(self, token: Spoken) -> bool:
        return token.id in self._model.vocabulary and self._model.vocabulary.has_text(token.id)

    def _text(self, progress: Progress, said: Sequence[Spoken]) -> list[Token]:
        """The text of the segment if the live window says `said`; frames are those of the stream."""
        text = list(self._done)
        begin = self._started_at + progress.windows.live.origin
        for place, token in enumerate(said[self._first :], self._first):
            if self._has_text(token):
                frame = max(begin + self._heard_at(token), text[-1].frame if text else 0)
                opens = place == 0 and bool(text) and not self._is_seeded and self._begins_text(token)
                text.append(Token(token.id, frame, min(max(token.logp, _LEAST_LOGP), 0.0), opens))
        return text

    def _heard_at(self, token: Spoken) -> int:
        """The frame of the window where a token ends: where the decoder listened, if that can be.

        A token is said by the chunk in which it ends. What the decoder looks at may be far before, as the first frame
        of all, and a rule would take the time since for silence.
        """
        within = max(self._model.windows.first, REACH_FRAMES)
        return min(max(token.attended, token.emitted - within), token.emitted - 1)

    def _begins_text(self, token: Spoken) -> bool:
        """Whether a token begins a word without saying so, as the first one that Whisper says does."""
        vocabulary = self._model.vocabulary
        return (
            not vocabulary.starts_word(token.id)
            and vocabulary.raw_text(token.id).decode("utf-8", "replace")[:1].isalnum()
        )
