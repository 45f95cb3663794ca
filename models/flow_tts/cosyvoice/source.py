"""The source of HiFT: pitch of each frame, harmonics of it and noise, joined to one signal.

Pitch is found in double precision: what rounding does to it adds up in the phase and is heard in high harmonics.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from models.common.frame_layers import Whole
from models.flow_tts.cosyvoice.config import FRAME, MELS, RATE, HiftSizes
from models.flow_tts.cosyvoice.convs import Conv

_CONVS, _FIRST, _KERNEL = 5, 4, 3
_VOICED_HZ = 10.0
_LOUDNESS = 0.1
_VOICED_NOISE, _UNVOICED_NOISE = 0.003, _LOUDNESS / 3


class DoubleConv(Conv):
    """A convolution in double precision, as a matrix product: ONNX Runtime has no other one."""

    def mix(self, padded: Tensor) -> Tensor:
        """Map f64[B, past + T + future, inputs] to f64[B, T, outputs]."""
        kernel = self.weight.shape[2]
        frames = padded.shape[1] - kernel + 1
        windows = torch.cat([padded[:, i : i + frames] for i in range(kernel)], 2)
        return windows @ self.weight.double().permute(2, 1, 0).flatten(0, 1) + self.bias.double()


class PitchNet(nn.Module):
    """Five convolutions with ELU, and a linear layer."""

    def __init__(self, sizes: HiftSizes) -> None:
        super().__init__()
        width = sizes.f0_channels
        first = DoubleConv(MELS, width, _FIRST, future=_FIRST - 1) if sizes.causal else _symmetric(MELS, width)
        others = [_causal(width) if sizes.causal else _symmetric(width, width) for _ in range(_CONVS - 1)]
        self.condnet = nn.ModuleDict({str(2 * at): conv for at, conv in enumerate((first, *others))})
        self.classifier = nn.Linear(width, 1)

    @property
    def first(self) -> DoubleConv:
        """The convolution that hears the mel."""
        return cast(DoubleConv, self.condnet["0"])

    def forward(self, mel: Tensor) -> Tensor:
        """Pitch f64[B, T] in Hz of the whole mel f32[B, T, 80]."""
        return self.after(self.first(mel.double()), Whole())

    def after(self, heard: Tensor, runner: Whole) -> Tensor:
        """Pitch of what the first convolution makes, f64[B, T, width]."""
        x = _elu(heard)
        for index in range(1, _CONVS):
            x = _elu(runner.step(cast(DoubleConv, self.condnet[str(2 * index)]), x))
        return (x @ self.classifier.weight.double().T + self.classifier.bias.double()).squeeze(2).abs()


@dataclass(frozen=True)
class Slopes:
    """How fast harmonics turn in each frame, f64[B, T, harmonics] turns a sample.

    A phase is told once a frame, in its middle, and drawn straight between: `before` is the slope of a frame's first
    half, `after` that of its second, 0 where there is no frame to draw to.
    """

    own: Tensor
    before: Tensor
    after: Tensor


class Source(nn.Module):
    """Harmonics and noise to samples."""

    def __init__(self, sizes: HiftSizes) -> None:
        super().__init__()
        self.harmonics = sizes.harmonics
        self.l_linear = nn.Linear(sizes.harmonics, 1)

    def rates(self, pitch: Tensor) -> Tensor:
        """Turns of each harmonic per sample, f64[B, T, harmonics], of pitch f64[B, T]."""
        turns = pitch.unsqueeze(2) * torch.arange(1, self.harmonics + 1) / RATE
        return turns - turns.floor()

    def phases(self, slopes: Slopes, phase: Tensor) -> Tensor:
        """Phases f64[B, T, harmonics] in turns, of the middle of each frame; `phase` f64[B, harmonics] before them."""
        total = phase.unsqueeze(1) + torch.cumsum(slopes.own * FRAME, 1)
        return total - total.floor()

    def forward(self, pitch: Tensor, slopes: Slopes, phases: Tensor, noise: Tensor) -> Tensor:
        """Samples f32[B, T, n] of pitch f64[B, T]; `noise` f32[B, T, n, harmonics], the first n samples of a frame."""
        samples = noise.shape[2]
        apart = (torch.arange(samples, dtype=torch.float64) + (0.5 - FRAME / 2)).view(1, 1, -1, 1)
        slope = torch.where(apart < 0, slopes.before.unsqueeze(2), slopes.after.unsqueeze(2))
        turns = phases.unsqueeze(2) + apart * slope
        waves = _LOUDNESS * torch.sin((turns - turns.floor()).float() * (2 * torch.pi))
        voiced = (pitch > _VOICED_HZ)[:, :, None, None]
        heard = torch.where(voiced, waves + _VOICED_NOISE * noise, _UNVOICED_NOISE * noise)
        return torch.tanh(self.l_linear(heard)).squeeze(3)

    def whole(self, pitch: Tensor, noise: Tensor, phase: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        """Samples f32[B, T, 480] and phases f64[B, T, harmonics] of all frames.

        `phase` f64[B, harmonics] is that before frame `at` i64[B].
        """
        own = self.rates(pitch)
        nothing = torch.zeros_like(own[:, :1])
        slopes = Slopes(own, torch.cat([nothing, own[:, 1:]], 1), torch.cat([own[:, 1:], nothing], 1))
        total = torch.cumsum(own * FRAME, 1)
        earlier = torch.cat([nothing, total], 1).gather(1, _rows(at, own.shape[2])).squeeze(1)
        phases = self.phases(slopes, phase - earlier)
        return self(pitch, slopes, phases, noise), phases


def _rows(at: Tensor, width: int) -> Tensor:
    return at.view(-1, 1, 1).expand(-1, 1, width)


def _causal(width: int) -> DoubleConv:
    return DoubleConv(width, width, _KERNEL)


def _symmetric(inputs: int, outputs: int) -> DoubleConv:
    return DoubleConv(inputs, outputs, _KERNEL, future=_KERNEL // 2)


def _elu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.exp(torch.where(x > 0, 0.0, x)) - 1)
