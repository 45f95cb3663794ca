"""The causal vocoder step by step: what its convolutions, its source and its transform keep.

A step takes T frames and the next four. Its samples are those of the whole signal, 8 samples late; beside them it says
how the signal would go on for 8 samples if it ended here.
"""

import math
from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.common.frame_layers import Caches, Whole
from models.common.slots import Rows, State, StateSpec, Update
from models.flow_tts.cosyvoice import spectra
from models.flow_tts.cosyvoice.config import FRAME, MELS
from models.flow_tts.cosyvoice.convs import Chained, Peeking, caches_of
from models.flow_tts.cosyvoice.hift import Hift, clamped
from models.flow_tts.cosyvoice.source import Slopes
from models.flow_tts.cosyvoice.states import tensor_of

GROUP = "vocoder"


class HiftStep(nn.Module):
    """The `RowStep` of a causal vocoder.

    `mel_chunk` f32[B, T, 80] and `mel_ahead` f32[B, 4, 80], of which the first `ahead_count` i64[B] are there and the
    others 0; `source_noise` f32[B, T, 480, harmonics] and, of the frame after them, `source_noise_ahead`
    f32[B, 8, harmonics]. Gives `pcm` f32[B, T, 480] from 8 samples before the chunk on, and `pcm_tail` f32[B, 8], the
    samples after those if nothing is ahead.
    """

    inputs = ("mel_chunk", "mel_ahead", "ahead_count", "source_noise", "source_noise_ahead")
    outputs = ("pcm", "pcm_tail")

    def __init__(self, hift: Hift) -> None:
        super().__init__()
        self.hift = hift
        sizes = hift.sizes
        # Half a window of samples, and columns of the spectrum that the widest stride looks back.
        self.half, self.taps = sizes.n_fft // 2, sizes.n_fft // sizes.hop
        self.columns_back = max(hift.stride(scale) for scale in range(len(sizes.ratios))) - 1
        self.bins = sizes.n_fft + 2

    @cached_property
    def pitch_caches(self) -> Caches:
        """What the pitch's convolutions keep, in double precision."""
        return caches_of(lambda runner: self.hift.f0_predictor.after(self._heard(torch.zeros(1, 5, MELS)), runner))

    @cached_property
    def caches(self) -> Caches:
        """What all other convolutions keep."""
        sizes = self.hift.sizes

        def trial(runner: Whole) -> None:
            ends = range(1, len(sizes.ratios) + 1)
            frames = [math.prod(sizes.ratios[:end]) for end in ends]
            sources = [torch.zeros(1, n, sizes.width(at)) for at, n in enumerate(frames)]
            self.hift.columns(torch.zeros(1, 1, sizes.channels), sources, lambda x: x, (runner, runner))

        return caches_of(trial)

    @property
    def states(self) -> list[StateSpec]:
        """What a stream keeps."""
        sizes = self.hift.sizes
        width = sizes.width(len(sizes.ratios) - 1)
        return [
            StateSpec("vocoder_heard", (), torch.int64, group=GROUP),
            StateSpec("vocoder_pitch", (self.pitch_caches.size,), torch.float64, group=GROUP),
            StateSpec("vocoder_phase", (sizes.harmonics,), torch.float64, group=GROUP),
            StateSpec("vocoder_source", (self.half,), group=GROUP),
            StateSpec("vocoder_spectrum", (self.columns_back, self.bins), group=GROUP),
            StateSpec("vocoder_column", (width,), group=GROUP),
            StateSpec("vocoder_parts", (self.taps - 1, sizes.n_fft), group=GROUP),
            StateSpec("vocoder_past", (self.caches.size,), group=GROUP),
        ]

    def forward(self, inputs: Rows, state: State) -> tuple[Rows, Mapping[str, Update]]:
        """See the class."""
        fresh = tensor_of(state, "vocoder_heard") == 0
        ends = inputs["ahead_count"] <= 0
        source, updates = self._source(inputs, state, fresh, ends)
        columns = spectra.columns(source, self.hift.sizes.n_fft, self.hift.sizes.hop)
        spectrum = torch.cat([tensor_of(state, "vocoder_spectrum"), columns], 1)
        parts, shaped = self._shaped(inputs, state, spectrum, fresh)
        heard = torch.cat([tensor_of(state, "vocoder_parts"), parts], 1)
        updates |= shaped
        updates |= {
            "vocoder_heard": tensor_of(state, "vocoder_heard") + inputs["mel_chunk"].shape[1],
            "vocoder_source": source[:, -2 * self.half : -self.half],
            "vocoder_spectrum": spectrum[:, -1 - self.columns_back : -1],
            "vocoder_parts": heard[:, -self.taps : -1],
        }
        return self._samples(heard, fresh), updates

    def _heard(self, mel: Tensor) -> Tensor:
        return self.hift.f0_predictor.first.mix(mel.double())

    def _source(self, inputs: Rows, state: State, fresh: Tensor, ends: Tensor) -> tuple[Tensor, dict[str, Update]]:
        """Samples f32[B, 8 + 480 T + 8] around the chunk; mirrored where a signal begins or ends."""
        maker, half = self.hift.m_source, self.half
        _, chain = self.pitch_caches.split(tensor_of(state, "vocoder_pitch"))
        heard = self._heard(torch.cat([inputs["mel_chunk"], inputs["mel_ahead"]], 1))
        pitch = self.hift.f0_predictor.after(heard, Peeking(chain, 1))
        own = maker.rates(pitch)
        first = torch.where(fresh.view(-1, 1, 1), 0.0, own[:, :1])
        after = torch.where(ends.view(-1, 1, 1), 0.0, own[:, -1:])
        slopes = Slopes(own, torch.cat([first, own[:, 1:]], 1), torch.cat([own[:, 1:-1], after, after], 1))
        phases = maker.phases(slopes, tensor_of(state, "vocoder_phase"))
        now, then = _cut(slopes, 0, -1), _cut(slopes, -1, None)
        chunk = maker(pitch[:, :-1], now, phases[:, :-1], inputs["source_noise"]).flatten(1)
        peek = maker(pitch[:, -1:], then, phases[:, -1:], inputs["source_noise_ahead"].unsqueeze(1)).flatten(1)
        before = torch.where(fresh[:, None], chunk[:, 1 : half + 1].flip(1), tensor_of(state, "vocoder_source"))
        beyond = torch.where(ends[:, None], chunk[:, -half - 1 : -1].flip(1), peek)
        kept: dict[str, Update] = {"vocoder_pitch": chain.join([]), "vocoder_phase": phases[:, -2]}
        return torch.cat([before, chunk, beyond], 1), kept

    def _shaped(self, inputs: Rows, state: State, spectrum: Tensor, fresh: Tensor) -> tuple[Tensor, dict[str, Update]]:
        """Windowed samples f32[B, 120 T + 1, 16] of the chunk's columns and the one after them."""
        _, chain = self.caches.split(tensor_of(state, "vocoder_past"))
        sources = [down.mix(spectrum[:, self.columns_back - down.past :]) for down in self.hift.source_downs]
        columns: list[Tensor] = []

        def enter_last(x: Tensor) -> Tensor:
            columns.append(x[:, -1])
            before = torch.where(fresh[:, None], x[:, 1], tensor_of(state, "vocoder_column"))
            return torch.cat([before.unsqueeze(1), x], 1)

        x = self.hift.conv_pre.mix(torch.cat([inputs["mel_chunk"], inputs["mel_ahead"]], 1))
        parts = self.hift.columns(x, sources, enter_last, (Chained(chain), Peeking(chain, 1)))
        return parts, {"vocoder_past": chain.join([]), "vocoder_column": columns[0]}

    def _samples(self, heard: Tensor, fresh: Tensor) -> Rows:
        """Samples of the windowed ones f32[B, 3 + 120 T + 1, 16], over the weights of the windows that reach them."""
        hop, taps = self.hift.sizes.hop, self.taps
        squares = spectra.window(self.hift.sizes.n_fft).square().view(taps, hop)
        blocks = spectra.overlapped(functional.pad(heard, (0, 0, 0, 1)), hop)
        # The first block that is heard misses the last quarter of a window, the last block the first quarter.
        middle = squares.sum(0)
        cut = self.half // hop
        is_first = fresh[:, None] & (torch.arange(blocks.shape[1]) == cut)
        is_last = torch.arange(blocks.shape[1]) == blocks.shape[1] - 1
        weights = middle - is_first.unsqueeze(2) * squares[-1] - is_last.view(1, -1, 1) * squares[0]
        said = clamped(blocks / weights)
        pcm, tail = said[:, :-cut], said[:, -cut:]
        return {"pcm": pcm.flatten(1).unflatten(1, (-1, FRAME)), "pcm_tail": tail.flatten(1)}


def _cut(slopes: Slopes, first: int, last: int | None) -> Slopes:
    return Slopes(slopes.own[:, first:last], slopes.before[:, first:last], slopes.after[:, first:last])
