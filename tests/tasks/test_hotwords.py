"""Hotwords: which texts earn which bonus."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.errors import InvalidRequest
from streamer.tasks.decoding import Hotword
from streamer.tasks.hotwords import HotwordScorer, HotwordTrie, compile_hotwords
from streamer.tasks.pieces import Tokeniser
from streamer.tasks.tokens import Vocabulary

PIECES = ("<blk>", "<unk>", "▁a", "▁ab", "cd", "▁", "a", "b", "c", "d", "▁x", "y", "x")
VOCABULARY = Vocabulary(PIECES)
STARTS = np.array([piece.startswith("▁") for piece in PIECES])


def scorer(*phrases: str, boost: float = 2.0) -> HotwordScorer:
    hotwords = [Hotword(*phrase.split(":")[:1]) for phrase in phrases]
    return HotwordScorer(compile_hotwords(hotwords, boost, Tokeniser(VOCABULARY)), STARTS)


def earned(hotwords: HotwordScorer, *pieces: str) -> float:
    """The sum of what the tokens of a whole text earn."""
    state, total = hotwords.start, 0.0
    for piece in pieces:
        scores, states = hotwords.row(state)
        token = PIECES.index(piece)
        total, state = total + float(scores[token]), int(states[token])
    return total + hotwords.finish(state)


@pytest.mark.parametrize(
    ("phrases", "pieces", "bonus"),
    [
        (["abcd"], ["▁ab", "cd"], 4.0),
        (["abcd"], ["▁x", "▁ab", "cd", "▁x"], 4.0),
        (["abcd"], ["▁ab", "cd", "▁ab", "cd"], 8.0),
        (["abcd"], ["▁ab"], 0.0),
        (["abcd"], ["▁ab", "▁x"], 0.0),
        (["abcd"], ["▁ab", "▁ab", "cd"], 4.0),
        # A word that only begins like the phrase.
        (["abcd"], ["▁ab", "cd", "y"], 0.0),
        (["ab"], ["▁ab", "cd", "▁x"], 0.0),
        (["ab"], ["▁ab", "▁x"], 2.0),
        # One phrase within another: the longer one earns more, and falling out of it keeps the shorter one.
        (["ab", "ab x"], ["▁ab", "▁x"], 4.0),
        (["ab", "ab x"], ["▁ab", "▁a"], 2.0),
        (["x", "ab x a"], ["▁ab", "▁x", "▁ab"], 2.0),
        (["ab x"], ["▁a", "▁ab", "▁x"], 4.0),
        ([], ["▁ab", "cd"], 0.0),
    ],
)
def test_bonus_of_a_text(phrases: list[str], pieces: list[str], bonus: float) -> None:
    """Whole phrases earn their boost for every token, and nothing else does."""
    assert earned(scorer(*phrases), *pieces) == pytest.approx(bonus)


def test_a_phrase_may_have_its_own_boost() -> None:
    """The boost of a phrase goes before that of all."""
    trie = compile_hotwords([Hotword("abcd", 5.0), Hotword("x")], 1.0, Tokeniser(VOCABULARY))
    hotwords = HotwordScorer(trie, STARTS)
    assert earned(hotwords, "▁ab", "cd") == pytest.approx(10.0)
    assert earned(hotwords, "▁x") == pytest.approx(1.0)


def test_a_phrase_that_cannot_be_written_is_an_error() -> None:
    """The message names the phrase and the characters that the model does not have."""
    with pytest.raises(InvalidRequest, match=r"^hotword 'abö7': expected characters that the model writes, got 'ö7'$"):
        compile_hotwords([Hotword("abö7")], 1.0, Tokeniser(VOCABULARY))


def test_the_automaton_travels_as_arrays() -> None:
    """What a step carries is the same automaton."""
    trie = compile_hotwords([Hotword("abcd"), Hotword("ab x")], 2.0, Tokeniser(VOCABULARY))
    again = HotwordTrie.of(trie.tensors())
    assert again is not None
    assert earned(HotwordScorer(again, STARTS), "▁ab", "▁x") == pytest.approx(4.0)
    assert HotwordTrie.of({}) is None


def test_tokens_are_merged_in_the_order_of_their_ids() -> None:
    """The first merge is that of the piece with the smallest id, as byte-pair encoding learned it."""
    tokeniser = Tokeniser(VOCABULARY)
    assert tokeniser.encode("abcd x")[0] == [PIECES.index("▁ab"), PIECES.index("cd"), PIECES.index("▁x")]
    assert tokeniser.encode("ca")[0] == [PIECES.index(piece) for piece in ("▁", "c", "a")]


def test_characters_stand_for_themselves_without_words() -> None:
    """A vocabulary without word starts is spelt character by character."""
    tokeniser = Tokeniser(Vocabulary(("<blk>", "日", "本")))
    assert tokeniser.encode("日本 日") == ([1, 2, 1], "")
