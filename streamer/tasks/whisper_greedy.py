"""Greedy streaming search of Whisper: the last tokens are judged again, then the best ones follow until none does.

CarelessWhisper (arXiv 2508.12301). A token is stable while its logit has not fallen or it is still the first choice;
at the first that is not, the text is cut.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from streamer.tasks.whisper_review import Reviewed, kept_stamps, review, stamped
from streamer.tasks.whisper_rules import Check, Mode, Rules, Stop
from streamer.tasks.whisper_state import Hypothesis, Spoken, State
from streamer.tasks.whisper_tree import NOTHING, Answer, Ask, Prediction, Tree


@dataclass(slots=True)
class _Text:
    """The text while a chunk goes on."""

    prompt: tuple[int, ...]
    tokens: list[Spoken]
    stamps: tuple[int, ...]
    tree: Tree

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens]

    def append(self, prediction: Prediction, now: int) -> None:
        place = len(self.tokens)
        self.stamps = stamped(self.stamps, place, now)
        logp = prediction.best_logit - prediction.log_sum
        self.tokens.append(
            Spoken(prediction.best, self.stamps[place], prediction.attended, logp, prediction.best_logit)
        )

    def predict(self, blank: bool) -> Generator[Ask, Answer, Prediction]:
        """Ask what comes next; the last token is run even if the cache holds it."""
        sequence = [*self.prompt, *self.ids]
        self.tree.crop(len(sequence) - 1)
        cell = self.tree.path(sequence)[-1]
        answer = yield self.tree.ask([(cell, NOTHING)], blank)
        return answer[0]


def advance(state: State, rules: Rules, now: int) -> Generator[Ask, Answer, State]:
    """Search one chunk, after which the window holds `now` frames; yields what the decoder is to run."""
    before = state.best
    tree, (reviewed,) = yield from review(state, rules, rules.blank_rule and not before.tokens)
    text = _Text(state.prompt, list(reviewed.tokens), before.stamps, tree)
    n_stable = _n_stable(reviewed, rules, state.committed)
    del text.tokens[n_stable:]
    if reviewed.views[len(before.tokens)].best == rules.eot:
        # Even if the text was cut: the next chunk says what takes the place.
        return _closed(state, rules, text, Stop.EOT)
    passes, prediction = rules.max_tokens_per_chunk, reviewed.views[n_stable]
    if n_stable < len(before.tokens):
        # The pass that cuts a text appends nothing to it.
        passes -= 1
        if n_stable == 0 and rules.blank_rule:
            prediction = yield from text.predict(True)
    stop = yield from _extend(text, rules, now, prediction, passes)
    return _closed(state, rules, text, stop)


def _n_stable(reviewed: Reviewed, rules: Rules, committed: int) -> int:
    """How many tokens of the text stay."""
    tokens = reviewed.before.tokens
    for place in range(max(committed, len(tokens) - rules.look_back), len(tokens)):
        token, view = tokens[place], reviewed.views[place]
        if view.best != token.id and rules.has_fallen(token.evidence, view.check_logit):
            return place
    return len(tokens)


def _extend(text: _Text, rules: Rules, now: int, prediction: Prediction, passes: int) -> Generator[Ask, Answer, Stop]:
    """Append best tokens, one a pass."""
    while prediction.best != rules.eot:
        if passes <= 0:
            return Stop.CAP
        if rules.is_full(len(text.prompt), len(text.tokens)):
            return Stop.FULL
        if prediction.best in rules.loops(text.ids):
            return Stop.LOOP
        text.append(prediction, now)
        passes -= 1
        if not passes:
            if rules.check is Check.V1:
                # The authors' first version drops what it has not read back.
                text.tokens.pop()
            return Stop.CAP
        prediction = yield from text.predict(False)
    return Stop.EOT


def _closed(state: State, rules: Rules, text: _Text, stop: Stop) -> State:
    tokens = tuple(text.tokens)
    stamps = kept_stamps(text.stamps, len(state.tokens), len(tokens), rules)
    found = Hypothesis(tokens, stamps, sum(token.logp for token in tokens), stop is Stop.EOT)
    committed = max(state.committed, len(tokens) - rules.look_back) if rules.clamp else state.committed
    cells = text.tree.trunk([*text.prompt, *text.ids]) if rules.mode is Mode.FROZEN else 0
    return State(state.prompt, (found,), committed, cells, stop)
