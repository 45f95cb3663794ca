"""The symmetric vocoder in windows: each output is made of all frames that it depends on, and of no fewer.

A convolutional network depends on so many frames to each side and no more. A window begins with the signal or that many
frames before the new ones, and ends with the signal or that many after them; within, nothing is faded or guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from models.common.slots import Rows, State, StateSpec, Update
from models.flow_tts.cosyvoice.config import FRAME, HiftSizes
from models.flow_tts.cosyvoice.hift import LEAVE, Hift
from models.flow_tts.cosyvoice.states import tensor_of

SOURCE_REACH = 6
"""Frames that the source depends on to each side: one for each convolution of the pitch, one to draw phases to."""


class SourceStep(nn.Module):
    """The source of a window of frames.

    `mel_window` f32[B, T, 80], of which `count` i64[B] from `first` i64[B] on are new; `source_noise`
    f32[B, T, 480, harmonics]. Gives `source` f32[B, T, 480], right for the new frames. Keeps their last phase.
    """

    inputs, outputs = ("mel_window", "first", "count", "source_noise"), ("source",)

    def __init__(self, hift: Hift) -> None:
        super().__init__()
        self.hift = hift

    @property
    def states(self) -> list[StateSpec]:
        """What a stream keeps."""
        return [StateSpec("source_phase", (self.hift.sizes.harmonics,), torch.float64, group="vocoder")]

    def forward(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """See the class."""
        frames = inputs["mel_window"].shape[1]
        first = inputs["first"].clamp(0, frames - 1)
        pitch = self.hift.f0_predictor(inputs["mel_window"])
        noise, phase = inputs["source_noise"], tensor_of(state, "source_phase")
        source, phases = self.hift.m_source.whole(pitch, noise, phase, first)
        last = (first + inputs["count"] - 1).clamp(0, frames - 1)
        return {"source": source}, {"source_phase": phases[torch.arange(last.shape[0]), last]}


class WindowStep(nn.Module):
    """Samples of a window: `mel_shaped` f32[B, T, 80] and `source_window` f32[B, T, 480] to `pcm` f32[B, T, 480]."""

    inputs, outputs = ("mel_shaped", "source_window"), ("pcm",)

    def __init__(self, hift: Hift) -> None:
        super().__init__()
        self.hift = hift

    @property
    def states(self) -> list[StateSpec]:
        """Nothing is kept."""
        return []

    def forward(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """See the class."""
        pcm = self.hift.shaped(inputs["mel_shaped"], inputs["source_window"])
        return {"pcm": pcm.unflatten(1, (-1, FRAME))}, {}


@dataclass(frozen=True)
class Span:
    """Indices `first` to `last` that some outputs depend on."""

    first: int
    last: int

    def wider(self, reach: int) -> "Span":
        """Both sides."""
        return Span(self.first - reach, self.last + reach)

    def moved(self, by: int) -> "Span":
        """Later."""
        return Span(self.first + by, self.last + by)

    def joined(self, other: "Span") -> "Span":
        """Both."""
        return Span(min(self.first, other.first), max(self.last, other.last))

    def strided(self, stride: int, past: int, kernel: int) -> "Span":
        """Inputs of a convolution with a stride, `past` of padding before it."""
        return Span(self.first * stride - past, self.last * stride - past + kernel - 1)

    def transposed(self, stride: int, padding: int, kernel: int) -> "Span":
        """Inputs of a transposed convolution."""
        return Span(-((kernel - 1 - padding - self.first) // stride), (self.last + padding) // stride)

    def frames(self, samples: int) -> "Span":
        """Which frames of so many samples they lie in."""
        return Span(self.first // samples, self.last // samples)


def window_reach(hift: Hift) -> int:
    """Frames to each side that the samples of a frame depend on, through the mel and through the source."""
    sizes, half = hift.sizes, hift.sizes.n_fft // 2
    # Columns whose windows reach the frame's samples.
    span = Span(-((half - 1) // sizes.hop), (FRAME - 1 + half) // sizes.hop).wider(LEAVE // 2)
    source = Span(0, 0)
    for scale in reversed(range(len(sizes.ratios))):
        span = span.wider(_block_reach(sizes, max(sizes.block_kernels)))
        down = hift.source_downs[scale]
        heard = span.wider(_block_reach(sizes, sizes.source_kernels[scale]))
        columns = heard.strided(down.stride, down.past, down.weight.shape[2])
        source = source.joined(columns.strided(sizes.hop, half, sizes.n_fft).frames(FRAME))
        # Columns of the last scale stand one later than what they were made of.
        span = span.moved(-1) if scale == len(sizes.ratios) - 1 else span
        up = hift.ups[scale]
        span = span.transposed(up.stride, up.padding, up.weight.shape[2])
    mel = span.wider(sizes.enter // 2)
    return max(-mel.first, mel.last, -source.first, source.last)


def _block_reach(sizes: HiftSizes, kernel: int) -> int:
    return sum((dilation + 1) * (kernel // 2) for dilation in sizes.dilations)
