"""A small Whisper to be trained from nothing: its sizes."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from models.careless_whisper.config import Dims
from models.careless_whisper.model import Attention, Whisper

_LOUDER = 2.5
_SHARPNESS = 0.9


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model trained from nothing; heads are 64 wide, as Whisper's are."""

    width: int = 192
    layers: int = 5
    text_layers: int = 2
    mels: int = 80

    def dims(self, vocabulary: int) -> Dims:
        """The ten numbers of a Whisper checkpoint."""
        heads = max(1, self.width // 64)
        return Dims(
            self.mels, 1500, self.width, heads, self.layers, vocabulary, 448, self.width, heads, self.text_layers
        )


def untrained(dims: Dims) -> Whisper:
    """A model that begins as a short run can use it.

    Its first logits are small, since torch's embeddings are too large for an output tied to them; sounds weigh as much
    as positions; and all but the last layer of the encoder look at frames nearby, as a convolution would, which
    attention finds late by itself.
    """
    model = Whisper(dims)
    nn.init.normal_(model.decoder.token_embedding.weight, std=0.02)
    with torch.no_grad():
        model.encoder.conv1.weight *= _LOUDER
        model.encoder.conv2.weight *= _LOUDER
        for depth, block in enumerate(model.encoder.blocks[:-1]):
            _look_nearby(block.attn, 2**depth + 1)
    return model


def _look_nearby(attention: Attention, reach: int) -> None:
    """Let heads look `reach` frames back, at their own frame and `reach` frames ahead, by the sinusoids of positions.

    The sum over frequencies w of cos w (t - s - offset) is largest at its offset, and is a product of sines and cosines
    of t by turned ones of s.
    """
    width, heads = attention.query.in_features, attention.heads
    count = min(width // heads, width) // 2
    rates = torch.exp(-math.log(10_000) / (width // 2 - 1) * torch.arange(count))
    sines, cosines = torch.arange(count), width // 2 + torch.arange(count)
    for head in range(heads):
        turn = rates * reach * (head % 3 - 1)
        query, key = (p.weight[head * 2 * count : (head + 1) * 2 * count] for p in (attention.query, attention.key))
        query[sines, sines] += _SHARPNESS
        query[count + sines, cosines] += _SHARPNESS
        key[sines, sines] += _SHARPNESS * turn.cos()
        key[sines, cosines] -= _SHARPNESS * turn.sin()
        key[count + sines, cosines] += _SHARPNESS * turn.cos()
        key[count + sines, sines] += _SHARPNESS * turn.sin()
