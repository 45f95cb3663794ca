"""The language model of a stream of tokens: from the text of an utterance to its speech tokens, with a cache.

Text lies before speech in one of two ways (arXiv 2412.10117, 3.2). All text known: `start, text, task, speech`. Text
that arrives: blocks of text and of speech in turn, then `rest of the text, task, rest of the speech`; after a block the
model would say that it waits for text, which is taken as said. A prompt's text and speech go before, in the same order.

Which way an utterance takes is the client's choice of `pieces`, and never a matter of how fast text comes: a stream
would not be repeatable otherwise. In `clauses` a sentence is known before anything of it is asked for, and sounds best;
in `words` it begins with its first block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from streamer.errors import BundleError
from streamer.tasks.roles import Roles
from streamer.tasks.token_asks import Ask, Asks, answered, padded_length
from streamer.tasks.token_drawing import Sampling, draw_token
from streamer.tasks.token_prompts import NO_PROMPT, Prompt
from streamer.tasks.token_text import Ids, Script
from streamer.tasks.voice_graphs import FLOAT, INT, Call, length_of

# Tokens for each id of text at least and at most, for bundles that do not say.
_FEWEST, _MOST = 2.0, 20.0


@dataclass(frozen=True, slots=True)
class LmState:
    """How far an utterance is: ids that the cache holds, symbols and tokens of the prompt that were taken, ids that are
    to be given next, and all tokens. `has_all`: no more text will be taken; `is_over`: no more tokens will come.
    """

    given: int = 0
    taken: int = 0
    heard: int = 0
    waiting: Ids = ()
    said: Ids = ()
    has_all: bool = False
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """The graph, its ids, and the rules by which it is asked.

    Speech token n has the id `speech + n`; of the logits the first `tokens` are speech, and those up to `ends` end it.
    `cells` ids have room in its cache, in pages of `page`.
    """

    call: Call
    logits: int
    speech: int
    tokens: int
    ends: int
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
    def of(cls, roles: Roles, ends: int | None = None) -> LanguageModel:
        """Read roles and parameters; so many logits after speech end it, None for all; raises `BundleError`."""
        graph, ids = roles.input("ids", INT)
        cells, logits = roles.input_of(graph, "cells", INT), roles.output_of(graph, "logits", FLOAT)
        tokens, page = roles.integer("speech_tokens", 1), roles.integer("lm_page", 1)
        if length_of(logits) <= tokens:
            where = f"bundle {roles.manifest.name}: role logits"
            raise BundleError(f"{where}: expected more than {tokens} logits, got {length_of(logits)}")
        fewest, most = roles.number("fewest_tokens", _FEWEST), roles.number("most_tokens", _MOST)
        if not 0 < fewest <= most:
            roles.refuse("fewest_tokens", f"more than 0 and at most {most:g}", fewest)
        return cls(
            call=Call(graph, {"ids": ids.name, "cells": cells.name, "logits": logits.name}),
            logits=length_of(logits),
            speech=roles.integer("speech_id"),
            tokens=tokens,
            ends=length_of(logits) if ends is None else tokens + ends,
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

    def most_text(self, roles: Roles, prompts: Sequence[Prompt]) -> int:
        """Return how many symbols an utterance may have, whose text and speech have room in the cache after any prompt.

        Raises `BundleError` for fewer than two.
        """
        longest = max((len(prompt.text) + len(prompt.tokens) for prompt in prompts), default=0)
        each = 1 + max(ceil(self.most), ceil(self.speech_block / self.text_block))
        most = (self.cells - 2 - longest) // each
        if most < 2:
            expected = f"room for two symbols and {ceil(self.most)} tokens of each"
            roles.refuse("lm_pages", f"{expected} after the longest prompt" if longest else expected, self.cells)
        return most

    def ready(self, state: LmState, script: Script, in_blocks: bool, prompt: Prompt = NO_PROMPT) -> LmState | None:
        """Return the state in which a token can be drawn or the utterance is over; None if text must come first."""
        if state.is_over:
            return state
        text, block = (*prompt.text, *script.ids), self.text_block
        while not state.has_all:
            if in_blocks and len(state.said) + state.heard < self.speech_block * (state.taken // block):
                return state
            if in_blocks and len(text) - state.taken >= block:
                state = self._taken(state, text[state.taken : state.taken + block], prompt, self.speech_block)
            elif script.is_complete:
                state = self._taken(state, (*text[state.taken :], self.task), prompt, len(prompt.tokens))
                state = replace(state, has_all=True)
            else:
                return None
        return state if len(state.said) < self.most * len(script.ids) else replace(state, is_over=True)

    def say(
        self, state: LmState, script: Script, in_blocks: bool, seed: int, wanted: int, prompt: Prompt = NO_PROMPT
    ) -> Asks[LmState]:
        """Ask for tokens until there are `wanted`, or text is missing, or they are over."""
        while not state.is_over and len(state.said) < wanted:
            ready = self.ready(state, script, in_blocks, prompt)
            if ready is None:
                break
            may_end = ready.has_all and len(ready.said) >= self.fewest * len(script.ids)
            state = ready if ready.is_over else (yield from self._draw(ready, seed, may_end))
        return state

    def _taken(self, state: LmState, text: Ids, prompt: Prompt, most: int) -> LmState:
        """Text, and up to `most` tokens of the prompt, are to be given next."""
        begun = () if state.taken else (self.start,)
        heard = prompt.tokens[state.heard : state.heard + most]
        waiting = (*begun, *state.waiting, *text, *(self.speech + token for token in heard))
        return replace(state, waiting=waiting, taken=state.taken + len(text), heard=state.heard + len(heard))

    def _draw(self, state: LmState, seed: int, may_end: bool) -> Asks[LmState]:
        """One token more, or the end if it `may_end`."""
        pages = -(-state.given // self.page)
        cells = np.full(max(padded_length(pages, self.cells // self.page), 1), -1, np.int64)
        cells[:pages] = np.arange(pages)
        inputs = {"ids": np.array(state.waiting, np.int64), "cells": cells}
        answer = yield Ask(self.call, inputs, start=not state.given)
        logits = answered(answer, "logits", self.logits)[: self.ends if may_end else self.tokens]
        token = draw_token(logits, state.said, seed, self.sampling)
        given = state.given + len(state.waiting)
        if token >= self.tokens:
            return replace(state, given=given, waiting=(), is_over=True)
        return replace(state, given=given, waiting=(self.speech + token,), said=(*state.said, token))
