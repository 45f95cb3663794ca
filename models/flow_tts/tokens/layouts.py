"""How text and speech lie in one sequence of ids, and what is to follow each of them (arXiv 2412.10117, 3.2).

All text known: `start, text, task, speech`. Text that arrives: `start, (N symbols, M tokens)..., rest of the text,
task, rest of the speech`. After the last token of a block comes `fill`, which is not given back: the next block of text
comes instead. The last token of all is followed by `end`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from models.flow_tts.cosyvoice.ids import Ids
from models.flow_tts.tokens.config import SPEECH_BLOCK, TEXT_BLOCK

IGNORED = -100
"""The target where nothing is to be learned, as PyTorch has it."""


@dataclass(frozen=True)
class Blocks:
    """So many symbols of text, then so many tokens of speech."""

    text: int = TEXT_BLOCK
    speech: int = SPEECH_BLOCK

    def fit(self, symbols: int, tokens: int) -> bool:
        """Whether all blocks of so many symbols find their tokens, and some are left for the rest."""
        return tokens * self.text > symbols * self.speech


@dataclass(frozen=True)
class Sequenced:
    """Ids of one range, and for each the logit that is to follow, numbered as speech tokens are, or `IGNORED`."""

    ids: list[int]
    targets: list[int]


def offline(ids: Ids, symbols: Sequence[int], tokens: Sequence[int]) -> Sequenced:
    """All text, then all speech."""
    given = [ids.start, *symbols, ids.task, *_given(ids, tokens)]
    return Sequenced(given, [IGNORED] * (1 + len(symbols)) + [*tokens, ids.end - ids.speech])


def interleaved(ids: Ids, symbols: Sequence[int], tokens: Sequence[int], blocks: Blocks) -> Sequenced:
    """Blocks of text and of speech in turn; raises `ValueError` if there is too little speech for that."""
    if not blocks.fit(len(symbols), len(tokens)):
        most = len(tokens) * blocks.text // blocks.speech
        raise ValueError(f"expected fewer than {most} symbols for {len(tokens)} tokens, got {len(symbols)}")
    given, targets = [ids.start], [IGNORED]
    full = len(symbols) // blocks.text
    for at in range(full):
        text = symbols[at * blocks.text : (at + 1) * blocks.text]
        speech = tokens[at * blocks.speech : (at + 1) * blocks.speech]
        given += [*text, *_given(ids, speech)]
        targets += [*[IGNORED] * (len(text) - 1), *speech, ids.fill - ids.speech]
    rest, speech = symbols[full * blocks.text :], tokens[full * blocks.speech :]
    given += [*rest, ids.task, *_given(ids, speech)]
    # What follows the last symbol is no longer `fill` but `task`, which is given and not foretold.
    targets += [*[IGNORED] * len(rest), *speech, ids.end - ids.speech]
    return Sequenced(given, targets)


def _given(ids: Ids, tokens: Sequence[int]) -> list[int]:
    return [ids.speech + token for token in tokens]
