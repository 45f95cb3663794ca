"""The estimator of CosyVoice 3: a diffusion transformer (arXiv 2212.09748) with adaptive norms and rotary positions."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.frame_layers import Whole
from models.common.layers import Rotation
from models.common.pages import Memory, split_heads
from models.flow_tts.cosyvoice.config import MELS, DitSizes
from models.flow_tts.cosyvoice.convs import Conv
from models.flow_tts.cosyvoice.time_embedding import sinusoidal_time

_PERIOD = 10_000.0
_EPSILON = 1e-6
_PER_BLOCK, _PER_END = 6, 2


class Adaptive(nn.Module):
    """The linear layer that makes gains, shifts and gates of the time."""

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, parts * width)

    def forward(self, embedded: Tensor) -> Tensor:
        """f32[n, width] to f32[n, parts * width]."""
        return self.linear(functional.silu(embedded))


class Attention(nn.Module):
    """Attention whose queries and keys turn before they are split into heads.

    So the first `rotated` channels alone turn: with heads as wide as that, the first head.
    """

    def __init__(self, sizes: DitSizes) -> None:
        super().__init__()
        width = sizes.width
        self.heads, self.rotated = sizes.heads, sizes.rotated
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, rotation: Rotation, memory: Memory) -> Tensor:
        """f32[B, T, width] to the same."""
        query, key = (self._turned(part(x), rotation) for part in (self.to_q, self.to_k))
        query, key, value = (split_heads(part, self.heads) for part in (query, key, self.to_v(x)))
        mixed = memory.attend(query * query.shape[-1] ** -0.5, key, value)
        return self.to_out[0](mixed.transpose(1, 2).flatten(2))

    def _turned(self, x: Tensor, rotation: Rotation) -> Tensor:
        return torch.cat([turned(x[..., : self.rotated], rotation), x[..., self.rotated :]], -1)


class FeedForward(nn.Module):
    """Two linear layers with the tanh form of GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        enter = nn.ModuleDict({"0": nn.Linear(width, hidden)})
        self.ff = nn.ModuleDict({"0": enter, "2": nn.Linear(hidden, width)})

    def forward(self, x: Tensor) -> Tensor:
        """f32[B, T, width] to the same."""
        return self.ff["2"](functional.gelu(self.ff["0"]["0"](x), approximate="tanh"))  # type: ignore[index]


class Block(nn.Module):
    """Attention and a feed-forward between norms that the time makes."""

    def __init__(self, sizes: DitSizes) -> None:
        super().__init__()
        self.attn_norm = Adaptive(sizes.width, _PER_BLOCK)
        self.attn = Attention(sizes)
        self.ff = FeedForward(sizes.width, sizes.hidden)

    def forward(self, x: Tensor, made: Tensor, rotation: Rotation, memory: Memory) -> Tensor:
        """f32[B, T, width] to the same; `made` f32[B, 6 * width] by `attn_norm`."""
        shift, scale, gate, shift_ff, scale_ff, gate_ff = made.unsqueeze(1).chunk(_PER_BLOCK, 2)
        x = x + gate * self.attn(_modulated(x, scale, shift), rotation, memory)
        return x + gate_ff * self.ff(_modulated(x, scale_ff, shift_ff))


class ConvPositions(nn.Module):
    """Two grouped causal convolutions, each with Mish after it."""

    def __init__(self, sizes: DitSizes) -> None:
        super().__init__()
        self.conv1, self.conv2 = (
            nn.ModuleList([Conv(sizes.width, sizes.width, sizes.kernel, groups=sizes.groups)]) for _ in range(2)
        )

    def run(self, x: Tensor, runner: Whole) -> Tensor:
        """f32[B, T, width] to the same."""
        for conv in (self.conv1, self.conv2):
            x = functional.mish(runner.step(conv[0], x))
        return x


