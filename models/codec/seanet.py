"""SEANet (SoundStream, arXiv 2107.03312) as EnCodec and Mimi use it, over frames f32[B, T, C], whole or step by step.

Every convolution is a matrix product over windows of frames, of which a step keeps the last. A transposed convolution
whose kernel is two strides is one over pairs of inputs, with as many outputs as a stride has samples. Modules are
numbered and named as in the checkpoints.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from models.common.frame_layers import Windowed

ZERO, REFLECT, REPLICATE = "zero", "reflect", "replicate"
_ENTER, _RESIDUAL = 7, 3


class Runner(Protocol):
    """Runs one layer after the other: a `Chain` over a chunk, a `Whole` over a whole signal."""

    def step(self, layer: Windowed, x: Tensor) -> Tensor:
        """Run the next layer."""


@dataclass(frozen=True)
class Sizes:
    """One SEANet: `ratios` as the decoder has them, `leave` the last kernel, `lstm` how many layers (0: none).

    `shortcut`: residual blocks add a projection of their input, not the input itself.
    """

    filters: int
    latent: int
    ratios: tuple[int, ...]
    leave: int
    shortcut: bool
    lstm: int
    padding: str

    @property
    def width(self) -> int:
        """Channels where frames are coarsest."""
        return self.filters << len(self.ratios)


class Conv(Windowed):
    """A causal convolution whose kernel is a multiple of its stride, and what stands before the first sample.

    EnCodec reflects the first chunk there, beyond which it is zero, as its own package pads a file of that length.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: str = ZERO, bias: bool = True
    ) -> None:
        super().__init__(kernel, inputs, causal=True)
        self.past, self.future = kernel - stride, 0
        self.inputs, self.kernel, self.stride, self.padding = inputs, kernel, stride, padding
        self.linear = nn.Linear(kernel * inputs, outputs, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Whole signal f32[B, T, inputs], T a multiple of the stride."""
        return self.mix(torch.cat([self.before(x), x], 1))

    def before(self, x: Tensor) -> Tensor:
        """Frames f32[B, past, inputs] that stand before a signal that begins with f32[B, T, inputs]."""
        if self.padding == REPLICATE:
            return x[:, :1].expand(-1, self.past, -1)
        nothing = x.new_zeros(x.shape[0], self.past, self.inputs)
        return torch.cat([x, nothing], 1)[:, 1 : self.past + 1].flip(1) if self.padding == REFLECT else nothing

    def mix(self, padded: Tensor) -> Tensor:
        """Map f32[B, past + T, inputs] to f32[B, T / stride, outputs]."""
        blocks = padded.unflatten(1, (-1, self.stride)).flatten(2)
        taps = self.kernel // self.stride
        frames = blocks.shape[1] - taps + 1
        return self.linear(torch.cat([blocks[:, i : i + frames] for i in range(taps)], 2))


class Upsample(Conv):
    """A transposed convolution of `stride` and a kernel of twice that."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, stride * outputs, 2)
        self.factor = stride

    def mix(self, padded: Tensor) -> Tensor:
        """Map f32[B, 1 + T, inputs] to f32[B, T * stride, outputs]."""
        return super().mix(padded).unflatten(2, (self.factor, -1)).flatten(1, 2)


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, width: int, sizes: Sizes) -> None:
        super().__init__()
        hidden, padding = width // 2, sizes.padding
        convs = Conv(width, hidden, _RESIDUAL, padding=padding), Conv(hidden, width, 1)
        self.block = nn.ModuleList([nn.ELU(), convs[0], nn.ELU(), convs[1]])
        self.shortcut = Conv(width, width, 1) if sizes.shortcut else nn.Identity()

    def run(self, x: Tensor, runner: Runner) -> Tensor:
        """Map f32[B, T, width] to the same."""
        return self.shortcut(x) + run(self.block, x, runner)


