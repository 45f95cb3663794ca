"""The rules by which a streaming Whisper changes its mind and stops.

CarelessWhisper (arXiv 2508.12301): after each chunk the decoder goes on with the text so far, keeps the last tokens
whose evidence holds under more audio, and says what the new audio adds until it expects nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

# Logits of unchanged audio differ by rounding: a call of another shape adds up in another order.
_ROUNDING = 1e-4
# Of a loop: the longest period that is looked for, and how many tokens it must hold before it counts as one.
_LONGEST_PERIOD = 8
_SHORTEST_LOOP = 12


class Mode(StrEnum):
    """How much of the text a chunk runs through the decoder again.

    Exact: all of it, so that every token's keys and values have heard all audio. Frozen: its last tokens only, so that
    the cost does not grow with the text; the model was not trained for it.
    """

    EXACT = "exact"
    FROZEN = "frozen"


class Check(StrEnum):
    """When a beam's token is stable. V1: while among the best. V2: only if, besides, its logit has not fallen."""

    V1 = "v1"
    V2 = "v2"


class Stop(StrEnum):
    """Why a chunk's search ended: the model expects no more, or the chunk or the window holds no more, or it loops."""

    EOT = "eot"
    CAP = "cap"
    FULL = "full"
    LOOP = "loop"


@dataclass(frozen=True, slots=True)
class Rules:
    """The constants of a search. Whoever reads them from a manifest or a client checks their ranges.

    - `max_text` bounds prompt and text together (n_text_ctx); `cells` are those of the cache, at least as many. The
      more there are, the less often a beam has to begin a new tree.
    - `look_back` (K) tokens at the end of a text are judged again by each chunk. With `clamp` none before them ever is:
      they are final. `window` (W), at least K, is how many the frozen mode runs again.
    - `width` is 1 to 16 hypotheses of a beam, for the decoder tells 17 candidates. `wait_for_all` lets it go on until
      so many texts could end. `length_penalty` is the exponent of Wu et al. (arXiv 1609.08144); None divides by the
      length. `counts_last` False leaves a text's last token out of its score, as the authors' decoder does.
    - With `blank_rule` the first token is neither end of text nor a space, so that silence has to say something.
    - `repeats` is how often a phrase of up to 8 tokens may follow itself; 0: as often as it likes.
    """

    eot: int
    max_text: int
    cells: int
    mode: Mode = Mode.EXACT
    window: int = 8
    look_back: int = 2
    max_tokens_per_chunk: int = 12
    width: int = 5
    check: Check = Check.V2
    wait_for_all: bool = False
    length_penalty: float | None = None
    blank_rule: bool = False
    clamp: bool = True
    counts_last: bool = True
    repeats: int = 4

    @classmethod
    def compat(cls, eot: int, max_text: int, cells: int, width: int = 5, check: Check = Check.V2) -> Rules:
        """Return what the authors' decoder does. Nothing is final but the prompt, which theirs may cut as well."""
        return cls(
            eot,
            max_text,
            cells,
            max_tokens_per_chunk=28,
            width=width,
            check=check,
            blank_rule=True,
            clamp=False,
            counts_last=False,
            repeats=0,
        )

    def has_fallen(self, before: float | None, now: float) -> bool:
        """Whether a logit is lower than with less audio; None is one that was never seen."""
        return before is None or before - now > _ROUNDING

    def is_full(self, prompt: int, text: int) -> bool:
        """Whether a text of `text` tokens may not grow after a prompt of `prompt`."""
        return prompt + text >= self.max_text - 1

    def loops(self, ids: Sequence[int]) -> set[int]:
        """Return the tokens that would go on with a loop in which `ids` end already.

        A loop is a phrase of 1 to 8 tokens that follows itself `repeats` times, over at least 12 tokens: people do say
        no four times.
        """
        if not self.repeats or len(ids) < _SHORTEST_LOOP:
            return set()
        periods = range(1, _LONGEST_PERIOD + 1)
        return {ids[-period] for period in periods if _is_loop(ids, period, max(self.repeats * period, _SHORTEST_LOOP))}


def _is_loop(ids: Sequence[int], period: int, length: int) -> bool:
    tail = ids[-length:]
    return len(ids) >= length and tail[period:] == tail[:-period]
