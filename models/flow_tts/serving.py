"""The voice as pure steps over rows, as the bundle holds them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.common.slots import Rows, State, StateSpec, Update
from models.flow_tts.config import FEATURES, MELS
from models.flow_tts.expander import Expander
from models.flow_tts.flow import Flow
from models.flow_tts.grain import Grain
from models.flow_tts.text_encoder import TextEncoder
from models.flow_tts.vocoder import Vocoder

Stepped = tuple[Rows, Mapping[str, Update]]


class TextStep(nn.Module):
    """`text_encode`: all symbols of a piece, no state."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, inputs: Rows, state: State) -> Stepped:
        """Map `symbols` i64[B, P] to `encoded` f32[B, P, width] and `log_durations` f32[B, P]."""
        encoded, logs = self.encoder(inputs["symbols"])
        return {"encoded": encoded, "log_durations": logs}, {}


class ExpandStep(nn.Module):
    """`expand`: all frames of a piece, no state."""

    def __init__(self, expander: Expander) -> None:
        super().__init__()
        self.expander = expander

    def forward(self, inputs: Rows, state: State) -> Stepped:
        """Map `encoded`, `source` i64[B, T] and `place` f32[B, T, 2] to `prior` f32[B, T, FEATURES]."""
        encoded, source = inputs["encoded"], inputs["source"]
        repeated = encoded.gather(1, source.unsqueeze(2).expand(-1, -1, encoded.shape[2]))
        mean, pitch = self.expander(repeated, inputs["place"])
        return {"prior": torch.cat([mean, pitch.float()], 2)}, {}


class FlowStep(nn.Module):
    """`flow_step`: some frames, all Euler steps, and their grain if there is one; the pitch passes through."""

    def __init__(self, flow: Flow, grain: Grain | None = None) -> None:
        super().__init__()
        self.flow, self.grain = flow, grain

    def forward(self, inputs: Rows, state: State) -> Stepped:
        """Map `prior` f32[B, T, FEATURES] and `noise` f32[B, T, flow_noise(grain)] to `mel` f32[B, T, FEATURES]."""
        prior, cache = inputs["prior"], state["flow_cache"]
        assert isinstance(cache, Tensor)
        pitch, noise = prior[:, :, MELS:], inputs["noise"]
        mel, after = self.flow.step(prior[:, :, :MELS], pitch.to(torch.int64), noise[:, :, :MELS], cache)
        updates: dict[str, Update] = {"flow_cache": after}
        if self.grain is not None:
            past = state["grain_cache"]
            assert isinstance(past, Tensor)
            rough, heard = self.grain.step(noise[:, :, MELS:], past)
            mel, updates = mel + rough, updates | {"grain_cache": heard}
        return {"mel": torch.cat([mel, pitch], 2)}, updates


class VocoderStep(nn.Module):
    """`vocoder_step`: some frames to samples."""

    def __init__(self, vocoder: Vocoder) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(self, inputs: Rows, state: State) -> Stepped:
        """Map `mel` f32[B, T, FEATURES] and `noise` f32[B, T, FRAME] to `pcm` f32[B, T, FRAME]."""
        features, cache, phase = inputs["mel"], state["vocoder_cache"], state["phase"]
        assert isinstance(cache, Tensor)
        assert isinstance(phase, Tensor)
        samples, after, turned = self.vocoder.step(
            features[:, :, :MELS], features[:, :, MELS:].to(torch.int64), inputs["noise"], cache, phase[:, 0]
        )
        pcm = samples.clamp(-1, 1)
        return {"pcm": pcm}, {"vocoder_cache": after, "phase": turned[:, None]}


def flow_noise(grain: Grain | None) -> int:
    """Numbers of noise that a frame of `flow_step` takes: what the flow begins from, then what the grain is made of."""
    return MELS if grain is None else 2 * MELS


def flow_states(flow: Flow, grain: Grain | None = None) -> list[StateSpec]:
    """The caches of all Euler steps, and the frames of noise that the grain keeps."""
    estimator = flow.estimator
    states = [StateSpec("flow_cache", (estimator.config.steps, estimator.caches.size), group="flow")]
    return states if grain is None else [*states, StateSpec("grain_cache", (grain.past, MELS), group="flow")]


def vocoder_states(vocoder: Vocoder) -> list[StateSpec]:
    """The caches of layers, windows and overlap, and where in a pulse the voice is."""
    return [
        StateSpec("vocoder_cache", (vocoder.caches.size,), group="vocoder"),
        StateSpec("phase", (1,), torch.int64, group="vocoder"),
    ]


def example(name: str, batch: int, frames: int, symbols: int, width: int, seed: int = 0) -> Tensor:
    """Example rows of an input of the graphs, the same every time."""
    rng = torch.Generator().manual_seed(seed)
    if name == "symbols":
        return torch.randint(1, 100, (batch, symbols), generator=rng)
    if name == "source":
        return torch.arange(frames).mul(symbols).div(frames, rounding_mode="floor").expand(batch, -1).contiguous()
    if name == "place":
        return torch.rand(batch, frames, 2, generator=rng)
    widths = {"encoded": width, "prior": FEATURES, "mel": FEATURES}
    rows = torch.randn(batch, frames if name != "encoded" else symbols, widths.get(name, 0), generator=rng)
    if name in ("prior", "mel"):
        rows[:, :, MELS:] = torch.randint(0, 3200, (batch, frames, FEATURES - MELS), generator=rng).float()
    return rows


def noise(width: int, batch: int, frames: int, seed: int = 0) -> Tensor:
    """Standard normal f32[B, T, width] for examples."""
    return torch.randn(batch, frames, width, generator=torch.Generator().manual_seed(seed))
