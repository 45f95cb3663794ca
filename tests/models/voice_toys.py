"""Small voices with random weights, loud enough to tell one from another."""

from __future__ import annotations

import torch

from models.flow_tts.config import MELS, FlowConfig, TextConfig, VocoderConfig
from models.flow_tts.symbols import SYMBOLS
from models.flow_tts.vocoder import Vocoder
from models.flow_tts.voice import Voice

# More threads than one only wait for each other at these sizes.
torch.set_num_threads(1)

FLOW = FlowConfig(width=32, inner=48, kernel=3, dilations=(1, 2), steps=3)
TEXT = TextConfig(len(SYMBOLS), width=32, inner=48, layers=2, heads=2, kernel=3)
VOCODER = VocoderConfig(width=32, inner=48, kernel=3, blocks=2, enter=3)


def toy_voice(seed: int = 0) -> Voice:
    """An acoustic model."""
    torch.manual_seed(seed)
    model = Voice(TEXT, FLOW)
    _shake(model)
    return model.eval()


def toy_vocoder(seed: int = 0) -> Vocoder:
    """A vocoder whose output is about as loud as speech."""
    torch.manual_seed(seed)
    model = Vocoder(VOCODER)
    _shake(model)
    with torch.no_grad():
        model.filters.weight.mul_(0.3)
        model.filters.bias.fill_(-1.0)
    return model.eval()


def mels(frames: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    """Normalised mels f32[B, T, MELS]."""
    return torch.randn(batch, frames, MELS, generator=torch.Generator().manual_seed(seed))


def pitches(frames: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    """Pitch i64[B, T, HALVES] from 80 to 350 Hz, some frames without a voice."""
    rng = torch.Generator().manual_seed(seed)
    drawn = torch.randint(80 * 16, 350 * 16, (batch, frames, 2), generator=rng)
    return drawn * (torch.rand(batch, frames, 1, generator=rng) < 0.7)


def normal(frames: int, width: int, batch: int = 1, seed: int = 1) -> torch.Tensor:
    """Noise f32[B, T, width]."""
    return torch.randn(batch, frames, width, generator=torch.Generator().manual_seed(seed))


def _shake(model: torch.nn.Module) -> None:
    """Gains and gates that training would have moved from zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
