"""Log-mel front end as two matrix products, the same module in training, export and serving.

The rows are those of Kaldi's filterbank as k2 and sherpa-onnx compute it online (25 ms povey window every 10 ms, DC
removal, pre-emphasis 0.97, 80 triangles on the mel scale from 20 to 7600 Hz, natural log, no dither, `snip_edges`
off), one row later: so that a chunk needs no sample after its own end, row t is Kaldi's frame t - 1, and row 0 is
silence. DC removal and pre-emphasis are linear, so they are part of the DFT's basis.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SAMPLE_RATE = 16_000
HOP = 160
WINDOW = 400
# Kaldi's frame t begins at sample 160 t - 120, so row t at 160 t - 280: these samples of the chunk before are kept.
MIRRORED = (WINDOW - HOP) // 2
CARRY = HOP + MIRRORED
DFT = 512
MELS = 80
FLOOR = 2.0**-23
PREEMPHASIS = 0.97
_PIECE = math.gcd(HOP, WINDOW)


def mel_scale(hz: float | Tensor) -> Tensor:
    """Kaldi's mel scale."""
    return 1127 * torch.log1p(torch.as_tensor(hz, dtype=torch.float64) / 700)


def mel_filters(mels: int = MELS, low_hz: float = 20.0, high_hz: float = 7600.0) -> Tensor:
    """Triangular filters f32[DFT / 2 + 1, mels], equally spaced and straight on the mel scale."""
    edges = torch.linspace(float(mel_scale(low_hz)), float(mel_scale(high_hz)), mels + 2, dtype=torch.float64)
    bins = mel_scale(torch.arange(DFT // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / DFT)
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rise, fall).clamp(min=0).T.float().contiguous()


def tilt(mels: int = MELS, low_hz: float = 20.0, high_hz: float = 7600.0) -> Tensor:
    """What pre-emphasis adds to the log power of each band: f32[mels], its response at the band's centre."""
    edges = torch.linspace(float(mel_scale(low_hz)), float(mel_scale(high_hz)), mels + 2, dtype=torch.float64)
    turn = 2 * math.pi * 700 * torch.expm1(edges[1:-1] / 1127) / SAMPLE_RATE
    return torch.log(1 - 2 * PREEMPHASIS * torch.cos(turn) + PREEMPHASIS**2).float()


def dft_basis() -> Tensor:
    """DC removal, pre-emphasis, povey window and a zero-padded real DFT as one matrix f32[WINDOW, DFT + 2]."""
    time = torch.arange(WINDOW, dtype=torch.float64)
    angle = 2 * math.pi * time[:, None] * torch.arange(DFT // 2 + 1, dtype=torch.float64) / DFT
    window = (0.5 - 0.5 * torch.cos(2 * math.pi * time / (WINDOW - 1))) ** 0.85
    fourier = torch.cat([torch.cos(angle), -torch.sin(angle)], 1) * window[:, None]
    eye = torch.eye(WINDOW, dtype=torch.float64)
    # Before the first sample stands the first sample.
    before = torch.cat([eye[:1], eye[:-1]])
    return ((eye - 1 / WINDOW) @ (eye - PREEMPHASIS * before).T @ fourier).float()


class LogMel(nn.Module):
    """Natural log of mel power; row t sees samples [160 t - 280, 160 t + 120): strictly causal."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("basis", dft_basis(), persistent=False)
        self.register_buffer("filters", mel_filters(), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Whole signal f32[B, n] in [-1, 1] to log-mel f32[B, n // HOP, MELS]."""
        fresh = torch.ones(samples.shape[0], dtype=torch.bool, device=samples.device)
        return self.step(samples, samples.new_zeros(samples.shape[0], CARRY), fresh)[0]

    def step(self, samples: Tensor, carry: Tensor, fresh: Tensor) -> tuple[Tensor, Tensor]:
        """Chunk f32[B, T * HOP] and carry f32[B, CARRY] to (f32[B, T, MELS], new carry).

        Where `fresh` bool[B], the stream begins: its first samples are mirrored before them.
        """
        mirrored = functional.pad(samples[:, :MIRRORED].flip(1), (HOP, 0))
        signal = torch.cat([torch.where(fresh[:, None], mirrored, carry), samples], 1)
        real, imaginary = (_frames(signal) @ self.basis).chunk(2, -1)
        power = (real * real + imaginary * imaginary) @ self.filters
        silent = fresh[:, None, None] & (torch.arange(power.shape[1], device=power.device) == 0)[None, :, None]
        log_mel = torch.log(power.clamp(min=FLOOR).masked_fill(silent, FLOOR))
        return log_mel, signal[:, -CARRY:]


def _frames(signal: Tensor) -> Tensor:
    """Cut f32[B, CARRY + T * HOP] into overlapping windows f32[B, T, WINDOW] by slices alone."""
    batch, frames = signal.shape[0], (signal.shape[1] - CARRY) // HOP
    padded = functional.pad(signal, (0, _PIECE))
    pieces = [
        padded[:, start : start + frames * HOP].reshape(batch, frames, HOP)[:, :, :_PIECE]
        for start in range(0, WINDOW, _PIECE)
    ]
    return torch.cat(pieces, 2)
