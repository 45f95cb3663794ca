"""Speech tokens to samples, a chunk of the encoder's mask at a time: encoder, flow and vocoder.

A chunk is made as soon as the tokens ahead of it are there. Noise depends on the seed and on the number of its frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from streamer.errors import BundleError
from streamer.tasks.roles import Roles
from streamer.tasks.token_asks import Ask, Asks, answered, padded_length
from streamer.tasks.token_text import Ids
from streamer.tasks.voice_graphs import FLOAT, INT, Call, Sounding, check_length
from streamer.tasks.voice_noise import Noise, normals
from streamer.work import Array

NOTHING: Array = np.zeros(0, np.float32)
# Beyond the last token.
_NONE = -1


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
class Encoder:
    """Tokens to the prior of their frames, in chunks of `chunk` of which up to `pages` are looked back at.

    Beyond that the oldest chunk is forgotten.
    """

    call: Call
    bands: int
    token_frames: int
    chunk: int
    ahead: int
    pages: int

    @classmethod
    def of(cls, roles: Roles, bands: int) -> Encoder:
        """Read roles and parameters; raises `BundleError`."""
        graph, tokens = roles.input("tokens", INT)
        after, prior = roles.input_of(graph, "tokens_ahead", INT), roles.output_of(graph, "mu", FLOAT, 2)
        check_length(roles, "mu", prior, bands)
        ahead = roles.integer("ahead_tokens")
        if after.dims != (ahead,):
            where = f"bundle {roles.manifest.name}: role tokens_ahead"
            raise BundleError(f"{where}: expected {[ahead]}, got {list(after.dims)}")
        names = {
            "tokens": tokens.name,
            "tokens_ahead": after.name,
            "pages": roles.input_of(graph, "encode_pages", INT).name,
            "page": roles.input_of(graph, "encode_page", INT, 0).name,
            "mu": prior.name,
        }
        return cls(
            call=Call(graph, names),
            bands=bands,
            token_frames=roles.integer("token_frames", 1),
            chunk=roles.integer("chunk_tokens", 1),
            ahead=ahead,
            pages=roles.integer("pages", 2),
        )

    def wanted(self, chunks: int) -> int:
        """Tokens that must be there before the next chunk can be made, unless they are all."""
        return (chunks + 1) * self.chunk + self.ahead

    def encode(self, tokens: Ids, chunks: int) -> Asks[Array]:
        """The prior float32 `[frames, bands]` of the chunk after `chunks` others."""
        first = chunks * self.chunk
        own, after = tokens[first : first + self.chunk], tokens[first + self.chunk :][: self.ahead]
        table, page = pages_of(chunks, self.pages)
        length = max(padded_length(len(table), self.pages), 1)
        inputs = {
            "tokens": np.array(own, np.int64),
            "tokens_ahead": np.array((*after, *[_NONE] * (self.ahead - len(after))), np.int64),
            # None of them is only before the others.
            "pages": np.array((*[_NONE] * (length - len(table)), *table), np.int64),
            "page": np.array(page, np.int64),
        }
        answer = yield Ask(self.call, inputs, start=not chunks)
        return answered(answer, "mu", self.token_frames * len(own), self.bands)


def pages_of(chunk: int, pages: int) -> tuple[list[int], int]:
    """Return the pages that chunk number `chunk` looks at, in the order of time, and the one that it becomes."""
    if chunk < pages:
        return list(range(chunk)), chunk
    return [(chunk + 1 + at) % pages for at in range(pages - 1)], chunk % pages


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

    def wanted(self, state: SoundState) -> int:
        """Tokens that must be there before `make` can be called, unless they are all."""
        return self.encoder.wanted(state.chunks)

    def make(
        self, state: SoundState, tokens: Ids, is_all: bool, seed: int, temperature: float
    ) -> Asks[tuple[SoundState, Array]]:
        """The next chunk of an utterance; `is_all`: no other tokens follow."""
        frames, last = np.zeros((0, self.sounding.bands), np.float32), state.last
        if state.chunks * self.encoder.chunk < len(tokens):
            frames = yield from self.encoder.encode(tokens, state.chunks)
            last = frames[-1:]
        chunks = state.chunks + 1
        is_over = is_all and chunks * self.encoder.chunk >= len(tokens)
        if is_over and last is not None:
            tail = ceil(self.delay_samples / self.sounding.frame_samples)
            frames = np.concatenate((frames, np.repeat(last, tail, axis=0)))
        pcm = yield from self._sounded(frames, state.frames, seed, temperature)
        if not state.frames:
            pcm = pcm[self.delay_samples :]
        if is_over:
            pcm = pcm[: len(tokens) * self.encoder.token_frames * self.sounding.frame_samples - state.said]
        made = replace(state, chunks=chunks, frames=state.frames + len(frames), said=state.said + len(pcm), last=last)
        return replace(made, is_over=is_over), pcm

    def _sounded(self, frames: Array, first: int, seed: int, temperature: float) -> Asks[Array]:
        """Samples float32 `[n]` of frames float32 `[n, bands]`, of which the first one is number `first`."""
        parts, count = self.sounding, len(frames)
        if not count:
            return NOTHING
        noise = normals(seed, Noise.FLOW, first, count, parts.flow_noise) * np.float32(temperature)
        answer = yield Ask(parts.flow, {"prior": frames, "noise": noise}, start=not first)
        mel = answered(answer, "mel", count, parts.bands)
        hiss = normals(seed, Noise.WAVE, first, count, parts.wave_noise)
        answer = yield Ask(parts.vocode, {"mel": mel, "noise": hiss}, start=not first)
        return answered(answer, "pcm", count, parts.frame_samples).reshape(-1)
