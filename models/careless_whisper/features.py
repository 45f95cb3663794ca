"""Whisper's log-mel front end as matrix products, whole or chunk by chunk.

16 kHz, periodic Hann window of 400 samples every 160, row m centred on sample 160 m, power, Slaney mel filters, log10.
What follows depends on loudness: rows are clamped to 8 below the largest value, which is that of the whole clip offline
and the largest so far in a stream, then brought to about [-1, 1].

Products are summed in float64. A quiet band beside a loud one is a small difference of large sums, and in float32 it is
wrong by up to 1e-4 (openai-whisper: 5e-5) and differs from batch to batch.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SAMPLE_RATE = 16_000
HOP = 160
WINDOW = 400
HALF = WINDOW // 2
FLOOR = 1e-10
SILENT = math.log10(FLOOR)
"""The log10 power of digital silence: no row is lower."""
RANGE = 8.0
_PIECE = math.gcd(HOP, WINDOW)
_MEL_TOP = 15 + 27 * math.log(8) / math.log(6.4)
"""Slaney's mel of 8000 Hz."""


class WhisperMel(nn.Module):
    """Log10 of mel power, f32[B, rows, mels], not yet normalised."""

    def __init__(self, mels: int = 80) -> None:
        super().__init__()
        cosines, sines = _dft_basis()
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)
        self.register_buffer("filters", mel_filters(mels), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Whole clip f32[B, n] in [-1, 1] to n // 160 rows; both ends are mirrored."""
        rows = samples.shape[1] // HOP
        padded = functional.pad(samples[:, None], (HALF, HALF), mode="reflect")[:, 0]
        return self.rows(padded, rows)

    def rows(self, samples: Tensor, count: int) -> Tensor:
        """The first `count` rows of f32[B, n]: row m sees samples 160 m to 160 m + 399."""
        frames = _frames(samples, count).double()
        # The window is even about its middle and its first weight is 0, so a cosine or sine needs half of the sums.
        before, after = frames[..., 1 : HALF + 1], frames[..., HALF:].flip(-1)
        real, imaginary = (before + after) @ self.cosines, (before - after) @ self.sines
        power = (real * real + imaginary * imaginary) @ self.filters
        return torch.log10(power.clamp(min=FLOOR)).float()


def mel_filters(mels: int) -> Tensor:
    """Slaney's triangles of unit area f64[201, mels] from 0 to 8000 Hz (Auditory Toolbox, as in librosa)."""
    edges = _hertz(torch.linspace(0, _MEL_TOP, mels + 2, dtype=torch.float64))
    below, centre, above = edges[:-2], edges[1:-1], edges[2:]
    hertz = torch.arange(HALF + 1, dtype=torch.float64)[:, None] * (SAMPLE_RATE / WINDOW)
    rising, falling = (hertz - below) / (centre - below), (above - hertz) / (above - centre)
    return torch.minimum(rising, falling).clamp(min=0) * 2 / (above - below)


def normalise(log_mel: Tensor, loudest: Tensor) -> Tensor:
    """Clamp rows f32[B, rows, mels] to 8 below `loudest` f32[B] or f32[B, rows], and scale them."""
    limit = (loudest - RANGE).view(log_mel.shape[0], -1, 1)
    return (torch.maximum(log_mel, limit) + 4) / 4


def offline(log_mel: Tensor) -> Tensor:
    """Normalise a whole clip by its own largest value: the features of the offline model, f32[B, rows, mels]."""
    return normalise(log_mel, log_mel.amax((1, 2)))


def running(log_mel: Tensor, call_rows: int) -> Tensor:
    """Normalise as a stream does that computes `call_rows` rows a call: by the largest value so far, call included.

    The first call has one row more: row 0, and then row 1 to `call_rows`.
    """
    peak = functional.pad(log_mel.amax(2), (call_rows - 1, -log_mel.shape[1] % call_rows), value=SILENT)
    # Row 0 belongs to the first call: calls end with rows call_rows, 2 call_rows, ...
    calls = functional.pad(peak, (0, call_rows), value=SILENT).unfold(1, call_rows, call_rows).amax(2)
    index = (torch.arange(log_mel.shape[1], device=log_mel.device) + call_rows - 1) // call_rows
    calls = torch.cat([calls[:, :1].maximum(calls[:, 1:2]), calls[:, 1:]], 1).cummax(1).values
    return normalise(log_mel, calls[:, index])


def _hertz(mel: Tensor) -> Tensor:
    """Slaney's scale: 15 mel per 1000 Hz up to there, then 27 per factor of 6.4."""
    return torch.where(mel < 15, mel * (1000 / 15), 1000 * torch.exp((mel - 15) * (math.log(6.4) / 27)))


def _dft_basis() -> tuple[Tensor, Tensor]:
    """Windowed cosines and sines f64[200, 201] of the samples 1 to 200 of a window; the last is its own mirror."""
    time = torch.arange(1, HALF + 1, dtype=torch.float64)
    angle = 2 * math.pi * time[:, None] * torch.arange(HALF + 1, dtype=torch.float64) / WINDOW
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * time / WINDOW)
    window[-1] /= 2
    return angle.cos() * window[:, None], angle.sin() * window[:, None]


def _frames(samples: Tensor, count: int) -> Tensor:
    """Overlapping windows f32[B, count, WINDOW] by slices alone, which ONNX has no better way for."""
    batch = samples.shape[0]
    padded = functional.pad(samples, (0, _PIECE))
    pieces = [
        padded[:, start : start + count * HOP].reshape(batch, count, HOP)[:, :, :_PIECE]
        for start in range(0, WINDOW, _PIECE)
    ]
    return torch.cat(pieces, 2)
