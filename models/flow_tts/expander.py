"""From symbols to frames: each symbol repeated as often as it lasts, then pitch and the mean of the mel.

The whole piece is known at once, so nothing here is causal. Pitch is decided here, once per piece: were it read from
the streamed mel, rounding would move phases with the size of chunks.
"""

import torch
from torch import Tensor, nn

from models.common.frame_layers import Block
from models.flow_tts.config import HALVES, MELS, PITCH_STEPS
from models.flow_tts.text_encoder import kept
from models.flow_tts.vocoder import pitch_features

WIDTH, INNER, KERNEL = 256, 768, 7
REFERENCE_HZ = 200.0


class Expander(nn.Module):
    """Symbols by frames f32[B, T, width] to pitch, and with the pitch to the mean of the normalised mel."""

    def __init__(self, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.enter = nn.Linear(width + 2, WIDTH)
        self.melody = nn.ModuleList(_block() for _ in range(2))
        self.pitch = nn.Linear(WIDTH, 2 * HALVES)
        self.sung = nn.Linear(2 * HALVES, WIDTH)
        self.blocks = nn.ModuleList(_block() for _ in range(4))
        self.norm = nn.LayerNorm(WIDTH)
        self.leave = nn.Linear(WIDTH, MELS)
        self.dropout = nn.Dropout(dropout)

    def melody_of(self, repeated: Tensor, place: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return a hidden signal and the melody f32[B, T, 2 * HALVES]: logits of voice, then octaves above 200 Hz.

        `repeated` f32[B, T, width] are the encoded symbols of frames, `place` f32[B, T, 2] where in its symbol a frame
        is, from 0 to 1, and the log of the symbol's frames.
        """
        entered = kept(self.enter(torch.cat([repeated, place], 2)), mask)
        x = entered
        for block in self.melody:
            x = kept(block(x), mask)
        return entered, self.pitch(self.dropout(x))

    def mean(self, entered: Tensor, pitch: Tensor, mask: Tensor | None = None) -> Tensor:
        """The mean f32[B, T, MELS] of the hidden signal under the pitch i64[B, T, HALVES]."""
        x = kept(self.dropout(entered) + self.sung(pitch_features(pitch)), mask)
        for block in self.blocks:
            x = kept(block(x), mask)
        return self.leave(self.norm(x))

    def forward(self, repeated: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """The mean f32[B, T, MELS] and pitch i64[B, T, HALVES] of whole pieces."""
        entered, melody = self.melody_of(repeated, place)
        pitch = quantised(melody)
        return self.mean(entered, pitch), pitch


def quantised(melody: Tensor) -> Tensor:
    """Pitch i64[B, T, HALVES] in whole steps, 0 without a voice, of a melody f32[B, T, 2 * HALVES]."""
    voiced, octaves = melody.float().chunk(2, 2)
    steps = torch.round(torch.exp2(octaves.clamp(-2, 1)) * (REFERENCE_HZ * PITCH_STEPS))
    return torch.where(voiced > 0, steps, torch.zeros_like(steps)).to(torch.int64)


def places(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Source i64[T] and place f32[T, 2] of frames per symbol i64[P]; the server computes the same."""
    source = torch.repeat_interleave(torch.arange(len(frames)), frames)
    begins = torch.cumsum(frames, 0) - frames
    within = torch.arange(len(source)) - begins[source]
    lasts = frames[source].float()
    return source, torch.stack([(within + 0.5) / lasts, lasts.log()], 1)


def _block() -> Block:
    return Block(WIDTH, INNER, KERNEL, "gelu", response_norm=False, causal=False)
