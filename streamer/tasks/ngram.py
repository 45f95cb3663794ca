"""A back-off n-gram model over word ids, as a trie of arrays that one `.npz` file holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from streamer.errors import BundleError
from streamer.work import Array

UNKNOWN = 0
START = 1
"""Word ids of every model: a word that is not listed, and the start of a text."""

_ROOT = 0
_MAX_LINKS = 1 << 18


@dataclass(frozen=True)
class NGramModel:
    """Natural-log probabilities of a word given the words before.

    Nodes are numbered level by level: the root is 0, then all n-grams of one word, of two, and so on. The children of
    node `i` are the nodes `children[i]` to `children[i + 1]`, sorted by `words`; `children` ends with the levels that
    have any. `logp` belongs to a node's last word, `backoff` is added when a longer context has to be given up.
    A state is the node of the longest context known, so it is an integer.
    """

    words: Array  # i32[nodes]
    logp: Array  # f32[nodes]
    backoff: Array  # f32[inner nodes]
    children: Array  # i64[inner nodes + 1]

    @classmethod
    def load(cls, path: Path) -> NGramModel:
        """Read arrays as `models.common.ngram` writes them; raises `BundleError` for anything else."""
        try:
            with np.load(path, allow_pickle=False) as file:
                model = cls(
                    file["words"].astype(np.int32),
                    file["logp"].astype(np.float32),
                    file["backoff"].astype(np.float32),
                    np.concatenate([[0], np.cumsum(file["fanout"], dtype=np.int64)]) + 1,
                )
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise BundleError(f"cannot read the language model {path.name}: {error}") from None
        model._check(path.name)
        return model

    def _check(self, name: str) -> None:
        inner = len(self.backoff)
        if not len(self.words) == len(self.logp) == self.children[-1] or len(self.children) != inner + 1:
            sizes = f"{len(self.words)} words, {len(self.logp)} probabilities, {self.children[-1]} children"
            raise BundleError(f"language model {name}: expected one size, got {sizes}")
        if not (np.isfinite(self.logp).all() and np.isfinite(self.backoff).all()):
            raise BundleError(f"language model {name}: expected finite numbers")

    @cached_property
    def unigrams(self) -> Array:
        """Log-probability of each word id alone, f32[words]."""
        first = slice(int(self.children[_ROOT]), int(self.children[_ROOT + 1]))
        table = np.full(int(self.words[first].max()) + 1, np.float32(-30.0))
        table[self.words[first]] = self.logp[first]
        return table

    @property
    def start(self) -> int:
        """The state at the start of a text."""
        node = self._child(_ROOT, START)
        return _ROOT if node is None else node

    def score(self, state: int, word: int) -> tuple[float, int]:
        """Return the log-probability of `word` in `state`, and the state after it."""
        given_up, context = 0.0, state
        while True:
            node = self._child(context, word)
            if node is not None:
                return given_up + float(self.logp[node]), self._context(node, context, word)
            if context == _ROOT:
                return given_up + float(self.unigrams[UNKNOWN]), _ROOT
            given_up += float(self.backoff[context])
            context = self._shorter(context)

    def _context(self, node: int, context: int, word: int) -> int:
        """The longest state that ends in `word`: `node` itself, or a shorter one if nothing follows it."""
        while node >= len(self.backoff) or self.children[node] == self.children[node + 1]:
            if context == _ROOT:
                return node if node < len(self.backoff) else _ROOT
            context = self._shorter(context)
            found = self._child(context, word)
            if found is None:
                continue
            node = found
        return node

    def _child(self, node: int, word: int) -> int | None:
        if node >= len(self.backoff):
            return None
        begin, end = int(self.children[node]), int(self.children[node + 1])
        at = begin + int(np.searchsorted(self.words[begin:end], word))
        return at if at < end and self.words[at] == word else None

    def _shorter(self, node: int) -> int:
        """The node of the same context without its first word."""
        found = self._links.get(node)
        if found is None:
            path = self._path(node)
            suffixes = (self._walk(path[begin:]) for begin in range(1, len(path)))
            found = next((suffix for suffix in suffixes if suffix is not None), _ROOT)
            if len(self._links) < _MAX_LINKS:
                self._links[node] = found
        return found

    def _walk(self, words: list[int]) -> int | None:
        node: int | None = _ROOT
        for word in words:
            node = None if node is None else self._child(node, word)
        return node

    def _path(self, node: int) -> list[int]:
        """The words from the root to `node`."""
        words = []
        while node != _ROOT:
            words.append(int(self.words[node]))
            node = int(np.searchsorted(self.children, node, side="right")) - 1
        return words[::-1]

    @cached_property
    def _links(self) -> dict[int, int]:
        return {}
