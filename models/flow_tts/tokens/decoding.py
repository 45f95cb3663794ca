"""Text to speech tokens with a cache: all text known, or while it still arrives."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from models.flow_tts.cosyvoice.settings import Sampling
from models.flow_tts.cosyvoice.text_loop import draw
from models.flow_tts.tokens.layouts import Blocks
from models.flow_tts.tokens.lm import Past, SpeechLm, next_logits

# Whose numbers are of no use to anything else that is made of the same seed.
_STREAM = 2


@dataclass(frozen=True)
class Limits:
    """Tokens of speech for each symbol of text, at least and at most; recordings have 1.4 to 5.4, 2.0 in the middle."""

    fewest: float = 1.0
    most: float = 8.0


@dataclass
class Speech:
    """One utterance. What is drawn depends on the seed, on the text, and on the number of the token alone.

    `speak` is for a text that is all known. Otherwise `push` what there is and then `finish`; tokens are made as they
    are taken from what is returned, all of which must be taken before the next call.
    """

    lm: SpeechLm
    seed: int = 0
    blocks: Blocks = field(default_factory=Blocks)
    sampling: Sampling = field(default_factory=Sampling)
    limits: Limits = field(default_factory=Limits)
    said: list[int] = field(default_factory=list)
    _text: list[int] = field(default_factory=list)
    _asked: int = 0

    def __post_init__(self) -> None:
        self._past, self._ids = Past(), self.lm.ids
        # What the model was not given yet.
        self._waiting = [self._ids.start]

    def speak(self, symbols: Sequence[int]) -> Iterator[int]:
        """Speech tokens of a text that is all known."""
        self._take(symbols)
        return self.finish()

    def push(self, symbols: Sequence[int]) -> Iterator[int]:
        """Speech tokens of all blocks that these symbols complete."""
        self._take(symbols)
        return self._blocks_of_speech()

    def finish(self) -> Iterator[int]:
        """Speech tokens of all that is left."""
        self._waiting += [*self._text, self._ids.task]
        self._text = []
        while len(self.said) < self.limits.most * self._asked:
            token = self._drawn(may_end=len(self.said) >= self.limits.fewest * self._asked)
            if token == self._ids.tokens:
                return
            yield token

    def _take(self, symbols: Sequence[int]) -> None:
        self._asked += len(symbols)
        self._text += symbols

    def _blocks_of_speech(self) -> Iterator[int]:
        while len(self._text) >= self.blocks.text:
            self._waiting += self._text[: self.blocks.text]
            self._text = self._text[self.blocks.text :]
            # After the last of them the model would say `fill`: it need not be asked.
            for _ in range(self.blocks.speech):
                yield self._drawn(may_end=False)

    def _drawn(self, may_end: bool) -> int:
        """A speech token or, if the speech `may_end`, the number after them."""
        logits = next_logits(self.lm, self._waiting, self._past).numpy()[: self._ids.tokens + int(may_end)]
        rng = np.random.Generator(np.random.Philox(key=self.seed | _STREAM << 64, counter=len(self.said) << 64))
        token = draw(logits, self.said, rng, asdict(self.sampling))
        self._waiting = []
        if token < self._ids.tokens:
            self.said.append(token)
            self._waiting = [self._ids.speech + token]
        return token
