"""Modified beam search: at most one symbol a frame, equal texts merged, scores from outside added as tokens appear.

k2 and sherpa-onnx know a search of this kind as `modified_beam_search`. The language model is fused as in Gulcehre et
al. (arXiv 1503.03535).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from streamer.work import Array, Tensors

_HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)
# So many times the width are looked at before equal texts are merged, so that merging leaves few places empty.
_SPARE = 2


class Scorer(Protocol):
    """Something that has an opinion on tokens: a language model, a list of hotwords. States are integers."""

    @property
    def start(self) -> int:
        """The state at the start of a text."""

    def row(self, state: int) -> tuple[Array, Array]:
        """Scores f32[V] of each token that may come next, and the states i64[V] after them."""

    def finish(self, state: int) -> float:
        """What ending the text here adds."""


@dataclass(frozen=True, slots=True)
class Weighted:
    """A scorer and how much its word counts."""

    scorer: Scorer
    scale: float


@dataclass(frozen=True, slots=True)
class Beam:
    """The hypotheses of one stream, best first; arrays of `[K]` but for `contexts` `[K, C]` and `states` `[S, K]`.

    `acoustic` and `external` are natural logs: what the model gives to a text over all its alignments, and what the
    scorers and the token bonus add. `keys` tell texts apart.
    """

    acoustic: Array  # f64
    external: Array  # f64
    keys: Array  # u64
    contexts: Array  # i64
    states: Array  # i64

    @classmethod
    def start(cls, context: Sequence[int], states: Sequence[int]) -> Beam:
        """One hypothesis, that nothing was said; `states` are where the scorers start."""
        first = np.array(states, np.int64).reshape(len(states), 1)
        return cls(np.zeros(1), np.zeros(1), np.zeros(1, np.uint64), np.array([context], np.int64), first)

    @classmethod
    def of(cls, tensors: Tensors) -> Beam | None:
        """Read what `tensors` wrote, None if there is nothing."""
        if "beam_keys" not in tensors:
            return None
        return cls(*(np.asarray(tensors[f"beam_{name}"]) for name in cls.__slots__))

    def tensors(self) -> dict[str, Array]:
        """The arrays by name, for a row of a program."""
        return {f"beam_{name}": getattr(self, name) for name in self.__slots__}

    def plain(self) -> dict[str, Any]:
        """The arrays as JSON-compatible lists."""
        return {name: getattr(self, name).tolist() for name in self.__slots__}

    @classmethod
    def of_plain(cls, lists: Mapping[str, Any]) -> Beam:
        """Read what `plain` wrote."""
        types = (np.float64, np.float64, np.uint64, np.int64, np.int64)
        acoustic, external, keys, contexts, states = (
            np.array(lists[name], dtype) for name, dtype in zip(cls.__slots__, types, strict=True)
        )
        return cls(acoustic, external, keys, contexts, states.reshape(-1, len(keys)))

    def __len__(self) -> int:
        return len(self.acoustic)

    def totals(self, scorers: Sequence[Weighted]) -> Array:
        """Scores f64[K] of the hypotheses if the text ended here."""
        total: Array = self.acoustic + self.external
        for each, states in zip(scorers, self.states, strict=True):
            total = total + each.scale * np.array([each.scorer.finish(int(state)) for state in states])
        return total

    def select(self, chosen: Array) -> Beam:
        """Keep the hypotheses `chosen` i64[n], in that order."""
        parts = (self.acoustic[chosen], self.external[chosen], self.keys[chosen], self.contexts[chosen])
        return Beam(*parts, self.states[:, chosen])


@dataclass(frozen=True, slots=True)
class Advance:
    """One frame's news: the new beam, and for each of its hypotheses where it comes from and what it added."""

    beam: Beam
    parents: Array  # i64[K]
    tokens: Array  # i64[K], blank where nothing was added
    logps: Array  # f32[K], of the token under the model


@dataclass(frozen=True, slots=True)
class Search:
    """The constants of a search. `bonus` is added for every token, against the bias of long texts' low scores."""

    width: int
    blank: int
    forbidden: tuple[int, ...] = ()
    bonus: float = 0.0

    def advance(self, beam: Beam, log_probs: Array, scorers: Sequence[Weighted]) -> Advance:
        """Extend `beam` by one frame; `log_probs` f32[K, V] is the model's, in each hypothesis' context."""
        added, after = self._outside(beam, log_probs.shape, scorers)
        total = (beam.acoustic + beam.external)[:, None] + log_probs + added
        if self.forbidden:
            total[:, list(self.forbidden)] = -np.inf
        parents, tokens = _best(total, _SPARE * self.width)
        logps = log_probs[parents, tokens]
        emits = tokens != self.blank
        keys = np.where(emits, _extend(beam.keys[parents], tokens), beam.keys[parents])
        shifted = np.concatenate([beam.contexts[parents][:, 1:], tokens[:, None]], 1)
        grown = Beam(
            beam.acoustic[parents] + logps,
            beam.external[parents] + added[parents, tokens],
            keys,
            np.where(emits[:, None], shifted, beam.contexts[parents]),
            np.where(emits, after[:, parents, tokens], beam.states[:, parents]),
        )
        merged, kept = _merge(grown, self.width)
        return Advance(merged, parents[kept], tokens[kept], logps[kept].astype(np.float32))

    def _outside(self, beam: Beam, shape: tuple[int, ...], scorers: Sequence[Weighted]) -> tuple[Array, Array]:
        """What scorers and bonus add to each token f64[K, V], and the states i64[S, K, V] after it."""
        added = np.full(shape, float(self.bonus))
        after = np.zeros((len(scorers), *shape), np.int64)
        for index, each in enumerate(scorers):
            for row, state in enumerate(beam.states[index]):
                scores, after[index, row] = each.scorer.row(int(state))
                added[row] += each.scale * scores
        added[:, self.blank] = 0.0
        return added, after


def _best(total: Array, count: int) -> tuple[Array, Array]:
    """Rows and columns of the `count` largest entries, best first."""
    flat = total.ravel()
    count = min(count, len(flat))
    top = np.argpartition(-flat, count - 1)[:count]
    top = top[np.argsort(-flat[top], kind="stable")]
    return np.divmod(top[np.isfinite(flat[top])], total.shape[1])


def _merge(beam: Beam, width: int) -> tuple[Beam, Array]:
    """Join hypotheses of equal text: their alignments' probabilities add up. Returns which were kept, best first."""
    _, first, group = np.unique(beam.keys, return_index=True, return_inverse=True)
    acoustic = np.full(len(first), -np.inf)
    np.logaddexp.at(acoustic, group, beam.acoustic)
    total = acoustic + beam.external[first]
    order = np.argsort(-total, kind="stable")[:width]
    kept = first[order]
    merged = beam.select(kept)
    return Beam(acoustic[order], merged.external, merged.keys, merged.contexts, merged.states), kept


def _extend(keys: Array, tokens: Array) -> Array:
    with np.errstate(over="ignore"):
        mixed = (keys ^ (keys >> np.uint64(29))) * _HASH_FACTOR
        extended: Array = mixed + tokens.astype(np.uint64) + np.uint64(1)
    return extended
