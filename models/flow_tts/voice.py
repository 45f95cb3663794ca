"""The acoustic model: symbols to mel. Its parts are exported as graphs of their own."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.flow_tts.bundle_weights import acoustic_weights, begin_from
from models.flow_tts.config import TEMPERATURE, FlowConfig, TextConfig
from models.flow_tts.expander import Expander, places
from models.flow_tts.flow import Flow
from models.flow_tts.symbols import SYMBOLS
from models.flow_tts.text_encoder import TextEncoder

# A symbol of fewer frames than this, on the scale of logarithms, has none.
LEAST_FRAMES = 0.5


class Voice(nn.Module):
    """Text encoder, expander and flow."""

    def __init__(self, text: TextConfig, flow: FlowConfig) -> None:
        super().__init__()
        self.encoder = TextEncoder(text)
        self.expander = Expander(text.width)
        self.flow = Flow(flow)

    def plain_config(self) -> dict[str, Any]:
        """The sizes, as a checkpoint holds them."""
        return {"text": asdict(self.encoder.config), "flow": asdict(self.flow.estimator.config)}

    @torch.no_grad()
    def speak(
        self,
        symbols: Tensor,
        seed: int = 0,
        temperature: float = TEMPERATURE,
        speed: float = 1.0,
        with_flow: bool = True,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Normalised mel f32[1, T, MELS] and pitch i64[1, T, HALVES] of one piece i64[P]."""
        encoded, logs = self.encoder(symbols[None])
        frames = frame_counts(logs[0], speed)
        source, place = places(frames)
        mean, pitch = self.expander(encoded[:, source], place[None])
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed)) * temperature
        return (self.flow(mean, pitch, noise) if with_flow else mean), pitch


def frame_counts(logs: Tensor, speed: float = 1.0) -> Tensor:
    """Whole frames i64[P] of log durations f32[P]."""
    lasts = logs.exp() / speed
    return torch.where(logs.exp() < LEAST_FRAMES, torch.zeros_like(lasts), lasts.clamp_min(1)).round().to(torch.int64)


def load(path: Path) -> Voice:
    """Read the averaged weights of a checkpoint, or those of the folder of a bundle."""
    if path.is_dir():
        voice = Voice(TextConfig(len(SYMBOLS)), FlowConfig())
        begin_from(voice, acoustic_weights(path))
        return voice.eval()
    saved = torch.load(path, weights_only=True, map_location="cpu")
    text, flow = saved["config"]["text"], saved["config"]["flow"]
    voice = Voice(TextConfig(**text), FlowConfig(**flow | {"dilations": tuple(flow["dilations"])}))
    voice.load_state_dict(voice.state_dict() | saved["average"])
    return voice.eval()
