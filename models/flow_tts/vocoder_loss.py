"""How far the vocoder's samples are from the recording: spectra at several resolutions and a mel distance."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.common.spectra import powers
from models.flow_tts.mel import FLOOR, WINDOW, filters

LENGTHS = (128, 256, 512, 1024, 2048)
ENVELOPES = (128, 256, 512)
"""Those too short to tell one harmonic from the next: an adversary judges what is finer."""
_LOG_FLOOR = 1e-4


class SpectralLoss(nn.Module):
    """L1 of log magnitudes and of their square roots.

    Noise is never the recording's: an L2 would want it quieter than it is, the median of a logarithm does not.
    """

    def __init__(self, lengths: Sequence[int] = LENGTHS) -> None:
        super().__init__()
        self.lengths = tuple(lengths)
        for length in self.lengths:
            window = torch.hann_window(length)
            self.register_buffer(f"window{length}", window / window.square().sum().sqrt(), persistent=False)

    def forward(self, samples: Tensor, original: Tensor) -> dict[str, Tensor]:
        """Means over all resolutions of f32[B, n] against f32[B, n]: parts `log` and `root`."""
        logs, roots = [], []
        for length in self.lengths:
            one, other = self._magnitudes(samples, length), self._magnitudes(original, length)
            logs.append(((one + _LOG_FLOOR).log() - (other + _LOG_FLOOR).log()).abs().mean())
            roots.append((one.sqrt() - other.sqrt()).abs().mean())
        return {"log": torch.stack(logs).mean(), "root": torch.stack(roots).mean()}

    def _magnitudes(self, samples: Tensor, length: int) -> Tensor:
        return (powers(samples, getattr(self, f"window{length}"), length // 4) + 1e-10).sqrt()


class MelLoss(nn.Module):
    """L1 of the voice's own log-mel, every quarter of a frame."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("filters", filters(), persistent=False)

    def forward(self, samples: Tensor, original: Tensor) -> Tensor:
        """Return f32[] of f32[B, n] against f32[B, n]."""
        return (self._mel(samples) - self._mel(original)).abs().mean()

    def _mel(self, samples: Tensor) -> Tensor:
        magnitudes = (powers(samples, self.window, WINDOW // 8) + 1e-9).sqrt()
        return (magnitudes @ self.filters).clamp_min(FLOOR).log()
