"""Ids of the language model: text, speech and what marks the parts of a sequence, in one range."""

from dataclasses import dataclass

from models.common.safe_files import CheckpointError
from models.flow_tts.cosyvoice.config import LmSizes

TEXT_BLOCK, SPEECH_BLOCK = 5, 15
"""Text is streamed in: so many ids of text, then so many of speech."""
# Places after the speech tokens: end, in reserve, fill; in version 3 begin, end, task, fill.
_END2, _FILL2, _LEAST2 = 0, 2, 3
_START3, _END3, _TASK3, _FILL3, _LEAST3 = 0, 1, 2, 3, 4


@dataclass(frozen=True)
class Ids:
    """Where what lies. Speech token n has the id `speech` + n; logits are numbered from `speech` on.

    `start` begins a sequence and `task` ends its text. `end` and all logits from `tokens` on but `fill` end speech;
    `fill` asks for the next block of text and is not given back.
    """

    speech: int
    tokens: int
    start: int
    task: int
    end: int
    fill: int


def ids_of(sizes: LmSizes, tokens: int) -> Ids:
    """The ids of a language model for so many speech tokens; raises `CheckpointError` if it has fewer."""
    base = sizes.texts + tokens
    least = tokens + (_LEAST2 if sizes.specials else _LEAST3)
    if sizes.speech < least:
        raise CheckpointError(f"speech_embedding.weight: expected at least {least} rows, got {sizes.speech}")
    if sizes.specials:
        start = sizes.texts + sizes.speech
        return Ids(sizes.texts, tokens, start, start + 1, base + _END2, base + _FILL2)
    return Ids(sizes.texts, tokens, base + _START3, base + _TASK3, base + _END3, base + _FILL3)