class InputEmbed(nn.Module):
    """Projection, and what convolutions make of it beside it."""

    def __init__(self, sizes: DitSizes) -> None:
        super().__init__()
        self.proj = nn.Linear(4 * MELS, sizes.width)
        self.conv_pos_embed = ConvPositions(sizes)

    def run(self, x: Tensor, runner: Whole) -> Tensor:
        """f32[B, T, 320] to f32[B, T, width]."""
        x = self.proj(x)
        return self.conv_pos_embed.run(x, runner) + x


class TimeEmbed(nn.Module):
    """Two linear layers with SiLU between, after the sinusoids."""

    def __init__(self, sizes: DitSizes) -> None:
        super().__init__()
        self.sizes = sizes
        enter, leave = nn.Linear(sizes.time, sizes.width), nn.Linear(sizes.width, sizes.width)
        self.time_mlp = nn.ModuleDict({"0": enter, "2": leave})

    def forward(self, time: Tensor) -> Tensor:
        """f32[n] to f32[n, width]."""
        return self.time_mlp["2"](functional.silu(self.time_mlp["0"](sinusoidal_time(time, self.sizes.time))))


class Rotary(nn.Module):
    """Frequencies of the turning pairs, which the checkpoint holds."""

    inv_freq: Tensor

    def __init__(self, sizes: DitSizes) -> None:
        super().__init__()
        power = torch.arange(0, sizes.rotated, 2) / sizes.rotated
        self.register_buffer("inv_freq", _PERIOD**-power)

    def forward(self, frame: Tensor) -> Rotation:
        """Cosines and sines f32[B, T, rotated / 2] of frames i64[B, T].

        Whole turns are taken off in double precision: an angle in float32 is wrong after some minutes.
        """
        turns = frame.double().unsqueeze(2) * (self.inv_freq.double() / (2 * math.pi))
        angle = ((turns - turns.floor()) * (2 * math.pi)).float()
        return angle.cos(), angle.sin()


class DiT(nn.Module):
    """Velocity f32[B, T, 80] of a noisy mel and its conditions."""

    def __init__(self, sizes: DitSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.time_embed = TimeEmbed(sizes)
        self.input_embed = InputEmbed(sizes)
        self.rotary_embed = Rotary(sizes)
        self.transformer_blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))
        self.norm_out = Adaptive(sizes.width, _PER_END)
        self.proj_out = nn.Linear(sizes.width, MELS)

    @property
    def layers(self) -> int:
        """Blocks, each of which keeps keys and values."""
        return self.sizes.layers

    @staticmethod
    def joined(x: Tensor, mu: Tensor, speaker: Tensor, prompt: Tensor) -> Tensor:
        """The input f32[B, T, 320], in another order than in version 2; each part f32[B, T, 80]."""
        return torch.cat([x, prompt, mu, speaker], 2)

    def conditions(self, time: Tensor) -> Tensor:
        """All that depends on the time f32[n] alone: f32[n, (6 * layers + 2) * width]."""
        embedded = self.time_embed(time)
        norms = [*(block.attn_norm for block in self.transformer_blocks), self.norm_out]
        return torch.cat([norm(embedded) for norm in norms], 1)

    def run(self, x: Tensor, conditions: Tensor, runner: Whole, memory: Memory, frame: Tensor) -> Tensor:
        """Velocity of `joined` f32[B, T, 320]; `conditions` f32[B, ...], `frame` i64[B, T] from the prompt's start."""
        width = self.sizes.width
        made = conditions.split([_PER_BLOCK * width] * self.sizes.layers + [_PER_END * width], 1)
        rotation = self.rotary_embed(frame)
        x = self.input_embed.run(x, runner)
        for block, part in zip(self.transformer_blocks, made, strict=False):
            x = block(x, part, rotation, memory)
        scale, shift = made[-1].unsqueeze(1).chunk(_PER_END, 2)
        return self.proj_out(_modulated(x, scale, shift))


def turned(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn neighbouring pairs of the last axis of f32[B, T, n] by f32[B, T, n / 2]."""
    cos, sin = rotation
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2)


def _modulated(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], eps=_EPSILON) * (1 + scale) + shift
