"""Beam search of a streaming Whisper: several texts are kept from chunk to chunk, and the best is shown.

CarelessWhisper (arXiv 2508.12301). A text is cut at the first of its last tokens that is no more among the best, or
whose logit fell; then all texts grow together, token by token, until one of them is at its end.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from streamer.tasks.whisper_review import Reviewed, kept_cells, kept_stamps, plant, review, stamped
from streamer.tasks.whisper_rules import Check, Mode, Rules, Stop
from streamer.tasks.whisper_state import Hypothesis, Spoken, State
from streamer.tasks.whisper_tree import NOTHING, Answer, Ask, Prediction, Tree

# Suppressed tokens have a logit of -1e9; no other log-probability comes near.
_SUPPRESSED = -1e8


class _Row(NamedTuple):
    """A text, the cell of its last token, and what comes after it; None: not run yet, `cell` is the one before."""

    text: Hypothesis
    cell: int
    view: Prediction | None


class _Candidate(NamedTuple):
    """A text with one more token, or at its end."""

    row: _Row
    token: int
    logp: float
    score: float


@dataclass(slots=True)
class _Beam:
    """What stays the same for a chunk, and the tree as it grows."""

    prompt: tuple[int, ...]
    rules: Rules
    now: int
    trunk: int
    tree: Tree
    views: dict[int, Prediction]
    # What the blank rule has added to the log-probabilities of a first token.
    boost: float = 0.0

    def grow(self, candidate: _Candidate) -> _Row:
        """Make a text of a candidate."""
        (text, cell, view), token = candidate.row, candidate.token
        assert view is not None
        if token == self.rules.eot:
            return _Row(replace(text, score=candidate.score, is_ended=True), cell, view)
        place = len(text.tokens)
        boost = 0.0 if place else self.boost
        stamps = stamped(text.stamps, place, self.now)
        logit = view.best_logit if token == view.best else candidate.logp + view.log_sum
        spoken = Spoken(token, stamps[place], view.attended, candidate.logp - boost, logit)
        return _Row(Hypothesis((*text.tokens, spoken), stamps, candidate.score), cell, None)

    def look(self, rows: Sequence[_Row]) -> Generator[Ask, Answer, list[_Row]]:
        """Run the last token of each text that was not run yet."""
        if len(self.tree) + len(rows) > self.rules.cells:
            placed = self._replant(rows)
        else:
            placed = [
                (row.text, row.cell if row.view is not None else self.tree.child(row.cell, row.text.tokens[-1].id))
                for row in rows
            ]
        missing = list(dict.fromkeys(cell for _, cell in placed if cell not in self.views))
        if missing:
            answer = yield self.tree.ask([(cell, NOTHING) for cell in missing])
            self.views.update((cell, answer[index]) for index, cell in enumerate(missing))
        return [_Row(text, cell, self.views[cell]) for text, cell in placed]

    def look_for_a_first(self, row: _Row) -> Generator[Ask, Answer, list[_Row]]:
        """Ask once more what comes after the prompt, by the blank rule, which counts for this pass only."""
        assert row.view is not None
        self.tree.crop(len(self.prompt) - 1)
        cell = self.tree.path(self.prompt)[-1]
        answer = yield self.tree.ask([(cell, NOTHING)], True)
        self.boost = row.view.log_sum - answer[0].log_sum
        return [_Row(row.text, cell, answer[0])]

    def _replant(self, rows: Sequence[_Row]) -> list[tuple[Hypothesis, int]]:
        """Begin a new tree: the cells of texts that were given up are in the way."""
        tree, kept = plant(self.prompt, [row.text for row in rows], self.rules, self.trunk)
        moved = self.tree.moved(tree)
        self.views = {moved[cell]: view for cell, view in self.views.items() if cell in moved}
        self.tree = tree
        return [(text, self.tree.path([*self.prompt, *text.ids])[-1]) for text in kept]


def advance(state: State, rules: Rules, now: int) -> Generator[Ask, Answer, State]:
    """Search one chunk, after which the window holds `now` frames; yields what the decoder is to run, if anything."""
    if _is_full(state.prompt, state.hypotheses, rules):
        return replace(state, stop=Stop.FULL)
    columns = _columns(state.hypotheses)
    tree, reviewed = yield from review(state, rules, False)
    views = {each.cells[place]: view for each in reviewed for place, view in each.views.items()}
    beam = _Beam(state.prompt, rules, now, kept_cells(state, rules), tree, views)
    rows, stop = [_judged(each, rules, state.committed) for each in reviewed], Stop.CAP
    if rules.blank_rule and not columns:
        rows = yield from beam.look_for_a_first(rows[0])
    for index in range(rules.max_tokens_per_chunk):
        if index:
            columns = _columns([row.text for row in rows])
            rows = yield from beam.look(rows)
        found = _candidates(rows, rules)
        if not found:
            stop = Stop.LOOP
            break
        rows = [beam.grow(candidate) for candidate in found[: rules.width]]
        if _may_end(found, rows, rules):
            stop = Stop.EOT
            break
        if _is_full(state.prompt, [row.text for row in rows], rules):
            stop = Stop.FULL
            break
    texts = [row.text for row in rows]
    return _closed(state, beam, _read(texts, columns) if rules.check is Check.V1 else texts, stop)


def _judged(reviewed: Reviewed, rules: Rules, committed: int) -> _Row:
    """Cut a text at the first of its last tokens that is not stable."""
    before, count = reviewed.before, len(reviewed.tokens)
    for place in range(max(committed, count - rules.look_back), count):
        view, evidence = reviewed.views[place], before.tokens[place].evidence
        has_fallen = rules.check is Check.V2 and evidence is not None and rules.has_fallen(evidence, view.check_logit)
        if view.check_rank >= rules.width or has_fallen:
            count = place
            break
    return _Row(Hypothesis(reviewed.tokens[:count], before.stamps), reviewed.cells[count], reviewed.views[count])


def _candidates(rows: Sequence[_Row], rules: Rules) -> list[_Candidate]:
    """Every text with every token that is likely after it, best first; equal texts once."""
    found: dict[tuple[int, int], _Candidate] = {}
    for row in rows:
        assert row.view is not None
        loops, counted = rules.loops(row.text.ids), row.text.tokens if rules.counts_last else row.text.tokens[:-1]
        so_far, most = sum(token.logp for token in counted), rules.width + 1
        for token, logp in zip(row.view.top_ids[:most].tolist(), row.view.top_logps[:most].tolist(), strict=True):
            if logp > _SUPPRESSED and token not in loops:
                found.setdefault((row.cell, token), _Candidate(row, token, logp, so_far + logp))
    return sorted(found.values(), key=lambda candidate: -candidate.score)


def _may_end(found: Sequence[_Candidate], rows: Sequence[_Row], rules: Rules) -> bool:
    if rules.wait_for_all:
        return sum(candidate.token == rules.eot for candidate in found) >= rules.width
    return any(row.text.is_ended for row in rows)


def _is_full(prompt: tuple[int, ...], texts: Sequence[Hypothesis], rules: Rules) -> bool:
    return any(rules.is_full(len(prompt), len(text.tokens)) for text in texts)


def _columns(texts: Sequence[Hypothesis]) -> int:
    """How many columns a table of the texts would have, each with its end of text if it is at its end."""
    return max(len(text.tokens) + text.is_ended for text in texts)


def _read(texts: Sequence[Hypothesis], columns: int) -> list[Hypothesis]:
    """Drop what stands after `columns`, as the authors' first version does: the decoder has not read it back."""
    return [
        text if len(text.tokens) + text.is_ended <= columns
        else replace(text, tokens=text.tokens[:columns], is_ended=False)
        for text in texts
    ]  # fmt: skip


