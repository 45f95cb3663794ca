"""What a search asks of Whisper's decoder, and the tree of tokens that the decoder's cache holds.

The cache of a stream is a row of cells. Each holds keys and values of one token in the context of the tokens before it,
so hypotheses that begin alike share cells, and a mask says which cells a token sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamer.work import Array

# In `Ask.check`: no token's logit is wanted.
NOTHING = -1
_ROOT = -1


@dataclass(frozen=True, slots=True)
class Ask:
    """One call of the decoder for one stream, unpadded: M tokens to run, Q of which must say what comes after them."""

    tokens: Array  # i64[M]
    places: Array  # i64[M], position in prompt and text
    past: Array  # bool[M, keep], which cells of the cache a token sees
    fresh: Array  # bool[M, M], which tokens of this call it sees, itself included
    keep: int  # cells that stay; 0 with `is_new`
    is_new: bool  # nothing of the cache is kept
    ask: Array  # i64[Q], indices of tokens
    check: Array  # i64[Q], a token whose logit is wanted there, or `NOTHING`
    blank: bool  # the ids of the blank rule are forbidden too


class Prediction(NamedTuple):
    """What the decoder says comes after one token, suppressed ids left out."""

    best: int
    best_logit: float
    check_logit: float
    check_rank: int  # how many logits are greater than the checked one
    log_sum: float  # of the exponentials of all logits
    top_ids: Array  # i64[min(17, V)], best first
    top_logps: Array  # f32, natural logs
    attended: int  # frame of the window


@dataclass(frozen=True, slots=True)
class Answer:
    """What the decoder said to an `Ask`, unpadded; all `[Q]` but for the top ids and log-probabilities `[Q, 17]`."""

    best: Array
    best_logit: Array
    check_logit: Array
    check_rank: Array
    log_sum: Array
    top_ids: Array
    top_logps: Array
    attended: Array

    def __len__(self) -> int:
        return len(self.best)

    def __getitem__(self, index: int) -> Prediction:
        """Row `index` of `Ask.ask`."""
        return Prediction(
            int(self.best[index]),
            float(self.best_logit[index]),
            float(self.check_logit[index]),
            int(self.check_rank[index]),
            float(self.log_sum[index]),
            self.top_ids[index],
            self.top_logps[index],
            int(self.attended[index]),
        )


class Tree:
    """The tokens in the cells of one stream: cell i holds a token that follows the path ending in another cell.

    It starts with a trunk, the ids of cells that are kept from an earlier chunk, in order. Cells that were added since
    the last `ask` are not yet in the decoder's cache.
    """

    def __init__(self, capacity: int, trunk: Sequence[int] = ()) -> None:
        self._ids: list[int] = []
        self._parents: list[int] = []
        self._children: dict[tuple[int, int], int] = {}
        self._places = np.zeros(capacity, np.int64)
        self._sees = np.zeros((capacity, capacity), bool)
        self.path(trunk)
        self._filled = len(trunk)

    def __len__(self) -> int:
        return len(self._ids)

    def path(self, ids: Iterable[int]) -> list[int]:
        """Return the cells of a sequence from its first token on; adds those that are missing."""
        cells, cell = [], _ROOT
        for token in ids:
            cell = self.child(cell, token)
            cells.append(cell)
        return cells

    def child(self, parent: int, token: int) -> int:
        """Return the cell of `token` after the path that ends in the cell `parent`; adds it if missing."""
        found = self._children.get((parent, token))
        if found is not None:
            return found
        cell = len(self._ids)
        self._ids.append(token)
        self._parents.append(parent)
        self._children[parent, token] = cell
        self._sees[cell] = False if parent == _ROOT else self._sees[parent]
        self._places[cell] = 0 if parent == _ROOT else self._places[parent] + 1
        self._sees[cell, cell] = True
        return cell

    def missing(self, ids: Iterable[int]) -> int:
        """How many cells `path` would add."""
        cell, count = _ROOT, 0
        for token in ids:
            found = self._children.get((cell, token)) if not count else None
            count += found is None
            cell = _ROOT if found is None else found
        return count

    def is_fresh(self, cell: int) -> bool:
        """Whether the next `ask` runs the token of this cell."""
        return cell >= self._filled

    def crop(self, count: int) -> None:
        """Forget all but the first `count` cells."""
        for cell in range(count, len(self._ids)):
            del self._children[self._parents[cell], self._ids[cell]]
        del self._ids[count:], self._parents[count:]
        self._filled = min(self._filled, count)

    def moved(self, other: Tree) -> dict[int, int]:
        """Which cell of `other` holds what a cell of this tree holds, where there is one."""
        found = {_ROOT: _ROOT}
        for cell, (token, parent) in enumerate(zip(self._ids, self._parents, strict=True)):
            if parent in found and (found[parent], token) in other._children:
                found[cell] = other._children[found[parent], token]
        return found

    def ask(self, wanted: Sequence[tuple[int, int]], blank: bool = False) -> Ask:
        """Run the tokens added since the last call; `wanted` are pairs of a fresh cell and a token to check there."""
        begin, end = self._filled, len(self._ids)
        self._filled = end
        return Ask(
            np.array(self._ids[begin:], np.int64),
            self._places[begin:end].copy(),
            self._sees[begin:end, :begin].copy(),
            self._sees[begin:end, begin:end].copy(),
            begin,
            begin == 0,
            np.array([cell - begin for cell, _ in wanted], np.int64),
            np.array([check for _, check in wanted], np.int64),
            blank,
        )

    def trunk(self, ids: Sequence[int]) -> int:
        """How many cells from the first on hold `ids` in order: what a later chunk may keep of the cache."""
        count = 0
        while count < min(self._filled, len(ids)) and (self._ids[count], self._parents[count]) == (
            ids[count],
            count - 1,
        ):
            count += 1
        return count
