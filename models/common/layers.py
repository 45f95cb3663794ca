"""Streaming layers with explicit state: `forward` sees the whole signal, `step` one chunk and its caches."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

Rotation = tuple[Tensor, Tensor]
HIDDEN = -1e9


class CausalConv2d(nn.Conv2d):
    """3 x 3 convolution of stride 2 over (time, mel), padded on the past side of time only.

    It keeps kernel - stride = 1 row of past input as its cache.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, stride=2, padding=(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map f32[B, inputs, T, M] to f32[B, outputs, T / 2, M / 2]."""
        return super().forward(functional.pad(x, (0, 0, 1, 0)))

    def step(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Same on a chunk of even T, with the cache f32[B, inputs, 1, M] of the chunk before."""
        return super().forward(torch.cat([cache, x], 2)), x[:, :, -1:]


class Rotary(nn.Module):
    """Rotary positions whose frequencies are whole turns per `period` frames.

    A position counted modulo the period is therefore exact however old the stream is
    (RoFormer, arXiv 2104.09864, with integer frequencies of our own).
    """

    def __init__(self, width: int, period: int) -> None:
        super().__init__()
        turns = torch.tensor(_geometric_integers(width // 2, period // 2), dtype=torch.float64)
        angle = torch.arange(period, dtype=torch.float64)[:, None] * turns * (2 * math.pi / period)
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def forward(self, positions: Tensor) -> Rotation:
        """Cosines and sines f32[..., 1, width / 2] of i64[...] frame positions."""
        index = positions % self.cos.shape[0]
        return self.cos[index].unsqueeze(-2), self.sin[index].unsqueeze(-2)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn the two halves of each head of f32[B, T, H, E] by `rotation`."""
    cos, sin = rotation
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class Attention(nn.Module):
    """Multi-head self-attention over the chunk and a ring of earlier, already rotated keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)

    def forward(self, x: Tensor, rotation: Rotation, mask: Tensor) -> Tensor:
        """Whole signal f32[B, T, D] under the additive mask f32[T, T]."""
        query, key, value = self._rotated(x, rotation)
        return self._attend(query, key, value, mask)

    def step(
        self, x: Tensor, rotation: Rotation, mask: Tensor, ring: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One chunk f32[B, C, D] with ring keys and values f32[B, L, D], in any order.

        `mask` is additive, f32[B, 1, 1, L + C]. Returns the output and the chunk's own keys and
        values f32[B, C, D], for the caller to write into the ring.
        """
        query, key, value = self._rotated(x, rotation)
        output = self._attend(query, torch.cat([ring[0], key], 1), torch.cat([ring[1], value], 1), mask)
        return output, (key, value)

    def _rotated(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self.project(x).chunk(3, -1)
        turned = (rotate(part.unflatten(-1, (self.heads, -1)), rotation).flatten(-2) for part in (query, key))
        return *turned, value

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        split = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)]
        return self.merge(_dot_product(*split, mask).transpose(1, 2).flatten(-2))


class ConvModule(nn.Module):
    """Conformer convolution: gate, causal depthwise convolution, LayerNorm, SiLU, projection."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, groups=width)
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, width)
        self.past = kernel - 1

    def forward(self, x: Tensor) -> Tensor:
        """Whole signal f32[B, T, D]."""
        return self._mix(functional.pad(self._gated(x), (0, 0, self.past, 0)))

    def step(self, x: Tensor, cache: Tensor, count: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One chunk f32[B, C, D] with the cache f32[B, kernel - 1, D] of gated inputs.

        With `count` i64[B], the cache moves on by the first `count` frames of the chunk alone.
        """
        gated = torch.cat([cache, self._gated(x)], 1)
        return self._mix(gated), gated[:, -self.past :] if count is None else rows_from(gated, count, self.past)

    def _gated(self, x: Tensor) -> Tensor:
        return functional.glu(self.gate(x), -1)

    def _mix(self, padded: Tensor) -> Tensor:
        mixed = self.depthwise(padded.transpose(1, 2)).transpose(1, 2)
        return self.project(functional.silu(self.norm(mixed)))


def chunk_mask(frames: int, chunk: int, left: int, device: torch.device) -> Tensor:
    """Additive mask f32[T, T]: a frame sees its own chunk and the `left` frames before that chunk."""
    position = torch.arange(frames, device=device)
    start = (position - position % chunk)[:, None]
    return additive((position >= start - left) & (position < start + chunk))


def rows_from(x: Tensor, first: Tensor, length: int) -> Tensor:
    """Rows `first` i64[B] and on of f32[B, T, D], `length` of them; beyond the end the last row repeats."""
    index = (first[:, None] + torch.arange(length, device=x.device)).clamp(max=x.shape[1] - 1)
    return x.gather(1, index.unsqueeze(-1).expand(-1, -1, x.shape[2]))


def additive(visible: Tensor) -> Tensor:
    """Zero where `visible`, else too low for any weight."""
    return torch.where(visible, 0.0, HIDDEN)


def _dot_product(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attention in f32: on CPU, bf16 kernels with a mask take three times as long in training."""
    if not torch.is_autocast_enabled(query.device.type):
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    with torch.autocast(query.device.type, enabled=False):
        return functional.scaled_dot_product_attention(query.float(), key.float(), value.float(), attn_mask=mask)


def _geometric_integers(count: int, largest: int) -> list[int]:
    """Rising distinct integers from 1 to `largest`, as near to a geometric row as that allows."""
    if count > largest:
        raise ValueError(f"expected at most {largest} frequencies, got {count}")
    integers: list[int] = []
    for i in range(count):
        ideal = round(largest ** (i / max(count - 1, 1)))
        integers.append(max(ideal, integers[-1] + 1 if integers else 1))
    return integers
