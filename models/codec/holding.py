"""What a decoder hears of frames that were not sent, for codecs that have learned nothing about losses.

A lost frame holds the last latent and lets it decay towards the latent of silence; a silent frame is that latent.
"""

import math

import torch
from torch import Tensor, nn

from models.codec.config import LOST, SILENT

# Per 20 ms; after a tenth of a second a third is left, after a second nothing to speak of.
_DECAY, _DECAY_SECONDS = 0.8, 0.02
# Counts of lost frames are kept as floats beside the other states; beyond this a frame is silent anyway.
_LONGEST = 1 << 20


class Holding(nn.Module):
    """The rule for latents f32[B, T, width] at `frame_seconds`. Its states are the last latent and the age of it."""

    def __init__(self, width: int, frame_seconds: float) -> None:
        super().__init__()
        self.sizes = (width, 1)
        self._log_decay = math.log(_DECAY) * frame_seconds / _DECAY_SECONDS
        self.register_buffer("silence", torch.zeros(width))

    def step(self, latent: Tensor, kind: Tensor, last: Tensor, age: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Replace what was not sent, by `kind` i64[B, T]; `last` f32[B, width] less silence, `age` f32[B, 1] frames.

        Returns the latents, and the states after the chunk.
        """
        apart = torch.where((kind == SILENT).unsqueeze(2), 0.0, latent - self.silence)
        frame = torch.arange(kind.shape[1]) + 1
        # For each frame the latest that was sent, counted from 1; 0 is the last of the chunk before.
        sent = torch.where(kind == LOST, 0, frame)
        latest = torch.where(frame[:, None] >= frame, sent.unsqueeze(1), 0).amax(2)
        known = torch.cat([last.unsqueeze(1), apart], 1)
        held = known.gather(1, latest.unsqueeze(2).expand(-1, -1, known.shape[2]))
        ages = frame - latest + torch.where(latest == 0, age, 0.0)
        faded = held * torch.exp(ages * self._log_decay).unsqueeze(2)
        return self.silence + faded, held[:, -1], ages[:, -1:].clamp(max=_LONGEST)
