"""Attention whose keys and values a stream keeps in pages: tables say which pages a step looks at.

A cache of keys or values is `[outer, layers, branches, heads, pages, page, width]`: a step copies whole pages of
contiguous memory out of the arena, already split by head, and writes single rows. `outer` is whatever a step runs one
of (a step of an ODE), `branches` what it runs side by side (guidance), both 1 where there is nothing of that kind.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from models.common.layers import HIDDEN
from models.common.slots import CellRows, Cells, State, StateSpec, Update


class Memory(Protocol):
    """What one layer after the other attends to."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """Mix values for queries f32[B, n * heads, T, width], already scaled; keys and values f32[B, heads, T, width].

        `bias` f32[B, n * heads, T, seen] is added to the scores of what is seen, the cached rows first.
        """


@dataclass(frozen=True)
class WholeMemory:
    """Nothing but the sequence itself, under an additive mask that broadcasts to f32[B, 1, T, T]."""

    mask: Tensor | None = None

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """See `Memory`."""
        shared = query.shape[1] // key.shape[1]
        scores = _grouped(query, shared) @ key.transpose(-1, -2)
        scores = _plus(_plus(scores, _grouped(bias, shared)), _repeated(self.mask, shared))
        return _ungrouped(functional.softmax(scores, -1) @ value, shared)


@dataclass(frozen=True)
class PageSizes:
    """How large a cache is; `page` rows a page, `half`: keys and values are kept in half precision."""

    layers: int
    heads: int
    pages: int
    page: int
    width: int
    outer: int = 1
    branches: int = 1
    half: bool = False

    def states(self, prefix: str, group: str) -> list[StateSpec]:
        """The states `<prefix>_keys` and `<prefix>_values`."""
        dims = (self.outer, self.layers, self.branches, self.heads, self.pages, self.page, self.width)
        kept = torch.float16 if self.half else torch.float32
        return [StateSpec(f"{prefix}_{part}", dims, kept, group=group, indexed=True) for part in ("keys", "values")]


class PagedMemory:
    """The pages of `table` i64[B, P], of which rows `visible` bool[B, P * page] are seen, and the chunk itself.

    Pages below 0 stand for none. `outer` i64[B] is the part of the cache that this step runs; rows of a batch of
    branches lie side by side, `[B * branches, ...]`. `own` is the additive mask f32[T, T] of the chunk.
    """

    def __init__(
        self,
        sizes: PageSizes,
        cache: tuple[Cells, Cells],
        table: Tensor,
        visible: Tensor,
        outer: Tensor | None = None,
        own: Tensor | None = None,
    ) -> None:
        self._sizes, self._cache, self._own = sizes, cache, own
        self._outer = torch.zeros_like(table[:, 0]) if outer is None else outer
        self._pages = table.clamp(0, sizes.pages - 1)
        self._mask = hidden_unless(visible)[:, None, None].repeat_interleave(sizes.branches, 0)
        self._kept: list[tuple[Tensor, Tensor]] = []

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """See `Memory`. Cached and new are joined as scores, which are small, and not as keys and values."""
        shared = query.shape[1] // key.shape[1]
        query, bias = _grouped(query, shared), _grouped(bias, shared)
        old = [self._take(cache) for cache in self._cache]
        self._kept.append((key, value))
        cached = query @ old[0].transpose(-1, -2) + self._mask
        own = _plus(query @ key.transpose(-1, -2), _repeated(self._own, shared))
        weights = functional.softmax(_plus(torch.cat([cached, own], -1), bias), -1)
        seen = old[0].shape[2]
        return _ungrouped(weights[..., :seen] @ old[1] + weights[..., seen:] @ value, shared)

    def updates(self, prefix: str, page: Tensor, row: Tensor) -> dict[str, Update]:
        """Write the chunk's keys and values to `row` i64[B, T] of `page` i64[B, T]."""
        sizes = self._sizes
        axes = [torch.arange(size) for size in (sizes.layers, sizes.branches, sizes.heads)]
        index = (
            self._outer.view(-1, 1, 1, 1, 1),
            *(axis.view([-1 if at == place else 1 for at in range(5)]) for place, axis in enumerate(axes, start=1)),
            page.clamp(0, sizes.pages - 1)[:, None, None, None],
            row.clamp(0, sizes.page - 1)[:, None, None, None],
        )
        stacked = [torch.stack([kept[part] for kept in self._kept], 1) for part in (0, 1)]
        rows = [self._branched(part) for part in stacked]
        return {f"{prefix}_keys": CellRows(rows[0], index), f"{prefix}_values": CellRows(rows[1], index)}

    def _take(self, cache: Cells) -> Tensor:
        """Rows f32[B * branches, heads, P * page, width] of the next layer."""
        sizes = self._sizes
        branch, head = torch.arange(sizes.branches).view(1, -1, 1, 1), torch.arange(sizes.heads).view(1, 1, -1, 1)
        layer = torch.full((1, 1, 1, 1), len(self._kept))
        found = cache.take(self._outer.view(-1, 1, 1, 1), layer, branch, head, self._pages[:, None, None])
        return found.flatten(3, 4).flatten(0, 1)

    def _branched(self, rows: Tensor) -> Tensor:
        """f32[B * branches, layers, heads, T, width] as f32[B, layers, branches, heads, T, width]."""
        return rows.unflatten(0, (-1, self._sizes.branches)).transpose(1, 2)


def cells_of(state: State, prefix: str) -> tuple[Cells, Cells]:
    """Keys and values of the states named `prefix`."""
    keys, values = state[f"{prefix}_keys"], state[f"{prefix}_values"]
    assert isinstance(keys, Cells)
    assert isinstance(values, Cells)
    return keys, values


def rows_seen(table: Tensor, written: Tensor, page: int) -> Tensor:
    """Which rows bool[B, P * page] of the pages i64[B, P] hold anything; `written` i64[B, pages] rows of each page."""
    count = written.gather(1, table.clamp(0, written.shape[1] - 1))
    count = torch.where(table < 0, 0, count)
    return (torch.arange(page) < count.unsqueeze(2)).flatten(1)


def note_written(written: Tensor, page: Tensor, rows: int) -> Tensor:
    """`written` i64[B, pages] after `rows` rows went to `page` i64[B]."""
    is_it = torch.arange(written.shape[1]) == page.clamp(0, written.shape[1] - 1)[:, None]
    return torch.where(is_it, rows, written)


def hidden_unless(visible: Tensor) -> Tensor:
    """Additive mask: nothing where `visible`, and far below every score elsewhere."""
    return (~visible).float() * HIDDEN


def split_heads(x: Tensor, heads: int) -> Tensor:
    """f32[B, T, d] to f32[B, heads, T, d / heads]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _grouped(x: Any, shared: int) -> Any:
    """Rows f32[B, heads * shared, T, n] of heads that share keys, one below the other: f32[B, heads, shared * T, n]."""
    return x if x is None or shared == 1 else x.unflatten(1, (-1, shared)).flatten(2, 3)


def _ungrouped(x: Tensor, shared: int) -> Tensor:
    return x if shared == 1 else x.unflatten(2, (shared, -1)).flatten(1, 2)


def _repeated(mask: Tensor | None, shared: int) -> Tensor | None:
    """The mask f32[..., T, T] of the rows of `_grouped`."""
    return mask if mask is None or shared == 1 else torch.cat([mask] * shared, -2)


def _plus(x: Tensor, other: Tensor | None) -> Tensor:
    return x if other is None else x + other
