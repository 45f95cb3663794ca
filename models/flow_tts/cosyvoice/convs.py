"""Convolutions over f32[B, T, C] with filters as the checkpoints hold them, and caches laid out by a trial run."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.frame_layers import Caches, Chain, Whole, Windowed


class Conv(Windowed):
    """A convolution that looks `past` frames back and `future` ahead.

    Its filters `weight` are `[outputs, inputs / groups, kernel]`.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, future: int = 0, dilation: int = 1, groups: int = 1
    ) -> None:
        super().__init__(kernel, inputs, causal=True)
        self.future = future
        self.past = (kernel - 1) * dilation - future
        self.dilation, self.groups = dilation, groups
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, kernel))
        self.bias = nn.Parameter(torch.empty(outputs))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        nn.init.uniform_(self.bias, -0.1, 0.1)

    def mix(self, padded: Tensor) -> Tensor:
        """Map f32[B, past + T + future, inputs] to f32[B, T, outputs]."""
        x = padded.transpose(1, 2)
        return functional.conv1d(x, self.weight, self.bias, 1, 0, self.dilation, self.groups).transpose(1, 2)


class Recorder(Whole):
    """Runs layers over a whole signal and notes them in the order of their calls."""

    def __init__(self) -> None:
        self.layers: list[Windowed] = []

    def step(self, layer: Windowed, x: Tensor) -> Tensor:
        """Run one layer."""
        self.layers.append(layer)
        return layer(x)


class Chained(Whole):
    """A chain as what runs layers."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def step(self, layer: Windowed, x: Tensor) -> Tensor:
        """Run the next layer."""
        return self._chain.step(layer, x)


@dataclass(frozen=True)
class _Peeked:
    """A layer whose last frame is looked at and not kept: it comes again."""

    layer: Windowed
    peek: int

    @property
    def past(self) -> int:
        return self.layer.past

    def mix(self, padded: Tensor) -> Tensor:
        return self.layer.mix(padded)

    def step(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        heard = torch.cat([past, x], 1)
        end = heard.shape[1] - self.peek
        return self.layer.mix(heard), heard[:, end - self.layer.past : end]


class Peeking(Whole):
    """Runs layers of a chain over frames of which the last `peek` come again."""

    def __init__(self, chain: Chain, peek: int) -> None:
        self._chain, self._peek = chain, peek

    def step(self, layer: Windowed, x: Tensor) -> Tensor:
        """Run the next layer."""
        return self._chain.step(_Peeked(layer, self._peek), x)  # type: ignore[arg-type]


@torch.no_grad()
def caches_of(trial: Callable[[Recorder], object]) -> Caches:
    """The layout of what the layers that `trial` runs keep between steps."""
    recorder = Recorder()
    trial(recorder)
    return Caches(recorder.layers)
