"""Whisper's log-mel front end as two matrix products, whole or chunk by chunk.

16 kHz, periodic Hann window of 400 samples every 160, row m centred on sample 160 m, power, Slaney mel filters, log10.
What follows depends on loudness: rows are clamped to 8 below the largest value, which is that of the whole clip offline
and the largest so far in a stream, then brought to about [-1, 1].
"""

import math

import torch
import torchaudio
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


class WhisperMel(nn.Module):
    """Log10 of mel power, f32[B, rows, mels], not yet normalised."""

    def __init__(self, mels: int = 80) -> None:
        super().__init__()
        filters = torchaudio.functional.melscale_fbanks(
            WINDOW // 2 + 1, 0.0, SAMPLE_RATE / 2, mels, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("basis", _dft_basis(), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Whole clip f32[B, n] in [-1, 1] to n // 160 rows; both ends are mirrored."""
        rows = samples.shape[1] // HOP
        padded = functional.pad(samples[:, None], (HALF, HALF), mode="reflect")[:, 0]
        return self.rows(padded, rows)

    def rows(self, samples: Tensor, count: int) -> Tensor:
        """The first `count` rows of f32[B, n]: row m sees samples 160 m to 160 m + 399."""
        real, imaginary = (_frames(samples, count) @ self.basis).chunk(2, -1)
        power = (real * real + imaginary * imaginary) @ self.filters
        return torch.log10(power.clamp(min=FLOOR))


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


def _dft_basis() -> Tensor:
    time = torch.arange(WINDOW, dtype=torch.float64)
    angle = 2 * math.pi * time[:, None] * torch.arange(WINDOW // 2 + 1, dtype=torch.float64) / WINDOW
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * time / WINDOW)
    return (torch.cat([angle.cos(), -angle.sin()], 1) * window[:, None]).float()


def _frames(samples: Tensor, count: int) -> Tensor:
    """Overlapping windows f32[B, count, WINDOW] by slices alone, which ONNX has no better way for."""
    batch = samples.shape[0]
    padded = functional.pad(samples, (0, _PIECE))
    pieces = [
        padded[:, start : start + count * HOP].reshape(batch, count, HOP)[:, :, :_PIECE]
        for start in range(0, WINDOW, _PIECE)
    ]
    return torch.cat(pieces, 2)
