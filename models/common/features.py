"""Log-mel front end as two matrix products, the same module in training, export and serving."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SAMPLE_RATE = 16_000
HOP = 160
WINDOW = 400
CARRY = WINDOW - HOP
DFT = 512
MELS = 80
FLOOR = 1e-6
_PIECE = math.gcd(HOP, WINDOW)


def mel_filters(mels: int = MELS, low_hz: float = 20.0, high_hz: float = 7600.0) -> Tensor:
    """Triangular filters f32[DFT / 2 + 1, mels], equally spaced on the HTK mel scale."""
    low, high = (1127 * math.log1p(hz / 700) for hz in (low_hz, high_hz))
    edges = 700 * torch.expm1(torch.linspace(low, high, mels + 2, dtype=torch.float64) / 1127)
    bins = torch.arange(DFT // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / DFT
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rise, fall).clamp(min=0).T.float().contiguous()


def dft_basis() -> Tensor:
    """Hann-windowed cosines and sines f32[WINDOW, DFT + 2] of a zero-padded real DFT."""
    time = torch.arange(WINDOW, dtype=torch.float64)
    bins = torch.arange(DFT // 2 + 1, dtype=torch.float64)
    angle = 2 * math.pi * time[:, None] * bins / DFT
    window = torch.hann_window(WINDOW, dtype=torch.float64)[:, None]
    return torch.cat([torch.cos(angle) * window, -torch.sin(angle) * window], 1).float()


class LogMel(nn.Module):
    """Natural log of mel power; frame t sees samples [160 t - 240, 160 t + 160): strictly causal."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("basis", dft_basis(), persistent=False)
        self.register_buffer("filters", mel_filters(), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Whole signal f32[B, n] in [-1, 1] to log-mel f32[B, n // HOP, MELS]."""
        return self.step(samples, samples.new_zeros(samples.shape[0], CARRY))[0]

    def step(self, samples: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        """Chunk f32[B, T * HOP] and carry f32[B, CARRY] to (f32[B, T, MELS], new carry)."""
        signal = torch.cat([carry, samples], 1)
        real, imaginary = (_frames(signal) @ self.basis).chunk(2, -1)
        power = (real * real + imaginary * imaginary) @ self.filters
        return torch.log(power + FLOOR), signal[:, -CARRY:]


def _frames(signal: Tensor) -> Tensor:
    """Cut f32[B, CARRY + T * HOP] into overlapping windows f32[B, T, WINDOW] by slices alone."""
    batch, frames = signal.shape[0], (signal.shape[1] - CARRY) // HOP
    padded = functional.pad(signal, (0, _PIECE))
    pieces = [
        padded[:, start : start + frames * HOP].reshape(batch, frames, HOP)[:, :, :_PIECE]
        for start in range(0, WINDOW, _PIECE)
    ]
    return torch.cat(pieces, 2)