class Lstm(Windowed):
    """LSTM layers beside a shortcut; in the place of frames it keeps its hidden and cell states."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__(1, width, causal=True)
        self.past = 2 * layers
        self.lstm = nn.LSTM(width, width, layers)

    def forward(self, x: Tensor) -> Tensor:
        """Whole signal f32[B, T, width]."""
        return self.step(x, x.new_zeros(x.shape[0], self.past, self.cached))[0]

    def step(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk of any T with the states f32[B, 2 * layers, width] of the chunk before."""
        hidden, cell = past.transpose(0, 1).contiguous().chunk(2)
        run_lstm = self._traced if torch.onnx.is_in_onnx_export() else self.lstm
        y, after = run_lstm(x.transpose(0, 1), (hidden, cell))
        return x + y.transpose(0, 1), torch.cat(after).transpose(0, 1)

    def _traced(self, x: Tensor, before: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """`self.lstm` as ONNX operators: the tracer would unroll it over the frames of the example."""
        states: list[tuple[Tensor, Tensor]] = []
        for layer, (hidden, cell) in enumerate(zip(*(part.split(1) for part in before), strict=True)):
            (time, batch), width = x.shape[:2], self.cached
            names = [f"{kind}_l{layer}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            inputs, recurrent, *biases = (_onnx_gates(self.lstm.get_parameter(name)) for name in names)
            y, *after = torch.onnx.ops.symbolic_multi_out(
                "LSTM",
                (x, inputs.unsqueeze(0), recurrent.unsqueeze(0), torch.cat(biases).unsqueeze(0), None, hidden, cell),
                {"hidden_size": width},
                dtypes=[x.dtype] * 3,
                shapes=[(time, 1, batch, width), (1, batch, width), (1, batch, width)],
                version=14,
            )
            x = y.squeeze(1)
            states.append((after[0], after[1]))
        return x, (torch.cat([state[0] for state in states]), torch.cat([state[1] for state in states]))


@dataclass(frozen=True)
class Beginning:
    """A chain in which a stream that begins, `first` bool[B, 1, 1], hears what its layers put before a signal."""

    chain: Runner
    first: Tensor

    def step(self, layer: Windowed, x: Tensor) -> Tensor:
        """Run the next layer."""
        begins = isinstance(layer, Conv) and layer.padding != ZERO and layer.past > 0
        return self.chain.step(_Begun(layer, self.first) if begins else layer, x)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Begun:
    layer: Conv
    first: Tensor

    @property
    def past(self) -> int:
        return self.layer.past

    def step(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer.step(x, torch.where(self.first, self.layer.before(x), past))


def _onnx_gates(weight: Tensor) -> Tensor:
    """Rows of torch's gates, input, forget, cell and output, in ONNX's order: input, output, forget, cell."""
    first, forget, cell, last = weight.chunk(4)
    return torch.cat([first, last, forget, cell])


def encoder(sizes: Sizes) -> nn.ModuleList:
    """Layers from samples f32[B, T, 1] to latents f32[B, T / product of the ratios, latent]."""
    width, padding = sizes.filters, sizes.padding
    layers: list[nn.Module] = [Conv(1, width, _ENTER, padding=padding)]
    for ratio in reversed(sizes.ratios):
        layers += [Residual(width, sizes), nn.ELU(), Conv(width, 2 * width, 2 * ratio, ratio, padding)]
        width *= 2
    if sizes.lstm:
        layers.append(Lstm(width, sizes.lstm))
    return nn.ModuleList([*layers, nn.ELU(), Conv(width, sizes.latent, sizes.leave, padding=padding)])


def decoder(sizes: Sizes) -> nn.ModuleList:
    """Layers from latents to samples, the encoder's mirror."""
    width, padding = sizes.width, sizes.padding
    layers: list[nn.Module] = [Conv(sizes.latent, width, _ENTER, padding=padding)]
    if sizes.lstm:
        layers.append(Lstm(width, sizes.lstm))
    for ratio in sizes.ratios:
        width //= 2
        layers += [nn.ELU(), Upsample(2 * width, width, ratio), Residual(width, sizes)]
    return nn.ModuleList([*layers, nn.ELU(), Conv(width, 1, sizes.leave, padding=padding)])


def run(layers: Iterable[nn.Module], x: Tensor, runner: Runner) -> Tensor:
    """Run `layers` over f32[B, T, C]."""
    for layer in layers:
        if isinstance(layer, Residual):
            x = layer.run(x, runner)
        else:
            x = runner.step(layer, x) if isinstance(layer, Windowed) else layer(x)
    return x


def windowed(module: nn.Module) -> Sequence[Windowed]:
    """The layers of `module` that keep something, in the order in which they run."""
    return [layer for layer in module.modules() if isinstance(layer, Windowed) and layer.past]
