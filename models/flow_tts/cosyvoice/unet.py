"""The estimator of CosyVoice 2: a causal U-Net of one resolution, of residual convolutions and transformer blocks."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.frame_layers import Whole
from models.common.pages import Memory, split_heads
from models.flow_tts.cosyvoice.config import MELS, UNetSizes
from models.flow_tts.cosyvoice.convs import Conv
from models.flow_tts.cosyvoice.time_embedding import sinusoidal_time

_KERNEL = 3


class ConvBlock(nn.Module):
    """A causal convolution, LayerNorm over channels, Mish."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.ModuleDict({"0": Conv(inputs, outputs, _KERNEL), "2": nn.LayerNorm(outputs)})

    def run(self, x: Tensor, runner: Whole) -> Tensor:
        """f32[B, T, inputs] to f32[B, T, outputs]."""
        return functional.mish(self.block["2"](runner.step(cast(Conv, self.block["0"]), x)))


class Residual(nn.Module):
    """Two blocks with the time added between them, beside a projection."""

    def __init__(self, inputs: int, sizes: UNetSizes) -> None:
        super().__init__()
        channels = sizes.channels
        self.mlp = nn.ModuleDict({"1": nn.Linear(sizes.time, channels)})
        self.block1, self.block2 = ConvBlock(inputs, channels), ConvBlock(channels, channels)
        self.res_conv = Conv(inputs, channels, 1)

    def run(self, x: Tensor, time: Tensor, runner: Whole) -> Tensor:
        """f32[B, T, inputs] to f32[B, T, channels]; `time` f32[B, channels]."""
        inner = self.block2.run(self.block1.run(x, runner) + time.unsqueeze(1), runner)
        return inner + runner.step(self.res_conv, x)

    def time_of(self, embedded: Tensor) -> Tensor:
        """What is added between the blocks, f32[n, channels] of an embedded time f32[n, time]."""
        return self.mlp["1"](functional.mish(embedded))


class Attention(nn.Module):
    """Attention without positions."""

    def __init__(self, sizes: UNetSizes) -> None:
        super().__init__()
        width, inner = sizes.channels, sizes.heads * sizes.head_width
        self.heads = sizes.heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(inner, width)])

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """f32[B, T, channels] to the same."""
        query, key, value = (split_heads(part(x), self.heads) for part in (self.to_q, self.to_k, self.to_v))
        mixed = memory.attend(query * query.shape[-1] ** -0.5, key, value)
        return self.to_out[0](mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, sizes: UNetSizes) -> None:
        super().__init__()
        enter = nn.ModuleDict({"proj": nn.Linear(sizes.channels, sizes.hidden)})
        self.net = nn.ModuleDict({"0": enter, "2": nn.Linear(sizes.hidden, sizes.channels)})

    def forward(self, x: Tensor) -> Tensor:
        """f32[B, T, channels] to the same."""
        enter = cast(nn.ModuleDict, self.net["0"])
        return self.net["2"](functional.gelu(enter["proj"](x)))


class Transformer(nn.Module):
    """Attention and a feed-forward, each normalised before."""

    def __init__(self, sizes: UNetSizes) -> None:
        super().__init__()
        self.norm1, self.norm3 = nn.LayerNorm(sizes.channels), nn.LayerNorm(sizes.channels)
        self.attn1, self.ff = Attention(sizes), FeedForward(sizes)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """f32[B, T, channels] to the same."""
        x = x + self.attn1(self.norm1(x), memory)
        return x + self.ff(self.norm3(x))


class TimeMlp(nn.Module):
    """Two linear layers with SiLU between."""

    def __init__(self, sizes: UNetSizes) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(4 * MELS, sizes.time), nn.Linear(sizes.time, sizes.time)

    def forward(self, x: Tensor) -> Tensor:
        """f32[n, 320] to f32[n, time]."""
        return self.linear_2(functional.silu(self.linear_1(x)))


class UNet(nn.Module):
    """Velocity f32[B, T, 80] of a noisy mel and its conditions. A block is `[residual, transformers, convolution]`."""

    def __init__(self, sizes: UNetSizes) -> None:
        super().__init__()
        self.sizes = sizes
        channels = sizes.channels
        self.time_mlp = TimeMlp(sizes)
        self.down_blocks = nn.ModuleList([_block(4 * MELS, sizes, Conv(channels, channels, _KERNEL))])
        self.mid_blocks = nn.ModuleList(_block(channels, sizes) for _ in range(sizes.blocks))
        self.up_blocks = nn.ModuleList([_block(2 * channels, sizes, Conv(channels, channels, _KERNEL))])
        self.final_block = ConvBlock(channels, channels)
        self.final_proj = Conv(channels, MELS, 1)

    @property
    def layers(self) -> int:
        """Transformer blocks, each of which keeps keys and values."""
        return (self.sizes.blocks + 2) * self.sizes.transformers

    @staticmethod
    def joined(x: Tensor, mu: Tensor, speaker: Tensor, prompt: Tensor) -> Tensor:
        """The input f32[B, T, 320] of noisy mel, prior, speaker and the prompt's mel, each f32[B, T, 80]."""
        return torch.cat([x, mu, speaker, prompt], 2)

    def conditions(self, time: Tensor) -> Tensor:
        """All that depends on the time f32[n] alone: f32[n, blocks * channels]."""
        embedded = self.time_mlp(sinusoidal_time(time, 4 * MELS))
        return torch.cat([cast(Residual, block[0]).time_of(embedded) for block in self._blocks()], 1)

    def run(self, x: Tensor, conditions: Tensor, runner: Whole, memory: Memory, _: Tensor | None = None) -> Tensor:
        """Velocity of `joined` f32[B, T, 320]; `conditions` f32[B, ...]."""
        times = iter(conditions.split(self.sizes.channels, 1))
        down, up = self.down_blocks[0], self.up_blocks[0]
        skip = _run_block(down, x, next(times), runner, memory)
        x = runner.step(down[2], skip)
        for block in self.mid_blocks:
            x = _run_block(block, x, next(times), runner, memory)
        x = _run_block(up, torch.cat([x, skip], 2), next(times), runner, memory)
        x = self.final_block.run(runner.step(up[2], x), runner)
        return runner.step(self.final_proj, x)

    def _blocks(self) -> list[nn.ModuleList]:
        return [cast(nn.ModuleList, block) for block in (*self.down_blocks, *self.mid_blocks, *self.up_blocks)]


def _block(inputs: int, sizes: UNetSizes, *leave: Conv) -> nn.ModuleList:
    transformers = nn.ModuleList(Transformer(sizes) for _ in range(sizes.transformers))
    return nn.ModuleList([Residual(inputs, sizes), transformers, *leave])


def _run_block(block: nn.ModuleList, x: Tensor, time: Tensor, runner: Whole, memory: Memory) -> Tensor:
    x = cast(Residual, block[0]).run(x, time, runner)
    for transformer in cast(nn.ModuleList, block[1]):
        x = transformer(x, memory)
    return x
