"""A causal transformer with a window, rotary positions and layer scales, whole or step by step over a ring of keys.

As Mimi uses it (Moshi, arXiv 2410.00037). Every frame sees exactly `window` frames, its own included, however a stream
is cut; positions are exact for over a year of frames.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.layers import Rotation, additive, rotate
from models.common.slots import Cells, RingRows, Update

_PERIOD = 10_000.0


@dataclass(frozen=True)
class TransformerSizes:
    """Of one transformer."""

    width: int
    layers: int
    heads: int
    hidden: int
    window: int

    @property
    def ring(self) -> tuple[int, ...]:
        """Dims of the keys, or of the values, that a stream keeps.

        A step needs the last `window - 1` frames before it. The last row of the ring takes what is not to be kept.
        """
        return (self.layers, self.heads, self.window, self.width // self.heads)


class Layer(nn.Module):
    """Attention and a feed-forward, each normalised before and scaled after."""

    def __init__(self, sizes: TransformerSizes) -> None:
        super().__init__()
        width = sizes.width
        self.heads = sizes.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.merge = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.linear1 = nn.Linear(width, sizes.hidden, bias=False)
        self.linear2 = nn.Linear(sizes.hidden, width, bias=False)
        self.scale1, self.scale2 = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))

    def heads_of(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled, turned queries, turned keys, and values f32[B, heads, T, head width] of f32[B, T, width]."""
        projected = self.project(self.norm1(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = (part.transpose(1, 2) for part in projected.unbind(2))
        return rotate(query * query.shape[-1] ** -0.5, rotation), rotate(key, rotation), value

    def after(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Add attention's result f32[B, heads, T, head width] to f32[B, T, width], and then the feed-forward's."""
        x = x + self.scale1 * self.merge(mixed.transpose(1, 2).flatten(2))
        return x + self.scale2 * self.linear2(functional.gelu(self.linear1(self.norm2(x))))


@dataclass(frozen=True)
class Memory:
    """What a stream has in its ring: keys and values as in `TransformerSizes.ring`, and i64[B] frames heard."""

    keys: Cells
    values: Cells
    heard: Tensor


class WindowTransformer(nn.Module):
    """Layers over f32[B, T, width]."""

    def __init__(self, sizes: TransformerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        half = sizes.width // sizes.heads // 2
        turns = torch.exp(torch.arange(half, dtype=torch.float64) * (-math.log(_PERIOD) / half)) / (2 * math.pi)
        self.register_buffer("turns", turns, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Whole signal."""
        frame = torch.arange(x.shape[1])
        rotation, mask = self._rotation(frame[None]), additive(self._visible(frame[:, None] - frame))
        for layer in self.layers:
            query, key, value = layer.heads_of(x, rotation)
            x = layer.after(x, functional.softmax(query @ key.transpose(2, 3) + mask, -1) @ value)
        return x

    def step(self, x: Tensor, memory: Memory) -> tuple[Tensor, dict[str, Update]]:
        """One chunk of any T; returns the output and what becomes of `keys`, `values` and `heard`."""
        frame = torch.arange(x.shape[1])
        rotation = self._rotation(memory.heard[:, None] + frame)
        masks = self._masks(frame, memory.heard)
        kept: list[tuple[Tensor, Tensor]] = []
        for index, layer in enumerate(self.layers):
            query, key, value = layer.heads_of(x, rotation)
            old = [part.take(torch.tensor([index])) for part in (memory.keys, memory.values)]
            # The two are joined as scores, which are small, and not as keys and values.
            scores = torch.cat([query @ old[0].transpose(2, 3), query @ key.transpose(2, 3)], -1)
            weights = functional.softmax(scores + masks, -1)
            ring = self.sizes.window
            x = layer.after(x, weights[..., :ring] @ old[1] + weights[..., ring:] @ value)
            kept.append((key, value))
        return x, self._updates(kept, frame, memory.heard)

    def _rotation(self, position: Tensor) -> Rotation:
        """Cosines and sines f32[B, 1, T, head width / 2] of positions i64[B, T]."""
        turned = position.double().unsqueeze(2) * self.turns
        # Whole turns are taken off in double precision: an angle in float32 is wrong after some hours.
        angle = ((turned - turned.floor()) * (2 * math.pi)).float().unsqueeze(1)
        return angle.cos(), angle.sin()

    def _visible(self, distance: Tensor) -> Tensor:
        return (distance >= 0) & (distance < self.sizes.window)

    def _masks(self, frame: Tensor, heard: Tensor) -> Tensor:
        """Additive mask f32[B, 1, T, window + T] of the rows of the ring and of the chunk itself."""
        capacity = self.sizes.window - 1
        row = torch.arange(self.sizes.window)
        newest = heard[:, None] - 1
        position = newest - (newest - row) % capacity
        there = (position >= 0) & (row < capacity)
        old = self._visible((heard[:, None] + frame).unsqueeze(2) - position.unsqueeze(1)) & there.unsqueeze(1)
        new = self._visible(frame[:, None] - frame).expand(heard.shape[0], -1, -1)
        return additive(torch.cat([old, new], 2)).unsqueeze(1)

    def _updates(self, kept: list[tuple[Tensor, Tensor]], frame: Tensor, heard: Tensor) -> dict[str, Update]:
        capacity, count = self.sizes.window - 1, frame.shape[0]
        row = (heard[:, None] + frame) % capacity
        # Of a chunk longer than the ring the last frames alone are kept.
        row = torch.where(frame >= count - capacity, row, capacity)
        keys, values = (torch.stack([layer[part] for layer in kept], 1) for part in (0, 1))
        return {"keys": RingRows(keys, row), "values": RingRows(values, row), "heard": heard + count}


def renamed(updates: Mapping[str, Update], prefix: str) -> dict[str, Update]:
    """Updates of a bundle's states, which begin with `prefix`."""
    return {f"{prefix}_{name}": update for name, update in updates.items()}
