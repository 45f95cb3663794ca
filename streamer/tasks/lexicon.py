"""A word language model told piece by piece: what the search adds to each token that could come next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from streamer.tasks.ngram import UNKNOWN, NGramModel
from streamer.tasks.tokens import Vocabulary
from streamer.work import Array

_ROOT = 0
# The state inside a word that the lexicon does not have: no node of the trie.
_OUTSIDE = -1
# What a letter of such a word costs, about the entropy of English spelling.
_LETTER = -2.0
_NODE_BITS = 24
_MAX_CACHED = 1 << 12
# Stands for "cannot follow": a sum of many of them is still finite.
NEVER = np.float32(-1e4)


@dataclass
class _Trie:
    """The lexicon, letter by letter; node 0 is the root."""

    children: list[dict[str, int]] = field(default_factory=lambda: [{}])
    word: list[int] = field(default_factory=lambda: [UNKNOWN])
    depth: list[int] = field(default_factory=lambda: [0])
    # The best unigram log-probability of the words below.
    ahead: list[float] = field(default_factory=lambda: [0.0])

    def add(self, word: str, number: int, logp: float) -> None:
        node = _ROOT
        for letter in word:
            child = self.children[node].get(letter)
            if child is None:
                child = self.children[node][letter] = len(self.children)
                self.children.append({})
                self.word.append(UNKNOWN)
                self.depth.append(self.depth[node] + 1)
                self.ahead.append(logp)
            self.ahead[child] = max(self.ahead[child], logp)
            node = child
        self.word[node] = number

    def walk(self, node: int, letters: str) -> int:
        for letter in letters:
            child = self.children[node].get(letter)
            if child is None:
                return _OUTSIDE
            node = child
        return node


class WordModel:
    """Scores tokens by the words they spell, whatever pieces spell them.

    A state packs the n-gram state before the word in progress and the place in the lexicon's trie. While a word is in
    progress its score is the best unigram below that place, which is replaced by the n-gram's when the word ends
    (Ney and Ortmanns, "Progress in dynamic programming search for LVCSR", 2000: language model look-ahead). A word
    that the lexicon lacks costs what the n-gram gives to unknown words, and `_LETTER` for each of its letters.
    """

    def __init__(self, words: Sequence[str], ngrams: NGramModel, vocabulary: Vocabulary) -> None:
        self._ngrams = ngrams
        self._trie = _Trie()
        for number, word in enumerate(words):
            if number > 1:
                self._trie.add(word, number, float(ngrams.unigrams[number]))
        size = len(vocabulary.pieces)
        self._letters = [_letters(vocabulary, token) for token in range(size)]
        self._usable = np.array([vocabulary.pieces[t] is not None and vocabulary.has_text(t) for t in range(size)])
        self._starts = np.array([vocabulary.starts_word(t) for t in range(size)]) & self._usable
        self._costs = np.array([_LETTER * len(letters) for letters in self._letters], np.float32)
        self._rows: dict[int, tuple[Array, Array]] = {}
        self._inside: dict[int, tuple[Array, Array]] = {}
        self._first = self._continue(_ROOT, self._starts)

    @property
    def start(self) -> int:
        """The state at the start of a text."""
        return int(_pack(self._ngrams.start, _ROOT))

    def row(self, state: int) -> tuple[Array, Array]:
        """Scores f32[V] of each token that may come next, and the states i64[V] after them."""
        # Most frames say nothing, so hypotheses ask for the same rows again and again.
        found = self._rows.get(state)
        if found is None:
            if len(self._rows) >= _MAX_CACHED:
                self._rows.clear()
            found = self._rows[state] = self._row(state)
        return found

    def finish(self, state: int) -> float:
        """What ending the text here adds: the score of the word in progress."""
        context, node = _unpack(state)
        return self._end(context, node)[0]

    def _row(self, state: int) -> tuple[Array, Array]:
        context, node = _unpack(state)
        ended, after = self._end(context, node)
        scores, nodes = self._within(node)
        # What an unknown word costs depends on the context, so it is added here, once.
        scores = np.where((nodes == _OUTSIDE) & (node != _OUTSIDE), scores + self._unknown(context), scores)
        first, places = self._first
        entered = np.where(places == _OUTSIDE, first + self._unknown(after), first)
        scores = np.where(self._starts, ended + entered, scores)
        states = np.where(self._starts, _pack(after, places), _pack(context, nodes))
        return np.where(self._usable, scores, NEVER), states

    def _end(self, context: int, node: int) -> tuple[float, int]:
        """Score and n-gram state of the end of the word in progress; nothing if there is none."""
        if node == _ROOT:
            return 0.0, context
        if node == _OUTSIDE:
            return 0.0, self._ngrams.score(context, UNKNOWN)[1]
        word = self._trie.word[node]
        logp, after = self._ngrams.score(context, word)
        if word == UNKNOWN:
            logp += _LETTER * self._trie.depth[node]
        return logp - self._trie.ahead[node], after

    def _unknown(self, context: int) -> float:
        return self._ngrams.score(context, UNKNOWN)[0]

    def _within(self, node: int) -> tuple[Array, Array]:
        """Scores and trie nodes of the tokens that go on inside a word."""
        found = self._inside.get(node)
        if found is None:
            if len(self._inside) >= _MAX_CACHED:
                self._inside.clear()
            found = self._inside[node] = self._continue(node, ~self._starts)
        return found

    def _continue(self, node: int, tokens: Array) -> tuple[Array, Array]:
        nodes = np.full(len(self._letters), _OUTSIDE, np.int64)
        scores = self._costs.copy()
        if node == _OUTSIDE:
            return scores, nodes
        trie = self._trie
        # Leaving the lexicon takes back what was given for the letters so far, and charges for them.
        scores += np.float32(_LETTER * trie.depth[node] - trie.ahead[node])
        for token in np.flatnonzero(tokens & self._usable):
            place = trie.walk(node, self._letters[token])
            if place != _OUTSIDE:
                nodes[token], scores[token] = place, trie.ahead[place] - trie.ahead[node]
        return scores, nodes


def _letters(vocabulary: Vocabulary, token: int) -> str:
    if vocabulary.pieces[token] is None or not vocabulary.has_text(token):
        return ""
    return vocabulary.raw_text(token).decode("utf-8", errors="replace").strip()


def _pack(context: int, node: Array | int) -> Array | int:
    return (context << _NODE_BITS) | (node & ((1 << _NODE_BITS) - 1))


def _unpack(state: int) -> tuple[int, int]:
    node = state & ((1 << _NODE_BITS) - 1)
    return state >> _NODE_BITS, _OUTSIDE if node == (1 << _NODE_BITS) - 1 else node
