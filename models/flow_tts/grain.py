"""What a mel has beside what can be foretold: bands of noise-like sound fluctuate at random.

A band's energy in one window of noise is a sum of few random numbers, so its logarithm moves from band to band and, as
windows overlap, slowly from frame to frame. A flow that begins from little noise makes smooth bands instead, and a
vocoder that was taught by recordings makes dull sound of them. Here noise of the same deviation and of about the same
correlation in time is added to the bands.
"""

import torch
from torch import Tensor

from models.common.frame_layers import Windowed
from models.flow_tts.config import MELS, TEMPERATURE

_DECAY, _TAPS = 0.8, 8
"""Each frame has this share of the one before, as recordings have it; after so many frames there is nothing of it."""


class Grain(Windowed):
    """Noise f32[B, T, MELS] of the deviation `TEMPERATURE` to fluctuations of `deviation` f32[MELS], causal."""

    def __init__(self, deviation: Tensor) -> None:
        super().__init__(_TAPS, MELS, causal=True)
        taps = _DECAY ** torch.arange(_TAPS).flip(0)
        self.register_buffer("taps", taps / taps.square().sum().sqrt())
        self.register_buffer("gain", deviation / TEMPERATURE)

    def mix(self, padded: Tensor) -> Tensor:
        """Map f32[B, past + T, MELS] to f32[B, T, MELS]."""
        frames = padded.shape[1] - self.past
        windows = [padded[:, tap : tap + frames] * self.taps[tap] for tap in range(_TAPS)]
        return torch.stack(windows).sum(0) * self.gain