def _closed(state: State, beam: _Beam, texts: Sequence[Hypothesis], stop: Stop) -> State:
    rules, before = beam.rules, max(len(text.tokens) for text in state.hypotheses)
    kept = [replace(text, stamps=kept_stamps(text.stamps, before, len(text.tokens), rules)) for text in texts]
    kept.sort(key=lambda text: -_merit(text, rules))
    found = State(state.prompt, tuple(kept), state.committed, 0, stop)
    if rules.clamp:
        committed = max(state.committed, found.agreed - rules.look_back)
        found = replace(found, hypotheses=_of_one_past(kept, committed), committed=committed)
    if rules.mode is Mode.FROZEN:
        found = replace(found, cells=beam.tree.trunk([*state.prompt, *found.best.ids[: found.agreed]]))
    return found


def _of_one_past(texts: Sequence[Hypothesis], committed: int) -> tuple[Hypothesis, ...]:
    """Let all texts have the best one's frames in the part that is final: each may have come to a token by itself."""
    tokens, stamps = texts[0].tokens[:committed], texts[0].stamps[:committed]
    return tuple(
        replace(text, tokens=(*tokens, *text.tokens[committed:]), stamps=(*stamps, *text.stamps[committed:]))
        for text in texts
    )


def _merit(text: Hypothesis, rules: Rules) -> float:
    """By what texts are compared: the score by length, or by its penalty. No text at all counts as one token."""
    length = max(1, len(text.tokens))
    return text.score / (length if rules.length_penalty is None else ((5 + length) / 6) ** rules.length_penalty)
