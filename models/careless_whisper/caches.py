"""What a stream keeps for the three graphs, and attention over kept keys and values.

A cache of keys or values is `[layers, heads, pages, PAGE, head width]`: a step copies whole pages of contiguous memory
out of the arena, already split by head, and writes single rows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.careless_whisper.config import Dims
from models.careless_whisper.features import HALF, SILENT
from models.careless_whisper.model import Attention
from models.common.layers import HIDDEN
from models.common.slots import CellRows, Cells, StateSpec

PAGE = 64
"""Rows of a page."""
BANKS = 2
"""Encoder windows that a stream may have at once."""
SPARE_CELLS = 192
"""Cells of the token cache beyond the longest text: nodes of other hypotheses, and padding."""
# How far back a window may open: a first block, which is encoded late, and 4 s more.
_RING_ROWS, _RING_SPARE = 1024, 400


@dataclass(frozen=True)
class Sizes:
    """How large the states of a stream are; `half`: keys and values are kept in half precision."""

    dims: Dims
    first: int
    half: bool = False

    @property
    def mel_ring(self) -> int:
        """Rows of the ring of mel rows, a power of two."""
        return max(_RING_ROWS, 1 << (2 * self.first + _RING_SPARE - 1).bit_length())

    @property
    def cells(self) -> int:
        """Cells of the token cache."""
        return PAGE * pages(self.dims.n_text_ctx + SPARE_CELLS)

    @property
    def bank_pages(self) -> int:
        """Pages of one encoder window."""
        return pages(self.dims.n_audio_ctx)

    def listener(self) -> list[StateSpec]:
        """States of the graph `listen`."""
        return [
            StateSpec("samples", (HALF,), group="listener"),
            StateSpec("mel", (self.mel_ring, self.dims.n_mels), group="listener", indexed=True),
            StateSpec("mel_rows", (), torch.int64, group="listener"),
            StateSpec("loudest", (), initial=SILENT, group="listener"),
        ]

    def encoder(self) -> list[StateSpec]:
        """States of the graph `encode`."""
        dims, bank = self.dims, BANKS * self.bank_pages
        own = (dims.n_audio_layer, dims.n_audio_head, bank, PAGE, dims.n_audio_state // dims.n_audio_head)
        cross = (dims.n_text_layer, dims.n_text_head, bank, PAGE, dims.n_text_state // dims.n_text_head)
        return [
            self._cache("encoder_keys", own, "encoder"),
            self._cache("encoder_values", own, "encoder"),
            self._cache("cross_keys", cross, "encoder"),
            self._cache("cross_values", cross, "encoder"),
            StateSpec("counts", (BANKS,), torch.int64, group="encoder"),
        ]

    def search(self) -> list[StateSpec]:
        """States of the graph `decode`."""
        dims = self.dims
        own = (dims.n_text_layer, dims.n_text_head, self.cells // PAGE, PAGE, dims.n_text_state // dims.n_text_head)
        return [
            self._cache("self_keys", own, "search"),
            self._cache("self_values", own, "search"),
            StateSpec("cell_count", (), torch.int64, group="search"),
        ]

    def _cache(self, name: str, dims: tuple[int, ...], group: str) -> StateSpec:
        return StateSpec(name, dims, torch.float16 if self.half else torch.float32, group=group, indexed=True)


def pages(rows: int) -> int:
    """How many pages hold `rows` rows."""
    return (rows + PAGE - 1) // PAGE


def page_index(first: Tensor, count: int, most: int) -> Tensor:
    """Pages i64[B, count] from page `first` i64[B] on; none is farther than `most` pages."""
    return first[:, None] + torch.arange(count).clamp(max=most - 1)


def take_pages(cache: Cells, layer: int, heads: int, page: Tensor) -> Tensor:
    """Rows f32[B, heads, pages * PAGE, head width] of one layer at `page` i64[B, pages]."""
    head = torch.arange(heads).view(1, heads, 1)
    return cache.take(torch.full((1, 1, 1), layer), head, page[:, None]).flatten(2, 3)


def new_rows(layers: list[Tensor], row: Tensor) -> CellRows:
    """Write f32[B, heads, n, head width] of every layer to rows `row` i64[B, n] of a cache."""
    rows = torch.stack(layers, 1)
    layer = torch.arange(rows.shape[1]).view(1, -1, 1, 1)
    head = torch.arange(rows.shape[2]).view(1, 1, -1, 1)
    row = row[:, None, None]
    return CellRows(rows, (layer, head, row // PAGE, row % PAGE))


def hidden_unless(visible: Tensor) -> Tensor:
    """Additive mask: nothing where `visible`, and far below every score elsewhere."""
    return (~visible).float() * HIDDEN


def scores(attention: Attention, query: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scores f32[B, heads, n, T] of projected queries f32[B, n, d] over keys f32[B, heads, T, head width]."""
    split = attention.split(query * (query.shape[-1] // attention.heads) ** -0.5)
    found = split @ keys.transpose(-1, -2)
    return found if mask is None else found + mask


def attend_cached(
    attention: Attention, query: Tensor, old: tuple[Tensor, Tensor, Tensor], new: tuple[Tensor, Tensor, Tensor | None]
) -> Tensor:
    """Attend to cached and new rows at once; `old` and `new` are keys, values f32[B, heads, T, head width] and mask.

    The two are joined as scores, which are small, and not as keys and values.
    """
    joined = torch.cat([scores(attention, query, old[0], old[2]), scores(attention, query, new[0], new[2])], -1)
    weights = functional.softmax(joined, -1)
    length = old[0].shape[2]
    mixed = weights[..., :length] @ old[1] + weights[..., length:] @ new[1]
    return merge(attention, mixed)


def merge(attention: Attention, mixed: Tensor) -> Tensor:
    """Heads f32[B, heads, n, head width] back to f32[B, n, d], through the last projection."""
    return attention.out(mixed.transpose(1, 2).flatten(-2))
