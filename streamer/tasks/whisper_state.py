"""What a search of Whisper knows between two chunks, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, NamedTuple

from streamer.tasks.whisper_rules import Stop


class Spoken(NamedTuple):
    """A token of the text. Frames are encoder frames of the window.

    `emitted` is the end of the chunk that first put a token in this place, `attended` where the decoder listened when
    it predicted it, `logp` its log-probability, `evidence` its logit; None: not heard with the audio of this window.
    The last three are as of the last chunk that looked at it.
    """

    id: int
    emitted: int
    attended: int
    logp: float
    evidence: float | None = None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A text, without the prompt, and its score.

    `stamps` are the emission frames of its places; they may outnumber the tokens, because a place that is decoded again
    keeps its frame. `is_ended` says that the model expects the end next, whose log-probability is in the score.
    """

    tokens: tuple[Spoken, ...] = ()
    stamps: tuple[int, ...] = ()
    score: float = 0.0
    is_ended: bool = False

    @property
    def ids(self) -> tuple[int, ...]:
        """The token ids."""
        return tuple(token.id for token in self.tokens)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-compatible data."""
        tokens = [list(token) for token in self.tokens]
        return {"tokens": tokens, "stamps": list(self.stamps), "score": self.score, "is_ended": self.is_ended}

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Hypothesis:
        """Rebuild from what `plain` returned."""
        tokens = tuple(Spoken(*token) for token in values["tokens"])
        return cls(tokens, tuple(values["stamps"]), values["score"], values["is_ended"])


@dataclass(frozen=True, slots=True)
class State:
    """The texts of one window after a chunk, best first: one for greedy search.

    `committed` tokens begin every text now and for ever. `cells` of the decoder's cache hold, in order, the first
    tokens of the prompt and of every text (frozen mode). `stop` is why the last chunk ended, None before the first.
    """

    prompt: tuple[int, ...]
    hypotheses: tuple[Hypothesis, ...] = (Hypothesis(),)
    committed: int = 0
    cells: int = 0
    stop: Stop | None = None

    @classmethod
    def start(cls, prompt: Sequence[int], seed: Sequence[Spoken] = (), committed: int = 0) -> State:
        """Open a window whose text begins with `seed`, in frames of the new window, the first `committed` finally.

        This window's audio has not borne the seed out yet. Tokens of it that are not final stay only while
        they are the decoder's first choice (a beam: among its first).
        """
        tokens = tuple(token._replace(evidence=None) for token in seed)
        seeded = Hypothesis(tokens, tuple(token.emitted for token in tokens), sum(token.logp for token in tokens))
        return cls(tuple(prompt), (seeded,), committed)

    @property
    def best(self) -> Hypothesis:
        """The text to show."""
        return self.hypotheses[0]

    @property
    def tokens(self) -> tuple[Spoken, ...]:
        """The tokens of the text to show."""
        return self.best.tokens

    @property
    def is_full(self) -> bool:
        """Whether the text cannot grow in this window: it holds no more tokens, or the model repeats itself."""
        return self.stop in (Stop.FULL, Stop.LOOP)

    @property
    def agreed(self) -> int:
        """How many tokens all texts begin with."""
        columns = zip(*(hypothesis.ids for hypothesis in self.hypotheses), strict=False)
        return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))

    @property
    def alternatives(self) -> list[Hypothesis]:
        """The hypotheses of different texts, best first."""
        distinct: dict[tuple[int, ...], Hypothesis] = {}
        for hypothesis in self.hypotheses:
            distinct.setdefault(hypothesis.ids, hypothesis)
        return list(distinct.values())

    def settled(self) -> State:
        """Give up all texts but the best."""
        return replace(self, hypotheses=(self.best,))

    def with_committed(self, count: int) -> State:
        """Make the first `count` tokens of the best text final; the others' texts must begin with them."""
        return replace(self, committed=max(self.committed, min(count, len(self.tokens))))

    def plain(self) -> dict[str, Any]:
        """Return everything as JSON-compatible data."""
        return {
            "prompt": list(self.prompt),
            "hypotheses": [hypothesis.plain() for hypothesis in self.hypotheses],
            "committed": self.committed,
            "cells": self.cells,
            "stop": None if self.stop is None else str(self.stop),
        }

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> State:
        """Rebuild from what `plain` returned."""
        stop = values["stop"]
        return cls(
            tuple(values["prompt"]),
            tuple(Hypothesis.of_plain(hypothesis) for hypothesis in values["hypotheses"]),
            values["committed"],
            values["cells"],
            None if stop is None else Stop(stop),
        )
