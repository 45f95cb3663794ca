"""Log-mel of the voice: 80 bands up to 12 kHz, windows of 80 ms around the middle of each frame."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.mel_filters import slaney_filters
from models.common.spectra import powers
from models.flow_tts.config import FRAME, MELS, RATE

WINDOW = 4 * FRAME
FLOOR = 1e-5


class LogMel(nn.Module):
    """Natural log of mel magnitudes, at least `FLOOR`; row t is centred on sample 480 t + 240."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("filters", filters(), persistent=False)

    @torch.no_grad()
    def forward(self, samples: Tensor) -> Tensor:
        """Whole frames f32[B, T * FRAME] in [-1, 1] to f32[B, T, MELS]."""
        shifted = functional.pad(samples, (0, FRAME))[:, FRAME // 2 :]
        magnitudes = (powers(shifted, self.window, FRAME)[:, : samples.shape[1] // FRAME] + 1e-9).sqrt()
        return torch.log((magnitudes @ self.filters).clamp_min(FLOOR))


def filters() -> Tensor:
    """Mel filters f32[WINDOW / 2 + 1, MELS] up to half the sample rate."""
    bins = np.arange(WINDOW // 2 + 1) * (RATE / WINDOW)
    return torch.from_numpy(slaney_filters(bins, MELS, RATE / 2)).float()
