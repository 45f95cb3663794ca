"""Speech tokens to samples where all steps of the flow are one call, and pitch goes beside the mel: our own bundles.

A chunk is made as soon as the tokens ahead of it are there. Noise depends on the seed and on the number of its frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from streamer.tasks.roles import Roles
from streamer.tasks.token_asks import Ask, Asks, answered
from streamer.tasks.token_encoder import Encoder
from streamer.tasks.token_prompts import Prompt
from streamer.tasks.token_text import Ids
from streamer.tasks.voice_graphs import Call, Sounding
from streamer.tasks.voice_noise import Noise, normals
from streamer.work import Array

NOTHING: Array = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Making:
    """How an utterance is sounded: by which numbers, how far from the mean, and as whom."""

    seed: int
    temperature: float
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class SoundState:
    """How far an utterance is: chunks and frames that were made, samples that were said, the last frame of all.

    `is_over`: all of it was said.
    """

    chunks: int = 0
    frames: int = 0
    said: int = 0
    last: Array | None = None
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Sound:
    """Tokens to samples where all steps of the flow are one call, and flow and vocoder take any number of frames.

    An utterance begins and ends by itself: it has as many samples as its tokens stand for, to the last of which frames
    like the last one push them out.
    """

    encoder: Encoder
    sounding: Sounding
    delay_samples: int

    @classmethod
    def of(cls, roles: Roles) -> Sound:
        """Read roles and parameters; raises `BundleError`."""
        sounding = Sounding.of(roles)
        return cls(Encoder.of(roles, sounding.bands), sounding, roles.integer("delay_samples"))

    @property
    def frame_samples(self) -> int:
        """See `token_model.Sounds`."""
        return self.sounding.frame_samples

    @property
    def calls(self) -> tuple[Call, ...]:
        """See `token_model.Sounds`."""
        return (self.encoder.call, self.sounding.flow, self.sounding.vocode)

    def wanted(self, state: SoundState | None, prompt: Prompt) -> int:
        """See `token_model.Sounds`."""
        return self.encoder.wanted(state.chunks if state else 0)

    def make(self, state: SoundState | None, tokens: Ids, is_all: bool, how: Making) -> Asks[tuple[SoundState, Array]]:
        """See `token_model.Sounds`."""
        state = state or SoundState()
        frames, last = np.zeros((0, self.sounding.bands), np.float32), state.last
        if state.chunks * self.encoder.chunk < len(tokens):
            frames = yield from self.encoder.encode(tokens, state.chunks)
            last = frames[-1:]
        chunks = state.chunks + 1
        is_over = is_all and chunks * self.encoder.chunk >= len(tokens)
        if is_over and last is not None:
            tail = ceil(self.delay_samples / self.sounding.frame_samples)
            frames = np.concatenate((frames, np.repeat(last, tail, axis=0)))
        pcm = yield from self._sounded(frames, state.frames, how)
        if not state.frames:
            pcm = pcm[self.delay_samples :]
        if is_over:
            pcm = pcm[: len(tokens) * self.encoder.token_frames * self.sounding.frame_samples - state.said]
        made = replace(state, chunks=chunks, frames=state.frames + len(frames), said=state.said + len(pcm), last=last)
        return replace(made, is_over=is_over), pcm

    def _sounded(self, frames: Array, first: int, how: Making) -> Asks[Array]:
        """Samples float32 `[n]` of frames float32 `[n, bands]`, of which the first one is number `first`."""
        parts, count = self.sounding, len(frames)
        if not count:
            return NOTHING
        noise = normals(how.seed, Noise.FLOW, first, count, parts.flow_noise) * np.float32(how.temperature)
        answer = yield Ask(parts.flow, {"prior": frames, "noise": noise}, start=not first)
        mel = answered(answer, "mel", count, parts.bands)
        hiss = normals(how.seed, Noise.WAVE, first, count, parts.wave_noise)
        answer = yield Ask(parts.vocode, {"mel": mel, "noise": hiss}, start=not first)
        return answered(answer, "pcm", count, parts.frame_samples).reshape(-1)
