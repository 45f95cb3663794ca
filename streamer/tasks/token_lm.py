"""The language model of a stream of tokens: from the text of an utterance to its speech tokens, with a cache.

Text lies before speech in one of two ways (arXiv 2412.10117, 3.2). All text known: `start, text, task, speech`. Text
that arrives: blocks of text and of speech in turn, then `rest of the text, task, rest of the speech`; after a block the
model would say that it waits for text, which is taken as said. Which way an utterance takes is the client's choice of
`pieces`, and never a matter of how fast text comes: a stream would not be repeatable otherwise. In `clauses` a sentence
is known before anything of it is asked for, and sounds best; in `words` it begins with its first block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from streamer.errors import BundleError
from streamer.tasks.roles import Roles
from streamer.tasks.token_asks import Ask, Asks, answered, padded_length
from streamer.tasks.token_drawing import Sampling, draw_token
from streamer.tasks.token_text import Ids, Script
from streamer.tasks.voice_graphs import FLOAT, INT, Call, length_of

# Tokens for each id of text at least and at most, for bundles that do not say.
_FEWEST, _MOST = 2.0, 20.0


@dataclass(frozen=True, slots=True)
class LmState:
    """How far an utterance is: ids that the cache holds, symbols that were taken, ids that are to be given next, and
    all tokens. `has_all`: no more text will be taken; `is_over`: no more tokens will come.
    """

    given: int = 0
    taken: int = 0
    waiting: Ids = ()
    said: Ids = ()
    has_all: bool = False
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """The graph, its ids, and the rules by which it is asked.

    Speech token n has the id `speech + n`; of the logits the first `tokens` are speech. `cells` ids have room in its
    cache, in pages of `page`.
    """

    call: Call
    logits: int
    speech: int
    tokens: int
    start: int
    task: int
    text_block: int
    speech_block: int
    fewest: float
    most: float
    page: int
    cells: int
    sampling: Sampling

    @classmethod
    def of(cls, roles: Roles) -> LanguageModel:
        """Read roles and parameters; raises `BundleError`."""
        graph, ids = roles.input("ids", INT)
        cells, logits = roles.input_of(graph, "cells", INT), roles.output_of(graph, "logits", FLOAT)
        tokens, page = roles.integer("speech_tokens", 1), roles.integer("lm_page", 1)
        if length_of(logits) <= tokens:
            where = f"bundle {roles.manifest.name}: role logits"
            raise BundleError(f"{where}: expected more than {tokens} logits, got {length_of(logits)}")
        fewest, most = roles.number("fewest_tokens", _FEWEST), roles.number("most_tokens", _MOST)
        if not 0 < fewest <= most:
            roles.refuse("fewest_tokens", f"more than 0 and at most {most:g}", fewest)
        model = cls(
            call=Call(graph, {"ids": ids.name, "cells": cells.name, "logits": logits.name}),
            logits=length_of(logits),
            speech=roles.integer("speech_id"),
            tokens=tokens,
            start=roles.integer("start_id"),
            task=roles.integer("task_id"),
            text_block=roles.integer("text_block", 1),
            speech_block=roles.integer("speech_block", 1),
            fewest=fewest,
            most=most,
            page=page,
            cells=page * roles.integer("lm_pages", 1),
            sampling=Sampling.of(roles),
        )
        if model.most_text < 2:
            roles.refuse("lm_pages", f"room for two symbols and {ceil(model.most)} tokens of each", model.cells)
        return model

    @property
    def most_text(self) -> int:
        """Symbols of an utterance whose text and speech have room in the cache, however long it becomes."""
        each = 1 + max(ceil(self.most), ceil(self.speech_block / self.text_block))
        return (self.cells - 2) // each

    def ready(self, state: LmState, script: Script, in_blocks: bool) -> LmState | None:
        """Return the state in which a token can be drawn or the utterance is over; None if text must come first."""
        if state.is_over:
            return state
        if not state.has_all:
            block = self.text_block
            if in_blocks and len(state.said) < self.speech_block * (state.taken // block):
                return state
            if in_blocks and len(script.ids) - state.taken >= block:
                return self._taken(state, script.ids[state.taken : state.taken + block])
            if not script.is_complete:
                return None
            state = self._taken(state, script.ids[state.taken :])
            state = replace(state, waiting=(*state.waiting, self.task), has_all=True)
        return state if len(state.said) < self.most * state.taken else replace(state, is_over=True)

    def say(self, state: LmState, script: Script, in_blocks: bool, seed: int, wanted: int) -> Asks[LmState]:
        """Ask for tokens until there are `wanted`, or text is missing, or they are over."""
        while not state.is_over and len(state.said) < wanted:
            ready = self.ready(state, script, in_blocks)
            if ready is None:
                break
            state = ready if ready.is_over else (yield from self._draw(ready, seed))
        return state

    def _taken(self, state: LmState, text: Ids) -> LmState:
        begun = () if state.taken else (self.start,)
        return replace(state, waiting=(*begun, *state.waiting, *text), taken=state.taken + len(text))

    def _draw(self, state: LmState, seed: int) -> Asks[LmState]:
        """One token more, or the end."""
        pages = -(-state.given // self.page)
        cells = np.full(max(padded_length(pages, self.cells // self.page), 1), -1, np.int64)
        cells[:pages] = np.arange(pages)
        inputs = {"ids": np.array(state.waiting, np.int64), "cells": cells}
        answer = yield Ask(self.call, inputs, start=not state.given)
        may_end = state.has_all and len(state.said) >= self.fewest * state.taken
        logits = answered(answer, "logits", self.logits)[: self.tokens + may_end]
        token = draw_token(logits, state.said, seed, self.sampling)
        given = state.given + len(state.waiting)
        if token >= self.tokens:
            return replace(state, given=given, waiting=(), is_over=True)
        return replace(state, given=given, waiting=(self.speech + token,), said=(*state.said, token))
