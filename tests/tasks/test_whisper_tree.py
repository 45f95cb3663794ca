"""The cells of Whisper's token cache, and what its search knows between chunks."""

from __future__ import annotations

import json

import numpy as np

from streamer.tasks.whisper_rules import Stop
from streamer.tasks.whisper_state import Hypothesis, Spoken, State
from streamer.tasks.whisper_tree import NOTHING, Answer, Tree
from tests.tasks.whisper_scripts import PROMPT, rules, seed


def test_equal_beginnings_share_cells() -> None:
    """Two texts that differ in their third token have four cells, and each sees its own path only."""
    tree = Tree(16)
    assert tree.path([5, 6, 7]) == [0, 1, 2]
    assert tree.missing([5, 6, 8]) == 1
    assert tree.path([5, 6, 8]) == [0, 1, 3]
    ask = tree.ask([(2, NOTHING), (1, 8)])
    assert (ask.tokens.tolist(), ask.places.tolist()) == ([5, 6, 7, 8], [0, 1, 2, 2])
    assert ask.fresh.astype(int).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]]
    assert (ask.keep, ask.is_new, ask.past.shape) == (0, True, (4, 0))
    assert (ask.ask.tolist(), ask.check.tolist(), ask.blank) == ([2, 1], [-1, 8], False)


def test_a_second_call_runs_what_is_new() -> None:
    """Cells that were asked for once stay in the cache; a new token sees them there."""
    tree = Tree(16)
    tree.path([5, 6, 7])
    tree.path([5, 6, 8])
    tree.ask([(3, NOTHING)])
    cells = [tree.child(3, 9), tree.child(2, 9)]
    assert [tree.is_fresh(cell) for cell in (3, *cells)] == [False, True, True]
    ask = tree.ask([(cell, NOTHING) for cell in cells], True)
    assert (ask.keep, ask.is_new, ask.blank) == (4, False, True)
    assert ask.tokens.tolist() == [9, 9]
    assert ask.places.tolist() == [3, 3]
    assert ask.past.astype(int).tolist() == [[1, 1, 0, 1], [1, 1, 1, 0]]
    assert ask.fresh.astype(int).tolist() == [[1, 0], [0, 1]]
    assert ask.ask.tolist() == [0, 1]


def test_a_cropped_cell_is_filled_anew() -> None:
    """After a crop a cell holds another token, which sees nothing of the old one."""
    tree = Tree(8)
    tree.path([5, 6, 7])
    tree.ask([(2, NOTHING)])
    tree.crop(1)
    assert tree.path([5, 8]) == [0, 1]
    assert len(tree) == 2
    ask = tree.ask([(1, NOTHING)])
    assert (ask.keep, ask.tokens.tolist(), ask.past.tolist(), ask.fresh.tolist()) == (1, [8], [[True]], [[True]])


def test_a_trunk_is_in_the_cache_already() -> None:
    """Cells kept from an earlier chunk are not run again, and the next chunk may keep what goes on from them."""
    tree = Tree(8, [5, 6])
    tree.path([5, 6, 7])
    ask = tree.ask([(2, NOTHING)])
    assert (ask.keep, ask.tokens.tolist(), ask.past.tolist()) == (2, [7], [[True, True]])
    assert tree.trunk([5, 6, 7, 8]) == 3
    assert tree.trunk([5, 9]) == 1
    tree.path([5, 6, 7, 8])
    assert tree.trunk([5, 6, 7, 8]) == 3, "the decoder has not run the last one"


def test_a_trunk_ends_where_texts_part() -> None:
    """A cell out of order cannot be kept by a count of cells."""
    tree = Tree(8)
    tree.path([5, 6])
    tree.path([5, 7, 8])
    tree.ask([(1, NOTHING)])
    assert tree.trunk([5, 6]) == 2
    assert tree.trunk([5, 7, 8]) == 1
    assert tree.trunk([5, 6, 7, 8]) == 2


def test_an_answer_is_read_by_row() -> None:
    """A row of an answer is plain numbers, but for the candidates."""
    columns = [np.array([3, 4]), *np.arange(8, dtype=np.float32).reshape(4, 2)]
    answer = Answer(*columns, np.array([[1, 2], [3, 4]]), np.zeros((2, 2), np.float32), np.array([7, 9]))
    assert len(answer) == 2
    row = answer[1]
    assert (row.best, row.best_logit, row.check_logit, row.check_rank, row.log_sum) == (4, 1.0, 3.0, 5, 7.0)
    assert (row.top_ids.tolist(), row.attended) == ([3, 4], 9)


def test_a_state_survives_json() -> None:
    """What is written down comes back the same, with and without evidence."""
    tokens = tuple(seed(4, 5))
    texts = (Hypothesis(tokens, (1, 2, 3), -1.5), Hypothesis(tokens[:1], (1,), -2.0, True))
    for state in (State.start(PROMPT, seed(7, 8), 1), State(PROMPT, texts, 1, 4, Stop.CAP)):
        assert State.of_plain(json.loads(json.dumps(state.plain()))) == state


def test_a_seed_has_no_evidence() -> None:
    """The tokens of an old window begin the text of a new one; none was heard in it yet."""
    state = State.start(PROMPT, seed(7, 8), committed=1)
    assert [token.evidence for token in state.tokens] == [None, None]
    assert (state.best.ids, state.best.stamps, state.committed) == ((7, 8), (-5, -2), 1)


def text(*ids: int, score: float = 0.0, is_ended: bool = False) -> Hypothesis:
    return Hypothesis(tuple(Spoken(token, 0, 0, 0.0) for token in ids), (), score, is_ended)


def test_texts_agree_as_far_as_all_do() -> None:
    """Alternatives are different texts; settling leaves the best, which may then become final."""
    state = State(PROMPT, (text(1, 2, 3), text(1, 2, 3, is_ended=True), text(1, 2), text(1, 2, 4)), 1)
    assert state.agreed == 2
    assert [found.ids for found in state.alternatives] == [(1, 2, 3), (1, 2), (1, 2, 4)]
    settled = state.settled()
    assert (len(settled.hypotheses), settled.agreed) == (1, 3)
    assert [settled.with_committed(count).committed for count in (0, 2, 9)] == [1, 2, 3]


def test_a_window_is_full_when_it_says_so() -> None:
    """A text without room and one that repeats itself call for a new window."""
    assert [State(PROMPT, stop=stop).is_full for stop in Stop] == [False, False, True, True]


def test_a_loop_is_a_phrase_that_follows_itself() -> None:
    """Four times, and twelve tokens at least; not four times the same word."""
    limits, phrase = rules(), [1, 2, 3, 4, 5]
    assert limits.loops([9] * 11) == set()
    assert limits.loops([9] * 12) == {9}
    assert limits.loops(phrase * 3 + phrase[:4]) == set()
    assert limits.loops([7, *phrase * 4]) == {1}
    assert limits.loops([*phrase * 4, 1, 2]) == {3}
    assert limits.loops(list(range(9)) * 9) == set(), "a phrase of nine is not looked for"
    assert rules(repeats=0).loops([9] * 99) == set()
