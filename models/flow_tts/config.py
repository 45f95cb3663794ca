"""Sizes of the voice, and what a frame is."""

from dataclasses import dataclass

RATE = 24_000
FRAME = 480
"""Samples of a frame: 50 in a second, as in CosyVoice."""
MELS = 80
HALVES = 2
"""Pitch is told for each half of a frame."""
FEATURES = MELS + HALVES
"""Columns of a frame between the graphs: the normalised log-mel, then the pitch of the halves."""
TEMPERATURE = 0.4
"""Deviation of the noise that the flow begins from, where 1 is that of training: chosen on the tuning split."""
PITCH_STEPS = 16
"""Pitch is a whole number of sixteenths of a hertz, 0 where there is no voice, so that phases add up exactly."""


@dataclass(frozen=True)
class VocoderConfig:
    """The vocoder: causal ConvNeXt blocks over frames, then filters for each half of a frame."""

    width: int = 256
    inner: int = 768
    kernel: int = 7
    blocks: int = 6
    enter: int = 5


@dataclass(frozen=True)
class FlowConfig:
    """The flow: causal dilated ConvNeXt blocks with the time of the ODE as a gain and a shift."""

    width: int = 192
    inner: int = 576
    kernel: int = 7
    dilations: tuple[int, ...] = (1, 2, 4, 1, 2, 4)
    steps: int = 6


@dataclass(frozen=True)
class TextConfig:
    """The text encoder: transformer layers over the symbols of a piece, then durations and the mean of each frame."""

    symbols: int
    width: int = 192
    inner: int = 768
    layers: int = 4
    heads: int = 2
    kernel: int = 5
