"""The graph `listen`: PCM to normalised mel rows, kept in a ring.

A chunk of g frames and 200 samples beyond it makes rows 2 o to 2 (o + g) of the stream, o frames after its begin. The
first of them, which is the last one of the chunk before, keeps the value that it had then.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.careless_whisper.features import HALF, HOP, WhisperMel, normalise
from models.common.slots import CellRows, Rows, State, Update

LOOK_AHEAD = HALF
"""Samples of a chunk that lie beyond its frames."""
# Louder than any PCM, whatever its scale; what is not a number or not finite is silence. An infinity in the ring would
# reach the next stream of the slot, through weights of zero.
_LOUDEST_SAMPLE = 1e6


class Listen(nn.Module):
    """`pcm` f32[B, hop + 200] to `heard` i64[B], the mel rows of the stream so far."""

    def __init__(self, mels: int, ring: int) -> None:
        super().__init__()
        self.mel = WhisperMel(mels)
        self.ring = ring

    def forward(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """Take one chunk and the rows of `Sizes.listener()`."""
        pcm, heard = inputs["pcm"], state["mel_rows"]
        pcm = torch.where(pcm.abs() <= _LOUDEST_SAMPLE, pcm, 0.0)
        fresh = heard == 0
        before = torch.where(fresh[:, None], pcm[:, 1 : HALF + 1].flip(1), state["samples"])
        log_mel = self.mel.rows(torch.cat([before, pcm], 1), (pcm.shape[1] - LOOK_AHEAD) // HOP + 1)
        loudest = state["loudest"].maximum(log_mel.amax((1, 2)))
        index = ((heard - 1).clamp(min=0)[:, None] + torch.arange(log_mel.shape[1])) % self.ring
        rows = normalise(log_mel, loudest)
        kept = state["mel"].take(index[:, :1])
        rows = torch.cat([torch.where(fresh[:, None, None], rows[:, :1], kept), rows[:, 1:]], 1)
        heard = index_after(heard, log_mel.shape[1])
        updates = {"samples": pcm[:, -LOOK_AHEAD - HALF : -LOOK_AHEAD], "loudest": loudest, "mel_rows": heard}
        return {"heard": heard}, {**updates, "mel": CellRows(rows, (index,))}


def index_after(heard: Tensor, rows: int) -> Tensor:
    """Count rows i64[B] after a call of `rows` rows, the first of which is known but for the first call."""
    return (heard - 1).clamp(min=0) + rows
