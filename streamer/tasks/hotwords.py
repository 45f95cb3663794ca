"""Phrases that a stream's client expects, as a bonus for the tokens that spell them.

Every token that goes on with a phrase earns the phrase's boost; a text that leaves a phrase before its end gives all of
that back. The automaton is that of Aho and Corasick (1975), as plain arrays, so that a step can carry it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.errors import InvalidRequest
from streamer.tasks.decoding import Hotword
from streamer.tasks.pieces import Tokeniser
from streamer.work import Array, Tensors

_ROOT = 0


@dataclass(frozen=True, slots=True)
class HotwordTrie:
    """The automaton. Edges are sorted by the node they leave: those of node `i` are `edges[i]` to `edges[i + 1]`.

    `earned` is what the tokens from the root to a node are worth; `ends` says that a phrase ends there.
    """

    edges: Array  # i64[nodes + 1]
    tokens: Array  # i64[edges]
    targets: Array  # i64[edges]
    fails: Array  # i64[nodes]
    earned: Array  # f64[nodes]
    ends: Array  # bool[nodes]

    @classmethod
    def of(cls, tensors: Tensors) -> HotwordTrie | None:
        """Read what `tensors` wrote, None if there is nothing."""
        if "hotword_edges" not in tensors:
            return None
        return cls(*(np.asarray(tensors[f"hotword_{name}"]) for name in cls.__slots__))

    def tensors(self) -> dict[str, Array]:
        """The arrays by name, for a row of a program."""
        return {f"hotword_{name}": getattr(self, name) for name in self.__slots__}


def compile_hotwords(hotwords: Sequence[Hotword], boost: float, tokeniser: Tokeniser) -> HotwordTrie:
    """Build the automaton; raises `InvalidRequest` for a phrase with characters that the model cannot write."""
    children: list[dict[int, int]] = [{}]
    earned, ends = [0.0], [False]
    for hotword in hotwords:
        tokens, unknown = tokeniser.encode(hotword.phrase)
        if unknown or not tokens:
            expected = "characters that the model writes"
            raise InvalidRequest(f"hotword {hotword.phrase!r}: expected {expected}, got {unknown!r}")
        step = boost if hotword.boost is None else hotword.boost
        node = _ROOT
        for token in tokens:
            child = children[node].setdefault(token, len(children))
            if child == len(children):
                children.append({})
                earned.append(earned[node] + step)
                ends.append(False)
            earned[child] = max(earned[child], earned[node] + step)
            node = child
        ends[node] = True
    return _arrays(children, earned, ends)


def _arrays(children: list[dict[int, int]], earned: list[float], ends: list[bool]) -> HotwordTrie:
    pairs = [sorted(node.items()) for node in children]
    flat = np.array([pair for node in pairs for pair in node], np.int64).reshape(-1, 2)
    edges = np.concatenate([[0], np.cumsum([len(node) for node in pairs])]).astype(np.int64)
    fails = np.array(_fail_links(children), np.int64)
    return HotwordTrie(edges, flat[:, 0], flat[:, 1], fails, np.array(earned), np.array(ends))


def _fail_links(children: list[dict[int, int]]) -> list[int]:
    """For each node the longest other node that its path ends in."""
    fails = [_ROOT] * len(children)
    queue = deque(children[_ROOT].values())
    while queue:
        node = queue.popleft()
        for token, child in children[node].items():
            fall = fails[node]
            while fall != _ROOT and token not in children[fall]:
                fall = fails[fall]
            fails[child] = children[fall].get(token, _ROOT)
            queue.append(child)
    return fails


class HotwordScorer:
    """Implements `streamer.tasks.beam.Scorer`; `starts_word` bool[V] says which tokens begin a word.

    A phrase that ended keeps its bonus once another word begins; a word that only begins like it does not earn it.
    """

    start = _ROOT

    def __init__(self, trie: HotwordTrie, starts_word: Array) -> None:
        self._trie = trie
        self._starts_word = starts_word

    def row(self, state: int) -> tuple[Array, Array]:
        """Bonus f32[V] of each token that may come next, and the states i64[V] after them."""
        trie, path = self._trie, self._suffixes(state)
        states = np.zeros(len(self._starts_word), np.int64)
        # Longer matches overwrite shorter ones.
        for node in reversed(path):
            leaving = slice(int(trie.edges[node]), int(trie.edges[node + 1]))
            states[trie.tokens[leaving]] = trie.targets[leaving]
        own = slice(int(trie.edges[state]), int(trie.edges[state + 1]))
        goes_on = np.zeros(len(states), bool)
        goes_on[trie.tokens[own]] = True
        secured = np.where(self._starts_word & ~goes_on, self._secured(path), 0.0)
        return (trie.earned[states] - trie.earned[state] + secured).astype(np.float32), states

    def finish(self, state: int) -> float:
        """Take back what an unfinished phrase has earned."""
        return self._secured(self._suffixes(state)) - float(self._trie.earned[state])

    def _suffixes(self, state: int) -> list[int]:
        """`state` and the nodes of ever shorter ends of its path, down to the root."""
        path = [state]
        while path[-1] != _ROOT:
            path.append(int(self._trie.fails[path[-1]]))
        return path

    def _secured(self, path: Sequence[int]) -> float:
        """What a phrase that has just ended is worth."""
        return max((float(self._trie.earned[node]) for node in path if self._trie.ends[node]), default=0.0)
