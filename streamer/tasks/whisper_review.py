"""The first call of a chunk: what the decoder says of the texts so far, now that there is more audio."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from streamer.tasks.whisper_rules import Mode, Rules
from streamer.tasks.whisper_state import Hypothesis, Spoken, State
from streamer.tasks.whisper_tree import NOTHING, Answer, Ask, Prediction, Tree


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A text as it was, and its tokens as the decoder sees them now.

    `cells` are those of the prompt's last token and of every token of the text. `views` tell what comes at each place
    of the text that was looked at, the place after its end included.
    """

    before: Hypothesis
    tokens: tuple[Spoken, ...]
    cells: list[int]
    views: dict[int, Prediction]


def review(state: State, rules: Rules, blank: bool) -> Generator[Ask, Answer, tuple[Tree, list[Reviewed]]]:
    """Run the decoder over the texts of `state`; all that may still change is looked at, what is final is not.

    Texts that begin alike are run once. A text that the cells cannot hold beside better ones is dropped.
    """
    tree, kept = plant(state.prompt, state.hypotheses, rules, kept_cells(state, rules))
    last = len(state.prompt) - 1
    paths = [tree.path([*state.prompt, *hypothesis.ids])[last:] for hypothesis in kept]
    wanted: dict[tuple[int, int], int] = {}
    for hypothesis, path in zip(kept, paths, strict=True):
        for pair in zip(path[state.committed :], [*hypothesis.ids[state.committed :], NOTHING], strict=True):
            if tree.is_fresh(pair[0]):
                wanted.setdefault(pair, len(wanted))
    answer = yield tree.ask(list(wanted), blank)
    found = {pair: answer[index] for pair, index in wanted.items()}
    return tree, [_reviewed(hypothesis, path, found) for hypothesis, path in zip(kept, paths, strict=True)]


def plant(
    prompt: Sequence[int], hypotheses: Sequence[Hypothesis], rules: Rules, trunk: int
) -> tuple[Tree, list[Hypothesis]]:
    """Put the texts into a tree that begins with `trunk` cells of the cache; returns those that it can hold."""
    first = [*prompt, *hypotheses[0].ids]
    tree = Tree(rules.cells, first[:trunk])
    kept: list[Hypothesis] = []
    for hypothesis in hypotheses:
        ids = [*prompt, *hypothesis.ids]
        if not kept or len(tree) + tree.missing(ids) <= rules.cells:
            tree.path(ids)
            kept.append(hypothesis)
    return tree, kept


def kept_cells(state: State, rules: Rules) -> int:
    """How many cells of the cache need not be run again."""
    if rules.mode is Mode.EXACT:
        return 0
    shortest = min(len(hypothesis.tokens) for hypothesis in state.hypotheses)
    final = shortest - rules.window
    if rules.clamp:
        final = min(final, state.committed)
    # What comes at a place is said by the token before it, so the last one that is kept as it was does not tell.
    return max(0, min(state.cells, len(state.prompt) - 1 + final))


def stamped(stamps: tuple[int, ...], place: int, now: int) -> tuple[int, ...]:
    """Return `stamps` with one for `place`: the one it has, or else `now`."""
    return stamps if place < len(stamps) else (*stamps, now)


def kept_stamps(stamps: tuple[int, ...], before: int, after: int, rules: Rules) -> tuple[int, ...]:
    """Return the stamps to remember of a text that had `before` tokens and has `after`.

    A token that was cut is often replaced one chunk later, and its place was spoken when it was first filled. Places
    that stay empty for longer wait for speech that is yet to come; the authors' decoder dates that back as well.
    """
    return stamps[: max(before, after)] if rules.clamp else stamps


def _reviewed(hypothesis: Hypothesis, path: list[int], found: dict[tuple[int, int], Prediction]) -> Reviewed:
    tokens, views = list(hypothesis.tokens), {}
    for place, pair in enumerate(zip(path, [*hypothesis.ids, NOTHING], strict=True)):
        if pair in found:
            views[place] = found[pair]
            if place < len(tokens):
                tokens[place] = _heard(tokens[place], found[pair])
    return Reviewed(hypothesis, tuple(tokens), path, views)


def _heard(token: Spoken, view: Prediction) -> Spoken:
    logp = view.check_logit - view.log_sum
    return token._replace(logp=logp, evidence=view.check_logit, attended=view.attended)
