"""Causal flow matching: from noise to mel by a few Euler steps, each with caches of its own.

Optimal-transport paths (Lipman et al., arXiv 2210.02747) as in Matcha-TTS and CosyVoice 2. Every layer looks back only
and keeps the frames it needs, so any cutting into chunks gives the same mel, and memory does not grow.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.frame_layers import Caches, Chain, Depthwise, FrameConv, Whole, Windowed
from models.flow_tts.config import HALVES, MELS, FlowConfig
from models.flow_tts.vocoder import pitch_features

SIGMA_MIN = 1e-4
_SINES = 64


class Estimator(nn.Module):
    """Velocity f32[B, T, MELS] of a noisy mel at time t, knowing the mean and the pitch."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.enter = FrameConv(2 * MELS + 2 * HALVES, width, 3, causal=True)
        self.blocks = nn.ModuleList(_Block(config, dilation) for dilation in config.dilations)
        self.time = nn.Sequential(nn.Linear(_SINES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, MELS)
        turns = torch.exp(torch.linspace(0, math.log(1000.0), _SINES // 2))
        self.register_buffer("turns", turns, persistent=False)
        self.caches = Caches([self.enter, *self.blocks])

    def forward(self, noisy: Tensor, given: Tensor, time: Tensor) -> Tensor:
        """Whole utterances f32[B, T, MELS] with `given` f32[B, T, MELS + 2 * HALVES] at times f32[B]."""
        return self._run(Whole(), noisy, given, time)

    def step(self, noisy: Tensor, given: Tensor, time: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk of any T with the row f32[B, caches.size] of the chunk before."""
        _, chain = self.caches.split(cache)
        return self._run(chain, noisy, given, time), chain.join([])

    def _run(self, layers: Whole | Chain, noisy: Tensor, given: Tensor, time: Tensor) -> Tensor:
        angles = time[:, None] * self.turns
        told = self.time(torch.cat([angles.sin(), angles.cos()], 1))[:, None]
        x = layers.step(self.enter, torch.cat([noisy, given], 2))
        for block in self.blocks:
            x = layers.step(block.told(told), x)
        return self.leave(self.norm(x))


class _Block(Windowed):
    """A dilated ConvNeXt block whose norm is scaled, shifted and gated by what `told` said last (FiLM)."""

    def __init__(self, config: FlowConfig, dilation: int) -> None:
        width = config.width
        super().__init__((config.kernel - 1) * dilation + 1, width, causal=True)
        self.depthwise = Depthwise(width, config.kernel, dilation)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.film = nn.Linear(width, 3 * width)
        self.widen = nn.Linear(width, config.inner)
        self.narrow = nn.Linear(config.inner, width)
        nn.init.zeros_(self.film.weight)
        nn.init.constant_(self.film.bias, 0.0)
        self._time: Tensor | None = None

    def told(self, time: Tensor) -> "_Block":
        """Take the time f32[B, 1, width] for the next call."""
        self._time = time
        return self

    def mix(self, padded: Tensor) -> Tensor:
        """Map f32[B, past + T, width] to f32[B, T, width]."""
        assert self._time is not None
        scale, shift, gate = self.film(self._time).chunk(3, 2)
        x = self.norm(self.depthwise(padded)) * (1 + scale) + shift
        x = self.narrow(functional.gelu(self.widen(x)))
        return padded[:, self.past :] + x * (0.1 + gate)


class Flow(nn.Module):
    """The solver: Euler steps on a cosine grid, unrolled."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.estimator = Estimator(config)
        self.times = times(config.steps)

    def loss(self, mel: Tensor, given: Tensor, noise: Tensor, time: Tensor, mask: Tensor) -> Tensor:
        """Mean square error of the velocity at times f32[B], of f32[B, T, MELS] where bool[B, T]."""
        at = time[:, None, None]
        noisy = (1 - (1 - SIGMA_MIN) * at) * noise + at * mel
        wanted = mel - (1 - SIGMA_MIN) * noise
        error = (self.estimator(noisy, given, time) - wanted).square().mean(2)
        return (error * mask).sum() / mask.sum()

    def forward(self, mean: Tensor, pitch: Tensor, noise: Tensor) -> Tensor:
        """Whole utterances: mean f32[B, T, MELS], pitch i64[B, T, HALVES] and noise f32[B, T, MELS] to a mel."""
        given, x = conditions(mean, pitch), noise
        for now, after in pairwise(self.times):
            x = x + (after - now) * self.estimator(x, given, torch.full_like(x[:, 0, 0], now))
        return x

    def step(self, mean: Tensor, pitch: Tensor, noise: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk of any T with the caches f32[B, N, caches.size] of N Euler steps."""
        given, x, after_all = conditions(mean, pitch), noise, []
        for index, (now, after) in enumerate(pairwise(self.times)):
            velocity, row = self.estimator.step(x, given, torch.full_like(x[:, 0, 0], now), cache[:, index])
            x = x + (after - now) * velocity
            after_all.append(row)
        return x, torch.stack(after_all, 1)


def conditions(mean: Tensor, pitch: Tensor) -> Tensor:
    """What the estimator is given beside the noisy mel: f32[B, T, MELS + 2 * HALVES]."""
    return torch.cat([mean, pitch_features(pitch)], 2)


def times(steps: int) -> Sequence[float]:
    """The cosine grid of CosyVoice 2, from 0 to 1."""
    return [1 - math.cos(math.pi * step / (2 * steps)) for step in range(steps + 1)]
